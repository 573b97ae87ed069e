//! The steps of a script, as they are written.

use std::{path::PathBuf, time::Duration};

use kapell_core::retry::FailureClass;
use kapell_spec::{
    finding::Source,
    yaml::{self, Node},
};

/// One thing that a scripted agent does.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Waits.
    Delay(Duration),
    /// Prints a line.
    Print(String),
    /// Gives outputs.
    Output(Vec<(String, String)>),
    /// Says something that should be kept.
    Note(String),
    /// Says how far it is, from 0 to 1.
    Progress(f64),
    /// Asks a person.
    Ask {
        /// What it asks.
        question: String,
        /// What can be answered; anything if empty.
        choices: Vec<String>,
        /// The output that takes the answer.
        output: Option<String>,
    },
    /// Changes a file of the workspace.
    Edit {
        /// Its path within the workspace.
        path: PathBuf,
        /// How it changes.
        change: Change,
    },
    /// Commits all changes.
    Commit(String),
    /// Ends as a failure.
    Fail {
        /// How it ends.
        how: How,
        /// The only attempt on which it does, if one is named.
        on_attempt: Option<u32>,
        /// What it prints before.
        message: Option<String>,
    },
    /// Prints bytes that are no text.
    Garbage {
        /// How many.
        bytes: u64,
        /// Which ones.
        seed: u64,
    },
    /// Ignores SIGTERM from here on.
    IgnoreTerm,
    /// Leaves a process behind that has its own session and no parent.
    ForkDaemon,
    /// Deletes the workspace.
    DeleteWorkspace,
    /// Waits for ever.
    Hang,
}

/// How a file changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It becomes this.
    Content(String),
    /// This comes at its end.
    Append(String),
    /// The first text of it that is `from` becomes `to`; it fails if there is none.
    Replace {
        /// What is there.
        from: String,
        /// What takes its place.
        to: String,
    },
}

/// How a failure ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// With an exit code, from 1 to 255.
    Exit(u8),
    /// By a signal to itself.
    Signal(i32),
}

/// Why a script cannot be played.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column} of the script: {message}")]
pub struct ScriptError {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong there, and what would be right.
    pub message: String,
}

/// A wrong place, and what is wrong there.
type Wrong<'a> = (&'a Node, String);

const STEPS: &str = "delay, print, output, note, progress, ask, edit, commit, fail, garbage, ignore_term, \
                     fork_daemon, delete_workspace, hang";

/// Reads a script.
///
/// # Errors
///
/// Fails at the first place that is not what the [module](super) describes.
pub fn parse(text: &str) -> Result<Vec<Step>, ScriptError> {
    let source = Source::new("script", text);
    let at = |offset: u32, message: String| {
        let (line, column) = source.position(offset);
        ScriptError { line, column, message }
    };
    let (tree, findings) = yaml::read(&source);
    if let Some(finding) = findings.into_iter().find(|finding| finding.is_error()) {
        return Err(at(finding.span.start, finding.message));
    }
    let tree = tree.ok_or_else(|| at(0, "the script is empty".to_owned()))?;
    let steps = tree.root.get("steps").unwrap_or(&tree.root);
    list(steps)
        .and_then(|steps| steps.iter().map(step).collect())
        .map_err(|(node, message)| at(node.place().start, message))
}

fn list(node: &Node) -> Result<&[Node], Wrong<'_>> {
    node.items().ok_or_else(|| (node, format!("expected a list of steps, found {}", node.kind_name())))
}

fn text(node: &Node) -> Result<String, Wrong<'_>> {
    node.text()
        .map(str::to_owned)
        .ok_or_else(|| (node, format!("expected a text, found {}", node.kind_name())))
}

fn number<N: TryFrom<i64>>(node: &Node) -> Result<N, Wrong<'_>> {
    node.scalar()
        .and_then(yaml::Scalar::as_int)
        .and_then(|number| N::try_from(number).ok())
        .ok_or_else(|| (node, "expected a whole number that fits".to_owned()))
}

