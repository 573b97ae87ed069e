//! The workspaces port: where attempts work, how their changes come out, are checked, and land.

use std::{collections::BTreeMap, path::PathBuf};

use kapell_core::{
    command::Verdict,
    id::{Oid, RunId},
    landing::{Probe, Probed},
    plan::{Protect, WorkspaceKind},
    retry::FailureClass,
    task::Change,
};

use super::agents::{AttemptKey, EarlierWork};

/// A workspace to be made ready.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The attempt that will work there.
    pub key: AttemptKey,
    /// Its task's name.
    pub name: String,
    /// What it is.
    pub kind: WorkspaceKind,
    /// The commit that it starts from, if it holds files of the repository.
    pub base: Option<Oid>,
    /// Commands that make it ready, once for each workspace.
    pub prepare: Vec<String>,
    /// Ignored paths to be copied from the checkout.
    pub carry: Vec<String>,
    /// Directories kept between tasks, by the variable that names them.
    pub cache: BTreeMap<String, String>,
    /// Whether it begins with what the attempt before left unfinished, where that still fits.
    pub goes_on: bool,
}

/// A workspace that is ready.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ready {
    /// Its directory.
    pub dir: PathBuf,
    /// Variables that the attempt needs to know about it.
    pub env: Vec<(String, String)>,
    /// What the attempt before left unfinished.
    pub earlier: Option<EarlierWork>,
}

/// What is to be known of a repository before an attempt begins.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FactsRequest {
    /// The commit that the run starts from; without it nothing is to be known.
    pub base: Option<Oid>,
    /// Files of that commit.
    pub files: Vec<String>,
    /// Changes, with the names of the tasks that made them.
    pub changes: Vec<(String, Change)>,
}

/// What is known. All of it is text of others.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// The files that are there.
    pub files: Vec<(String, String)>,
    /// The changes as patches.
    pub changes: Vec<(String, String)>,
    /// What stands at the top of the commit's tree; directories end in `/`.
    pub tree: Vec<String>,
}

/// A command that must pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckCommand {
    /// Its text, for a shell.
    pub text: String,
    /// The environment that the plan gives it.
    pub env: Vec<(String, String)>,
}

/// What a workspace holds and does before anything runs in it, besides files of the repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Setup {
    /// Ignored paths to be copied from the checkout.
    pub carry: Vec<String>,
    /// Commands that make it ready, once for each workspace.
    pub prepare: Vec<String>,
    /// Directories kept between tasks, by the variable that names them.
    pub cache: BTreeMap<String, String>,
}

/// Checks to be run on the result of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// The attempt.
    pub key: AttemptKey,
    /// The change; without one the checks run where the attempt worked.
    pub change: Option<Change>,
    /// The commands.
    pub commands: Vec<CheckCommand>,
    /// What the change must not touch.
    pub protect: Protect,
    /// What the workspace of the checks needs: what the attempt had.
    pub setup: Setup,
}

/// Changes to be merged and checked together.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// The run.
    pub run: RunId,
    /// Which changes, onto what.
    pub probe: Probe,
    /// The names of their tasks.
    pub names: Vec<String>,
    /// The commands.
    pub commands: Vec<CheckCommand>,
    /// What the workspace of the checks needs: what the attempt had.
    pub setup: Setup,
}

/// A move of the user's branch.
#[derive(Debug, Clone, PartialEq)]
pub struct MergeOrder {
    /// The run.
    pub run: RunId,
    /// The branch, as a full ref name.
    pub target: String,
    /// Where it must be.
    pub from: Oid,
    /// Where it is to be.
    pub to: Oid,
    /// Whether a process that is gone began it: whose turn it is to merge has to be asked again then.
    pub is_left: bool,
}

/// Why a workspace cannot do what is asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct WorkspaceError {
    /// What kind of failure of the attempt it is.
    pub class: FailureClass,
    /// What went wrong.
    pub message: String,
}

/// What became of a move of the user's branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merged {
    /// It has moved, and its working trees with it.
    Whole,
    /// It has moved, and a working tree stayed behind: why, and what a person can do.
    TreeBehind(String),
    /// It was not where it was expected, and has not moved.
    Elsewhere,
}

/// What is done with a workspace when its attempt is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// The result is recorded: it can be used for another attempt.
    Kept,
    /// Nothing of it is recorded: what is in it must be held by a salvage ref first.
    Salvage,
}

/// Makes workspaces, and is the only one to touch repositories.
pub trait Workspaces: Send + Sync {
    /// Holds the base of a run, and sets up its integration ref there. Idempotent.
    ///
    /// # Errors
    ///
    /// Fails if the repository refuses.
    fn begin(&self, run: RunId, base: Oid) -> Result<(), WorkspaceError>;

    /// Makes a workspace ready. May take long: while it waits for others, it asks whether it is `stopped`.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be made, or was stopped; nothing of it is left then.
    fn open(&self, request: &Request, stopped: &dyn Fn() -> bool) -> Result<Ready, WorkspaceError>;

    /// Takes the change out of a workspace: committed, and held against collection. `name` is that of the task.
    ///
    /// The same change gives the same commit, so that it can be taken again after a crash. Returns `None` if nothing was changed.
    ///
    /// # Errors
    ///
    /// Fails if the workspace is gone, was changed though it must not be, or holds what cannot be taken.
    fn capture(&self, key: AttemptKey, name: &str) -> Result<Option<Change>, WorkspaceError>;

    /// Gives a workspace back. Nothing is deleted that is not held elsewhere.
    fn close(&self, key: AttemptKey, how: Close);

    /// Gives back the workspaces of a run that nobody works in any more, as after a crash.
    fn sweep(&self, run: RunId, in_use: &[AttemptKey]);

    /// Takes in that `commands` have passed on the tree of `commit`, as an earlier process found out.
    fn passed(&self, commit: Oid, commands: &[CheckCommand]) {
        let _ = (commit, commands);
    }

    /// Looks up what an attempt is to be told. What cannot be read is left away: it can work without.
    fn facts(&self, request: &FactsRequest) -> Facts {
        let _ = request;
        Facts::default()
    }

    /// Runs checks on a result.
    fn check(&self, check: &Check) -> Verdict;

    /// Merges changes and runs checks on what comes out.
    ///
    /// # Errors
    ///
    /// Fails if that could not be done at all.
    fn probe(&self, trial: &Trial) -> Result<Probed, WorkspaceError>;

    /// Returns the change that leads from `base` to `commit`, a commit that is held already.
    ///
    /// # Errors
    ///
    /// Fails if it is not there.
    fn change(&self, base: Oid, commit: Oid) -> Result<Change, WorkspaceError>;

    /// Moves the integration ref of a run by compare-and-swap. Succeeds if it is there already.
    ///
    /// # Errors
    ///
    /// Fails if the ref is somewhere else.
    fn move_ref(&self, run: RunId, from: Oid, to: Oid) -> Result<(), WorkspaceError>;

    /// Moves the user's branch and the checkouts that follow it. Finishes what a crash left half done.
    ///
    /// # Errors
    ///
    /// Fails if the repository refuses; nothing has moved then.
    fn merge(&self, order: &MergeOrder) -> Result<Merged, WorkspaceError>;
}
