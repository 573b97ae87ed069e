//! Work that is handed on: by whom, how often, and that nothing of it is lost or counts before its time.

use kapell_core::route::HANDOFFS_MAX;

use super::{AgentId, Amount, AttemptNo, Change, Checked, Checker, Outputs, Stand, TaskId, ensure};

impl Checker {
    pub(super) fn handed_off(&mut self, task: TaskId, attempt: AttemptNo, agent: AgentId) -> Checked {
        ensure!(self.is_running(task, attempt), "work is handed on by an attempt that does not run");
        ensure!(self.plan.agent(agent).is_some(), "work is handed on to nobody");
        let watched = self.watch(task);
        ensure!(watched.agent_now != Some(agent), "work is handed on to whoever does it");
        ensure!(watched.handed.is_none_or(|(before, _)| before != attempt), "one attempt hands on twice");
        ensure!(watched.handed_times < HANDOFFS_MAX, "a task is handed on for ever");
        watched.handed = Some((attempt, agent));
        watched.handed_times += 1;
        Ok(())
    }

    pub(super) fn passed_on(
        &mut self,
        task: TaskId,
        attempt: AttemptNo,
        agent: AgentId,
        change: Option<Change>,
        spent: Amount,
    ) -> Checked {
        ensure!(
            self.at(task).handed == Some((attempt, agent)),
            "work goes to another agent, which nobody asked for"
        );
        ensure!(self.at(task).stopping.is_none(), "what was stopped is passed on");
        self.ends(task, attempt, &Outputs::new(), spent)?;
        self.fared(task, None);
        self.goes_on_from(task, change)?;
        let watched = self.watch(task);
        watched.passed_on = change.or(watched.passed_on);
        watched.agent = Some(agent);
        watched.failures = 0;
        (watched.lost, watched.limited) = (0, None);
        self.leave(task, Stand::Waiting);
        Ok(())
    }

    /// What counts as done has not been handed on, and holds what was handed on to it.
    pub(super) fn is_not_handed_on(&self, task: TaskId, change: Option<Change>) -> Checked {
        let handed = self.at(task).handed.map(|(attempt, _)| attempt.0);
        ensure!(handed != Some(self.at(task).attempts), "work that is handed on counts as done");
        self.goes_on_from(task, change)
    }

    fn goes_on_from(&self, task: TaskId, change: Option<Change>) -> Checked {
        let Some(before) = self.at(task).passed_on else { return Ok(()) };
        let holds = change.is_some_and(|change| change.base == before.base);
        ensure!(holds, "what was passed on as {} is not in {change:?}", before.commit);
        Ok(())
    }
}
