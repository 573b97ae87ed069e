//! The state of a run: what its events fold into.
//!
//! Events get in only by [`Run::batch`], which decides what they are, or by [`Run::replay`], which reports the first one
//! that cannot follow as damage.

mod batch;
mod context;
mod fold;
mod index;
mod reopen;
mod replay;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
};

pub use batch::Batch;
pub use context::TaskContext;
pub use fold::IllegalEvent;
pub(crate) use index::Price;
pub use index::{Counts, Lane};
use index::{Index, Tally};
pub use replay::{Damage, DamageKind, PlanSource};
use serde::{Deserialize, Serialize};

use crate::{
    budget::{Ledger, Limits},
    claims::ClaimTable,
    event::{GateKind, Outcome, Outputs, PauseCause},
    id::{AgentId, AttemptNo, Digest, GateId, Oid, RunId, TaskId},
    journal::Version,
    landing::Landing,
    mission::Mission,
    plan::Plan,
    retry::{FailureClass, Setback},
    route::Handoff,
    task::{Change, TaskState},
    time::{Elapsed, Millis, Now, Wall},
};

/// Where a run stands as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Tasks start as soon as they can.
    Active,
    /// Nothing new starts.
    Paused(PauseCause),
    /// What runs is stopped.
    Cancelling,
    /// What was done is taken back.
    Compensating,
    /// It is over.
    Finished(Outcome),
}

/// A task with what is counted about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Where it stands.
    pub state: TaskState,
    /// How many attempts have begun.
    pub attempts: u32,
    /// How many of them failed by their own fault, under the present agent.
    pub failures: u32,
}

/// A decision that a person owes, or has made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// The task that waits.
    pub task: TaskId,
    /// What it is about.
    pub kind: GateKind,
    /// The question.
    pub question: String,
    /// The answers that it takes; empty takes any text.
    pub choices: Vec<String>,
    /// The answer and who gave it, once there is one.
    pub answer: Option<(String, String)>,
    /// The attempt that asked, for questions.
    pub attempt: AttemptNo,
}

/// A move of the target branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merge {
    /// The branch, as a full ref name.
    pub target: String,
    /// Where it was.
    pub from: Oid,
    /// Where it was moved to.
    pub to: Oid,
    /// Whether it has moved.
    pub done: bool,
}

/// How an agent has fared of late.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Breaker {
    /// Failures in a row.
    pub(crate) failures: u32,
    /// Until when it rests.
    pub(crate) until: Option<Elapsed>,
}

/// A provider that gives nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Closed {
    /// Until when, as it said.
    pub(crate) until: Wall,
    /// Until when at most, on the run's own clock.
    pub(crate) latest: Elapsed,
}

/// What a failed attempt left to be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastFailure {
    /// Its class.
    pub class: FailureClass,
    /// What was said.
    pub message: String,
}

/// The state of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    id: RunId,
    version: Version,
    hash: Digest,
    clock: Elapsed,
    wall: Wall,
    busy: Millis,
    created: bool,
    mission: Mission,
    #[serde(skip)]
    plan: Arc<Plan>,
    plan_at: Version,
    revision: u32,
    limits: Limits,
    deadline: Option<Wall>,
    phase: Phase,
    /// What the run that it is part of wants of one that is paused for a reason of its own: that what runs is stopped, or
    /// ends by itself. It goes on once neither holds it.
    held: Option<bool>,
    tasks: Vec<Task>,
    outputs: BTreeMap<TaskId, Outputs>,
    failures: BTreeMap<TaskId, LastFailure>,
    substitutes: BTreeMap<TaskId, AgentId>,
    /// Rankings of agents, and which of them each task has that names skills.
    routes: Vec<Vec<AgentId>>,
    route_of: BTreeMap<TaskId, u32>,
    /// Agents that have had a task of a ranking and failed at it.
    tried: BTreeMap<TaskId, BTreeSet<AgentId>>,
    /// What was last passed on of each task.
    handoffs: BTreeMap<TaskId, Handoff>,
    /// The changes that results brought.
    changes: BTreeMap<TaskId, Change>,
    ledger: Ledger,
    claims: ClaimTable,
    gates: BTreeMap<GateId, Gate>,
    landing: Option<Landing>,
    ref_move: Option<(Oid, Oid)>,
    providers: BTreeMap<String, Closed>,
    /// Of tasks whose attempts failed by no fault of their own.
    setbacks: BTreeMap<TaskId, Setback>,
    breakers: BTreeMap<AgentId, Breaker>,
    /// Tasks that can be taken back, in the order in which they were completed.
    completed: Vec<TaskId>,
    /// The commits of the integration ref that took changes of tasks back.
    taken_back: BTreeMap<TaskId, Oid>,
    merge: Option<Merge>,
    /// The merge before one that is under way: it holds on if that does not happen.
    merge_before: Option<Merge>,
    /// How many results were taken over, by the run that they come from.
    taken_over: BTreeMap<RunId, u32>,
    /// When the state was last looked at for what it calls for by itself.
    #[serde(skip)]
    settled_at: Now,
    /// Found again from the rest when a snapshot is read.
    #[serde(skip)]
    tally: Tally,
    /// Found again from the rest when it is asked for.
    #[serde(skip)]
    index: OnceLock<Box<Index>>,
}

