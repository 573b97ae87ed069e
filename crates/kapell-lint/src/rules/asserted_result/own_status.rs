//! Messages that give the status of the job that sends them for that of the jobs before it.

use kapell_spec::github::Step;
use kapell_view::audit::Confidence;

use super::OF_OTHERS;
use crate::{
    github::{Flow, StepFacts, tools::Kind},
    rule::Report,
};

/// Tells of jobs that run after a failure of others, and say how their own few steps went so far.
///
/// Source: GitHub, "Contexts reference", `job.status`: "the current status of the job", which is `success` as long as none of its own
/// steps has failed.
pub(super) fn check(flow: &Flow, report: &mut Report<'_>) {
    if !flow.text.contains("job.status") {
        return;
    }
    for (at, job) in flow.jobs().filter(|(_, job)| !job.needs.is_empty()) {
        let after_failures = job.condition.as_ref().is_some_and(|own| {
            ["always()", "failure()", "cancelled()"].iter().any(|status| own.text.contains(status))
        });
        let text = flow.text.get(job.span.range()).unwrap_or_default();
        if !after_failures || OF_OTHERS.iter().chain(&["onclusion"]).any(|word| text.contains(word)) {
            continue;
        }
        let prepared = flow.facts[at].iter().take_while(|facts| only_prepares(facts)).count();
        let told = job.steps[..(prepared + 1).min(job.steps.len())].iter().find_map(|step| {
            let mut said = job.expressions_in(step.span);
            let found = said
                .find(|one| one.expr.to_string().contains("job.status") && !asks(step, one.scalar.start))?;
            Some(found.span(&flow.text))
        });
        let Some(span) = told else { continue };
        report
            .add(
                flow.file,
                span,
                format!(
                    "`{}` tells its own status, which is `success` so far, and not that of the jobs that it waits for",
                    job.id.text
                ),
            )
            .confidence(Confidence::High)
            .hint("take it from those: `${{ contains(needs.*.result, 'failure') && 'failure' || 'success' }}`")
            .done();
    }
}

/// Tells whether a place is in the condition of a step.
fn asks(step: &Step, at: u32) -> bool {
    step.condition.as_ref().is_some_and(|own| own.span.start <= at && at < own.span.end)
}

/// Tells whether a step does nothing of which anybody wants to hear how it went.
fn only_prepares(facts: &StepFacts) -> bool {
    use Kind::{Cache, Checkout, Download, Setup, Trivial};
    facts.works.iter().all(|done| matches!(done.work.kind, Cache | Checkout | Download | Setup | Trivial))
}
