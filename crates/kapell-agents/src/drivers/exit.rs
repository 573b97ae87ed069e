//! How an attempt ended, and what that means.

use kapell_core::{retry::FailureClass, time::Wall};

use super::{client::Evidence, text::last_lines};
use crate::{
    protocol::outputs::Outputs,
    supervise::{Cause, ExitRecord, record::Usage},
};

/// How many lines, and characters, of the output a message holds.
const MESSAGE_LINES: usize = 10;
const MESSAGE_CHARS: usize = 1000;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// It did what it should, as far as it can tell.
    Succeeded,
    /// It did not.
    Failed(FailureClass),
    /// kapell asked it to end; whoever asked knows why.
    Stopped,
}

/// The end of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Exit {
    /// How it ended.
    pub ending: Ending,
    /// What it gave, by name.
    pub outputs: Outputs,
    /// What it used.
    pub usage: Usage,
    /// What a person should read first: why it failed, and the last lines of its output, made safe to show.
    pub message: String,
    /// All that is known, where a process ran.
    pub record: Option<Box<ExitRecord>>,
    /// When its provider says that it may be asked again.
    pub until: Option<Wall>,
    /// What is known besides, where a client worked.
    pub evidence: Option<Box<Evidence>>,
}

impl Exit {
    /// Makes the end of an attempt that had no process and succeeded.
    #[must_use]
    pub fn success(outputs: Outputs) -> Self {
        Self {
            ending: Ending::Succeeded,
            outputs,
            usage: Usage::default(),
            message: String::new(),
            record: None,
            until: None,
            evidence: None,
        }
    }

    /// Makes the end of an attempt that had no process and did not succeed.
    #[must_use]
    pub fn without_process(ending: Ending, message: String) -> Self {
        Self { ending, message, ..Self::success(Outputs::new()) }
    }

    /// Reads the end from the record of a process.
    #[must_use]
    pub fn from_record(record: ExitRecord) -> Self {
        let (ending, why) = classify(&record);
        let last = last_lines(&record.tail, MESSAGE_LINES, MESSAGE_CHARS);
        let message = match ending {
            Ending::Succeeded => last,
            _ if last.is_empty() => why,
            _ => format!("{why}\n{last}"),
        };
        let outputs = match ending {
            Ending::Succeeded => record.outputs.clone(),
            _ => Outputs::new(),
        };
        let (usage, record) = (record.usage, Some(Box::new(record)));
        Self { ending, outputs, usage, message, record, until: None, evidence: None }
    }
}

/// Says what the end of a process means, and why, in words.
///
/// | end | meaning |
/// |---|---|
/// | exit 0 | succeeded; `invalid_output` if its outputs cannot be taken |
/// | exit 65 (`EX_DATAERR`) | `invalid_output` |
/// | exit 75 (`EX_TEMPFAIL`) | `transient` |
/// | exit 77 (`EX_NOPERM`) | `permission` |
/// | exit 78 (`EX_CONFIG`) | `permanent` |
/// | exit 79, 80, 81, 82 | `rate_limited`, `quota`, `conflict`, `verification`: ours, for agents that know |
/// | exit 124 (as of `timeout`) | `timeout` |
/// | exit 126, 127, or not started | `permanent`: it cannot be run |
/// | any other exit, any signal | `transient`: whether it is tried again, `retry` decides |
/// | ended by the supervisor's timeout | `timeout` |
/// | ended because kapell was gone | `lost` |
/// | ended because it held too much memory, or printed too much to be read along | `permanent` |
/// | ended because kapell asked | stopped |
///
/// Source of the codes: sysexits(3), POSIX "Shell Command Language" 2.8.2, timeout(1).
#[must_use]
pub fn classify(record: &ExitRecord) -> (Ending, String) {
    use FailureClass as F;
    let failed = |class, why: String| (Ending::Failed(class), why);
    match (record.cause, record.code, record.signal) {
        (Cause::Stopped, ..) => (Ending::Stopped, "it was stopped".to_owned()),
        (Cause::TimedOut, ..) => {
            failed(F::Timeout, format!("it was ended after {} ms", record.usage.wall_ms))
        }
        (Cause::OwnerGone, ..) => failed(F::Lost, "kapell was gone".to_owned()),
        (Cause::OverMemory, ..) => {
            let held = record.usage.rss_max_kib.unwrap_or(0) / 1024;
            failed(
                F::Permanent,
                format!("it was ended: it held {held} MiB of memory, more than `memory` lets it"),
            )
        }
        (Cause::OverOutput, ..) => {
            let printed = format!("it was ended: it had printed {} MiB", record.printed.bytes >> 20);
            match record.notes.first() {
                // A full disk, perhaps: it passes.
                Some(note) => failed(F::Transient, format!("it was ended: {note}")),
                None => failed(F::Permanent, format!("{printed}, more than can be read along")),
            }
        }
        (Cause::NotStarted, ..) => failed(
            F::Permanent,
            record.start_error.clone().unwrap_or_else(|| "it could not start".to_owned()),
        ),
        (Cause::Itself, Some(0), _) => match &record.outputs_error {
            None => (Ending::Succeeded, String::new()),
            Some(error) => failed(F::InvalidOutput, error.clone()),
        },
        (Cause::Itself, Some(code), _) => failed(class_of(code), explain_code(code)),
        (Cause::Itself, None, Some(signal)) => {
            failed(F::Transient, format!("it was ended by signal {signal}"))
        }
        (Cause::Itself, None, None) => failed(F::Transient, "it ended, nobody knows how".to_owned()),
    }
}

