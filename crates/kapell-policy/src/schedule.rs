//! List scheduling as a pure simulation: who starts when, if every task takes as long as is said.
//!
//! Whenever there is room, the most urgent ready task starts, as in the decider. With slots of one kind this is
//! never longer than `2 - 1/m` times the best there is (Graham, "Bounds on multiprocessing timing anomalies", 1969).
//! The simulation takes O((V + E) log V) without claims.

mod claims;
mod simulate;

use kapell_core::{
    graph::Graph,
    id::TaskId,
    plan::{Plan, Slot, Work},
    task::Slots,
    time::Millis,
};

use claims::Claims;
pub use simulate::Simulator;

/// What a task takes up while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Room {
    /// Nothing: it only waits.
    Nothing,
    /// A job slot.
    Job,
    /// An agent slot.
    Agent,
    /// What is granted to a child run: half of the slots of each kind.
    Child,
}

/// What is to be scheduled: tasks with their needs, what each takes up, and how urgent each is.
#[derive(Debug, Clone)]
pub struct Problem<'a> {
    graph: &'a Graph,
    slots: Slots,
    room: Vec<Room>,
    /// The place of each task in the order of urgency: the less, the more urgent.
    place: Vec<u32>,
    claims: Claims,
}

/// Where a run stands when the simulation begins. The default is the very start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Whether each task is settled; empty if none is.
    pub settled: Vec<bool>,
    /// Tasks under way. Their length is what is left of it.
    pub running: Vec<TaskId>,
    /// Tasks that may start only later, and when.
    pub not_before: Vec<(TaskId, Millis)>,
}

/// What a task waited for last before it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The end of something it needs.
    Need(TaskId),
    /// The end of a task that held the slot or the claim.
    Room(TaskId),
}

/// Who starts when, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    start: Vec<Millis>,
    finish: Vec<Millis>,
    cause: Vec<Option<Cause>>,
    makespan: Millis,
    slots: Slots,
    held: [u64; 2],
}

impl<'a> Problem<'a> {
    /// Takes a plan, with urgency and claims as the decider will see them.
    ///
    /// Claims that depend on more than the matrix of their task count as claims on everything.
    #[must_use]
    pub fn of(plan: &'a Plan, slots: Slots) -> Self {
        let room = |task: TaskId| {
            let definition = plan.definition(task);
            let slot =
                definition.agent.and_then(|agent| plan.agent(agent)).map_or(Slot::Job, |agent| agent.slot);
            match (&definition.work, slot) {
                (Work::Gate(_), _) | (_, Slot::None) => Room::Nothing,
                (Work::Workflow(_), _) => Room::Child,
                (_, Slot::Agent) => Room::Agent,
                (_, Slot::Job) => Room::Job,
            }
        };
        let graph = plan.graph();
        Self {
            graph,
            slots,
            room: graph.tasks().map(room).collect(),
            // Ranks are not negative, and the bits of such floats are in the order of their values.
            place: places(graph, |task| u64::from(plan.rank(task).max(0.0).to_bits())),
            claims: Claims::of(plan),
        }
    }

    /// Takes tasks that each hold one of `slots`, ranked by the longest way from their start to the end.
    #[must_use]
    pub fn ranked(graph: &'a Graph, length: &[Millis], slots: u32) -> Self {
        let timing = graph.timing(|task| length[task.index()]);
        let rank = |task: TaskId| timing.total().0 - timing.latest(task).0;
        Self {
            graph,
            slots: Slots::new(0, slots),
            room: vec![Room::Job; graph.len()],
            place: places(graph, rank),
            claims: Claims::default(),
        }
    }

    /// Returns who starts when, if each task takes as long as `length` says.
    ///
    /// # Panics
    ///
    /// Panics if `length` is not as long as there are tasks.
    #[must_use]
    pub fn schedule(&self, length: &[Millis], state: &State) -> Schedule {
        Simulator::new(self).schedule(length, state)
    }

    /// Returns a time before which no schedule can end, in whole milliseconds.
    #[must_use]
    pub fn bound(&self, length: &[Millis]) -> Millis {
        let timing = self.graph.timing(|task| length[task.index()]);
        let of =
            |room: Room, slots: u32| timing.makespan_bound(|task| self.room[task.index()] == room, slots);
        of(Room::Job, self.slots.jobs).max(of(Room::Agent, self.slots.agents))
    }

    /// What a task in this room takes up. As in the decider, one slot is always granted.
    fn takes(&self, room: Room) -> [u32; 2] {
        match room {
            Room::Nothing => [0, 0],
            Room::Job => [1, 0],
            Room::Agent => [0, 1],
            Room::Child => [(self.slots.jobs / 2).max(1), self.slots.agents / 2],
        }
    }

    fn capacity(&self) -> [u32; 2] {
        [self.slots.jobs.max(1), self.slots.agents.max(1)]
    }
}

/// Sorts tasks by rank, the greatest first; equals by id.
fn places(graph: &Graph, rank: impl Fn(TaskId) -> u64) -> Vec<u32> {
    let mut order: Vec<TaskId> = graph.tasks().collect();
    order.sort_by_cached_key(|task| (std::cmp::Reverse(rank(*task)), *task));
    let mut place = vec![0; order.len()];
    for (at, task) in order.into_iter().enumerate() {
        place[task.index()] = u32::try_from(at).unwrap_or(u32::MAX);
    }
    place
}

impl Schedule {
    /// Returns when `task` starts. Zero for a task that was settled before.
    #[must_use]
    pub fn start(&self, task: TaskId) -> Millis {
        self.start[task.index()]
    }

    /// Returns when `task` ends. Zero for a task that was settled before.
    #[must_use]
    pub fn finish(&self, task: TaskId) -> Millis {
        self.finish[task.index()]
    }

    /// Returns when the last task ends.
    #[must_use]
    pub fn makespan(&self) -> Millis {
        self.makespan
    }

    /// Returns what `task` waited for last; `None` if it starts at once, or at a given time.
    #[must_use]
    pub fn cause(&self, task: TaskId) -> Option<Cause> {
        self.cause[task.index()]
    }

    /// Returns which part of the job slots and of the agent slots is held on average, each from 0 to 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share, not an account")]
    pub fn utilisation(&self) -> (f64, f64) {
        let share = |held: u64, slots: u32| match self.makespan.0.saturating_mul(u64::from(slots)) {
            0 => 0.0,
            possible => held as f64 / possible as f64,
        };
        (share(self.held[0], self.slots.jobs.max(1)), share(self.held[1], self.slots.agents.max(1)))
    }

    /// Returns the critical chain: the task that ends last, what it waited for, and so on back to the start; in the
    /// order of time. It differs from the critical path where slots or claims are scarce.
    ///
    /// The name is Goldratt's ("Critical Chain", 1997).
    #[must_use]
    pub fn critical_chain(&self) -> Vec<TaskId> {
        let ends = |at: &usize| (self.finish[*at], std::cmp::Reverse(*at));
        let last = (0..self.finish.len()).max_by_key(ends);
        let mut at = last.map(|at| TaskId(u32::try_from(at).unwrap_or(u32::MAX)));
        let mut chain = Vec::new();
        while let Some(task) = at {
            chain.push(task);
            at = match self.cause(task) {
                Some(Cause::Need(before) | Cause::Room(before)) => Some(before),
                None => None,
            };
        }
        chain.reverse();
        chain
    }
}
