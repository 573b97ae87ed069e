//! Exit codes: part of what kapell promises to scripts.

use std::process::ExitCode;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Finished, with failures or findings.
    Failures = 1,
    /// The command line or a file is not as it should be.
    Usage = 2,
    /// Something waits for a person, or for an agent that is not there.
    Waits = 3,
    /// Refused by budget or policy.
    Refused = 4,
    /// The store is locked, damaged or full.
    Store = 5,
    /// The environment lacks something.
    Environment = 6,
    /// A bug of ours.
    Bug = 70,
    /// A deadline is over.
    Deadline = 124,
    /// Interrupted; it can be resumed.
    Interrupted = 130,
}

impl Exit {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Done,
        Self::Failures,
        Self::Usage,
        Self::Waits,
        Self::Refused,
        Self::Store,
        Self::Environment,
        Self::Bug,
        Self::Deadline,
        Self::Interrupted,
    ];

    /// Returns the graver of the two: what tells more people to look.
    pub fn or_graver(self, other: Self) -> Self {
        let gravity = |exit| match exit {
            Self::Done => 0,
            Self::Waits => 1,
            Self::Refused => 2,
            Self::Deadline => 3,
            Self::Failures => 4,
            Self::Interrupted => 5,
            Self::Usage | Self::Environment | Self::Store => 6,
            Self::Bug => 7,
        };
        if gravity(other) > gravity(self) { other } else { self }
    }

    /// Says what it means.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failures => "finished with failures or findings",
            Self::Usage => "the command line or a file is not as it should be",
            Self::Waits => "waits for a person or a missing agent",
            Self::Refused => "refused by budget or policy",
            Self::Store => "the store is locked, damaged or full",
            Self::Environment => "the environment lacks something",
            Self::Bug => "a bug of kapell",
            Self::Deadline => "a deadline is over",
            Self::Interrupted => "interrupted; it can be resumed",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
