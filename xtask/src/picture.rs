//! The picture of the README: what the real program prints on a terminal, as an SVG.
//!
//! The program runs under `script`, which gives it a terminal; a small terminal of our own plays its output back to the
//! last screen, colours and cursor movements included, and every stretch of one colour becomes a piece of text.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

use crate::shell;

const COLUMNS: usize = 118;
/// Pixels from one character to the next.
const ADVANCE: f64 = 7.8;
/// Pixels from one line to the next.
const LINE: f64 = 18.0;
const FONT_SIZE: u32 = 13;
const MARGIN: f64 = 18.0;

/// Draws `docs/demo.svg`.
pub(crate) fn run(args: &[&str]) -> anyhow::Result<()> {
    let program = match args {
        [] => shell::build_kapell()?,
        ["--program", path] => PathBuf::from(path),
        _ => bail!("usage: cargo xtask picture [--program PATH]"),
    };
    let program = program.canonicalize().with_context(|| format!("{} is not there", program.display()))?;
    let demo = std::env::temp_dir().join("kapell-demo");
    if demo.exists() {
        bail!("{} is there already: it would end up in the picture", demo.display());
    }
    let drawn = draw(&program, &demo);
    fs::remove_dir_all(&demo).with_context(|| format!("failed to remove {}", demo.display()))?;
    let path = shell::root().join("docs/demo.svg");
    fs::write(&path, drawn?).with_context(|| format!("failed to write {}", path.display()))?;
    println!("{}", path.display());
    Ok(())
}

fn draw(program: &Path, demo: &Path) -> anyhow::Result<String> {
    let demo = demo.display().to_string();
    let mut screen = Screen::default();
    for (shown, args) in [
        (format!("kapell demo --dir {demo}"), format!("demo --dir {demo}")),
        (format!("kapell -C {demo} status"), format!("-C {demo} status")),
    ] {
        screen.play(&format!("\x1b[32;1m$\x1b[0m \x1b[1m{shown}\x1b[0m\r\n"));
        screen.play(&recorded(program, &args)?);
        screen.play("\r\n");
    }
    Ok(svg(&screen.lines()))
}

/// Runs the program on a terminal, and returns all that it writes there.
fn recorded(program: &Path, args: &str) -> anyhow::Result<String> {
    let line = format!("stty cols {COLUMNS} rows 50; exec '{}' --color always {args}", program.display());
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    script.env("CLICOLOR_FORCE", "1").env("TERM", "xterm-256color").stdin(std::process::Stdio::null());
    shell::capture(&mut script)
}

/// How a character looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Style {
    bold: bool,
    dim: bool,
    /// The colour, 0 to 15 as terminals number them.
    color: Option<u8>,
}

impl Style {
    fn apply(&mut self, parameters: &str) {
        for parameter in parameters.split(';') {
            match parameter.parse().unwrap_or(0_u8) {
                0 => *self = Self::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                22 => (self.bold, self.dim) = (false, false),
                code @ 30..=37 => self.color = Some(code - 30),
                39 => self.color = None,
                code @ 90..=97 => self.color = Some(code - 82),
                _ => {}
            }
        }
    }

    fn fill(self) -> &'static str {
        match self.color.map(|color| color % 8) {
            Some(1) => "#f47067",
            Some(2) => "#8ddb8c",
            Some(3) => "#e2b86b",
            Some(4) => "#6cb6ff",
            Some(5) => "#dcbdfb",
            Some(6) => "#76d9e6",
            _ if self.dim => "#8b949e",
            _ => "#e6e9ef",
        }
    }
}

/// A terminal that knows what kapell sends to one.
#[derive(Debug, Default)]
struct Screen {
    rows: Vec<Vec<(char, Style)>>,
    row: usize,
    column: usize,
    style: Style,
}

