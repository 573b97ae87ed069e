//! A workflow file into a plan.

use std::collections::{BTreeMap, HashMap};

use kapell_core::{
    budget::Limits,
    id::{AgentId, Digest},
    mission::Mission,
    plan::{AgentSpec, Plan, PlanBuilder, PlanError, PlanLimits, Slot},
    time::Wall,
};

use self::{nested::Files, place::needs};
use super::{Agent, Budget, Outside, Spanned, Workflow};
use crate::{
    codes,
    finding::{Finding, Span},
    suggest,
};

mod define;
mod nested;
mod place;
mod variables;

/// The most copies of what is said for all tasks.
const SHARED_LIMIT: usize = 5_000_000;

/// What a workflow file is compiled with.
pub struct Options<'a> {
    /// Values for `inputs`.
    pub inputs: BTreeMap<String, String>,
    /// Reads the file that `workflow:` names; the path is as written. Errors are texts for people.
    pub load: &'a dyn Fn(&str) -> Result<Vec<u8>, String>,
    /// The bounds of the plan.
    pub limits: PlanLimits,
    /// Agents that nested workflows may name though they are defined elsewhere.
    pub outside: &'a [Outside],
}

impl std::fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("inputs", &self.inputs).finish_non_exhaustive()
    }
}

impl Default for Options<'_> {
    fn default() -> Self {
        let load = &|_: &str| Err("nested workflows cannot be read here".to_owned());
        Self { inputs: BTreeMap::new(), load, limits: PlanLimits::default(), outside: &[] }
    }
}

/// A compiled workflow.
#[derive(Debug, Clone, PartialEq)]
pub struct Compiled {
    /// What is asked.
    pub objective: String,
    /// The branch, as written.
    pub target: Option<String>,
    /// The limits that the file sets.
    pub budget: Budget,
    /// Until when it must be done.
    pub deadline: Option<Wall>,
    /// Commands that must pass on every tree that lands.
    pub accept: Vec<String>,
    /// Whether a failure takes back what was done.
    pub saga: bool,
    /// Whether files that lie in Git LFS may be their pointers.
    pub lfs_pointers: bool,
    /// All inputs with their values.
    pub inputs: BTreeMap<String, String>,
    /// The tasks.
    pub plan: Plan,
    /// Names the file, the files it contains and the inputs: equal digests mean equal plans.
    pub digest: Digest,
}

impl Compiled {
    /// Makes the mission of a run. Where the file sets no number of agents or jobs, these are taken; seed, base and
    /// source are for the caller to set.
    #[must_use]
    pub fn mission(&self, agents: u32, jobs: u32) -> Mission {
        Mission {
            objective: self.objective.clone(),
            limits: Limits {
                usd_micros: self.budget.usd_micros,
                tokens: self.budget.tokens,
                wall: self.budget.wall,
                agents: self.budget.agents.unwrap_or(agents),
                jobs: self.budget.jobs.unwrap_or(jobs),
                memory_mib: None,
            },
            deadline: self.deadline,
            accept: self.accept.clone(),
            saga: self.saga,
            target: self.target.clone(),
            inputs: self.inputs.clone(),
            definition: Some(self.digest),
            ..Mission::default()
        }
    }
}

/// Compiles a workflow to a plan.
///
/// Returns no plan if the workflow is not [`valid`](Workflow::valid), or with findings that say why. Warnings may come
/// with a plan.
#[must_use]
pub fn compile(workflow: &Workflow, options: &Options<'_>) -> (Option<Compiled>, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut files = Files::new(options);
    let compiled = compile_file(workflow, options, &mut files, &mut findings);
    (compiled, findings)
}

fn compile_file(
    workflow: &Workflow,
    options: &Options<'_>,
    files: &mut Files<'_>,
    findings: &mut Vec<Finding>,
) -> Option<Compiled> {
    if !workflow.valid {
        return None;
    }
    let inputs = inputs(workflow, options, findings);
    let ids = (0_u32..).map(AgentId);
    let agents = workflow.agents.iter().map(|agent| agent.name.value.as_str()).zip(ids).collect();
    let limits = options.limits;
    let mut compiler = Compiler {
        workflow,
        files,
        findings,
        limits,
        builder: PlanBuilder::new(),
        agents,
        tools: HashMap::new(),
    };
    let plan = compiler.plan();
    let objective = workflow.mission.as_ref().map(|mission| mission.value.clone());
    if findings.iter().any(Finding::is_error) {
        return None;
    }
    let mut digest = Vec::new();
    digest.extend(Digest::of(workflow.source.text.as_bytes()).0);
    files.digests.iter().for_each(|file| digest.extend(file.0));
    digest.extend(serde_json::to_vec(&inputs).unwrap_or_default());
    Some(Compiled {
        objective: objective?,
        target: workflow.target.as_ref().map(|target| target.value.clone()),
        budget: workflow.budget,
        deadline: workflow.deadline,
        accept: workflow.accept.iter().map(|text| text.template.source().to_owned()).collect(),
        saga: workflow.saga,
        lfs_pointers: workflow.lfs_pointers,
        inputs,
        plan: plan?,
        digest: Digest::of(&digest),
    })
}

