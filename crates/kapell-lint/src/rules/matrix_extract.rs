//! Jobs differ only in values that a matrix could hold.

use std::cell::LazyCell;

use crate::github::Flow;
use crate::{
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};
use kapell_spec::github::{Job, Step};
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
        // Few jobs stand at the same place of the graph as another.
        let split = |between: fn(char) -> bool| -> Vec<_> {
            flow.jobs().map(|(_, job)| LazyCell::new(move || words(flow, job, between))).collect()
        };
        let (parts, whole) = (split(parts_words), split(is_between));
        let mut told: Vec<usize> = Vec::new();
        for (at, job) in flow.jobs() {
            if told.contains(&at) || job.uses.is_some() || job.steps.len() < 3 {
                continue;
            }
            let same_words =
                |other: usize| alike(&parts[at], &parts[other]) || alike(&whole[at], &whole[other]);
            let mut same: Vec<usize> =
                (at + 1..flow.model.jobs.len()).filter(|&other| same_shape(flow, at, other)).collect();
            // To take texts apart is what costs.
            if same.len() + 1 >= JOBS {
                same.retain(|&other| same_words(other));
            }
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
            draft.done();
        }
    }
}

/// Tells what stands between words.
fn is_between(c: char) -> bool {
    matches!(c, ' ' | '"' | '\'')
}

/// Tells what stands between words and their parts: `g++-12` and `g++-13` differ in a number.
fn parts_words(c: char) -> bool {
    is_between(c) || matches!(c, '/' | '-' | ':')
}

fn words<'a>(flow: &'a Flow, job: &Job, between: fn(char) -> bool) -> Vec<&'a str> {
    let text = flow.text.get(job.id.span.end as usize..job.span.end as usize).unwrap_or_default();
    text.lines()
        .filter(|line| {
            !line.trim_start().starts_with('#')
                && !line.trim_start().starts_with("name:")
                && !line.trim_start().starts_with("- name:")
        })
        .flat_map(|line| line.split(between))
        .filter(|word| !word.is_empty())
        .collect()
}

/// Tells whether one matrix can hold two jobs: they stand at the same place of the graph, and are equal where GitHub reads
/// no `matrix`, which is in `uses` and in the `if` of a job.
fn same_shape(flow: &Flow, first: usize, second: usize) -> bool {
    let (one, other) = (&flow.model.jobs[first], &flow.model.jobs[second]);
    fn uses(step: &Step) -> Option<&str> {
        step.uses.as_ref().map(|(text, _)| &*text.text)
    }
    let condition = |job: &Job| job.condition.as_ref().map(|condition| condition.text.clone());
    let needed = |of: usize| {
        let id = &flow.model.jobs[of].id.text;
        flow.jobs().filter(|(_, job)| job.needs.iter().any(|need| need.text == *id)).map(|(at, _)| at)
    };
    one.steps.iter().map(uses).eq(other.steps.iter().map(uses))
        && one.needs.iter().map(|need| &need.text).eq(other.needs.iter().map(|need| &need.text))
        && condition(one) == condition(other)
        && needed(first).eq(needed(second))
}

/// Tells whether the texts of two jobs are the same but for a few words, none of which is the program that a step runs.
fn alike(left: &[&str], right: &[&str]) -> bool {
    if left.len() != right.len() || left.len() < 12 {
        return false;
    }
    let program = |at: usize| at > 0 && matches!(left[at - 1], "run" | "run:") && left[at] != right[at];
    if (0..left.len()).any(program) {
        return false;
    }
    let mut differ: Vec<(&str, &str)> =
        left.iter().copied().zip(right.iter().copied()).filter(|(a, b)| a != b).collect();
    differ.sort_unstable();
    differ.dedup();
    !differ.is_empty() && differ.len() <= 2
}
