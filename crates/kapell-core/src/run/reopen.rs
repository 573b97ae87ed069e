//! The way back from an answer: as long as nothing has followed from it, a person can take it back.
//!
//! What has followed is seen from the state alone, so that a replay finds the same.

use super::fold::IllegalEvent;
use crate::{
    event::GateKind,
    id::{GateId, TaskId},
    retry::FailureClass,
    run::{Gate, LastFailure, Run},
    task::{TaskEvent, TaskState},
};

impl Run {
    /// Returns what has followed from the answer to `gate`, so that it can no longer be taken back; nothing if it can,
    /// or if there is no such answer.
    #[must_use]
    pub fn follows_from(&self, gate: GateId) -> Option<&'static str> {
        use {GateKind as K, TaskState as S};
        let gate = self.gates.get(&gate)?;
        let (answer, _) = gate.answer.as_ref()?;
        let is_same_attempt = self.tasks[gate.task.index()].attempts == gate.attempt.0;
        match (gate.kind, self.state(gate.task)) {
            (K::Question, _) => Some("the agent that asked has been told"),
            (K::Compensation, _) => Some("what it is about is being taken back already"),
            (K::Task, S::Done | S::Failed { .. }) => self.is_built_upon(gate),
            (K::Lost, S::Failed { .. }) if is_same_attempt && answer != "retry" => self.is_built_upon(gate),
            (K::Lost, S::Ready | S::AwaitingClaims) if is_same_attempt => None,
            (K::Protect, S::Verified(submission)) if submission.attempt == gate.attempt => {
                let is_tried = self.landing.as_ref().is_some_and(|landing| landing.is_tried(gate.task));
                is_tried.then_some("its change is being landed")
            }
            _ => Some("its task has gone on"),
        }
    }

    /// Tells what was built upon a task that an answer has settled.
    fn is_built_upon(&self, gate: &Gate) -> Option<&'static str> {
        #[cfg(kapell_planted)]
        if crate::planted::is("answer_undone_after_use") {
            return None;
        }
        // In a saga a failure ends whatever has begun, needed or not.
        let ends_others = matches!(self.state(gate.task), TaskState::Failed { .. })
            && self.mission.saga
            && self.tasks.iter().any(|task| task.state == TaskState::Cancelled);
        if ends_others {
            return Some("the run has begun to end");
        }
        let dependents = self.plan.graph().dependents(gate.task);
        let waits = |task: &TaskId| {
            let task = &self.tasks[task.index()];
            task.attempts == 0 && task.state.is_startable()
        };
        (!dependents.iter().all(waits)).then_some("what needs its task has gone on")
    }

    /// Puts everything back to where it was before the answer to `gate`.
    pub(super) fn answer_undone(&mut self, id: GateId) -> Result<(), IllegalEvent> {
        let Some(gate) = self.gates.get_mut(&id) else { return Ok(()) };
        gate.answer = None;
        let (task, kind) = (gate.task, gate.kind);
        match self.state(task) {
            TaskState::Failed { class } => {
                self.tasks[task.index()].failures -= u32::from(class.counts());
                match kind {
                    // That it was lost is what the gate is about.
                    GateKind::Lost => {
                        let message = "no record of its end".to_owned();
                        self.failures.insert(task, LastFailure { class: FailureClass::Lost, message });
                    }
                    _ => drop(self.failures.remove(&task)),
                }
            }
            TaskState::Done => drop(self.outputs.remove(&task)),
            TaskState::Verified(_) => {
                if let Some(landing) = &mut self.landing {
                    landing.withdraw(task);
                }
            }
            _ => {}
        }
        let was_settled = self.state(task).is_settled();
        self.completed.retain(|other| *other != task);
        self.go(task, TaskEvent::GateReopened(id))?;
        if kind == GateKind::Protect {
            self.tally.doubted.insert(task);
        }
        if was_settled { self.reopen_dependents(task) } else { Ok(()) }
    }

    /// Tells those that need `task` that it is no longer settled.
    fn reopen_dependents(&mut self, task: TaskId) -> Result<(), IllegalEvent> {
        let plan = self.plan.clone();
        for &dependent in plan.graph().dependents(task) {
            let settled = |need: &&TaskId| self.state(**need).is_settled();
            let mut needs = plan.graph().needs(dependent).iter().filter(settled);
            let tainted = needs.any(|need| !self.state(*need).is_success());
            self.go(dependent, TaskEvent::NeedReopened { tainted })?;
        }
        Ok(())
    }
}
