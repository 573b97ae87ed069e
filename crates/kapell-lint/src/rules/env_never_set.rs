//! An expression reads a variable that nothing puts into `env`.

mod of_key; // what the key of a cache reads
mod other_file; // what is written to the wrong file
mod same_step; // what a script writes for the steps behind it, and reads itself

use kapell_view::audit::{Confidence, Severity};

use super::env_of_another_job::unknown;
use crate::{
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// See `docs/rules/env-never-set.md`.
pub(super) static RULE: Rule = Rule {
    name: "env-never-set",
    summary: "An expression reads a variable that nothing puts into `env`",
    group: Group::Dead,
    anti_pattern: Some(AntiPattern::Context),
    focus: Focus::State,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/env-never-set.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        same_step::check(flow, report);
        other_file::check(flow, report);
        of_key::check(flow, report);
        for (_, job) in flow.jobs() {
            let unknown = unknown(repository, flow, job);
            for &(name, span) in unknown.iter().filter(|(name, _)| exported(job, name)) {
                report
                    .add(
                        flow.file,
                        span,
                        format!("`env.{name}` is always empty: what a script exports ends with its step"),
                    )
                    .hint(format!("write `echo \"{name}=...\" >> \"$GITHUB_ENV\"`"))
                    .done();
            }
            for (name, span) in unknown.into_iter().filter(|(name, _)| is_given(name)) {
                report
                    .add(
                        flow.file,
                        span,
                        format!("`env.{name}` is always empty: the variable is one of the runner's, and expressions do not see those"),
                    )
                    .hint(format!("write `{}`, or `${name}` within a script", in_context(name)))
                    .done();
            }
        }
    }
}

/// Tells whether a script of a job exports a variable, and nothing may keep it for the steps behind.
fn exported(job: &kapell_spec::github::Job, name: &str) -> bool {
    let export = format!("export {name}=");
    let exports = |script: &str| script.lines().any(|line| line.trim_start().starts_with(&export));
    let keeps = |script: &str| script.contains("GITHUB_ENV");
    job.steps.iter().any(|step| exports(step.script())) && !job.steps.iter().any(|step| keeps(step.script()))
}

/// Tells whether the runner gives a variable of this name to every step, but not to expressions.
fn is_given(name: &str) -> bool {
    const GIVEN: &[&str] = &[
        "GITHUB_ACTION",
        "GITHUB_ACTOR",
        "GITHUB_BASE_REF",
        "GITHUB_EVENT_NAME",
        "GITHUB_HEAD_REF",
        "GITHUB_JOB",
        "GITHUB_REF",
        "GITHUB_REF_NAME",
        "GITHUB_REF_TYPE",
        "GITHUB_REPOSITORY",
        "GITHUB_REPOSITORY_OWNER",
        "GITHUB_RUN_ATTEMPT",
        "GITHUB_RUN_ID",
        "GITHUB_RUN_NUMBER",
        "GITHUB_SERVER_URL",
        "GITHUB_SHA",
        "GITHUB_WORKFLOW",
        "GITHUB_WORKSPACE",
        "RUNNER_ARCH",
        "RUNNER_NAME",
        "RUNNER_OS",
        "RUNNER_TEMP",
        "RUNNER_TOOL_CACHE",
    ];
    GIVEN.contains(&name)
}

/// Returns how an expression names what a variable of the runner holds.
fn in_context(name: &str) -> String {
    let (base, rest) = name.split_once('_').unwrap_or(("GITHUB", name));
    format!("{}.{}", base.to_ascii_lowercase(), rest.to_ascii_lowercase())
}