/// Returns the values of a mapping for `keys`, in their order; any other key is wrong.
fn fields<'a, const N: usize>(node: &'a Node, keys: [&str; N]) -> Result<[Option<&'a Node>; N], Wrong<'a>> {
    let entries = node.entries().ok_or_else(|| {
        (node, format!("expected a mapping with {}, found {}", keys.join(", "), node.kind_name()))
    })?;
    for entry in entries {
        if !entry.key.text().is_some_and(|key| keys.contains(&key)) {
            return Err((&entry.key, format!("unknown key; known are {}", keys.join(", "))));
        }
    }
    Ok(keys.map(|key| node.get(key)))
}

fn step(node: &Node) -> Result<Step, Wrong<'_>> {
    let wrong = || (node, format!("expected a step: a mapping with one of {STEPS}"));
    let [entry] = node.entries().ok_or_else(wrong)? else { return Err(wrong()) };
    let value = &entry.value;
    Ok(match entry.key.text().ok_or_else(wrong)? {
        "delay" => Step::Delay(duration(value)?),
        "print" => Step::Print(text(value)?),
        "output" => Step::Output(outputs(value)?),
        "note" => Step::Note(text(value)?),
        "progress" => Step::Progress(fraction(value)?),
        "ask" => ask(value)?,
        "edit" => edit(value)?,
        "commit" => Step::Commit(text(value)?),
        "fail" => fail(value)?,
        "garbage" => {
            let [bytes, seed] = fields(value, ["bytes", "seed"])?;
            let bytes = bytes.ok_or_else(|| (value, "garbage needs `bytes`".to_owned()))?;
            Step::Garbage { bytes: number(bytes)?, seed: seed.map_or(Ok(0), number)? }
        }
        "ignore_term" => yes(value, Step::IgnoreTerm)?,
        "fork_daemon" => yes(value, Step::ForkDaemon)?,
        "delete_workspace" => yes(value, Step::DeleteWorkspace)?,
        "hang" => yes(value, Step::Hang)?,
        _ => return Err((&entry.key, format!("unknown step; known are {STEPS}"))),
    })
}

fn yes(node: &Node, step: Step) -> Result<Step, Wrong<'_>> {
    match node.scalar().map(|scalar| (scalar.is_null(), scalar.as_bool())) {
        Some((true, _) | (_, Some(true))) => Ok(step),
        _ => Err((node, "expected `true`; leave the step out otherwise".to_owned())),
    }
}

fn duration(node: &Node) -> Result<Duration, Wrong<'_>> {
    let wrong = || (node, "expected a time such as 200ms, 5s or 2m".to_owned());
    let text = node.text().ok_or_else(wrong)?;
    let digits = text.find(|each: char| !each.is_ascii_digit()).unwrap_or(text.len());
    let (count, unit) = text.split_at(digits);
    let count: u64 = count.parse().map_err(|_| wrong())?;
    let unit_ms = match unit.trim() {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => return Err(wrong()),
    };
    count.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(wrong)
}

fn fraction(node: &Node) -> Result<f64, Wrong<'_>> {
    let scalar = node.scalar();
    #[expect(clippy::cast_precision_loss, reason = "only 0 and 1 are taken")]
    let whole = scalar.and_then(yaml::Scalar::as_int).map(|number| number as f64);
    scalar
        .and_then(yaml::Scalar::as_float)
        .or(whole)
        .filter(|number| (0.0..=1.0).contains(number))
        .ok_or_else(|| (node, "expected a number from 0 to 1".to_owned()))
}

fn outputs(node: &Node) -> Result<Vec<(String, String)>, Wrong<'_>> {
    let entries = node.entries().ok_or_else(|| (node, "expected a mapping of names to values".to_owned()))?;
    let one = |entry: &'_ yaml::Entry| -> Option<(String, String)> {
        Some((entry.key.text()?.to_owned(), entry.value.text()?.to_owned()))
    };
    entries
        .iter()
        .map(|entry| one(entry).ok_or_else(|| (&entry.value, "expected a text".to_owned())))
        .collect()
}

fn ask(node: &Node) -> Result<Step, Wrong<'_>> {
    if let Some(question) = node.text() {
        return Ok(Step::Ask { question: question.to_owned(), choices: Vec::new(), output: None });
    }
    let [question, choices, output] = fields(node, ["question", "choices", "output"])?;
    let question = question.ok_or_else(|| (node, "ask needs `question`".to_owned()))?;
    let choices = match choices {
        None => Vec::new(),
        Some(choices) => list(choices)?.iter().map(text).collect::<Result<_, _>>()?,
    };
    Ok(Step::Ask { question: text(question)?, choices, output: output.map(text).transpose()? })
}

fn edit(node: &Node) -> Result<Step, Wrong<'_>> {
    let [path, content, append, replace, with] =
        fields(node, ["path", "content", "append", "replace", "with"])?;
    let at = path.ok_or_else(|| (node, "edit needs `path`".to_owned()))?;
    let path = PathBuf::from(text(at)?);
    let inside = |part| matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir);
    if path.as_os_str().is_empty() || !path.components().all(inside) {
        return Err((at, "expected a path within the workspace, without `..`".to_owned()));
    }
    let change = match (content, append, replace, with) {
        (Some(content), None, None, None) => Change::Content(text(content)?),
        (None, Some(append), None, None) => Change::Append(text(append)?),
        (None, None, Some(from), Some(to)) => Change::Replace { from: text(from)?, to: text(to)? },
        _ => return Err((node, "edit needs one of `content`, `append`, or `replace` and `with`".to_owned())),
    };
    Ok(Step::Edit { path, change })
}

