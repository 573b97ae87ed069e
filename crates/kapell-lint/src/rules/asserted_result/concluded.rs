//! A job asks for the conclusion of a step that may fail: it is always success.

use kapell_core::expr::{Expr, Key, NodeKind};
use kapell_spec::{
    finding::Span,
    github::{Job, Step},
};
use kapell_view::audit::{Confidence, Severity};

use crate::{github::Flow, rule::Report};

/// Tells of steps with `continue-on-error` whose conclusion somebody takes for what became of them.
///
/// Source: GitHub, "Contexts reference", `steps.<step_id>.conclusion`: "When a continue-on-error step fails, the outcome is
/// failure, but the final conclusion is success."
pub(super) fn check(flow: &Flow, report: &mut Report<'_>) {
    if !flow.text.contains(".conclusion") || !flow.text.contains("continue-on-error") {
        return;
    }
    for (at, job) in flow.jobs() {
        for (step, facts) in flow.steps(at) {
            // One that has a condition may be asked whether it has run at all.
            let lenient = step.continue_on_error.as_ref().filter(|text| text.is("true"));
            let Some((lenient, id)) = lenient.zip(step.id.as_ref()).filter(|_| step.condition.is_none())
            else {
                continue;
            };
            let Some(read) = read(flow, job, &id.text) else { continue };
            let changes = facts.mutation().is_some();
            let what = if changes { "was delivered" } else { "went well" };
            report
                .add(
                    flow.file,
                    lenient.span,
                    format!(
                        "whoever asks for the conclusion of `{}` always hears that all {what}: with `continue-on-error` it is success even if the step fails",
                        id.text
                    ),
                )
                .severity(if changes { Severity::High } else { Severity::Medium })
                .confidence(Confidence::High)
                .also(flow.file, read, "asked here")
                .hint(format!("ask for `steps.{}.outcome`, and fail behind what is to be done first", id.text))
                .done();
        }
    }
}

/// Returns where a job takes the conclusion of one of its steps for success or failure, outside of what is told of as a step
/// that never runs.
fn read(flow: &Flow, job: &Job, id: &str) -> Option<Span> {
    let found = job.expressions.iter().find(|found| {
        let span = found.span(&flow.text);
        let in_step =
            job.steps.iter().find(|step| step.span.start <= span.start && span.end <= step.span.end);
        reads(&found.expr, id) && judges(flow, found.expr.to_string().as_str(), in_step)
    })?;
    Some(found.span(&flow.text))
}

/// Tells whether an expression reads the conclusion of a step.
fn reads(expr: &Expr, id: &str) -> bool {
    let mut reads = false;
    expr.root().walk(&mut |node| {
        let NodeKind::Access { base, path } = &node.kind else { return };
        let is = |at: usize, wanted: &str| {
            matches!(path.get(at).map(|step| &step.key), Some(Key::Property(name)) if name.eq_ignore_ascii_case(wanted))
        };
        let of_steps = matches!(&base.kind, NodeKind::Name(name) if name.eq_ignore_ascii_case("steps"));
        reads |= of_steps && is(0, id) && is(1, "conclusion");
    });
    reads
}

/// Tells whether what reads a conclusion asks whether all went well, and not only whether the step has run. A condition that
/// asks for a failure is told of as one that never holds.
fn judges(flow: &Flow, expression: &str, step: Option<&Step>) -> bool {
    let asks = |text: &str| text.contains("success") || text.contains("fail");
    if expression.contains("skipped") || expression.contains("cancelled") {
        return false;
    }
    let Some(step) = step else { return asks(expression) || !expression.contains("==") };
    let condition = step.condition.as_ref().is_some_and(|own| own.text.contains(expression));
    let text = flow.text.get(step.span.range()).unwrap_or_default();
    let told = condition && expression.contains("failure");
    !told && asks(text)
}
