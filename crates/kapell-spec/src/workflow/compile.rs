//! A workflow file into a plan.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    ops::Range,
    sync::Arc,
};

use kapell_core::{
    budget::{Amount, Limits},
    expr::{Expr, Function, Key, Literal, Node, NodeKind, Piece as Part, Step, Template, Value},
    id::{AgentId, DefinitionId, Digest, TaskId},
    mission::Mission,
    plan::{
        AgentSpec, Cell, ChildSpec, Definition, GateSpec, OutputSpec, Plan, PlanBuilder, PlanError,
        PlanLimits, Protect, Slot, Variable, Work as CoreWork, WorkspaceKind,
    },
    time::Wall,
};

use super::{
    Agent, Budget, Outside, Piece, Settings, Spanned, Task, Text, ToolCall, Work, Workflow,
    cells::{Cells, Kept, cells},
};
use crate::{
    codes,
    finding::{Finding, Span},
    shell, suggest, yaml,
};

/// The prefix of variables that stand for expressions.
const VARIABLE: &str = "KAPELL_EXPR_";

/// Beyond so many edges between two matrices a task that does nothing is put between them.
const EDGES_BETWEEN: usize = 65_536;

/// The most edges of a plan.
const EDGES_LIMIT: usize = 20_000_000;

/// The most copies of what is said for all tasks.
const SHARED_LIMIT: usize = 5_000_000;

/// The longest name of a cell, in characters.
const NAME_LIMIT: usize = 100;

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
    let mut files = Files {
        load: options.load,
        outside: options.outside,
        open: Vec::new(),
        known: HashMap::new(),
        digests: Vec::new(),
    };
    let compiled = compile_file(workflow, options, &mut files, &mut findings);
    (compiled, findings)
}