impl Run {
    /// Makes the state before the first event.
    #[must_use]
    pub fn new(id: RunId) -> Self {
        Self {
            id,
            version: Version::default(),
            hash: Digest::ZERO,
            clock: Elapsed::default(),
            wall: Wall::default(),
            busy: Millis::default(),
            created: false,
            mission: Mission::default(),
            plan: Arc::default(),
            plan_at: Version::default(),
            revision: 0,
            limits: Limits::default(),
            deadline: None,
            phase: Phase::Active,
            held: None,
            tasks: Vec::new(),
            outputs: BTreeMap::new(),
            failures: BTreeMap::new(),
            substitutes: BTreeMap::new(),
            routes: Vec::new(),
            route_of: BTreeMap::new(),
            tried: BTreeMap::new(),
            handoffs: BTreeMap::new(),
            changes: BTreeMap::new(),
            ledger: Ledger::default(),
            claims: ClaimTable::default(),
            gates: BTreeMap::new(),
            landing: None,
            ref_move: None,
            providers: BTreeMap::new(),
            setbacks: BTreeMap::new(),
            breakers: BTreeMap::new(),
            completed: Vec::new(),
            taken_over: BTreeMap::new(),
            taken_back: BTreeMap::new(),
            merge: None,
            merge_before: None,
            settled_at: Now::default(),
            tally: Tally::default(),
            index: OnceLock::new(),
        }
    }

    /// Returns the run's id.
    #[must_use]
    pub fn id(&self) -> RunId {
        self.id
    }

    /// Returns the number of the last decision.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns the hash of the last decision.
    #[must_use]
    pub fn hash(&self) -> Digest {
        self.hash
    }

    /// Returns the run's clock at the last decision.
    #[must_use]
    pub fn clock(&self) -> Elapsed {
        self.clock
    }

    /// Returns when the last decision was taken.
    #[must_use]
    pub fn wall(&self) -> Wall {
        self.wall
    }

    /// Returns for how long at least one attempt, check or probe was under way.
    #[must_use]
    pub fn busy(&self) -> Millis {
        self.busy
    }

    /// Tells whether the run has been created.
    #[must_use]
    pub fn is_created(&self) -> bool {
        self.created
    }

    /// Returns what is asked.
    #[must_use]
    pub fn mission(&self) -> &Mission {
        &self.mission
    }

    /// Returns the plan in force.
    #[must_use]
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Returns the number of the plan's revision, from 1.
    #[must_use]
    pub fn revision(&self) -> u32 {
        self.revision
    }

    /// Returns the decision that adopted the plan in force.
    #[must_use]
    pub fn plan_at(&self) -> Version {
        self.plan_at
    }

    /// Returns the limits in force.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the deadline in force: that of the mission, until a person resumes the run after it.
    #[must_use]
    pub fn deadline(&self) -> Option<Wall> {
        self.deadline
    }

