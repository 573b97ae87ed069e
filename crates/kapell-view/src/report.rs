//! The execution report: what was asked of a run, what happened, what it cost, and what was learnt from it.

mod build;
mod markdown;

pub use build::ReportBuilder;
use kapell_core::budget::Amount;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    forecast::Forecast,
    status::{Budget, FailedTask, OpenGate, TakenOver, Work},
    summary::{RunPhase, Tally},
    untrusted::Untrusted,
};

/// The version of [`Report`] on the wire.
pub const REPORT_VERSION: u32 = 1;

/// What happened in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// The version of this form: 1.
    pub version: u32,
    /// The run's id.
    pub run: String,
    /// What was asked.
    pub asked: Asked,
    /// Where the run stands, or how it ended.
    pub phase: RunPhase,
    /// How many tasks ended how.
    pub tally: Tally,
    /// How many results were taken over of earlier runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken_over: Vec<TakenOver>,
    /// The plan in force at the end.
    pub plan: PlanFacts,
    /// Time against the estimate.
    pub time: TimeFacts,
    /// The chain of needs that ended last, as it really was, from its start.
    pub critical_path: Vec<PathStep>,
    /// How well slots were used.
    pub utilisation: Utilisation,
    /// Money, tokens and time.
    pub cost: Budget,
    /// How what attempts cost compares with what was expected of them; none if nothing was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreseen: Option<Foreseen>,
    /// What was used of each model, by kind. Not there in journals of before it was kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub used: Vec<ModelUse>,
    /// The tasks that cost most, the dearest first; at most 20.
    pub dearest: Vec<TaskCost>,
    /// The main facts in their order.
    pub timeline: Vec<Moment>,
    /// How many facts the timeline leaves out.
    pub timeline_left_out: u64,
    /// Failed attempts and what followed; at most 500.
    pub recoveries: Vec<RecoveryFact>,
    /// How many failed attempts there were.
    pub attempts_failed: u64,
    /// What failed for good.
    pub failed: Vec<FailedTask>,
    /// What landed, in order.
    pub landed: Vec<LandedChange>,
    /// Who was chosen for tasks that name skills, and why; at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteFact>,
    /// Where the work is; none outside a git repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<Work>,
    /// What still waits for a person.
    pub gates: Vec<OpenGate>,
    /// What was learnt about how long things take.
    pub learnt: Vec<LearntLength>,
    /// The head of the journal that this report was made from.
    pub head: Head,
    /// Commands that help on.
    pub next: Vec<String>,
}

/// What was asked of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Asked {
    /// In words.
    pub objective: Untrusted,
    /// The workflow file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Untrusted>,
    /// Commands that must pass on every tree that lands.
    pub accept: Vec<Untrusted>,
    /// The branch that a merge moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Untrusted>,
    /// The commit that the run started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Until when it must be done: milliseconds since 1970 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<i64>,
    /// The seed of everything drawn at random. Text, for it may have 64 bits.
    pub seed: String,
}

/// The plan in force at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanFacts {
    /// How many tasks it has.
    pub tasks: u64,
    /// How many needs.
    pub edges: u64,
    /// How many waves.
    pub waves: u32,
    /// How many tasks the widest wave has.
    pub width: u64,
    /// Its number among the revisions, from 1.
    pub revision: u32,
}

/// Time against the estimate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TimeFacts {
    /// When the run was made: milliseconds since 1970 UTC.
    pub created_ms: i64,
    /// When the last decision was taken that is reported here.
    pub last_ms: i64,
    /// How long it was executed until it ended, or until now, in milliseconds.
    pub elapsed_ms: u64,
    /// For how long something was under way; the rest was spent waiting for people or for quota.
    pub busy_ms: u64,
    /// What could be foreseen when it was made: from its first plan, and what earlier runs had come to by then. None for very
    /// large plans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Forecast>,
    /// How often another process had to go on with it.
    pub resumed: u64,
}

/// A task on the critical path, as it really was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PathStep {
    /// Its name.
    pub task: Untrusted,
    /// From when on nothing it needs was open, on the run's clock in milliseconds.
    pub ready_ms: u64,
    /// When its first attempt started; when it ended, if it had none.
    pub started_ms: u64,
    /// When it was settled.
    pub ended_ms: u64,
    /// How many attempts it had.
    pub attempts: u32,
}

/// How well slots were used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Utilisation {
    /// Job slots.
    pub jobs: SlotUse,
    /// Agent slots.
    pub agents: SlotUse,
}

/// How well slots of one kind were used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SlotUse {
    /// How many there were at the end.
    pub slots: u32,
    /// For how long attempts held one while something was under way, added up, in milliseconds.
    pub held_ms: u64,
    /// The most held at once.
    pub peak: u32,
    /// `held_ms` as a part of the time for which something was under way in the run, times the slots; 0 to 1.
    pub share: f64,
}

