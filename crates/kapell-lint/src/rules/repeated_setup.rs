//! The same set-up is repeated in many jobs.

use crate::github::{Flow, tools::Kind};
use crate::{
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};
use kapell_spec::github::Step;
use kapell_view::audit::{Confidence, Severity};

/// See `docs/rules/repeated-setup.md`.
pub(super) static RULE: Rule = Rule {
    name: "repeated-setup",
    summary: "The same set-up is repeated in many jobs",
    group: Group::Reuse,
    anti_pattern: Some(AntiPattern::Context),
    focus: Focus::State,
    severity: Severity::Low,
    confidence: Confidence::Medium,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/repeated-setup.md"),
    check,
};

/// How many jobs repeat it, and how many steps they repeat, before it is worth a word.
const JOBS: usize = 4;
const STEPS: usize = 4;

fn check(repository: &Repository, report: &mut Report<'_>) {
    let mut found: Vec<(Vec<String>, &Flow, usize)> = Vec::new();
    for flow in &repository.github.flows {
        for (at, _) in flow.jobs() {
            let prefix = prefix(flow, at);
            if prefix.len() >= STEPS {
                found.push((prefix[..STEPS].to_vec(), flow, at));
            }
        }
    }
    let mut told: Vec<Vec<String>> = Vec::new();
    for (start, flow, at) in &found {
        if told.contains(start) {
            continue;
        }
        told.push(start.clone());
        let same: Vec<&(Vec<String>, &Flow, usize)> =
            found.iter().filter(|(other, ..)| other == start).collect();
        if same.len() < JOBS {
            continue;
        }
        let job = &flow.model.jobs[*at];
        let mut draft = report
            .add(
                flow.file,
                job.steps[0].span,
                format!("the first {STEPS} steps of `{}` are repeated in {} jobs", job.id.text, same.len()),
            )
            .hint("make them one composite action in `.github/actions`");
        for (_, flow, at) in &same[1..] {
            draft = draft.also(flow.file, flow.job_span(*at), "the same steps");
        }
        draft.done();
    }
}

/// Returns the steps that set a job up, without the values of its matrix and versions.
fn prefix(flow: &Flow, at: usize) -> Vec<String> {
    let setup = |step: &Step, facts: &crate::github::StepFacts| {
        step.condition.is_none()
            && !facts.works.is_empty()
            && facts.works.iter().all(|done| {
                matches!(
                    done.work.kind,
                    Kind::Checkout | Kind::Setup | Kind::Install | Kind::Cache | Kind::Trivial
                )
            })
            || facts.works.iter().all(|done| done.text.starts_with("curl ") || done.text == "sh")
                && !facts.works.is_empty()
    };
    flow.steps(at)
        // A check of the version between changes nothing.
        .filter(|(step, facts)| {
            step.uses.is_some() || facts.works.iter().any(|done| done.work.kind != Kind::Trivial)
        })
        .take_while(|(step, facts)| setup(step, facts))
        .map(|(step, _)| match &step.uses {
            Some((text, _)) => text.text.split('@').next().unwrap_or_default().to_owned(),
            None => step.script().lines().next().unwrap_or_default().trim().to_owned(),
        })
        .collect()
}
