//! A variable is read that only another job sets.

mod to_called; // variables for workflows that are called

use kapell_spec::finding::Span;
use kapell_spec::github::{Job, Name, Step, Text, Uses, Word};
use kapell_view::audit::{Confidence, Severity};

use crate::github::{Flow, StepFacts, own_scripts, tools::Kind};
use crate::{
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// See `docs/rules/env-of-another-job.md`.
pub(super) static RULE: Rule = Rule {
    name: "env-of-another-job",
    summary: "A variable is read that only another job sets",
    group: Group::Dead,
    anti_pattern: Some(AntiPattern::Context),
    focus: Focus::State,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/env-of-another-job.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        to_called::check(repository, flow, report);
        for (at, job) in flow.jobs() {
            in_script(flow, at, report);
            for (name, span) in unknown(repository, flow, job) {
                let by_script = flow.jobs().find(|(other, job)| *other != at && sets(job, name));
                let by_program =
                    || flow.jobs().find(|(other, _)| *other != at && may_set(flow, *other, name));
                let by_file = || {
                    let mut others = flow.jobs().filter(|(other, _)| *other != at);
                    others.find(|(other, _)| sets_in_file(repository, flow, *other, name))
                };
                let by_script = by_script.or_else(|| by_file().filter(|_| sets_nothing(flow, at)));
                let Some((_, setter)) = by_script.or_else(|| by_program().filter(|_| sets_nothing(flow, at)))
                else {
                    continue;
                };
                report
                    .add(
                        flow.file,
                        span,
                        format!("`env.{name}` is always empty in `{}`: `{}` sets it, and variables stay in their job", job.id.text, setter.id.text),
                    )
                    .also(flow.file, setter.id.span, "sets it for itself")
                    .hint(format!("make it an output of `{}`, and read `needs.{}.outputs`", setter.id.text, setter.id.text))
                    .done();
            }
        }
    }
}

/// Returns the names that a job writes for its later steps.
fn written(job: &Job) -> Vec<&str> {
    let lines = job.steps.iter().flat_map(|step| step.script().lines());
    let names = lines.filter(|line| line.contains("GITHUB_ENV")).filter_map(|line| {
        let said = line.trim_start().strip_prefix("echo ")?.trim_start_matches(['"', '\'']);
        let name = said.split_once('=')?.0;
        let plain =
            name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
        (plain && name.len() > 3).then_some(name)
    });
    names.collect()
}

/// A script reads `$NAME`, which a job before has written for itself, and nothing in its own job sets it.
fn in_script(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let text = flow.text.get(job.span.range()).unwrap_or_default();
    if !sets_nothing(flow, at) || job.steps.is_empty() {
        return;
    }
    for &up in &flow.closures[at] {
        let setter = &flow.model.jobs[up];
        for name in written(setter) {
            let reads = [format!("${name}"), format!("${{{name}}}")];
            let apart = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
            let sets = text.contains(&format!("{name}="))
                || text.contains(&format!("{name}:"))
                || text.contains(&format!("read {name}"));
            let known = flow.model.env.iter().any(|(own, _)| *own.text == *name);
            if sets || known || text.contains("env.") {
                continue;
            }
            let found = flow.steps(at).find_map(|(step, _)| {
                let script = step.script();
                let start = reads.iter().find_map(|read| {
                    script.match_indices(read.as_str()).find(|(from, _)| apart(&script[from + read.len()..]))
                })?;
                Some((step, start.0))
            });
            let Some((step, start)) = found else { continue };
            report
                .add(
                    flow.file,
                    flow.script_line(step, start, ""),
                    format!(
                        "`${name}` is always empty in `{}`: `{}` sets it, and variables stay in their job",
                        job.id.text, setter.id.text
                    ),
                )
                .also(flow.file, setter.id.span, "sets it for itself")
                .hint(format!(
                    "make it an output of `{}`, and read `needs.{}.outputs`",
                    setter.id.text, setter.id.text
                ))
                .done();
            return;
        }
    }
}

