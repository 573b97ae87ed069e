//! How a task is done: everything that a workflow file can say of it, but its name and its needs.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::Plan;
use crate::{
    budget::Amount,
    expr::{Expr, Template},
    id::AgentId,
    retry::Retry,
    time::{Millis, Wall},
};

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// A shell script. Expressions have been replaced by references to [`Definition::env`].
    Run(String),
    /// A prompt for the agent of the task.
    Prompt(Template),
    /// A decision that a person owes.
    Gate(GateSpec),
    /// The text of a script for the scripted agent, in YAML.
    Scripted(String),
    /// Another workflow, run as a child run.
    Workflow(Box<ChildSpec>),
    /// Nothing; done at once. For measuring, and for tasks that only join others.
    Noop,
}

impl Work {
    /// Returns the work alone: what attempts within it are expected to cost changes with every run, and it does not.
    #[must_use]
    pub fn without_forecasts(&self) -> Cow<'_, Self> {
        match self {
            Self::Workflow(child) => {
                let plan = Arc::new(child.plan.with_forecasts(&|_| Vec::new()));
                Cow::Owned(Self::Workflow(Box::new(ChildSpec { plan, ..(**child).clone() })))
            }
            other => Cow::Borrowed(other),
        }
    }
}

/// What a person is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateSpec {
    /// The question.
    pub question: Template,
    /// The answers that let the run go on. Empty: `yes` does, and `no` does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
}

/// A workflow within a workflow: what its child run is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChildSpec {
    /// What is asked of it.
    pub objective: String,
    /// Its tasks.
    pub plan: Arc<Plan>,
    /// Commands that must pass on its merged tree.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accept: Vec<String>,
    /// Whether a failure in it takes back what was done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub saga: bool,
}

impl ChildSpec {
    /// Tells whether some task in it, at any depth, takes up an agent slot.
    #[must_use]
    pub fn needs_agents(&self) -> bool {
        self.plan.needs_agents()
    }
}

/// An environment variable of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value, rendered when the task starts.
    pub value: Template,
}

/// An output that a task promises.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputSpec {
    /// Its name.
    pub name: String,
    /// How it is computed once the task is done; `None` if the task sets it itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Template>,
    /// What a value that the task sets must look like: a JSON schema. Without one it is any text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
}

/// Where a task works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceKind {
    /// A clone of the repository at the run's integration ref; what changes there can land.
    Clone,
    /// The same, but a change is a failure.
    ReadOnly,
    /// An empty scratch directory.
    None,
    /// The directory of the workflow itself. Only outside a git repository.
    InPlace,
}

/// What is done about an attempt whose end nobody saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LostPolicy {
    /// It is tried again.
    #[default]
    Retry,
    /// A person is asked first, for work that must not be done twice.
    Ask,
}

/// How the processes of an attempt are watched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Supervise {
    /// By a supervisor of its own, which ends the whole tree and records its end durably.
    #[default]
    Full,
    /// As a process group. For trusted, cheap commands.
    Group,
}

/// Paths that a task must not change to pass its own checks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Protect {
    /// Patterns; what they match is restored from the base before checks run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Whether a change that touches a file named by a check waits for a person.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
}

/// How long a task is expected to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Estimate {
    /// Half of all attempts take no longer.
    pub p50: Millis,
    /// Nine of ten attempts take no longer.
    pub p90: Millis,
}

/// What an attempt at a task is expected to cost if a certain agent performs it.
///
/// It belongs to the agent as well as to the task, for a task may go to another agent on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostForecast {
    /// Who performs it.
    pub agent: AgentId,
    /// What most such attempts cost no more than; zero of a kind of which nothing is known.
    pub amount: Amount,
    /// From how many attempts that is learnt.
    pub attempts: u32,
}

