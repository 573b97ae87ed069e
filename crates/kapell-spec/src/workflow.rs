//! Workflow files: what a person writes, read leniently with places, and compiled to a plan.
//!
//! `docs/workflow.md` is the reference. Keys mean what they mean in GitHub's workflows where they exist there. Reading
//! goes on after every mistake, so that one look shows all of them; a file with errors is read but not compiled.
//!
//! What a reader of GitHub's workflows may not expect:
//!
//! - `needs` and expressions see the tasks that a task needs itself, not those that these need in turn.
//! - `if` takes an expression with or without `${{ }}`. Text around `${{ }}` is an error, not always true.
//! - Strings of YAML 1.2: `no`, `on` and `yes` are texts.
//! - Expressions in `run`, `accept` and `compensate` become references to variables (see [`crate::shell`]).
//! - Values that shape the plan (`needs`, `agent`, `timeout`, names, axes of a matrix) hold no expressions but such as
//!   can be computed from `inputs`.

mod cells;
mod check;
mod compile;
mod expressions;
mod matrix;
mod read;
mod reader;
mod schema;
mod task;
mod value;

use std::{collections::BTreeMap, sync::Arc};

pub use compile::{Compiled, Options, compile, provider_of, slot_of};
use kapell_core::{
    expr::{Expr, Template, Value},
    plan::{Estimate, LostPolicy, Protect, Supervise, WorkspaceKind},
    retry::Retry,
    time::{Millis, Wall},
};
pub use schema::schema;
pub use value::{memory_mib, skill};

use crate::{
    codes,
    finding::{Finding, Source, Span},
    yaml::{self, Node},
};

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

impl<T> Spanned<T> {
    pub(crate) fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

/// A text that may hold expressions.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    /// The text.
    pub template: Template,
    /// The scalar that it was read from.
    pub node: Arc<Node>,
}

impl Text {
    /// Returns where it stands.
    #[must_use]
    pub fn span(&self) -> Span {
        self.node.place()
    }

    /// Returns where bytes `range` of its text stand.
    #[must_use]
    pub fn locate(&self, source: &Source, range: std::ops::Range<usize>) -> Span {
        self.node.locate(&source.text, range)
    }
}

/// A condition, and the text that it was read from.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The expression.
    pub expr: Expr,
    /// Where the source of the expression starts in the text of the scalar.
    pub at: usize,
    /// The scalar that it was read from.
    pub node: Arc<Node>,
}

/// A workflow file.
#[derive(Debug, Clone, PartialEq)]
pub struct Workflow {
    /// The file.
    pub source: Source,
    /// What is asked.
    pub mission: Option<Spanned<String>>,
    /// The branch that the run starts from and that a merge moves.
    pub target: Option<Spanned<String>>,
    /// The limits of the run.
    pub budget: Budget,
    /// Until when it must be done.
    pub deadline: Option<Wall>,
    /// Whether a failure takes back what was done.
    pub saga: bool,
    /// Whether files that lie in Git LFS may be their pointers.
    pub lfs_pointers: bool,
    /// Commands that must pass on every tree that lands.
    pub accept: Vec<Text>,
    /// Paths that no task may change to pass its own checks.
    pub protect: Protect,
    /// Variables for all tasks.
    pub env: Vec<(Spanned<String>, Text)>,
    /// Values that the caller gives.
    pub inputs: Vec<Input>,
    /// Who performs.
    pub agents: Vec<Agent>,
    /// What holds for every task that does not say otherwise.
    pub defaults: Settings,
    /// The tasks, in the order of the file.
    pub tasks: Vec<Task>,
    /// Whether nothing is wrong with it. Only such a file can be compiled.
    pub valid: bool,
}

/// The limits of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budget {
    /// Money, in millionths of a US dollar.
    pub usd_micros: Option<u64>,
    /// Tokens.
    pub tokens: Option<u64>,
    /// Agents at the same time.
    pub agents: Option<u32>,
    /// Commands at the same time.
    pub jobs: Option<u32>,
    /// Time of execution.
    pub wall: Option<Millis>,
}

/// A value that the caller gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Its name.
    pub name: Spanned<String>,
    /// What it is if the caller gives none.
    pub default: Option<String>,
    /// What it is for.
    pub description: Option<String>,
}

