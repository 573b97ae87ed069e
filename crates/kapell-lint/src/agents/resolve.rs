//! From a name to what has it.

use std::collections::{BTreeMap, BTreeSet};

use kapell_spec::{
    claude::{
        reference::{Names, Reference, Strength},
        tables,
    },
    hash::HashMap,
    suggest,
};
use kapell_view::audit::{AssetKind, Scope};

use super::{AgentId, Agents, Asset, Home, clients::Client};
use crate::files::Files;

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

/// Who asks for a name: what decides where it leads, beside the name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Asker {
    scope: Scope,
    client: Client,
    in_library: bool,
    names: Names,
    /// Whether a name that leads nowhere is worth the nearest that there is.
    firm: bool,
}

impl Asker {
    fn of(from: &Asset, reference: &Reference) -> Self {
        Self {
            scope: from.scope.clone(),
            client: from.client,
            in_library: from.home == Home::Library,
            names: reference.names,
            firm: reference.strength >= Strength::Strong,
        }
    }
}

/// Assets by the names that they have, and where each name leads.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// By name.
    by_name: HashMap<String, Vec<AgentId>>,
    /// By the name in the frontmatter, where it is another one.
    by_declared: HashMap<String, Vec<AgentId>>,
    /// By what follows a hyphen in the name.
    by_ending: HashMap<String, Vec<AgentId>>,
    /// Agents that have another name than their file, by that of the file.
    by_stem: HashMap<String, Vec<AgentId>>,
    /// Other words for plugins in slash commands, such as `sc`.
    aliases: BTreeSet<String>,
    /// Where the names lead that are used.
    answers: HashMap<Asker, HashMap<String, Resolved>>,
}

impl Index {
    fn named(&self, name: &str) -> &[AgentId] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }
}

impl Agents {
    pub(super) fn index_names(&mut self, files: &Files) {
        let mut index = Index::default();
        for (id, asset) in self.iter() {
            let put = |map: &mut HashMap<String, Vec<AgentId>>, key: &str| {
                map.entry(key.to_owned()).or_default().push(id);
            };
            put(&mut index.by_name, &asset.name);
            if let Some(declared) = asset.definition.text("name").filter(|named| named.text != asset.name) {
                put(&mut index.by_declared, &declared.text);
            }
            for (hyphen, _) in asset.name.match_indices('-') {
                put(&mut index.by_ending, &asset.name[hyphen + 1..]);
            }
            let stem =
                files[asset.file].name().strip_suffix(".md").filter(|_| asset.kind == AssetKind::Agent);
            if let Some(stem) = stem.filter(|stem| !asset.name.ends_with(stem)) {
                put(&mut index.by_stem, stem);
            }
        }
        self.index = index;
        self.index.aliases = self.find_aliases();
        let folders: Vec<String> = self.folders(files).collect();
        self.index.aliases.extend(folders);
        self.index.answers = self.answers();
    }

    /// Follows every name that is used, each once.
    fn answers(&self) -> HashMap<Asker, HashMap<String, Resolved>> {
        let mut answers: HashMap<Asker, HashMap<String, Resolved>> = HashMap::default();
        for from in &self.assets {
            for reference in from.references.iter() {
                let known = answers.entry(Asker::of(from, reference)).or_default();
                if !known.contains_key(&reference.name) {
                    known.insert(reference.name.clone(), self.follow(from, reference));
                }
            }
        }
        answers
    }

    /// Finds the directories that commands lie in below that for commands: they stand before a colon.
    fn folders<'a>(&'a self, files: &'a Files) -> impl Iterator<Item = String> + 'a {
        self.of(AssetKind::Command).filter(|(_, asset)| asset.home == Home::Claude).filter_map(
            |(_, asset)| {
                let (_, below) = files[asset.file].path.split_once(".claude/commands/")?;
                below.split_once('/').map(|(folder, _)| folder.to_owned())
            },
        )
    }

    /// Finds words before a colon that stand for commands of this repository: most names after them are defined.
    fn find_aliases(&self) -> BTreeSet<String> {
        let mut uses: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let commands = self.assets.iter().flat_map(|asset| asset.references.iter());
        for reference in commands.filter(|reference| reference.names == Names::Command) {
            let Some((space, name)) = reference.name.split_once(':') else { continue };
            uses.entry(space).or_default().insert(name);
        }
        let known = |name: &str| self.index.named(name).iter().any(|id| is_command(&self[*id]));
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
        self.index.aliases.contains(space) || self.plugin(space).is_some()
    }

    /// Follows a reference.
    #[must_use]
    pub fn resolve(&self, from: &Asset, reference: &Reference) -> Resolved {
        let known = self.index.answers.get(&Asker::of(from, reference));
        let known = known.and_then(|known| known.get(&reference.name));
        known.cloned().unwrap_or_else(|| self.follow(from, reference))
    }

