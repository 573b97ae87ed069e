//! What the agent side adds to the inventory.

use std::collections::BTreeMap;

use kapell_spec::{
    claude::{
        hooks::Hook,
        reference::{self, Names},
    },
    finding::Span,
};
use kapell_view::audit::{AssetKind, EdgeKind, Scope, Strength};

use crate::{
    agents::{AgentId, HookFile, Resolved, is_built_in},
    files::{FileId, joined},
    inventory::{AssetKey, Builder, Target},
    repository::Repository,
};

/// Adds agents, commands, skills, instructions, hooks, settings, plugins and scripts, and who names whom.
pub(super) fn collect(repository: &Repository, builder: &mut Builder<'_>) {
    let agents = &repository.agents;
    let keys: Vec<AssetKey> = agents
        .assets
        .iter()
        .map(|asset| {
            let span = whole(repository, asset.file);
            builder.asset(asset.kind, &asset.name, asset.scope.clone(), asset.file, span)
        })
        .collect();
    add_references(repository, &keys, builder);
    for file in &agents.hooks {
        add_hooks(repository, file, builder);
    }
    for plugin in agents.plugins.iter().filter(|plugin| !plugin.listed_only) {
        let span = whole(repository, plugin.file);
        builder.asset(AssetKind::Plugin, &plugin.name, Scope::Repository, plugin.file, span);
    }
    for (file, scope) in &agents.scripts {
        add_script(repository, &keys, *file, scope, builder);
    }
}

fn whole(repository: &Repository, file: FileId) -> Span {
    Span::new(0, repository.files[file].text.len())
}

/// Adds who names whom; `keys` are those of the assets, in their order.
fn add_references(repository: &Repository, keys: &[AssetKey], builder: &mut Builder<'_>) {
    let agents = &repository.agents;
    let by_file: BTreeMap<FileId, AssetKey> =
        agents.assets.iter().map(|asset| asset.file).zip(keys.iter().copied()).collect();
    for (AgentId(from), asset) in agents.iter() {
        for reference in asset.references.iter() {
            let to = match agents.resolve(asset, reference) {
                Resolved::Found(id) | Resolved::ByFile(id) | Resolved::Elsewhere(id) => {
                    Target::Asset(keys[id.0])
                }
                Resolved::BuiltIn => Target::Beside(reference.name.clone()),
                Resolved::Outside if matches!(reference.names, Names::File | Names::Import) => {
                    file(repository, &by_file, asset.file, &reference.name)
                }
                Resolved::Outside | Resolved::Nothing(_) => Target::Missing(reference.name.clone()),
            };
            // A bare word that leads nowhere is a word.
            if reference.strength == reference::Strength::Weak && matches!(to, Target::Missing(_)) {
                continue;
            }
            let kind = match reference.names {
                Names::Agent => EdgeKind::Delegates,
                Names::Command | Names::Skill => EdgeKind::Calls,
                Names::File => EdgeKind::Names,
                Names::Import => EdgeKind::Imports,
            };
            builder.edge(keys[from], to, kind, strength(reference.strength), (asset.file, reference.span));
        }
    }
}

/// Adds the hooks of a file, what they run, and the settings that trigger them.
fn add_hooks(repository: &Repository, file: &HookFile, builder: &mut Builder<'_>) {
    let files = &repository.files;
    // Those of a frontmatter are their own file's.
    let settings = (file.is_settings && files[file.file].name().ends_with(".json")).then(|| {
        let span = whole(repository, file.file);
        builder.asset(AssetKind::Settings, files[file.file].name(), Scope::Repository, file.file, span)
    });
    for hook in &file.hooks.hooks {
        let key = builder.asset(AssetKind::Hook, &hook_name(hook), Scope::Repository, file.file, hook.span);
        builder.events(key, vec![hook.event.text.clone()]);
        if let Some(script) = repository.agents.hook_script(files, file, hook) {
            let to = match files.exists(&script.path) {
                true => Target::Beside(script.path),
                false => Target::Missing(script.path),
            };
            builder.edge(key, to, EdgeKind::Calls, Strength::Certain, (file.file, script.span));
        }
        if let Some(settings) = settings {
            let at = (file.file, hook.span);
            builder.edge(settings, Target::Asset(key), EdgeKind::Triggers, Strength::Certain, at);
        }
    }
}

/// Adds the script of a dynamic workflow, and the agents that it starts.
fn add_script(
    repository: &Repository,
    keys: &[AssetKey],
    file: FileId,
    scope: &Scope,
    builder: &mut Builder<'_>,
) {
    let (agents, source) = (&repository.agents, &repository.files[file]);
    let span = whole(repository, file);
    let key = builder.asset(AssetKind::Script, source.name(), scope.clone(), file, span);
    let scripts = repository.scripts();
    let own = scripts.iter().find(|(id, _)| *id == file);
    for call in own.iter().flat_map(|(_, script)| &script.started) {
        let to = match agents.of(AssetKind::Agent).find(|(_, agent)| agent.name == call.name) {
            Some((AgentId(at), _)) => Target::Asset(keys[at]),
            None if is_built_in(&call.name) => Target::Beside(call.name.clone()),
            None => Target::Missing(call.name.clone()),
        };
        builder.edge(key, to, EdgeKind::Delegates, Strength::Certain, (file, call.span));
    }
}

/// Names a hook by its event and what it is for.
fn hook_name(hook: &Hook) -> String {
    let matcher = hook.matcher.as_ref().filter(|matcher| !matcher.text.trim().is_empty());
    matcher.map_or_else(|| hook.event.text.clone(), |matcher| format!("{} {}", hook.event.text, matcher.text))
}

/// Follows a path that is written in a file, from there or from the top.
fn file(repository: &Repository, assets: &BTreeMap<FileId, AssetKey>, from: FileId, path: &str) -> Target {
    let files = &repository.files;
    let beside = joined(&files[from].path, path).filter(|path| files.exists(path));
    let Some(found) = beside.or_else(|| files.exists(path).then(|| path.to_owned())) else {
        return Target::Missing(path.to_owned());
    };
    let asset = files.find(&found).and_then(|id| assets.get(&id));
    asset.map_or_else(|| Target::Beside(path.to_owned()), |&key| Target::Asset(key))
}

fn strength(strength: reference::Strength) -> Strength {
    match strength {
        reference::Strength::Weak => Strength::Weak,
        reference::Strength::Strong => Strength::Strong,
        reference::Strength::Certain => Strength::Certain,
    }
}