/// Who performs.
#[derive(Debug, Clone, PartialEq)]
pub struct Agent {
    /// Its name.
    pub name: Spanned<String>,
    /// The adapter that speaks to it.
    pub adapter: Spanned<String>,
    /// Whose quota it uses up.
    pub provider: Option<String>,
    /// Who takes over when it fails for good.
    pub fallback: Option<Spanned<String>>,
    /// Settings for the adapter.
    pub options: Vec<(Spanned<String>, String)>,
    /// What it can do.
    pub skills: Vec<Spanned<String>>,
    /// The memory that one attempt of it needs, in MiB.
    pub memory_mib: Option<u32>,
}

/// What to do, in the file's own words.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// A shell script.
    Run(Text),
    /// A prompt for an agent.
    Prompt(Text),
    /// A question to a person, with the answers that let the run go on.
    Gate(Text, Vec<String>),
    /// Another file.
    Workflow(Spanned<String>),
    /// A script for the scripted agent, as YAML.
    Scripted(String),
    /// A tool of an MCP server.
    Mcp(ToolCall),
    /// Nothing.
    Noop,
}

/// The call of a tool.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    /// The name of the server, as the user's settings have it.
    pub server: String,
    /// The name of the tool.
    pub tool: String,
}

/// A piece of the arguments of a tool, which are JSON as a whole.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// JSON as it stands.
    Json(String),
    /// A value that expressions are a part of, or all of.
    Text(Text),
}

impl Piece {
    pub(crate) fn text(&self) -> Option<&Text> {
        match self {
            Self::Text(text) => Some(text),
            Self::Json(_) => None,
        }
    }
}

/// A matrix: a task for each combination of values.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// Where it stands.
    pub span: Span,
    /// The axes with their values.
    pub axes: Vec<(Spanned<String>, Vec<Value>)>,
    /// Combinations that are left out.
    pub exclude: Vec<Spanned<Vec<(String, Value)>>>,
    /// Values that are added to combinations, or combinations of their own.
    pub include: Vec<Spanned<Vec<(String, Value)>>>,
}

/// What can be said for one task or for all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// The agent.
    pub agent: Option<Spanned<String>>,
    /// What the agent must be able to do.
    pub skills: Option<Vec<Spanned<String>>>,
    /// How often it is tried.
    pub retry: Option<Retry>,
    /// How long an attempt may take.
    pub timeout: Option<Millis>,
    /// Where it works.
    pub workspace: Option<WorkspaceKind>,
    /// Commands that make a workspace ready.
    pub prepare: Option<Vec<String>>,
    /// Ignored paths that are copied into a workspace.
    pub carry: Option<Vec<String>>,
    /// Directories kept between tasks, by variable.
    pub cache: Option<Vec<(String, String)>>,
    /// What is done when an attempt is lost.
    pub retry_lost: Option<LostPolicy>,
    /// How processes are watched.
    pub supervise: Option<Supervise>,
    /// How long it is expected to take.
    pub estimate: Option<Estimate>,
}

/// A task.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Its name.
    pub name: Spanned<String>,
    /// What to do.
    pub work: Option<Work>,
    /// The arguments of its tool.
    pub with: Vec<Piece>,
    /// What it waits for.
    pub needs: Vec<Spanned<String>>,
    /// Whether it is done at all.
    pub condition: Option<Condition>,
    /// For which combinations it is done.
    pub matrix: Option<Matrix>,
    /// Variables.
    pub env: Vec<(Spanned<String>, Text)>,
    /// What it promises; a value says how it is computed.
    pub outputs: Vec<(Spanned<String>, Option<Text>)>,
    /// What outputs that it sets itself must look like, by name: JSON schemas.
    pub shapes: BTreeMap<String, String>,
    /// Commands that must pass on its result.
    pub accept: Vec<Text>,
    /// Paths and names that nobody else may hold meanwhile.
    pub claims: Vec<Text>,
    /// The command that takes it back.
    pub compensate: Option<Text>,
    /// Paths that it must not change to pass its own checks.
    pub protect: Protect,
    /// What its result depends on.
    pub reads: Vec<String>,
    /// Until when it must have started.
    pub deadline: Option<Wall>,
    /// What is set aside for each attempt: money and tokens.
    pub budget: Budget,
    /// What is said here and could be said for all.
    pub settings: Settings,
    /// Where each key stands, for later findings.
    pub keys: Vec<Spanned<String>>,
}

