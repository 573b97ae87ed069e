//! Commands: wishes put to a run, and the reasons for which they are refused.

use serde::{Deserialize, Serialize};

use crate::{
    budget::{Amount, Limits},
    event::{Outputs, PlanRef},
    id::{AgentId, AttemptNo, GateId, Oid, ProbeId, RunId, TaskId},
    journal::Version,
    landing::Probed,
    mission::Mission,
    price::Tokens,
    retry::FailureClass,
    route::{Choice, PassedOver},
    task::Change,
    time::Wall,
};

/// How an attempt ended, as its adapter saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It says that it did what was asked.
    Succeeded {
        /// The change in its workspace, if there is one.
        change: Option<Change>,
        /// What it gave.
        outputs: Outputs,
        /// What it cost.
        spent: Amount,
    },
    /// It failed.
    Failed {
        /// Why.
        class: FailureClass,
        /// What it said last.
        message: String,
        /// What it cost.
        spent: Amount,
        /// When its provider says that it may be asked again.
        until: Option<Wall>,
    },
}

/// What the checks of a task say about its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All passed.
    Passed,
    /// One failed.
    Failed {
        /// Which, and what it said last.
        message: String,
    },
    /// All passed, but the change touches what checks it, so a person must look.
    Doubtful {
        /// What was touched.
        question: String,
    },
    /// They could not be run at all.
    Broken {
        /// Why.
        message: String,
    },
}

/// A wish. What cannot be computed twice alike is in it: results, answers, ids, plans.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "fields are named as in the glossary; each command says what it means")]
pub enum Command {
    /// Make the run.
    Create { mission: Box<Mission>, plan: PlanRef },
    /// A process takes the run over.
    Open { epoch: u64 },
    /// Time has passed.
    Tick,
    /// Tasks that name skills shall be performed by the first agent of a ranking, and the others can take over.
    Route { tasks: Vec<TaskId>, ranking: Vec<Choice>, passed_over: Vec<PassedOver> },
    /// An agent wants another one to go on with its task: the one named, or whoever is next. The note is for that one.
    HandOff { task: TaskId, attempt: AttemptNo, to: Option<AgentId>, note: String },
    /// An attempt has ended.
    Finish { task: TaskId, attempt: AttemptNo, exit: Exit },
    /// An agent asks a person.
    Ask { task: TaskId, attempt: AttemptNo, question: String, choices: Vec<String> },
    /// A child run has come to rest, or goes on: nothing of it is under way, or something is.
    ChildRests { task: TaskId, attempt: AttemptNo, rests: bool },
    /// An agent wants something kept.
    Note { task: TaskId, attempt: AttemptNo, text: String },
    /// An attempt that ends has used this of its model; `claimed` is what its client says.
    Use { task: TaskId, attempt: AttemptNo, tokens: Tokens, claimed: Option<Tokens>, model: Option<String> },
    /// The provider of an agent that is at work asks for a pause, until the instant that it states.
    Throttled { task: TaskId, attempt: AttemptNo, until: Option<Wall> },
    /// The checks of a task have run.
    Judge { task: TaskId, attempt: AttemptNo, verdict: Verdict },
    /// A probe of the merge queue is answered.
    Probed { probe: ProbeId, outcome: Probed },
    /// The integration ref has moved.
    RefMoved { to: Oid },
    /// The probe that is out, or the move of the integration ref, could not be made. It is asked for again once the
    /// run is resumed.
    LandingFailed { message: String },
    /// A compensation has ended: well if there is no `failure`, and then with what it changed.
    Compensated { task: TaskId, attempt: AttemptNo, change: Option<Change>, failure: Option<String> },
    /// A person answers.
    Answer { gate: GateId, answer: String, by: String },
    /// A person takes an answer back from which nothing has followed yet.
    UndoAnswer { gate: GateId, by: String },
    /// Nothing new shall start.
    Pause,
    /// The run shall go on, perhaps within new limits.
    Resume { limits: Option<Limits> },
    /// The run that it is part of is paused: so shall this one be, and what runs be stopped if `stop`.
    Hold { stop: bool },
    /// The run that it is part of goes on: so shall this one, unless it is paused for a reason of its own.
    Release,
    /// The run shall end.
    Cancel,
    /// Another plan shall hold: the same tasks first, new ones after them, some of the old ones done without.
    Revise { plan: PlanRef, superseded: Vec<TaskId> },
    /// The result of an earlier run shall be taken over.
    Reuse {
        task: TaskId,
        from: RunId,
        at: Version,
        landed: Option<Oid>,
        change: Option<Change>,
        outputs: Outputs,
    },
    /// The target branch shall move.
    BeginMerge { target: String, from: Oid, to: Oid },
    /// The target branch has moved, or has not: then `why` says what stood in the way.
    EndMerge { moved: bool, why: Option<String> },
    /// The merge has been taken back: the target branch is at `to` again.
    UndoMerge { to: Oid },
}

