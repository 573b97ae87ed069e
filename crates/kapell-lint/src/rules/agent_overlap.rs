//! `agent-overlap`: two agents of one scope do the same job.

mod copies; // agents whose texts are much the same

use std::collections::BTreeMap;

use kapell_view::audit::{AssetKind, Confidence, Scope, Severity};

use crate::{
    agents::{
        Asset, Home,
        reworded::{WORDS_SHARE, in_other_words, share},
    },
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule, names},
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
        let named = by_name(&agents);
        let copied = copies::groups(repository, &agents, &|pair| named.contains_key(pair));
        let mut group_of: BTreeMap<usize, usize> = BTreeMap::new();
        for (number, group) in copied.iter().enumerate() {
            group_of.extend(group.members.iter().map(|&at| (at, number)));
            let members: Vec<&Asset> = group.members.iter().map(|&at| agents[at]).collect();
            tell(repository, report, &members, group.severity(&agents), &group.why());
        }
        let reworded = reworded(repository, &agents).into_iter().map(|pair| (pair, REWORDED));
        let said = said_alike(&agents).into_iter().map(|pair| (pair, SAID));
        let mut told = named;
        for ((one, other), why) in reworded.chain(said) {
            let copies = group_of.get(&one).is_some_and(|group| group_of.get(&other) == Some(group));
            if !copies {
                told.entry((one, other)).or_insert(why);
            }
        }
        for ((one, other), Why { severity, text }) in told {
            tell(repository, report, &[agents[one], agents[other]], severity, text);
        }
    }
}

/// Why two agents overlap.
#[derive(Clone, Copy)]
struct Why {
    severity: Severity,
    /// What they do, behind their names.
    text: &'static str,
}

const ONE_NAME: Why =
    Why { severity: Severity::High, text: "have one name; which of them is loaded is left to chance" };
const LIKE_NAMES: Why = Why { severity: Severity::Medium, text: "have names that mean the same" };
const REWORDED: Why =
    Why { severity: Severity::Medium, text: "say the same line by line, in words that hardly differ" };
const SAID: Why = Why { severity: Severity::Low, text: "describe themselves in the same words" };

/// Reports agents that do the same, at the first of them.
fn tell(repository: &Repository, report: &mut Report<'_>, agents: &[&Asset], severity: Severity, why: &str) {
    let [one, others @ ..] = agents else { return };
    let message = format!("agents {} {why}", names(agents.iter().map(|agent| &*agent.name)));
    let stem = |agent: &Asset| repository.files[agent.file].name().trim_end_matches(".md").to_owned();
    // A file that was copied keeps the name of the one that it came from.
    let copied = agents.iter().find(|agent| stem(agent) != agent.name);
    let hint = match copied.filter(|_| others.iter().all(|other| other.name == one.name)) {
        Some(copy) => format!("call the one in `{0}.md` `{0}`, as its file is called", stem(copy)),
        None if others.len() > 1 => "keep one, or say in each description when it is meant".to_owned(),
        None => "keep one, or say in both descriptions when the other is meant".to_owned(),
    };
    let mut draft = report.add(one.file, one.head(), message).severity(severity).hint(hint);
    for other in others {
        draft = draft.also(other.file, other.head(), "the other");
    }
    draft.done();
}

/// Finds the pairs with names that are or mean the same, by their places.
fn by_name(agents: &[&Asset]) -> BTreeMap<(usize, usize), Why> {
    let mut found = BTreeMap::new();
    let mut by_base: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, agent) in agents.iter().enumerate() {
        for &other in by_base.get(base(&agent.name)).into_iter().flatten() {
            let why = if agents[other].name == agent.name { ONE_NAME } else { LIKE_NAMES };
            found.insert((other, at), why);
        }
        by_base.entry(base(&agent.name)).or_default().push(at);
    }
    found
}

/// More agents than these are a library, written after one pattern.
const MANY: usize = 40;

/// How many lines two agents must have in common, in nearly the same words; fewer where their descriptions differ in no word
/// that counts.
const LINES_MIN: usize = 6;
const LINES_FEW: usize = 4;

/// Finds the pairs of agents with the same tools of which one is the other in other words, line by line.
fn reworded(repository: &Repository, agents: &[&Asset]) -> Vec<(usize, usize)> {
    if agents.len() > MANY {
        return Vec::new();
    }
    let tools = |at: usize| agents[at].definition.text("tools").map(|tools| &*tools.text);
    let said: Vec<&[String]> = agents.iter().map(|agent| agent.own_words()).collect();
    let mut found = Vec::new();
    for one in 0..agents.len() {
        for other in one + 1..agents.len() {
            let near = said[one].len() >= WORDS_MIN && share(said[one], said[other]) >= WORDS_SHARE;
            let least = if said[one] == said[other] { LINES_FEW } else { LINES_MIN };
            let both = (agents[one], agents[other]);
            if near && tools(one) == tools(other) && in_other_words(&repository.files, both, least) {
                found.push((one, other));
            }
        }
    }
    found
}

/// How many words of its own a description must have for its words to be compared.
const WORDS_MIN: usize = 6;

/// Finds the pairs of agents whose descriptions are made of the very same words, in whatever order and form. One word of
/// its own may be the subject, and the rest only the frame around it: then nothing is said.
fn said_alike(agents: &[&Asset]) -> Vec<(usize, usize)> {
    let mut said: BTreeMap<&[String], Vec<usize>> = BTreeMap::new();
    for (at, agent) in agents.iter().enumerate() {
        let words = agent.own_words();
        if words.len() >= WORDS_MIN {
            said.entry(words).or_default().push(at);
        }
    }
    let same = said.into_values().filter(|same| same.len() > 1);
    same.flat_map(|same| same[1..].iter().map(|&other| (same[0], other)).collect::<Vec<_>>()).collect()
}

/// A name without the word that says only that it is an agent.
fn base(name: &str) -> &str {
    name.strip_suffix("-agent").unwrap_or(name)
}
