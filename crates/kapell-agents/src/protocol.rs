//! What an agent can say to kapell while it works, in any language.
//!
//! Two ways lead in. A file, named by `KAPELL_OUTPUT`, takes outputs and needs no program at all (see
//! [`outputs`]).

pub mod outputs; // what a task gives, by name, and the file that it writes them to

use std::fmt;

use kapell_core::id::{AttemptNo, RunId, TaskId};

/// Names an attempt among those of all runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptKey {
    /// The run.
    pub run: RunId,
    /// The task.
    pub task: TaskId,
    /// Which try at it.
    pub attempt: AttemptNo,
    /// Whether it takes the task back rather than doing it.
    pub compensates: bool,
}

impl fmt::Display for AttemptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.compensates { "-undo" } else { "" };
        write!(f, "{}-{}-{}{what}", self.run, self.task, self.attempt)
    }
}
