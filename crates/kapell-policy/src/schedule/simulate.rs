//! The simulation itself: events in the order of time, and at each the most urgent tasks for which there is room.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use kapell_core::{id::TaskId, time::Millis};

use super::{Cause, Problem, Room, Schedule, State};

/// The most tasks that wait for claims at a time, as in the decider.
const CLAIM_QUEUE_MAX: usize = 256;

const ROOMS: [Room; 4] = [Room::Nothing, Room::Job, Room::Agent, Room::Child];

/// Runs simulations of one problem, keeping its memory between them.
#[derive(Debug)]
pub struct Simulator<'p> {
    problem: &'p Problem<'p>,
    now: u64,
    /// How many needs of each task are open.
    open: Vec<u32>,
    /// Ready tasks by what they take up, the most urgent on top.
    ready: [BinaryHeap<Reverse<(u32, TaskId)>>; 4],
    /// Ends of what runs.
    ends: BinaryHeap<Reverse<(u64, TaskId)>>,
    /// Tasks that nothing but time holds back.
    later: BinaryHeap<Reverse<(u64, TaskId)>>,
    not_before: HashMap<TaskId, u64>,
    used: [u32; 2],
    /// Tasks that wait for claims, in the order of asking.
    waiting: Vec<TaskId>,
    holding: Vec<TaskId>,
    overlaps: HashMap<(u32, u32), bool>,
    /// When each task became ready.
    ready_at: Vec<u64>,
    /// Whose end made it so.
    ready_by: Vec<Option<TaskId>>,
    last_end: Option<TaskId>,
    start: Vec<Millis>,
    finish: Vec<Millis>,
    cause: Vec<Option<Cause>>,
    held: [u64; 2],
}

impl<'p> Simulator<'p> {
    /// Makes a simulator.
    #[must_use]
    pub fn new(problem: &'p Problem<'p>) -> Self {
        let tasks = problem.graph.len();
        Self {
            problem,
            now: 0,
            open: vec![0; tasks],
            ready: Default::default(),
            ends: BinaryHeap::new(),
            later: BinaryHeap::new(),
            not_before: HashMap::new(),
            used: [0; 2],
            waiting: Vec::new(),
            holding: Vec::new(),
            overlaps: HashMap::new(),
            ready_at: vec![0; tasks],
            ready_by: vec![None; tasks],
            last_end: None,
            start: vec![Millis(0); tasks],
            finish: vec![Millis(0); tasks],
            cause: vec![None; tasks],
            held: [0; 2],
        }
    }

    /// Returns when the last task ends.
    ///
    /// # Panics
    ///
    /// Panics if `length` is not as long as there are tasks.
    pub fn makespan(&mut self, length: &[Millis], state: &State) -> Millis {
        assert_eq!(length.len(), self.problem.graph.len(), "one length for each task");
        self.reset(state);
        for &task in &state.running {
            self.begin(task, length, None);
        }
        self.release_roots(state);
        loop {
            self.dispatch(length);
            let end = self.ends.peek().map(|Reverse((at, _))| *at);
            let wake = self.later.peek().map(|Reverse((at, _))| *at);
            let Some(next) = end.into_iter().chain(wake).min() else { break };
            self.now = next;
            self.take_ends();
            self.take_wakes();
        }
        Millis(self.now)
    }

    /// Returns the whole schedule.
    ///
    /// # Panics
    ///
    /// Panics if `length` is not as long as there are tasks.
    #[must_use]
    pub fn schedule(mut self, length: &[Millis], state: &State) -> Schedule {
        let makespan = self.makespan(length, state);
        let Self { start, finish, cause, held, .. } = self;
        Schedule { start, finish, cause, makespan, slots: self.problem.slots, held }
    }

    fn is_settled(state: &State, task: TaskId) -> bool {
        state.settled.get(task.index()).copied().unwrap_or(false)
    }

    fn reset(&mut self, state: &State) {
        let graph = self.problem.graph;
        for task in graph.tasks() {
            let open = graph.needs(task).iter().filter(|need| !Self::is_settled(state, **need)).count();
            self.open[task.index()] = u32::try_from(open).unwrap_or(u32::MAX);
        }
        // A simulation that has run empties its queues by itself.
        self.now = 0;
        self.used = [0; 2];
        self.held = [0; 2];
        self.last_end = None;
        self.ready_at.fill(0);
        self.ready_by.fill(None);
        self.start.fill(Millis(0));
        self.finish.fill(Millis(0));
        self.cause.fill(None);
        self.not_before = state.not_before.iter().map(|(task, at)| (*task, at.0)).collect();
    }

    fn release_roots(&mut self, state: &State) {
        let mut begun = vec![false; if state.running.is_empty() { 0 } else { self.open.len() }];
        state.running.iter().for_each(|task| begun[task.index()] = true);
        for task in self.problem.graph.tasks() {
            let begun = begun.get(task.index()).copied().unwrap_or(false);
            if self.open[task.index()] == 0 && !begun && !Self::is_settled(state, task) {
                self.release(task);
            }
        }
    }

