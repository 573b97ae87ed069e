//! Groups that hold nothing of a pull request: the checks of one stop those of all others.

use kapell_spec::github::{Concurrency, Job};
use kapell_view::audit::Severity;

use super::{plain, stops};
use crate::{
    github::{Flow, carry, intent, tools::Kind},
    rule::Report,
};

/// Looks at the group of a workflow that checks pull requests, and at those of its jobs.
pub(super) fn check(flow: &Flow, report: &mut Report<'_>) {
    if !flow.starts("pull_request") && !flow.starts("pull_request_target") || flow.starts("workflow_call") {
        return;
    }
    // A device, or a place to deploy to, is one for all: the newest is wanted there.
    let shared = |(at, job): (usize, &Job)| {
        job.environment.is_some()
            || carry::changes(flow, at)
            || job.runs_on.iter().any(|label| label.text.contains("self-hosted"))
    };
    if flow.jobs().any(shared) {
        return;
    }
    let checks = flow.facts.iter().flatten().any(|facts| {
        facts.works.iter().any(|done| matches!(done.work.kind, Kind::Test | Kind::Lint | Kind::Build))
    });
    let groups = flow
        .model
        .concurrency
        .iter()
        .chain(flow.model.jobs.iter().filter_map(|job| job.concurrency.as_ref()));
    let Some(group) = groups.filter(|own| checks && is_wide(own)).find_map(|own| own.group.as_ref()) else {
        return;
    };
    let draft = report
        .add(
            flow.file,
            group.span,
            format!(
                "a push to one pull request cancels the runs of `{}` for all others: the group holds nothing of it",
                flow.name()
            ),
        )
        .severity(Severity::High)
        .hint("put `${{ github.ref }}` into the group");
    match intent::explains(
        flow,
        group.span,
        3,
        &["one at a time", "only one", "shared", "at once", "newest", "single"],
    ) {
        Some(comment) => draft.explained(comment).done(),
        None => draft.done(),
    }
}

/// Tells whether a group stops what runs in it and is the same for all pull requests.
fn is_wide(concurrency: &Concurrency) -> bool {
    /// What is the same for all of them, or nearly.
    const SAME: &[&str] = &[
        "${{github.workflow}}",
        "${{github.base_ref}}",
        "${{github.event_name}}",
        "${{github.repository}}",
        "${{github.job}}",
    ];
    let Some(group) = concurrency.group.as_ref().filter(|_| stops(concurrency)) else { return false };
    let mut text = plain(&group.text);
    for word in SAME {
        text = text.replace(word, "");
    }
    !text.contains("${{")
}
