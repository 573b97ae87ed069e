//! Where one run stands: what was asked, what is done, what waits for a person, what it costs, when it will end,
//! where the work is, and what to type next.

mod text;

use kapell_core::{
    budget::Amount,
    event::GateKind,
    id::TaskId,
    run::{Phase, Run},
    task::{Attempt, SkipCause, TaskState},
    time::{Elapsed, Now},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    forecast::Forecast,
    next::{self, Part},
    summary::{RunPhase, Tally},
    text::short,
    untrusted::Untrusted,
};

/// The version of [`StatusView`] on the wire.
pub const STATUS_VIEW_VERSION: u32 = 1;

/// The most tasks of one kind that a status names; the counts tell how many there are.
pub const NAMED_MAX: usize = 50;

/// Where a run stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusView {
    /// The version of this form: 1.
    pub version: u32,
    /// The run's id.
    pub run: String,
    /// What was asked.
    pub objective: Untrusted,
    /// The workflow file, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Untrusted>,
    /// Where it stands as a whole.
    pub phase: RunPhase,
    /// What is said about a pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Untrusted>,
    /// Whether some process executes it now.
    pub owned: bool,
    /// For how long it has been executed, in milliseconds.
    pub elapsed_ms: u64,
    /// How many decisions its journal holds.
    pub decisions: u64,
    /// How many tasks are where.
    pub tally: Tally,
    /// How many results were taken over of earlier runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken_over: Vec<TakenOver>,
    /// What is under way, the longest first.
    pub running: Vec<RunningTask>,
    /// Tasks that wait before their next attempt.
    pub waiting: Vec<WaitingTask>,
    /// What failed, and what that holds up.
    pub failed: Vec<FailedTask>,
    /// What waits for a person.
    pub gates: Vec<OpenGate>,
    /// Money, tokens and time.
    pub budget: Budget,
    /// When it is expected to end, if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Forecast>,
    /// Where the work is; none outside a git repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<Work>,
    /// What attempts left unfinished and is kept, if that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub salvaged: Vec<SalvagedWork>,
    /// The command that helps on, if there is something to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Results that were taken over of an earlier run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TakenOver {
    /// The run that they come from.
    pub run: String,
    /// How many they are.
    pub tasks: u32,
}

impl TakenOver {
    /// Lists them by the runs that they come from.
    #[must_use]
    pub fn all(run: &Run) -> Vec<Self> {
        run.taken_over().map(|(from, tasks)| Self { run: from.to_string(), tasks }).collect()
    }

    /// Says it in words, of a run with so many tasks.
    #[must_use]
    pub fn text(&self, of: u64) -> String {
        let from: String = self.run.chars().take(crate::text::SHORT_ID).collect();
        format!("{} of {} from run {from}", self.tasks, crate::text::plural(of, "task"))
    }
}

/// A task under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunningTask {
    /// Its name.
    pub task: Untrusted,
    /// The number of the attempt.
    pub attempt: u32,
    /// The agent, if the plan names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Untrusted>,
    /// What happens to it: `running`, `submitted` (being checked) or `verified` (waits to land), `compensating`.
    pub state: String,
    /// For how long, in milliseconds, if an attempt runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed_ms: Option<u64>,
    /// When it is stopped, in milliseconds from now, if it may not run for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Whether it is being stopped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopping: bool,
}

/// A task that waits before its next attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitingTask {
    /// Its name.
    pub task: Untrusted,
    /// What it waits for: `backing_off`, `parked` (until its provider has quota) or `awaiting_claims`.
    pub state: String,
    /// How long still, in milliseconds, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_ms: Option<u64>,
    /// What went wrong before.
    #[serde(default, skip_serializing_if = "Untrusted::is_empty")]
    pub message: Untrusted,
}

/// A task that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailedTask {
    /// Its name.
    pub task: Untrusted,
    /// The class of its last failure.
    pub class: String,
    /// How many attempts there were.
    pub attempts: u32,
    /// What was said last.
    pub message: Untrusted,
    /// How many tasks are not done because of it, alone or with others.
    pub blocks: u32,
}

