//! Groups that hold nothing of a pull request: the checks of one stop those of all others.

use kapell_spec::github::{Concurrency, Event, Job};
use kapell_view::audit::Severity;

use super::{plain, stops};
use crate::{
    github::{Flow, carry, tools::Kind},
    rule::Report,
};

/// Looks at the group of a workflow that checks pull requests, and at those of its jobs.
pub(super) fn check(flow: &Flow, report: &mut Report<'_>) {
    if !flow.starts("pull_request") && !flow.starts("pull_request_target") || flow.starts("workflow_call") {
        return;
    }
    // A device, or a place to deploy to, is one for all: the newest is wanted there.
    let shared =
        |(at, job): (usize, &Job)| job.environment.is_some() || carry::changes(flow, at) || is_device(job);
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
    report
        .add(
            flow.file,
            group.span,
            format!(
                "a push to one pull request cancels the runs of `{}` for all others: the group holds nothing of it",
                flow.name()
            ),
        )
        .severity(Severity::High)
        .hint("put `${{ github.ref }}` into the group")
        .done();
}

/// Tells whether a job runs on a machine of its own: its labels say more of it than what it can run, or nothing.
fn is_device(job: &Job) -> bool {
    const ANY: &[&str] = &["self-hosted", "linux", "windows", "macos", "x64", "x86", "arm", "arm64"];
    let own = job.runs_on.iter().any(|label| label.text.contains("self-hosted"));
    own && (job.runs_on.len() < 2
        || !job.runs_on.iter().all(|label| ANY.contains(&&*label.text.to_ascii_lowercase())))
}

/// The branch of a pull request tells those apart, and is empty for a push: all branches share one group then.
///
/// Source: GitHub, "Contexts reference", `github.head_ref`: only set for events of pull requests.
pub(super) fn on_push(flow: &Flow, report: &mut Report<'_>) {
    let several = |event: &Event| {
        let branches = event.filter("branches");
        let several = branches.is_none_or(|filter| {
            filter.items.len() > 1 || filter.items.iter().any(|item| item.text.contains('*'))
        });
        several && (branches.is_some() || event.filter("tags").is_none())
    };
    let pushed = flow.model.event("push").is_some_and(several) && flow.starts("pull_request");
    let own = |group: &Concurrency| {
        let text = group.group.as_ref().map(|group| plain(&group.text)).unwrap_or_default();
        text.contains(HEAD) && is_same(&text.replace(HEAD, ""))
    };
    let group = flow.model.concurrency.as_ref().filter(|group| pushed && stops(group) && own(group));
    let Some(group) = group.and_then(|own| own.group.as_ref()) else { return };
    let message = "`github.head_ref` is empty on `push`: a push to one branch cancels the runs of all others";
    report
        .add(flow.file, group.span, message.to_owned())
        .severity(Severity::Medium)
        .hint("write `${{ github.head_ref || github.ref }}`")
        .done();
}

/// The branch of a pull request in the name of a group, as [`plain`] has it.
const HEAD: &str = "${{github.head_ref}}";

/// Tells whether a group stops what runs in it and is the same for all pull requests.
fn is_wide(concurrency: &Concurrency) -> bool {
    let Some(group) = concurrency.group.as_ref().filter(|_| stops(concurrency)) else { return false };
    is_same(&plain(&group.text))
}

/// Tells whether a group, as [`plain`] has it, is the same for all branches and pull requests of a workflow.
pub(super) fn is_same(group: &str) -> bool {
    /// What is the same for all of them, or nearly.
    const SAME: &[&str] = &[
        "${{github.workflow}}",
        "${{github.base_ref}}",
        "${{github.event_name}}",
        "${{github.repository}}",
        "${{github.job}}",
    ];
    let mut text = group.to_owned();
    for word in SAME {
        text = text.replace(word, "");
    }
    !text.contains("${{")
}
