//! Jobs of several workflows that are the same but for one word: the name of a service, of a package.

use std::collections::BTreeMap;

use kapell_spec::github::{Job, Step};

use super::STEPS;
use crate::github::Flow;

/// How many workflows have to keep such a job: with two of them it may be chance.
const WORKFLOWS: usize = 3;

/// How many steps two jobs have to have that differ in the name of where they deploy to: that is no chance.
const DEPLOYMENT: usize = 7;

/// Names of where one deploys to.
const ENVIRONMENTS: &[&str] = &[
    "prod",
    "production",
    "live",
    "staging",
    "stage",
    "stg",
    "dev",
    "development",
    "test",
    "testing",
    "qa",
    "uat",
    "preprod",
    "demo",
    "sandbox",
];

/// A job, by its workflow and its number there.
pub(super) type Place = (usize, usize);

/// A job, and all words of its steps.
type Worded<'a> = (Place, Vec<&'a str>);

/// Jobs that are the same but for one word, and that word in each of them.
pub(super) struct Kept {
    pub(super) jobs: Vec<Place>,
    pub(super) words: Vec<String>,
}

/// Finds the jobs that several workflows keep, each with a word of its own: they have the same actions, and as many words.
pub(super) fn kept(flows: &[Flow]) -> Vec<Kept> {
    let mut alike: BTreeMap<Vec<&str>, Vec<Place>> = BTreeMap::new();
    for (index, flow) in flows.iter().enumerate() {
        for (at, job) in flow.jobs().filter(|(_, job)| job.steps.len() >= STEPS) {
            alike.entry(job.steps.iter().map(action).collect()).or_default().push((index, at));
        }
    }
    let least = |steps: usize| if steps >= DEPLOYMENT { 2 } else { WORKFLOWS };
    let several = alike.into_iter().filter(|(actions, jobs)| jobs.len() >= least(actions.len()));
    several.flat_map(|(_, jobs)| kept_of(flows, &jobs)).collect()
}

/// Finds them among jobs that have the same actions.
fn kept_of(flows: &[Flow], jobs: &[Place]) -> Vec<Kept> {
    let mut alike: BTreeMap<usize, Vec<Worded<'_>>> = BTreeMap::new();
    for &(index, at) in jobs {
        let words = words(&flows[index], &flows[index].model.jobs[at]);
        alike.entry(words.len()).or_default().push(((index, at), words));
    }
    let several = alike.into_values().filter(|jobs| jobs.len() > 1);
    several.filter_map(|jobs| of_one(&jobs)).filter(|kept| is_no_chance(flows, kept)).collect()
}

/// Tells whether jobs are the same on purpose: several are, or two long ones that differ in the name of where they deploy to.
fn is_no_chance(flows: &[Flow], kept: &Kept) -> bool {
    let (index, at) = kept.jobs[0];
    let named = |word: &String| ENVIRONMENTS.contains(&&*word.to_ascii_lowercase());
    let long = flows[index].model.jobs[at].steps.len() >= DEPLOYMENT;
    kept.jobs.len() >= WORKFLOWS || long && kept.words.iter().all(named)
}

/// Returns those that are the same as the first of them but for one word, if they are in several workflows.
fn of_one(jobs: &[Worded<'_>]) -> Option<Kept> {
    let (first, words) = jobs.first()?;
    let mut kept = Kept { jobs: vec![*first], words: Vec::new() };
    for (place, others) in &jobs[1..] {
        let Some((own, other)) = one_word(words, others) else { continue };
        // One of each workflow, and always for the same word of the first.
        let again = kept.jobs.iter().any(|(index, _)| *index == place.0);
        if again || kept.words.first().is_some_and(|known| *known != own) {
            continue;
        }
        if kept.words.is_empty() {
            kept.words.push(own.to_owned());
        }
        kept.words.push(other.to_owned());
        kept.jobs.push(*place);
    }
    (kept.jobs.len() > 1).then_some(kept)
}

/// Returns the word of each of two jobs by which they differ, if that is the only one.
fn one_word<'a>(one: &[&'a str], other: &[&'a str]) -> Option<(&'a str, &'a str)> {
    let mut pairs = one.iter().zip(other).filter(|(own, other)| own != other);
    let first = pairs.next()?;
    pairs.all(|pair| pair == first).then_some((*first.0, *first.1))
}

/// Returns what a step uses, without the version.
fn action(step: &Step) -> &str {
    step.uses.as_ref().map_or("", |(text, _)| text.text.split('@').next().unwrap_or_default())
}

/// Returns all words of the steps of a job, and of what it runs on, as they stand in the file.
fn words<'a>(flow: &'a Flow, job: &'a Job) -> Vec<&'a str> {
    let text = |span: kapell_spec::finding::Span| flow.text.get(span.range()).unwrap_or_default();
    let runner = job.keys.get("runs-on").map_or("", |key| text(key.value));
    let all = std::iter::once(runner).chain(job.steps.iter().map(|step| text(step.span)));
    all.flat_map(|text| text.lines().map(|line| line.split(" #").next().unwrap_or(line)))
        .flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_')))
        .filter(|word| !word.is_empty())
        .collect()
}