/// A decision that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OpenGate {
    /// Its number in the run.
    pub gate: u32,
    /// The task that waits.
    pub task: Untrusted,
    /// What it is about: `task`, `question`, `lost`, `protect` or `compensation`.
    pub kind: String,
    /// The question.
    pub question: Untrusted,
    /// The answers that it takes; empty takes any text.
    pub choices: Vec<Untrusted>,
    /// The command that answers it with its first choice; if it is moot, the one that goes on without an answer.
    pub command: String,
    /// Whether it is a question of an attempt that ended with the session that ran it: an answer would reach nobody,
    /// and the next attempt may ask again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub moot: bool,
}

/// Money, tokens and time of a run. What has no limit has none here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Budget {
    /// Paid, in millionths of a US dollar.
    pub spent_usd_micros: u64,
    /// Set aside for what is under way.
    pub reserved_usd_micros: u64,
    /// What is under way is expected to cost so much: nothing else starts on it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held_usd_micros: u64,
    /// The limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_usd_micros: Option<u64>,
    /// Tokens used.
    pub spent_tokens: u64,
    /// Tokens set aside.
    pub reserved_tokens: u64,
    /// Tokens that what is under way is expected to use.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held_tokens: u64,
    /// The limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_tokens: Option<u64>,
    /// For how long something was under way, in milliseconds.
    pub busy_ms: u64,
    /// The limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_wall_ms: Option<u64>,
    /// By how much attempts cost more than their limit allowed, in millionths of a US dollar.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub overrun_usd_micros: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn no_changes(number: &u32) -> bool {
    *number == 0
}

/// Where the work of a run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Work {
    /// The ref that holds what has landed, in kapell's own repository: the directory `git` of the store.
    pub head_ref: String,
    /// The commit that it stands at.
    pub head: String,
    /// How many changes are being checked.
    pub submitted: u32,
    /// How many passed their checks and wait to land.
    pub verified: u32,
    /// How many have landed.
    pub landed: u32,
    /// How many were taken out again by compensations.
    #[serde(default, skip_serializing_if = "no_changes")]
    pub taken_back: u32,
    /// How many count as taken back, though what did so changed no file: they have landed still.
    #[serde(default, skip_serializing_if = "no_changes")]
    pub still_landed: u32,
    /// How often a check disagreed with itself on one tree.
    pub flaky: u32,
    /// The branch that a merge moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Untrusted>,
    /// The commit that a merge moved a branch to, once one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged: Option<String>,
    /// The branch that it moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_into: Option<Untrusted>,
}

/// What an attempt left unfinished when it was lost or failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SalvagedWork {
    /// Its task.
    pub task: Untrusted,
    /// The number of the attempt.
    pub attempt: u32,
    /// How much room it takes, in bytes.
    pub bytes: u64,
    /// The command that shows it, or the directory that it is in.
    pub look: String,
}

impl StatusView {
    /// Looks at a run. `owned` says whether some process executes it.
    #[must_use]
    pub fn new(run: &Run, now: Now, owned: bool, forecast: Option<Forecast>) -> Self {
        Self {
            version: STATUS_VIEW_VERSION,
            run: run.id().to_string(),
            objective: run.mission().objective.as_str().into(),
            source: run.mission().source.as_deref().map(Untrusted::from),
            phase: RunPhase::of(run),
            pause: pause(run),
            owned,
            elapsed_ms: run.clock().max(now.elapsed).0,
            decisions: run.version().0,
            tally: Tally::of(run),
            taken_over: TakenOver::all(run),
            running: running(run, now),
            waiting: waiting(run, now),
            failed: failed(run),
            gates: gates(run, owned),
            budget: Budget::of(run),
            forecast: forecast.filter(|_| run.outcome().is_none()),
            work: Work::of(run),
            salvaged: Vec::new(),
            next: next::command(run, owned),
        }
    }

