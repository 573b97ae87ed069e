//! What landed, brought into a branch of the user's, and back.

use std::time::Duration;

use kapell_core::id::{AttemptNo, Oid, RunId, TaskId};
use kapell_engine::port::{
    agents::{Agents as _, AttemptKey},
    workspaces::{CheckCommand, MergeOrder, Merged, Setup, WorkspaceError},
};

use super::{CheckWork, Repository, failure};
use crate::{
    git::{self, Entry, ErrorKind, MergeTurn, printable},
    world::checks::Checked,
};

/// How often a merge is tried again because the target has moved meanwhile.
const MERGE_TRIES: usize = 3;

/// How often, and after which pause, a working tree that is busy is tried again once its branch has moved.
const CHECKOUT_TRIES: usize = 5;
const CHECKOUT_PAUSE: Duration = Duration::from_millis(200);

/// What is to be merged, and how it is checked.
#[derive(Debug, Clone, Copy)]
pub struct MergeRequest<'a> {
    /// The run.
    pub run: RunId,
    /// The branch, as a full ref.
    pub target: &'a str,
    /// Where it would begin if it is not there; none if it has to be.
    pub beginning: Option<Oid>,
    /// What landed in the run.
    pub head: Oid,
    /// Whether no check has seen that, because something that had landed was taken back. A merge of it that would change no file is
    /// none.
    pub is_unchecked: bool,
    /// The checks.
    pub accept: &'a [String],
    /// What they need in their workspace.
    pub setup: &'a Setup,
}

/// A merge that passes its checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeProposal {
    /// Where the target is.
    pub from: Oid,
    /// Where it is to be.
    pub to: Oid,
}

/// Why a run cannot be merged.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// The target branch is not there.
    #[error("the branch `{0}` does not exist")]
    NoTarget(String),
    /// Nothing of the run is missing in the target.
    #[error("the target has all that landed already")]
    NothingToMerge,
    /// The target has moved, and what landed does not fit it.
    #[error("what landed conflicts with the target in {}", .0.join(", "))]
    Conflict(Vec<String>),
    /// The target has moved, and the checks fail on both together.
    #[error("the checks fail on the merged tree: {0}")]
    Red(String),
    /// The target moves faster than the checks run.
    #[error("the target moved {MERGE_TRIES} times while the checks ran")]
    Restless,
    /// A working tree, or git, is in the way.
    #[error("{0}")]
    Git(#[from] git::Error),
    /// The checks could not be run.
    #[error("{0}")]
    Checks(String),
}

/// The attempt as which the checks of a merge run.
fn merge_key(run: RunId) -> AttemptKey {
    AttemptKey { run, task: TaskId(0), attempt: AttemptNo(0), compensates: false }
}

/// Says what a person has to do about a branch that has moved while its working tree has not.
fn behind(target: &str, checkout: &git::Error, undo: &git::Error) -> String {
    let branch = target.strip_prefix("refs/heads/").unwrap_or(target);
    format!(
        "{branch} has moved; its working tree could not follow ({checkout}: {}), and {branch} could not be moved back \
         ({undo}: {}): `git restore --staged --worktree .` brings the files to the branch",
        checkout.kind, undo.kind
    )
}

impl Repository {
    /// Takes the turn to merge into a branch of the user's repository, unless another process has it; it is kept until the file in
    /// what is returned is closed.
    ///
    /// # Errors
    ///
    /// Fails if kapell's own repository cannot be written to.
    pub fn merge_turn(&self) -> Result<MergeTurn, git::Error> {
        self.repo.merge_turn()
    }

    /// Returns where a branch of the user's is, if it is there.
    ///
    /// # Errors
    ///
    /// Fails if the repository cannot be read.
    pub fn tip(&self, branch: &str) -> Result<Option<Oid>, git::Error> {
        self.user.find_ref(branch)
    }

    /// Makes the branch `name` (a full ref) of the user's at `base`, from where it is to move to `to` at once. Nothing is left of it
    /// if that would not do.
    ///
    /// # Errors
    ///
    /// Fails if it is there, or checked out before its first commit, and elsewhere.
    pub fn begin_branch(&self, name: &str, base: Oid, to: Oid) -> Result<(), git::Error> {
        // It would become a branch full of files under that working tree, which has none of them.
        let mut worktrees = self.user.worktrees()?.into_iter();
        if let Some(found) = worktrees.find(|worktree| worktree.branch.as_deref() == Some(name)) {
            let kind = ErrorKind::CheckedOut { name: name.to_owned(), worktree: found.path };
            return Err(git::Error::new("make a branch", kind));
        }
        self.repo.offer(&self.user, name, base, base, "kapell: merge")?;
        let prepared = self.repo.prepare_merge(&self.user, name, base, to).map(drop);
        prepared.inspect_err(|_| self.end_branch(name, base))
    }

    /// Removes a branch again that [`Repository::begin_branch`] has made, if it is where it was made. One that somebody has moved or
    /// checked out meanwhile is theirs.
    pub fn end_branch(&self, name: &str, base: Oid) {
        let _ = self.repo.withdraw(&self.user, name, base);
    }

    /// Holds what a run landed in kapell's own repository again, whatever was cleaned up there since it was merged.
    ///
    /// # Errors
    ///
    /// Fails if the commits are nowhere any more, or cannot be written.
    pub fn hold_again(&self, run: RunId, base: Oid, head: Oid) -> Result<(), git::Error> {
        self.repo.hold_again(&self.user, run, base, head)
    }

