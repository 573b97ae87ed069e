//! Jobs differ only in values that a matrix could hold.

use crate::github::{Flow, intent};
use crate::{
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};
use kapell_spec::github::Job;
use kapell_view::audit::{Confidence, Severity};

/// See `docs/rules/matrix-extract.md`.
pub(super) static RULE: Rule = Rule {
    name: "matrix-extract",
    summary: "Jobs differ only in values that a matrix could hold",
    group: Group::Reuse,
    anti_pattern: Some(AntiPattern::Coupling),
    focus: Focus::State,
    severity: Severity::Info,
    confidence: Confidence::Medium,
    depth: Depth::Deep,
    page: include_str!("../../docs/rules/matrix-extract.md"),
    check,
};

/// How many jobs must differ in values alone.
const JOBS: usize = 3;

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        let words: Vec<Vec<&str>> = flow.jobs().map(|(_, job)| words(flow, job)).collect();
        let mut told: Vec<usize> = Vec::new();
        for (at, job) in flow.jobs() {
            if told.contains(&at) || job.uses.is_some() || job.steps.len() < 3 {
                continue;
            }
            let alike = |other: &usize| {
                let second = &flow.model.jobs[*other];
                same_shape(job, second) && alike(&words[at], &words[*other])
            };
            let same: Vec<usize> = (at + 1..flow.model.jobs.len()).filter(alike).collect();
            if same.len() + 1 < JOBS {
                continue;
            }
            let message =
                format!("`{}` and {} other jobs differ only in a value or two", job.id.text, same.len());
            let mut draft =
                report.add(flow.file, job.id.span, message).hint("make them one job with a matrix");
            for &other in &same {
                draft = draft.also(flow.file, flow.job_span(other), "differs in values only");
            }
            told.extend(same);
            match intent::explains(flow, job.id.span, 2, &["matrix", "separate", "split", "purpose"]) {
                Some(comment) => draft.explained(comment).done(),
                None => draft.done(),
            }
        }
    }
}

fn words<'a>(flow: &'a Flow, job: &Job) -> Vec<&'a str> {
    let text = flow.text.get(job.id.span.end as usize..job.span.end as usize).unwrap_or_default();
    text.lines()
        .filter(|line| {
            !line.trim_start().starts_with('#')
                && !line.trim_start().starts_with("name:")
                && !line.trim_start().starts_with("- name:")
        })
        .flat_map(|line| line.split([' ', '"', '\'', '/', '-', ':']))
        .filter(|word| !word.is_empty())
        .collect()
}

fn same_shape(first: &Job, second: &Job) -> bool {
    let needs = |job: &Job| job.needs.iter().map(|need| need.text.clone()).collect::<Vec<_>>();
    first.steps.len() == second.steps.len() && needs(first) == needs(second)
}

/// Tells whether the texts of two jobs are the same but for a few words.
fn alike(left: &[&str], right: &[&str]) -> bool {
    if left.len() != right.len() || left.len() < 12 {
        return false;
    }
    let mut differ: Vec<(&str, &str)> =
        left.iter().copied().zip(right.iter().copied()).filter(|(a, b)| a != b).collect();
    differ.sort_unstable();
    differ.dedup();
    !differ.is_empty() && differ.len() <= 2
}
