//! Events: the durable facts of which a run's state is the fold.
//!
//! In the journal each is one line of JSON, `{"name":{...}}`. Tasks, attempts and gates are numbers there; names
//! are in the plan. A field that matters, once added, bumps [`FOLD_VERSION`].

mod lines; // a body as it is written here, read quickly

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    budget::{Amount, Exceeded, Limits},
    id::{AgentId, AttemptNo, Digest, GateId, Oid, ProbeId, RunId, TaskId},
    journal::Version,
    landing::{Blame, Probe, Probed},
    mission::Mission,
    plan::Plan,
    price::Tokens,
    retry::FailureClass,
    route::{Choice, PassedOver, Reroute},
    task::{Change, Recovery, SkipCause, Slots, StopCause},
    time::{Elapsed, Wall},
};

/// The version of the fold: a snapshot made by another one is not used.
pub const FOLD_VERSION: u32 = 9;

/// What a task gave, by name.
pub type Outputs = BTreeMap<String, String>;

/// A plan within an event: written out if it is small, else kept as an artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanRef {
    /// The plan itself.
    Inline(Arc<Plan>),
    /// The digest of its text; the plan is put in when the event is read.
    Kept {
        /// The digest of the text.
        digest: Digest,
        /// The plan, once it has been read.
        #[serde(skip)]
        plan: Option<Arc<Plan>>,
    },
}

impl PlanRef {
    /// Returns the plan, unless it is kept elsewhere and has not been read.
    #[must_use]
    pub fn plan(&self) -> Option<&Arc<Plan>> {
        match self {
            Self::Inline(plan) => Some(plan),
            Self::Kept { plan, .. } => plan.as_ref(),
        }
    }
}

/// What a gate is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateKind {
    /// A task that is a decision.
    Task,
    /// A question that an agent asked while it works.
    Question,
    /// An attempt was lost whose work must not be done twice.
    Lost,
    /// A change touches what checks it.
    Protect,
    /// A compensation failed for good.
    Compensation,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every task is done, landed, or was not to be done.
    Succeeded,
    /// Some task failed.
    Failed,
    /// A person cancelled it.
    Cancelled,
    /// It failed, or was cancelled, and what was done has been taken back.
    Compensated,
}

/// Why a run pauses. It can be resumed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseCause {
    /// A person asked for it.
    Person,
    /// A limit of the budget.
    Budget(Exceeded),
    /// The deadline of the mission is over.
    Deadline,
    /// The checks fail on the commit that the run starts from.
    BaseIsRed {
        /// What the check said.
        message: String,
    },
    /// A probe of the merge queue, or a move of the integration ref, could not be made at all.
    LandingFails {
        /// What stood in the way.
        message: String,
    },
    /// The run that it is part of is paused.
    Parent {
        /// Whether what runs is stopped, as at a deadline; else it ends by itself.
        stop: bool,
    },
}

