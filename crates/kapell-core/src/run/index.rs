//! What can be found at once about the tasks of a run: kept beside the states, and found again from them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
};

use crate::{
    budget::Amount,
    event::{GateKind, PauseCause},
    id::{AgentId, TaskId},
    plan::{Slot, Work},
    run::{Phase, Run},
    task::{Slots, TaskState},
    time::{Elapsed, Wall},
};

/// Tasks that compete for the same thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// A person's decision.
    Gate,
    /// A child run.
    Child,
    /// A job slot.
    Job,
    /// An agent of the plan.
    Agent(AgentId),
}

/// How many tasks are in which state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts([u32; TaskState::NAMES.len()]);

impl Counts {
    /// Returns how many tasks are in the state of that name.
    #[must_use]
    pub fn of(&self, state: &str) -> u32 {
        self.iter().find(|(name, _)| *name == state).map_or(0, |(_, count)| count)
    }

    /// Returns the states in which there are tasks, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u32)> + '_ {
        TaskState::NAMES.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }
}

/// What the clock of a run asks at every decision, and therefore never has to be found again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Tasks for which the world owes something.
    in_flight: usize,
    /// Attempts that wait for the answer of a person, or with their child runs.
    still: usize,
    /// Results that wait for the decision of a person.
    pub(crate) doubted: BTreeSet<TaskId>,
}

impl Tally {
    fn of(run: &Run) -> Self {
        let mut tally = Self::default();
        run.tasks.iter().for_each(|task| tally.enter(&task.state));
        let protect =
            run.gates.values().filter(|gate| gate.answer.is_none() && gate.kind == GateKind::Protect);
        let doubted = protect.filter(|gate| match &run.tasks[gate.task.index()].state {
            TaskState::Submitted(submission) => submission.attempt == gate.attempt,
            _ => false,
        });
        tally.doubted = doubted.map(|gate| gate.task).collect();
        tally
    }

    fn enter(&mut self, state: &TaskState) {
        self.in_flight += usize::from(state.is_in_flight());
        self.still += usize::from(state.stands_still());
    }

    fn leave(&mut self, task: TaskId, state: &TaskState) {
        self.in_flight -= usize::from(state.is_in_flight());
        self.still -= usize::from(state.stands_still());
        if matches!(state, TaskState::Submitted(_)) {
            self.doubted.remove(&task);
        }
    }
}

/// What decides whether an attempt can be paid for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Price {
    reserve: Amount,
    /// What it is expected to cost.
    forecast: Amount,
    /// Whether model-driven agents work in it, as a child run, within a share of what is left.
    is_shared: bool,
}

/// The most urgent first; among equals the first in the plan.
type Queue = BTreeSet<(u32, TaskId)>;

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Index {
    pub(crate) counts: Counts,
    /// Nothing they need is open, but whether they run must be decided.
    pub(crate) unsettled: BTreeSet<TaskId>,
    /// By lane and price, so that what cannot be paid for does not stand in the way of what can.
    pub(crate) ready: BTreeMap<(Lane, Price), Queue>,
    /// Ready tasks that have a ranking, by the agent that they wait for and by their ranking.
    pub(crate) routed: BTreeMap<(AgentId, u32), BTreeSet<TaskId>>,
    /// The world owes something for them.
    pub(crate) in_flight: BTreeSet<TaskId>,
    /// Neither running nor settled nor waiting to begin: a cancel ends them one by one.
    pub(crate) begun: BTreeSet<TaskId>,
    /// When attempts, and tries at taking a task back, must have ended.
    pub(crate) deadlines: BTreeSet<(Elapsed, TaskId)>,
    /// When pauses end, and parks at the latest.
    pub(crate) pauses: BTreeSet<(Elapsed, TaskId)>,
    pub(crate) parked: BTreeSet<(Wall, TaskId)>,
    /// Until when tasks that have not begun must have.
    pub(crate) start_by: BTreeSet<(Wall, TaskId)>,
    pub(crate) stuck: BTreeSet<TaskId>,
    pub(crate) settled: usize,
    pub(crate) slots: Slots,
    pub(crate) by_agent: BTreeMap<AgentId, u32>,
}

