//! The assets that orchestrate, and the references between them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Place;

/// What an asset is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AssetKind {
    /// A workflow of GitHub Actions.
    Workflow,
    /// A job of a workflow.
    Job,
    /// A composite or other action of this repository.
    Action,
    /// A slash command.
    Command,
    /// A skill.
    Skill,
    /// An agent definition.
    Agent,
    /// A hook of an agent client.
    Hook,
    /// Settings of an agent client.
    Settings,
    /// A plugin or marketplace manifest.
    Plugin,
    /// A dynamic workflow script.
    Script,
    /// Instructions that are always read: `CLAUDE.md`, `AGENTS.md`, rules.
    Memory,
    /// A workflow file of kapell.
    Mission,
    /// A service of a compose file.
    Service,
    /// A workload of a Kubernetes manifest.
    Workload,
    /// Code that calls models or agents.
    Code,
}

/// Where a name is known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// In the repository.
    Repository,
    /// In the workflow at this path.
    Workflow(String),
    /// In the plugin of this name.
    Plugin(String),
}

/// An asset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Asset {
    /// Its number, from 0 in the order of kind, path and place.
    pub id: u32,
    /// What it is.
    pub kind: AssetKind,
    /// The name by which others call it.
    pub name: String,
    /// Where that name is known.
    pub scope: Scope,
    /// Where it is defined.
    pub place: Place,
    /// The BLAKE3 hash of its text, in hex.
    pub hash: String,
    /// The events that start it, with what they are narrowed to: `push (branches: main)`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub events: Vec<String>,
}

/// What a reference says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EdgeKind {
    /// Starts after the other has ended.
    Awaits,
    /// Runs the other as a part of itself.
    Calls,
    /// Starts the other, and does not wait.
    Triggers,
    /// Hands work to the other.
    Delegates,
    /// Names the other in its text.
    Names,
    /// Includes the other's text.
    Imports,
    /// Gives the other data.
    Feeds,
}

/// How sure a reference is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Strength {
    /// A bare word.
    Weak,
    /// Marked as a name beside words that speak of agents, or in a list of phases.
    Strong,
    /// A key or a form that can mean nothing else.
    Certain,
}

/// A reference from an asset to a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Edge {
    /// The asset that refers.
    pub from: u32,
    /// The asset that is meant, if it is there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<u32>,
    /// Whether what is meant is there though it is no asset: another file, or what its client always has.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub beside: bool,
    /// The name that is written.
    pub name: String,
    /// What the reference says.
    pub kind: EdgeKind,
    /// How sure it is.
    pub strength: Strength,
    /// Where it is written.
    pub place: Place,
    /// What goes from one to the other, where that is known: `output version`, `artifact dist`, `image ghcr.io/a/b`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub data: Option<String>,
}

impl Edge {
    /// Tells whether nothing that is known has the name.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.to.is_none() && !self.beside
    }
}

/// All assets and references of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Inventory {
    /// The assets, by number.
    pub assets: Vec<Asset>,
    /// The references, by asset and place.
    pub edges: Vec<Edge>,
}

/// How many assets of each kind there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Census(BTreeMap<AssetKind, u64>);

impl Census {
    /// Returns how many there are of a kind, if there are any.
    #[must_use]
    pub fn count(&self, kind: AssetKind) -> Option<u64> {
        self.0.get(&kind).copied()
    }

    /// Returns the kinds that there are, and how many of each.
    pub fn iter(&self) -> impl Iterator<Item = (AssetKind, u64)> {
        self.0.iter().map(|(&kind, &count)| (kind, count))
    }
}

impl Inventory {
    /// Returns the assets in files that `shown` names, and their references; what those lead to elsewhere is no number here.
    #[must_use]
    pub fn within(self, shown: impl Fn(&str) -> bool) -> Self {
        let mut numbers = BTreeMap::new();
        let mut assets = Vec::new();
        for mut asset in self.assets.into_iter().filter(|asset| shown(&asset.place.path)) {
            let number = assets.len() as u32;
            numbers.insert(std::mem::replace(&mut asset.id, number), number);
            assets.push(asset);
        }
        let edge = |mut edge: Edge| {
            edge.from = *numbers.get(&edge.from)?;
            edge.beside |= edge.to.is_some();
            edge.to = edge.to.and_then(|to| numbers.get(&to).copied());
            edge.beside &= edge.to.is_none();
            Some(edge)
        };
        Self { edges: self.edges.into_iter().filter_map(edge).collect(), assets }
    }

    /// Counts the assets.
    #[must_use]
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for asset in &self.assets {
            *census.0.entry(asset.kind).or_default() += 1;
        }
        census
    }
}