/// An agent that is defined outside of the file, and that tasks may name all the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outside {
    /// Its name.
    pub name: String,
    /// The adapter that speaks to it.
    pub adapter: String,
    /// Whose quota it uses up, if that is not its adapter's usual one.
    pub provider: Option<String>,
    /// Settings for the adapter.
    pub options: Vec<(String, String)>,
    /// What it can do.
    pub skills: Vec<String>,
    /// The memory that one attempt of it needs, in MiB.
    pub memory_mib: Option<u32>,
}

/// Takes in those agents from outside that the file names and does not define itself.
fn adopt(workflow: &mut Workflow, outside: &[Outside]) {
    let named = workflow.tasks.iter().map(|task| &task.settings).chain([&workflow.defaults]);
    let named = named.filter_map(|settings| settings.agent.as_ref());
    let named = named.chain(workflow.agents.iter().filter_map(|agent| agent.fallback.as_ref()));
    let mut found: Vec<Agent> = Vec::new();
    for name in named {
        let is = |agent: &&Agent| agent.name.value == name.value;
        if workflow.agents.iter().chain(&found).any(|agent| is(&agent)) {
            continue;
        }
        let Some(known) = outside.iter().find(|known| known.name == name.value) else { continue };
        let place = |text: &String| Spanned::new(text.clone(), name.span);
        found.push(Agent {
            name: name.clone(),
            adapter: place(&known.adapter),
            provider: known.provider.clone(),
            fallback: None,
            options: known.options.iter().map(|(key, value)| (place(key), value.clone())).collect(),
            skills: known.skills.iter().map(place).collect(),
            memory_mib: known.memory_mib,
        });
    }
    workflow.agents.extend(found);
}

/// Reads a workflow file.
///
/// Returns as much as could be read together with all findings; nothing if the text is no YAML mapping at all.
#[must_use]
pub fn read(source: &Source) -> (Option<Workflow>, Vec<Finding>) {
    read_with(source, &[])
}

/// Reads a workflow file whose tasks may name agents that are defined elsewhere.
#[must_use]
pub fn read_with(source: &Source, outside: &[Outside]) -> (Option<Workflow>, Vec<Finding>) {
    let (tree, mut findings) = yaml::read(source);
    let Some(tree) = tree else { return (None, findings) };
    let mut workflow = read::workflow(source, &tree, &mut findings);
    if let Some(workflow) = &mut workflow {
        adopt(workflow, outside);
        if tree.complete {
            check::check(workflow, &mut findings);
        } else {
            // What is missing from a part of a file may stand in the rest.
            forget_consequences(&source.text, &mut findings);
        }
        workflow.valid = !findings.iter().any(Finding::is_error);
    }
    findings.sort_by_key(|finding| (finding.span.start, finding.span.end, finding.code));
    findings.dedup();
    (workflow, findings)
}

/// Reads bytes as a workflow file called `name`.
#[must_use]
pub fn read_bytes(name: &str, bytes: &[u8]) -> (Source, Option<Workflow>, Vec<Finding>) {
    read_bytes_with(name, bytes, &[])
}

/// Reads bytes as a workflow file called `name`, whose tasks may name agents that are defined elsewhere.
#[must_use]
pub fn read_bytes_with(
    name: &str,
    bytes: &[u8],
    outside: &[Outside],
) -> (Source, Option<Workflow>, Vec<Finding>) {
    let (source, findings) = yaml::decode(name, bytes);
    if !findings.is_empty() {
        return (source, None, findings);
    }
    let (workflow, findings) = read_with(&source, outside);
    (source, workflow, findings)
}

/// Drops findings that may only be there because the text could not be read to its end: those from the line of the
/// error on, and those about something that is not there.
fn forget_consequences(text: &str, findings: &mut Vec<Finding>) {
    let is_yaml = |finding: &Finding| finding.code < codes::UNKNOWN_KEY || finding.code >= codes::TOO_LARGE;
    let error = findings.iter().filter(|finding| is_yaml(finding)).map(|finding| finding.span.start).max();
    let error = error.unwrap_or(0) as usize;
    let line = text.get(..error).and_then(|before| before.rfind('\n')).unwrap_or(0);
    let absent = [codes::NO_WORK, codes::MISSING_KEY, codes::WRONG_TYPE, codes::MATRIX, codes::EXPRESSION];
    findings.retain(|finding| {
        is_yaml(finding) || (finding.span.end as usize) < line && !absent.contains(&finding.code)
    });
}
