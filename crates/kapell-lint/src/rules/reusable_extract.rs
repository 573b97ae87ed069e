//! The same long job is kept in several workflows.

use std::collections::HashMap;

use crate::{
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};
use kapell_spec::github::{Job, Step};
use kapell_view::audit::{Confidence, Severity};

/// See `docs/rules/reusable-extract.md`.
pub(super) static RULE: Rule = Rule {
    name: "reusable-extract",
    summary: "The same long job is kept in several workflows",
    group: Group::Reuse,
    anti_pattern: Some(AntiPattern::Coupling),
    focus: Focus::State,
    severity: Severity::Info,
    confidence: Confidence::Medium,
    depth: Depth::Deep,
    page: include_str!("../../docs/rules/reusable-extract.md"),
    check,
};

/// Fewer steps than this are no loss to keep twice.
const STEPS: usize = 5;

fn check(repository: &Repository, report: &mut Report<'_>) {
    let flows = &repository.github.flows;
    let mut known = HashMap::new();
    let mut keys = |job: &Job| match job.steps.len() {
        ..STEPS => Vec::new(),
        _ => job.steps.iter().map(|step| key(step, &mut known)).collect(),
    };
    let keys: Vec<Vec<Vec<Key>>> =
        flows.iter().map(|flow| flow.jobs().map(|(_, job)| keys(job)).collect()).collect();
    let mut told: Vec<(usize, usize)> = Vec::new();
    for (index, flow) in flows.iter().enumerate() {
        for (at, job) in flow.jobs() {
            if job.steps.len() < STEPS || told.contains(&(index, at)) {
                continue;
            }
            let copies: Vec<(usize, usize)> = (index + 1..flows.len())
                .flat_map(|other| (0..flows[other].model.jobs.len()).map(move |job| (other, job)))
                .filter(|&(other, job)| alike(&keys[index][at], &keys[other][job]))
                .collect();
            if copies.is_empty() {
                continue;
            }
            let mut draft = report
                .add(
                    flow.file,
                    job.id.span,
                    format!(
                        "`{}` is kept almost word for word in {} other workflow{}",
                        job.id.text,
                        copies.len(),
                        if copies.len() == 1 { "" } else { "s" }
                    ),
                )
                .hint("make it one reusable workflow that the others call");
            for &(other, job) in &copies {
                draft = draft.also(flows[other].file, flows[other].job_span(job), "almost the same");
            }
            draft.done();
            told.extend(copies);
        }
    }
}

/// What a step does, by number: all jobs are held against each other.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    number: usize,
    /// How long its text is, in bytes.
    len: usize,
}

fn key(step: &Step, known: &mut HashMap<String, usize>) -> Key {
    let uses = step.uses.as_ref().map_or("", |(text, _)| text.text.split('@').next().unwrap_or_default());
    let mut text = format!("{uses}|");
    for (at, word) in step.script().split_ascii_whitespace().enumerate() {
        text.push_str(if at > 0 { " " } else { "" });
        text.push_str(word);
    }
    let (len, next) = (text.len(), known.len());
    Key { number: *known.entry(text).or_insert(next), len }
}

/// Tells whether most of the steps of two jobs are the same, a long script among them.
fn alike(first: &[Key], second: &[Key]) -> bool {
    if second.len() < STEPS || first.len().abs_diff(second.len()) > 1 {
        return false;
    }
    let same = |step: &&Key| second.contains(step);
    // Nearly all jobs are unlike after a few steps.
    let most = (first.len() * 10 - first.len().max(second.len()) * 8) / 10;
    let others = first.iter().filter(|step| !same(step)).take(most + 1).count();
    others <= most && (first.len() - others >= 7 || first.iter().filter(same).any(|step| step.len > 200))
}
