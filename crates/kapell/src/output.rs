//! The only place that prints: data to standard output, all else to standard error.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use anstyle::{AnsiColor, Style};
use kapell_agents::drivers::escape_untrusted;

use crate::{exit::Exit, fault::Fault, reply::Deed};

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
        Self::json(|stdout| serde_json::to_writer_pretty(stdout, value));
    }

    /// Writes JSON as it is: no control character stands in it as itself, so that there is nothing to take out for whoever
    /// is no terminal.
    fn json(write: impl FnOnce(&mut BufWriter<StdoutLock<'_>>) -> serde_json::Result<()>) {
        let mut stdout = BufWriter::new(io::stdout().lock());
        let written = write(&mut stdout).map_err(io::Error::from);
        Self::or_leave(written.and_then(|()| writeln!(stdout)).and_then(|()| stdout.flush()));
    }

    /// Tells a program what was done; to a person it is said in other words.
    pub fn deed(self, deed: &Deed) {
        if self.json {
            self.value(deed);
        }
    }

    /// Prints errors of another process of this program as they are.
    pub fn relay(self, errors: &str) {
        let _ = write!(anstream::stderr().lock(), "{errors}");
    }

    /// Prints data as JSON in one line, for there is more to come.
    pub fn line(self, value: &impl serde::Serialize) {
        Self::json(|stdout| serde_json::to_writer(stdout, value));
    }

    /// Prints something for a person to know.
    pub fn note(self, text: &str) {
        if !self.quiet {
            // Whoever watched may have gone; what is being done goes on without them.
            let _ = writeln!(anstream::stderr().lock(), "{text}");
        }
    }

    /// Prints something for a program to know, one line of JSON, beside the data.
    pub fn note_json(self, value: &serde_json::Value) {
        Self::or_leave(writeln!(anstream::stderr().lock(), "{value}"));
    }

    /// Suggests what to type next.
    pub fn next(self, command: &str) {
        if !self.quiet && !self.json {
            let _ = writeln!(anstream::stderr().lock(), "{DIM}next:{DIM:#} {command}");
        }
    }

    /// Prints a fault and returns how the program ends.
    pub fn fault(self, fault: &Fault) -> Exit {
        let mut stderr = anstream::stderr().lock();
        // If nobody reads it, the exit code still says it.
        let _ = if self.json {
            let problem = Problem { error: ProblemText::of(fault) };
            writeln!(stderr, "{}", serde_json::to_string(&problem).unwrap_or_default())
        } else if let Some(picture) = fault.place.as_ref().and_then(|place| place.picture.as_ref()) {
            write!(stderr, "{picture}")
        } else {
            // Names, choices and messages of others are among these words.
            let shown = escape_untrusted;
            let place = fault.place.as_ref().map(|place| format!("\n  where: {}", shown(&place.at)));
            let because: String =
                fault.because.iter().map(|why| format!("\n  because: {}", shown(why))).collect();
            let hint = fault.hint.as_ref().map(|hint| format!("\n  {HINT}hint:{HINT:#} {}", shown(hint)));
            let (place, hint) = (place.unwrap_or_default(), hint.unwrap_or_default());
            let (code, message) = (fault.code, shown(&fault.message));
            writeln!(stderr, "{ERROR}error[{code}]:{ERROR:#} {message}{place}{because}{hint}")
        };
        fault.exit
    }

    /// Tells whether a person sees the progress.
    pub fn is_live(self) -> bool {
        !self.quiet && !self.json && io::stderr().is_terminal()
    }

    /// Ends the program if data cannot be printed: quietly if nobody wants it, else with an error.
    fn or_leave(result: io::Result<()>) {
        let Err(error) = result else { return };
        if error.kind() == io::ErrorKind::BrokenPipe {
            std::process::exit(Exit::Done as i32);
        }
        let fault = Fault::new("K0908", Exit::Environment, "the output cannot be written").because(error);
        std::process::exit(Self { quiet: true, json: false }.fault(&fault) as i32);
    }
}

/// An error on standard error, under `--json`.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct Problem {
    /// What is wrong.
    error: ProblemText,
}

/// What is wrong.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
struct ProblemText {
    /// The code, for `kapell explain`.
    code: &'static str,
    /// What is wrong, in one sentence.
    message: String,
    /// Where.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    /// Why, from the outside in.
    because: Vec<String>,
    /// What can be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// The exit code.
    exit: u8,
}

impl ProblemText {
    fn of(fault: &Fault) -> Self {
        let Fault { code, message, place, because, hint, exit } = fault;
        Self {
            code,
            message: message.clone(),
            place: place.as_ref().map(|place| place.at.clone()),
            because: because.clone(),
            hint: hint.clone(),
            exit: *exit as u8,
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

/// What takes `drawn` lines off a terminal again, and what was typed below them.
pub fn erase(drawn: usize) -> String {
    // What the terminal itself writes, such as `^C`, moves the cursor from the beginning of its line.
    if drawn > 0 { format!("\r\x1b[{drawn}A\x1b[J") } else { String::new() }
}

/// Lines at the foot of a terminal that are drawn again and again, with what stays above them.
#[derive(Debug, Default)]
pub struct Foot {
    drawn: usize,
}

impl Foot {
    /// Prints `above`, which ends with a line break or is empty, and draws `frame` below it.
    pub fn draw(&mut self, above: &str, frame: &[kapell_view::text::Line]) {
        let erase = erase(self.drawn);
        self.drawn = frame.len();
        let mut stderr = anstream::stderr().lock();
        // Whoever watched may have gone.
        let _ = write!(stderr, "{erase}{above}{}", paint(frame)).and_then(|()| stderr.flush());
    }
}

/// How wide data is that nobody cuts: wider than any line, and small enough to be counted with.
const UNCUT: usize = usize::MAX >> 16;

/// Returns how many columns data may take: those of the terminal that standard output is. Elsewhere it is whole, unless
/// `COLUMNS` says how wide it is to be.
pub fn page() -> usize {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 => size.ws_col.into(),
        Ok(_) => 100,
        Err(_) => wanted_columns(std::env::var("COLUMNS").ok().as_deref()).unwrap_or(UNCUT),
    }
}

/// Reads a number of columns; fewer than 20 are nothing to print on.
fn wanted_columns(text: Option<&str>) -> Option<usize> {
    text?.trim().parse().ok().filter(|columns| (20..UNCUT).contains(columns))
}

/// Returns the size of the terminal that standard error is, or 100 by 40.
pub fn screen() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 => (size.ws_col.into(), size.ws_row.max(10).into()),
        _ => (100, 40),
    }
}
