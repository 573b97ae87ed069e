//! A page of Markdown under construction.

use std::fmt::Write as _;

use kapell_view::audit::Finding;

/// A page. Its headings are only written with what stands beneath them.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    pending: Vec<(usize, String)>,
}

impl Page {
    pub(super) fn new(title: &str) -> Self {
        let mut page = Self::default();
        page.section(1, title);
        page
    }

    /// Starts a section; it is left out if nothing comes.
    pub(super) fn section(&mut self, level: usize, title: &str) {
        self.pending.retain(|(above, _)| *above < level);
        self.pending.push((level, title.to_owned()));
    }

    fn flush(&mut self) {
        for (level, title) in std::mem::take(&mut self.pending) {
            let kept = self.text.trim_end().len();
            self.text.truncate(kept);
            let gap = if self.text.is_empty() { "" } else { "\n\n" };
            let _ = writeln!(self.text, "{gap}{} {title}\n", "#".repeat(level));
        }
    }

    /// Writes a paragraph.
    pub(super) fn say(&mut self, text: impl AsRef<str>) {
        self.flush();
        let _ = writeln!(self.text, "{}\n", text.as_ref());
    }

    /// Writes a bullet.
    pub(super) fn item(&mut self, text: impl AsRef<str>) {
        self.flush();
        let _ = writeln!(self.text, "- {}", text.as_ref());
    }

    /// Writes rows under a head; nothing if there are none.
    pub(super) fn table(&mut self, head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
        let mut rows = rows.into_iter().peekable();
        if rows.peek().is_none() {
            return;
        }
        self.flush();
        let _ = writeln!(self.text, "| {} |\n|{}", head.join(" | "), " --- |".repeat(head.len()));
        for row in rows {
            let cells: Vec<String> =
                row.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
            let _ = writeln!(self.text, "| {} |", cells.join(" | "));
        }
        self.text.push('\n');
    }

    /// Writes a fenced block; nothing if it is empty.
    pub(super) fn block(&mut self, language: &str, text: &str) {
        if text.trim().is_empty() {
            return;
        }
        self.flush();
        // A fence longer than any within.
        let longest =
            text.lines().map(|line| line.trim_start().chars().take_while(|c| *c == '`').count()).max();
        let fence = "`".repeat(longest.unwrap_or(0).max(2) + 1);
        let _ = writeln!(self.text, "{fence}{language}\n{}\n{fence}\n", text.trim_end());
    }

    pub(super) fn finish(self) -> String {
        let mut text = self.text.trim_end().to_owned();
        if !text.is_empty() {
            text.push('\n');
        }
        text
    }
}

/// Returns where a finding is, for people.
pub(super) fn at(finding: &Finding) -> String {
    format!("`{}:{}`", finding.place.path, finding.place.line)
}

/// Returns what to do about a finding: its hint, or what its fix does.
pub(super) fn remedy(finding: &Finding) -> Option<&str> {
    finding.hint.as_deref().or_else(|| Some(&*finding.fix.as_ref()?.title))
}

/// Writes a length of time for people.
pub(super) fn time(seconds: u32) -> String {
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, 0) => format!("{minutes} min"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}

/// Makes an identifier of a name, for diagrams and file names.
pub(super) fn slug(name: &str) -> String {
    let mut slug = String::new();
    for character in name.chars() {
        match character {
            'a'..='z' | '0'..='9' => slug.push(character),
            'A'..='Z' => slug.push(character.to_ascii_lowercase()),
            _ if !slug.ends_with('-') && !slug.is_empty() => slug.push('-'),
            _ => {}
        }
    }
    slug.truncate(60);
    slug.trim_end_matches('-').to_owned()
}

/// Makes a text safe within the quotes of a diagram.
pub(super) fn label(text: &str) -> String {
    text.replace(['"', '\n', '`', '#', ';'], " ")
}
