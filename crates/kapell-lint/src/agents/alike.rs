//! Which texts are much the same.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::BuildHasherDefault,
    sync::Arc,
};

use kapell_view::audit::{AssetKind, Scope};

use super::{
    AgentId, Agents, Asset, Home,
    similar::{self, AsItIs, Sketch},
};
use crate::files::Files;

/// The share of common shingles from which on two texts are copies of each other.
pub const ALIKE: f64 = 0.65;

/// Two agents, commands or skills of one scope whose texts are alike to at least [`ALIKE`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// The first of them.
    pub one: AgentId,
    /// The other.
    pub other: AgentId,
    /// The share of shingles that both have, from 0 to 1.
    pub likeness: f64,
}

/// What is known in one place and loaded by the same, which alone is compared with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Circle<'a> {
    scope: &'a Scope,
    home: Home,
}

impl<'a> Circle<'a> {
    fn of(asset: &'a Asset) -> Option<Self> {
        let compared = matches!(asset.kind, AssetKind::Agent | AssetKind::Command | AssetKind::Skill);
        (compared && asset.home != Home::Other).then_some(Self { scope: &asset.scope, home: asset.home })
    }
}

/// Finds all pairs, in order.
pub(super) fn pairs(agents: &Agents, files: &Files) -> Vec<Pair> {
    let mut circles: BTreeMap<Circle<'_>, Vec<AgentId>> = BTreeMap::new();
    for (id, asset) in agents.iter() {
        if let Some(circle) = Circle::of(asset) {
            circles.entry(circle).or_default().push(id);
        }
    }
    let mut found = Vec::new();
    for ids in circles.into_values().filter(|ids| ids.len() > 1) {
        let sketches: Vec<&Sketch> = ids.iter().map(|&id| agents[id].sketch(files)).collect();
        let alike = similar::pairs(&sketches, ALIKE).into_iter();
        found.extend(alike.map(|pair| Pair {
            one: ids[pair.one],
            other: ids[pair.other],
            likeness: pair.likeness,
        }));
    }
    found.sort_unstable_by_key(|pair| (pair.one, pair.other));
    found
}

/// Finds all pairs where those of `old` are known, and only some texts are others since. Nothing is found where the assets
/// themselves are others.
pub(super) fn pairs_again(old: &Agents, known: &[Pair], new: &Agents, files: &Files) -> Option<Vec<Pair>> {
    let same = |(one, other): (&Asset, &Asset)| {
        one.file == other.file && one.kind == other.kind && Circle::of(one) == Circle::of(other)
    };
    if old.assets.len() != new.assets.len() || !old.assets.iter().zip(&new.assets).all(same) {
        return None;
    }
    // What was read again has parts of its own.
    let is_new = |id: AgentId| !Arc::ptr_eq(&old[id].sketch, &new[id].sketch);
    let mut found: Vec<Pair> =
        known.iter().copied().filter(|pair| !is_new(pair.one) && !is_new(pair.other)).collect();
    let mut by_hash: HashMap<u64, Vec<AgentId>, BuildHasherDefault<AsItIs>> = HashMap::default();
    for (id, asset) in new.iter().filter(|&(id, asset)| is_new(id) && Circle::of(asset).is_some()) {
        let least = asset.sketch(files).least(ALIKE).iter();
        least.for_each(|&hash| by_hash.entry(hash).or_default().push(id));
    }
    for (other, beside) in new.iter().filter(|(_, beside)| Circle::of(beside).is_some()) {
        let least = beside.sketch(files).least(ALIKE).iter();
        let near: BTreeSet<AgentId> = least.filter_map(|hash| by_hash.get(hash)).flatten().copied().collect();
        for id in near.into_iter().filter(|&id| Circle::of(&new[id]) == Circle::of(beside)) {
            // Two that are new are met twice.
            if other == id || is_new(other) && other < id {
                continue;
            }
            let likeness = new[id].sketch(files).likeness_from(beside.sketch(files), ALIKE);
            let (one, other) = (id.min(other), id.max(other));
            found.extend(likeness.map(|likeness| Pair { one, other, likeness }));
        }
    }
    found.sort_unstable_by_key(|pair| (pair.one, pair.other));
    Some(found)
}
