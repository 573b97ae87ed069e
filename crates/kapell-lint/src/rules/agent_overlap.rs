//! `agent-overlap`: two agents of one scope do the same job.

use std::collections::BTreeMap;

use kapell_view::audit::{AssetKind, Confidence, Scope, Severity};

use crate::{
    agents::{Asset, Home, similar},
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/agent-overlap.md`.
pub(super) static RULE: Rule = Rule {
    name: "agent-overlap",
    summary: "two agents of one scope do the same job",
    group: Group::AgentGraph,
    anti_pattern: None,
    focus: Focus::Conflicts,
    severity: Severity::Medium,
    confidence: Confidence::Medium,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/agent-overlap.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    let mut scopes: BTreeMap<&Scope, Vec<&Asset>> = BTreeMap::new();
    let agents = repository.agents.of(AssetKind::Agent).map(|(_, agent)| agent);
    for agent in agents.filter(|agent| agent.home == Home::Claude && agent.definition.front.is_some()) {
        scopes.entry(&agent.scope).or_default().push(agent);
    }
    for agents in scopes.into_values().filter(|agents| agents.len() > 1) {
        for ((one, other), (severity, why)) in overlaps(repository, &agents) {
            let (one, other) = (agents[one], agents[other]);
            let message = format!("agents `{}` and `{}` {why}", one.name, other.name);
            let stem = |agent: &Asset| repository.files[agent.file].name().trim_end_matches(".md").to_owned();
            // A file that was copied keeps the name of the one that it came from.
            let copied = [one, other].into_iter().find(|agent| stem(agent) != agent.name);
            let hint = match copied.filter(|_| one.name == other.name) {
                Some(copy) => format!("call the one in `{0}.md` `{0}`, as its file is called", stem(copy)),
                None => "keep one, or say in both descriptions when the other is meant".to_owned(),
            };
            report
                .add(one.file, one.head(), message)
                .severity(severity)
                .hint(hint)
                .also(other.file, other.head(), "the other")
                .done();
        }
    }
}

/// Finds the pairs that overlap, by their places, and why: the worst reason of each.
fn overlaps(repository: &Repository, agents: &[&Asset]) -> BTreeMap<(usize, usize), (Severity, String)> {
    let mut found = BTreeMap::new();
    let mut by_base: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, agent) in agents.iter().enumerate() {
        for &other in by_base.get(base(&agent.name)).into_iter().flatten() {
            let why = if agents[other].name == agent.name {
                (Severity::High, "have one name; which of them is loaded is left to chance".to_owned())
            } else {
                (Severity::Medium, "have names that mean the same".to_owned())
            };
            found.insert((other, at), why);
        }
        by_base.entry(base(&agent.name)).or_default().push(at);
    }
    let sketches: Vec<&similar::Sketch> =
        agents.iter().map(|agent| agent.sketch(&repository.files)).collect();
    for (one, other, alike) in similar::pairs(&sketches, ALIKE) {
        let why = || (Severity::Medium, format!("are alike to {:.0} %", alike * 100.0));
        found.entry((one, other)).or_insert_with(why);
    }
    for (one, other) in said_alike(agents) {
        let why = || (Severity::Low, "describe themselves in the same words".to_owned());
        found.entry((one, other)).or_insert_with(why);
    }
    found
}

/// How many words of its own a description must have for its words to be compared.
const WORDS_MIN: usize = 6;

/// Words that tell nobody what an agent does.
const FILLERS: &[&str] = &[
    "a",
    "an",
    "the",
    "of",
    "and",
    "or",
    "as",
    "it",
    "its",
    "is",
    "are",
    "was",
    "were",
    "be",
    "been",
    "that",
    "this",
    "has",
    "have",
    "such",
    "use",
    "used",
    "proactively",
    "immediately",
    "right",
    "must",
    "should",
    "agent",
];

/// Finds the pairs of agents whose descriptions are made of the very same words, in whatever order and form. One word of
/// its own may be the subject, and the rest only the frame around it: then nothing is said.
fn said_alike(agents: &[&Asset]) -> Vec<(usize, usize)> {
    let mut said: BTreeMap<Vec<String>, Vec<usize>> = BTreeMap::new();
    for (at, agent) in agents.iter().enumerate() {
        let words = own_words(agent);
        if words.len() >= WORDS_MIN {
            said.entry(words).or_default().push(at);
        }
    }
    let same = said.into_values().filter(|same| same.len() > 1);
    same.flat_map(|same| same[1..].iter().map(|&other| (same[0], other)).collect::<Vec<_>>()).collect()
}

/// Returns the beginnings of the words of a description, in order: `writing`, `written` and `writes` are one. A
/// description that leads from one thing to another has none, for there the order tells.
fn own_words(agent: &Asset) -> Vec<String> {
    let text = agent.definition.text("description").map_or("", |description| &*description.text);
    let lower = text.to_lowercase();
    let words = || lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    if words().any(|word| matches!(word, "from" | "into" | "before" | "than")) {
        return Vec::new();
    }
    let own = words().filter(|word| !FILLERS.contains(word)).map(|word| word.chars().take(4).collect());
    let mut own: Vec<String> = own.collect();
    own.sort_unstable();
    own.dedup();
    own
}

/// The share of common shingles from which on two agents are copies of each other.
const ALIKE: f64 = 0.8;

/// A name without the word that says only that it is an agent.
fn base(name: &str) -> &str {
    name.strip_suffix("-agent").unwrap_or(name)
}
