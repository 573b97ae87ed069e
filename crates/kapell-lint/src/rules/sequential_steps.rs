//! Long independent checks run one after the other in one job.

mod cells; // of a matrix
mod folders; // parts of the repository, each in a language of its own

use crate::github::{cost, tools::Kind};
use crate::{
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};
use kapell_spec::github::Step;
use kapell_view::audit::{Confidence, Severity};

/// See `docs/rules/sequential-steps.md`.
pub(super) static RULE: Rule = Rule {
    name: "sequential-steps",
    summary: "Long independent checks run one after the other in one job",
    group: Group::CriticalPath,
    anti_pattern: Some(AntiPattern::Sequential),
    focus: Focus::Performance,
    severity: Severity::Info,
    confidence: Confidence::Medium,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/sequential-steps.md"),
    check,
};

/// The least that the checks of a job take together, in seconds.
const LEAST_TOTAL: u32 = 420;

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        for (at, job) in flow.jobs() {
            cells::check(repository, flow, at, report);
            folders::check(repository, flow, at, report);
            let long: Vec<(u32, &Step)> = flow
                .steps(at)
                .filter(|(_, facts)| {
                    // What one compiles, the next need not.
                    let compiled = ["cargo", "go", "mvn", "mvnw", "gradle", "gradlew", "dotnet", "swift"];
                    let shares = facts.commands.iter().any(|command| compiled.contains(&command.program()));
                    !shares
                        && !facts.works.is_empty()
                        && facts.works.iter().all(|done| matches!(done.work.kind, Kind::Lint | Kind::Test))
                })
                .map(|(step, facts)| (facts.seconds(), step))
                .filter(|(seconds, _)| *seconds >= 60)
                .collect();
            // Of two whose conditions are each other's opposite one runs.
            let long: Vec<_> = (0..long.len())
                .filter(|&index| {
                    !long[..index].iter().any(|(_, earlier)| is_other_way(earlier, long[index].1))
                })
                .map(|index| long[index])
                .collect();
            let total: u32 = long.iter().map(|(seconds, _)| seconds).sum();
            let longest = long.iter().map(|(seconds, _)| *seconds).max().unwrap_or(0);
            if long.len() < 3 || total < LEAST_TOTAL {
                continue;
            }
            let mut durations = cost::durations(&repository.github, flow, repository.timings.as_ref());
            let length = |durations: &[u32]| cost::longest(flow, durations, &|_, _| true).0;
            let before = length(&durations);
            durations[at] = durations[at].saturating_sub(total - longest);
            report
                .add(
                    flow.file,
                    flow.job_span(at),
                    format!("`{}` runs {} long checks one after the other", job.id.text, long.len()),
                )
                .saving(before.saturating_sub(length(&durations)))
                .hint("give each a job of its own, or make them cells of a matrix")
                .done();
        }
    }
}

/// Tells whether one of two steps runs just where the other does not: `matrix.os == 'x'` and `matrix.os != 'x'`.
fn is_other_way(one: &Step, other: &Step) -> bool {
    let plain = |step: &Step| {
        let text: String =
            step.condition.as_ref()?.text.chars().filter(|letter| !letter.is_whitespace()).collect();
        Some(text.trim_start_matches("${{").trim_end_matches("}}").to_owned())
    };
    let (Some(one), Some(other)) = (plain(one), plain(other)) else { return false };
    let turned = |text: &str| match text.contains("!=") {
        true => text.replacen("!=", "==", 1),
        false => text.replacen("==", "!=", 1),
    };
    one != other && (turned(&one) == other || one == format!("!{other}") || other == format!("!{one}"))
}
