//! Jobs and steps.

use super::{
    Concurrency, Permissions, concurrency, default_of,
    keys::{Keys, Reader},
    matrix::{self, Matrix},
    permissions,
    text::{Condition, Expression, Name, Text},
    uses::Uses,
};
use crate::{
    finding::Span,
    yaml::{Entry, Node},
};

/// A job.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Job {
    /// Its id.
    pub id: Name,
    /// From its id to its end.
    pub span: Span,
    /// Its keys.
    pub keys: Keys,
    /// Its name for people.
    pub name: Option<Text>,
    /// The jobs that it waits for.
    pub needs: Vec<Name>,
    /// When it runs.
    pub condition: Option<Condition>,
    /// The labels of its runner.
    pub runs_on: Vec<Text>,
    /// Its matrix.
    pub matrix: Option<Matrix>,
    /// Whether one failed cell cancels the others.
    pub fail_fast: Option<Text>,
    /// How many cells run at once.
    pub max_parallel: Option<Text>,
    /// After how many minutes it is cancelled.
    pub timeout: Option<Text>,
    /// Whether the run goes on if it fails.
    pub continue_on_error: Option<Text>,
    /// Where it deploys to.
    pub environment: Option<Environment>,
    /// What it gives back.
    pub outputs: Vec<(Name, Text)>,
    /// Variables.
    pub env: Vec<(Name, Text)>,
    /// What its token may do.
    pub permissions: Option<Permissions>,
    /// Which jobs exclude each other.
    pub concurrency: Option<Concurrency>,
    /// The shell of its steps.
    pub shell: Option<Text>,
    /// The folder of its steps: its own, or that of the workflow.
    pub folder: Option<Text>,
    /// Containers beside it.
    pub services: Vec<Name>,
    /// Whether it runs in a container.
    pub container: bool,
    /// The workflow that it calls.
    pub uses: Option<(Text, Option<Uses>)>,
    /// What it gives to that.
    pub with: Vec<(Name, Text)>,
    /// Its steps.
    pub steps: Vec<Step>,
    /// All expressions in it, those of its steps too, in order.
    pub expressions: Vec<Expression>,
}

/// Where a job deploys to.
#[derive(Debug, Clone, PartialEq)]
pub struct Environment {
    /// Where it stands.
    pub span: Span,
    /// Its name.
    pub name: Option<Text>,
    /// Whether no deployment is recorded: `deployment: false`.
    pub no_deployment: bool,
}

/// A step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Step {
    /// Where it stands, without its dash.
    pub span: Span,
    /// Its keys.
    pub keys: Keys,
    /// Its id.
    pub id: Option<Name>,
    /// Its name for people.
    pub name: Option<Text>,
    /// When it runs.
    pub condition: Option<Condition>,
    /// The action that it uses.
    pub uses: Option<(Text, Option<Uses>)>,
    /// What it gives to that.
    pub with: Vec<(Name, Text)>,
    /// The commands that it runs.
    pub run: Option<Text>,
    /// Variables.
    pub env: Vec<(Name, Text)>,
    /// Whether the job goes on if it fails.
    pub continue_on_error: Option<Text>,
    /// After how many minutes it is cancelled.
    pub timeout: Option<Text>,
    /// The shell.
    pub shell: Option<Text>,
    /// The folder.
    pub folder: Option<Text>,
}

impl Job {
    /// Returns the workflow that it calls.
    #[must_use]
    pub fn called(&self) -> Option<&Uses> {
        self.uses.as_ref()?.1.as_ref()
    }

    /// Returns where it says for which jobs it waits, or its name if it waits for none.
    #[must_use]
    pub fn needs_span(&self) -> Span {
        self.keys.get("needs").map_or(self.id.span, |key| key.span)
    }

    /// Returns where it says when it runs, or its name if it does not say.
    #[must_use]
    pub fn condition_span(&self) -> Span {
        self.condition.as_ref().map_or(self.id.span, |own| own.span)
    }

    /// Returns the expressions that stand within `span`.
    pub fn expressions_in(&self, span: Span) -> impl Iterator<Item = &Expression> {
        self.expressions
            .iter()
            .filter(move |found| span.start <= found.scalar.start && found.scalar.end <= span.end)
    }
}

impl Step {
    /// Returns where its name stands, or all of it if it has none.
    #[must_use]
    pub fn name_span(&self) -> Span {
        self.name.as_ref().map_or(self.span, |name| name.span)
    }

    /// Returns where it says when it runs, or all of it if it does not say.
    #[must_use]
    pub fn condition_span(&self) -> Span {
        self.condition.as_ref().map_or(self.span, |own| own.span)
    }

    /// Returns what it uses.
    #[must_use]
    pub fn action(&self) -> Option<&Uses> {
        self.uses.as_ref()?.1.as_ref()
    }