fn fail(node: &Node) -> Result<Step, Wrong<'_>> {
    let [class, exit, signal, on_attempt, message] =
        fields(node, ["class", "exit", "signal", "on_attempt", "message"])?;
    let how = match (class, exit, signal) {
        (None, None, None) => How::Exit(1),
        (Some(class), None, None) => How::Exit(code_of(class)?),
        (None, Some(exit), None) => match number(exit)? {
            0 => return Err((exit, "expected an exit code from 1 to 255".to_owned())),
            code => How::Exit(code),
        },
        (None, None, Some(signal)) => match number::<i32>(signal)? {
            number @ 1..=31 => How::Signal(number),
            _ => return Err((signal, "expected a signal from 1 to 31".to_owned())),
        },
        _ => return Err((node, "fail takes one of `class`, `exit` and `signal`".to_owned())),
    };
    let on_attempt = on_attempt.map(number).transpose()?;
    Ok(Step::Fail { how, on_attempt, message: message.map(text).transpose()? })
}

/// Returns the exit code that is read as the class that `node` names.
fn code_of(node: &Node) -> Result<u8, Wrong<'_>> {
    let known = [
        (FailureClass::Transient, "transient"),
        (FailureClass::RateLimited, "rate_limited"),
        (FailureClass::Quota, "quota"),
        (FailureClass::Timeout, "timeout"),
        (FailureClass::InvalidOutput, "invalid_output"),
        (FailureClass::Conflict, "conflict"),
        (FailureClass::Verification, "verification"),
        (FailureClass::Permission, "permission"),
        (FailureClass::Permanent, "permanent"),
    ];
    let class = node.text().and_then(|text| known.iter().find(|(_, name)| *name == text));
    class.and_then(|(class, _)| crate::drivers::exit::code_of(*class)).ok_or_else(|| {
        let names: Vec<_> = known.iter().map(|(_, name)| *name).collect();
        (node, format!("unknown class; known are {}", names.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_read() {
        let script = r#"
steps:
  - delay: 200ms
  - print: "two words"
  - output: { version: 1.4.0, count: 3 }
  - note: n
  - progress: 1
  - ask: { question: "ok?", choices: [yes, no], output: answer }
  - edit: { path: src/a.rs, replace: "-", with: "+" }
  - commit: m
  - fail: { class: rate_limited, on_attempt: 1 }
  - fail: { signal: 9 }
  - garbage: { bytes: 10, seed: 7 }
  - ignore_term: true
  - fork_daemon: true
  - delete_workspace: true
  - hang:
"#;
        let steps = parse(script).unwrap();
        assert_eq!(steps.len(), 15);
        assert_eq!(steps[0], Step::Delay(Duration::from_millis(200)));
        let outputs = [("version", "1.4.0"), ("count", "3")];
        let outputs = outputs.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(steps[2], Step::Output(outputs));
        assert_eq!(steps[4], Step::Progress(1.0));
        let change = Change::Replace { from: "-".to_owned(), to: "+".to_owned() };
        assert_eq!(steps[6], Step::Edit { path: "src/a.rs".into(), change });
        assert_eq!(steps[8], Step::Fail { how: How::Exit(79), on_attempt: Some(1), message: None });
        assert_eq!(steps[14], Step::Hang);
        assert_eq!(parse(r#"[{"print": "as JSON"}]"#).unwrap(), [Step::Print("as JSON".to_owned())]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (script, expected) in [
            ("", "line 1, column 1"),
            ("print: x", "line 1, column 1 of the script: expected a list of steps, found a mapping"),
            ("- print: x\n- sing: y", "line 2, column 3 of the script: unknown step; known are delay"),
            ("- delay: soon", "line 1, column 10 of the script: expected a time"),
            ("- delay: 99999999999999999999s", "line 1, column 10 of the script: expected a time"),
            ("- edit: { path: ../x, content: y }", "line 1, column 17 of the script: expected a path within"),
            ("- edit: { path: /x, content: y }", "line 1, column 17 of the script: expected a path within"),
            ("- edit: { path: x }", "line 1, column 9 of the script: edit needs one of"),
            ("- fail: { class: lost }", "line 1, column 18 of the script: unknown class"),
            ("- fail: { exit: 256 }", "line 1, column 17 of the script: expected a whole number"),
            ("- fail: { exit: 0 }", "line 1, column 17 of the script: expected an exit code"),
            ("- hang: false", "line 1, column 9 of the script: expected `true`"),
            ("- garbage: { bytes: -1 }", "line 1, column 21 of the script: expected a whole number"),
            ("- progress: 2", "line 1, column 13 of the script: expected a number from 0 to 1"),
            ("- { a: 1, b: 2 }", "line 1, column 3 of the script: expected a step"),
            ("- print: [", "line "),
        ] {
            let error = parse(script).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{script}: {error}");
        }
    }
}
