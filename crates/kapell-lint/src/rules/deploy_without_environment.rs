//! A deployment that no environment guards or records.

use kapell_view::audit::{Confidence, Severity};

use super::deploy_without_rollback::is_trial;
use crate::{
    github::{Flow, facts::Done, tools::Kind},
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// The rule.
pub static RULE: Rule = Rule {
    name: "deploy-without-environment",
    summary: "a job that deploys without naming an environment, while others name one",
    group: Group::CrossSystem,
    anti_pattern: None,
    focus: Focus::State,
    severity: Severity::Medium,
    confidence: Confidence::Medium,
    depth: Depth::Deep,
    page: include_str!("../../docs/rules/deploy-without-environment.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    let flows = &repository.github.flows;
    let named = flows.iter().find_map(|flow| {
        let guarded = |&(at, _): &(usize, &kapell_spec::github::Job)| {
            flow.model.jobs[at].environment.is_some() && deploys(flow, at).is_some()
        };
        flow.jobs().find(guarded).map(|(at, _)| (flow, at))
    });
    for flow in flows {
        for (at, job) in flow.jobs().filter(|(_, job)| job.environment.is_none()) {
            let Some(done) = deploys(flow, at).filter(|_| !is_trial(flow, at)) else { continue };
            let what = done.text.lines().next().unwrap_or_default();
            let message = format!("`{}` deploys with `{what}` and names no environment", &*job.id);
            let draft = report.add(flow.file, flow.job_span(at), message);
            let draft =
                draft.hint("name it with `environment:`, so that approvals, secrets and history apply");
            match named {
                Some((other, guarded)) => {
                    draft.also(other.file, other.job_span(guarded), "this deployment names one").done();
                }
                // A repository that uses none has decided so, or has one that deploys only.
                None => draft.severity(Severity::Low).done(),
            }
        }
    }
}

/// Finds what a job deploys with; copying files about may be anything.
fn deploys(flow: &Flow, job: usize) -> Option<&Done> {
    let copies = ["rsync", "scp", "ssh"];
    let works = flow.facts[job].iter().flat_map(|facts| &facts.works);
    let mut deploys = works.filter(|done| done.work.kind == Kind::Deploy);
    deploys.find(|done| !copies.iter().any(|copy| done.text.starts_with(copy)))
}