impl Run {
    /// Returns what `task` competes for.
    pub(crate) fn lane(&self, task: TaskId) -> Lane {
        match self.plan.definition(task).work {
            Work::Gate(_) => Lane::Gate,
            Work::Workflow(_) => Lane::Child,
            _ => self.agent(task).map_or(Lane::Job, Lane::Agent),
        }
    }

    /// Returns the slots that an attempt in `lane` takes up.
    pub(crate) fn slots_of(&self, lane: Lane) -> Slots {
        match lane {
            Lane::Gate | Lane::Child => Slots::default(),
            Lane::Job => Slots::new(0, 1),
            Lane::Agent(agent) => {
                let spec = self.plan.agent(agent);
                let slots = match spec.map_or(Slot::Job, |spec| spec.slot) {
                    Slot::Job => Slots::new(0, 1),
                    Slot::Agent => Slots::new(1, 0),
                    Slot::None => Slots::default(),
                };
                Slots { memory_mib: spec.map_or(0, |spec| spec.memory_mib), ..slots }
            }
        }
    }

    /// Returns until when `task` must begin; nothing once it has.
    fn start_by(&self, task: TaskId) -> Option<Wall> {
        self.plan.definition(task).deadline.filter(|_| self.tasks[task.index()].attempts == 0)
    }

    /// Returns what an attempt at `task` is expected to cost; nothing unless a model does it.
    pub(crate) fn forecast(&self, task: TaskId) -> Amount {
        match self.lane(task) {
            Lane::Agent(agent) if self.slots_of(Lane::Agent(agent)).agents > 0 => {
                let known = self.plan.definition(task).forecast(agent);
                known.map_or(Amount::ZERO, |forecast| forecast.amount)
            }
            _ => Amount::ZERO,
        }
    }

    /// Returns what decides whether an attempt at `task` can be paid for.
    fn price(&self, task: TaskId) -> Price {
        let definition = self.plan.definition(task);
        let is_shared = matches!(&definition.work, Work::Workflow(child) if child.needs_agents());
        Price { reserve: definition.reserve, forecast: self.forecast(task), is_shared }
    }

    fn urgency(&self, task: TaskId) -> u32 {
        // Ranks are never negative, and the bits of such floats are in the order of their values.
        u32::MAX - self.plan.rank(task).max(0.0).to_bits()
    }

    /// Returns where `task` stands among those with a ranking.
    fn routed(&self, task: TaskId) -> Option<(AgentId, u32)> {
        let route = self.route_of.get(&task)?;
        Some((self.agent(task)?, *route))
    }

    /// Changes something by which `task` is listed.
    pub(super) fn relist(&mut self, task: TaskId, change: impl FnOnce(&mut Self)) {
        let Some(mut index) = self.index.take() else { return change(self) };
        let state = self.tasks[task.index()].state.clone();
        self.unlist(&mut index, task, &state);
        change(self);
        self.list(&mut index, task);
        let _ = self.index.set(index);
    }

    /// Puts `task` into `state` and, if there are lists, every list where it then belongs.
    pub(super) fn set_state(&mut self, task: TaskId, state: TaskState) {
        let old = std::mem::replace(&mut self.tasks[task.index()].state, state);
        self.tally.leave(task, &old);
        self.tally.enter(&self.tasks[task.index()].state);
        if let Some(mut index) = self.index.take() {
            self.unlist(&mut index, task, &old);
            self.list(&mut index, task);
            let _ = self.index.set(index);
        }
    }

    /// Forgets what can be found again from the states. While a long history is folded in nobody asks for the lists,
    /// and so they are only made once it is over.
    pub(super) fn reindex(&mut self) {
        self.tally = Tally::of(self);
        self.index = OnceLock::new();
    }

    /// Returns the lists, which are made when they are first asked for.
    pub(crate) fn index(&self) -> &Index {
        self.index.get_or_init(|| {
            let mut index = Box::new(Index::default());
            for task in 0..self.tasks.len() {
                self.list(&mut index, TaskId(u32::try_from(task).unwrap_or(u32::MAX)));
            }
            index
        })
    }

    /// Tells whether work goes on that does not itself wait.
    pub(crate) fn is_busy(&self) -> bool {
        #[cfg(kapell_planted)]
        if crate::planted::is("wall_budget_counts_waiting") {
            return self.tally.in_flight > 0;
        }
        self.tally.in_flight > self.tally.still + self.tally.doubted.len()
            || self.landing.as_ref().is_some_and(crate::landing::Landing::is_asking) && !self.landing_failed()
    }

