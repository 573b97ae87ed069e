//! The checkers: a second, simple opinion on what each event may follow, kept beside the run under test.
//!
//! They see only what is durable, and share no code with the decider but the types of its data.

mod attempts;
mod facts;
mod finish;
mod gates;
mod handoff;
mod landing;
mod reuse;
mod timers;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kapell_core::{
    budget::{Amount, Exceeded, Limits},
    effect::Hold,
    event::{Event, GateKind, Outputs, PauseCause},
    id::{AgentId, AttemptNo, Digest, GateId, Oid, TaskId},
    journal::{Row, Version},
    mission::Mission,
    plan::{LostPolicy, Plan, Slot, Work},
    retry::{FailureClass, Setback},
    route::Choice,
    run::{Phase, Run},
    task::{Change, Recovery, SkipCause, Slots, StopCause, TaskState},
    time::{Elapsed, Millis, Wall},
};
use kapell_policy::reuse::Past;

use crate::{
    scenario::{Cond, Facts},
    world::Git,
};

/// What does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(pub String);

pub(crate) type Checked = Result<(), Violation>;

macro_rules! ensure {
    ($holds:expr, $($text:tt)*) => {
        if !$holds {
            return Err($crate::check::Violation(format!($($text)*)));
        }
    };
}
pub(crate) use ensure;

/// Where a task stands, as far as the checkers care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stand {
    Waiting,
    Running,
    Submitted,
    Verified,
    BackingOff(Elapsed),
    /// Until then by the time of day, or by the run's own clock.
    Parked(Wall, Elapsed),
    Gate(GateId),
    Done,
    Landed,
    Failed,
    Skipped(SkipCause),
    Cancelled,
    Compensating(AttemptNo),
    /// What took it back is to land.
    Reversing,
    Stuck,
    Compensated,
}

impl Stand {
    fn is_success(self) -> bool {
        matches!(self, Self::Done | Self::Landed)
    }

    /// Tells whether it is what the state under test says.
    fn is(self, state: &TaskState) -> bool {
        use TaskState as S;
        match (self, state) {
            (Self::Waiting, S::Blocked { .. } | S::Ready | S::AwaitingClaims)
            | (Self::Running, S::Running(_))
            | (Self::Submitted, S::Submitted(_))
            | (Self::Verified, S::Verified(_))
            | (Self::Done, S::Done)
            | (Self::Landed, S::Landed { .. })
            | (Self::Failed, S::Failed { .. })
            | (Self::Cancelled, S::Cancelled)
            | (Self::Reversing, S::CompensationSubmitted(_))
            | (Self::Stuck, S::CompensationStuck { .. })
            | (Self::Compensated, S::Compensated) => true,
            (Self::BackingOff(at), S::BackingOff { until }) => at == *until,
            (Self::Parked(until, latest), S::Parked(park)) => (until, latest) == (park.until, park.latest),
            (Self::Gate(open), S::AwaitingGate { gate }) => open == *gate,
            (Self::Skipped(known), S::Skipped { why }) => known == *why,
            (Self::Compensating(under_way), S::Compensating { attempt, .. }) => under_way == *attempt,
            _ => false,
        }
    }

