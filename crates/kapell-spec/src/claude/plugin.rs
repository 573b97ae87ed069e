//! Manifests of plugins and marketplaces.

use super::{
    definition::Named,
    hooks::{json, scalar},
};
use crate::{finding::Finding, yaml::Node};

/// A plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plugin {
    /// Its name.
    pub name: Option<Named>,
    /// Where it is, from the marketplace's directory; for a manifest, nothing.
    pub source: Option<Named>,
    /// Paths of its commands, where the manifest names them.
    pub commands: Vec<Named>,
    /// Paths of its agents, where the manifest names them.
    pub agents: Vec<Named>,
    /// Paths of its skills, where the manifest names them.
    pub skills: Vec<Named>,
    /// The plugins that it needs.
    pub dependencies: Vec<Named>,
}

/// Reads `.claude-plugin/plugin.json`.
#[must_use]
pub fn manifest(text: &str) -> (Plugin, Vec<Finding>) {
    let (root, findings) = json(text);
    (root.as_ref().map_or_else(Plugin::default, plugin), findings)
}

/// Reads `.claude-plugin/marketplace.json`.
#[must_use]
pub fn marketplace(text: &str) -> (Vec<Plugin>, Vec<Finding>) {
    let (root, findings) = json(text);
    let plugins =
        root.as_ref().and_then(|root| root.get("plugins")).and_then(Node::items).unwrap_or_default();
    (plugins.iter().map(plugin).collect(), findings)
}

fn plugin(node: &Node) -> Plugin {
    let list = |key: &str, read: fn(&Node) -> Option<Named>| {
        let Some(value) = node.get(key) else { return Vec::new() };
        match value.items() {
            Some(items) => items.iter().filter_map(read).collect(),
            None => scalar(value).into_iter().collect(),
        }
    };
    Plugin {
        name: node.get("name").and_then(scalar),
        source: node.get("source").and_then(scalar),
        commands: list("commands", scalar),
        agents: list("agents", scalar),
        skills: list("skills", scalar),
        dependencies: list("dependencies", dependency),
    }
}

/// A dependency is a name, or a mapping that has one.
fn dependency(node: &Node) -> Option<Named> {
    scalar(node).or_else(|| scalar(node.get("name")?))
}