/// Joins the inputs given with the defaults.
fn inputs(
    workflow: &Workflow,
    options: &Options<'_>,
    findings: &mut Vec<Finding>,
) -> BTreeMap<String, String> {
    let names: Vec<&str> = workflow.inputs.iter().map(|input| input.name.value.as_str()).collect();
    for name in options.inputs.keys().filter(|name| !names.contains(&name.as_str())) {
        let finding =
            Finding::error(codes::INPUT, Span::default(), format!("the workflow takes no input `{name}`"));
        findings.push(match suggest::hint(name, &names) {
            Some(hint) => finding.hint(hint),
            None => finding.hint("declare it under `inputs`"),
        });
    }
    let mut values = BTreeMap::new();
    for input in &workflow.inputs {
        let name = &input.name.value;
        match options.inputs.get(name).or(input.default.as_ref()) {
            Some(value) => {
                values.insert(name.clone(), value.clone());
            }
            None => {
                let message = format!("input `{name}` has no value");
                let hint = format!("give it by `--set {name}=...`, or a default in the file");
                findings.push(Finding::error(codes::INPUT, input.name.span, message).hint(hint));
            }
        }
    }
    values
}

struct Compiler<'a, 'f> {
    workflow: &'a Workflow,
    files: &'a mut Files<'f>,
    findings: &'a mut Vec<Finding>,
    limits: PlanLimits,
    builder: PlanBuilder,
    agents: HashMap<&'a str, AgentId>,
    /// Those that call tools, by what they call.
    tools: HashMap<String, AgentId>,
}

/// Returns whose quota an adapter uses up, unless somebody says otherwise.
#[must_use]
pub fn provider_of(adapter: &str) -> Option<&'static str> {
    match adapter {
        "claude-code" | "acp-claude-code" | "anthropic" => Some("anthropic"),
        "codex" | "codex-app-server" | "acp-codex" | "openai" => Some("openai"),
        "gemini" | "acp-gemini" | "gemini-api" => Some("google"),
        _ => None,
    }
}

/// Returns what an attempt of an adapter takes up.
#[must_use]
pub fn slot_of(adapter: &str) -> Slot {
    match adapter {
        "command" | "scripted" | "noop" => Slot::Job,
        "person" => Slot::None,
        _ => Slot::Agent,
    }
}

impl Compiler<'_, '_> {
    fn plan(&mut self) -> Option<Plan> {
        for agent in &self.workflow.agents {
            let spec = self.agent(agent);
            self.builder.agent(spec);
        }
        self.bounded_defaults()?;
        let placed = self.place()?;
        let index: HashMap<&str, usize> =
            self.workflow.tasks.iter().enumerate().map(|(at, task)| (task.name.value.as_str(), at)).collect();
        self.bounded_edges(&placed, &index)?;
        for (task, place) in self.workflow.tasks.iter().zip(&placed) {
            let definition = self.definition(task);
            let definition = self.builder.define(definition);
            let needs = needs(task, place, &placed, &index);
            self.add(task, place, definition, &needs);
        }
        if self.findings.iter().any(Finding::is_error) {
            return None;
        }
        match std::mem::take(&mut self.builder).seal(self.limits) {
            Ok(plan) => Some(plan),
            Err(error) => {
                self.refused(&error);
                None
            }
        }
    }

    /// Refuses a file in which what is said for all tasks would fill the memory.
    fn bounded_defaults(&mut self) -> Option<()> {
        let (workflow, defaults) = (self.workflow, &self.workflow.defaults);
        let lists = [&defaults.prepare, &defaults.carry];
        let lists: usize = lists.into_iter().flatten().map(Vec::len).sum();
        let cache = defaults.cache.as_ref().map_or(0, Vec::len);
        let shared = workflow.env.len() + workflow.protect.paths.len() + lists + cache;
        if shared.saturating_mul(workflow.tasks.len()) <= SHARED_LIMIT {
            return Some(());
        }
        let message = format!("{shared} values for each of {} tasks are too many", workflow.tasks.len());
        self.findings.push(Finding::error(codes::TOO_MANY_NODES, Span::default(), message));
        None
    }

    /// Reports what the plan itself refuses. Reading has found most of it before.
    fn refused(&mut self, error: &PlanError) {
        let code = match error {
            PlanError::TooManyTasks { .. } => codes::TOO_MANY_TASKS,
            PlanError::TooDeep { .. } => codes::CHILD_DEPTH,
            PlanError::Cycle(_) => codes::CYCLE,
            PlanError::DuplicateName(_) => codes::NAME_CASE,
            PlanError::Unknown { .. } | PlanError::UnknownFallback { .. } => codes::UNKNOWN_AGENT,
            PlanError::UnknownNeed { .. } => codes::UNKNOWN_NEED,
        };
        let span = self.workflow.tasks.first().map_or_else(Span::default, |task| task.name.span);
        self.findings.push(Finding::error(code, span, error.to_string()));
    }

    fn agent(&self, agent: &Agent) -> AgentSpec {
        let position = |name: &Spanned<String>| self.agents.get(name.value.as_str()).copied();
        AgentSpec {
            name: agent.name.value.clone(),
            adapter: agent.adapter.value.clone(),
            provider: agent.provider.clone().or_else(|| provider_of(&agent.adapter.value).map(str::to_owned)),
            slot: slot_of(&agent.adapter.value),
            fallback: agent.fallback.as_ref().and_then(position),
            options: agent.options.iter().map(|(name, value)| (name.value.clone(), value.clone())).collect(),
            skills: agent.skills.iter().map(|skill| skill.value.clone()).collect(),
            memory_mib: agent.memory_mib.unwrap_or(0),
        }
    }
}