    fn follow(&self, from: &Asset, reference: &Reference) -> Resolved {
        let ask = Ask { from, firm: reference.strength >= Strength::Strong };
        match reference.names {
            Names::Agent => self.agent(ask, &reference.name),
            Names::Command => self.command(ask, &reference.name),
            Names::Skill => self.find(ask, reference.name.rsplit(':').next().unwrap_or_default(), is_command),
            Names::File | Names::Import => Resolved::Outside,
        }
    }

    fn agent(&self, ask: Ask<'_>, name: &str) -> Resolved {
        let client = ask.from.client;
        let own =
            client != Client::Claude && self.index.named(name).iter().any(|id| self[*id].client == client);
        if tables::BUILT_IN_AGENTS.iter().any(|known| known.eq_ignore_ascii_case(name))
            || client.brings(name) && !own
        {
            return Resolved::BuiltIn;
        }
        let is_agent = |asset: &Asset| asset.kind == AssetKind::Agent;
        if name.contains("::") {
            return Resolved::Nothing(Some(name.replace("::", ":")));
        }
        let Some((space, local)) = name.split_once(':') else { return self.find(ask, name, is_agent) };
        let Some(plugin) = self.plugin(space) else { return Resolved::Outside };
        let local = local.rsplit(':').next().unwrap_or(local);
        let within = |asset: &Asset| is_agent(asset) && asset.scope == Scope::Plugin(plugin.name.clone());
        match self.find(ask, local, within) {
            Resolved::Elsewhere(id) => Resolved::Found(id),
            Resolved::Nothing(_) if !self.assets.iter().any(within) => Resolved::Outside,
            found => found,
        }
    }

    fn command(&self, ask: Ask<'_>, name: &str) -> Resolved {
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
            // `/shift:part:make` for `shift/part-make.md`.
            let joined = local.replace(':', "-");
            let local = local.rsplit(':').next().unwrap_or(local);
            return match self.find(ask, local, within) {
                Resolved::Elsewhere(id) => Resolved::Found(id),
                Resolved::Nothing(_) if self.index.named(&joined).iter().any(|id| within(&self[*id])) => {
                    Resolved::Nothing(Some(joined))
                }
                found => found,
            };
        }
        if tables::BUILT_IN_COMMANDS.contains(&name) {
            return Resolved::BuiltIn;
        }
        match self.find(ask, name, is_command) {
            // Of a plugin that may not be here, or from the person's own directory.
            Resolved::Elsewhere(id) => Resolved::Found(id),
            found => found,
        }
    }

    /// Finds an asset by its name: first where it is named from, then in the repository, then anywhere.
    fn find(&self, ask: Ask<'_>, name: &str, fits: impl Fn(&Asset) -> bool) -> Resolved {
        let from = ask.from;
        let reaches = |asset: &Asset| asset.scope == from.scope || asset.scope == Scope::Repository;
        let named = self.index.named(name).iter().copied().filter(|id| fits(&self[*id]));
        if let Some(id) = named.min_by_key(|id| {
            let to = &self[*id];
            (to.client != from.client, to.scope != from.scope, !reaches(to), *id)
        }) {
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
        let near = |ids: Option<&Vec<AgentId>>| {
            let ids = ids.into_iter().flatten().copied();
            ids.map(|id| (id, &self[id])).find(|(_, asset)| fits(asset) && reaches(asset))
        };
        // A client may fold the plugin's name into the agent's.
        if let Some((id, _)) = near(self.index.by_declared.get(name)) {
            return Resolved::Found(id);
        }
        if !ask.firm {
            return Resolved::Nothing(None);
        }
        let nearest = match near(self.index.by_ending.get(name)) {
            Some((_, asset)) => Some(&*asset.name),
            None => {
                let all = self.assets.iter().filter(|asset| fits(asset) && reaches(asset));
                suggest::nearest(name, all.map(|asset| &*asset.name))
            }
        };
        Resolved::Nothing(nearest.map(str::to_owned))
    }

    /// Finds an asset whose file is called `name`, though itself it has another name. One that only has
    /// the plugin's name before it is not meant: there the name is cut short.
    #[must_use]
    pub fn by_file(&self, from: &Asset, name: &str) -> Option<AgentId> {
        // Nearly all agents are called as their files are.
        if self.index.by_stem.is_empty() {
            return None;
        }
        let stem = name.bytes().rposition(|byte| byte == b':').map_or(name, |colon| &name[colon + 1..]);
        self.index.by_stem.get(stem)?.iter().copied().find(|id| self[*id].scope == from.scope)
    }

    /// Tells whether the plugin of `from` says that it needs that of `to`.
    fn needs(&self, from: &Asset, to: &Asset) -> bool {
        let (Scope::Plugin(from), Scope::Plugin(to)) = (&from.scope, &to.scope) else { return false };
        let depends =
            |plugin: &super::PluginFile| plugin.plugin.dependencies.iter().any(|named| named.text == *to);
        self.plugin(from).is_some_and(depends)
    }
}

/// A question for a name.
#[derive(Clone, Copy)]
struct Ask<'a> {
    from: &'a Asset,
    firm: bool,
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
