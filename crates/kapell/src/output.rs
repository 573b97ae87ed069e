//! The only place that prints: data to standard output, all else to standard error.

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};

use crate::{exit::Exit, fault::Fault};

/// How loud and how colourful.
#[derive(Debug, Clone, Copy)]
pub struct Out {
    /// Nothing but data and errors.
    pub quiet: bool,
    /// Data is JSON, and so are errors.
    pub json: bool,
}

const ERROR: Style = AnsiColor::Red.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default();
const DIM: Style = Style::new().dimmed();

impl Out {
    /// Prints data. A reader that goes away ends the program quietly.
    pub fn data(self, text: &str) {
        let mut stdout = anstream::stdout().lock();
        let end = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
        Self::or_leave(write!(stdout, "{text}{end}").and_then(|()| stdout.flush()));
    }

    /// Prints data as JSON.
    pub fn value(self, value: &impl serde::Serialize) {
        self.data(&serde_json::to_string_pretty(value).unwrap_or_default());
    }

    /// Prints something for a person to know.
    pub fn note(self, text: &str) {
        if !self.quiet {
            Self::or_leave(writeln!(anstream::stderr().lock(), "{text}"));
        }
    }

    /// Suggests what to type next.
    pub fn next(self, command: &str) {
        if !self.quiet && !self.json {
            Self::or_leave(writeln!(anstream::stderr().lock(), "{DIM}next:{DIM:#} {command}"));
        }
    }

    /// Prints a fault and returns how the program ends.
    pub fn fault(self, fault: &Fault) -> Exit {
        let mut stderr = anstream::stderr().lock();
        let printed = if self.json {
            let value = serde_json::json!({"error": {
                "code": fault.code, "message": fault.message, "because": fault.because, "hint": fault.hint,
                "exit": fault.exit as u8,
            }});
            writeln!(stderr, "{value}")
        } else {
            let because = fault.because.iter().map(|why| format!("\n  because: {why}")).collect::<String>();
            let hint =
                fault.hint.as_ref().map(|hint| format!("\n  {HINT}hint:{HINT:#} {hint}")).unwrap_or_default();
            writeln!(stderr, "{ERROR}error[{}]:{ERROR:#} {}{because}{hint}", fault.code, fault.message)
        };
        Self::or_leave(printed);
        fault.exit
    }

    /// Tells whether a person sees the progress.
    pub fn is_live(self) -> bool {
        !self.quiet && !self.json && io::stderr().is_terminal()
    }

    fn or_leave(result: io::Result<()>) {
        if result.is_err() {
            std::process::exit(Exit::Done as i32);
        }
    }
}

/// Shows lines of a view, with their styles as colours.
pub fn paint(lines: &[kapell_view::text::Line]) -> String {
    let mut text = String::new();
    for line in lines {
        for span in &line.spans {
            let style = style(span.style);
            text.push_str(&format!("{style}{}{style:#}", span.text));
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    text
}

fn style(style: kapell_view::text::Style) -> Style {
    use kapell_view::text::Style as S;
    match style {
        S::Plain => Style::new(),
        S::Strong => Style::new().bold(),
        S::Dim => DIM,
        S::Good => AnsiColor::Green.on_default(),
        S::Bad => AnsiColor::Red.on_default().bold(),
        S::Warn => AnsiColor::Yellow.on_default(),
        S::Active => AnsiColor::Cyan.on_default(),
    }
}

/// Returns the size of the terminal that standard error is, or 100 by 40.
pub fn screen() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 => (size.ws_col.into(), size.ws_row.max(10).into()),
        _ => (100, 40),
    }
}
