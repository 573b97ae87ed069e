//! Something is released or deployed in a way that leaves half of it behind when a later part fails.

use crate::github::{Flow, tools::Kind};
use crate::{
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};
use kapell_view::audit::{Confidence, Severity};

/// See `docs/rules/no-rollback.md`.
pub(super) static RULE: Rule = Rule {
    name: "no-rollback",
    summary: "Something is released or deployed in a way that leaves half of it behind when a later part fails",
    group: Group::Safety,
    anti_pattern: Some(AntiPattern::NoRollback),
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::Medium,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/no-rollback.md"),
    check,
};

/// Words of a way back.
const BACK: &[&str] = &[
    "rollback",
    "roll back",
    "rolled back",
    "undo",
    "--atomic",
    "revert",
    "rollout undo",
    "rollout status",
    "--delete",
    "draft",
];

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        let lower = flow.text.to_ascii_lowercase();
        if BACK.iter().any(|word| lower.contains(word)) {
            continue;
        }
        for (at, job) in flow.jobs() {
            early_tag(flow, at, report);
            partial_release(flow, at, report);
            if job.steps.iter().any(|step| {
                step.condition.as_ref().is_some_and(|condition| condition.text.contains("failure()"))
            }) {
                continue;
            }
            half_deployed(flow, at, report);
        }
    }
}

/// A commit and a tag are pushed before anything is built that they stand for.
fn early_tag(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let tags = flow
        .steps(at)
        .find(|(_, facts)| facts.does(Kind::Tag) && facts.does(Kind::Push) || facts.does(Kind::Tag));
    let Some((step, _)) = tags else { return };
    let before = flow.closures[at]
        .iter()
        .any(|&up| flow.facts[up].iter().any(|facts| facts.does(Kind::Build) || facts.does(Kind::Test)))
        || flow.facts[at].iter().any(|facts| facts.does(Kind::Build) || facts.does(Kind::Test));
    let built = flow.jobs().find(|(other, _)| {
        flow.closures[*other].contains(&at) && flow.facts[*other].iter().any(|facts| facts.does(Kind::Build))
    });
    let cleans = flow.jobs().any(|(other, job)| {
        flow.closures[other].contains(&at)
            && job.condition.as_ref().is_some_and(|condition| condition.text.contains("failure()"))
    });
    let (false, Some((_, builder)), false) = (before, built, cleans) else { return };
    let span = step.name.as_ref().map_or(step.span, |name| name.span);
    report
        .add(
            flow.file,
            span,
            format!(
                "`{}` pushes a tag before `{}` has built what it stands for; if that fails, the tag stays",
                flow.model.jobs[at].id.text, builder.id.text
            ),
        )
        .also(flow.file, builder.id.span, "may fail afterwards")
        .hint("push the tag last, or take it back in a job with `if: failure()`")
        .done();
}

/// Each cell of a matrix adds its part to one release, although another cell may fail.
fn partial_release(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let several =
        job.matrix.as_ref().is_some_and(|matrix| matrix.cells().is_none_or(|cells| cells.len() > 1));
    let apart = job.fail_fast.as_ref().is_some_and(|text| text.is("false"));
    let Some((step, _)) = flow.steps(at).find(|(_, facts)| facts.does(Kind::Release)) else { return };
    let builds = flow.facts[at].iter().any(|facts| facts.does(Kind::Build));
    if !several || !apart || !builds {
        return;
    }
    let span = step.name.as_ref().map_or(step.span, |name| name.span);
    report
        .add(
            flow.file,
            span,
            format!(
                "each cell of `{}` adds to the release by itself: if one fails, half a release is out",
                job.id.text
            ),
        )
        .hint("collect artifacts in a job that needs all cells, and release there")
        .done();
}

/// Commands that change a running system one part after the other.
fn half_deployed(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let commands = [
        "kubectl apply",
        "kubectl set image",
        "helm upgrade",
        "helm install",
        "ssh ",
        "rsync ",
        "scp ",
        "aws ecs update-service",
    ];
    for (step, facts) in flow.steps(at) {
        let found = facts.works.iter().find(|done| {
            done.work.kind == Kind::Deploy
                && commands.iter().any(|command| format!("{} ", done.text).starts_with(command))
        });
        let Some(done) = found else { continue };
        let span = step.name.as_ref().map_or(step.span, |name| name.span);
        let what: String = done.text.chars().take(40).collect();
        report
            .add(
                flow.file,
                span,
                format!("`{}` deploys with `{what}` and has no way back if that fails", job.id.text),
            )
            .hint("add a step with `if: failure()` that restores the version before, or deploy atomically")
            .done();
        return;
    }
}
