//! Agents whose texts are much the same. What all agents of a house have in common, as a memory or rules that are put into
//! each of them, makes no two of them copies.

use std::collections::BTreeSet;

use kapell_spec::hash::HashMap;
use kapell_view::audit::Severity;

use crate::{
    agents::{
        Asset,
        similar::{self, Sketch},
    },
    repository::Repository,
};

/// The share of common shingles from which on two agents are copies of each other.
const ALIKE: f64 = 0.65;

/// How many agents a scope needs to have lines of the house.
const HOUSE_MIN: usize = 4;

/// The share of its text, one part of so many, that an agent must have of its own for that to be compared; with less it is the
/// whole that is copied.
const OWN_PART: usize = 5;

/// Agents that hang together by being copies of each other.
pub(super) struct Group {
    /// Their places, in order; two at least.
    pub(super) members: Vec<usize>,
    /// How alike the two are that are so the least, from 0 to 1.
    least: f64,
}

impl Group {
    /// Says what they are, behind their names.
    pub(super) fn why(&self) -> String {
        let more = if self.members.len() > 2 { " and more" } else { "" };
        format!("are alike to {:.0} %{more}", self.least * 100.0)
    }

    /// Tells how bad it is: variants for different work are less so.
    pub(super) fn severity(&self, agents: &[&Asset]) -> Severity {
        match self.members[..] {
            [one, other] if is_variant(agents[one], agents[other]) => Severity::Low,
            _ => Severity::Medium,
        }
    }
}

/// Finds the agents that are copies of each other, but for pairs that are told of otherwise.
pub(super) fn groups(
    repository: &Repository,
    agents: &[&Asset],
    told: &dyn Fn(&(usize, usize)) -> bool,
) -> Vec<Group> {
    let sketches: Vec<&Sketch> = agents.iter().map(|agent| agent.sketch(&repository.files)).collect();
    let mut pairs = similar::pairs(&sketches, ALIKE);
    pairs.retain(|&(one, other, _)| !told(&(one, other)));
    if agents.len() >= HOUSE_MIN && !pairs.is_empty() && similar::most_common(&sketches) * 2 >= agents.len() {
        pairs = without_house(repository, agents, pairs);
    }
    let mut first: Vec<usize> = (0..agents.len()).collect();
    let root = |first: &[usize], mut at: usize| {
        while first[at] != at {
            at = first[at];
        }
        at
    };
    for &(one, other, _) in &pairs {
        let (one, other) = (root(&first, one), root(&first, other));
        first[one.max(other)] = one.min(other);
    }
    let mut by_root: HashMap<usize, Group> = HashMap::default();
    for &(one, other, alike) in &pairs {
        let group = by_root.entry(root(&first, one)).or_insert(Group { members: Vec::new(), least: 1.0 });
        group.members.extend([one, other]);
        group.least = group.least.min(alike);
    }
    let mut groups: Vec<Group> = by_root.into_values().collect();
    for group in &mut groups {
        group.members.sort_unstable();
        group.members.dedup();
    }
    groups.sort_unstable_by(|one, other| one.members.cmp(&other.members));
    groups
}

/// Leaves of pairs that are alike those which are so without the lines that at least half of all agents have.
fn without_house(
    repository: &Repository,
    agents: &[&Asset],
    mut pairs: Vec<(usize, usize, f64)>,
) -> Vec<(usize, usize, f64)> {
    let body = |at: usize| {
        let agent = agents[at];
        &repository.files[agent.file].text[agent.definition.body as usize..]
    };
    let mut having: HashMap<&str, usize> = HashMap::default();
    for at in 0..agents.len() {
        let lines: BTreeSet<&str> = lines(body(at)).collect();
        lines.into_iter().for_each(|line| *having.entry(line).or_default() += 1);
    }
    having.retain(|_, count| *count * 2 >= agents.len());
    let own: Vec<String> = (0..agents.len())
        .map(|at| lines(body(at)).filter(|line| !having.contains_key(line)).collect::<Vec<_>>().join("\n"))
        .collect();
    pairs.retain(|&(one, other, _)| {
        let little = |at: usize| own[at].len() * OWN_PART < body(at).len();
        little(one) && little(other) || Sketch::of(&own[one]).likeness(&Sketch::of(&own[other])) >= ALIKE
    });
    pairs
}

/// Returns the lines of a text that say something.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

/// Tells whether the name of one agent is that of another and one word more, which only its own description says: `fixer` and
/// `fixer-frontend` are for different work, however alike their texts are.
fn is_variant(one: &Asset, other: &Asset) -> bool {
    let (short, long) = if one.name.len() < other.name.len() { (one, other) } else { (other, one) };
    let Some(word) = long.name.strip_prefix(&*short.name).and_then(|rest| rest.strip_prefix('-')) else {
        return false;
    };
    let says = |agent: &Asset| {
        let said = agent.definition.text("description").map(|text| text.text.to_ascii_lowercase());
        said.is_some_and(|said| said.contains(&word.to_ascii_lowercase()))
    };
    says(long) && !says(short)
}