    /// Returns where the run stands.
    #[must_use]
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Returns whether the run that it is part of holds it, perhaps besides another pause, and then whether what runs is
    /// stopped.
    #[must_use]
    pub fn held(&self) -> Option<bool> {
        match self.phase {
            Phase::Paused(PauseCause::Parent { stop }) => Some(stop),
            _ => self.held,
        }
    }

    /// Returns how the run ended, if it has.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        match self.phase {
            Phase::Finished(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// Returns where `task` stands.
    #[must_use]
    pub fn state(&self, task: TaskId) -> &TaskState {
        &self.tasks[task.index()].state
    }

    /// Returns `task` with its counts, or `None` if there is no such task.
    #[must_use]
    pub fn task(&self, task: TaskId) -> Option<&Task> {
        self.tasks.get(task.index())
    }

    /// Returns the number of tasks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Tells whether there is no task.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Returns what `task` gave; nothing until it is submitted.
    #[must_use]
    pub fn outputs(&self, task: TaskId) -> Option<&Outputs> {
        self.outputs.get(&task)
    }

    /// Returns the runs whose results were taken over, with how many of each.
    pub fn taken_over(&self) -> impl Iterator<Item = (RunId, u32)> {
        self.taken_over.iter().map(|(run, results)| (*run, *results))
    }

    /// Returns how the last failed attempt of `task` failed.
    #[must_use]
    pub fn last_failure(&self, task: TaskId) -> Option<&LastFailure> {
        self.failures.get(&task)
    }

    /// Returns who performs `task`: the one that took over, the first of its ranking, or the agent of its definition.
    #[must_use]
    pub fn agent(&self, task: TaskId) -> Option<AgentId> {
        let first = || self.ranking(task).first().copied();
        self.substitutes.get(&task).copied().or_else(first).or(self.plan.definition(task).agent)
    }

    /// Returns the ranking of agents for `task`; empty if none was made.
    #[must_use]
    pub fn ranking(&self, task: TaskId) -> &[AgentId] {
        let route = self.route_of.get(&task).and_then(|route| self.routes.get(*route as usize));
        route.map_or(&[], Vec::as_slice)
    }

    /// Tells whether `agent` has had `task`, which has a ranking, and failed at it.
    pub(crate) fn has_tried(&self, task: TaskId, agent: AgentId) -> bool {
        self.tried.get(&task).is_some_and(|tried| tried.contains(&agent))
    }

    /// Returns what was last handed on of `task`.
    #[must_use]
    pub fn handoff(&self, task: TaskId) -> Option<&Handoff> {
        self.handoffs.get(&task)
    }

    /// Returns the change that the result of `task` brought, if it brought one.
    #[must_use]
    pub fn change(&self, task: TaskId) -> Option<Change> {
        self.changes.get(&task).copied()
    }

    /// Returns the account.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Returns who holds and who waits for which claims.
    #[must_use]
    pub fn claims(&self) -> &ClaimTable {
        &self.claims
    }

    /// Returns the merge queue; `None` outside a git repository.
    #[must_use]
    pub fn landing(&self) -> Option<&Landing> {
        self.landing.as_ref()
    }

    /// Returns the move of the integration ref that is under way.
    #[must_use]
    pub fn ref_move(&self) -> Option<(Oid, Oid)> {
        self.ref_move
    }

    /// Returns the last merge into the target branch.
    #[must_use]
    pub fn merge(&self) -> Option<&Merge> {
        self.merge.as_ref()
    }

    /// Returns the merge that is intended and not known to be done.
    #[must_use]
    pub fn merge_under_way(&self) -> Option<&Merge> {
        self.merge.as_ref().filter(|merge| !merge.done)
    }

    /// Returns all gates.
    pub fn gates(&self) -> impl Iterator<Item = (GateId, &Gate)> {
        self.gates.iter().map(|(id, gate)| (*id, gate))
    }

    /// Returns the gates that wait for an answer. Not among them is one whose task no longer waits for it, as after
    /// a cancel.
    pub fn open_gates(&self) -> impl Iterator<Item = (GateId, &Gate)> {
        self.gates().filter(|(id, gate)| self.is_owed(*id, gate))
    }

    pub(crate) fn gate(&self, gate: GateId) -> Option<&Gate> {
        self.gates.get(&gate)
    }

    pub(crate) fn gates_len(&self) -> usize {
        self.gates.len()
    }

    /// Tells whether something still waits for the answer of a gate.
    pub(crate) fn is_owed(&self, id: GateId, gate: &Gate) -> bool {
        if gate.answer.is_some() {
            return false;
        }
        match (gate.kind, self.state(gate.task)) {
            (GateKind::Task | GateKind::Lost, TaskState::AwaitingGate { gate }) => *gate == id,
            (GateKind::Question, TaskState::Running(attempt)) => {
                attempt.question.is_some_and(|(asked, _)| asked == id)
            }
            (GateKind::Protect, TaskState::Submitted(_)) => self.is_doubted(gate.task),
            (GateKind::Compensation, TaskState::CompensationStuck { gate, .. }) => *gate == Some(id),
            _ => false,
        }
    }

    /// Returns until when each parked provider gives nothing.
    pub fn parked_providers(&self) -> impl Iterator<Item = (&str, Wall)> {
        let closed = self.providers.iter().filter(|(_, closed)| closed.latest > self.clock);
        closed.map(|(provider, closed)| (provider.as_str(), closed.until))
    }

    pub(crate) fn closed(&self, provider: &str) -> Option<Closed> {
        self.providers.get(provider).copied()
    }

    /// Returns what happened to `task` in a row that was no fault of its own.
    #[must_use]
    pub fn setback(&self, task: TaskId) -> Setback {
        self.setbacks.get(&task).copied().unwrap_or_default()
    }

    /// Returns the tasks that can be taken back, in the order in which they were completed.
    #[must_use]
    pub fn compensable(&self) -> &[TaskId] {
        &self.completed
    }

    /// Returns the compensation whose change is to land: its task, where the integration ref is, and where it is to be.
    pub(crate) fn reversal(&self) -> Option<(TaskId, Oid, Oid)> {
        let task = *self.completed.last()?;
        match (self.state(task), &self.landing) {
            (TaskState::CompensationSubmitted(submission), Some(landing)) => {
                Some((task, landing.head(), submission.change?.commit))
            }
            _ => None,
        }
    }

    /// Returns the tasks whose changes were taken out of the integration ref again, each with the commit that did so.
    pub fn reversed(&self) -> impl Iterator<Item = (TaskId, Oid)> + '_ {
        self.taken_back.iter().map(|(task, commit)| (*task, *commit))
    }

