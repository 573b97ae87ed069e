//! A workflow deploys on the push that another one tests, and does not wait for it.

use kapell_spec::github::Event;
use kapell_view::audit::Severity;

use super::{by_own_script, delivers, tests};
use crate::{
    github::{Flow, Github, tools::Kind},
    rule::Report,
};

/// What waits for other workflows, or asks for what became of them.
const WAITS: &[&str] = &[
    "wait-on-check",
    "wait-for",
    "check-runs",
    "check-suites",
    "checkSuites",
    "commits/",
    "gh run ",
    "listForRef",
    "combined-status",
    "workflow_run",
];

/// Branches that are delivered from.
const MAIN: &[&str] = &["main", "master", "trunk", "production", "prod"];

/// Tells of the first job of a workflow that deploys on every push to the main branch while only another workflow tests it.
pub(super) fn check(github: &Github, flow: &Flow, report: &mut Report<'_>) {
    let Some(push) = flow.model.event("push").filter(|push| on_main(push)) else { return };
    let others = ["pull_request", "workflow_run", "workflow_call", "schedule", "release", "merge_group"];
    if others.iter().any(|event| flow.starts(event)) || WAITS.iter().any(|word| flow.text.contains(word)) {
        return;
    }
    // Whoever tests by itself, or by what it calls, has its own gate.
    let checks =
        |at: usize| tests(github, flow, at) || by_own_script(flow, at) || flow.model.jobs[at].uses.is_some();
    if flow.jobs().any(|(at, _)| checks(at)) {
        return;
    }
    let found = flow.jobs().find(|(at, _)| delivers(flow, *at) == Some(Kind::Deploy));
    let Some((_, job)) = found.filter(|(_, job)| job.condition.is_none()) else { return };
    let tested = github.flows.iter().filter(|other| !std::ptr::eq(*other, flow)).find_map(|other| {
        let event = other.model.event("push").filter(|event| on_same(push, event))?;
        let (_, job) = other.jobs().find(|&(at, job)| {
            tests(github, other, at) && job.continue_on_error.is_none() && job.condition.is_none()
        })?;
        let gives = other.jobs().any(|(at, _)| delivers(other, at).is_some());
        (!gives).then_some((other, event, job))
    });
    let Some((other, event, test)) = tested else { return };
    // What comes by a pull request has been tested there, if people keep to that.
    let before = other.starts("pull_request");
    report
        .add(
            flow.file,
            job.id.span,
            format!(
                "`{}` deploys on the push that `{}` tests, and does not wait for it",
                job.id.text,
                other.name()
            ),
        )
        .severity(if before { Severity::Medium } else { Severity::High })
        .also(other.file, event.name.span, "starts on the same push")
        .also(other.file, test.id.span, "may still fail")
        .hint(format!(
            "start it by `workflow_run` of `{}` when that succeeded, or call the tests as a job",
            other.name()
        ))
        .done();
}

/// Tells whether an event is a push to a main branch that is named.
fn on_main(push: &Event) -> bool {
    push.filter("tags").is_none()
        && push.filter("branches").is_some_and(|branches| {
            branches.items.iter().all(|item| MAIN.contains(&&*item.text)) && !branches.items.is_empty()
        })
}

/// Tells whether every push of one event is one of another, whatever it changes.
fn on_same(push: &Event, other: &Event) -> bool {
    let named = |event: &Event| -> Vec<String> {
        let branches = event.filter("branches").map(|filter| &filter.items[..]).unwrap_or_default();
        branches.iter().map(|item| item.text.to_string()).collect()
    };
    let (own, theirs) = (named(push), named(other));
    let plain = ["paths", "paths-ignore", "branches-ignore"].iter().all(|name| other.filter(name).is_none());
    let any = theirs.is_empty() && other.filter("tags").is_none();
    plain && (any || own.iter().all(|branch| theirs.iter().any(|known| known == branch || known == "**")))
}
