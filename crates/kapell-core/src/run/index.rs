//! What can be found at once about the tasks of a run: kept beside the states, and found again from them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
};

use crate::{
    budget::Amount,
    event::GateKind,
    id::{AgentId, TaskId},
    plan::{Slot, Work},
    run::Run,
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
    /// Attempts that wait for the answer of a person.
    asking: usize,
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
        self.asking += usize::from(state.is_asking());
    }

    fn leave(&mut self, task: TaskId, state: &TaskState) {
        self.in_flight -= usize::from(state.is_in_flight());
        self.asking -= usize::from(state.is_asking());
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

    /// Returns what decides whether an attempt at `task` can be paid for. Child runs that take their share of what is
    /// left are none the cheaper for saying no price.
    fn price(&self, task: TaskId) -> Price {
        let definition = self.plan.definition(task);
        let reserve = match &definition.work {
            Work::Workflow(child) if child.needs_agents() => match definition.reserve {
                Amount { usd_micros: 1.., tokens: 1.. } => definition.reserve,
                _ => Amount { usd_micros: u64::MAX, tokens: u64::MAX },
            },
            _ => definition.reserve,
        };
        Price { reserve, forecast: self.forecast(task) }
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

    /// Tells whether work goes on that no person is waited for.
    pub(crate) fn is_busy(&self) -> bool {
        #[cfg(kapell_planted)]
        if crate::planted::is("wall_budget_counts_waiting") {
            return self.tally.in_flight > 0;
        }
        self.tally.in_flight > self.tally.asking + self.tally.doubted.len()
            || self.landing.as_ref().is_some_and(crate::landing::Landing::is_asking)
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
                // Its time stands still while it waits for an answer.
                if let (Some(deadline), None, None) = (attempt.deadline, attempt.stopping, attempt.question) {
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
                if let Some(queue) = index.ready.get_mut(&(self.lane(task), self.price(task))) {
                    queue.remove(&(self.urgency(task), task));
                }
                if let Some(tasks) = self.routed(task).and_then(|key| index.routed.get_mut(&key)) {
                    tasks.remove(&task);
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

/// Indices are equal if they answer alike: an empty list is the same as none.
pub(crate) fn same(a: &Index, b: &Index) -> bool {
    let queues = |index: &Index| -> BTreeMap<(Lane, Price), Queue> {
        index
            .ready
            .iter()
            .filter(|(_, queue)| !queue.is_empty())
            .map(|(key, queue)| (*key, queue.clone()))
            .collect()
    };
    let routed = |index: &Index| -> Vec<((AgentId, u32), BTreeSet<TaskId>)> {
        let there = index.routed.iter().filter(|(_, tasks)| !tasks.is_empty());
        there.map(|(key, tasks)| (*key, tasks.clone())).collect()
    };
    a.counts.iter().eq(b.counts.iter())
        && queues(a) == queues(b)
        && routed(a) == routed(b)
        && (&a.unsettled, &a.in_flight, &a.begun, &a.stuck, a.settled, a.slots)
            == (&b.unsettled, &b.in_flight, &b.begun, &b.stuck, b.settled, b.slots)
        && (&a.deadlines, &a.pauses, &a.parked, &a.start_by)
            == (&b.deadlines, &b.pauses, &b.parked, &b.start_by)
        && a.by_agent
            .iter()
            .filter(|(_, count)| **count > 0)
            .eq(b.by_agent.iter().filter(|(_, count)| **count > 0))
}
