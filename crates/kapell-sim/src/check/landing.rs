//! Landing: only what was tested lands, and the right one is blamed.

use kapell_core::landing::Blame;

use super::{Checked, Checker, FailureClass, Git, Oid, Phase, Stand, TaskId, Violation, ensure};

impl Checker {
    pub(super) fn landing_started(&mut self, from: Oid, to: Oid, git: &Git) -> Checked {
        // One that failed is asked for again.
        let again = self.ref_move == Some((from, to));
        ensure!(self.ref_move.is_none() || again, "the integration ref moves twice at once");
        ensure!(from == self.head, "the integration ref is to move from where it is not");
        if self.phase == Phase::Compensating {
            let reversal = self.done.last().and_then(|task| self.at(*task).reversal);
            ensure!(reversal == Some(to), "something lands while others are taken back");
            self.ref_move = Some((from, to));
            return Ok(());
        }
        ensure!(git.green.contains(&to), "a tree is to land that never passed");
        ensure!(!git.is_red(to), "a red tree is to land");
        self.ref_move = Some((from, to));
        Ok(())
    }

    pub(super) fn landed(&mut self, task: TaskId, commit: Oid, git: &Git) -> Checked {
        ensure!(self.at(task).stand == Stand::Verified, "a task lands that is {:?}", self.at(task).stand);
        let Some((_, to)) = self.ref_move else {
            return Err(Violation("a task lands though the ref does not move".to_owned()));
        };
        let tree = git.tasks_in(commit);
        ensure!(tree.last() == Some(&task), "the commit brings in something else");
        self.landed.push(task);
        if commit == to {
            ensure!(git.head == to, "a task has landed, but the integration ref is elsewhere");
            ensure!(tree == self.landed, "the integration ref holds {tree:?}, not what landed");
            self.head = to;
            self.ref_move = None;
        }
        self.settle(task, Stand::Landed);
        Ok(())
    }

    pub(super) fn sent_back(&self, task: TaskId, blame: &Blame, git: &Git) -> Checked {
        ensure!(self.at(task).stand == Stand::Verified, "a change is sent back that does not wait to land");
        let Some(commit) = self.at(task).commit else { return Ok(()) };
        match blame {
            Blame::Alone => {
                ensure!(self.flaky || git.base_was_red || git.is_culprit(commit), "a good change is blamed");
            }
            Blame::With(other) => {
                let landed = self.at(*other).commit;
                ensure!(self.at(*other).stand == Stand::Landed, "it is to clash with what has not landed");
                let clash = landed.is_some_and(|landed| git.clash(commit, landed));
                ensure!(
                    self.flaky || git.base_was_red || clash,
                    "a change is blamed that does not clash with that"
                );
            }
            Blame::Conflict(_) => ensure!(git.has_conflicts(commit), "a change is in conflict with none"),
        }
        Ok(())
    }

    pub(super) fn check_blame(&self, task: TaskId, class: FailureClass, git: &Git) -> Checked {
        let fitting = matches!(class, FailureClass::Verification | FailureClass::Conflict);
        ensure!(fitting, "a {class} failure of a verified change");
        let landing = self.ref_move.is_some_and(|(_, to)| git.tasks_in(to).contains(&task));
        ensure!(!landing, "a change is sent back that is about to land");
        Ok(())
    }
}
