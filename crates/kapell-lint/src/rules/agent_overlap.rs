//! `agent-overlap`: two agents of one scope do the same job.

use std::collections::{BTreeMap, BTreeSet};

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
            let hint = "keep one, or say in both descriptions when the other is meant";
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

/// Words that descriptions share whatever they describe.
const FILLERS: &[&str] = &[
    "this",
    "that",
    "with",
    "when",
    "after",
    "before",
    "agent",
    "agents",
    "subagent",
    "proactively",
    "immediately",
    "right",
    "must",
    "used",
    "uses",
    "from",
    "into",
    "specialist",
    "expert",
    "specialized",
    "specializing",
    "specializes",
    "tasks",
    "your",
    "their",
    "have",
    "been",
    "were",
    "using",
    "specialised",
];

/// Finds the pairs of agents whose descriptions are made of the same words: a model that chooses by them has nothing to
/// tell them apart by.
fn said_alike(agents: &[&Asset]) -> Vec<(usize, usize)> {
    let words: Vec<(u64, BTreeSet<String>)> = agents.iter().map(|agent| own_words(agent)).collect();
    let mut found = Vec::new();
    for (at, (bits, own)) in words.iter().enumerate().filter(|(_, (_, own))| own.len() >= WORDS_MIN) {
        for (other, (other_bits, others)) in words.iter().enumerate().skip(at + 1) {
            // Few pairs share so many bits that their words have to be looked at.
            let apart = (bits ^ other_bits).count_ones() as usize;
            if others.len() < WORDS_MIN || apart > own.len().min(others.len()) {
                continue;
            }
            let both = own.intersection(others).count();
            let all = own.len() + others.len() - both;
            if both * 10 >= all * 7 {
                found.push((at, other));
            }
        }
    }
    found
}

/// Returns the beginnings of the words of a description, and one bit for each. A beginning stands for all its endings:
/// `review`, `reviews` and `reviewing` are one.
fn own_words(agent: &Asset) -> (u64, BTreeSet<String>) {
    let text = agent.definition.text("description").map_or("", |description| &*description.text);
    let lower = text.to_lowercase();
    let words =
        lower.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 3 && !FILLERS.contains(word));
    let words: BTreeSet<String> = words.map(|word| word.chars().take(5).collect()).collect();
    let bit = |word: &String| {
        let hash = word.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        1_u64 << (hash >> 58)
    };
    (words.iter().map(bit).fold(0, |bits, bit| bits | bit), words)
}

/// The share of common shingles from which on two agents are copies of each other.
const ALIKE: f64 = 0.8;

/// A name without the word that says only that it is an agent.
fn base(name: &str) -> &str {
    name.strip_suffix("-agent").unwrap_or(name)
}