/// A durable fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "fields are named as in the glossary; each event says what it means")]
pub enum Event {
    /// The run exists.
    Created { mission: Box<Mission> },
    /// A plan is in force; later revisions add tasks at the end and may do without old ones.
    PlanAdopted { revision: u32, plan: PlanRef },
    /// A process executes the run, as its `epoch`-th owner.
    Opened { epoch: u64 },
    /// Agents are ranked for tasks that name skills: the first performs them, the others can take over.
    Routed {
        tasks: Vec<TaskId>,
        ranking: Vec<Choice>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        passed_over: Vec<PassedOver>,
    },
    /// A task that has not begun goes to another agent of its ranking, for its own takes no work now.
    Rerouted { task: TaskId, from: AgentId, agent: AgentId, why: Reroute },
    /// Conditions allow a task that something else would have held back.
    Unblocked { task: TaskId },
    /// A task is not to be done.
    Skipped { task: TaskId, why: SkipCause },
    /// A task waits for paths or names that others hold.
    ClaimsAwaited { task: TaskId },
    /// An attempt is intended: written before its process starts.
    Started {
        task: TaskId,
        attempt: AttemptNo,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<AgentId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline: Option<Elapsed>,
        #[serde(default, skip_serializing_if = "Amount::is_zero")]
        reserved: Amount,
        /// What nothing else starts on while it is under way, for it is expected to cost so much.
        #[serde(default, skip_serializing_if = "Amount::is_zero")]
        held: Amount,
        /// The slots granted to a child run; a plain attempt takes what its agent takes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grant: Option<Slots>,
    },
    /// An attempt is to be stopped.
    StopRequested { task: TaskId, attempt: AttemptNo, why: StopCause },
    /// A task is finished with nothing to check and nothing to land.
    Completed {
        task: TaskId,
        #[serde(default, skip_serializing_if = "Outputs::is_empty")]
        outputs: Outputs,
        #[serde(default, skip_serializing_if = "Amount::is_zero")]
        spent: Amount,
    },
    /// An attempt ended with a result that is to be checked.
    Submitted {
        task: TaskId,
        attempt: AttemptNo,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        change: Option<Change>,
        #[serde(default, skip_serializing_if = "Outputs::is_empty")]
        outputs: Outputs,
        #[serde(default, skip_serializing_if = "Amount::is_zero")]
        spent: Amount,
    },
    /// A result passed its checks.
    Verified { task: TaskId },
    /// An attempt, or its result, failed.
    AttemptFailed {
        task: TaskId,
        attempt: AttemptNo,
        class: FailureClass,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        message: String,
        #[serde(default, skip_serializing_if = "Amount::is_zero")]
        spent: Amount,
        then: Recovery,
    },
    /// A wait before the next attempt is over.
    Woken { task: TaskId },
    /// A result of an earlier run is taken over.
    Reused {
        task: TaskId,
        from: RunId,
        at: Version,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        landed: Option<Oid>,
        /// What it had changed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        change: Option<Change>,
        #[serde(default, skip_serializing_if = "Outputs::is_empty")]
        outputs: Outputs,
    },
    /// A task that had begun was stopped by a person.
    Cancelled { task: TaskId },
    /// A person must decide.
    GateOpened { gate: GateId, task: TaskId, kind: GateKind, question: String, choices: Vec<String> },
    /// A person decided.
    GateAnswered { gate: GateId, answer: String, by: String },
    /// A person took a decision back before anything followed from it: it is owed again.
    AnswerUndone { gate: GateId, by: String },
    /// An agent wants another one to go on with its task, once its own attempt has ended.
    HandedOff { task: TaskId, attempt: AttemptNo, agent: AgentId, note: String },
    /// An attempt whose work is handed on has ended: the next one starts from what it changed.
    PassedOn {
        task: TaskId,
        attempt: AttemptNo,
        agent: AgentId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        change: Option<Change>,
        #[serde(default, skip_serializing_if = "Amount::is_zero")]
        spent: Amount,
    },
    /// Nothing of a child run is under way: it waits for people, or for a time. The time of its task stands still.
    ChildRested { task: TaskId, attempt: AttemptNo },
    /// Something of a child run is under way again.
    ChildWentOn { task: TaskId, attempt: AttemptNo },
    /// An agent says something that should be kept.
    Noted { task: TaskId, attempt: AttemptNo, text: String },
    /// What an attempt that ends used of its model, by kind. What it cost stands in the event of its end.
    Used {
        task: TaskId,
        attempt: AttemptNo,
        tokens: Tokens,
        /// What its client says that it used, if that is something else.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        claimed: Option<Tokens>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
    },
    /// The merge queue asks the world.
    ProbeAsked { probe: Probe },
    /// The world answered.
    Probed { probe: ProbeId, outcome: Probed },
    /// The integration ref is about to move.
    LandingStarted { from: Oid, to: Oid },
    /// A task's change is in the integration ref.
    Landed { task: TaskId, commit: Oid },
    /// The merge queue gives a change back.
    SentBack { task: TaskId, blame: Blame },
    /// A provider gives nothing until then.
    ProviderParked {
        provider: String,
        until: Wall,
        #[serde(default = "crate::task::never")]
        latest: Elapsed,
    },
    /// An agent failed too often in a row and rests until then.
    BreakerOpened { agent: AgentId, until: Elapsed },
    /// The compensation of a task begins.
    CompensationStarted {
        task: TaskId,
        attempt: AttemptNo,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline: Option<Elapsed>,
    },
    /// A try at a compensation failed. If it is tried `again`, that must have ended at `deadline`.
    CompensationFailed {
        task: TaskId,
        attempt: AttemptNo,
        message: String,
        again: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline: Option<Elapsed>,
    },
    /// A compensation ended well and changed files: the integration ref is to have that.
    CompensationSubmitted { task: TaskId, attempt: AttemptNo, change: Change },
    /// A task has been taken back, or a person says to leave it.
    Compensated {
        task: TaskId,
        /// The commit of the integration ref that took its change back; nothing if the compensation changed no file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        commit: Option<Oid>,
        /// Whether a person said to leave it as it is.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        left: bool,
    },
    /// Nothing new starts until the run is resumed.
    Paused { why: PauseCause },
    /// The run goes on, perhaps within new limits.
    Resumed {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limits: Option<Limits>,
    },
    /// The run that it is part of is paused, and it is paused already: it goes on once neither holds it. Until then what
    /// runs is stopped, or ends by itself.
    Held { stop: bool },
    /// The run that it is part of goes on; what else it is paused for still holds it.
    Released {},
    /// A person wants the run to end.
    CancelRequested {},
    /// The run takes back what it did.
    CompensationBegun {},
    /// The run is over.
    Finished { outcome: Outcome },
    /// The target branch is about to move.
    MergeStarted { target: String, from: Oid, to: Oid },
    /// The target branch moved and checkouts follow it.
    Merged { target: String, to: Oid },
    /// The merge did not happen, or was taken back.
    MergeUndone {
        target: String,
        to: Oid,
        /// What stood in its way, if it did not happen.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
}

impl Event {
    /// The names of all kinds of events.
    pub const NAMES: [&'static str; 47] = [
        "created",
        "plan_adopted",
        "opened",
        "routed",
        "rerouted",
        "handed_off",
        "passed_on",
        "unblocked",
        "skipped",
        "claims_awaited",
        "started",
        "stop_requested",
        "completed",
        "submitted",
        "verified",
        "attempt_failed",
        "woken",
        "reused",
        "cancelled",
        "gate_opened",
        "gate_answered",
        "answer_undone",
        "child_rested",
        "child_went_on",
        "noted",
        "used",
        "probe_asked",
        "probed",
        "landing_started",
        "landed",
        "sent_back",
        "provider_parked",
        "breaker_opened",
        "compensation_started",
        "compensation_failed",
        "compensation_submitted",
        "compensated",
        "paused",
        "resumed",
        "held",
        "released",
        "cancel_requested",
        "compensation_begun",
        "finished",
        "merge_started",
        "merged",
        "merge_undone",
    ];