impl Command {
    /// Returns the name under which the command stands in the journal as a cause.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Open { .. } => "open",
            Self::Tick => "tick",
            Self::Route { .. } => "route",
            Self::HandOff { .. } => "hand_off",
            Self::Finish { .. } => "finish",
            Self::Ask { .. } => "ask",
            Self::ChildRests { .. } => "child_rests",
            Self::Note { .. } => "note",
            Self::Use { .. } => "use",
            Self::Throttled { .. } => "throttled",
            Self::Judge { .. } => "judge",
            Self::Probed { .. } => "probed",
            Self::RefMoved { .. } => "ref_moved",
            Self::LandingFailed { .. } => "landing_failed",
            Self::Compensated { .. } => "compensated",
            Self::Answer { .. } => "answer",
            Self::UndoAnswer { .. } => "undo_answer",
            Self::Pause => "pause",
            Self::Resume { .. } => "resume",
            Self::Hold { .. } => "hold",
            Self::Release => "release",
            Self::Cancel => "cancel",
            Self::Revise { .. } => "revise",
            Self::Reuse { .. } => "reuse",
            Self::BeginMerge { .. } => "begin_merge",
            Self::EndMerge { .. } => "end_merge",
            Self::UndoMerge { .. } => "undo_merge",
        }
    }
}

/// Why a command is refused. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The run has not been made yet.
    #[error("the run does not exist yet")]
    NotCreated,
    /// The run exists already.
    #[error("the run exists already")]
    AlreadyCreated,
    /// The plan is kept elsewhere and was not put in.
    #[error("the plan was not read")]
    PlanNotRead,
    /// The run is over.
    #[error("the run is over")]
    Over,
    /// There is no such task.
    #[error("there is no task number {0}")]
    UnknownTask(TaskId),
    /// The result comes from an attempt that is no longer under way.
    #[error("attempt {attempt} of task {task} is no longer under way")]
    Late {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptNo,
    },
    /// The merge queue did not ask this, or no longer.
    #[error("probe {0} is not out")]
    StaleProbe(ProbeId),
    /// The integration ref was not about to move there, or nothing was asked of the repository.
    #[error("the integration ref was not about to move there")]
    UnexpectedMove,
    /// There is no such gate.
    #[error("there is no gate number {0}")]
    UnknownGate(GateId),
    /// The gate is closed.
    #[error("gate {0} is answered already")]
    AlreadyAnswered(GateId),
    /// Nothing waits for the answer any more.
    #[error("nothing waits for gate {0} any more")]
    MootGate(GateId),
    /// The gate has no answer that could be taken back.
    #[error("gate {0} has no answer to take back")]
    NotAnswered(GateId),
    /// Something has followed from the answer.
    #[error("the answer to gate {gate} cannot be taken back: {why}")]
    AnswerUsed {
        /// The gate.
        gate: GateId,
        /// What has followed.
        why: &'static str,
    },
    /// The answer is none of those that the gate takes.
    #[error("the answer must be one of: {}", .0.join(", "))]
    BadAnswer(Vec<String>),
    /// The agent waits for an answer already.
    #[error("the agent has an open question already")]
    AlreadyAsking,
    /// The ranking is empty or too long, or names an agent that the plan does not have.
    #[error("the ranking {0}")]
    BadRanking(&'static str),
    /// The task cannot be handed on.
    #[error("the task cannot be handed on: {0}")]
    NoHandOff(&'static str),
    /// The run is not paused.
    #[error("the run is not paused")]
    NotPaused,
    /// The run goes on when the one that it is part of does.
    #[error("the run that it is part of is paused: resume that one")]
    ParentPaused,
    /// The run is paused already.
    #[error("the run is paused already")]
    AlreadyPaused,
    /// The run is being cancelled, or takes back what it did.
    #[error("the run is being cancelled")]
    Cancelling,
    /// The revision changes tasks that exist, or is not a plan for this run.
    #[error("the revised plan {0}")]
    BadRevision(&'static str),
    /// The task has begun, so no earlier result can be taken over.
    #[error("task {0} has begun already")]
    AlreadyBegun(TaskId),
    /// A merge is under way, or there is none.
    #[error("{0}")]
    Merge(&'static str),
    /// The decider contradicts itself. A bug.
    #[error("internal contradiction: {0}")]
    Bug(String),
}
