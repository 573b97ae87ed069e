//! A step reports success without looking at it.

use crate::github::{Flow, StepFacts};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};
use kapell_spec::github::{Condition, Job, Step};
use kapell_view::audit::{Confidence, Severity};

/// See `docs/rules/asserted-result.md`.
pub(super) static RULE: Rule = Rule {
    name: "asserted-result",
    summary: "A step reports success without looking at it",
    group: Group::Gates,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::Medium,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/asserted-result.md"),
    check,
};

/// Words that claim a result.
const CLAIMS: &[&str] = &[
    "passed",
    "success",
    "succeeded",
    "published",
    "deployed",
    "released",
    "verified",
    "completed successfully",
];

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        for (at, job) in flow.jobs() {
            for (index, (step, facts)) in flow.steps(at).enumerate() {
                let whatever = step.condition.as_ref().is_some_and(runs_whatever);
                if whatever && index > 0 {
                    look(flow, at, index, step, facts, report);
                }
            }
            let _ = job;
        }
    }
}

/// Tells whether a condition lets a step run after a failure too.
fn runs_whatever(condition: &Condition) -> bool {
    let text = condition.text.replace(' ', "");
    (text.starts_with("always()") || text.starts_with("!cancelled()"))
        && !text.contains("==")
        && !text.contains("!=")
}

fn look(flow: &Flow, at: usize, index: usize, step: &Step, facts: &StepFacts, report: &mut Report<'_>) {
    let job: &Job = &flow.model.jobs[at];
    let Some(run) = &step.run else { return };
    if looks(step) {
        return;
    }
    let claim = facts.commands.iter().find(|command| {
        let text = command.text();
        let lower = text.to_ascii_lowercase();
        matches!(command.program(), "echo" | "printf" | "Write-Host") && CLAIMS.iter().any(|word| lower.contains(word)) && !["if ", "whether", "fail", "check ", "?", "not "].iter().any(|word| lower.contains(word)) && !text.contains("${{")
            // Not merely a heading or a command to type.
            && command.words.len() > 1
    });
    let Some(claim) = claim else { return };
    // Something before it must be able to fail in a way that matters.
    let before = flow.facts[at][..index]
        .iter()
        .any(|facts| facts.works.iter().any(|done| done.work.kind.checks() || done.work.kind.mutates()));
    if !before
        || facts.works.iter().any(|done| !matches!(done.work.kind, crate::github::tools::Kind::Trivial))
    {
        return;
    }
    let words: Vec<&str> =
        claim.words[1..].iter().map(String::as_str).take_while(|word| !word.contains('>')).collect();
    let said: String = words.join(" ").chars().take(60).collect();
    report
        .add(
            flow.file,
            step.name.as_ref().map_or(run.span, |name| name.span),
            format!(
                "`{}` says \"{}\" whatever happened: it runs after a failure too and looks at no result",
                job.id.text, said
            ),
        )
        .hint("say it only `if: success()`, or print `${{ job.status }}`")
        .done();
}

/// Tells whether a step looks at a result, or at files that show one.
fn looks(step: &Step) -> bool {
    let words = [
        "job.status",
        ".outcome",
        ".conclusion",
        ".result",
        "$?",
        "[ -f",
        "[[ -f",
        "-s ",
        "grep",
        "jq",
        "cat ",
        "exit 1",
        "failure()",
        "success()",
        "steps.",
    ];
    let texts = [step.script()].into_iter().chain(step.env.iter().map(|(_, text)| &*text.text));
    texts.into_iter().any(|text| words.iter().any(|word| text.contains(word)))
}
