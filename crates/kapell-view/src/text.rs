//! Lines of styled text, tables, and the way lengths and amounts are written.

use kapell_core::{
    budget::Amount,
    id::RunId,
    price::Tokens,
    time::{Millis, Wall},
};

/// What a piece of text means. The program that prints maps it to colours; no meaning hangs on a style alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Style {
    /// Nothing special.
    #[default]
    Plain,
    /// What the line is about.
    Strong,
    /// Of less interest.
    Dim,
    /// Done, landed, merged.
    Good,
    /// Under way.
    Active,
    /// Waits for a person, or went wrong and is tried again.
    Warn,
    /// Failed.
    Bad,
}

/// A piece of text of one style.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Span {
    /// What it means.
    pub style: Style,
    /// The text, safe to print.
    pub text: String,
}

/// A line of text, without its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// Its pieces.
    pub spans: Vec<Span>,
}

impl Line {
    /// Makes a line of one style.
    #[must_use]
    pub fn new(style: Style, text: impl Into<String>) -> Self {
        Self::default().with(style, text)
    }

    /// Makes a plain line.
    #[must_use]
    pub fn plain(text: impl Into<String>) -> Self {
        Self::new(Style::Plain, text)
    }

    /// Adds a piece.
    #[must_use]
    pub fn with(mut self, style: Style, text: impl Into<String>) -> Self {
        self.push(style, text);
        self
    }

    /// Adds a piece.
    pub fn push(&mut self, style: Style, text: impl Into<String>) {
        let text = text.into();
        if !text.is_empty() {
            self.spans.push(Span { style, text });
        }
    }

    /// Returns how many columns the line takes.
    #[must_use]
    pub fn width(&self) -> usize {
        self.spans.iter().map(|span| width(&span.text)).sum()
    }

    /// Cuts the line to at most `columns`; an ellipsis shows that something is missing.
    #[must_use]
    pub fn fit(mut self, columns: usize) -> Self {
        if self.width() <= columns {
            return self;
        }
        let mut left = columns;
        let mut kept = Vec::new();
        for span in std::mem::take(&mut self.spans) {
            let wide = width(&span.text);
            if wide < left {
                left -= wide;
                kept.push(span);
            } else {
                // The ellipsis is due here, for this piece does not end the line or does not fit.
                kept.push(Span { style: span.style, text: cut(&span.text, left) });
                break;
            }
        }
        Self { spans: kept }
    }

    /// Returns the text without styles.
    #[must_use]
    pub fn to_plain(&self) -> String {
        self.spans.iter().map(|span| span.text.as_str()).collect::<String>().trim_end().to_owned()
    }
}

/// Joins lines without their styles; each ends with a newline.
#[must_use]
pub fn plain(lines: &[Line]) -> String {
    lines.iter().fold(String::new(), |text, line| text + &line.to_plain() + "\n")
}

