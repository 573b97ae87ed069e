//! Gates: when one opens, what an answer lets go on, and when it can still be taken back.

use super::{
    AttemptNo, Checked, Checker, GateId, GateKind, Git, OpenGate, Phase, Stand, TaskId, Violation, ensure,
};

impl Checker {
    pub(super) fn gate_opened(&mut self, gate: GateId, task: TaskId, kind: GateKind) -> Checked {
        ensure!(gate.index() == self.gates.len(), "gate {gate} out of order");
        let attempts = self.at(task).attempts;
        self.gates.push(OpenGate { task, kind, attempts, answered: false });
        let stand = self.at(task).stand;
        match kind {
            GateKind::Task => {
                ensure!(self.may_start(task), "a gate opens before its time");
                ensure!(self.phase == Phase::Active, "a gate opens while {:?}", self.phase);
                self.watch(task).stand = Stand::Gate(gate);
            }
            GateKind::Lost => {
                ensure!(stand == Stand::Gate(gate), "the gate of a lost attempt is not waited for")
            }
            GateKind::Question => {
                ensure!(stand == Stand::Running, "a question of an attempt that does not run");
                ensure!(self.at(task).question.is_none(), "two questions at once");
                let clock = self.clock;
                self.watch(task).question = Some((gate, clock));
            }
            GateKind::Protect => {
                ensure!(stand == Stand::Submitted, "a doubt about what is not submitted");
                self.watch(task).doubt = Some(gate);
            }
            GateKind::Compensation => ensure!(stand == Stand::Stuck, "nothing is stuck"),
        }
        Ok(())
    }

    pub(super) fn gate_answered(&mut self, gate: GateId, answer: &str) -> Checked {
        let Some(open) = self.gates.get_mut(gate.index()) else {
            return Err(Violation(format!("gate {gate} was never opened")));
        };
        ensure!(!open.answered, "gate {gate} is answered twice");
        open.answered = true;
        let (task, kind) = (open.task, open.kind);
        match kind {
            GateKind::Question => {
                let clock = self.clock;
                let watched = self.watch(task);
                // Its time stood still meanwhile. The question of an attempt that has ended moves nothing.
                if let Some((_, since)) = watched.question.take_if(|(asked, _)| *asked == gate) {
                    watched.deadline = watched.deadline.map(|deadline| deadline.after(clock.since(since)));
                }
            }
            GateKind::Protect if answer == "accept" => {
                let attempt = AttemptNo(self.at(task).attempts);
                self.passed.insert((task, attempt));
            }
            _ => {}
        }
        Ok(())
    }

    /// An answer is taken back: nothing may have followed from it.
    pub(super) fn answer_undone(&mut self, gate: GateId, git: &Git) -> Checked {
        ensure!(
            matches!(self.phase, Phase::Active | Phase::Paused(_)),
            "an answer is taken back while {:?}",
            self.phase
        );
        let Some(open) = self.gates.get_mut(gate.index()).filter(|open| open.answered) else {
            return Err(Violation(format!("an answer to gate {gate} is taken back that nobody gave")));
        };
        open.answered = false;
        let (task, kind, attempts) = (open.task, open.kind, open.attempts);
        let stand = self.at(task).stand;
        ensure!(self.at(task).attempts == attempts, "an answer is taken back, and another attempt has begun");
        match (kind, stand) {
            (GateKind::Task | GateKind::Lost, Stand::Done | Stand::Failed) => {
                let begun = |task: &TaskId| {
                    let watched = self.at(*task);
                    watched.stand != Stand::Waiting || watched.attempts > 0
                };
                let begun = self.plan.graph().dependents(task).iter().copied().find(begun);
                ensure!(begun.is_none(), "an answer is taken back that task {begun:?} was built upon");
                self.done.retain(|done| *done != task);
                let watched = self.watch(task);
                watched.failures -= u32::from(stand == Stand::Failed);
                watched.stand = Stand::Gate(gate);
            }
            (GateKind::Lost, Stand::Waiting) => self.watch(task).stand = Stand::Gate(gate),
            (GateKind::Protect, Stand::Verified) => {
                let lands = self.ref_move.is_some_and(|(_, to)| git.tasks_in(to).contains(&task));
                ensure!(!lands, "an answer is taken back whose change lands");
                self.passed.remove(&(task, AttemptNo(attempts)));
                let watched = self.watch(task);
                watched.stand = Stand::Submitted;
                watched.doubt = Some(gate);
            }
            (kind, stand) => {
                return Err(Violation(format!(
                    "an answer is taken back: {kind:?}, and the task is {stand:?}"
                )));
            }
        }
        Ok(())
    }
}
