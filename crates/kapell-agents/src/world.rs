//! The engine's ports, on top of crew, pool and kapell's own repository: how a run meets this machine.

mod agents; // attempts, performed by the crew
mod broker; // clients and the model proxy
mod checks; // acceptance commands, run under supervision
mod facts; // what a repository says before an attempt begins
mod missing; // commands that a workspace has no program for

mod contained; // which attempts are contained, and how
mod plain; // outside a repository: tasks work in place
mod repository; // in a repository: clones, captures, landing, merge
mod scratch; // directories of attempts that need no repository
mod unfinished; // what an attempt left, for the next one

use std::{ffi::OsString, path::PathBuf};

use crate::drivers::{
    client::{AllSettings, Prices},
    mcp::Servers,
};

pub use self::{
    agents::{CrewAgents, Program, adapters},
    broker::{Broker, Told},
    contained::{ContainError, Keeper},
    plain::Plain,
    repository::{MergeError, MergeProposal, MergeRequest, Repository, RepositoryConfig},
};

/// Where things of this store are kept, and what processes get.
#[derive(Debug, Clone)]
pub struct Places {
    /// One directory for each attempt: its output, its exit record.
    pub attempts: PathBuf,
    /// Scratch directories of attempts that need no repository.
    pub scratch: PathBuf,
    /// Directories that tasks share, by name.
    pub shared: PathBuf,
    /// The environment that every process gets: the allowed part of kapell's own.
    pub env: Vec<(OsString, OsString)>,
    /// What the user has set for coding agents.
    pub clients: AllSettings,
    /// MCP servers whose tools tasks call.
    pub servers: Servers,
    /// What models cost.
    pub prices: Prices,
}

impl Places {
    /// Returns the directory of an attempt.
    #[must_use]
    pub fn attempt(&self, key: kapell_engine::port::agents::AttemptKey) -> PathBuf {
        let kind = if key.compensates { "c" } else { "" };
        self.attempts.join(key.run.to_string()).join(format!("{}-{kind}{}", key.task, key.attempt))
    }
}