    /// Returns the tasks that count as taken back, or were left by a person, while their change still is in the
    /// integration ref: what took them back changed no file.
    pub fn still_landed(&self) -> impl Iterator<Item = TaskId> + '_ {
        let changed = self.changes.keys().copied();
        changed.filter(|task| {
            *self.state(*task) == TaskState::Compensated && !self.taken_back.contains_key(task)
        })
    }

    /// Returns how many tasks are in which state.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.index().counts
    }

    /// Returns the tasks for which the world owes something: attempts, checks, compensations.
    pub fn in_flight(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.index().in_flight.iter().copied()
    }

    pub(crate) fn settled_at(&self) -> Now {
        self.settled_at
    }

    pub(crate) fn failures_in_a_row(&self, agent: AgentId) -> u32 {
        self.breakers.get(&agent).map_or(0, |breaker| breaker.failures)
    }

    /// Returns until when `agent` rests after too many failures, or since when it may try again.
    #[must_use]
    pub fn rest(&self, agent: AgentId) -> Option<Elapsed> {
        self.breakers.get(&agent).and_then(|breaker| breaker.until)
    }

    /// Tells whether a person must look at the result of `task` before it counts.
    #[must_use]
    pub fn is_doubted(&self, task: TaskId) -> bool {
        self.tally.doubted.contains(&task)
    }

    /// Returns the attempt that asked the question of `gate`, if it still runs.
    #[must_use]
    pub fn asked_by(&self, gate: GateId) -> Option<(TaskId, AttemptNo)> {
        let gate = self.gates.get(&gate).filter(|gate| gate.kind == GateKind::Question)?;
        match self.state(gate.task) {
            TaskState::Running(attempt) if attempt.number == gate.attempt => {
                Some((gate.task, attempt.number))
            }
            _ => None,
        }
    }
}