    fn is_settled(self) -> bool {
        !matches!(
            self,
            Self::Waiting
                | Self::Running
                | Self::Submitted
                | Self::Verified
                | Self::BackingOff(_)
                | Self::Parked(..)
                | Self::Gate(_)
        )
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Watched {
    pub(crate) stand: Stand,
    pub(crate) attempts: u32,
    failures: u32,
    agent: Option<AgentId>,
    /// Who may have it, if agents were ranked for it.
    ranking: Vec<AgentId>,
    /// Who had the task before.
    had: Vec<AgentId>,
    agent_now: Option<AgentId>,
    reserved: Amount,
    /// What it is expected to cost, as far as nothing else starts on it.
    expected: Amount,
    slots: Slots,
    deadline: Option<Elapsed>,
    pub(crate) stopping: Option<StopCause>,
    question: Option<(GateId, Elapsed)>,
    /// Since when its child run rests.
    rests: Option<Elapsed>,
    /// Attempts lost in a row, and since when its provider asks for pauses.
    lost: u32,
    limited: Option<Elapsed>,
    /// Until when the try at taking it back may take; nothing once it is being stopped.
    undo_by: Option<Elapsed>,
    doubt: Option<GateId>,
    /// The attempt that handed the work on last, and to whom.
    handed: Option<(AttemptNo, AgentId)>,
    handed_times: u32,
    /// What an attempt before has changed and passed on.
    passed_on: Option<Change>,
    claims: u16,
    commit: Option<Oid>,
    /// The commit that takes it back.
    reversal: Option<Oid>,
    go: bool,
    /// What was taken over with it had changed, if it was taken over.
    reused: Option<Option<Change>>,
}

#[derive(Debug, Clone)]
struct OpenGate {
    task: TaskId,
    kind: GateKind,
    /// Of the task when it opened.
    attempts: u32,
    answered: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Health {
    failures: u32,
    rests: Option<Elapsed>,
}

/// From where to where a ref moves.
pub(crate) type Move = (Oid, Oid);

/// The second opinion on one run.
pub(crate) struct Checker {
    facts: Vec<Facts>,
    plan: Arc<Plan>,
    mission: Mission,
    limits: Limits,
    deadline: Option<Wall>,
    phase: Phase,
    /// What its parent wants of a run that is paused for a reason of its own.
    parent_holds: Option<bool>,
    pub(crate) tasks: Vec<Watched>,
    spent: Amount,
    reserved: Amount,
    /// What attempts under way are expected to cost.
    expected: Amount,
    slots: Slots,
    by_agent: BTreeMap<AgentId, u32>,
    held: BTreeMap<TaskId, u16>,
    gates: Vec<OpenGate>,
    health: BTreeMap<AgentId, Health>,
    providers: BTreeMap<String, (Wall, Elapsed)>,
    /// What can be taken back, in the order of completion.
    done: Vec<TaskId>,
    ref_move: Option<(Oid, Oid)>,
    head: Oid,
    landed: Vec<TaskId>,
    /// As a run that takes results over sees it.
    past: Past,
    cancel_asked: bool,
    revision: u32,
    epoch: u64,
    merge: Option<(Oid, Oid, bool)>,
    /// The one before a merge that is under way.
    merge_before: Option<(Oid, Oid, bool)>,
    /// Results that passed their checks, or that a person accepted.
    pub(crate) passed: BTreeSet<(TaskId, AttemptNo)>,
    clock: Elapsed,
    busy: Millis,
    was_busy: bool,
    /// The last decision that was checked, with its hash.
    pub(crate) n: Version,
    pub(crate) hash: Digest,
    pub(crate) flaky: bool,
}

impl Checker {
    pub(crate) fn new(facts: Vec<Facts>, flaky: bool, head: Oid) -> Self {
        Self {
            facts,
            plan: Arc::default(),
            mission: Mission::default(),
            limits: Limits::default(),
            deadline: None,
            phase: Phase::Active,
            parent_holds: None,
            tasks: Vec::new(),
            spent: Amount::ZERO,
            reserved: Amount::ZERO,
            expected: Amount::ZERO,
            slots: Slots::default(),
            by_agent: BTreeMap::new(),
            held: BTreeMap::new(),
            gates: Vec::new(),
            health: BTreeMap::new(),
            providers: BTreeMap::new(),
            done: Vec::new(),
            ref_move: None,
            head,
            landed: Vec::new(),
            past: Past::default(),
            cancel_asked: false,
            revision: 0,
            epoch: 0,
            merge: None,
            merge_before: None,
            passed: BTreeSet::new(),
            clock: Elapsed::default(),
            busy: Millis::default(),
            was_busy: false,
            n: Version::default(),
            hash: Digest::ZERO,
            flaky,
        }
    }

    /// Checks that a row continues the chain.
    pub(crate) fn row(&mut self, row: &Row) -> Checked {
        row.check_follows(self.n, self.hash).map_err(|error| Violation(error.to_string()))?;
        ensure!(row.elapsed >= self.clock, "the run's clock went back at decision {}", row.n);
        self.n = row.n;
        self.hash = row.hash;
        Ok(())
    }

    /// Checks the events of one or more rows that were decided at one time.
    ///
    /// `asking` tells whether a probe is out after them.
    pub(crate) fn events(
        &mut self,
        events: &[Event],
        at: Wall,
        elapsed: Elapsed,
        git: &Git,
        asking: bool,
    ) -> Checked {
        if self.was_busy {
            self.busy = Millis(self.busy.0 + elapsed.since(self.clock).0);
        }
        self.clock = elapsed;
        self.past.see(self.n, events);
        events.iter().try_for_each(|event| {
            self.event(event, at, git).map_err(|Violation(what)| Violation(format!("{what}, at {event:?}")))
        })?;
        // What landing asks of the repository then waits for a person.
        let asks = asking && !matches!(self.phase, Phase::Paused(PauseCause::LandingFails { .. }));
        self.was_busy = asks || self.is_busy();
        let held = self.parent_holds.filter(|_| self.phase == Phase::Active);
        ensure!(held.is_none(), "the run goes on though its parent is paused");
        Ok(())
    }

    /// Compares the live state with this one.
    pub(crate) fn compare(&self, run: &Run) -> Checked {
        ensure!(
            run.version() == self.n && run.hash() == self.hash,
            "the state is not at the durable version"
        );
        let ledger = run.ledger();
        ensure!(ledger.spent() == self.spent, "spent {:?}, but it was {:?}", ledger.spent(), self.spent);
        ensure!(
            ledger.reserved() == self.reserved,
            "reserved {:?}, but it should be {:?}",
            ledger.reserved(),
            self.reserved
        );
        ensure!(
            ledger.held() == self.expected,
            "held {:?}, but attempts under way are expected to cost {:?}",
            ledger.held(),
            self.expected
        );
        ensure!(*run.phase() == self.phase, "phase {:?}, but it should be {:?}", run.phase(), self.phase);
        ensure!(run.held() == self.is_held(), "held {:?}, but it should be {:?}", run.held(), self.is_held());
        let merge = run.merge().map(|merge| (merge.from, merge.to, merge.done));
        ensure!(merge == self.merge, "merged {merge:?}, but it should be {:?}", self.merge);
        ensure!(run.busy() == self.busy, "busy for {:?}, but it was {:?}", run.busy(), self.busy);
        ensure!(run.claims().held().count() == self.held.len(), "claims are held by others than should");
        ensure!(run.compensable() == self.done, "what can be taken back is {:?}", run.compensable());
        self.tasks.iter().enumerate().try_for_each(|(at, watched)| {
            let task = TaskId(u32::try_from(at).unwrap_or(u32::MAX));
            let live = run.task(task).ok_or_else(|| Violation(format!("there is no task {task}")))?;
            ensure!(
                watched.stand.is(&live.state),
                "task {task} is {:?}, not {:?}",
                live.state,
                watched.stand
            );
            ensure!(live.attempts == watched.attempts, "task {task} is tried {} times", live.attempts);
            let (reused, change) = (watched.reused, run.change(task));
            ensure!(
                reused.is_none_or(|reused| reused == change),
                "task {task} is taken over with {change:?}"
            );
            // What has come of a task that is settled makes no difference any more.
            if watched.stand.is_settled() {
                return Ok(());
            }
            let (failures, setback) = (live.failures, run.setback(task));
            ensure!(
                failures == watched.failures,
                "task {task} failed {failures} times, not {}",
                watched.failures
            );
            let known = Setback { lost: watched.lost, limited_since: watched.limited };
            ensure!(setback == known, "task {task} has met {setback:?}, not {known:?}");
            Ok(())
        })
    }

    fn is_busy(&self) -> bool {
        self.tasks.iter().any(|task| match task.stand {
            Stand::Running => task.question.is_none() && task.rests.is_none(),
            Stand::Submitted => task.doubt.is_none(),
            Stand::Compensating(_) => true,
            _ => false,
        })
    }

    fn wall_spent(&self) -> bool {
        self.limits.wall.is_some_and(|limit| self.busy >= limit)
    }

    /// Tells whether the durable facts say that this attempt is under way.
    pub(crate) fn is_running(&self, task: TaskId, attempt: AttemptNo) -> bool {
        self.tasks
            .get(task.index())
            .is_some_and(|watched| watched.stand == Stand::Running && watched.attempts == attempt.0)
    }

    /// Tells whether the durable facts say that the result of this attempt is to be checked.
    pub(crate) fn is_submitted(&self, task: TaskId, attempt: AttemptNo) -> bool {
        self.tasks
            .get(task.index())
            .is_some_and(|watched| watched.stand == Stand::Submitted && watched.attempts == attempt.0)
    }

    /// Tells whether the durable facts say that this try at a compensation is under way.
    pub(crate) fn is_undoing(&self, task: TaskId, attempt: AttemptNo) -> bool {
        self.tasks.get(task.index()).is_some_and(|watched| watched.stand == Stand::Compensating(attempt))
    }

    fn event(&mut self, event: &Event, at: Wall, git: &Git) -> Checked {
        if let Some(task) = event.task() {
            ensure!(task.index() < self.tasks.len(), "there is no task {task}");
        }
        match event {
            Event::Created { mission } => {
                self.limits = mission.limits;
                self.deadline = mission.deadline;
                self.mission = (**mission).clone();
                Ok(())
            }
            Event::PlanAdopted { revision, plan } => {
                ensure!(*revision == self.revision + 1, "revision {revision} after {}", self.revision);
                let Some(plan) = plan.plan() else {
                    return Err(Violation("the plan is not there".to_owned()));
                };
                self.adopt(plan);
                Ok(())
            }
            Event::Opened { epoch } => {
                ensure!(*epoch > self.epoch, "owner {epoch} after {}", self.epoch);
                self.epoch = *epoch;
                Ok(())
            }
            Event::Noted { task, attempt, .. } | Event::Used { task, attempt, .. } => {
                ensure!(self.is_running(*task, *attempt), "a word of an attempt that does not run");
                Ok(())
            }
            Event::ChildRested { task, attempt } => self.child_rests(*task, *attempt, true),
            Event::ChildWentOn { task, attempt } => self.child_rests(*task, *attempt, false),
            Event::Routed { tasks, ranking, .. } => self.routed(tasks, ranking),
            Event::Rerouted { task, from, agent, .. } => self.rerouted(*task, *from, *agent, at),
            Event::HandedOff { task, attempt, agent, .. } => self.handed_off(*task, *attempt, *agent),
            Event::PassedOn { task, attempt, agent, change, spent } => {
                self.passed_on(*task, *attempt, *agent, *change, *spent)
            }
            Event::Unblocked { task } => self.unblocked(*task),
            Event::Skipped { task, why } => self.skipped(*task, *why),
            Event::ClaimsAwaited { task } => {
                ensure!(self.may_start(*task), "claims are asked for a task that may not start");
                Ok(())
            }
            Event::Started { .. } => self.started(event, at),
            Event::StopRequested { task, attempt, why } => self.stop_requested(*task, *attempt, *why),
            Event::Completed { task, outputs, spent } => self.completed(*task, outputs, *spent),
            Event::Submitted { .. } => self.submitted(event),
            Event::Verified { task } => self.verified(*task),
            Event::AttemptFailed { .. } => self.attempt_failed(event, at, git),
            Event::Woken { task } => self.woken(*task, at),
            Event::Reused { task, landed, change, .. } => {
                ensure!(self.at(*task).stand == Stand::Waiting, "a task is reused that has begun");
                self.watch(*task).reused = Some(*change);
                // What it landed is in the base.
                self.settle(*task, if landed.is_some() { Stand::Landed } else { Stand::Done });
                Ok(())
            }
            Event::Cancelled { task } => {
                ensure!(self.cancel_asked || self.is_doomed(), "a task is cancelled though nobody asked");
                ensure!(!self.at(*task).stand.is_settled(), "a settled task is cancelled");
                ensure!(self.at(*task).stand != Stand::Running, "a running task is cancelled");
                self.settle(*task, Stand::Cancelled);
                Ok(())
            }
            Event::GateOpened { gate, task, kind, .. } => self.gate_opened(*gate, *task, *kind),
            Event::GateAnswered { gate, answer, .. } => self.gate_answered(*gate, answer),
            Event::AnswerUndone { gate, .. } => self.answer_undone(*gate, git),
            Event::ProbeAsked { .. } | Event::Probed { .. } => Ok(()),
            Event::LandingStarted { from, to } => self.landing_started(*from, *to, git),
            Event::Landed { task, commit } => self.landed(*task, *commit, git),
            Event::SentBack { task, blame } => self.sent_back(*task, blame, git),
            Event::ProviderParked { provider, until, latest } => {
                self.check_bound(*until, *latest, at)?;
                let clock = self.clock;
                let park = self.providers.entry(provider.clone()).or_insert((*until, *latest));
                // What another attempt hears later does not shorten a park that lasts.
                *park = match park.1 > clock {
                    true => (park.0.max(*until), park.1.max(*latest)),
                    false => (*until, *latest),
                };
                Ok(())
            }
            Event::BreakerOpened { agent, until } => {
                let health = self.health.entry(*agent).or_default();
                ensure!(health.failures >= 5, "an agent rests after {} failures", health.failures);
                ensure!(*until > self.clock, "an agent rests until {until:?}, which is over");
                health.rests = Some(*until);
                Ok(())
            }
            Event::CompensationStarted { task, attempt, deadline } => {
                self.compensation_started(*task, *attempt)?;
                self.undo_within(*task, *deadline)
            }
            Event::CompensationFailed { task, attempt, again, deadline, .. } => {
                ensure!(self.at(*task).stand == Stand::Compensating(*attempt), "it is not being taken back");
                match again {
                    true => self.undo_within(*task, *deadline)?,
                    false => ensure!(deadline.is_none(), "a time limit for nothing"),
                }
                self.watch(*task).stand = match again {
                    true => Stand::Compensating(attempt.next()),
                    false => Stand::Stuck,
                };
                Ok(())
            }
            Event::CompensationSubmitted { task, attempt, change } => {
                self.compensation_submitted(*task, *attempt, *change)
            }
            Event::Compensated { task, commit, left } => self.compensated(*task, *commit, *left, git),
            Event::Paused { why } => {
                self.check_pause(why, at)?;
                self.paused(why)
            }
            Event::Held { stop } => self.hold_on(*stop),
            Event::Released {} => {
                ensure!(self.parent_holds.is_some(), "the run is released, and nobody held it");
                self.parent_holds = None;
                Ok(())
            }
            Event::Resumed { limits } => {
                let Phase::Paused(why) = &self.phase else {
                    return Err(Violation("resumed though not paused".to_owned()));
                };
                match why {
                    PauseCause::Deadline => self.deadline = None,
                    PauseCause::Parent { .. } => self.parent_holds = None,
                    _ => {}
                }
                self.limits = limits.unwrap_or(self.limits);
                self.phase = Phase::Active;
                Ok(())
            }
            Event::CancelRequested {} => {
                ensure!(matches!(self.phase, Phase::Active | Phase::Paused(_)), "cancelled too late");
                self.cancel_asked = true;
                self.phase = Phase::Cancelling;
                Ok(())
            }
            Event::CompensationBegun {} => {
                ensure!(self.mission.saga, "what is no saga is taken back");
                ensure!(self.cancel_asked || self.is_doomed(), "nothing failed, and it is taken back");
                self.check_quiet()?;
                self.phase = Phase::Compensating;
                Ok(())
            }
            Event::Finished { outcome } => self.finished(*outcome, git),
            Event::MergeStarted { from, to, .. } => {
                ensure!(self.merge.is_none_or(|(.., done)| done), "two merges at once");
                self.merge_before = self.merge.replace((*from, *to, false));
                Ok(())
            }
            Event::Merged { to, .. } => {
                ensure!(
                    self.merge.is_some_and(|(_, goal, done)| goal == *to && !done),
                    "an unexpected merge"
                );
                self.merge = self.merge.map(|(from, to, _)| (from, to, true));
                self.merge_before = None;
                Ok(())
            }
            Event::MergeUndone { to, .. } => {
                ensure!(self.merge.is_some_and(|(from, ..)| from == *to), "an unexpected undo of a merge");
                // One that did not happen leaves the one before.
                self.merge = self.merge_before.take().filter(|_| self.merge.is_some_and(|(.., done)| !done));
                Ok(())
            }
        }
    }

    fn at(&self, task: TaskId) -> &Watched {
        &self.tasks[task.index()]
    }

    fn watch(&mut self, task: TaskId) -> &mut Watched {
        &mut self.tasks[task.index()]
    }

    fn adopt(&mut self, plan: &Arc<Plan>) {
        self.revision += 1;
        for at in self.tasks.len()..plan.len() {
            let task = TaskId(u32::try_from(at).unwrap_or(u32::MAX));
            let agent = plan.definition(task).agent;
            self.tasks.push(Watched {
                stand: Stand::Waiting,
                attempts: 0,
                failures: 0,
                agent,
                ranking: Vec::new(),
                had: Vec::new(),
                agent_now: None,
                reserved: Amount::ZERO,
                expected: Amount::ZERO,
                slots: Slots::default(),
                deadline: None,
                stopping: None,
                question: None,
                rests: None,
                lost: 0,
                limited: None,
                undo_by: None,
                doubt: None,
                handed: None,
                handed_times: 0,
                passed_on: None,
                claims: self.claims_of(plan, task),
                commit: None,
                reversal: None,
                go: false,
                reused: None,
            });
        }
        self.plan = plan.clone();
    }

    fn claims_of(&self, plan: &Plan, task: TaskId) -> u16 {
        let facts = &self.facts[plan.definition_id(task).index()];
        match plan.cell(task) {
            Some(cell) if facts.claims_cell => 1 << cell.index,
            _ => facts.claims,
        }
    }

    /// Tells whether a failure in a saga has doomed the run.
    fn is_doomed(&self) -> bool {
        self.mission.saga && self.tasks.iter().any(|task| task.stand == Stand::Failed)
    }

    /// The task is settled: what it did may have to be taken back.
    fn settle(&mut self, task: TaskId, stand: Stand) {
        self.leave(task, stand);
        if stand.is_success() && self.plan.definition(task).compensate.is_some() {
            self.done.push(task);
        }
    }

    /// The task goes on to `stand`, and lets go of what it may not hold there.
    fn leave(&mut self, task: TaskId, stand: Stand) {
        if !matches!(stand, Stand::Submitted | Stand::Verified) {
            self.held.remove(&task);
        }
        let watched = self.watch(task);
        if stand != Stand::Submitted {
            watched.doubt = None;
        }
        watched.stand = stand;
    }

    /// Lists what the world owes, as the durable facts have it: attempts, stops, checks, compensations.
    pub(crate) fn owed(&self) -> Vec<(&'static str, TaskId, AttemptNo)> {
        let mut owed = Vec::new();
        for (at, task) in self.tasks.iter().enumerate() {
            let id = TaskId(u32::try_from(at).unwrap_or(u32::MAX));
            let attempt = AttemptNo(task.attempts);
            match task.stand {
                Stand::Running => {
                    owed.push(("start", id, attempt));
                    if task.stopping.is_some() {
                        owed.push(("stop", id, attempt));
                    }
                }
                Stand::Submitted if task.doubt.is_none() => owed.push(("check", id, attempt)),
                Stand::Compensating(attempt) => {
                    owed.push(("compensate", id, attempt));
                    if task.undo_by.is_none() {
                        owed.push(("stop", id, attempt));
                    }
                }
                _ => {}
            }
        }
        owed
    }

    /// Returns what the child run of a running attempt is to know of this run's phase, if it is to know any.
    pub(crate) fn hold(&self) -> Option<Hold> {
        match &self.phase {
            Phase::Active => Some(Hold::None),
            Phase::Paused(PauseCause::Deadline | PauseCause::Budget(Exceeded::Wall)) => Some(Hold::Stop),
            Phase::Paused(_) if self.is_held() == Some(true) => Some(Hold::Stop),
            Phase::Paused(_) => Some(Hold::Finish),
            _ => None,
        }
    }

    /// Returns the move of the integration ref, and the merge, that are under way.
    pub(crate) fn moves_owed(&self) -> (Option<Move>, Option<Move>) {
        let merge = self.merge.filter(|(.., done)| !done).map(|(from, to, _)| (from, to));
        (self.ref_move, merge)
    }

    /// Says what stands in the way of the end, for people.
    pub(crate) fn standing(&self) -> String {
        let open: Vec<String> = self
            .tasks
            .iter()
            .enumerate()
            .filter(|(_, task)| {
                !task.stand.is_settled()
                    || matches!(task.stand, Stand::Compensating(_) | Stand::Reversing | Stand::Stuck)
            })
            .map(|(at, task)| format!("{at}:{:?}", task.stand))
            .collect();
        format!("phase {:?}, ref {:?}, open {}", self.phase, self.ref_move, open.join(" "))
    }
}