    /// Returns the name under which the event stands in the journal.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::PlanAdopted { .. } => "plan_adopted",
            Self::Opened { .. } => "opened",
            Self::Routed { .. } => "routed",
            Self::Rerouted { .. } => "rerouted",
            Self::HandedOff { .. } => "handed_off",
            Self::PassedOn { .. } => "passed_on",
            Self::Unblocked { .. } => "unblocked",
            Self::Skipped { .. } => "skipped",
            Self::ClaimsAwaited { .. } => "claims_awaited",
            Self::Started { .. } => "started",
            Self::StopRequested { .. } => "stop_requested",
            Self::Completed { .. } => "completed",
            Self::Submitted { .. } => "submitted",
            Self::Verified { .. } => "verified",
            Self::AttemptFailed { .. } => "attempt_failed",
            Self::Woken { .. } => "woken",
            Self::Reused { .. } => "reused",
            Self::Cancelled { .. } => "cancelled",
            Self::GateOpened { .. } => "gate_opened",
            Self::GateAnswered { .. } => "gate_answered",
            Self::AnswerUndone { .. } => "answer_undone",
            Self::ChildRested { .. } => "child_rested",
            Self::ChildWentOn { .. } => "child_went_on",
            Self::Noted { .. } => "noted",
            Self::Used { .. } => "used",
            Self::ProbeAsked { .. } => "probe_asked",
            Self::Probed { .. } => "probed",
            Self::LandingStarted { .. } => "landing_started",
            Self::Landed { .. } => "landed",
            Self::SentBack { .. } => "sent_back",
            Self::ProviderParked { .. } => "provider_parked",
            Self::BreakerOpened { .. } => "breaker_opened",
            Self::CompensationStarted { .. } => "compensation_started",
            Self::CompensationFailed { .. } => "compensation_failed",
            Self::CompensationSubmitted { .. } => "compensation_submitted",
            Self::Compensated { .. } => "compensated",
            Self::Paused { .. } => "paused",
            Self::Resumed { .. } => "resumed",
            Self::Held { .. } => "held",
            Self::Released {} => "released",
            Self::CancelRequested {} => "cancel_requested",
            Self::CompensationBegun {} => "compensation_begun",
            Self::Finished { .. } => "finished",
            Self::MergeStarted { .. } => "merge_started",
            Self::Merged { .. } => "merged",
            Self::MergeUndone { .. } => "merge_undone",
        }
    }

    /// Tells whether the event is about the merge queue, which there is only in a git repository.
    #[must_use]
    pub(crate) fn is_of_landing(&self) -> bool {
        matches!(
            self,
            Self::ProbeAsked { .. }
                | Self::Probed { .. }
                | Self::LandingStarted { .. }
                | Self::Landed { .. }
                | Self::SentBack { .. }
        )
    }

    /// Returns the task that the event is about, if it is about one.
    #[must_use]
    pub fn task(&self) -> Option<TaskId> {
        match self {
            Self::Unblocked { task }
            | Self::Skipped { task, .. }
            | Self::ClaimsAwaited { task }
            | Self::Started { task, .. }
            | Self::StopRequested { task, .. }
            | Self::Completed { task, .. }
            | Self::Submitted { task, .. }
            | Self::Verified { task }
            | Self::AttemptFailed { task, .. }
            | Self::Woken { task }
            | Self::Reused { task, .. }
            | Self::Cancelled { task }
            | Self::GateOpened { task, .. }
            | Self::ChildRested { task, .. }
            | Self::ChildWentOn { task, .. }
            | Self::Noted { task, .. }
            | Self::Used { task, .. }
            | Self::Rerouted { task, .. }
            | Self::HandedOff { task, .. }
            | Self::PassedOn { task, .. }
            | Self::Landed { task, .. }
            | Self::SentBack { task, .. }
            | Self::CompensationStarted { task, .. }
            | Self::CompensationFailed { task, .. }
            | Self::CompensationSubmitted { task, .. }
            | Self::Compensated { task, .. } => Some(*task),
            _ => None,
        }
    }
}

