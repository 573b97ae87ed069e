//! Groups by a ref that is the same for all runs: those of one pull request stop those of all others.

use kapell_spec::github::Event;
use kapell_view::audit::Severity;

use super::{plain, stops, too_wide::is_same};
use crate::{
    github::{Flow, carry},
    repository::Repository,
    rule::Report,
};

/// What stands for the ref in the name of a group, as [`plain`] has it.
const REFS: &[&str] = &["${{github.ref}}", "${{github.ref_name}}", "${{github.sha}}"];

/// The same with what is empty for events other than those of pull requests in front.
const EMPTY: &[&str] = &[
    "${{github.head_ref||",
    "${{github.event.pull_request.number||",
    "${{github.event.number||",
    "${{github.event.pull_request.head.ref||",
];

/// Looks at the group of a workflow that cancels what runs in it.
///
/// Sources: GitHub, "Events that trigger workflows": `GITHUB_REF` and `GITHUB_SHA` of `workflow_run` and `issue_comment` are the
/// default branch and its last commit; GitHub, changelog of 2025-11-07, "Actions pull_request_target and environment branch
/// protections changes": so are those of `pull_request_target`, which were those of the base before.
pub(super) fn check(repository: &Repository, flow: &Flow, report: &mut Report<'_>) {
    let own = flow.model.concurrency.as_ref().filter(|own| stops(own));
    let Some(group) = own.and_then(|own| own.group.as_ref()).filter(|_| !flow.starts("workflow_call")) else {
        return;
    };
    let wide = |event: &&Event| is_one(&plain(&group.text), &event.name.text);
    let mut events = flow.model.events.iter().filter(wide);
    let Some((event, what)) = events.find_map(|event| Some((event, several(repository, event)?))) else {
        return;
    };
    // A place to deploy to is one for all: the newest is wanted there, which is told of elsewhere.
    if flow.jobs().any(|(at, job)| job.environment.is_some() || carry::changes(flow, at)) {
        return;
    }
    report
        .add(
            flow.file,
            group.span,
            format!("on `{}` the ref is the default branch, so the runs for {what} share this group and cancel each other", event.name.text),
        )
        .severity(Severity::High)
        .also(flow.file, event.name.span, "started by this")
        .hint(match &*event.name.text {
            "workflow_run" => "put `${{ github.event.workflow_run.head_repository.full_name }}` and `${{ github.event.workflow_run.head_branch }}` into the group",
            "issue_comment" => "put `${{ github.event.issue.number }}` into the group",
            _ => "put `${{ github.event.pull_request.number }}` into the group",
        })
        .done();
}

/// Tells whether a group, as [`plain`] has it, is kept apart by nothing but a ref that is always the same on an event.
fn is_one(group: &str, event: &str) -> bool {
    let mut text = group.to_owned();
    for empty in EMPTY.iter().filter(|_| event != "pull_request_target") {
        text = text.replace(empty, "${{");
    }
    let by_ref = REFS.iter().any(|word| text.contains(word));
    for word in REFS {
        text = text.replace(word, "");
    }
    by_ref && is_same(&text)
}

/// Returns what an event with one ref comes from several of: pull requests that were checked, or comments.
fn several(repository: &Repository, event: &Event) -> Option<&'static str> {
    match &*event.name.text {
        "issue_comment" => Some("all issues and pull requests"),
        "pull_request_target" => Some("all pull requests"),
        "workflow_run" => {
            let pulls = |name: &str| {
                repository.github.flows.iter().any(|flow| {
                    (flow.run_name() == name || flow.name() == name)
                        && (flow.starts("pull_request") || flow.starts("pull_request_target"))
                })
            };
            // What is filtered by branches is mostly about one of them.
            let narrow = event.filter("branches").is_some();
            let names = event.filter("workflows").filter(|_| !narrow)?;
            names.items.iter().any(|item| pulls(&item.text)).then_some("all pull requests")
        }
        _ => None,
    }
}
