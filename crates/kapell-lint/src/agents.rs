//! Agents, commands, skills, hooks and instructions as one model: what is defined where, and who names whom.

pub mod alike;
mod assets;
pub mod beside;
pub mod client_hooks;
pub mod clients;
mod defined;
pub mod delegation;
mod hook_script;
mod others;
mod resolve;
pub mod reworded;
pub mod sessions;
pub mod similar;
pub mod tools;

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
};

use kapell_spec::{
    claude::{
        definition::Definition, hooks::Hooks, plugin::Plugin, reference::Reference, starts::Start,
        steps::Flow, tables::BUILT_IN_AGENTS,
    },
    finding::Span,
};
use kapell_view::audit::{AssetKind, Scope};

use client_hooks::ClientHooks;
use clients::Client;
pub use hook_script::{HookScript, script_of};
pub use resolve::Resolved;
use similar::Sketch;

use crate::files::{Broken, FileId, Files};

/// Tells whether a file may be part of the model, by its path.
#[must_use]
pub fn reads(path: &str) -> bool {
    [".md", ".mdc", ".toml", ".json", ".js", ".mjs"].iter().any(|end| path.ends_with(end))
}

/// Tells whether an agent of this name is always there.
#[must_use]
pub fn is_built_in(name: &str) -> bool {
    BUILT_IN_AGENTS.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// The number of an asset in [`Agents`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentId(pub(crate) usize);

/// Who loads a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Home {
    /// Claude Code, from a place where it looks.
    Claude,
    /// Nobody from here: it is kept to be copied elsewhere.
    Library,
    /// Another client.
    Other,
}

/// A file that defines an agent, a command, a skill or instructions. A copy shares its parts.
#[derive(Debug, Clone)]
pub struct Asset {
    /// The file.
    pub file: FileId,
    /// What it is.
    pub kind: AssetKind,
    /// The name by which others call it.
    pub name: String,
    /// Where that name is known.
    pub scope: Scope,
    /// Who loads it.
    pub home: Home,
    /// Which client reads it. What lies in a place that no other client reads belongs to Claude Code.
    pub client: Client,
    /// Where its body ends, if its file goes on behind it: that of a text in TOML or JSON.
    pub until: Option<u32>,
    /// What the commands of an agent of Codex may touch.
    pub sandbox: Option<String>,
    /// Its parts.
    pub definition: Arc<Definition>,
    /// The names it uses.
    pub references: Arc<[Reference]>,
    /// The steps it takes, if it is a command or a skill.
    pub flow: Arc<Flow>,
    /// The agents it starts, one by one, if it is a command or a skill.
    pub starts: Arc<[Start]>,
    /// How its text is compared with others, made when it is first asked for.
    sketch: Arc<OnceLock<Sketch>>,
    /// The words of its description, made when they are first asked for.
    own_words: Arc<OnceLock<Vec<String>>>,
}

/// A file of hooks or settings.
#[derive(Debug, Clone)]
pub struct HookFile {
    /// The file.
    pub file: FileId,
    /// Whether it is a file of settings.
    pub is_settings: bool,
    /// What it holds.
    pub hooks: Hooks,
}

/// A plugin that is defined here.
#[derive(Debug, Clone)]
pub struct PluginFile {
    /// Its name.
    pub name: String,
    /// Its directory, from the top of the repository; empty for the top itself.
    pub root: String,
    /// The manifest that names it.
    pub file: FileId,
    /// What the manifest holds.
    pub plugin: Plugin,
    /// Whether a marketplace names it, and not a manifest of its own.
    pub listed_only: bool,
}

/// The model.
#[derive(Debug, Default)]
pub struct Agents {
    /// The assets, by path.
    pub assets: Vec<Asset>,
    /// Hooks and settings.
    pub hooks: Vec<HookFile>,
    /// Hooks of other clients.
    pub client_hooks: Vec<ClientHooks>,
    /// Plugins, by their directories.
    pub plugins: Vec<PluginFile>,
    /// Scripts of dynamic workflows.
    pub scripts: Vec<(FileId, Scope)>,
    /// Settings, manifests and agents that cannot be read.
    pub broken: Vec<Broken>,
    /// Where names lead.
    index: resolve::Index,
    /// Who hands work to whom, found when it is first asked: several rules do.
    handovers: OnceLock<delegation::Graph>,
    /// Whose texts are much the same, found when it is first asked.
    alike: OnceLock<Vec<alike::Pair>>,
}

impl std::ops::Index<AgentId> for Agents {
    type Output = Asset;

    fn index(&self, id: AgentId) -> &Asset {
        &self.assets[id.0]
    }
}