/// What was used of a model: tokens of four kinds that do not overlap.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelUse {
    /// The model, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Untrusted>,
    /// How many attempts used it.
    pub attempts: u64,
    /// Tokens read afresh.
    pub input: u64,
    /// Tokens read from the provider's cache.
    pub cache_read: u64,
    /// Tokens read afresh and put into the cache.
    pub cache_write: u64,
    /// Tokens written, thoughts included.
    pub output: u64,
    /// How many attempts there are whose client counted something else.
    pub disputed: u64,
    /// What their clients counted more (or less, if negative) than was booked, in tokens of all kinds.
    pub claimed_more: i64,
}

/// What attempts were expected to cost from those before them, and what they cost: those that have ended, and of which
/// something was known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Foreseen {
    /// How many there were.
    pub attempts: u64,
    /// How many of them cost no more than expected.
    pub within: u64,
    /// The money that was expected, in millionths of a US dollar.
    pub expected_usd_micros: u64,
    /// What they cost of it.
    pub spent_usd_micros: u64,
    /// The tokens that were expected.
    pub expected_tokens: u64,
    /// What they used of them.
    pub spent_tokens: u64,
}

impl Foreseen {
    /// Takes in an attempt that has ended.
    fn add(&mut self, expected: Amount, spent: Amount) {
        self.attempts += 1;
        // Of a kind of which nothing is known nothing was expected.
        let within = |expected: u64, spent: u64| expected == 0 || spent <= expected;
        let is_within =
            within(expected.usd_micros, spent.usd_micros) && within(expected.tokens, spent.tokens);
        self.within += u64::from(is_within);
        let sum = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        sum(&mut self.expected_usd_micros, expected.usd_micros);
        sum(&mut self.spent_usd_micros, spent.usd_micros);
        sum(&mut self.expected_tokens, expected.tokens);
        sum(&mut self.spent_tokens, spent.tokens);
    }
}

/// What a task cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskCost {
    /// Its name.
    pub task: Untrusted,
    /// Money, in millionths of a US dollar.
    pub usd_micros: u64,
    /// Tokens.
    pub tokens: u64,
    /// For how long its attempts ran, in milliseconds.
    pub work_ms: u64,
    /// How many attempts it had.
    pub attempts: u32,
}

/// One of the main facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Moment {
    /// The decision.
    pub n: u64,
    /// When, on the run's clock in milliseconds.
    pub elapsed_ms: u64,
    /// The task that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Untrusted>,
    /// The name of the event.
    pub event: String,
    /// What happened.
    pub text: String,
}

/// A failed attempt and what followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecoveryFact {
    /// The task.
    pub task: Untrusted,
    /// The attempt.
    pub attempt: u32,
    /// When, on the run's clock in milliseconds.
    pub elapsed_ms: u64,
    /// The class of the failure.
    pub class: String,
    /// What followed: `again`, `retry`, `park`, `substitute`, `ask`, `give_up`, `cancel` or `drop`.
    pub then: String,
    /// What was said.
    pub message: Untrusted,
}

/// A change that landed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LandedChange {
    /// The task that made it.
    pub task: Untrusted,
    /// The commit of the integration ref that brought it in.
    pub commit: String,
    /// The later commit that took it out again, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_back: Option<String>,
    /// When, on the run's clock in milliseconds.
    pub elapsed_ms: u64,
}

/// Who was chosen for tasks that name skills.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouteFact {
    /// The names of the tasks; at most 10.
    pub tasks: Vec<Untrusted>,
    /// How many more there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u64,
    /// The agents in their order: the first performs the tasks, the others can take over.
    pub ranking: Vec<RankedAgent>,
    /// Who was passed over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<RankedAgent>,
}

/// An agent, and why it stands where it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RankedAgent {
    /// Its name.
    pub agent: Untrusted,
    /// Why.
    pub why: Untrusted,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How long tasks of one definition took, against what was expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LearntLength {
    /// The name of the first task of the definition.
    pub task: Untrusted,
    /// How many tasks have this definition.
    pub tasks: u64,
    /// How many attempts ended well and were measured.
    pub samples: u64,
    /// Half of them took no longer, in milliseconds (nearest rank).
    pub p50_ms: u64,
    /// Nine of ten did; the longest if there are fewer than ten.
    pub p90_ms: u64,
    /// What the workflow file expected as P50, if it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_p50_ms: Option<u64>,
    /// As P90.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_p90_ms: Option<u64>,
}

/// The head of a journal: with it `kapell verify --against` proves that nothing was cut off since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Head {
    /// How many decisions there are.
    pub n: u64,
    /// The hash of the last one.
    pub hash: String,
}