    /// Nothing that `task` needs is open any more.
    fn release(&mut self, task: TaskId) {
        match self.not_before.get(&task) {
            Some(&at) if at > self.now => self.later.push(Reverse((at, task))),
            _ => self.enqueue(task),
        }
    }

    fn enqueue(&mut self, task: TaskId) {
        self.ready_at[task.index()] = self.now;
        let place = self.problem.place[task.index()];
        self.ready[self.problem.room[task.index()] as usize].push(Reverse((place, task)));
    }

    fn take_wakes(&mut self) {
        while let Some(Reverse((_, task))) =
            self.later.peek().copied().filter(|Reverse((at, _))| *at <= self.now)
        {
            self.later.pop();
            self.enqueue(task);
        }
    }

    fn take_ends(&mut self) {
        while let Some(Reverse((_, task))) =
            self.ends.peek().copied().filter(|Reverse((at, _))| *at <= self.now)
        {
            self.ends.pop();
            let takes = self.problem.takes(self.problem.room[task.index()]);
            self.used = [self.used[0] - takes[0], self.used[1] - takes[1]];
            if self.problem.claims.set(task).is_some() {
                self.holding.retain(|holder| *holder != task);
            }
            self.last_end = Some(task);
            let graph = self.problem.graph;
            for &next in graph.dependents(task) {
                let open = &mut self.open[next.index()];
                *open -= 1;
                if *open == 0 {
                    self.ready_by[next.index()] = Some(task);
                    self.release(next);
                }
            }
        }
    }

    fn has_room(&self, room: Room) -> bool {
        let (takes, capacity) = (self.problem.takes(room), self.problem.capacity());
        (0..2).all(|kind| takes[kind] == 0 || self.used[kind] + takes[kind] <= capacity[kind])
    }

    /// Starts all that can start now.
    fn dispatch(&mut self, length: &[Millis]) {
        self.start_waiting(length);
        let mut stuck = [false; 4];
        loop {
            let heads = ROOMS.iter().filter(|room| !stuck[**room as usize] && self.has_room(**room));
            let heads = heads.filter_map(|room| Some((self.ready[*room as usize].peek()?.0, *room)));
            let Some(((_, task), room)) = heads.min_by_key(|((place, _), _)| *place) else { break };
            if self.is_free(task, self.waiting.len()) {
                self.ready[room as usize].pop();
                self.start_now(task, length);
            } else if self.waiting.len() < CLAIM_QUEUE_MAX {
                self.ready[room as usize].pop();
                self.waiting.push(task);
            } else {
                stuck[room as usize] = true;
            }
        }
    }

    /// Who asked for claims first gets them first.
    fn start_waiting(&mut self, length: &[Millis]) {
        let mut at = 0;
        while at < self.waiting.len() {
            let task = self.waiting[at];
            if self.has_room(self.problem.room[task.index()]) && self.is_free(task, at) {
                self.waiting.remove(at);
                self.start_now(task, length);
            } else {
                at += 1;
            }
        }
    }

    /// Tells whether nobody holds, and none of the first `ahead` that wait asked for, what `task` claims.
    fn is_free(&mut self, task: TaskId, ahead: usize) -> bool {
        let claims = &self.problem.claims;
        let Some(set) = claims.set(task) else { return true };
        let others = self.holding.iter().chain(&self.waiting[..ahead]);
        let overlaps = &mut self.overlaps;
        !others.filter_map(|other| claims.set(*other)).any(|other| claims.overlap(overlaps, set, other))
    }

    fn start_now(&mut self, task: TaskId, length: &[Millis]) {
        let cause = match self.ready_by[task.index()] {
            Some(need) if self.ready_at[task.index()] == self.now => Some(Cause::Need(need)),
            // It was ready before: something that ended now made room.
            _ if self.ready_at[task.index()] < self.now => self.last_end.map(Cause::Room),
            _ => None,
        };
        self.begin(task, length, cause);
    }

    fn begin(&mut self, task: TaskId, length: &[Millis], cause: Option<Cause>) {
        let at = task.index();
        let takes = self.problem.takes(self.problem.room[at]);
        self.used = [self.used[0] + takes[0], self.used[1] + takes[1]];
        for (held, takes) in self.held.iter_mut().zip(takes) {
            *held = held.saturating_add(u64::from(takes).saturating_mul(length[at].0));
        }
        if self.problem.claims.set(task).is_some() {
            self.holding.push(task);
        }
        self.start[at] = Millis(self.now);
        self.finish[at] = Millis(self.now.saturating_add(length[at].0));
        self.cause[at] = cause;
        self.ends.push(Reverse((self.finish[at].0, task)));
    }
}
