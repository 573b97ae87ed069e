//! Which file defines what.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kapell_spec::{
    claude::{
        codex,
        definition::Definition,
        hooks, plugin,
        reference::{self, Reference},
        starts, steps,
        tables::AGENT_KEYS,
    },
    finding::Span,
};
use kapell_view::audit::{AssetKind, Scope};

use super::{
    Agents, Asset, Home, HookFile, PluginFile, client_hooks, clients, clients::Client, defined, others,
};
use crate::files::{Broken, File, FileId, Files};

/// Names of Markdown files that explain a directory and define nothing.
const EXPLAINING: &[&str] = &["readme.md", "changelog.md", "contributing.md", "license.md"];

/// Directories of examples and tests: what stands there is not in force.
const EXAMPLES: &[&str] = &[
    "examples",
    "example",
    "templates",
    "template",
    "test",
    "tests",
    "fixtures",
    "docs",
    "evals",
    "samples",
];

pub(super) fn read(files: &Files) -> Agents {
    let client_hooks = client_hooks::read(files);
    let mut agents = Agents { plugins: plugins(files), client_hooks, ..Agents::default() };
    for (id, file) in files.iter() {
        let name = file.name();
        if name.ends_with(".md") || name.ends_with(".mdc") {
            if let Some(asset) = markdown(&agents, id, file) {
                agents.hooks.extend(own_hooks(&asset, file));
                agents.assets.push(asset);
            }
        } else if let Some(place) = clients::place(&file.path).filter(|_| name.ends_with(".toml")) {
            match others::toml(id, file, place) {
                Ok(agent) => agents.assets.push(agent),
                Err((span, why)) => agents.broken.push(Broken { file: id, span, why }),
            }
        } else if matches!(&*file.path, "opencode.json" | ".opencode/opencode.json") {
            agents.assets.extend(others::of_opencode(id, file));
        } else if is_client_toml(&file.path) {
            agents.broken.extend(codex::broken(&file.text).map(|(span, why)| Broken { file: id, span, why }));
        } else if name == "hooks.json" || name == "settings.json" || name == "settings.local.json" {
            if let Some(hooks) = hook_file(id, file) {
                agents.hooks.push(hooks);
                agents.broken.extend(broken_json(id, file));
            }
        } else if is_manifest(&file.path) || name == ".mcp.json" {
            agents.broken.extend(broken_json(id, file));
            // A plugin may hold its hooks in its manifest.
            let (hooks, _) = hooks::read(&file.text);
            if !hooks.hooks.is_empty() {
                agents.hooks.push(HookFile { file: id, is_settings: false, hooks });
            }
        } else if is_script(file, agents.plugins.iter().any(|plugin| plugin.root.is_empty())) {
            let scope = owner(&agents, &file.path)
                .map_or(Scope::Repository, |plugin| Scope::Plugin(plugin.name.clone()));
            agents.scripts.push((id, scope));
        }
    }
    defined::hear(&mut agents.assets, files, None);
    agents
}

/// Reads again the Markdown files that have other texts; the files have the same numbers as before.
pub(super) fn read_again(old: &Agents, files: &Files, changed: &BTreeSet<&str>) -> Agents {
    let is_markdown = |path: &&str| path.ends_with(".md") || path.ends_with(".mdc");
    if !changed.iter().all(is_markdown) {
        return read(files);
    }
    let changed: BTreeSet<FileId> = changed.iter().filter_map(|path| files.find(path)).collect();
    let mut agents = Agents {
        assets: Vec::new(),
        hooks: old.hooks.iter().filter(|file| !changed.contains(&file.file)).cloned().collect(),
        client_hooks: old.client_hooks.clone(),
        plugins: old.plugins.clone(),
        scripts: old.scripts.clone(),
        broken: old.broken.clone(),
        ..Agents::default()
    };
    let mut assets: Vec<Asset> =
        old.assets.iter().filter(|asset| !changed.contains(&asset.file)).cloned().collect();
    assets.extend(changed.iter().filter_map(|&id| markdown(&agents, id, &files[id])));
    let own = assets.iter().filter(|asset| changed.contains(&asset.file));
    agents.hooks.extend(own.filter_map(|asset| own_hooks(asset, &files[asset.file])));
    agents.hooks.sort_by_key(|hooks| hooks.file);
    assets.sort_by_key(|asset| asset.file);
    // Whom a text names hangs on who is defined.
    if defined::names(&assets) != defined::names(&old.assets) {
        return read(files);
    }
    defined::hear(&mut assets, files, Some(&changed));
    agents.assets = assets;
    agents
}