    /// Tells whether it uses the action `name`.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.action().is_some_and(|uses| uses.is(name))
    }

    /// Finds a value given to the action. Names of inputs do not depend on case.
    #[must_use]
    pub fn input(&self, name: &str) -> Option<&Text> {
        self.with.iter().find(|(known, _)| known.text.eq_ignore_ascii_case(name)).map(|(_, text)| text)
    }

    /// Returns the commands that it runs.
    #[must_use]
    pub fn script(&self) -> &str {
        self.run.as_deref().unwrap_or_default()
    }
}

pub(super) fn job(reader: &mut Reader<'_>, entry: &Entry) -> Job {
    let node = &entry.value;
    let id = Name::of(&entry.key).unwrap_or_default();
    let span = Span { start: entry.key.place().start, end: node.place().end.max(entry.key.place().end) };
    let mut job = Job { id, span, keys: Keys::of(node), ..Job::default() };
    reader.expressions(node, &mut job.expressions);
    for (key, entry) in reader.entries(node, "a job") {
        job_key(reader, &mut job, key, entry);
    }
    job
}

fn job_key(reader: &mut Reader<'_>, job: &mut Job, key: &str, entry: &Entry) {
    let value = &entry.value;
    match key {
        "name" => job.name = Text::of(value),
        "needs" => job.needs = reader.names(value, "`needs`"),
        "if" => job.condition = Condition::of(value),
        "runs-on" => job.runs_on = matrix::labels(value),
        "strategy" => strategy(reader, job, value),
        "timeout-minutes" => job.timeout = Text::of(value),
        "continue-on-error" => job.continue_on_error = Text::of(value),
        "environment" => job.environment = Some(environment(value)),
        "outputs" => job.outputs = reader.texts(value),
        "env" => job.env = reader.texts(value),
        "permissions" => job.permissions = Some(permissions(reader, value)),
        "concurrency" => job.concurrency = Some(concurrency(reader, value)),
        "defaults" => {
            job.shell = default_of(value, "shell");
            job.folder = default_of(value, "working-directory");
        }
        "services" => {
            let entries = reader.entries(value, "`services`");
            job.services = entries.filter_map(|(_, entry)| Name::of(&entry.key)).collect();
        }
        "container" => job.container = true,
        "uses" => job.uses = uses(value),
        "with" => job.with = reader.texts(value),
        "steps" => job.steps = steps(reader, value),
        "secrets" | "snapshot" => {}
        _ => reader.unknown(entry),
    }
}

fn strategy(reader: &mut Reader<'_>, job: &mut Job, node: &Node) {
    if node.scalar().is_some() {
        job.matrix = Some(Matrix { span: node.place(), dynamic: true, ..Matrix::default() });
        return;
    }
    for (key, entry) in reader.entries(node, "`strategy`") {
        match key {
            "matrix" => job.matrix = Some(matrix::matrix(reader, &entry.value)),
            "fail-fast" => job.fail_fast = Text::of(&entry.value),
            "max-parallel" => job.max_parallel = Text::of(&entry.value),
            _ => reader.unknown(entry),
        }
    }
}

fn environment(node: &Node) -> Environment {
    let deployment = node.get("deployment").and_then(Node::scalar).and_then(|scalar| scalar.as_bool());
    Environment {
        span: node.place(),
        name: Text::of(node).or_else(|| Text::of(node.get("name")?)),
        no_deployment: deployment == Some(false),
    }
}

fn uses(node: &Node) -> Option<(Text, Option<Uses>)> {
    let text = Text::of(node)?;
    let uses = text.literal().and_then(Uses::parse);
    Some((text, uses))
}

pub(super) fn steps(reader: &mut Reader<'_>, node: &Node) -> Vec<Step> {
    reader.items(node, "`steps`").iter().map(|node| step(reader, node)).collect()
}

fn step(reader: &mut Reader<'_>, node: &Node) -> Step {
    let mut step = Step { span: node.place(), keys: Keys::of(node), ..Step::default() };
    for (key, entry) in reader.entries(node, "a step") {
        let value = &entry.value;
        match key {
            "id" => step.id = Name::of(value),
            "name" => step.name = Text::of(value),
            "if" => step.condition = Condition::of(value),
            "uses" => step.uses = uses(value),
            "with" => step.with = reader.texts(value),
            "run" => step.run = Text::of(value),
            "env" => step.env = reader.texts(value),
            "continue-on-error" => step.continue_on_error = Text::of(value),
            "timeout-minutes" => step.timeout = Text::of(value),
            "shell" => step.shell = Text::of(value),
            "working-directory" => step.folder = Text::of(value),
            _ => reader.unknown(entry),
        }
    }
    step
}
