//! From a name to what has it.

use std::collections::{BTreeMap, BTreeSet};

use kapell_spec::{
    claude::{
        reference::{Names, Reference, Strength},
        tables,
    },
    suggest,
};
use kapell_view::audit::{AssetKind, Scope};

use super::{AgentId, Agents, Asset, Home};

/// What a name leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// An asset.
    Found(AgentId),
    /// An asset by the name of its file, though it has another.
    ByFile(AgentId),
    /// What its client always has.
    BuiltIn,
    /// An asset of a plugin that the one who names it does not need to be installed with.
    Elsewhere(AgentId),
    /// Something outside that no file here can show.
    Outside,
    /// Nothing. The nearest name that there is.
    Nothing(Option<String>),
}

impl Agents {
    pub(super) fn index_names(&mut self) {
        let mut by_name: BTreeMap<String, Vec<AgentId>> = BTreeMap::new();
        for (at, asset) in self.assets.iter().enumerate() {
            by_name.entry(asset.name.clone()).or_default().push(AgentId(at));
        }
        self.by_name = by_name;
        self.aliases = self.find_aliases();
    }

    /// Finds words before a colon that stand for commands of this repository: most names after them are defined.
    fn find_aliases(&self) -> BTreeSet<String> {
        let mut uses: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let commands = self.assets.iter().flat_map(|asset| &asset.references);
        for reference in commands.filter(|reference| reference.names == Names::Command) {
            let Some((space, name)) = reference.name.split_once(':') else { continue };
            uses.entry(space).or_default().insert(name);
        }
        let known = |name: &str| {
            self.by_name.get(name).is_some_and(|ids| ids.iter().any(|id| is_command(&self[*id])))
        };
        uses.into_iter()
            .filter(|(_, names)| {
                let found = names.iter().filter(|name| known(name)).count();
                found >= 3 && found * 2 > names.len()
            })
            .map(|(space, _)| space.to_owned())
            .collect()
    }

    /// Tells whether slash commands `space:name` are defined here.
    #[must_use]
    pub fn owns(&self, space: &str) -> bool {
        self.aliases.contains(space) || self.plugin(space).is_some()
    }

    /// Follows a reference.
    #[must_use]
    pub fn resolve(&self, from: &Asset, reference: &Reference) -> Resolved {
        match reference.names {
            Names::Agent => self.agent(from, &reference.name),
            Names::Command => self.command(from, &reference.name),
            Names::Skill => self.find(from, reference.name.rsplit(':').next().unwrap_or_default(), |asset| {
                matches!(asset.kind, AssetKind::Skill | AssetKind::Command)
            }),
            Names::File | Names::Import => Resolved::Outside,
        }
    }

