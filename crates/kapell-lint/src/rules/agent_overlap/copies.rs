//! Agents whose texts are much the same. What all agents of a house have in common, as a memory or rules that are put into
//! each of them, makes no two of them copies.

use std::collections::{BTreeMap, BTreeSet};

use kapell_spec::hash::HashMap;
use kapell_view::audit::Severity;

use crate::{
    agents::{
        Asset,
        alike::ALIKE,
        similar::{self, Pair, Sketch},
    },
    repository::Repository,
};

/// How many agents a scope needs to have lines of the house.
const HOUSE_MIN: usize = 4;

/// What an agent has of its own is compared where it is at least one part in so many of its text: with less it is the whole that
/// is copied.
const OWN_PART: usize = 5;

/// Agents that hang together by being copies of each other.
pub(super) struct Group {
    /// Their places; two at least.
    pub(super) members: BTreeSet<usize>,
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
        let members: Vec<&Asset> = self.members.iter().map(|&at| agents[at]).collect();
        match members[..] {
            [one, other] if is_variant(one, other) => Severity::Low,
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
    let place =
        |id| agents.binary_search_by_key(&repository.agents[id].file, |agent: &&Asset| agent.file).ok();
    let alike = repository.agents.alike(&repository.files).iter();
    let alike = alike.filter_map(|pair| {
        Some(Pair { one: place(pair.one)?, other: place(pair.other)?, likeness: pair.likeness })
    });
    let mut pairs: Vec<Pair> = alike.filter(|pair| !told(&(pair.one, pair.other))).collect();
    if agents.len() >= HOUSE_MIN && !pairs.is_empty() {
        let sketches: Vec<&Sketch> = agents.iter().map(|agent| agent.sketch(&repository.files)).collect();
        if similar::most_common(&sketches) * 2 >= agents.len() {
            retain_without_house(repository, agents, &mut pairs);
        }
    }
    let mut joined = Joined((0..agents.len()).collect());
    for pair in &pairs {
        joined.join(pair.one, pair.other);
    }
    let mut groups: BTreeMap<usize, Group> = BTreeMap::new();
    for pair in &pairs {
        let first = joined.first(pair.one);
        let group = groups.entry(first).or_insert(Group { members: BTreeSet::new(), least: 1.0 });
        group.members.extend([pair.one, pair.other]);
        group.least = group.least.min(pair.likeness);
    }
    groups.into_values().collect()
}

/// Places that hang together, each with one before it that it hangs together with, or itself.
struct Joined(Vec<usize>);

impl Joined {
    /// Returns the first place that one hangs together with.
    fn first(&mut self, mut at: usize) -> usize {
        while self.0[at] != at {
            self.0[at] = self.0[self.0[at]];
            at = self.0[at];
        }
        at
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.first(one), self.first(other));
        self.0[one.max(other)] = one.min(other);
    }
}

/// What an agent has of its own.
struct Own {
    sketch: Sketch,
    /// Whether it is too little to be compared.
    little: bool,
}

/// Leaves of pairs that are alike those which are so without the lines that at least half of all agents have.
fn retain_without_house(repository: &Repository, agents: &[&Asset], pairs: &mut Vec<Pair>) {
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
    let own = |at: usize| {
        let lines: Vec<&str> = lines(body(at)).filter(|line| !having.contains_key(line)).collect();
        let text = lines.join("\n");
        Own { sketch: Sketch::of(&text), little: text.len() * OWN_PART < body(at).len() }
    };
    let paired: BTreeSet<usize> = pairs.iter().flat_map(|pair| [pair.one, pair.other]).collect();
    let owns: BTreeMap<usize, Own> = paired.into_iter().map(|at| (at, own(at))).collect();
    pairs.retain(|pair| {
        let (one, other) = (&owns[&pair.one], &owns[&pair.other]);
        one.little && other.little || one.sketch.likeness(&other.sketch) >= ALIKE
    });
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
