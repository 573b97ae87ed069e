//! A job speaks for a commit that it has not checked out.

use kapell_spec::github::{Job, Step};
use kapell_view::audit::{Confidence, Severity};

use crate::github::{Flow, comments, facts::Done, script::Command};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/wrong-commit.md`.
pub(super) static RULE: Rule = Rule {
    name: "wrong-commit",
    summary: "a job speaks for a commit that it has not checked out",
    group: Group::Gates,
    anti_pattern: None,
    focus: Focus::State,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/wrong-commit.md"),
    check,
};

/// Words of whatever brings another commit than the one that the checkout takes by itself.
const BRINGS: &[&str] = &[
    "gh pr checkout",
    "git checkout",
    "git switch",
    "git fetch",
    "git pull",
    "git reset",
    "git clone",
    "git worktree",
    "refs/pull",
    "head.sha",
    "head.ref",
    "head_ref",
    "headRefOid",
    "headRefName",
    "merge_commit_sha",
];

/// Words of comments that say that this commit is meant.
const REASONS: &[&str] =
    &["base", "trusted", "default branch", "main branch", "on purpose", "not the pull request"];

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        let look: Look = match only_event(flow) {
            Some("repository_dispatch") => released,
            Some("issue_comment") => commented,
            Some("pull_request_target") => targeted,
            _ => continue,
        };
        tell(flow, &wrong(flow, look), report);
    }
}

/// What a job does with the commit that it has checked out, though it speaks for another one.
struct Deed<'a> {
    /// The step that does it.
    step: &'a Step,
    /// What it does, behind the name of the job.
    what: &'static str,
    /// What helps.
    hint: &'static str,
}

/// A job that speaks for another commit.
struct Wrong<'a> {
    job: &'a Job,
    checkout: &'a Step,
    deed: Deed<'a>,
}

/// Finds what a job, of this number and text, does with a commit that is not the one it speaks for.
type Look = for<'a> fn(&'a Flow, usize, &str) -> Option<Deed<'a>>;

/// Finds the jobs that take the commit of their event alone, and of which `look` finds that they speak for another.
fn wrong(flow: &Flow, look: Look) -> Vec<Wrong<'_>> {
    let of_job = |(at, job): (usize, &'_ Job)| {
        let text = flow.text.get(job.span.range()).unwrap_or_default();
        if BRINGS.iter().any(|word| text.contains(word)) {
            return None;
        }
        let job = &flow.model.jobs[at];
        Some(Wrong { job, checkout: plain_checkout(job)?, deed: look(flow, at, text)? })
    };
    flow.jobs().filter_map(of_job).collect()
}

/// Returns the event of a workflow that is started by one alone.
fn only_event(flow: &Flow) -> Option<&str> {
    match &flow.model.events[..] {
        [event] => Some(&event.name.text),
        _ => None,
    }
}

/// Returns the checkout of a job that has one only, and leaves it to the event which commit that takes.
fn plain_checkout(job: &Job) -> Option<&Step> {
    let mut checkouts = job.steps.iter().filter(|step| step.is("actions/checkout"));
    let (step, None) = (checkouts.next()?, checkouts.next()) else { return None };
    let local = |step: &Step| matches!(&step.uses, Some((text, _)) if text.starts_with("./"));
    let plain = ["ref", "repository", "path"].iter().all(|key| step.input(key).is_none());
    (plain && !job.steps.iter().any(local)).then_some(step)
}

/// Where a payload says what is released.
const PAYLOAD: &[&str] =
    &["client_payload.tag", "client_payload.ref", "client_payload.version", "client_payload.release"];

/// Actions that put files to a release, and the inputs that name it.
const UPLOADS: &[(&str, &[&str])] = &[
    ("softprops/action-gh-release", &["tag_name", "name"]),
    ("ncipollo/release-action", &["tag", "name"]),
    ("svenstaro/upload-release-action", &["tag"]),
];

/// Files for the release that a message names are built from the default branch.
///
/// Source: <https://docs.github.com/en/actions/reference/workflows-and-actions/events-that-trigger-workflows#repository_dispatch>:
/// `GITHUB_SHA` is the last commit on the default branch.
fn released<'a>(flow: &'a Flow, at: usize, text: &str) -> Option<Deed<'a>> {
    let head = flow.text.split_once("\njobs:").map_or("", |(head, _)| head);
    if !PAYLOAD.iter().any(|word| text.contains(word) || head.contains(word)) {
        return None;
    }
    let by_command = |command: &Command| command.words.iter().take(3).eq(["gh", "release", "upload"]);
    let (step, _) = flow.steps(at).find(|(step, facts)| {
        let by_action = || {
            let inputs = UPLOADS.iter().find(|(name, _)| step.is(name)).map(|(_, inputs)| *inputs);
            let named = |key: &&str| step.input(key).is_some_and(|text| text.text.contains("client_payload"));
            inputs.is_some_and(|inputs| inputs.iter().any(named))
        };
        facts.commands.iter().any(by_command) || by_action()
    })?;
    Some(Deed {
        step,
        what: "builds the files of the release that the message names from the default branch",
        hint: "check out the tag: `ref:` with the one of the payload",
    })
}

/// A comment on a pull request has the default branch tested.
///
/// Source: <https://docs.github.com/en/actions/reference/workflows-and-actions/events-that-trigger-workflows#issue_comment>:
/// `GITHUB_SHA` is the last commit on the default branch.
fn commented<'a>(flow: &'a Flow, at: usize, _: &str) -> Option<Deed<'a>> {
    // The condition without its blanks.
    let condition = &flow.model.jobs[at].condition.as_ref()?.text;
    let condition: String = condition.split_whitespace().collect();
    let (before, after) = condition.split_once("github.event.issue.pull_request")?;
    if before.ends_with(['!', '(']) && before.contains('!') || after.starts_with("==null") {
        return None;
    }
    Some(Deed {
        step: judge(flow, at)?,
        what: "tests the default branch, and not the pull request that was commented on",
        hint: "check out `refs/pull/${{ github.event.issue.number }}/head`, of people who may run code here",
    })
}

/// Words of a job that looks at what was merged.
const MERGED: &[&str] = &["merged", "closed"];

/// What judges pull requests takes the default branch.
///
/// Source: <https://docs.github.com/en/actions/reference/workflows-and-actions/events-that-trigger-workflows#pull_request_target>:
/// `GITHUB_SHA` is the last commit on the default branch, and was that of the branch which it is for until December 2025.
fn targeted<'a>(flow: &'a Flow, at: usize, text: &str) -> Option<Deed<'a>> {
    let types = flow.model.event("pull_request_target").and_then(|event| event.filter("types"));
    let commits = types.is_none_or(|types| types.items.iter().any(|item| &*item.text == "synchronize"));
    if !commits || MERGED.iter().any(|word| text.contains(word)) {
        return None;
    }
    Some(Deed {
        step: judge(flow, at)?,
        what: "tests the default branch, and not what the pull request changes",
        hint: "start it on `pull_request`, which needs no secrets to test",
    })
}

/// Returns the first step that tests what was checked out.
fn judge(flow: &Flow, at: usize) -> Option<&Step> {
    let tests = |done: &Done| done.command.is_some() && done.work.kind.checks();
    flow.steps(at).find(|(_, facts)| facts.works.iter().any(tests)).map(|(step, _)| step)
}

fn tell(flow: &Flow, found: &[Wrong<'_>], report: &mut Report<'_>) {
    let [first, rest @ ..] = found else { return };
    let message = format!("`{}` {}", first.job.id.text, first.deed.what);
    let mut draft = report.add(flow.file, first.checkout.name_span(), message).hint(first.deed.hint);
    draft = draft.also(flow.file, first.deed.step.name_span(), "done with that");
    for other in rest {
        draft = draft.also(flow.file, other.checkout.name_span(), "the same here");
    }
    match comments::explains(flow, first.checkout.span, 3, REASONS) {
        Some(comment) => draft.explained(comment).done(),
        None => draft.done(),
    }
}