    /// Adds what waits for a person in the nested workflows that are under way, and what to type for them.
    #[must_use]
    pub fn with_parts(mut self, run: &Run, parts: &[Part]) -> Self {
        for part in parts {
            self.gates.extend(gates(&part.run, self.owned).into_iter().map(|gate| {
                let task = format!("{}/{}", part.path, gate.task.raw()).into();
                OpenGate { task, ..gate }
            }));
        }
        self.next = next::command_of(run, parts, self.owned);
        self
    }
}

fn pause(run: &Run) -> Option<Untrusted> {
    use kapell_core::event::PauseCause as P;
    let Phase::Paused(why) = run.phase() else { return None };
    Some(match why {
        P::Person => "a person asked for it".into(),
        P::Budget(exceeded) => exceeded.to_string().into(),
        P::Deadline => "its deadline is over".into(),
        P::Parent { .. } => "the run that it is part of is paused".into(),
        P::BaseIsRed { message } => {
            format!("checks fail on the commit that the run starts from: {message}").into()
        }
        P::LandingFails { message } => format!("nothing can land: {message}").into(),
    })
}

pub(crate) fn name(run: &Run, task: TaskId) -> Untrusted {
    run.plan().name(task).into()
}

fn running(run: &Run, now: Now) -> Vec<RunningTask> {
    let verified = run.landing().into_iter().flat_map(|landing| landing.pending()).map(|entry| entry.task);
    let mut running: Vec<RunningTask> = run
        .in_flight()
        .chain(verified)
        .take(NAMED_MAX)
        .map(|task| {
            let state = run.state(task);
            let attempt = attempt(state);
            RunningTask {
                task: name(run, task),
                attempt: run.task(task).map_or(0, |task| task.attempts),
                agent: run
                    .agent(task)
                    .and_then(|agent| run.plan().agent(agent))
                    .map(|agent| agent.name.as_str().into()),
                state: state.name().to_owned(),
                elapsed_ms: attempt.map(|attempt| now.elapsed.since(attempt.since).0),
                timeout_ms: attempt
                    .and_then(|attempt| attempt.deadline)
                    .map(|deadline: Elapsed| deadline.since(now.elapsed).0),
                stopping: attempt.is_some_and(|attempt| attempt.stopping.is_some()),
            }
        })
        .collect();
    running.sort_by_key(|task| std::cmp::Reverse(task.elapsed_ms));
    running
}

fn attempt(state: &TaskState) -> Option<&Attempt> {
    match state {
        TaskState::Running(attempt) => Some(attempt),
        _ => None,
    }
}

/// Returns the tasks in one of the states; a walk over all of them, made only if the counts say that there are any.
pub(crate) fn tasks_in<'a>(run: &'a Run, states: &'a [&'a str]) -> impl Iterator<Item = TaskId> + 'a {
    let any = states.iter().any(|state| run.counts().of(state) > 0);
    let all = any.then(|| run.plan().graph().tasks()).into_iter().flatten();
    all.filter(|task| states.contains(&run.state(*task).name()))
}

fn waiting(run: &Run, now: Now) -> Vec<WaitingTask> {
    let waiting = tasks_in(run, &["backing_off", "parked", "awaiting_claims"]).take(NAMED_MAX);
    let left = |state: &TaskState| match state {
        TaskState::BackingOff { until } => Some(until.since(now.elapsed).0),
        TaskState::Parked(park) => Some(park.left(now).0),
        _ => None,
    };
    waiting
        .map(|task| WaitingTask {
            task: name(run, task),
            state: run.state(task).name().to_owned(),
            left_ms: left(run.state(task)),
            message: run
                .last_failure(task)
                .map(|failure| failure.message.as_str().into())
                .unwrap_or_default(),
        })
        .collect()
}

