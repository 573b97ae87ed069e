//! The key of a cache reads a variable that nothing has set by then: it is the same key for ever.

use kapell_spec::{
    finding::Span,
    github::{Job, Name, Step, Text, Uses, Word},
};
use kapell_view::audit::Severity;

use crate::{
    github::{Flow, StepFacts, tools::Kind},
    rule::Report,
};

/// Actions that set no variable of a name of their own choice, as far as a step in front of a cache may be one of them.
const SILENT: &[&str] = &[
    "actions/checkout",
    "actions/cache",
    "actions/download-artifact",
    "actions/upload-artifact",
    "actions/setup-node",
    "step-security/harden-runner",
];

/// Looks at the keys of caches, of `actions/cache` and of actions that keep one by themselves (`cache-environment-key`).
///
/// A step that may set any variable hides what those behind it read.
pub(super) fn check(flow: &Flow, report: &mut Report<'_>) {
    // Nothing else is a key of a cache, and few workflows read a variable by an expression.
    if !flow.text.contains("env.") && !flow.text.contains("key") {
        return;
    }
    for (at, job) in flow.jobs() {
        for (step, facts) in flow.steps(at) {
            if let Some((name, span)) = unset(flow, job, step) {
                tell(flow, name, span, report);
                break;
            }
            if !is_silent(step, facts) {
                break;
            }
        }
    }
}

fn tell(flow: &Flow, name: &str, span: Span, report: &mut Report<'_>) {
    report
        .add(
            flow.file,
            span,
            format!("`env.{name}` is always empty here: nothing has set it, so the key of this cache does not change with it"),
        )
        .severity(Severity::Medium)
        .hint(format!("set `{name}` in a step in front of this one, or take it out of the key"))
        .done();
}

/// Returns the first variable that the keys of a step read and that neither the workflow nor the job nor the step sets.
fn unset<'a>(flow: &Flow, job: &'a Job, step: &Step) -> Option<(&'a str, Span)> {
    let read = keys(step).flat_map(|key| job.expressions_in(key.span)).filter(|found| found.says(Word::Env));
    read.flat_map(|expression| {
        let references = expression.expr.root().references().into_iter();
        references.filter_map(move |found| match found.path[..] {
            [("env", _), (name, _)] => Some((name, expression.span(&flow.text))),
            _ => None,
        })
    })
    .find(|(name, _)| !is_known(flow, job, step, name))
}

/// Returns the keys of caches that a step is given.
fn keys(step: &Step) -> impl Iterator<Item = &Text> {
    let cache = step.is("actions/cache") || step.is("actions/cache/restore");
    let is_key = move |name: &str| {
        cache && matches!(name, "key" | "restore-keys")
            || !cache && name.contains("cache") && name.contains("key")
    };
    step.with.iter().filter(move |(name, _)| is_key(&name.text)).map(|(_, value)| value)
}

/// Tells whether a step sets no variable for those behind it.
fn is_silent(step: &Step, facts: &StepFacts) -> bool {
    let silent = |name: &String| SILENT.iter().any(|known| name == known);
    let local = matches!(step.action(), Some(Uses::Local(_) | Uses::Docker(_)));
    let quiet = |kind: Kind| {
        matches!(
            kind,
            Kind::Trivial
                | Kind::Checkout
                | Kind::Setup
                | Kind::Install
                | Kind::Cache
                | Kind::Upload
                | Kind::Download
        )
    };
    !local
        && facts.actions.iter().all(silent)
        && (step.uses.is_none() || !facts.actions.is_empty())
        && !step.script().contains("GITHUB_ENV")
        && !facts.runs_own_script()
        && facts.works.iter().all(|done| quiet(done.work.kind))
}

/// Tells whether a variable is set by the workflow, the job or the step.
fn is_known(flow: &Flow, job: &Job, step: &Step, name: &str) -> bool {
    let named = |env: &[(Name, Text)]| env.iter().any(|(known, _)| known.text.eq_ignore_ascii_case(name));
    named(&flow.model.env) || named(&job.env) || named(&step.env)
}