    /// Finds a commit by which the target would hold all that landed, and runs the checks on it if no check has seen it, in a
    /// workspace with what the setup says.
    ///
    /// # Errors
    ///
    /// Fails if there is nothing to merge, if it does not fit, or if the checks fail. Nothing has moved then.
    pub fn propose_merge(&self, request: &MergeRequest<'_>) -> Result<MergeProposal, MergeError> {
        let &MergeRequest { run, target, head, .. } = request;
        for _ in 0..MERGE_TRIES {
            let tip = self.user.find_ref(target)?;
            let no_target = || MergeError::NoTarget(target.to_owned());
            let from = tip.or(request.beginning).ok_or_else(no_target)?;
            if self.repo.is_ancestor(head, from)? {
                return Err(MergeError::NothingToMerge);
            }
            let to = self.merge_onto(run, from, head)?;
            if request.is_unchecked && self.repo.tree_of(to)? == self.repo.tree_of(from)? {
                return Err(MergeError::NothingToMerge);
            }
            if to != head || request.is_unchecked {
                self.check_merge(request, to)?;
            }
            if self.user.find_ref(target)? == tip {
                // Whatever is in the way of the move is known before it is recorded as intended.
                if tip.is_some() {
                    self.repo.prepare_merge(&self.user, target, from, to)?;
                }
                return Ok(MergeProposal { from, to });
            }
        }
        Err(MergeError::Restless)
    }

    fn check_merge(&self, request: &MergeRequest<'_>, to: Oid) -> Result<(), MergeError> {
        let command = |text: &String| CheckCommand { text: text.clone(), env: Vec::new() };
        let commands: Vec<_> = request.accept.iter().map(command).collect();
        let work = CheckWork { commands: &commands, setup: request.setup };
        match self.run_checks(merge_key(request.run), to, self.repo.tree_of(to)?, &work, false) {
            Ok(Checked::Passed) => Ok(()),
            Ok(Checked::Failed(message)) => Err(MergeError::Red(message)),
            Ok(Checked::Broken(message)) => Err(MergeError::Checks(message)),
            Err(error) => Err(MergeError::Checks(error.message)),
        }
    }

    /// Ends what a merge of a run that is being proposed runs at this moment: its checks, or what prepares a workspace for them.
    pub fn stop_merge(&self, run: RunId) {
        self.agents.stop(merge_key(run));
    }

    fn merge_onto(&self, run: RunId, from: Oid, head: Oid) -> Result<Oid, MergeError> {
        let entry =
            Entry { commit: head, message: format!("Merge what run {run} landed\n\nKapell-Run: {run}\n") };
        let chain = self.repo.chain(from, &[entry], &self.signature(run))?;
        match (chain.prefixes.last(), chain.conflict) {
            (Some(tip), None) => Ok(*tip),
            (_, conflict) => {
                let paths = conflict.map(|conflict| conflict.paths).unwrap_or_default();
                Err(MergeError::Conflict(paths.iter().map(|path| printable(path)).collect()))
            }
        }
    }

    /// Moves the target back to where a merge found it, while it is still where the merge put it; and has the working trees
    /// follow, also where a crash has come between the two.
    ///
    /// # Errors
    ///
    /// Fails if the target has moved since, or a working tree is in the way.
    pub fn undo_merge(&self, target: &str, from: Oid, to: Oid) -> Result<(), git::Error> {
        if self.user.find_ref(target)? != Some(from) {
            self.repo.prepare_merge(&self.user, target, to, from)?;
            self.repo.move_target(&self.user, target, to, from, "kapell: undo merge")?;
        }
        self.repo.finish_checkout(&self.user, target, to, from)?;
        Ok(())
    }

    /// Moves the target as was recorded that it should be, and has the working trees follow.
    pub(super) fn move_to(&self, order: &MergeOrder) -> Result<Merged, WorkspaceError> {
        let MergeOrder { run, target, from, to, .. } = order;
        let reason = format!("kapell: merge run {run}");
        let moved = self.repo.move_target(&self.user, target, *from, *to, &reason);
        match moved {
            Ok(_) => {}
            Err(error) if matches!(*error.kind, ErrorKind::Moved { .. }) => return Ok(Merged::Elsewhere),
            Err(error) => return Err(failure(&error)),
        }
        for _ in 1..CHECKOUT_TRIES {
            match self.repo.finish_checkout(&self.user, target, *from, *to) {
                Ok(_) => return Ok(Merged::Whole),
                // Somebody's git is at work there.
                Err(error) if matches!(*error.kind, ErrorKind::LockHeld { .. }) => {
                    std::thread::sleep(CHECKOUT_PAUSE);
                }
                Err(_) => break,
            }
        }
        match self.repo.finish_checkout(&self.user, target, *from, *to) {
            Ok(_) => Ok(Merged::Whole),
            // A branch that a working tree cannot follow goes back, lest the tree look as if somebody had undone it.
            Err(error) => match self.undo_merge_of(target, *from, *to) {
                Ok(()) => Err(failure(&error)),
                // It has moved on from there, so the merge stands.
                Err(undo) if matches!(*undo.kind, ErrorKind::Moved { .. }) => Ok(Merged::Whole),
                Err(undo) => Ok(Merged::TreeBehind(behind(target, &error, &undo))),
            },
        }
    }

    /// Moves the target back, and the working trees that have followed it already.
    fn undo_merge_of(&self, target: &str, from: Oid, to: Oid) -> Result<(), git::Error> {
        self.repo.move_target(&self.user, target, to, from, "kapell: merge taken back")?;
        // One that has not followed is as it was.
        let _ = self.repo.finish_checkout(&self.user, target, to, from);
        Ok(())
    }
}
