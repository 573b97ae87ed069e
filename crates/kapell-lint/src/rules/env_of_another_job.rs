//! A variable is read that only another job sets.

use kapell_spec::github::{Job, Name, Text, Uses};
use kapell_view::audit::{Confidence, Severity};

use crate::github::Flow;
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
        for (at, job) in flow.jobs() {
            let mut told: Vec<&str> = Vec::new();
            for expression in &job.expressions {
                for reference in expression.expr.root().references() {
                    let path: Vec<&str> = reference.path.iter().map(|(name, _)| *name).collect();
                    let ["env", name] = path[..] else { continue };
                    if told.contains(&name) || known(repository, flow, job, name) {
                        continue;
                    }
                    let Some((_, setter)) = flow.jobs().find(|(other, job)| *other != at && sets(job, name))
                    else {
                        continue;
                    };
                    told.push(name);
                    report
                        .add(
                            flow.file,
                            expression.span(&flow.text),
                            format!("`env.{name}` is always empty in `{}`: `{}` sets it, and variables stay in their job", job.id.text, setter.id.text),
                        )
                        .also(flow.file, setter.id.span, "sets it for itself")
                        .hint(format!("make it an output of `{}`, and read `needs.{}.outputs`", setter.id.text, setter.id.text))
                        .done();
                }
            }
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
