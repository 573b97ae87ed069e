//! A job builds again what a job before it has built and uploaded.

use crate::github::{Flow, carry, cost, intent, tools::Kind};
use crate::{
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule, WORTH_SECONDS},
};
use kapell_view::audit::{Confidence, Severity};

/// See `docs/rules/rebuild-instead-of-artifact.md`.
pub(super) static RULE: Rule = Rule {
    name: "rebuild-instead-of-artifact",
    summary: "A job builds again what a job before it has built and uploaded",
    group: Group::Dead,
    anti_pattern: Some(AntiPattern::Context),
    focus: Focus::Performance,
    severity: Severity::Medium,
    confidence: Confidence::Medium,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/rebuild-instead-of-artifact.md"),
    check,
};

/// Builds that take less are not worth an artifact, in seconds.
const LEAST: u32 = 20;

fn check(repository: &Repository, report: &mut Report<'_>) {
    let github = &repository.github;
    for flow in &github.flows {
        for (at, _) in flow.jobs() {
            for &up in &flow.closures[at] {
                let first = &flow.model.jobs[up];
                if first.matrix.is_some() {
                    continue;
                }
                let Some(built) = builds(flow, up).into_iter().find(|built| built.1 >= LEAST) else {
                    continue;
                };
                again(repository, flow, (at, up), &built, report);
            }
        }
    }
}

/// Returns the build commands of a job with their time.
fn builds(flow: &Flow, job: usize) -> Vec<(String, u32)> {
    let facts =
        flow.steps(job).filter(|(step, _)| step.condition.is_none()).flat_map(|(_, facts)| &facts.works);
    facts
        .filter(|done| done.work.kind == Kind::Build && done.command.is_some())
        .map(|done| (done.text.clone(), done.work.seconds))
        .collect()
}

fn again(
    repository: &Repository,
    flow: &Flow,
    (at, up): (usize, usize),
    (command, seconds): &(String, u32),
    report: &mut Report<'_>,
) {
    let github = &repository.github;
    let (first, job) = (&flow.model.jobs[up], &flow.model.jobs[at]);
    for (other, index) in github.deep(flow, at) {
        let second = &other.model.jobs[index];
        let same_system = job.uses.is_some()
            || first
                .runs_on
                .iter()
                .map(|label| &label.text)
                .eq(second.runs_on.iter().map(|label| &label.text));
        let takes = other.facts[index].iter().any(|facts| !facts.downloads.is_empty());
        // What is tried out again may be built again; what goes out should be what was tested.
        let uploaded = flow.facts[up].iter().any(|facts| !facts.uploads.is_empty());
        if second.matrix.is_some() || !same_system || takes || !uploaded && !carry::changes(other, index) {
            continue;
        }
        let again = other.steps(index).find(|(step, facts)| {
            step.condition.is_none()
                && facts.works.iter().any(|done| done.text == *command && done.work.kind == Kind::Build)
        });
        let Some((step, _)) = again else { continue };
        // Of a called workflow it is not known whether the step lies on the longest path through it.
        let sooner = match job.uses {
            None => cost::sooner(github, flow, repository.timings.as_ref(), at, *seconds),
            Some(_) => 0,
        };
        let draft = report
            .add(
                other.file,
                step.span,
                format!(
                    "`{}` runs `{command}` again, which `{}` has run{}",
                    second.id.text,
                    first.id.text,
                    if uploaded { " and uploaded" } else { ", and delivers what nobody has tested" }
                ),
            )
            .also(flow.file, first.id.span, "built here first")
            .spares(sooner)
            .severity(if *seconds < WORTH_SECONDS { Severity::Low } else { Severity::Medium })
            .hint("hand it on as an artifact, so that what is tested is what was built");
        match intent::explains(other, step.span, 6, &["again", "rebuild", "clean", "different", "fresh"]) {
            Some(comment) => draft.explained(comment).done(),
            None => draft.done(),
        }
        return;
    }
}