/// Tells whether a job writes a variable for its later steps.
fn sets(job: &Job, name: &str) -> bool {
    let assigns = |script: &str| {
        script.lines().any(|line| {
            line.contains("GITHUB_ENV") && line.contains(&format!("{name}="))
                || line.contains(&format!("::set-env name={name}"))
        })
    };
    job.steps.iter().any(|step| assigns(step.script()))
}

/// Tells whether a script of the repository that a job runs writes a variable for its later steps.
fn sets_in_file(repository: &Repository, flow: &Flow, at: usize, name: &str) -> bool {
    let assigned = format!("{name}=");
    flow.steps(at).filter(|(_, facts)| facts.runs_own_script()).any(|(step, facts)| {
        own_scripts::of_step(&repository.files, &flow.model.jobs[at], step, facts)
            .iter()
            .flat_map(|script| script.text.lines())
            .any(|line| line.contains("GITHUB_ENV") && line.contains(&assigned))
    })
}

/// Tells whether a job reads a variable that only a program of its own can have set before.
fn may_set(flow: &Flow, at: usize, name: &str) -> bool {
    let job = &flow.model.jobs[at];
    let path = format!("env.{name}");
    let reads = |step: &Step| {
        flow.text.get(step.span.range()).is_some_and(|text| text.contains("${{") && text.contains(&path))
    };
    let unknown = |facts: &StepFacts| {
        facts.runs_own_script()
            || facts.works.iter().any(|done| done.work.kind == Kind::Unknown && done.command.is_some())
    };
    let first = job.steps.iter().position(reads);
    first.is_some_and(|first| flow.facts[at][..first].iter().any(unknown))
}

/// Actions that set no variable.
const SILENT: &[&str] = &[
    "actions/checkout",
    "actions/create-github-app-token",
    "actions/download-artifact",
    "actions/upload-artifact",
    "actions/cache",
    "actions/create-release",
    "actions/upload-release-asset",
    "docker/",
    "ncipollo/release-action",
    "softprops/action-gh-release",
    "step-security/harden-runner",
];

/// Tells whether no step of a job can set a variable for the steps behind it.
fn sets_nothing(flow: &Flow, at: usize) -> bool {
    let silent = |name: &String| SILENT.iter().any(|known| name.starts_with(known));
    flow.steps(at).all(|(step, facts)| {
        facts.actions.iter().all(silent)
            && !step.script().contains("GITHUB_ENV")
            && !facts.runs_own_script()
            && !facts.works.iter().any(|done| done.work.kind == Kind::Unknown && done.command.is_some())
            && !matches!(step.action(), Some(Uses::Local(_) | Uses::Docker(_)))
    })
}

/// Returns the variables that expressions of a job read as `env.NAME` and that it cannot have, each where it is read first.
pub(super) fn unknown<'a>(repository: &Repository, flow: &Flow, job: &'a Job) -> Vec<(&'a str, Span)> {
    let mut found: Vec<(&str, Span)> = Vec::new();
    for expression in job.expressions.iter().filter(|expression| expression.says(Word::Env)) {
        for reference in expression.expr.root().references() {
            if let [("env", _), (name, _)] = reference.path[..]
                && found.iter().all(|(known, _)| *known != name)
            {
                found.push((name, expression.span(&flow.text)));
            }
        }
    }
    found.retain(|(name, _)| !known(repository, flow, job, name));
    found
}

/// Tells whether a job may have a variable after all: by its own `env`, a script, or an action that sets it.
fn known(repository: &Repository, flow: &Flow, job: &Job, name: &str) -> bool {
    let named = |env: &[(Name, Text)]| env.iter().any(|(known, _)| known.text.eq_ignore_ascii_case(name));
    let in_action = job.steps.iter().any(|step| match step.action() {
        Some(Uses::Local(path)) => {
            repository.github.actions.get(&**path).is_none_or(|action| action.text.contains(name))
        }
        _ => false,
    });
    named(&flow.model.env)
        || named(&job.env)
        || job.steps.iter().any(|step| {
            named(&step.env) || step.script().contains(name) && step.script().contains("GITHUB_ENV")
        })
        || in_action
}
