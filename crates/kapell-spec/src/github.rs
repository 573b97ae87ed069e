//! GitHub workflows and actions, read leniently, with places.
//!
//! What could be read is returned together with what is wrong; a key that is not known is a note, since the format
//! grows every month. Aliases are followed as GitHub does. Merge keys, which GitHub refuses, are reported by
//! [`crate::yaml`] and not applied.
//!
//! Source of the format: <https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax> and
//! `metadata-syntax`, as of 2026-08.

mod event;
mod job;
mod keys;
mod matrix;
mod text;
mod uses;

#[cfg(test)]
mod tests;

pub use event::{Event, Filter, Input};
pub use job::{Environment, Job, Step};
pub use keys::{Key, Keys};
pub use matrix::{Axis, Cell, Matrix};
pub use text::{Condition, Expression, Name, Text, Word, only_expression};
pub use uses::Uses;

use crate::{
    finding::{Finding, Source, Span},
    yaml::{self, Node, Tree},
};
use keys::Reader;

/// The day on which the keys were compared with the published documentation.
pub const AS_OF: &str = "2026-08";

/// A workflow: `.github/workflows/*.yml`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Workflow {
    /// Its name, if it has one.
    pub name: Option<Text>,
    /// The keys at the top.
    pub keys: Keys,
    /// What starts it.
    pub events: Vec<Event>,
    /// Variables for all jobs.
    pub env: Vec<(Name, Text)>,
    /// What its token may do.
    pub permissions: Option<Permissions>,
    /// Which runs exclude each other.
    pub concurrency: Option<Concurrency>,
    /// The shell that steps run in unless they say otherwise.
    pub shell: Option<Text>,
    /// The folder of steps unless they or their job say otherwise; each such job has it, too.
    pub folder: Option<Text>,
    /// Its jobs, in the order of the file.
    pub jobs: Vec<Job>,
    /// The expressions outside jobs.
    pub expressions: Vec<Expression>,
    /// Where the comments are, in order.
    pub comments: Vec<Span>,
    /// Whether all of the text was read.
    pub complete: bool,
}

/// An action: `action.yml`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Action {
    /// Its name.
    pub name: Option<Text>,
    /// What it takes.
    pub inputs: Vec<Input>,
    /// What it gives back.
    pub outputs: Vec<(Name, Text)>,
    /// How it runs: `composite`, `node20`, `docker`.
    pub using: Option<Name>,
    /// Its steps, if it is composite.
    pub steps: Vec<Step>,
    /// All expressions in it.
    pub expressions: Vec<Expression>,
    /// Where the comments are, in order.
    pub comments: Vec<Span>,
    /// Whether all of the text was read.
    pub complete: bool,
}

/// Which runs exclude each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Concurrency {
    /// Where it stands.
    pub span: Span,
    /// The name that runs share.
    pub group: Option<Text>,
    /// Whether a new run cancels the one before.
    pub cancel: Option<Text>,
}

/// What a token may do.
#[derive(Debug, Clone, PartialEq)]
pub struct Permissions {
    /// Where it stands.
    pub span: Span,
    /// `read-all`, `write-all`, or nothing.
    pub all: Option<Name>,
    /// Single permissions.
    pub scopes: Vec<(Name, Name)>,
}

impl Permissions {
    /// Tells whether `scope` may be written.
    #[must_use]
    pub fn writes(&self, scope: &str) -> bool {
        self.all.as_ref().is_some_and(|all| all.text.as_ref() == "write-all")
            || self.scopes.iter().any(|(name, access)| *name.text == *scope && *access.text == *"write")
    }
}

impl Workflow {
    /// Finds a job.
    #[must_use]
    pub fn job(&self, id: &str) -> Option<&Job> {
        // GitHub compares ids without regard to case.
        self.jobs.iter().find(|job| job.id.text.eq_ignore_ascii_case(id))
    }

    /// Finds an event.
    #[must_use]
    pub fn event(&self, name: &str) -> Option<&Event> {
        self.events.iter().find(|event| &*event.name.text == name)
    }
}

/// Reads a workflow.
#[must_use]
pub fn workflow(source: &Source) -> (Workflow, Vec<Finding>) {
    let (tree, findings) = yaml::read(source);
    workflow_of(&source.text, tree.as_ref(), findings)
}

