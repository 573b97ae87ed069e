//! What a task needs, and its condition.

use super::{Checked, Checker, Cond, Phase, SkipCause, Stand, TaskId, Violation, Watched, ensure};

impl Checker {
    fn needs(&self, task: TaskId) -> impl Iterator<Item = &Watched> {
        self.plan.graph().needs(task).iter().map(|need| &self.tasks[need.index()])
    }

    fn cond(&self, task: TaskId) -> Cond {
        self.facts[self.plan.definition_id(task).index()].cond
    }

    /// Tells whether what the task needs lets it start. Needs do not become undone, so one attempt shows it.
    pub(super) fn may_start(&self, task: TaskId) -> bool {
        let watched = self.at(task);
        watched.stand == Stand::Waiting && (watched.attempts > 0 || self.is_wanted(task))
    }

    fn is_wanted(&self, task: TaskId) -> bool {
        let settled = self.needs(task).all(|need| need.stand.is_settled());
        let clean = self.needs(task).all(|need| need.stand.is_success());
        settled
            && match self.cond(task) {
                Cond::None | Cond::True => clean,
                Cond::False | Cond::Broken => false,
                Cond::Always => true,
                Cond::Failure => self.has_failed(task),
                Cond::Output(on) => clean && self.tasks[on.index()].go,
            }
    }

    /// Tells whether something failed that the task needs, directly or through what was skipped for it.
    fn has_failed(&self, task: TaskId) -> bool {
        self.plan.graph().needs(task).iter().any(|need| match self.at(*need).stand {
            Stand::Failed => true,
            Stand::Skipped(SkipCause::Need) => self.has_failed(*need),
            _ => false,
        })
    }

    pub(super) fn unblocked(&mut self, task: TaskId) -> Checked {
        match self.at(task).stand {
            Stand::Gate(gate) => {
                ensure!(self.gates[gate.index()].answered, "a task goes on before its gate is answered");
                self.watch(task).stand = Stand::Waiting;
            }
            Stand::Waiting => {
                ensure!(self.is_wanted(task), "a task is unblocked before its time");
                ensure!(self.phase == Phase::Active, "a task is unblocked while {:?}", self.phase);
            }
            other => return Err(Violation(format!("a task is unblocked that is {other:?}"))),
        }
        Ok(())
    }

    pub(super) fn skipped(&mut self, task: TaskId, why: SkipCause) -> Checked {
        let stand = self.at(task).stand;
        ensure!(
            !stand.is_settled() && !matches!(stand, Stand::Running | Stand::Submitted | Stand::Verified),
            "a task is skipped that is {stand:?}"
        );
        let settled = self.needs(task).all(|need| need.stand.is_settled());
        let clean = self.needs(task).all(|need| need.stand.is_success());
        let cond = self.cond(task);
        ensure!(settled || why == SkipCause::Superseded, "a task is skipped before its needs are settled");
        match why {
            SkipCause::Superseded => {}
            SkipCause::Need => {
                ensure!(!clean, "a task is skipped for its needs, which are fine");
                let asks = matches!(cond, Cond::Always | Cond::Failure);
                ensure!(!asks, "a task is skipped that asks for the status");
            }
            SkipCause::BrokenCondition => ensure!(cond == Cond::Broken, "its condition is not broken"),
            SkipCause::Condition => ensure!(!self.is_wanted(task), "a task is skipped whose condition holds"),
        }
        self.settle(task, Stand::Skipped(why));
        Ok(())
    }
}