    /// Tells whether what landing asks of the repository waits for a person, as that failed.
    fn landing_failed(&self) -> bool {
        matches!(self.phase, Phase::Paused(PauseCause::LandingFails { .. }))
    }

    /// Tells whether nothing of a run that is not over is under way: it waits for people, or for a time. Neither its time
    /// budget nor the time of the task that it performs counts then.
    #[must_use]
    pub fn rests(&self) -> bool {
        let moves = self.ref_move.is_some() && !self.landing_failed();
        !self.is_busy() && !moves && self.outcome().is_none()
    }

    fn list(&self, index: &mut Index, task: TaskId) {
        let state = &self.tasks[task.index()].state;
        index.counts.0[state.ordinal()] += 1;
        #[cfg(kapell_planted)]
        if crate::planted::is("skipped_not_settled") && matches!(state, TaskState::Skipped { .. }) {
            return;
        }
        index.settled += usize::from(state.is_settled());
        if let (true, Some(at)) = (state.is_startable(), self.start_by(task)) {
            index.start_by.insert((at, task));
        }
        match state {
            TaskState::Blocked { open: 0, .. } => {
                index.unsettled.insert(task);
            }
            TaskState::Ready => {
                let queue = index.ready.entry((self.lane(task), self.price(task))).or_default();
                queue.insert((self.urgency(task), task));
                if let Some(key) = self.routed(task) {
                    index.routed.entry(key).or_default().insert(task);
                }
            }
            TaskState::Running(attempt) => {
                index.in_flight.insert(task);
                index.slots.jobs += attempt.slots.jobs;
                index.slots.agents += attempt.slots.agents;
                index.slots.memory_mib += attempt.slots.memory_mib;
                if let Some(agent) = attempt.agent {
                    *index.by_agent.entry(agent).or_default() += 1;
                }
                if let (Some(deadline), None) = (attempt.deadline, attempt.stopping)
                    && !attempt.stands_still()
                {
                    index.deadlines.insert((deadline, task));
                }
            }
            TaskState::Submitted(_) => {
                index.in_flight.insert(task);
                index.begun.insert(task);
            }
            TaskState::AwaitingClaims | TaskState::AwaitingGate { .. } | TaskState::Verified(_) => {
                index.begun.insert(task);
            }
            TaskState::BackingOff { until } => {
                index.begun.insert(task);
                index.pauses.insert((*until, task));
            }
            TaskState::Parked(park) => {
                index.begun.insert(task);
                index.parked.insert((park.until, task));
                index.pauses.insert((park.latest, task));
            }
            TaskState::Compensating { deadline, .. } => {
                index.in_flight.insert(task);
                index.deadlines.extend(deadline.as_deref().map(|deadline| (*deadline, task)));
            }
            TaskState::CompensationStuck { gate: None, .. } => {
                index.stuck.insert(task);
            }
            TaskState::Blocked { .. }
            | TaskState::CompensationStuck { .. }
            | TaskState::CompensationSubmitted(_)
            | TaskState::Done
            | TaskState::Landed { .. }
            | TaskState::Failed { .. }
            | TaskState::Skipped { .. }
            | TaskState::Cancelled
            | TaskState::Compensated => {}
        }
    }