/// Why a nested workflow cannot be used, and the code for it.
type Refusal = (&'static str, String);

/// The files that workflows contain.
struct Files<'a> {
    load: &'a dyn Fn(&str) -> Result<Vec<u8>, String>,
    outside: &'a [Outside],
    /// Those that are being compiled, outermost first.
    open: Vec<String>,
    known: HashMap<String, Result<ChildSpec, Refusal>>,
    digests: Vec<Digest>,
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

/// The ids of a task's cells, and of the task that joins them, if there is one.
struct Placed {
    cells: Option<Cells>,
    ids: Range<usize>,
    join: Option<usize>,
}

fn id(at: usize) -> TaskId {
    TaskId(u32::try_from(at).unwrap_or(u32::MAX))
}

/// Returns whose quota an adapter uses up, unless somebody says otherwise.
#[must_use]
pub fn provider_of(adapter: &str) -> Option<&'static str> {
    match adapter {
        "claude-code" | "acp-claude-code" | "anthropic" => Some("anthropic"),
        "codex" | "acp-codex" | "openai" => Some("openai"),
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

    /// Refuses a file whose cells need too many others.
    fn bounded_edges(&mut self, placed: &[Placed], index: &HashMap<&str, usize>) -> Option<()> {
        let mut edges = 0_usize;
        for (task, own) in self.workflow.tasks.iter().zip(placed) {
            let others = task.needs.iter().filter_map(|need| index.get(need.value.as_str()));
            let each: usize = others.map(|at| needed(own, &placed[*at]).len()).sum();
            edges = edges.saturating_add(each.saturating_mul(own.ids.len()));
            if edges > EDGES_LIMIT {
                let message =
                    format!("with task `{}` there are more than {EDGES_LIMIT} needs", task.name.value);
                let hint = "put a task that does nothing between many tasks and many others";
                self.findings.push(Finding::error(codes::TOO_MANY_TASKS, task.name.span, message).hint(hint));
                return None;
            }
        }
        Some(())
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

    /// Gives every task its ids, in the order of the file.
    fn place(&mut self) -> Option<Vec<Placed>> {
        let tasks = &self.workflow.tasks;
        let mut all: Vec<(Option<Cells>, usize)> = Vec::new();
        let mut total = 0;
        for task in tasks {
            let cells = match &task.matrix {
                Some(matrix) => Some(cells(matrix, self.limits.tasks, self.findings)?),
                None => None,
            };
            let count = cells.as_ref().map_or(1, Cells::len);
            if count == 0 {
                let message = format!("nothing is left of the matrix of task `{}`", task.name.value);
                self.findings.push(Finding::error(codes::MATRIX, task.name.span, message));
                return None;
            }
            total += count;
            if total > self.limits.tasks {
                let message = format!("with task `{}` there are {total} tasks", task.name.value);
                let hint = format!("a plan has at most {}", self.limits.tasks);
                let span = task.matrix.as_ref().map_or(task.name.span, |matrix| matrix.span);
                self.findings.push(Finding::error(codes::TOO_MANY_TASKS, span, message).hint(hint));
                return None;
            }
            all.push((cells, count));
        }
        let counts: HashMap<&str, usize> =
            tasks.iter().zip(&all).map(|(task, (_, count))| (task.name.value.as_str(), *count)).collect();
        let mut joined: Vec<&str> = Vec::new();
        for (task, (_, count)) in tasks.iter().zip(&all) {
            for need in &task.needs {
                let needed = counts.get(need.value.as_str()).copied().unwrap_or(1);
                if needed > 1 && *count > 1 && needed.saturating_mul(*count) > EDGES_BETWEEN {
                    if reads(task, &need.value) {
                        let message =
                            format!("{count} cells would each read {needed} cells of `{}`", need.value);
                        let hint = "put a task between them that collects what is to be read";
                        self.findings
                            .push(Finding::error(codes::TOO_MANY_TASKS, need.span, message).hint(hint));
                        return None;
                    }
                    joined.push(&need.value);
                }
            }
        }
        let mut next = 0;
        let place = |(task, (cells, count)): (&Task, (Option<Cells>, usize))| {
            let ids = next..next + count;
            next += count;
            let join = joined.contains(&task.name.value.as_str()).then_some(next);
            next += usize::from(join.is_some());
            Placed { cells, ids, join }
        };
        Some(tasks.iter().zip(all).map(place).collect())
    }

    /// Adds the task, or all its cells.
    fn add(&mut self, task: &Task, place: &Placed, definition: DefinitionId, needs: &[TaskId]) {
        let name = &task.name.value;
        let Some(cells) = &place.cells else {
            self.builder.task(name, definition, needs);
            return;
        };
        let product = cells.product.clone().map(|matrix| self.builder.matrix(matrix));
        let written = (!cells.written.is_empty())
            .then(|| self.builder.matrix(kapell_core::plan::Matrix::Cells(cells.written.clone())));
        self.builder.reserve(place.ids.len());
        let mut full = String::new();
        for (number, kept) in cells.iter().enumerate() {
            let (cell, values) = match kept {
                Kept::Product(index) => {
                    let values = cells.product.as_ref().map(|matrix| matrix.cell(index)).unwrap_or_default();
                    (Cell { matrix: product.unwrap_or_default(), index }, values)
                }
                Kept::Written(index) => {
                    let values =
                        cells.written[index as usize].iter().map(|(name, value)| (name.as_str(), value));
                    (Cell { matrix: written.unwrap_or_default(), index }, values.collect())
                }
            };
            full.clear();
            let _ = write!(full, "{name} (");
            for (at, (_, value)) in values.iter().enumerate() {
                if full.len() > name.len() + NAME_LIMIT {
                    break;
                }
                full.push_str(if at > 0 { ", " } else { "" });
                let end = full.len() + 60;
                show(value, &mut full, end);
            }
            let end = full.char_indices().nth(NAME_LIMIT + name.len()).map_or(full.len(), |(at, _)| at);
            full.truncate(end);
            full.push(')');
            if self.builder.find(&full).is_some() {
                let _ = write!(full, " #{}", number + 1);
            }
            self.builder.cell(&full, definition, needs, cell);
        }
        if place.join.is_some() {
            full.clear();
            let _ = write!(full, "{name} (all)");
            while self.builder.find(&full).is_some() {
                full.push('*');
            }
            let definition = self.builder.define(Definition::new(CoreWork::Noop));
            let cells: Vec<TaskId> = place.ids.clone().map(id).collect();
            self.builder.task(&full, definition, &cells);
        }
    }

    fn definition(&mut self, task: &Task) -> Definition {
        let mut variables = Variables::new(self.workflow, task);
        let work = match &task.work {
            Some(Work::Run(text)) => CoreWork::Run(variables.script(text, self.findings)),
            Some(Work::Prompt(text)) => CoreWork::Prompt(text.template.clone()),
            Some(Work::Gate(question, choices)) => {
                CoreWork::Gate(GateSpec { question: question.template.clone(), choices: choices.clone() })
            }
            Some(Work::Workflow(path)) => self.child(path),
            Some(Work::Scripted(text)) => CoreWork::Scripted(text.clone()),
            Some(Work::Mcp(_)) => {
                variables.arguments(&task.with, self.findings).map_or(CoreWork::Noop, CoreWork::Prompt)
            }
            Some(Work::Noop) | None => CoreWork::Noop,
        };
        // They are for tasks that perform something: a gate that times out like a build would be a surprise.
        let performs = matches!(work, CoreWork::Run(_) | CoreWork::Prompt(_) | CoreWork::Scripted(_));
        let none = Settings::default();
        let defaults = if performs { &self.workflow.defaults } else { &none };
        let own = &task.settings;
        let prompt = matches!(task.work, Some(Work::Prompt(_)));
        // Own skills ask for a choice, which the agent for all would take away.
        let for_all = defaults.agent.as_ref().filter(|_| prompt && own.skills.is_none());
        let agent = own.agent.as_ref().or(for_all);
        let skills = own.skills.as_ref().or(defaults.skills.as_ref().filter(|_| agent.is_none()));
        let skills = skills.filter(|_| prompt).into_iter().flatten().map(|skill| skill.value.clone());
        let skills = skills.collect();
        let agent = agent.and_then(|agent| self.agents.get(agent.value.as_str()).copied());
        let tool = match &task.work {
            Some(Work::Mcp(call)) => Some(self.tool(call)),
            _ => None,
        };
        // A tool acts on the world: it gets no clone unless it is asked for.
        let workspace = if tool.is_some() { Some(WorkspaceKind::None) } else { defaults.workspace };
        let accept: Vec<String> =
            task.accept.iter().map(|text| variables.script(text, self.findings)).collect();
        let compensate = task.compensate.as_ref().map(|text| variables.script(text, self.findings));
        let protect = Protect {
            paths: self.workflow.protect.paths.iter().chain(&task.protect.paths).cloned().collect(),
            strict: self.workflow.protect.strict || task.protect.strict,
        };
        let outputs = task.outputs.iter().map(|(name, value)| OutputSpec {
            name: name.value.clone(),
            value: value.as_ref().map(|text| text.template.clone()),
            schema: task.shapes.get(&name.value).cloned(),
        });
        let budget = task.budget;
        Definition {
            agent: tool.or(agent),
            skills,
            condition: task.condition.as_ref().map(|condition| condition.expr.clone()),
            outputs: outputs.collect(),
            retry: own.retry.or(defaults.retry).unwrap_or_default(),
            timeout: own.timeout.or(defaults.timeout),
            deadline: task.deadline,
            accept,
            claims: task.claims.iter().map(|text| text.template.clone()).collect(),
            compensate,
            workspace: own.workspace.or(workspace),
            prepare: own.prepare.clone().or_else(|| defaults.prepare.clone()).unwrap_or_default(),
            carry: own.carry.clone().or_else(|| defaults.carry.clone()).unwrap_or_default(),
            cache: own
                .cache
                .clone()
                .or_else(|| defaults.cache.clone())
                .unwrap_or_default()
                .into_iter()
                .collect(),
            protect,
            reads: task.reads.clone(),
            retry_lost: own.retry_lost.or(defaults.retry_lost).unwrap_or_default(),
            supervise: own.supervise.or(defaults.supervise).unwrap_or_default(),
            estimate: own.estimate.or(defaults.estimate),
            reserve: Amount {
                usd_micros: budget.usd_micros.unwrap_or_default(),
                tokens: budget.tokens.unwrap_or_default(),
            },
            // Last, since scripts add to it.
            env: variables.finish(),
            ..Definition::new(work)
        }
    }

    /// Returns who calls a tool: an agent of the plan that no file names.
    fn tool(&mut self, call: &ToolCall) -> AgentId {
        let ToolCall { server, tool } = call;
        let name = format!("{server}.{tool}");
        if let Some(known) = self.tools.get(&name) {
            return *known;
        }
        let options =
            [("server", server), ("tool", tool)].map(|(name, value)| (name.to_owned(), value.clone()));
        let id = self.builder.agent(AgentSpec {
            name: name.clone(),
            adapter: "mcp".to_owned(),
            provider: None,
            slot: Slot::Job,
            fallback: None,
            skills: Vec::new(),
            memory_mib: 0,
            options: options.into(),
        });
        self.tools.insert(name, id);
        id
    }

    /// Compiles a nested workflow.
    fn child(&mut self, path: &Spanned<String>) -> CoreWork {
        let loaded = match self.files.known.get(&path.value) {
            Some(known) => known.clone(),
            None => {
                let loaded = self.load(&path.value);
                self.files.known.insert(path.value.clone(), loaded.clone());
                loaded
            }
        };
        match loaded {
            Ok(child) => CoreWork::Workflow(Box::new(child)),
            Err((code, why)) => {
                let message = format!("workflow `{}` cannot be used: {why}", path.value.escape_debug());
                let hint = format!("look at it by itself: `kapell plan {}`", path.value.escape_debug());
                self.findings.push(Finding::error(code, path.span, message).hint(hint));
                CoreWork::Noop
            }
        }
    }

    fn load(&mut self, path: &str) -> Result<ChildSpec, Refusal> {
        let refused = |why: String| (codes::CHILD, why);
        if self.files.open.iter().any(|open| open == path) {
            return Err(refused(format!("it contains itself: {} -> {path}", self.files.open.join(" -> "))));
        }
        // The outermost file is a level too.
        if self.files.open.len() + 1 >= self.limits.depth as usize {
            return Err((
                codes::CHILD_DEPTH,
                format!("workflows are nested more than {} deep", self.limits.depth),
            ));
        }
        let bytes = (self.files.load)(path).map_err(refused)?;
        self.files.digests.push(Digest::of(&bytes));
        let (source, mut findings) = yaml::decode(path, &bytes);
        let mut compiled = None;
        if findings.is_empty() {
            let (workflow, read) = super::read_with(&source, self.files.outside);
            findings = read;
            if let Some(workflow) = workflow.filter(|workflow| workflow.valid) {
                unsupported(&workflow).map_err(refused)?;
                let (load, outside, limits) = (self.files.load, self.files.outside, self.limits);
                let options = Options { load, outside, limits, ..Options::default() };
                self.files.open.push(path.to_owned());
                compiled = compile_file(&workflow, &options, self.files, &mut findings);
                self.files.open.pop();
            }
        }
        if let Some(finding) = findings.iter().find(|finding| finding.is_error()) {
            let (line, column) = source.position(finding.span.start);
            let code = if finding.code == codes::CHILD_DEPTH { finding.code } else { codes::CHILD };
            return Err((code, format!("{path}:{line}:{column}: {} ({})", finding.message, finding.code)));
        }
        let compiled = compiled.ok_or_else(|| refused("it is empty".to_owned()))?;
        let (objective, accept, saga) = (compiled.objective, compiled.accept, compiled.saga);
        Ok(ChildSpec { objective, plan: Arc::new(compiled.plan), accept, saga })
    }
}

/// Says which keys of a nested workflow would be passed over.
fn unsupported(workflow: &Workflow) -> Result<(), String> {
    let given = [
        ("inputs", !workflow.inputs.is_empty()),
        ("budget", workflow.budget != Budget::default()),
        ("deadline", workflow.deadline.is_some()),
        ("target", workflow.target.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((key, _)) => Err(format!("its `{key}` has no effect within another workflow")),
        None => Ok(()),
    }
}

/// Returns the ids that a task needs: for a matrix all its cells, or the task that joins them.
fn needs(task: &Task, own: &Placed, placed: &[Placed], index: &HashMap<&str, usize>) -> Vec<TaskId> {
    let mut needs = Vec::new();
    for need in &task.needs {
        let Some(other) = index.get(need.value.as_str()).map(|at| &placed[*at]) else { continue };
        needs.extend(needed(own, other).map(id));
    }
    needs
}

/// Returns the ids that each cell of `own` needs of `other`: all its cells, or the task that joins them.
fn needed(own: &Placed, other: &Placed) -> Range<usize> {
    match other.join {
        Some(join) if own.ids.len().saturating_mul(other.ids.len()) > EDGES_BETWEEN => join..join + 1,
        _ => other.ids.clone(),
    }
}

/// Tells whether an expression of `task` reads the task called `name`.
fn reads(task: &Task, name: &str) -> bool {
    let mut found = false;
    let mut look = |expr: &Expr| {
        found |= expr.root().references().iter().any(|reference| {
            let root = matches!(reference.path.first(), Some(("tasks" | "needs", _)));
            root && reference.path.get(1).is_none_or(|(key, _)| *key == name)
        });
    };
    let mut texts: Vec<&Text> = task.env.iter().map(|(_, text)| text).collect();
    texts.extend(task.outputs.iter().filter_map(|(_, text)| text.as_ref()));
    texts.extend(task.accept.iter().chain(&task.claims).chain(&task.compensate));
    texts.extend(task.with.iter().filter_map(Piece::text));
    if let Some(Work::Run(text) | Work::Prompt(text) | Work::Gate(text, _)) = &task.work {
        texts.push(text);
    }
    for text in texts {
        text.template.placeholders().iter().for_each(|placeholder| look(&placeholder.expr));
    }
    task.condition.iter().for_each(|condition| look(&condition.expr));
    found
}

/// Writes a value as a part of a task's name: on one line, and no longer than up to about `end`.
fn show(value: &Value, into: &mut String, end: usize) {
    match value {
        Value::Null => into.push_str("null"),
        Value::Array(items) => {
            into.push('[');
            for (at, item) in items.iter().enumerate() {
                if into.len() >= end {
                    break;
                }
                into.push_str(if at > 0 { ", " } else { "" });
                show(item, into, end);
            }
            into.push(']');
        }
        Value::Object(object) => {
            into.push('{');
            for (at, (name, item)) in object.entries().iter().enumerate() {
                if into.len() >= end {
                    break;
                }
                into.push_str(if at > 0 { ", " } else { "" });
                into.extend(name.chars().take(60));
                into.push_str(": ");
                show(item, into, end);
            }
            into.push('}');
        }
        value => {
            let text = value.text().unwrap_or_default();
            let room = end.saturating_sub(into.len());
            into.extend(text.chars().take(room).map(|c| if c.is_control() { ' ' } else { c }));
        }
    }
}

/// The variables of a task: its own, those of the mission, and those that stand for expressions in scripts.
struct Variables<'a> {
    /// By name; a task's own before the mission's.
    named: Vec<(&'a str, &'a Template)>,
    expressions: Vec<(String, Template)>,
    by_text: HashMap<String, usize>,
}

impl<'a> Variables<'a> {
    fn new(workflow: &'a Workflow, task: &'a Task) -> Self {
        let own = task.env.iter();
        let inherited =
            workflow.env.iter().filter(|(name, _)| !task.env.iter().any(|(own, _)| own.value == name.value));
        let named = inherited.chain(own).map(|(name, text)| (name.value.as_str(), &text.template)).collect();
        Self { named, expressions: Vec::new(), by_text: HashMap::new() }
    }

    /// Replaces the expressions of a script by references.
    fn script(&mut self, text: &Text, findings: &mut Vec<Finding>) -> String {
        let mut too_long = false;
        let compiled = shell::compile(&text.template, |placeholder| {
            let source = self.inline(placeholder.expr.root()).to_string();
            let number = match self.by_text.get(&source) {
                Some(number) => *number,
                None => match Template::parse(&format!("${{{{ {source} }}}}")) {
                    Ok(template) => {
                        let number = self.expressions.len() + 1;
                        self.expressions.push((format!("{VARIABLE}{number}"), template));
                        self.by_text.insert(source, number);
                        number
                    }
                    Err(_) => {
                        too_long = true;
                        0
                    }
                },
            };
            format!("{VARIABLE}{number}")
        });
        if too_long {
            let message = "an expression is too long once the variables in it are written out";
            findings.push(Finding::error(codes::EXPRESSION, text.span(), message));
        }
        // Reading has refused what cannot be compiled.
        compiled.unwrap_or_else(|problems| {
            for problem in problems {
                findings.push(Finding::error(codes::UNQUOTABLE, text.span(), problem.why.to_string()));
            }
            String::new()
        })
    }

    /// Makes one text of the arguments of a tool, which is JSON whatever the expressions in it give.
    fn arguments(&self, with: &[Piece], findings: &mut Vec<Finding>) -> Option<Template> {
        let mut source = String::new();
        for piece in with {
            match piece {
                Piece::Json(json) => source.push_str(json),
                Piece::Text(text) => {
                    let only: Vec<_> = text.template.pieces().collect();
                    let value = match only.as_slice() {
                        // Alone, it keeps its kind: a number stays one.
                        [Part::Expr(placeholder)] => self.inline(placeholder.expr.root()),
                        _ => {
                            let kind = as_node(&text.template);
                            self.inline(&Node { span: kapell_core::expr::Span::default(), kind })
                        }
                    };
                    let _ = write!(source, "${{{{ toJSON({value}) }}}}");
                }
            }
        }
        let source = if source.is_empty() { "{}" } else { &source };
        let parsed = Template::parse(source).ok();
        if parsed.is_none() {
            let span = with.iter().find_map(Piece::text).map_or_else(Span::default, Text::span);
            let message = "an expression is too long once the variables in it are written out";
            findings.push(Finding::error(codes::EXPRESSION, span, message));
        }
        parsed
    }

    /// Writes out `env.NAME`, since no variable can be made from another.
    fn inline(&self, node: &Node) -> Node {
        let all = |nodes: &[Node]| nodes.iter().map(|node| self.inline(node)).collect();
        let kind = match &node.kind {
            NodeKind::Access { base, path } => {
                if let (NodeKind::Name(name), Some(Step { key: Key::Property(key), .. })) =
                    (&base.kind, path.first())
                    && &**name == "env"
                {
                    let found = self.named.iter().rev().find(|(name, _)| *name == &**key);
                    let found = found
                        .or_else(|| self.named.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case(key)));
                    let value =
                        found.map_or(NodeKind::Literal(Literal::Null), |(_, template)| as_node(template));
                    let base = Box::new(Node { span: node.span, kind: value });
                    let path = path[1..].to_vec();
                    return if path.is_empty() {
                        *base
                    } else {
                        Node { span: node.span, kind: NodeKind::Access { base, path } }
                    };
                }
                let path = path.iter().map(|step| match &step.key {
                    Key::Index(index) => {
                        Step { span: step.span, key: Key::Index(Box::new(self.inline(index))) }
                    }
                    _ => step.clone(),
                });
                NodeKind::Access { base: Box::new(self.inline(base)), path: path.collect() }
            }
            NodeKind::Call { function, arguments } => {
                NodeKind::Call { function: *function, arguments: all(arguments) }
            }
            NodeKind::Not(operand) => NodeKind::Not(Box::new(self.inline(operand))),
            NodeKind::And(operands) => NodeKind::And(all(operands)),
            NodeKind::Or(operands) => NodeKind::Or(all(operands)),
            NodeKind::Compare { comparison, left, right } => NodeKind::Compare {
                comparison: *comparison,
                left: Box::new(self.inline(left)),
                right: Box::new(self.inline(right)),
            },
            NodeKind::Literal(_) | NodeKind::Name(_) => node.kind.clone(),
        };
        Node { span: node.span, kind }
    }

    fn finish(self) -> Vec<Variable> {
        let named = self.named.into_iter().map(|(name, value)| (name.to_owned(), value.clone()));
        named.chain(self.expressions).map(|(name, value)| Variable { name, value }).collect()
    }
}

/// Writes a template as an expression that gives the same text.
fn as_node(template: &Template) -> NodeKind {
    let literal = |text: &str| NodeKind::Literal(Literal::String(text.into()));
    if let Some(text) = template.as_literal() {
        return literal(text);
    }
    let mut format = String::new();
    let mut arguments = Vec::new();
    for piece in template.pieces() {
        match piece {
            Part::Text(text) => format.push_str(&text.replace('{', "{{").replace('}', "}}")),
            Part::Expr(placeholder) => {
                let _ = write!(format, "{{{}}}", arguments.len());
                arguments.push(placeholder.expr.root().clone());
            }
        }
    }
    let first = Node { span: kapell_core::expr::Span::default(), kind: literal(&format) };
    arguments.insert(0, first);
    NodeKind::Call { function: Function::Format, arguments }
}
