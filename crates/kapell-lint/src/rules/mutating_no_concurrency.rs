//! Two runs can change the same thing outside at the same time.

use crate::github::{Flow, intent, tools::Kind};
use crate::{
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};
use kapell_view::audit::{Confidence, Severity};

/// See `docs/rules/mutating-no-concurrency.md`.
pub(super) static RULE: Rule = Rule {
    name: "mutating-no-concurrency",
    summary: "Two runs can change the same thing outside at the same time",
    group: Group::Safety,
    anti_pattern: Some(AntiPattern::SharedState),
    focus: Focus::Conflicts,
    severity: Severity::Medium,
    confidence: Confidence::Medium,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/mutating-no-concurrency.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        if flow.model.concurrency.is_some() {
            continue;
        }
        // Several ways to start it, or one that comes often.
        let pushed = flow
            .model
            .event("push")
            .is_some_and(|push| push.filter("tags").is_none() || push.filter("branches").is_some());
        let starts = ["schedule", "workflow_dispatch", "release", "workflow_run", "repository_dispatch"]
            .iter()
            .filter(|event| flow.starts(event))
            .count()
            + usize::from(pushed);
        let found: Vec<(usize, &str, kapell_spec::finding::Span)> =
            flow.jobs().filter_map(|(at, _)| mutation(flow, at, pushed, starts)).collect();
        let [(at, what, span), rest @ ..] = &found[..] else { continue };
        let pages = found.iter().all(|(_, what, _)| *what == PAGES);
        let job = &flow.model.jobs[*at];
        let mut draft = report
            .add(
                flow.file,
                flow.job_span(*at),
                format!("two runs of `{}` can {what} at the same time", job.id.text),
            )
            .also(flow.file, *span, "here")
            .severity(if pages || !is_often(flow) { Severity::Low } else { Severity::Medium })
            .hint("add a `concurrency` group with `cancel-in-progress: false`");
        for (at, what, _) in rest {
            draft = draft.also(flow.file, flow.job_span(*at), format!("can {what} too"));
        }
        match intent::explains(flow, job.id.span, 1, &["concurren", "race", "idempot", "parallel"]) {
            Some(comment) => draft.explained(comment).done(),
            None => draft.done(),
        }
    }
}

/// Pages are replaced as a whole: the next run mends what two at once got wrong.
const PAGES: &str = "publish pages";

/// Branches that several people push to within minutes.
const BUSY: &[&str] = &["main", "master", "develop", "dev", "trunk", "next", "*", "**"];

/// Tells whether two runs at once are to be expected: it takes two pushes within the time of one run.
fn is_often(flow: &Flow) -> bool {
    let push = flow.model.event("push");
    push.is_some_and(|push| {
        push.filter("branches")
            .is_none_or(|filter| filter.items.iter().any(|item| BUSY.contains(&&*item.text)))
    })
}

/// Returns what a job changes that two runs could change at once.
fn mutation(
    flow: &Flow,
    at: usize,
    pushed: bool,
    starts: usize,
) -> Option<(usize, &'static str, kapell_spec::finding::Span)> {
    let job = &flow.model.jobs[at];
    if job.concurrency.is_some() {
        return None;
    }
    for (step, facts) in flow.steps(at) {
        for done in &facts.works {
            let script = step.script();
            let what = match done.work.kind {
                Kind::Deploy if pushed || starts >= 3 => "deploy",
                Kind::Pages if pushed => PAGES,
                // A branch of its own, or a rebase before the push, is safe.
                Kind::Push if pushed && done.command.is_some() && !own_branch(script) => {
                    "push to the same branch"
                }
                _ => continue,
            };
            return Some((at, what, step.span));
        }
    }
    None
}

fn own_branch(script: &str) -> bool {
    ["rebase", "checkout -b", "switch -c", "push origin HEAD:", "push -u", "--force", "-f "]
        .iter()
        .any(|word| script.contains(word))
}
