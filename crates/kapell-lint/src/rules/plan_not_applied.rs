//! A plan is made and looked at, and another one is applied.

use kapell_spec::finding::Span;
use kapell_view::audit::{Confidence, Severity};

use crate::github::{Flow, carry, conditions::Run, script::Command};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/plan-not-applied.md`.
pub(super) static RULE: Rule = Rule {
    name: "plan-not-applied",
    summary: "A plan of infrastructure is made in one job, and another job applies a new one",
    group: Group::Gates,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/plan-not-applied.md"),
    check,
};

/// Programs that plan and apply.
const PROGRAMS: &[&str] = &["terraform", "tofu", "terragrunt"];

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        for (at, job) in flow.jobs() {
            let Some((span, program)) = find(flow, at, applies_anew) else { continue };
            if let Some((place, _)) = find(flow, at, keeps_plan) {
                report
                    .add(
                        flow.file,
                        span,
                        format!("`{}` plans anew and applies that: the plan that it wrote to a file is not what happens", job.id.text),
                    )
                    .also(flow.file, place, "this plan is thrown away")
                    .severity(Severity::Low)
                    .hint(format!("give the file to `{program} apply`"))
                    .done();
                continue;
            }
            let planned = flow.closures[at].iter().find_map(|&up| {
                let both = flow.runs.iter().any(|runs| runs[up] != Run::Never && runs[at] != Run::Never);
                let (place, _) = find(flow, up, plans)
                    .filter(|_| both && !carry::reads(job, &flow.model.jobs[up].id.text))?;
                Some((up, place))
            });
            let Some((up, place)) = planned else { continue };
            report
                .add(
                    flow.file,
                    span,
                    format!(
                        "`{}` plans anew and applies that: what `{}` showed is not what happens",
                        job.id.text, flow.model.jobs[up].id.text
                    ),
                )
                .also(flow.file, place, "this plan is thrown away")
                .hint(format!(
                    "write it with `{program} plan -out=FILE`, hand it on as an artifact, and apply that file"
                ))
                .done();
        }
    }
}

fn find(flow: &Flow, at: usize, fits: impl Fn(&Command) -> bool) -> Option<(Span, String)> {
    flow.steps(at).find_map(|(step, facts)| {
        let command = facts.commands.iter().find(|command| fits(command))?;
        let span = flow.script_line(step, command.start, "");
        Some((span, command.program().to_owned()))
    })
}

/// Returns the words behind `plan` or `apply`.
fn arguments<'a>(command: &'a Command, verb: &str) -> Option<&'a [String]> {
    let words = command.inner();
    let at = words.iter().position(|word| word == verb)?;
    (PROGRAMS.contains(&command.program()) && at <= 3).then(|| &words[at + 1..])
}

/// Tells whether a command makes a plan, in a file or not.
fn plans(command: &Command) -> bool {
    arguments(command, "plan").is_some_and(|words| !words.iter().any(|word| word.contains("-destroy")))
}

/// Tells whether a command makes a plan and keeps it in a file.
fn keeps_plan(command: &Command) -> bool {
    plans(command)
        && arguments(command, "plan").is_some_and(|words| words.iter().any(|word| word.starts_with("-out")))
}

/// Tells whether a command applies without a plan that was made before.
fn applies_anew(command: &Command) -> bool {
    arguments(command, "apply").is_some_and(|words| {
        let approves = words.iter().any(|word| {
            word.contains("auto-approve")
                || word.trim_start_matches('-') == "terragrunt-non-interactive"
                || word == "--non-interactive"
        });
        let file = words.last().is_some_and(|word| !word.starts_with('-') && !word.starts_with('>'));
        approves && !file && !words.iter().any(|word| word.contains("target"))
    })
}