impl Agents {
    /// Reads the files.
    #[must_use]
    pub fn new(files: &Files) -> Self {
        let mut agents = assets::read(files);
        agents.index_names(files);
        agents
    }

    /// Reads again the files that have other texts; the files have the same numbers as before.
    #[must_use]
    pub(crate) fn with(&self, files: &Files, changed: &BTreeSet<&str>) -> Self {
        let mut agents = assets::read_again(self, files, changed);
        agents.index_names(files);
        let known = self.alike.get();
        if let Some(pairs) = known.and_then(|known| alike::pairs_again(self, known, &agents, files)) {
            agents.alike = pairs.into();
        }
        agents
    }

    /// Returns the assets and scripts of these files, and nothing else.
    #[must_use]
    pub(crate) fn only(&self, files: &BTreeSet<FileId>) -> Self {
        let assets = self.assets.iter().filter(|asset| files.contains(&asset.file)).cloned().collect();
        let scripts = self.scripts.iter().filter(|(file, _)| files.contains(file)).cloned().collect();
        Self { assets, scripts, ..Self::default() }
    }

    /// Returns the files of these and of all that name one of theirs, before or `after` some texts changed; nothing where names
    /// are defined otherwise than before, for then any name may lead elsewhere.
    #[must_use]
    pub fn naming(&self, after: &Self, files: &BTreeSet<FileId>) -> Option<BTreeSet<FileId>> {
        let defined = |agents: &Self| -> Vec<_> {
            let of =
                |asset: &Asset| (asset.file, asset.kind, asset.name.clone(), asset.scope.clone(), asset.home);
            agents.assets.iter().filter(|asset| files.contains(&asset.file)).map(of).collect()
        };
        if self.assets.len() != after.assets.len() || defined(self) != defined(after) {
            return None;
        }
        let names = |agents: &Self, asset: &Asset| {
            asset.references.iter().any(|reference| match agents.resolve(asset, reference) {
                Resolved::Found(id) => files.contains(&agents[id].file),
                _ => false,
            })
        };
        let naming = |agents: &Self| -> Vec<FileId> {
            agents.assets.iter().filter(|asset| names(agents, asset)).map(|asset| asset.file).collect()
        };
        Some(files.iter().copied().chain(naming(self)).chain(naming(after)).collect())
    }

    /// Returns who hands work to whom. `files` are those that the model was read from.
    #[must_use]
    pub fn handovers(&self, files: &Files) -> &delegation::Graph {
        self.handovers.get_or_init(|| delegation::graph(self, files))
    }

    /// Returns the agents, commands and skills whose texts are much the same. `files` are those that the model was read from.
    #[must_use]
    pub fn alike(&self, files: &Files) -> &[alike::Pair] {
        self.alike.get_or_init(|| alike::pairs(self, files))
    }

    /// Returns all assets.
    pub fn iter(&self) -> impl Iterator<Item = (AgentId, &Asset)> {
        self.assets.iter().enumerate().map(|(at, asset)| (AgentId(at), asset))
    }

    /// Returns the assets of a kind.
    pub fn of(&self, kind: AssetKind) -> impl Iterator<Item = (AgentId, &Asset)> {
        self.iter().filter(move |(_, asset)| asset.kind == kind)
    }

    /// Finds a plugin.
    #[must_use]
    pub fn plugin(&self, name: &str) -> Option<&PluginFile> {
        self.plugins.iter().find(|plugin| plugin.name == name)
    }
}

impl Asset {
    /// Tells whether somebody reads it from here, or it is kept to be read elsewhere: of what lies in places of other clients
    /// only what they take for an agent or a command is.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.home != Home::Other || self.client != Client::Claude
    }

    /// Returns its body in the text of its file.
    #[must_use]
    pub fn body<'a>(&self, text: &'a str) -> &'a str {
        let end = self.until.map_or(text.len(), |end| end as usize);
        text.get(self.definition.body as usize..end).unwrap_or_default()
    }

    /// Returns the sketch of its text.
    #[must_use]
    pub fn sketch(&self, files: &Files) -> &Sketch {
        self.sketch.get_or_init(|| Sketch::of(&files[self.file].text))
    }

    /// Returns the beginnings of the words of its description, in order, each once; words that mean the same are one.
    #[must_use]
    pub fn own_words(&self) -> &[String] {
        self.own_words.get_or_init(|| reworded::own_words(self))
    }

    /// Returns where to point at for all of it: its name, or its first line.
    #[must_use]
    pub fn head(&self) -> Span {
        let name = self.definition.field("name").map(|field| field.key.span);
        let front = self
            .definition
            .front
            .as_ref()
            .map(|front| Span::new(front.span.start as usize, front.span.start as usize + 3));
        name.or(front).unwrap_or_else(|| Span::new(0, 0))
    }
}