/// Writes events as the body of a journal row: a JSON array with one event a line.
#[must_use]
pub fn encode(events: &[Event]) -> String {
    let mut body = Vec::with_capacity(96 * events.len() + 2);
    for (at, event) in events.iter().enumerate() {
        body.extend_from_slice(if at == 0 { b"[" } else { b",\n" });
        // Events hold no maps with keys that are no text, and no floats: they can always be written.
        let _ = serde_json::to_writer(&mut body, event);
    }
    body.extend_from_slice(if events.is_empty() { b"[]" } else { b"]" });
    // What it writes is text.
    String::from_utf8(body).unwrap_or_default()
}

/// Reads the body of a journal row.
///
/// # Errors
///
/// Fails if it is no array of known events; the text says where.
pub fn decode(body: &str) -> Result<Vec<Event>, DecodeError> {
    if let Some(events) = lines::read(body) {
        return Ok(events);
    }
    serde_json::from_str(body).map_err(|error| DecodeError {
        line: error.line(),
        column: error.column(),
        message: error.to_string(),
    })
}

/// A body that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {line} cannot be read: {message}")]
pub struct DecodeError {
    /// The line, from 1, which is also the number of the event.
    pub line: usize,
    /// The column in bytes, from 1.
    pub column: usize,
    /// What the reader says.
    pub message: String,
}