/// A script with phases and agents, in a plugin's `workflows` or saved as a command.
fn is_script(file: &File, is_plugin: bool) -> bool {
    let name = file.name();
    (name.ends_with(".js") || name.ends_with(".mjs"))
        && ([".claude/workflows/", "/workflows/", ".claude/commands/"]
            .iter()
            .any(|part| file.path.contains(part))
            || is_plugin && file.path.starts_with("workflows/"))
        && (file.text.contains("agent(") || file.text.contains("phase("))
}

/// Tells whether a path is that of settings of Codex, or of a command of Gemini CLI.
fn is_client_toml(path: &str) -> bool {
    path.ends_with(".codex/config.toml") || path.ends_with(".toml") && path.contains(".gemini/commands/")
}

/// Tells whether a path is that of the manifest of a plugin or a marketplace.
fn is_manifest(path: &str) -> bool {
    let folders = path.strip_suffix("/plugin.json").or_else(|| path.strip_suffix("/marketplace.json"));
    folders.is_some_and(|folders| folders.rsplit('/').next() == Some(".claude-plugin"))
}

/// Returns where a file stops being JSON, and why. What reads it takes more than that, such as a comment; its client does
/// not.
fn broken_json(id: FileId, file: &File) -> Option<Broken> {
    let text = file.text.trim_start_matches('\u{feff}');
    let error = serde_json::from_str::<serde::de::IgnoredAny>(text).err()?;
    let line = file.line_span(error.line() as u32);
    let at = (line.start as usize + error.column().saturating_sub(1)).min(line.end as usize);
    let told = error.to_string();
    let why = told.rsplit_once(" at line ").map_or(&*told, |(why, _)| why);
    Some(Broken { file: id, span: Span::new(at, line.end as usize), why: format!("not valid JSON: {why}") })
}

fn hook_file(id: FileId, file: &File) -> Option<HookFile> {
    let is_settings = file.name() != "hooks.json";
    let in_force = if is_settings {
        file.path.rsplit('/').nth(1) == Some(".claude")
    } else {
        file.path.rsplit('/').nth(1) == Some("hooks") || file.path.contains("plugin")
    };
    if !in_force {
        return None;
    }
    let (hooks, _) = hooks::read(&file.text);
    Some(HookFile { file: id, is_settings, hooks })
}

/// Reads the hooks that an agent, a command or a skill brings in its frontmatter.
fn own_hooks(asset: &Asset, file: &File) -> Option<HookFile> {
    let node = asset.definition.field("hooks").filter(|_| asset.home == Home::Claude)?.node.as_ref()?;
    let hooks = hooks::of(node);
    let is_settings = file.path.contains(".claude/");
    (!hooks.hooks.is_empty() || !hooks.lost.is_empty()).then_some(HookFile {
        file: asset.file,
        is_settings,
        hooks,
    })
}

/// Finds the plugins by their manifests, and by the marketplace.
fn plugins(files: &Files) -> Vec<PluginFile> {
    let mut plugins: BTreeMap<String, PluginFile> = BTreeMap::new();
    let root_of = |path: &str, name: &str| {
        let root = path.strip_suffix(name)?.strip_suffix(".claude-plugin/")?;
        Some(root.trim_end_matches('/').to_owned())
    };
    for (id, file) in files.iter().filter(|(_, file)| file.name() == "plugin.json") {
        let Some(root) = root_of(&file.path, "plugin.json") else { continue };
        let (plugin, _) = plugin::manifest(&file.text);
        let Some(name) = plugin.name.as_ref().map(|name| name.text.clone()) else { continue };
        plugins.insert(root.clone(), PluginFile { name, root, file: id, plugin, listed_only: false });
    }
    for (id, file) in files.iter().filter(|(_, file)| file.name() == "marketplace.json") {
        let Some(top) = root_of(&file.path, "marketplace.json") else { continue };
        let (listed, _) = plugin::marketplace(&file.text);
        for plugin in listed {
            let (Some(name), Some(source)) = (&plugin.name, &plugin.source) else { continue };
            let source = source.text.trim_start_matches("./").trim_matches('/');
            let root =
                [&*top, source].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("/");
            let name = name.text.clone();
            // Several plugins may share a directory and pick parts of it; only the first can own it.
            plugins.entry(root.clone()).or_insert(PluginFile {
                name,
                root,
                file: id,
                plugin,
                listed_only: true,
            });
        }
    }
    plugins.into_values().collect()
}

