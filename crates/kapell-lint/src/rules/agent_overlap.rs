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
    for (one, other) in reworded(repository, agents) {
        let why = || (Severity::Medium, "say the same line by line, in words that hardly differ".to_owned());
        found.entry((one, other)).or_insert_with(why);
    }
    found
}

/// More agents than these are a library, written after one pattern.
const MANY: usize = 40;

/// How many lines two agents must have in common, in nearly the same words, and of how many of theirs.
const LINES_MIN: usize = 6;
const LINES_SHARE: f64 = 0.75;

/// The share of words that two lines, or two descriptions, have in common if they are nearly the same.
const WORDS_SHARE: f64 = 0.55;

/// Finds the pairs of agents with the same tools of which one is the other in other words, line by line.
fn reworded(repository: &Repository, agents: &[&Asset]) -> Vec<(usize, usize)> {
    if agents.len() > MANY {
        return Vec::new();
    }
    let tools = |at: usize| agents[at].definition.text("tools").map(|tools| &*tools.text);
    let said: Vec<Vec<String>> = agents.iter().map(|agent| own_words(agent)).collect();
    let mut found = Vec::new();
    for one in 0..agents.len() {
        for other in one + 1..agents.len() {
            let near = said[one].len() >= WORDS_MIN && share(&said[one], &said[other]) >= WORDS_SHARE;
            if near && tools(one) == tools(other) && in_other_words(repository, agents[one], agents[other]) {
                found.push((one, other));
            }
        }
    }
    found
}

/// Tells whether most lines of two agents are nearly the same, in their order.
fn in_other_words(repository: &Repository, one: &Asset, other: &Asset) -> bool {
    let lines = |agent: &Asset| -> Vec<Vec<String>> {
        let text = agent.body(repository.files[agent.file].lower());
        let words = |line: &str| {
            let mut words: Vec<String> = line
                .split(|c: char| !c.is_alphanumeric())
                .filter(|word| !word.is_empty())
                .map(|word| word.chars().take(4).collect())
                .collect();
            words.sort_unstable();
            words.dedup();
            words
        };
        text.lines().map(words).filter(|words| words.len() >= 3).collect()
    };
    let (own, others) = (lines(one), lines(other));
    let (mut both, mut next) = (0, 0);
    for line in &own {
        if let Some(at) = others[next..].iter().position(|known| share(line, known) >= WORDS_SHARE) {
            both += 1;
            next += at + 1;
        }
    }
    both >= LINES_MIN && both as f64 >= LINES_SHARE * own.len().max(others.len()) as f64
}

/// Returns the share of words that two rows in order have in common, from 0 to 1.
fn share(one: &[String], other: &[String]) -> f64 {
    let both = one.iter().filter(|word| other.binary_search(word).is_ok()).count();
    both as f64 / (one.len() + other.len() - both).max(1) as f64
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
    if words().any(|word| matches!(word, "from" | "into" | "than")) {
        return Vec::new();
    }
    let start = |word: &str| word.chars().take(4).collect::<String>();
    let mut own: Vec<String> = words().filter(|word| !FILLERS.contains(word)).map(start).collect();
    // What comes before what is said by the word that follows.
    let next = words().zip(words().skip(1)).filter(|(word, _)| *word == "before");
    own.extend(next.map(|(_, next)| format!("before {}", start(next))));
    own.sort_unstable();
    own.dedup();
    own
}

/// The share of common shingles from which on two agents are copies of each other.
const ALIKE: f64 = 0.65;

/// A name without the word that says only that it is an agent.
fn base(name: &str) -> &str {
    name.strip_suffix("-agent").unwrap_or(name)
}
