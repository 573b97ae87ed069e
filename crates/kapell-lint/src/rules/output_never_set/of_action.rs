//! Outputs that are read of an action of the repository, and that it does not declare.

use kapell_spec::{
    github::{Expression, Step, Uses},
    suggest,
};
use kapell_view::audit::Severity;

use super::goes_out;
use crate::{github::Flow, repository::Repository, rule::Report};

/// Tells of an output that a step's action does not declare. Whatever a script within it writes stays within.
///
/// Source: GitHub, "Metadata syntax", `outputs` for composite actions.
pub(super) fn check(
    repository: &Repository,
    flow: &Flow,
    at: usize,
    (id, output): (&str, &str),
    expression: &Expression,
    report: &mut Report<'_>,
) -> bool {
    let job = &flow.model.jobs[at];
    let named = |step: &&Step| step.id.as_ref().is_some_and(|known| known.text.eq_ignore_ascii_case(id));
    let Some(step) = job.steps.iter().find(named) else { return false };
    let Some(Uses::Local(path)) = step.action() else { return false };
    let Some(action) = repository.github.actions.get(&**path) else { return false };
    // An action of another kind may set outputs that it does not declare.
    let composite = !action.model.steps.is_empty();
    let declared = || action.model.outputs.iter().map(|(name, _)| &*name.text);
    if !composite || output == "*" || declared().any(|name| name.eq_ignore_ascii_case(output)) {
        return false;
    }
    let span = expression.span(&flow.text);
    let in_condition = job
        .condition
        .iter()
        .chain(job.steps.iter().filter_map(|step| step.condition.as_ref()))
        .any(|condition| condition.span == expression.scalar);
    let grave = in_condition || goes_out(flow, at, span);
    let draft = report
        .add(
            flow.file,
            span,
            format!("`steps.{id}.outputs.{output}` is always empty: the action declares no such output"),
        )
        .also(flow.file, step.id.as_ref().map_or(step.span, |id| id.span), "this step")
        .severity(if grave { Severity::High } else { Severity::Medium });
    let alike = |name: &&str| name.replace('-', "_").eq_ignore_ascii_case(&output.replace('-', "_"));
    match declared().find(alike).or_else(|| suggest::mistyped(output, declared(), 2)) {
        Some(near) => draft.hint(format!("read `steps.{id}.outputs.{near}`")).done(),
        None => draft.hint(format!("add `{output}` to `outputs` of the action, with its `value`")).done(),
    }
    true
}