/// The exit codes that name a class; the first one of a class is the one to end with.
const CODES: &[(i32, FailureClass)] = &[
    (65, FailureClass::InvalidOutput),
    (75, FailureClass::Transient),
    (77, FailureClass::Permission),
    (EXIT_CONFIG as i32, FailureClass::Permanent),
    (79, FailureClass::RateLimited),
    (80, FailureClass::Quota),
    (81, FailureClass::Conflict),
    (82, FailureClass::Verification),
    (124, FailureClass::Timeout),
    (126, FailureClass::Permanent),
    (127, FailureClass::Permanent),
];

/// `EX_CONFIG`: it can never work this way.
pub(crate) const EXIT_CONFIG: u8 = 78;

fn class_of(code: i32) -> FailureClass {
    CODES.iter().find(|(known, _)| *known == code).map_or(FailureClass::Transient, |(_, class)| *class)
}

/// Returns the exit code that is read as `class`; none is read as [`FailureClass::Lost`] or
/// [`FailureClass::Budget`], which only kapell can tell.
#[must_use]
pub fn code_of(class: FailureClass) -> Option<u8> {
    let code = CODES.iter().find(|(_, known)| *known == class);
    code.and_then(|(code, _)| u8::try_from(*code).ok())
}

fn explain_code(code: i32) -> String {
    match code {
        126 => "exit 126: a command is there but cannot be run (is it executable?)".to_owned(),
        127 => "exit 127: a command was not found (is it in PATH?)".to_owned(),
        _ => format!("exit {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(cause: Cause, code: Option<i32>, signal: Option<i32>) -> ExitRecord {
        let mut record = ExitRecord::new("a", cause);
        record.code = code;
        record.signal = signal;
        record.tail = "last\u{1b}[2J\n".to_owned();
        record.outputs.insert("k".to_owned(), "v".to_owned());
        record
    }

    #[test]
    fn every_end_has_its_meaning() {
        use FailureClass as F;
        for (cause, code, signal, expected) in [
            (Cause::Itself, Some(0), None, Ending::Succeeded),
            (Cause::Itself, Some(1), None, Ending::Failed(F::Transient)),
            (Cause::Itself, Some(65), None, Ending::Failed(F::InvalidOutput)),
            (Cause::Itself, Some(75), None, Ending::Failed(F::Transient)),
            (Cause::Itself, Some(77), None, Ending::Failed(F::Permission)),
            (Cause::Itself, Some(78), None, Ending::Failed(F::Permanent)),
            (Cause::Itself, Some(79), None, Ending::Failed(F::RateLimited)),
            (Cause::Itself, Some(80), None, Ending::Failed(F::Quota)),
            (Cause::Itself, Some(81), None, Ending::Failed(F::Conflict)),
            (Cause::Itself, Some(82), None, Ending::Failed(F::Verification)),
            (Cause::Itself, Some(124), None, Ending::Failed(F::Timeout)),
            (Cause::Itself, Some(126), None, Ending::Failed(F::Permanent)),
            (Cause::Itself, Some(127), None, Ending::Failed(F::Permanent)),
            (Cause::Itself, None, Some(11), Ending::Failed(F::Transient)),
            (Cause::Itself, None, None, Ending::Failed(F::Transient)),
            (Cause::Stopped, Some(0), None, Ending::Stopped),
            (Cause::TimedOut, None, Some(15), Ending::Failed(F::Timeout)),
            (Cause::OwnerGone, Some(0), None, Ending::Failed(F::Lost)),
            (Cause::NotStarted, None, None, Ending::Failed(F::Permanent)),
            (Cause::OverOutput, None, Some(15), Ending::Failed(F::Permanent)),
        ] {
            let exit = Exit::from_record(ended(cause, code, signal));
            assert_eq!(exit.ending, expected, "{cause:?} {code:?} {signal:?}");
            assert_eq!(exit.outputs.is_empty(), expected != Ending::Succeeded);
            assert!(exit.message.ends_with(r"last\u{1b}[2J"), "{}", exit.message);
        }
    }

    #[test]
    fn every_class_that_an_agent_can_tell_has_a_code_of_its_own() {
        for class in FailureClass::ALL {
            assert_eq!(
                code_of(class).map(|code| class_of(code.into())),
                (!matches!(class, FailureClass::Lost | FailureClass::Budget)).then_some(class)
            );
        }
    }

    #[test]
    fn a_success_with_outputs_that_cannot_be_taken_is_none() {
        let mut record = ended(Cause::Itself, Some(0), None);
        record.outputs_error = Some("line 1".to_owned());
        assert_eq!(Exit::from_record(record).ending, Ending::Failed(FailureClass::InvalidOutput));
    }
}