/// Finds the plugin that a path belongs to: the innermost.
pub(super) fn owner<'a>(agents: &'a Agents, path: &str) -> Option<&'a PluginFile> {
    let folders = path.rmatch_indices('/').map(|(at, _)| &path[..at]).chain([""]);
    let at = |root: &str| agents.plugins.binary_search_by(|plugin| (*plugin.root).cmp(root)).ok();
    folders.filter_map(at).next().map(|at| &agents.plugins[at])
}

/// What a Markdown file is by its place: its kind, scope and home, and the name its path gives it.
fn place(agents: &Agents, path: &str) -> Option<(AssetKind, Scope, Home, String)> {
    let parts: Vec<&str> = path.split('/').collect();
    let (file, directories) = parts.split_last()?;
    let stem = file.strip_suffix(".md").or_else(|| file.strip_suffix(".mdc"))?;
    if matches!(*file, "CLAUDE.md" | "CLAUDE.local.md" | "AGENTS.md" | "AGENTS.override.md" | "GEMINI.md") {
        return Some((AssetKind::Memory, Scope::Repository, Home::Claude, (*file).to_owned()));
    }
    let plugin = owner(agents, path);
    let scope = plugin.map_or(Scope::Repository, |plugin| Scope::Plugin(plugin.name.clone()));
    let claude = directories.iter().position(|part| *part == ".claude");
    // Below `.claude` the plugin that happens to lie above owns nothing.
    let (inner, scope, mut home) = match (claude, plugin) {
        (Some(at), _) => (&directories[at + 1..], Scope::Repository, Home::Claude),
        (None, Some(plugin)) => {
            let depth = plugin.root.split('/').filter(|part| !part.is_empty()).count();
            (&directories[depth..], scope, Home::Claude)
        }
        (None, None) => (directories, Scope::Repository, Home::Library),
    };
    if directories.iter().any(|part| EXAMPLES.contains(part)) {
        home = Home::Library;
    }
    // A skill deeper below `.claude` lies there for a tool of its own: its client looks into `.claude/skills` alone.
    if claude.is_some()
        && *file == "SKILL.md"
        && inner.first() != Some(&"skills")
        && inner.contains(&"skills")
    {
        home = Home::Library;
    }
    if directories
        .iter()
        .any(|part| matches!(*part, ".cursor" | ".opencode" | ".gemini" | ".codex" | ".github"))
        || stem.ends_with(".agent")
    {
        home = Home::Other;
    }
    if *file == "SKILL.md" {
        return Some((AssetKind::Skill, scope, home, (*directories.last()?).to_owned()));
    }
    let folder = inner.iter().position(|part| matches!(*part, "agents" | "commands" | "skills" | "rules"));
    let folder = folder.filter(|&at| at == 0 || home != Home::Claude);
    match folder.map(|at| inner[at]) {
        Some("agents") => Some((AssetKind::Agent, scope, home, stem.to_owned())),
        Some("commands") => Some((AssetKind::Command, scope, home, stem.to_owned())),
        Some("rules") if claude.is_some() => {
            Some((AssetKind::Memory, Scope::Repository, home, stem.to_owned()))
        }
        // Files beside a skill are its references.
        Some("skills") => None,
        _ => Some((
            AssetKind::Code,
            scope,
            if home == Home::Claude { Home::Library } else { home },
            stem.to_owned(),
        )),
    }
}