fn failed(run: &Run) -> Vec<FailedTask> {
    tasks_in(run, &["failed"])
        .take(NAMED_MAX)
        .map(|task| {
            let class = match run.state(task) {
                TaskState::Failed { class } => class.to_string(),
                _ => String::new(),
            };
            FailedTask {
                task: name(run, task),
                class,
                attempts: run.task(task).map_or(0, |task| task.attempts),
                message: run.last_failure(task).map(|last| last.message.as_str().into()).unwrap_or_default(),
                blocks: blocked_by(run, task),
            }
        })
        .collect()
}

/// Counts the tasks that were skipped because `task` failed.
fn blocked_by(run: &Run, task: TaskId) -> u32 {
    let mut seen = std::collections::BTreeSet::new();
    let mut open = vec![task];
    while let Some(at) = open.pop() {
        for &next in run.plan().graph().dependents(at) {
            if matches!(run.state(next), TaskState::Skipped { why: SkipCause::Need }) && seen.insert(next) {
                open.push(next);
            }
        }
    }
    u32::try_from(seen.len()).unwrap_or(u32::MAX)
}

/// Returns the name of a kind of gate on the wire.
pub(crate) fn gate_kind(kind: GateKind) -> &'static str {
    match kind {
        GateKind::Task => "task",
        GateKind::Question => "question",
        GateKind::Lost => "lost",
        GateKind::Protect => "protect",
        GateKind::Compensation => "compensation",
    }
}

/// Returns the decisions that wait for a person; `owned` says whether some process executes the run.
#[must_use]
pub fn gates(run: &Run, owned: bool) -> Vec<OpenGate> {
    let open = |(id, gate): (kapell_core::id::GateId, &kapell_core::run::Gate)| {
        let moot = next::is_moot(gate, owned);
        OpenGate {
            gate: id.0,
            task: name(run, gate.task),
            kind: gate_kind(gate.kind).to_owned(),
            question: gate.question.as_str().into(),
            choices: gate.choices.iter().map(Untrusted::from).collect(),
            command: match moot {
                true => format!("kapell resume {}", short(run.id())),
                false => next::answer(run.id(), id, gate.choices.first().map(String::as_str)),
            },
            moot,
        }
    };
    next::open_gates(run).map(open).collect()
}

impl Budget {
    /// Looks at the account of a run.
    #[must_use]
    pub fn of(run: &Run) -> Self {
        let ledger = run.ledger();
        let (spent, reserved, held): (Amount, Amount, Amount) =
            (ledger.spent(), ledger.reserved(), ledger.held());
        Self {
            spent_usd_micros: spent.usd_micros,
            reserved_usd_micros: reserved.usd_micros,
            held_usd_micros: held.usd_micros,
            limit_usd_micros: run.limits().usd_micros,
            spent_tokens: spent.tokens,
            reserved_tokens: reserved.tokens,
            held_tokens: held.tokens,
            limit_tokens: run.limits().tokens,
            busy_ms: run.busy().0,
            limit_wall_ms: run.limits().wall.map(|wall| wall.0),
            overrun_usd_micros: ledger.overrun().usd_micros,
        }
    }
}

impl Work {
    /// Looks at where the work of a run is; `None` outside a git repository.
    #[must_use]
    pub fn of(run: &Run) -> Option<Self> {
        let landing = run.landing()?;
        let merged = run.merge().filter(|merge| merge.done);
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let (taken_back, still_landed) = match run.counts().of("compensated") {
            0 => (0, 0),
            _ => (run.reversed().count(), run.still_landed().count()),
        };
        Some(Self {
            head_ref: next::head_ref(run.id()),
            head: landing.head().to_string(),
            submitted: run.counts().of("submitted"),
            verified: run.counts().of("verified"),
            landed: run.counts().of("landed"),
            taken_back: number(taken_back),
            still_landed: number(still_landed),
            flaky: landing.flaky(),
            target: run.mission().target.as_deref().map(Untrusted::from),
            merged: merged.map(|merge| merge.to.to_string()),
            merged_into: merged.map(|merge| merge.target.as_str().into()),
        })
    }
}
