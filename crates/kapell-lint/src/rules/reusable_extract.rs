//! The same long job is kept in several workflows.

mod one_word; // the same but for the name of what it is for

use std::{iter, sync::Arc};

use crate::{
    github::Flow,
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule, names},
};
use kapell_spec::{
    github::{Job, Step},
    hash::{self, HashMap},
};
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
    let made: Vec<Arc<Keys>> =
        flows.iter().map(|flow| repository.files[flow.file].made(|_| Keys::of(flow))).collect();
    let keys: Vec<&Vec<Vec<Key>>> = made.iter().map(|keys| &keys.0).collect();
    // How often each stands anywhere: a job with many steps of its own has no copy.
    let mut counts: HashMap<u64, usize> = HashMap::default();
    keys.iter().copied().flatten().flatten().for_each(|key| *counts.entry(key.number).or_default() += 1);
    let mut told: Vec<(usize, usize)> = Vec::new();
    for (index, flow) in flows.iter().enumerate() {
        for (at, job) in flow.jobs() {
            let own = &keys[index][at];
            let alone = own.iter().filter(|key| counts[&key.number] == 1).count();
            if job.steps.len() < STEPS || alone > unlike_at_most(own, own) || told.contains(&(index, at)) {
                continue;
            }
            let copies: Vec<(usize, usize)> = (index + 1..flows.len())
                .flat_map(|other| (0..flows[other].model.jobs.len()).map(move |job| (other, job)))
                .filter(|&(other, job)| alike(own, &keys[other][job]))
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
            told.push((index, at));
        }
    }
    but_for_one_word(repository, &told, report);
}

/// Tells of jobs of which nothing is told yet, and that are the same in several workflows but for one word.
fn but_for_one_word(repository: &Repository, told: &[one_word::Place], report: &mut Report<'_>) {
    let flows = &repository.github.flows;
    for kept in one_word::kept(flows) {
        let [(index, at), rest @ ..] = &kept.jobs[..] else { continue };
        if kept.jobs.iter().any(|place| told.contains(place)) {
            continue;
        }
        let flow = &flows[*index];
        let job = &flow.model.jobs[*at].id;
        let words = names(kept.words.iter().map(String::as_str));
        let mut draft = report
            .add(
                flow.file,
                job.span,
                format!(
                    "`{}` is kept in {} workflows that differ in one word: {words}",
                    job.text,
                    kept.jobs.len()
                ),
            )
            .hint("make it one reusable workflow with an input for that word");
        for (index, at) in rest {
            draft = draft.also(flows[*index].file, flows[*index].job_span(*at), "the same but for that");
        }
        draft.done();
    }
}

/// What a step does, by number: all jobs are held against each other.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    /// That of the action without its version, and of the words of the script.
    number: u64,
    /// How long its text is, in bytes.
    len: usize,
}

/// What the steps of each job of a workflow do; nothing of jobs with few.
struct Keys(Vec<Vec<Key>>);

impl Keys {
    fn of(flow: &Flow) -> Self {
        let of_job = |job: &Job| match job.steps.len() {
            ..STEPS => Vec::new(),
            _ => job.steps.iter().map(Key::of).collect(),
        };
        Self(flow.jobs().map(|(_, job)| of_job(job)).collect())
    }
}

impl Key {
    fn of(step: &Step) -> Self {
        let uses = step.uses.as_ref().map_or("", |(text, _)| text.text.split('@').next().unwrap_or_default());
        let words = || step.script().split_ascii_whitespace();
        let len = words().map(|word| word.len() + 1).sum::<usize>().saturating_sub(1);
        Self { number: hash::of_texts(iter::once(uses).chain(words())), len: uses.len() + len }
    }
}

/// Returns how many steps of the first job the second may lack and be much the same.
fn unlike_at_most(first: &[Key], second: &[Key]) -> usize {
    (first.len() * 10 - first.len().max(second.len()) * 8) / 10
}

/// Tells whether most of the steps of two jobs are the same, a long script among them.
fn alike(first: &[Key], second: &[Key]) -> bool {
    if second.len() < STEPS || first.len().abs_diff(second.len()) > 1 {
        return false;
    }
    let same = |step: &&Key| second.contains(step);
    // Nearly all jobs are unlike after a few steps.
    let most = unlike_at_most(first, second);
    let others = first.iter().filter(|step| !same(step)).take(most + 1).count();
    others <= most && (first.len() - others >= 7 || first.iter().filter(same).any(|step| step.len >= 200))
}
