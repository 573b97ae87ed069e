//! The mission: what is asked, and within which limits.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    budget::Limits,
    id::{AttemptNo, Digest, Oid, RunId, TaskId},
    journal::Version,
    retry::Persistence,
    time::Wall,
};

/// What is asked of a run. It never changes; limits can be raised later by a command.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Mission {
    /// The objective, in words.
    pub objective: String,
    /// What it may use.
    pub limits: Limits,
    /// Until when it must be done, on the wall clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Wall>,
    /// Commands that must pass on every tree that lands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accept: Vec<String>,
    /// Whether a failure takes back what was done, in reverse order.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub saga: bool,
    /// The branch that the run starts from and that a merge moves, as a full ref name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The commit that the run starts from; `None` outside a git repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Oid>,
    /// For how long what is nobody's fault is tried again.
    #[serde(default, skip_serializing_if = "Persistence::is_default")]
    pub persistence: Persistence,
    /// The seed of everything that is drawn at random, such as the jitter of retries.
    pub seed: u64,
    /// Values given by the caller, seen by expressions as `inputs`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, String>,
    /// The digest of the workflow file and its inputs, by which an unfinished run of the same is found again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Digest>,
    /// Where the workflow file lies, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Who started it, if it is a child run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// Which run it was forked from, and at which decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<(RunId, Version)>,
    /// The commit that the first of the runs started from whose results it takes over; `None` if that is its own base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Oid>,
    /// What the programs of its agents were when it was made, by adapter: a result holds for one version only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub versions: BTreeMap<String, String>,
}

impl Mission {
    /// Returns the commit that everything of the run goes back to, its own work and what it takes over.
    #[must_use]
    pub fn start(&self) -> Option<Oid> {
        self.origin.or(self.base)
    }
}

/// The attempt that started a child run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Its run.
    pub run: RunId,
    /// Its task.
    pub task: TaskId,
    /// The attempt.
    pub attempt: AttemptNo,
}
