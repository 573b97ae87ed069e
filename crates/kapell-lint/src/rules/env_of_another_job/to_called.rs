//! Variables of a workflow whose jobs are all done by others.

use kapell_view::audit::Severity;

use crate::{github::Flow, repository::Repository, rule::Report, rule::names};

/// Tells of variables that reach no job: each is a workflow that is called, and those see only variables of their own.
///
/// Source: <https://docs.github.com/en/actions/reference/workflows-and-actions/reusing-workflow-configurations#limitations>:
/// variables set in an `env` context defined at the workflow level in the caller workflow are not propagated to the called one.
pub(super) fn check(repository: &Repository, flow: &Flow, report: &mut Report<'_>) {
    let jobs = &flow.model.jobs;
    if flow.model.env.is_empty() || jobs.is_empty() || jobs.iter().any(|job| job.uses.is_none()) {
        return;
    }
    // One that each of them sets for itself as well is only said twice.
    let says = |called: &Flow, name: &str| called.text.contains(&format!("{name}:"));
    let lost = flow.model.env.iter().map(|(name, _)| name).filter(|name| {
        !jobs.iter().all(|job| repository.github.called(job).is_some_and(|called| says(called, &name.text)))
    });
    let lost: Vec<_> = lost.collect();
    let Some(first) = lost.first() else { return };
    let message = format!(
        "{} reach no job: all jobs are workflows that are called, and variables are not handed to those",
        names(lost.iter().map(|name| &*name.text))
    );
    let message = if lost.len() == 1 { message.replacen(" reach ", " reaches ", 1) } else { message };
    report
        .add(flow.file, first.span, message)
        .severity(Severity::Medium)
        .hint("set them in the workflow that is called, or hand them over as inputs")
        .done();
}