    fn agent(&self, from: &Asset, name: &str) -> Resolved {
        if tables::BUILT_IN_AGENTS.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return Resolved::BuiltIn;
        }
        let is_agent = |asset: &Asset| asset.kind == AssetKind::Agent;
        if name.contains("::") {
            return Resolved::Nothing(Some(name.replace("::", ":")));
        }
        let Some((space, local)) = name.split_once(':') else { return self.find(from, name, is_agent) };
        let Some(plugin) = self.plugin(space) else { return Resolved::Outside };
        let local = local.rsplit(':').next().unwrap_or(local);
        let within = |asset: &Asset| is_agent(asset) && asset.scope == Scope::Plugin(plugin.name.clone());
        match self.find(from, local, within) {
            Resolved::Elsewhere(id) => Resolved::Found(id),
            Resolved::Nothing(_) if !self.assets.iter().any(within) => Resolved::Outside,
            found => found,
        }
    }

    fn command(&self, from: &Asset, name: &str) -> Resolved {
        if let Some((space, local)) = name.split_once(':') {
            if !self.owns(space) {
                return Resolved::Outside;
            }
            let plugin = Scope::Plugin(space.to_owned());
            let is_plugin = self.plugin(space).is_some();
            let within = |asset: &Asset| is_command(asset) && (!is_plugin || asset.scope == plugin);
            // A plugin whose commands and skills are not among the files that were read.
            if !self.assets.iter().any(within) {
                return Resolved::Outside;
            }
            let local = local.rsplit(':').next().unwrap_or(local);
            return match self.find(from, local, |asset| within(asset) || asset.kind == AssetKind::Agent) {
                Resolved::Elsewhere(id) => Resolved::Found(id),
                found => found,
            };
        }
        if tables::BUILT_IN_COMMANDS.contains(&name) {
            return Resolved::BuiltIn;
        }
        match self.find(from, name, is_command) {
            // Of a plugin that may not be here, or from the person's own directory.
            Resolved::Elsewhere(id) => Resolved::Found(id),
            found => found,
        }
    }

    /// Finds an asset by its name: first where it is named from, then in the repository, then anywhere.
    fn find(&self, from: &Asset, name: &str, fits: impl Fn(&Asset) -> bool) -> Resolved {
        let reaches = |asset: &Asset| asset.scope == from.scope || asset.scope == Scope::Repository;
        let named = self.by_name.get(name).into_iter().flatten().copied().filter(|id| fits(&self[*id]));
        let mut named: Vec<AgentId> = named.collect();
        named.sort_by_key(|id| (self[*id].scope != from.scope, !reaches(&self[*id]), *id));
        if let Some(&id) = named.first() {
            return if reaches(&self[id])
                || self.needs(from, &self[id])
                || from.home == Home::Library
                || self[id].home != Home::Claude
            {
                Resolved::Found(id)
            } else {
                Resolved::Elsewhere(id)
            };
        }
        // A client may fold the plugin's name into the agent's.
        let near = self.iter().filter(|(_, asset)| fits(asset) && reaches(asset));
        let near: Vec<(AgentId, &Asset)> = near.collect();
        if let Some((id, _)) = near
            .iter()
            .find(|(_, asset)| asset.definition.text("name").is_some_and(|known| known.text == name))
        {
            return Resolved::Found(*id);
        }
        let prefixed = near
            .iter()
            .find(|(_, asset)| asset.name.strip_suffix(name).is_some_and(|start| start.ends_with('-')));
        let nearest = match prefixed {
            Some((_, asset)) => Some(&*asset.name),
            None => suggest::nearest(name, near.iter().map(|(_, asset)| &*asset.name)),
        };
        Resolved::Nothing(nearest.map(str::to_owned))
    }

    /// Finds an asset whose file is called `name`, though itself it has another name. One that only has
    /// the plugin's name before it is not meant: there the name is cut short.
    #[must_use]
    pub fn by_file(&self, files: &crate::files::Files, from: &Asset, name: &str) -> Option<AgentId> {
        let stem = name.rsplit(':').next().unwrap_or(name);
        let is = |asset: &Asset| {
            asset.kind == AssetKind::Agent
                && files[asset.file].name().strip_suffix(".md") == Some(stem)
                && !asset.name.ends_with(stem)
                && asset.scope == from.scope
        };
        self.iter().find(|(_, asset)| is(asset)).map(|(id, _)| id)
    }

    /// Tells whether the plugin of `from` says that it needs that of `to`.
    fn needs(&self, from: &Asset, to: &Asset) -> bool {
        let (Scope::Plugin(from), Scope::Plugin(to)) = (&from.scope, &to.scope) else { return false };
        let depends =
            |plugin: &super::PluginFile| plugin.plugin.dependencies.iter().any(|named| named.text == *to);
        self.plugin(from).is_some_and(depends)
    }
}

/// Tells whether a slash reaches an asset.
pub(super) fn is_command(asset: &Asset) -> bool {
    matches!(asset.kind, AssetKind::Command | AssetKind::Skill)
}

impl Asset {
    /// Returns the names it uses for sure, or nearly so, and that stand for something.
    pub fn firm(&self, names: Names) -> impl Iterator<Item = &Reference> {
        self.references
            .iter()
            .filter(move |reference| reference.names == names && reference.strength >= Strength::Strong)
    }
}
