//! What is shown of a plan before it runs: tasks with their waves and slack, and how long it will take.

mod diagram;
mod group;
mod text;

use kapell_core::{
    budget::Amount,
    id::TaskId,
    plan::{Definition, Plan, Slot, Work},
    task::Slots,
    time::Millis,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    forecast::{Basis, Forecast, TaskLength},
    untrusted::Untrusted,
};

/// The version of [`PlanView`] on the wire.
pub const PLAN_VIEW_VERSION: u32 = 1;

/// A plan, analysed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanView {
    /// The version of this form: 1.
    pub version: u32,
    /// What is asked.
    pub objective: Untrusted,
    /// All tasks; the id of each is its index.
    pub tasks: Vec<PlanTask>,
    /// The ids of the tasks of one critical path, from its start.
    pub critical_path: Vec<u32>,
    /// What holds for the plan as a whole.
    pub totals: PlanTotals,
}

/// A task of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanTask {
    /// Its id.
    pub id: u32,
    /// Its name.
    pub name: Untrusted,
    /// What it is: `run`, `prompt`, `gate`, `scripted`, `workflow` or `noop`.
    pub kind: String,
    /// The agent that performs it, if the plan names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Untrusted>,
    /// The ids of the tasks that it waits for.
    pub needs: Vec<u32>,
    /// How many levels of needs deep it stands, from 0.
    pub wave: u32,
    /// Half of its attempts are expected to take no longer, in milliseconds.
    pub p50_ms: u64,
    /// Nine of ten are.
    pub p90_ms: u64,
    /// Where that comes from.
    pub basis: Basis,
    /// How long it may start late without delaying the run, in milliseconds, if there is always room.
    pub slack_ms: u64,
    /// Whether it has no slack.
    pub critical: bool,
    /// What an attempt is expected to cost, where money or tokens are limited and something is known of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<PlanCost>,
}

/// What an attempt is expected to cost: four of five cost no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanCost {
    /// Money, in millionths of a US dollar.
    pub usd_micros: u64,
    /// Tokens.
    pub tokens: u64,
    /// How many attempts before tell that.
    pub attempts: u32,
}

impl PlanCost {
    /// Returns what is expected of the agent of a task; where none is named, of the dearest that may perform it.
    fn of(definition: &Definition) -> Option<Self> {
        let known = match definition.agent {
            Some(agent) => definition.forecast(agent),
            None => definition.forecasts.iter().max_by_key(|forecast| forecast.amount),
        }?;
        let Amount { usd_micros, tokens } = known.amount;
        Some(Self { usd_micros, tokens, attempts: known.attempts })
    }

    fn amount(self) -> Amount {
        Amount { usd_micros: self.usd_micros, tokens: self.tokens }
    }
}

/// What holds for a plan as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanTotals {
    /// How many tasks there are.
    pub tasks: u64,
    /// How many needs they have together.
    pub edges: u64,
    /// How many tasks each wave has.
    pub waves: Vec<u64>,
    /// The size of the widest wave: so many tasks can certainly run at the same time, if there is room.
    pub width: u64,
    /// The length of the critical path in milliseconds, by each task's P50.
    pub critical_path_ms: u64,
    /// The length of all tasks together in milliseconds, by each task's P50.
    pub work_ms: u64,
    /// No run ends earlier with these slots, by each task's P50, in milliseconds.
    pub bound_ms: u64,
    /// Slots for model-driven agents.
    pub agents: u32,
    /// Slots for everything else.
    pub jobs: u32,
    /// When it is expected to end, if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Forecast>,
    /// For how many tasks nothing is known, so that a default was taken.
    pub assumed: u64,
    /// How many tasks wait for a person; that time is not counted.
    pub gates: u64,
}

/// The adapter of tools of MCP servers, whose prompt is what they are called with.
const TOOL_ADAPTER: &str = "mcp";

/// Returns what kind of work it is, in one word.
#[must_use]
pub fn kind(work: &Work, adapter: Option<&str>) -> &'static str {
    match work {
        Work::Prompt(_) if adapter == Some(TOOL_ADAPTER) => "mcp",
        Work::Run(_) => "run",
        Work::Prompt(_) => "prompt",
        Work::Gate(_) => "gate",
        Work::Scripted(_) => "scripted",
        Work::Workflow(_) => "workflow",
        Work::Noop => "noop",
    }
}

/// Returns what an attempt at `task` takes up, as the plan has it.
fn slot(plan: &Plan, task: TaskId) -> Slot {
    let definition = plan.definition(task);
    match definition.work {
        Work::Gate(_) | Work::Workflow(_) => Slot::None,
        _ => definition.agent.and_then(|agent| plan.agent(agent)).map_or(Slot::Job, |agent| agent.slot),
    }
}

impl PlanView {
    /// Analyses a plan.
    ///
    /// `length` says how long each task is expected to take, `slots` how many may run at the same time.
    #[must_use]
    pub fn new(
        plan: &Plan,
        objective: &str,
        length: impl Fn(TaskId) -> TaskLength,
        slots: Slots,
        forecast: Option<Forecast>,
    ) -> Self {
        let graph = plan.graph();
        let lengths: Vec<TaskLength> = graph.tasks().map(length).collect();
        let timing = graph.timing(|task| lengths[task.index()].estimate.p50);
        let waves = graph.waves();
        let task = |task: TaskId| {
            let definition = plan.definition(task);
            let TaskLength { estimate, basis } = lengths[task.index()];
            let agent = definition.agent.and_then(|agent| plan.agent(agent));
            PlanTask {
                id: task.0,
                name: plan.name(task).into(),
                kind: kind(&definition.work, agent.map(|agent| agent.adapter.as_str())).to_owned(),
                agent: agent.map(|agent| agent.name.as_str().into()),
                needs: graph.needs(task).iter().map(|need| need.0).collect(),
                wave: waves[task.index()],
                p50_ms: estimate.p50.0,
                p90_ms: estimate.p90.0,
                basis,
                slack_ms: timing.slack(task).0,
                critical: timing.is_critical(task),
                cost: PlanCost::of(definition),
            }
        };
        let mut sizes = vec![0; waves.iter().max().map_or(0, |last| *last as usize + 1)];
        for wave in &waves {
            sizes[*wave as usize] += 1;
        }
        let bound =
            |wanted: Slot, slots: u32| timing.makespan_bound(|task| slot(plan, task) == wanted, slots);
        let is_gate = |task: &TaskId| matches!(plan.definition(*task).work, Work::Gate(_));
        let work = lengths.iter().fold(0_u64, |sum, length| sum.saturating_add(length.estimate.p50.0));
        let totals = PlanTotals {
            tasks: plan.len() as u64,
            edges: graph.edges() as u64,
            width: sizes.iter().copied().max().unwrap_or(0),
            waves: sizes,
            critical_path_ms: timing.total().0,
            work_ms: work,
            bound_ms: bound(Slot::Job, slots.jobs).max(bound(Slot::Agent, slots.agents)).0,
            agents: slots.agents,
            jobs: slots.jobs,
            forecast,
            assumed: lengths.iter().filter(|length| length.basis == Basis::Assumed).count() as u64,
            gates: graph.tasks().filter(is_gate).count() as u64,
        };
        Self {
            version: PLAN_VIEW_VERSION,
            objective: objective.into(),
            tasks: graph.tasks().map(task).collect(),
            critical_path: timing.critical_path(graph).into_iter().map(|task| task.0).collect(),
            totals,
        }
    }

    fn p50(task: &PlanTask) -> Millis {
        Millis(task.p50_ms)
    }
}