/// Reads a workflow from the tree of its text and what is wrong with that, as [`yaml::read`] returns them.
#[must_use]
pub fn workflow_of(text: &str, tree: Option<&Tree>, mut findings: Vec<Finding>) -> (Workflow, Vec<Finding>) {
    let Some(tree) = tree else { return (Workflow::default(), findings) };
    let mut reader = Reader::new(text, &mut findings);
    let mut workflow = read_workflow(&mut reader, &tree.root);
    workflow.comments.clone_from(&tree.comments);
    workflow.complete = tree.complete;
    (workflow, findings)
}

/// Reads an action.
#[must_use]
pub fn action(source: &Source) -> (Action, Vec<Finding>) {
    let (tree, mut findings) = yaml::read(source);
    let Some(tree) = tree else { return (Action::default(), findings) };
    let mut reader = Reader::new(&source.text, &mut findings);
    let mut action = read_action(&mut reader, &tree.root);
    action.comments = tree.comments;
    action.complete = tree.complete;
    (action, findings)
}

fn read_workflow(reader: &mut Reader<'_>, root: &Node) -> Workflow {
    let mut workflow = Workflow { keys: Keys::of(root), ..Workflow::default() };
    let outside = root.entries().unwrap_or_default().iter().filter(|entry| entry.key.text() != Some("jobs"));
    outside.for_each(|entry| reader.expressions(&entry.value, &mut workflow.expressions));
    for (key, entry) in reader.entries(root, "a workflow") {
        let value = &entry.value;
        match key {
            "name" => workflow.name = Text::of(value),
            "on" => workflow.events = event::events(reader, value),
            "env" => workflow.env = reader.texts(value),
            "permissions" => workflow.permissions = Some(permissions(reader, value)),
            "concurrency" => workflow.concurrency = Some(concurrency(reader, value)),
            "defaults" => {
                workflow.shell = default_of(value, "shell");
                workflow.folder = default_of(value, "working-directory");
            }
            "jobs" => {
                let entries = reader.entries(value, "`jobs`");
                workflow.jobs = entries.map(|(_, entry)| job::job(reader, entry)).collect();
            }
            "run-name" => {}
            _ => reader.unknown(entry),
        }
    }
    for job in workflow.jobs.iter_mut().filter(|job| job.folder.is_none()) {
        job.folder.clone_from(&workflow.folder);
    }
    workflow
}

fn read_action(reader: &mut Reader<'_>, root: &Node) -> Action {
    let mut action = Action::default();
    reader.expressions(root, &mut action.expressions);
    for (key, entry) in reader.entries(root, "an action") {
        let value = &entry.value;
        match key {
            "name" => action.name = Text::of(value),
            "inputs" => action.inputs = event::inputs(reader, value),
            "outputs" => action.outputs = event::outputs(reader, value),
            "runs" => {
                for (key, entry) in reader.entries(value, "`runs`") {
                    match key {
                        "using" => action.using = Name::of(&entry.value),
                        "steps" => action.steps = job::steps(reader, &entry.value),
                        _ => {}
                    }
                }
            }
            "author" | "description" | "branding" => {}
            _ => reader.unknown(entry),
        }
    }
    action
}

fn default_of(node: &Node, key: &str) -> Option<Text> {
    node.get("run")?.get(key).and_then(Text::of)
}

fn concurrency(reader: &mut Reader<'_>, node: &Node) -> Concurrency {
    let mut concurrency = Concurrency { span: node.place(), group: Text::of(node), cancel: None };
    if node.scalar().is_none() {
        for (key, entry) in reader.entries(node, "`concurrency`") {
            match key {
                "group" => concurrency.group = Text::of(&entry.value),
                "cancel-in-progress" => concurrency.cancel = Text::of(&entry.value),
                _ => reader.unknown(entry),
            }
        }
    }
    concurrency
}

fn permissions(reader: &mut Reader<'_>, node: &Node) -> Permissions {
    let all = Name::of(node);
    let mut scopes = Vec::new();
    if node.scalar().is_none() {
        for (_, entry) in reader.entries(node, "`permissions`") {
            scopes.extend(Name::of(&entry.key).zip(Name::of(&entry.value)));
        }
    }
    Permissions { span: node.place(), all, scopes }
}