impl Screen {
    fn play(&mut self, text: &str) {
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            match c {
                '\r' => self.column = 0,
                '\n' => self.row += 1,
                '\x1b' => {
                    if rest.next() != Some('[') {
                        continue;
                    }
                    let mut parameters = String::new();
                    let end = rest.by_ref().find(|c| {
                        let ends = c.is_ascii_alphabetic();
                        if !ends {
                            parameters.push(*c);
                        }
                        ends
                    });
                    self.control(end, &parameters);
                }
                c if c.is_control() => {}
                c => self.put(c),
            }
        }
    }

    fn control(&mut self, end: Option<char>, parameters: &str) {
        let number = || parameters.parse().unwrap_or(1_usize);
        match end {
            Some('m') => self.style.apply(parameters),
            Some('A') => self.row = self.row.saturating_sub(number()),
            Some('G') => self.column = number().saturating_sub(1),
            Some('J') => {
                self.rows.truncate(self.row + 1);
                self.clear_line();
            }
            Some('K') => self.clear_line(),
            _ => {}
        }
    }

    fn clear_line(&mut self) {
        if let Some(row) = self.rows.get_mut(self.row) {
            row.truncate(self.column);
        }
    }

    fn put(&mut self, c: char) {
        if self.column == COLUMNS {
            (self.row, self.column) = (self.row + 1, 0);
        }
        if self.rows.len() <= self.row {
            self.rows.resize(self.row + 1, Vec::new());
        }
        let row = &mut self.rows[self.row];
        if row.len() <= self.column {
            row.resize(self.column + 1, (' ', Style::default()));
        }
        row[self.column] = (c, self.style);
        self.column += 1;
    }

    /// Returns the lines as stretches of one style, with the column where each begins.
    fn lines(&self) -> Vec<Vec<(usize, String, Style)>> {
        let mut lines: Vec<Vec<(usize, String, Style)>> = Vec::new();
        for row in &self.rows {
            let mut line: Vec<(usize, String, Style)> = Vec::new();
            for (column, (c, style)) in row.iter().enumerate() {
                match line.last_mut() {
                    Some((_, text, same)) if same == style => text.push(*c),
                    _ => line.push((column, c.to_string(), *style)),
                }
            }
            line.retain(|(_, text, _)| !text.trim().is_empty());
            lines.push(line);
        }
        while lines.last().is_some_and(Vec::is_empty) {
            lines.pop();
        }
        lines
    }
}

fn svg(lines: &[Vec<(usize, String, Style)>]) -> String {
    let width = (COLUMNS as f64).mul_add(ADVANCE, 2.0 * MARGIN);
    let height = (lines.len() as f64).mul_add(LINE, 2.0 * MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" \
         aria-label=\"A terminal: kapell demo, and kapell status after it\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#16181d\"/>\n\
         <g font-family=\"ui-monospace, SFMono-Regular, Menlo, Consolas, monospace\" font-size=\"{FONT_SIZE}\">\n"
    );
    for (number, line) in lines.iter().enumerate() {
        let y = ((number + 1) as f64).mul_add(LINE, MARGIN - 5.0);
        for (column, text, style) in line {
            // Blanks at the ends are left out, and the length is given, so that columns stand in every font.
            let lead = text.chars().take_while(|c| *c == ' ').count();
            let text = text.trim();
            let x = ((column + lead) as f64).mul_add(ADVANCE, MARGIN);
            let length = text.chars().count() as f64 * ADVANCE;
            let weight = if style.bold { " font-weight=\"bold\"" } else { "" };
            let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            // Writing to a string cannot fail.
            let _ = writeln!(
                out,
                "<text x=\"{x:.1}\" y=\"{y:.0}\" textLength=\"{length:.1}\" lengthAdjust=\"spacingAndGlyphs\" \
                 xml:space=\"preserve\" fill=\"{}\"{weight}>{text}</text>",
                style.fill()
            );
        }
    }
    out.push_str("</g>\n</svg>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let mut screen = Screen::default();
        screen.play(text);
        let rows = screen.rows.iter().map(|row| row.iter().map(|(c, _)| *c).collect::<String>());
        rows.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_is_drawn_over_is_gone() {
        assert_eq!(shown("a\r\nlive 1\r\nlive 2\r\n\x1b[2A\x1b[Jb\r\nc\r\n"), "a\nb\nc");
        assert_eq!(shown("long\rs\x1b[K\r\n"), "s");
    }

    #[test]
    fn a_line_that_is_too_long_goes_on_in_the_next() {
        let long = "x".repeat(COLUMNS);
        assert_eq!(shown(&format!("{long}\r\nb")), format!("{long}\nb"));
        assert_eq!(shown(&format!("{long}y\r\nb")), format!("{long}\ny\nb"));
    }

    #[test]
    fn colours_become_pieces_of_text_in_their_columns() {
        let mut screen = Screen::default();
        screen.play("\x1b[2m00:00\x1b[0m  \x1b[1msum\x1b[0m  \x1b[33ma<b\x1b[0m\r\n");
        let lines = screen.lines();
        let pieces: Vec<_> =
            lines[0].iter().map(|(column, text, style)| (*column, text.as_str(), style.fill())).collect();
        assert_eq!(pieces, [(0, "00:00", "#8b949e"), (7, "sum", "#e6e9ef"), (12, "a<b", "#e2b86b")]);
        let svg = svg(&lines);
        assert!(svg.contains(">a&lt;b</text>") && svg.contains("font-weight=\"bold\">sum<"), "{svg}");
    }
}
