//! Taking back, pausing and ending.

use kapell_core::{budget::Exceeded, event::Outcome};

use super::{
    Amount, AttemptNo, Change, Checked, Checker, Elapsed, Git, Millis, Oid, PauseCause, Phase, Stand, TaskId,
    Violation, Wall, ensure,
};

impl Checker {
    pub(super) fn compensation_started(&mut self, task: TaskId, attempt: AttemptNo) -> Checked {
        ensure!(self.phase == Phase::Compensating, "something is taken back while {:?}", self.phase);
        ensure!(self.done.last() == Some(&task), "taken back out of order: {task} of {:?}", self.done);
        let stand = self.at(task).stand;
        ensure!(stand.is_success() || stand == Stand::Stuck, "taken back, but it is {stand:?}");
        self.watch(task).stand = Stand::Compensating(attempt);
        Ok(())
    }

    /// A try at taking `task` back has a time limit: that of the task, or an hour.
    pub(super) fn undo_within(&mut self, task: TaskId, by: Option<Elapsed>) -> Checked {
        let limit = self.plan.definition(task).timeout.unwrap_or(Millis(3_600_000));
        ensure!(by == Some(self.clock.after(limit)), "a compensation may take until {by:?}");
        self.watch(task).undo_by = by;
        Ok(())
    }

    /// What a compensation changed is to land on top of what has.
    pub(super) fn compensation_submitted(
        &mut self,
        task: TaskId,
        attempt: AttemptNo,
        change: Change,
    ) -> Checked {
        let stand = self.at(task).stand;
        ensure!(stand == Stand::Compensating(attempt), "a compensation ends, but the task is {stand:?}");
        ensure!(change.base == self.head, "a compensation did not start from what has landed");
        let watched = self.watch(task);
        watched.stand = Stand::Reversing;
        watched.reversal = Some(change.commit);
        Ok(())
    }

    pub(super) fn compensated(
        &mut self,
        task: TaskId,
        commit: Option<Oid>,
        left: bool,
        git: &Git,
    ) -> Checked {
        let stand = self.at(task).stand;
        match (stand, commit) {
            (Stand::Compensating(_), None) => {
                ensure!(!left, "a person leaves what is being taken back");
                ensure!(!git.reverted.contains(&task), "what a compensation changed is dropped");
            }
            (Stand::Stuck, None) => ensure!(left, "what could not be taken back is, and nobody left it"),
            (Stand::Reversing, Some(commit)) => {
                let moves = self.ref_move.is_some_and(|(_, to)| to == commit);
                ensure!(moves && git.head == commit, "taken back, but the integration ref is elsewhere");
                self.landed.retain(|landed| *landed != task);
                ensure!(git.tasks_in(commit) == self.landed, "taken back with something else");
                (self.head, self.ref_move) = (commit, None);
            }
            (stand, commit) => {
                return Err(Violation(format!("taken back by {commit:?}, but it is {stand:?}")));
            }
        }
        ensure!(self.done.pop() == Some(task), "taken back out of order");
        self.watch(task).stand = Stand::Compensated;
        Ok(())
    }

    pub(super) fn check_pause(&self, why: &PauseCause, at: Wall) -> Checked {
        match why {
            PauseCause::Person
            | PauseCause::BaseIsRed { .. }
            | PauseCause::LandingFails { .. }
            | PauseCause::Parent { .. } => {}
            PauseCause::Deadline => {
                ensure!(self.deadline.is_some_and(|deadline| deadline <= at), "paused before the deadline");
            }
            PauseCause::Budget(Exceeded::Wall) => ensure!(self.wall_spent(), "there is time left"),
            PauseCause::Budget(_) => {
                let limited = self.limits.usd_micros.is_some() || self.limits.tokens.is_some();
                ensure!(limited, "a budget is used up that there is not");
            }
        }
        Ok(())
    }

    /// Returns what the parent wants of the run: that what runs is stopped, or ends by itself.
    pub(super) fn is_held(&self) -> Option<bool> {
        match self.phase {
            Phase::Paused(PauseCause::Parent { stop }) => Some(stop),
            Phase::Paused(_) => self.parent_holds,
            _ => None,
        }
    }

    pub(super) fn paused(&mut self, why: &PauseCause) -> Checked {
        let legal = matches!(
            (&self.phase, why),
            (Phase::Active, _)
                | (Phase::Paused(_), PauseCause::LandingFails { .. })
                | (Phase::Paused(PauseCause::Parent { .. }), PauseCause::Person)
        );
        ensure!(legal, "paused while {:?}", self.phase);
        match why {
            PauseCause::Parent { stop } => {
                let held = self.parent_holds.take();
                ensure!(held.is_none_or(|held| held == *stop), "held in another way than the parent wants");
            }
            // A hold outlasts what else pauses the run.
            _ => self.parent_holds = self.is_held(),
        }
        self.phase = Phase::Paused(why.clone());
        Ok(())
    }

    pub(super) fn hold_on(&mut self, stop: bool) -> Checked {
        ensure!(self.is_held() != Some(stop), "held as it is already");
        match &mut self.phase {
            Phase::Paused(PauseCause::Parent { stop: held }) => *held = stop,
            Phase::Paused(_) => self.parent_holds = Some(stop),
            phase => return Err(Violation(format!("held while {phase:?}"))),
        }
        Ok(())
    }

    /// Nothing may be under way any more.
    pub(super) fn check_quiet(&self) -> Checked {
        let is_busy = |stand| {
            use Stand as S;
            matches!(
                stand,
                S::Running | S::Submitted | S::Verified | S::Compensating(_) | S::Reversing | S::Stuck
            )
        };
        let busy = self.tasks.iter().position(|task| is_busy(task.stand));
        ensure!(busy.is_none(), "task {busy:?} is still under way");
        ensure!(self.reserved == Amount::ZERO, "{:?} is still reserved", self.reserved);
        ensure!(self.expected == Amount::ZERO, "{:?} is still held", self.expected);
        ensure!(self.held.is_empty(), "claims are still held: {:?}", self.held);
        ensure!(self.ref_move.is_none(), "the integration ref is still moving");
        Ok(())
    }

    pub(super) fn finished(&mut self, outcome: Outcome, git: &Git) -> Checked {
        ensure!(!matches!(self.phase, Phase::Finished(_)), "finished twice");
        self.check_quiet()?;
        ensure!(git.tasks_in(git.head) == self.landed, "the integration ref does not hold what landed");
        let failed = self.tasks.iter().any(|task| task.stand == Stand::Failed);
        let open = self.tasks.iter().any(|task| !task.stand.is_settled());
        match outcome {
            Outcome::Succeeded => ensure!(!failed && !open, "succeeded, but not all is well"),
            Outcome::Failed => ensure!(failed && (!open || self.mission.saga), "failed, but it could go on"),
            Outcome::Cancelled => ensure!(self.cancel_asked, "cancelled though nobody asked"),
            Outcome::Compensated => {
                ensure!(self.phase == Phase::Compensating, "taken back while {:?}", self.phase);
            }
        }
        if outcome != Outcome::Succeeded && self.mission.saga {
            ensure!(self.done.is_empty(), "a saga ends with {:?} not taken back", self.done);
        }
        self.phase = Phase::Finished(outcome);
        Ok(())
    }
}
