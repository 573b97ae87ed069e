//! A run that changes something outside can be cancelled half way.

use crate::github::{Flow, conditions::Run, intent, tools::Kind, world::World};
use crate::{
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};
use kapell_core::expr::Expr;
use kapell_spec::{
    finding::Span,
    github::{Concurrency, Step, Text},
};
use kapell_view::audit::FixClass;
use kapell_view::audit::{Confidence, Severity};

/// See `docs/rules/cancel-on-mutating.md`.
pub(super) static RULE: Rule = Rule {
    name: "cancel-on-mutating",
    summary: "A run that changes something outside can be cancelled half way",
    group: Group::Safety,
    anti_pattern: Some(AntiPattern::NoRollback),
    focus: Focus::Resilience,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/cancel-on-mutating.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        if let Some(concurrency) = &flow.model.concurrency {
            let all: Vec<usize> = (0..flow.model.jobs.len()).collect();
            look(repository, flow, concurrency, &all, report);
        }
        for (at, job) in flow.jobs() {
            if let Some(concurrency) = &job.concurrency {
                look(repository, flow, concurrency, &[at], report);
            }
        }
    }
}

/// Tells whether a value is true in a situation, if that is certain.
fn cancels(flow: &Flow, world: usize, cancel: &Text) -> Option<bool> {
    if cancel.is("true") {
        return Some(true);
    }
    if cancel.is("false") {
        return Some(false);
    }
    let inner = cancel.text.trim().strip_prefix("${{")?.strip_suffix("}}")?;
    let expr = Expr::parse(inner.trim()).ok()?;
    flow.scope(world, 0, false).truth(expr.root())
}

fn look(
    repository: &Repository,
    flow: &Flow,
    concurrency: &Concurrency,
    jobs: &[usize],
    report: &mut Report<'_>,
) {
    let Some(cancel) = &concurrency.cancel else { return };
    // A group with the run or the commit in it is shared by no two runs.
    let alone = concurrency.group.as_ref().is_some_and(|group| {
        ["run_id", "github.sha", "run_number", "run_attempt"].iter().any(|word| group.text.contains(word))
            && !group.text.contains("head_ref")
    });
    // On a pull request the ref is that of the pull request: only its own newer push cancels.
    let per_item = concurrency.group.as_ref().is_some_and(|group| {
        [
            "event.pull_request.number",
            "event.issue.number",
            "event.number",
            "github.ref ",
            "github.ref}",
            "github.ref_name",
            "github.head_ref",
        ]
        .iter()
        .any(|word| group.text.contains(word))
    });
    if alone {
        return;
    }
    let mut found: Option<(usize, Kind, Span)> = None;
    for &job in jobs {
        for (other, index) in repository.github.deep(flow, job) {
            let here = (0..flow.worlds.len()).any(|world| {
                flow.runs[world][job] != Run::Never
                    && cancels(flow, world, cancel) == Some(true)
                    && !(flow.worlds[world].is_pull_request() && per_item)
                    && !(once(&flow.worlds[world]) && per_item)
            });
            if !here {
                continue;
            }
            for (step, facts) in other.steps(index) {
                for done in facts.works.iter().filter(|done| done.work.kind.delivers()) {
                    // A step that only runs in situations that do not cancel.
                    let runs = !std::ptr::eq(other, flow)
                        || (0..flow.worlds.len()).any(|world| {
                            flow.runs[world][job] != Run::Never
                                && cancels(flow, world, cancel) == Some(true)
                                && !(flow.worlds[world].is_pull_request() && per_item)
                                && !(once(&flow.worlds[world]) && per_item)
                                && pushes(flow, world, job, step)
                                && step.condition.as_ref().is_none_or(|condition| {
                                    flow.scope(world, job, true).holds(condition) != Some(false)
                                })
                        });
                    let weight = |kind: Kind| if kind == Kind::Pages { 0 } else { 1 };
                    if runs && found.is_none_or(|(_, kind, _)| weight(done.work.kind) > weight(kind)) {
                        let span = if std::ptr::eq(other, flow) { step.span } else { flow.job_span(job) };
                        found = Some((job, done.work.kind, span));
                    }
                }
            }
        }
    }
    let Some((job, kind, span)) = found else { return };
    let name = &flow.model.jobs[job].id.text;
    let at = cancel.span;
    let draft = report
        .add(flow.file, at, format!("a newer run cancels `{name}` while it {}", kind.verb()))
        .severity(if kind == Kind::Pages { Severity::Low } else { Severity::High })
        .also(flow.file, span, "may end half way")
        .hint("let it finish: `cancel-in-progress: false`");
    let draft = if cancel.is("true") && !cancel.aliased {
        draft.fix(
            "let a run finish before the next one starts",
            FixClass::Safe,
            [(flow.file, at, "false".to_owned())],
        )
    } else {
        draft
    };
    match intent::explains(
        flow,
        at,
        1,
        &["safe to cancel", "idempotent", "superseded", "cancel", "only the latest", "latest wins"],
    ) {
        Some(comment) => draft.explained(comment).done(),
        None => draft.done(),
    }
}

/// Tells whether a step that builds an image pushes it in a situation: `push: ${{ github.event_name == 'release' }}`.
fn pushes(flow: &Flow, world: usize, job: usize, step: &Step) -> bool {
    let Some(push) = step.input("push") else { return true };
    let Some(inner) = push.text.trim().strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}")) else {
        return true;
    };
    let Ok(expr) = Expr::parse(inner.trim()) else { return true };
    flow.scope(world, job, true).truth(expr.root()) != Some(false)
}

/// Tells whether a ref comes once: a tag is pushed and released once, so no newer run shares a group with its name in it.
fn once(world: &World) -> bool {
    matches!(world.event.as_deref(), Some("push" | "release")) && world.reference_type == Some("tag")
}