    fn unlist(&self, index: &mut Index, task: TaskId, old: &TaskState) {
        index.counts.0[old.ordinal()] -= 1;
        index.settled -= usize::from(old.is_settled());
        #[cfg(kapell_planted)]
        if crate::planted::is("slot_leaked_on_stop")
            && let TaskState::Running(attempt) = old
            && attempt.stopping.is_some()
        {
            index.slots.jobs += attempt.slots.jobs;
            index.slots.agents += attempt.slots.agents;
        }
        if let Some(at) = self.plan.definition(task).deadline {
            index.start_by.remove(&(at, task));
        }
        match old {
            TaskState::Blocked { open: 0, .. } => {
                index.unsettled.remove(&task);
            }
            TaskState::Ready => {
                let key = (self.lane(task), self.price(task));
                take_from(&mut index.ready, &key, &(self.urgency(task), task));
                if let Some(key) = self.routed(task) {
                    take_from(&mut index.routed, &key, &task);
                }
            }
            TaskState::Running(attempt) => {
                index.in_flight.remove(&task);
                index.slots.jobs -= attempt.slots.jobs;
                index.slots.agents -= attempt.slots.agents;
                index.slots.memory_mib -= attempt.slots.memory_mib;
                if let Some(count) = attempt.agent.and_then(|agent| index.by_agent.get_mut(&agent)) {
                    *count -= 1;
                }
                if let Some(deadline) = attempt.deadline {
                    index.deadlines.remove(&(deadline, task));
                }
            }
            TaskState::AwaitingClaims | TaskState::AwaitingGate { .. } | TaskState::Verified(_) => {
                index.begun.remove(&task);
            }
            TaskState::BackingOff { until } => {
                index.begun.remove(&task);
                index.pauses.remove(&(*until, task));
            }
            TaskState::Parked(park) => {
                index.begun.remove(&task);
                index.parked.remove(&(park.until, task));
                index.pauses.remove(&(park.latest, task));
            }
            TaskState::CompensationStuck { .. } => {
                index.stuck.remove(&task);
            }
            TaskState::Submitted(_) => {
                index.in_flight.remove(&task);
                index.begun.remove(&task);
            }
            TaskState::Compensating { deadline, .. } => {
                index.in_flight.remove(&task);
                deadline.as_deref().map(|deadline| index.deadlines.remove(&(*deadline, task)));
            }
            _ => {}
        }
    }
}

/// Takes something out of a list, and the list itself with the last thing in it: all of them are looked through when a
/// start is looked for.
fn take_from<K: Ord, V: Ord>(lists: &mut BTreeMap<K, BTreeSet<V>>, key: &K, what: &V) {
    let Some(list) = lists.get_mut(key) else { return };
    list.remove(what);
    if list.is_empty() {
        lists.remove(key);
    }
}

/// Indices are equal if they answer alike: that nobody of an agent runs is the same as nothing said of it.
pub(crate) fn same(a: &Index, b: &Index) -> bool {
    a.counts.iter().eq(b.counts.iter())
        && (&a.ready, &a.routed) == (&b.ready, &b.routed)
        && (&a.unsettled, &a.in_flight, &a.begun, &a.stuck, a.settled, a.slots)
            == (&b.unsettled, &b.in_flight, &b.begun, &b.stuck, b.settled, b.slots)
        && (&a.deadlines, &a.pauses, &a.parked, &a.start_by)
            == (&b.deadlines, &b.pauses, &b.parked, &b.start_by)
        && a.by_agent
            .iter()
            .filter(|(_, count)| **count > 0)
            .eq(b.by_agent.iter().filter(|(_, count)| **count > 0))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        command::{Command, Exit},
        event::{Outputs, PlanRef},
        id::{AttemptNo, RunId},
        journal::Actor,
        mission::Mission,
        plan::{Definition, PlanBuilder, PlanLimits},
        time::Now,
    };

    #[test]
    fn nothing_is_left_of_a_price_that_nobody_waits_for() {
        let mut builder = PlanBuilder::new();
        for task in 0_u32..5 {
            let mut definition = Definition::new(Work::Noop);
            definition.reserve.tokens = u64::from(task);
            let definition = builder.define(definition);
            let before: Vec<_> = task.checked_sub(1).map(TaskId).into_iter().collect();
            builder.task(&task.to_string(), definition, &before);
        }
        let plan = PlanRef::Inline(Arc::new(builder.seal(PlanLimits::default()).unwrap()));
        let mut run = Run::new(RunId([7; 16]));
        let mut put = |command| {
            run.batch([(Actor::Engine, command)], Now::default()).unwrap().replies.remove(0).unwrap();
            assert_eq!(run.index().ready, BTreeMap::new());
        };
        put(Command::Create { mission: Box::new(Mission::default()), plan });
        for task in 0_u32..5 {
            let exit = Exit::Succeeded { change: None, outputs: Outputs::new(), spent: Amount::ZERO };
            put(Command::Finish { task: TaskId(task), attempt: AttemptNo(1), exit });
        }
        assert!(run.outcome().is_some());
    }
}