/// Everything about how a task is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// What is to be done.
    pub work: Work,
    /// Who does it, if an agent of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// What whoever does it must be able to do; who that is is chosen when the run is made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<String>,
    /// Whether it is done at all. `None` is `success()`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Expr>,
    /// The environment of its commands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<Variable>,
    /// The outputs that it promises.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OutputSpec>,
    /// How often it is tried.
    #[serde(default)]
    pub retry: Retry,
    /// How long an attempt may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Millis>,
    /// Until when it must have started, on the wall clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Wall>,
    /// Commands that must pass on its result.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accept: Vec<String>,
    /// Paths and names that nobody else may hold meanwhile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<Template>,
    /// The command that takes it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensate: Option<String>,
    /// Where it works; `None` lets the engine choose by what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<WorkspaceKind>,
    /// Commands that make a workspace ready, once for each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prepare: Vec<String>,
    /// Ignored paths that are copied from the checkout into a workspace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carry: Vec<String>,
    /// Directories kept between tasks, by the variable that names them: variable, then the directory's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cache: BTreeMap<String, String>,
    /// Paths it must not change to pass its own checks.
    #[serde(default)]
    pub protect: Protect,
    /// What its result depends on, for reuse between runs; empty means the whole tree.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<String>,
    /// What is done when an attempt is lost.
    #[serde(default)]
    pub retry_lost: LostPolicy,
    /// How its processes are watched.
    #[serde(default)]
    pub supervise: Supervise,
    /// How long it is expected to take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
    /// What is set aside for each attempt.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub reserve: Amount,
    /// What attempts are expected to cost, by agent, each at most once. Filled in when a run is made, never by a file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forecasts: Vec<CostForecast>,
}

impl Definition {
    /// Makes a definition in which everything but the work is as if a file did not mention it.
    #[must_use]
    pub fn new(work: Work) -> Self {
        Self {
            work,
            agent: None,
            skills: Vec::new(),
            condition: None,
            env: Vec::new(),
            outputs: Vec::new(),
            retry: Retry::default(),
            timeout: None,
            deadline: None,
            accept: Vec::new(),
            claims: Vec::new(),
            compensate: None,
            workspace: None,
            prepare: Vec::new(),
            carry: Vec::new(),
            cache: BTreeMap::new(),
            protect: Protect::default(),
            reads: Vec::new(),
            retry_lost: LostPolicy::default(),
            supervise: Supervise::default(),
            estimate: None,
            reserve: Amount::ZERO,
            forecasts: Vec::new(),
        }
    }

    /// Returns what an attempt by `agent` is expected to cost, if something is known.
    #[must_use]
    pub fn forecast(&self, agent: AgentId) -> Option<&CostForecast> {
        self.forecasts.iter().find(|forecast| forecast.agent == agent)
    }

    /// Returns where it works: what it asks for, or what is usual there.
    #[must_use]
    pub fn kind(&self, in_repository: bool) -> WorkspaceKind {
        match (self.workspace, in_repository) {
            (Some(WorkspaceKind::None), _) => WorkspaceKind::None,
            (_, false) => WorkspaceKind::InPlace,
            (Some(WorkspaceKind::InPlace) | None, true) => WorkspaceKind::Clone,
            (Some(kind), true) => kind,
        }
    }

    /// Returns how many levels of workflows stand within this one.
    #[must_use]
    pub fn depth(&self) -> u32 {
        match &self.work {
            Work::Workflow(child) => {
                1 + child.plan.definitions().iter().map(|inner| inner.depth()).max().unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// Returns the expected length in seconds; 1 where nothing is said.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "urgency needs no more than single precision")]
    pub fn expected_secs(&self) -> f32 {
        self.estimate.map_or(1.0, |estimate| estimate.p50.as_secs_f64() as f32)
    }
}

/// What an attempt of an agent takes up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Slot {
    /// One of the run's job slots.
    #[default]
    Job,
    /// One of the agent slots of the whole tree of runs.
    Agent,
    /// None: it only waits.
    None,
}

/// An agent that a plan names.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AgentSpec {
    /// Its name in the file.
    pub name: String,
    /// The adapter that speaks to it, such as `command` or `claude-code`.
    pub adapter: String,
    /// Whose quota it uses up; agents of one provider are parked together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// What its attempts take up.
    #[serde(default)]
    pub slot: Slot,
    /// Who takes over when it fails for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<AgentId>,
    /// Settings for the adapter.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// What it can do, in the words that tasks use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<String>,
    /// The memory that one attempt of it needs, in MiB; 0 if nothing is known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub memory_mib: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
