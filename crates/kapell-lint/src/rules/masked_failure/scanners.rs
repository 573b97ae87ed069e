//! Actions that are told by an input never to fail.

use kapell_spec::github::{Step, Text};
use kapell_view::audit::Severity;

use super::ways;
use crate::{
    github::{
        Flow, carry,
        tools::{self, Kind},
    },
    rule::Report,
};

/// Inputs that tell a scanner never to fail, and the value that does.
pub(in crate::rules) const SOFT: &[(&str, &str)] = &[
    ("exit-code", "0"),
    ("soft_fail", "true"),
    ("soft-fail", "true"),
    ("no-fail", "true"),
    ("fail-build", "false"),
    ("fail_action", "false"),
    ("fail_on_findings", "false"),
];

/// Inputs of actions that run what they are given, and the value that lets a failure pass.
const SOFT_RUNS: &[(&str, &str)] = &[
    ("continue_on_error", "true"),
    ("continue-on-error", "true"),
    ("allow-failure", "true"),
    ("allow_failure", "true"),
];

/// A scanner that is told never to fail, and whose findings nobody keeps. One that something waits for is told of as a gate.
pub(super) fn check(
    flow: &Flow,
    at: usize,
    step: &Step,
    lenient: impl Fn() -> Option<String>,
    report: &mut Report<'_>,
) {
    if step.with.is_empty() || step.action().is_none() {
        return;
    }
    let given = |rows: &[(&str, &str)]| {
        rows.iter().find_map(|(name, value)| step.input(name).filter(|text| text.is(value)))
    };
    let does = |kinds: &[Kind]| {
        let mut steps = flow.steps(at).filter(|(other, _)| std::ptr::eq(*other, step));
        steps.any(|(_, facts)| kinds.iter().any(|&kind| facts.does(kind)))
    };
    let tests = does(&[Kind::Test, Kind::Build]);
    let runs = given(SOFT_RUNS).filter(|_| tests || does(&[Kind::Lint, Kind::Audit]));
    // A scanner that only prints by default says nothing new with the same in words.
    let scans = given(SOFT).filter(|_| !step.is("aquasecurity/trivy-action"));
    let soft = runs.or(scans).or_else(|| by_argument(step));
    let Some(soft) = soft else { return };
    let job = &flow.model.jobs[at];
    let kept = ["sarif", "upload-artifact", "outcome", "steps.", "comment"]
        .iter()
        .any(|word| flow.text.get(job.span.range()).is_some_and(|text| text.contains(word)));
    let waited =
        flow.jobs().any(|(other, _)| flow.closures[other].contains(&at) && carry::changes(flow, other));
    if kept || waited {
        return;
    }
    let name =
        step.uses.as_ref().map_or("the scanner", |(text, _)| text.text.split('@').next().unwrap_or_default());
    let draft = report
        .add(flow.file, soft.span, format!("`{name}` is told never to fail, and nothing keeps what it finds"))
        .severity(if tests { Severity::High } else { Severity::Medium })
        .hint("let it fail, with a baseline of what is known, or keep its findings as SARIF");
    match lenient() {
        Some(comment) => draft.explained(comment).done(),
        None => draft.done(),
    }
}

/// Returns the arguments of an action that checks, if one of them tells it never to fail.
fn by_argument(step: &Step) -> Option<&Text> {
    let text = ["args", "options", "flags", "arguments"].iter().find_map(|name| step.input(name))?;
    let soft = text.text.split_whitespace().any(ways::never_fails);
    let action = step.action().filter(|_| soft)?.action()?;
    tools::action(&action, step).kind.checks().then_some(text)
}
