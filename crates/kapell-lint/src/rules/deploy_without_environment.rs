//! A deployment that no environment guards or records.

use std::cell::LazyCell;

use kapell_core::expr::Expr;
use kapell_spec::github::{Condition, Step};
use kapell_view::audit::{Confidence, Severity};

use super::deploy_without_rollback::{is_trial, restarts};
use crate::{
    github::{
        Flow,
        conditions::{Run, Scope},
        facts::Done,
        tools::{self, Kind},
    },
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/deploy-without-environment.md`.
pub(super) static RULE: Rule = Rule {
    name: "deploy-without-environment",
    summary: "a job that deploys without naming an environment, while others name one",
    group: Group::CrossSystem,
    anti_pattern: None,
    focus: Focus::State,
    severity: Severity::Medium,
    confidence: Confidence::Medium,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/deploy-without-environment.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    let flows = &repository.github.flows;
    for flow in repository.asked_flows() {
        for (at, _) in flow.jobs() {
            beside_its_environment(flow, at, report);
        }
    }
    let named = flows.iter().find_map(|flow| {
        let guarded = |&(at, _): &(usize, &kapell_spec::github::Job)| {
            flow.model.jobs[at].environment.is_some() && deploys(flow, at).is_some()
        };
        flow.jobs().find(guarded).map(|(at, _)| (flow, at))
    });
    for flow in repository.asked_flows() {
        beside_pages(flow, report);
        beside_script(flow, report);
        for (at, job) in flow.jobs().filter(|(_, job)| job.environment.is_none()) {
            let Some(done) = deploys(flow, at).filter(|_| !is_trial(flow, at) && !takes_away(flow, at))
            else {
                continue;
            };
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
                None => draft.severity(Severity::Info).done(),
            }
        }
    }
}

/// Tells whether a job takes away again what it has put up: that was for its tests.
fn takes_away(flow: &Flow, at: usize) -> bool {
    let commands = flow.facts[at].iter().flat_map(|facts| &facts.commands);
    let ends = |command: &crate::github::script::Command| {
        command
            .inner()
            .iter()
            .skip(1)
            .take(3)
            .any(|word| matches!(word.as_str(), "destroy" | "uninstall" | "teardown"))
    };
    commands.into_iter().any(ends)
}

/// Pages that one job of a workflow brings out under an environment, and another one without.
fn beside_pages(flow: &Flow, report: &mut Report<'_>) {
    let brings = |at: usize| {
        let works = flow.facts[at].iter().flat_map(|facts| &facts.works);
        // Pages of GitHub have an environment of their own, or none at all.
        works.into_iter().find(|done| done.work.kind == Kind::Pages && !done.text.starts_with("actions/"))
    };
    let named =
        |&(at, job): &(usize, &kapell_spec::github::Job)| job.environment.is_some() && brings(at).is_some();
    let Some((guarded, _)) = flow.jobs().find(named) else { return };
    for (at, job) in flow.jobs().filter(|(_, job)| job.environment.is_none()) {
        let Some(done) = brings(at).filter(|_| !is_trial(flow, at) && deploys(flow, at).is_none()) else {
            continue;
        };
        let what = done.text.lines().next().unwrap_or_default();
        let message = format!("`{}` deploys with `{what}` and names no environment", &*job.id);
        report
            .add(flow.file, flow.job_span(at), message)
            .hint("name it with `environment:`, so that approvals, secrets and history apply")
            .also(flow.file, flow.job_span(guarded), "this deployment names one")
            .done();
    }
}

/// Names of where all people are, as arguments of a script or of jobs.
const LIVE: &[&str] = &["production", "prod", "live"];

/// Words of scripts that bring nothing out.
const ASKING: &[&str] =
    &["test", "check", "probe", "lint", "smoke", "verify", "build", "install", "setup", "notify", "health"];

/// Scripts of the repository that one job runs under an environment, and another one for production without any.
fn beside_script(flow: &Flow, report: &mut Report<'_>) {
    let scripts = |at: usize| {
        let commands = flow.facts[at].iter().flat_map(|facts| &facts.commands);
        commands.filter(|command| tools::is_own_script(command)).filter_map(|command| {
            let mut words = command.inner().iter().skip_while(|word| !word.contains('/'));
            let path = words.next()?;
            let asks = ASKING.iter().any(|word| path.to_ascii_lowercase().contains(word));
            let live = words.clone().any(|word| LIVE.contains(&&**word));
            (!asks).then_some((path.as_str(), live, command))
        })
    };
    let named = |at: usize| flow.model.jobs[at].environment.is_some();
    let mut all = flow.jobs().filter(|(at, _)| !named(*at));
    let found = all.find_map(|(at, job)| {
        let (path, _, command) = scripts(at).find(|(_, live, _)| *live)?;
        let same = |other: usize| scripts(other).any(|(own, live, _)| own == path && !live);
        let guarded = flow.jobs().map(|(other, _)| other).find(|&other| named(other) && same(other))?;
        deploys(flow, at).is_none().then_some((at, job, command, guarded))
    });
    let Some((at, job, command, guarded)) = found else { return };
    let message = format!("`{}` runs `{}` and names no environment", &*job.id, command.text());
    report
        .add(flow.file, flow.job_span(at), message)
        .hint("name it with `environment:`, so that approvals, secrets and history apply")
        .also(flow.file, flow.job_span(guarded), "this job runs it under one")
        .done();
}

/// A step that goes out under one environment in one situation, and under another in the next, although the job tells
/// them apart: what protects the one is bypassed by way of the other.
fn beside_its_environment(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let Some(name) = job.environment.as_ref().and_then(|environment| environment.name.as_ref()) else {
        return;
    };
    let Some(Ok(expr)) = name.expression().map(Expr::parse) else { return };
    let goes_out = |kind: Kind| matches!(kind, Kind::Publish | Kind::Deploy | Kind::Pages);
    let outward: Vec<(&Step, &Condition)> = flow
        .steps(at)
        .filter(|(_, facts)| facts.works.iter().any(|done| goes_out(done.work.kind)))
        .filter_map(|(step, _)| Some((step, step.condition.as_ref()?)))
        .collect();
    // With one such step for all of them, the environment is what tells them apart.
    if outward.len() < 2 {
        return;
    }
    let worlds = (0..flow.worlds.len()).filter(|&world| flow.runs[world][at] != Run::Never);
    let mut under: Vec<(String, usize, String)> = Vec::new();
    for index in worlds {
        for world in flow.worlds[index].split() {
            let scope = |in_step| Scope { world: &world, in_step, ..flow.scope(index, at, in_step) };
            let Some(environment) = scope(false).value(expr.root()).text().map(|text| text.into_owned())
            else {
                return;
            };
            for (step, (_, condition)) in outward.iter().enumerate() {
                if scope(true).holds(condition) == Some(true) {
                    under.push((environment.clone(), step, world.name()));
                }
            }
        }
    }
    let others = |one: &(String, usize, String)| {
        let same_step = under.iter().find(|other| other.1 == one.1 && other.0 != one.0);
        // The environment has a step of its own, which is another one.
        let own = under.iter().any(|other| other.0 == one.0 && other.1 != one.1);
        same_step.filter(|_| own).cloned()
    };
    let Some((bypass, proper)) = under.iter().find_map(|one| Some((one, others(one)?))) else { return };
    let (step, condition) = outward[bypass.1];
    let shown =
        step.name.as_ref().map_or_else(|| "a step".to_owned(), |name| format!("step `{}`", name.text));
    report
        .add(
            flow.file,
            name.span,
            format!(
                "on {} {shown} goes out under the environment `{}`, and on {} under `{}`: what protects one of them is bypassed",
                bypass.2, bypass.0, proper.2, proper.0
            ),
        )
        .severity(Severity::High)
        .also(flow.file, condition.span, "holds in both")
        .hint("choose the environment by what the step is chosen by, or give each its own job")
        .done();
}

/// Finds what a job deploys with; copying files about may be anything.
fn deploys(flow: &Flow, job: usize) -> Option<&Done> {
    let copies = ["rsync", "scp", "ssh"];
    let works = flow.facts[job].iter().flat_map(|facts| &facts.works);
    let mut deploys = works.filter(|done| done.work.kind == Kind::Deploy);
    // What is started again there is what people use.
    let again = LazyCell::new(|| restarts(flow, job));
    let takes_away = |done: &Done| {
        let mut words = done.text.split_whitespace().skip(1).take(4);
        words.any(|word| {
            matches!(word, "delete" | "destroy" | "uninstall" | "remove" | "down" | "apps:destroy")
        })
    };
    // A way back waits for nobody.
    let back = |done: &Done| tools::goes_back(&done.text) || done.text.contains(" rollback");
    deploys.find(|done| {
        !takes_away(done) && !back(done) && (!copies.iter().any(|copy| done.text.starts_with(copy)) || *again)
    })
}
