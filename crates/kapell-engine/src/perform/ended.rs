//! What came of effects, as commands that say so, in texts that are short enough to be kept.

use kapell_core::{
    command::{Command, Exit, Verdict},
    event::Outputs,
    expr::EvalError,
    id::{AttemptNo, TaskId},
    landing::Probed,
    retry::FailureClass,
};

use crate::port::{
    agents::{AttemptKey, Ending, Failure},
    workspaces::WorkspaceError,
};

/// The most bytes of a message that are recorded.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// The most paths of a conflict that are recorded.
const PATHS_MAX: usize = 50;

pub(crate) fn finish(task: TaskId, attempt: AttemptNo, exit: Exit) -> Command {
    Command::Finish { task, attempt, exit }
}

pub(super) fn succeeded(change: Option<kapell_core::task::Change>, outputs: Outputs) -> Exit {
    Exit::Succeeded { change, outputs, spent: Default::default() }
}

pub(crate) fn cannot_compute(error: &EvalError) -> Exit {
    Exit::Failed {
        class: FailureClass::Permanent,
        message: format!("an expression cannot be computed: {error}"),
        spent: Default::default(),
        until: None,
    }
}

pub(super) fn transient(message: String) -> Failure {
    Failure { class: FailureClass::Transient, message, until: None }
}

pub(super) fn failed(failure: Failure) -> Ending {
    Ending { result: Err(failure), outputs: Outputs::new(), spent: Default::default(), used: None }
}

pub(super) fn broken(message: &str) -> Ending {
    failed(transient(message.to_owned()))
}

/// Shortens a message that is too long to be kept: its beginning says what failed, its end how.
pub(crate) fn short(text: String) -> String {
    if text.len() <= MESSAGE_BYTES_MAX {
        return text;
    }
    let whole = |at: &usize| text.is_char_boundary(*at);
    let head = (0..=MESSAGE_BYTES_MAX / 4).rev().find(whole).unwrap_or(0);
    let tail = (text.len() - MESSAGE_BYTES_MAX * 3 / 4..).find(whole).unwrap_or(text.len());
    format!("{}\n[{} bytes left out]\n{}", &text[..head], tail - head, &text[tail..])
}

pub(super) fn short_verdict(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Passed => Verdict::Passed,
        Verdict::Failed { message } => Verdict::Failed { message: short(message) },
        Verdict::Doubtful { question } => Verdict::Doubtful { question: short(question) },
        Verdict::Broken { message } => Verdict::Broken { message: short(message) },
    }
}

pub(super) fn short_outcome(outcome: Probed) -> Probed {
    match outcome {
        Probed::Red { tips, message } => Probed::Red { tips, message: short(message) },
        Probed::Conflict { index, mut paths } if paths.len() > PATHS_MAX => {
            let more = paths.len() - PATHS_MAX;
            paths.truncate(PATHS_MAX);
            paths.push(format!("and {more} more"));
            Probed::Conflict { index, paths }
        }
        other => other,
    }
}

/// Turns the end of an attempt, and what came out of its workspace, into the command that says so.
pub(super) fn end_command(
    key: AttemptKey,
    ending: Ending,
    change: Result<Option<kapell_core::task::Change>, WorkspaceError>,
) -> Command {
    let Ending { result, outputs, spent, .. } = ending;
    if key.compensates {
        let result = result.map_err(|failure| failure.message);
        let (change, failure) = match result.and_then(|()| change.map_err(|error| error.message)) {
            Ok(change) => (change, None),
            Err(message) => (None, Some(short(message))),
        };
        return Command::Compensated { task: key.task, attempt: key.attempt, change, failure };
    }
    let exit = match (result, change) {
        (Ok(()), Ok(change)) => Exit::Succeeded { change, outputs, spent },
        (Ok(()), Err(error)) => {
            Exit::Failed { class: error.class, message: short(error.message), spent, until: None }
        }
        (Err(Failure { class, message, until }), _) => {
            Exit::Failed { class, message: short(message), spent, until }
        }
    };
    finish(key.task, key.attempt, exit)
}
