//! A way back waits for a failure that the step before it does not let come.

use kapell_spec::github::Step;
use kapell_view::audit::Confidence;

use crate::{
    github::{Flow, StepFacts, tools::Kind},
    rule::Report,
    rules::deploy_without_rollback::looks,
};

/// Words of a step that goes back.
const BACK: &[&str] = &["rollback", "roll back", "roll-back", "undo", "revert", "previous", "put back"];

/// Tells whether a step goes back to what was there before, by its name or by what it runs.
fn goes_back(step: &Step) -> bool {
    let name = step.name.as_ref().map_or("", |name| &name.text).to_ascii_lowercase();
    let script = step.script().to_ascii_lowercase();
    BACK.iter().any(|word| name.contains(word) || script.contains(word))
}

pub(super) fn check(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let steps: Vec<_> = flow.steps(at).collect();
    let deploys = |facts: &StepFacts| facts.does(Kind::Deploy);
    // What is deployed after a failure is what was there before.
    let back = steps.iter().position(|(step, facts)| {
        step.condition.as_ref().is_some_and(|own| own.text.trim() == "failure()")
            && (deploys(facts) || goes_back(step))
    });
    let Some(back) = back else { return };
    let Some(deployed) = steps[..back].iter().rposition(|(_, facts)| deploys(facts)) else { return };
    let lets_pass = |step: &Step| step.continue_on_error.as_ref().is_some_and(|text| text.is("true"));
    let unread =
        |step: &Step| step.id.as_ref().is_none_or(|id| !flow.text.contains(&format!("steps.{}", id.text)));
    let deployment = steps[deployed].0;
    if lets_pass(deployment) && unread(deployment) {
        if steps[deployed + 1..back].iter().all(|(step, _)| lets_pass(step) && unread(step)) {
            let what = "the deployment before it lets its own pass: nothing goes back";
            tell(flow, steps[back].0, (deployment, what), report);
        }
        return;
    }
    let mut checks = steps[deployed + 1..back].iter().filter(|(step, facts)| looks(step, facts)).peekable();
    let Some(&&(first, _)) = checks.peek() else { return };
    if checks.all(|(step, _)| lets_pass(step)) {
        let what = "the check before it lets its own pass: nothing goes back";
        tell(flow, steps[back].0, (first, what), report);
    }
}

/// Tells of a way back that never begins, and of the step whose failure it waits for.
///
/// Source: GitHub, "Contexts reference", `steps.<step_id>.conclusion`: of a step with `continue-on-error` that fails it is
/// `success`.
fn tell(flow: &Flow, back: &Step, (first, what): (&Step, &str), report: &mut Report<'_>) {
    report
        .add(flow.file, back.condition_span(), format!("this goes back after a failure, and {what}"))
        .confidence(Confidence::Medium)
        .also(flow.file, first.name_span(), "`continue-on-error` makes it a success")
        .hint("drop `continue-on-error`, or ask for the outcome of that step")
        .done();
}