fn markdown(agents: &Agents, id: FileId, file: &File) -> Option<Asset> {
    // `agents/changelog.md` may be an agent: then it says so.
    let other = clients::place(&file.path).filter(|_| file.text.starts_with("---"));
    if EXPLAINING.contains(&&*file.name().to_ascii_lowercase())
        && !file.text.starts_with("---\nname:")
        && !(file.text.starts_with("---") && is_command_of_claude(&file.path))
        && other.is_none()
    {
        return None;
    }
    let text = &*file.text;
    let client = other.as_ref().map_or(Client::Claude, |(client, ..)| *client);
    let (mut kind, scope, home, stem) = match other {
        Some((_, kind, name)) => (kind, Scope::Repository, Home::Other, name),
        None => place(agents, &file.path)?,
    };
    // By its place it may be anything: then its text has to say.
    let unknown = kind == AssetKind::Code;
    let speaks = |text: &str| text.contains("$ARGUMENTS") || text.contains("subagent_type");
    if unknown && (is_documentation(&file.path) || !text.starts_with("---") && !speaks(text)) {
        return None;
    }
    let definition = Definition::read(text);
    if unknown {
        let is_agent = definition.text("name").is_some()
            && definition.text("description").is_some()
            && (definition.field("tools").is_some()
                || definition.field("model").is_some()
                || definition.field("color").is_some());
        kind = if is_agent {
            AssetKind::Agent
        } else if speaks(text) {
            AssetKind::Command
        } else {
            return None;
        };
    }
    let home = if kind == AssetKind::Agent && home == Home::Library && is_of_another_client(&definition) {
        Home::Other
    } else {
        home
    };
    // Files in a library without frontmatter explain something.
    if kind == AssetKind::Agent
        && home != Home::Claude
        && client == Client::Claude
        && definition.text("name").is_none()
        && definition.hidden.is_none()
    {
        return None;
    }
    let name = match kind {
        // opencode calls an agent as its file is called.
        AssetKind::Agent if client != Client::Opencode => {
            definition.text("name").map(|name| name.text.trim().to_owned())
        }
        _ => None,
    };
    let mut references = reference::references(text, &definition);
    references.extend(others::declared(&definition, client));
    let at = Place { kind, name: name.unwrap_or(stem), scope, home, client };
    Some(Asset::of(id, text, at, definition, references))
}

/// What a file is taken for.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) kind: AssetKind,
    pub(super) name: String,
    pub(super) scope: Scope,
    pub(super) home: Home,
    pub(super) client: Client,
}

impl Asset {
    /// Builds an asset from the parts of a text and the names that it uses. Only what is carried out has steps.
    pub(super) fn of(
        file: FileId,
        text: &str,
        at: Place,
        definition: Definition,
        references: Vec<Reference>,
    ) -> Self {
        let Place { kind, name, scope, home, client } = at;
        let (flow, starts) = match kind {
            AssetKind::Command | AssetKind::Skill | AssetKind::Agent => (
                steps::flow_of(text, &definition, &references),
                starts::starts(text, &definition, &references),
            ),
            _ => Default::default(),
        };
        Self {
            file,
            kind,
            name,
            scope,
            home,
            client,
            until: None,
            sandbox: None,
            definition: definition.into(),
            references: references.into(),
            flow: flow.into(),
            starts: starts.into(),
            sketch: Arc::default(),
            own_words: Arc::default(),
        }
    }
}

/// Tells whether a path is that of a command right in the folder for those: `/changelog` is one where its text has frontmatter.
fn is_command_of_claude(path: &str) -> bool {
    path.strip_prefix(".claude/commands/").is_some_and(|name| !name.contains('/'))
}

/// Tells whether a path is that of a page about something: such a page shows commands, and is none.
fn is_documentation(path: &str) -> bool {
    let folders = path.rsplit_once('/').map_or("", |(folders, _)| folders);
    folders.split('/').any(|folder| matches!(folder, "docs" | "doc" | "documentation" | "website" | "book"))
}

/// Tells whether a frontmatter has settings of a client that is not read here: keys such as `systemPromptMode`.
fn is_of_another_client(definition: &Definition) -> bool {
    let front = definition.front.iter().flat_map(|front| &front.fields);
    let settings = front.filter(|field| {
        let key = &*field.key.text;
        let joined = key.starts_with(|c: char| c.is_ascii_lowercase())
            && key.contains(|c: char| c.is_ascii_uppercase())
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric());
        joined && !AGENT_KEYS.contains(&key)
    });
    settings.count() >= 2
}
