//! A script asks an event for what another event has.

mod of_script; // what scripts of the API know

use kapell_core::expr::{NodeKind, Value};
use kapell_spec::{
    finding::Span,
    github::{Job, Step},
};
use kapell_view::audit::{Confidence, Severity};

use crate::github::{Flow, comments, conditions::Run};
use crate::{
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// See `docs/rules/event-property-missing.md`.
pub(super) static RULE: Rule = Rule {
    name: "event-property-missing",
    summary: "A script asks an event for what only another event has",
    group: Group::Dead,
    anti_pattern: Some(AntiPattern::Context),
    focus: Focus::State,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/event-property-missing.md"),
    check,
};

/// Properties that belong to one kind of event, and whose absence a script does not expect.
const OF_ONE_EVENT: &[&str] = &[
    "pull_request",
    "number",
    "release",
    "issue",
    "comment",
    "review",
    "workflow_run",
    "deployment",
    "check_suite",
];

fn check(repository: &Repository, report: &mut Report<'_>) {
    of_script::check(repository, report);
    for flow in &repository.github.flows {
        for (at, job) in flow.jobs() {
            for (step, _) in flow.steps(at) {
                let run = step.run.as_ref().map(|run| run.span);
                let Some(place) = run.or_else(|| base_beside_head(job, step)) else { continue };
                let found = job.expressions_in(place).find_map(|expression| {
                    let root = expression.expr.root();
                    // Alternatives and conditions know that it may be missing.
                    let references = root.references();
                    let [reference] = &references[..] else { return None };
                    let path: Vec<&str> = reference.path.iter().map(|(name, _)| *name).collect();
                    let known = matches!(path[..], ["github", "event", property, ..] if OF_ONE_EVENT.contains(&property));
                    let alone = reference.whole && known && matches!(root.kind, NodeKind::Access { .. });
                    let world = missing(flow, at, step.condition.as_ref(), &path).filter(|_| alone)?;
                    Some((expression, path.join("."), world))
                });
                let Some((expression, path, world)) = found else { continue };
                if asks(step.script(), &path) {
                    continue;
                }
                let draft = report
                    .add(
                        flow.file,
                        expression.span(&flow.text),
                        format!(
                            "`{path}` is empty when `{}` is started by {}",
                            job.id.text,
                            flow.worlds[world].name()
                        ),
                    )
                    .severity(if run.is_some() { Severity::High } else { Severity::Medium })
                    .hint("ask for the event in a condition, or say what stands in its place: `A || B`");
                match comments::explains(flow, step.span, 3, &["empty", "only on", "pull request"]) {
                    Some(comment) => draft.explained(comment).done(),
                    None => draft.done(),
                }
            }
        }
    }
}

/// Returns where a checkout names the base of a pull request, if another one of its job takes what is to be merged: without that
/// name both take the same.
///
/// Source: README of actions/checkout, `ref`: without it, the commit of the event.
fn base_beside_head(job: &Job, step: &Step) -> Option<Span> {
    let checks_out = |step: &Step| step.is("actions/checkout") && step.input("repository").is_none();
    let base = step.input("ref").filter(|text| checks_out(step) && text.contains(".base."))?;
    let head = |other: &Step| {
        checks_out(other)
            && other.input("ref").is_none_or(|text| text.contains(".head.") || text.contains("head_ref"))
    };
    job.steps.iter().any(head).then_some(base.span)
}

/// Finds a situation in which a step runs for certain and the event has no such property.
fn missing(
    flow: &Flow,
    at: usize,
    condition: Option<&kapell_spec::github::Condition>,
    path: &[&str],
) -> Option<usize> {
    (0..flow.worlds.len()).find(|&world| {
        let runs = flow.runs[world][at] == Run::Always
            && condition.is_none_or(|condition| {
                !condition.asks_status() && flow.scope(world, at, true).holds(condition) == Some(true)
            });
        runs && flow.worlds[world].event.is_some() && matches!(flow.worlds[world].value(path), Value::Null)
    })
}

/// Tells whether a script looks at the event, or at whether the text is there, by itself.
fn asks(script: &str, path: &str) -> bool {
    let words =
        ["event_name", "EVENT_NAME", "-z ", "-n ", ":-", "if [", "if test", "case ", "|| true", "echo"];
    let line = script.lines().find(|line| line.contains(path)).unwrap_or_default();
    words[..7].iter().any(|word| script.contains(word)) || words[7..].iter().any(|word| line.contains(word))
}