/// Returns how many columns a character takes in a terminal.
///
/// After Unicode's East Asian Width in broad ranges: wide is 2, what combines is 0, all else 1.
fn columns(character: char) -> usize {
    match u32::from(character) {
        0x300..=0x36f | 0x483..=0x489 | 0x591..=0x5bd | 0x1ab0..=0x1aff | 0x1dc0..=0x1dff => 0,
        0x20d0..=0x20ff | 0xfe0e..=0xfe0f | 0xfe20..=0xfe2f => 0,
        0x1100..=0x115f | 0x2e80..=0x303e | 0x3041..=0xa4cf | 0xa960..=0xa97f | 0xac00..=0xd7a3 => 2,
        0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff01..=0xff60 | 0xffe0..=0xffe6 => 2,
        0x1f300..=0x1f64f | 0x1f680..=0x1f6ff | 0x1f900..=0x1f9ff | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// Returns how many columns a text takes in a terminal.
#[must_use]
pub fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// Cuts a text to at most `limit` columns; an ellipsis takes the last of them if something is missing or follows.
fn cut(text: &str, limit: usize) -> String {
    if limit == 0 {
        return String::new();
    }
    let mut used = 0;
    let mut kept = String::new();
    for character in text.chars() {
        used += columns(character);
        if used > limit - 1 {
            break;
        }
        kept.push(character);
    }
    kept + "…"
}

/// Shortens a text to at most `limit` columns, with an ellipsis where something is missing.
#[must_use]
pub fn shorten(text: &str, limit: usize) -> String {
    if width(text) <= limit { text.to_owned() } else { cut(text, limit) }
}

/// Shortens a path to at most `limit` columns at its front, since its end tells files apart: whole names are kept, if the
/// last one fits.
#[must_use]
pub fn shorten_path(path: &str, limit: usize) -> String {
    if width(path) <= limit {
        return path.to_owned();
    }
    let mut left = limit.saturating_sub(1);
    let fits = |character: &char| match left.checked_sub(columns(*character)) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    let tail: Vec<char> = path.chars().rev().take_while(fits).collect();
    let tail: String = tail.into_iter().rev().collect();
    let cuts_a_name = !path[..path.len() - tail.len()].ends_with('/');
    let whole = tail.split_once('/').filter(|_| cuts_a_name).map_or(tail.as_str(), |(_, whole)| whole);
    format!("\u{2026}{whole}")
}

/// Breaks a text at blanks, so that no line has more than `limit` columns, if its words allow.
#[must_use]
pub fn wrap(text: &str, limit: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if width(line) + 1 + width(word) <= limit => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Breaks a text at blanks, and words that are too long wherever they reach the end of a line.
pub(crate) fn fold(text: &str, limit: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for line in wrap(text, limit) {
        let (mut part, mut used) = (String::new(), 0);
        for character in line.chars() {
            used += columns(character);
            if used > limit && !part.is_empty() {
                lines.push(std::mem::take(&mut part));
                used = columns(character);
            }
            part.push(character);
        }
        lines.push(part);
    }
    lines
}

fn pad(text: &str, to: usize) -> String {
    " ".repeat(to.saturating_sub(width(text)))
}

/// A table with a header; columns are two spaces apart.
#[derive(Debug, Clone, Default)]
pub struct Table {
    header: Vec<&'static str>,
    /// Columns whose cells stand at the right.
    right: Vec<bool>,
    /// Columns of paths, whose ends tell them apart.
    paths: Vec<bool>,
    rows: Vec<Vec<Span>>,
}

impl Table {
    /// Starts a table; a `>` before the title of a column puts its cells to the right, a `/` says that they are paths.
    #[must_use]
    pub fn new(titles: &[&'static str]) -> Self {
        Self {
            header: titles.iter().map(|title| title.trim_start_matches(['>', '/'])).collect(),
            right: titles.iter().map(|title| title.starts_with('>')).collect(),
            paths: titles.iter().map(|title| title.starts_with('/')).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = (Style, String)>) {
        self.rows.push(cells.into_iter().map(|(style, text)| Span { style, text }).collect());
    }

    /// Lays the table out in at most `limit` columns; the widest columns give way first.
    #[must_use]
    pub fn lines(&self, limit: usize) -> Vec<Line> {
        let widths = self.widths(limit);
        let header = self.header.iter().map(|title| Span { style: Style::Dim, text: (*title).to_owned() });
        let header = (!self.header.iter().all(|title| title.is_empty())).then(|| header.collect());
        header.iter().chain(&self.rows).map(|row| self.line(row, &widths).fit(limit)).collect()
    }

    fn widths(&self, limit: usize) -> Vec<usize> {
        let mut widths: Vec<usize> = self.header.iter().map(|title| width(title)).collect();
        for row in &self.rows {
            for (wide, cell) in widths.iter_mut().zip(row) {
                *wide = (*wide).max(width(&cell.text));
            }
        }
        let gaps = 2 * widths.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > limit {
            match widths.iter_mut().max() {
                Some(widest) if *widest > 8 => *widest -= 1,
                _ => break,
            }
        }
        widths
    }

    fn line(&self, row: &[Span], widths: &[usize]) -> Line {
        let mut line = Line::default();
        for (at, (cell, &wide)) in row.iter().zip(widths).enumerate() {
            let text =
                if self.paths[at] { shorten_path(&cell.text, wide) } else { shorten(&cell.text, wide) };
            let space = pad(&text, wide);
            let (before, after) =
                if self.right[at] { (space, String::new()) } else { (String::new(), space) };
            line.push(Style::Plain, before);
            line.push(cell.style, text);
            if at + 1 < row.len() {
                line.push(Style::Plain, after + "  ");
            }
        }
        line
    }
}

/// Writes a length for people: `350ms`, `2.3s`, `4m 05s`, `2h 03m`, `3d 04h`.
#[must_use]
pub fn length(length: Millis) -> String {
    let (ms, secs) = (length.0, length.0 / 1000);
    match ms {
        0 => "0s".to_owned(),
        1..1000 => format!("{ms}ms"),
        1000..60_000 => format!("{secs}.{}s", ms / 100 % 10),
        60_000..3_600_000 => format!("{}m {:02}s", secs / 60, secs % 60),
        3_600_000..172_800_000 => format!("{}h {:02}m", secs / 3600, secs / 60 % 60),
        _ => format!("{}d {:02}h", secs / 86_400, secs / 3600 % 24),
    }
}

/// Writes a point of a run's own clock: `00:02.3`, from an hour on `1:00:02`.
#[must_use]
pub fn clock(at: Millis) -> String {
    let (secs, tenths) = (at.0 / 1000, at.0 / 100 % 10);
    match secs {
        0..3600 => format!("{:02}:{:02}.{tenths}", secs / 60, secs % 60),
        _ => format!("{}:{:02}:{:02}", secs / 3600, secs / 60 % 60, secs % 60),
    }
}

/// Writes a point of the wall clock in UTC: `2026-11-21 02:15:47Z`.
#[must_use]
pub fn instant(at: Wall) -> String {
    jiff::Timestamp::from_millisecond(at.0)
        .map_or_else(|_| "an unknown time".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// Writes money: `$0.84`, below a cent with four digits.
#[must_use]
pub fn usd(micros: u64) -> String {
    match micros {
        1..10_000 => format!("${}.{:04}", micros / 1_000_000, micros % 1_000_000 / 100),
        _ => {
            let cents = micros.saturating_add(5_000) / 10_000;
            format!("${}.{:02}", cents / 100, cents % 100)
        }
    }
}

/// Writes a number of tokens: `850`, `12.3k`, `2.0M`.
#[must_use]
pub fn tokens(tokens: u64) -> String {
    match tokens {
        0..10_000 => tokens.to_string(),
        10_000..1_000_000 => format!("{}.{}k", tokens / 1000, tokens / 100 % 10),
        _ => format!("{}.{}M", tokens / 1_000_000, tokens / 100_000 % 10),
    }
}

/// Writes tokens by kind: `100 in, 30 from cache, 7 to cache, 20 out`.
#[must_use]
pub fn kinds(used: Tokens) -> String {
    let Tokens { input, cache_read, cache_write, output } = used;
    let [input, read, written, output] = [input, cache_read, cache_write, output].map(tokens);
    format!("{input} in, {read} from cache, {written} to cache, {output} out")
}

/// Writes a number of bytes: `311 B`, `2.3 MiB`.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut left = bytes;
    let mut rest = 0;
    while left >= 1024 && unit + 1 < units.len() {
        rest = left % 1024;
        left /= 1024;
        unit += 1;
    }
    match (unit, left) {
        (0, _) | (_, 10..) => format!("{left} {}", units[unit]),
        _ => format!("{left}.{} {}", rest * 10 / 1024, units[unit]),
    }
}

/// Writes what is known of a cost: `$0.12`, `850 tokens` where nobody knows their price, or both.
#[must_use]
pub fn amount(amount: Amount) -> String {
    match (amount.usd_micros, amount.tokens) {
        (usd_micros, 0) => usd(usd_micros),
        (0, used) => format!("{} tokens", tokens(used)),
        (usd_micros, used) => format!("{}, {} tokens", usd(usd_micros), tokens(used)),
    }
}

/// Writes a whole number with commas: `1,000,000`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes `1 task`, `2 tasks`.
#[must_use]
pub fn plural(number: u64, word: &str) -> String {
    format!("{} {word}{}", count(number), if number == 1 { "" } else { "s" })
}

/// How many characters of a run's id people see.
///
/// The first 10 hold the time of its making in milliseconds, the others 4 bits of version and 6 random ones.
pub const SHORT_ID: usize = 12;

/// Returns the beginning of a run's id, as people see and type it.
#[must_use]
pub fn short(run: RunId) -> String {
    run.to_string().chars().take(SHORT_ID).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lose_their_front_and_texts_break_at_blanks() {
        let path = ".github/workflows/release.yml:12";
        assert_eq!(shorten_path(path, 32), path);
        assert_eq!(shorten_path(path, 31), "\u{2026}workflows/release.yml:12");
        assert_eq!(shorten_path(path, 24), "\u{2026}release.yml:12");
        assert_eq!(shorten_path(path, 9), "\u{2026}e.yml:12");
        assert_eq!(shorten_path("日本/日本", 6), "\u{2026}日本");
        assert_eq!(wrap("who waits for whom", 10), ["who waits", "for whom"]);
        assert_eq!(wrap("incomprehensible words", 5), ["incomprehensible", "words"]);
        assert_eq!(fold("as unintelligible words", 8), ["as", "unintell", "igible", "words"]);
        assert_eq!(fold("日本語", 1), ["日", "本", "語"]);
    }

    #[test]
    fn lengths_and_amounts_are_short() {
        let lengths = [0, 350, 2_340, 59_999, 245_000, 7_380_000, 273_600_000];
        let lengths = lengths.map(|ms| length(Millis(ms)));
        assert_eq!(lengths, ["0s", "350ms", "2.3s", "59.9s", "4m 05s", "2h 03m", "3d 04h"]);
        assert_eq!([2_340, 65_000, 3_723_000].map(|ms| clock(Millis(ms))), ["00:02.3", "01:05.0", "1:02:03"]);
        assert_eq!([0, 1_200, 835_000, 12_345_678].map(usd), ["$0.00", "$0.0012", "$0.84", "$12.35"]);
        let sizes = [0, 1023, 1024, 1536, 10 << 10, 5 << 30, u64::MAX];
        assert_eq!(
            sizes.map(bytes),
            ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "10 KiB", "5.0 GiB", "16777215 TiB"]
        );
        assert_eq!([850, 12_345, 2_000_000].map(tokens), ["850", "12.3k", "2.0M"]);
        assert_eq!([0, 999, 1000, 1_000_000].map(count), ["0", "999", "1,000", "1,000,000"]);
        let costs = [(0, 0), (1_200, 0), (0, 850), (1_200, 850)]
            .map(|(usd_micros, tokens)| amount(Amount { usd_micros, tokens }));
        assert_eq!(costs, ["$0.00", "$0.0012", "850 tokens", "$0.0012, 850 tokens"]);
        assert_eq!(instant(Wall(0)), "1970-01-01 00:00:00Z");
        assert_eq!(instant(Wall(i64::MAX)), "an unknown time");
    }

    #[test]
    fn lines_are_cut_where_they_must_be() {
        let line = Line::new(Style::Good, "done ").with(Style::Plain, "日本語");
        assert_eq!(line.width(), 11);
        assert_eq!(line.clone().fit(11), line);
        assert_eq!(line.clone().fit(9).to_plain(), "done 日…");
        assert_eq!(line.clone().fit(5).to_plain(), "done…");
        assert_eq!(line.clone().fit(0).to_plain(), "");
        for columns in 0..14 {
            assert!(line.clone().fit(columns).width() <= columns);
        }
    }

    #[test]
    fn tables_give_way_where_they_are_widest() {
        let mut table = Table::new(&["task", ">time"]);
        table.row([
            (Style::Plain, "a rather long name of a task".to_owned()),
            (Style::Plain, "2s".to_owned()),
        ]);
        table.row([(Style::Plain, "b".to_owned()), (Style::Plain, "10s".to_owned())]);
        insta::assert_snapshot!(plain(&table.lines(20)), @r"
        task            time
        a rather long…    2s
        b                10s
        ");
    }
}
