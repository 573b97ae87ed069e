//! Agents that the agent which every session runs as may not start, and that nobody else starts either.

use kapell_spec::claude::hooks;
use kapell_view::audit::{AssetKind, Confidence};

use crate::{
    agents::{Asset, Home},
    files::FileId,
    repository::Repository,
    rule::Report,
};

pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let agents = &repository.agents;
    // Settings that everybody has: those of one person are that person's choice.
    let shared = |id: FileId| &*repository.files[id].path == ".claude/settings.json";
    let settings = agents.hooks.iter().find(|file| file.is_settings && shared(file.file));
    let Some(settings) = settings else { return };
    let text = &repository.files[settings.file].text;
    if !text.contains("\"agent\"") {
        return;
    }
    let (Some(root), _) = hooks::json(text) else { return };
    let Some(named) = root.get("agent").and_then(hooks::scalar) else { return };
    let own = || agents.of(AssetKind::Agent).filter(|(_, agent)| agent.home == Home::Claude);
    let Some((main, first)) = own().find(|(_, agent)| agent.name == named.text) else { return };
    let Some(allowed) = startable(first) else { return };
    // Whoever may start any agent may start these.
    let reached: Vec<&str> = own()
        .filter(|(id, agent)| *id == main || allowed.contains(&&*agent.name))
        .flat_map(|(_, agent)| startable(agent).unwrap_or_else(|| vec!["*"]))
        .collect();
    if reached.contains(&"*") {
        return;
    }
    for (id, agent) in own().filter(|(id, agent)| *id != main && !reached.contains(&&*agent.name)) {
        let elsewhere = agents.iter().any(|(other, asset)| {
            let forks = asset.definition.text("agent").is_some_and(|named| named.text == agent.name);
            other != id && (forks || started_by_hand(repository, asset, &agent.name))
        });
        if agent.scope != first.scope || elsewhere {
            continue;
        }
        let message = format!(
            "nobody can start `{}`: every session runs as `{}`, whose tools do not list it",
            agent.name, first.name
        );
        let tools = first.definition.field("tools").map_or_else(|| first.head(), |field| field.key.span);
        report
            .add(agent.file, agent.head(), message)
            .confidence(Confidence::Medium)
            .hint(format!("add it to `Agent(..)` in the tools of `{}`, or drop it", first.name))
            .also(first.file, tools, "what that one may start")
            .also(settings.file, named.span, "what every session runs as")
            .done();
    }
}

/// Tells whether a text starts a session of its own with an agent: `claude --agent x`.
fn started_by_hand(repository: &Repository, asset: &Asset, name: &str) -> bool {
    repository.files[asset.file].text.contains(&format!("--agent {name}"))
}

/// Returns which agents one may start: `None` where its tools do not bound them.
fn startable(agent: &Asset) -> Option<Vec<&str>> {
    let tools = agent.definition.field("tools").map(|_| agent.definition.items("tools"))?;
    let mut names = Vec::new();
    for tool in tools {
        let text = tool.text.trim();
        match text.split_once('(') {
            Some(("Agent" | "Task", inner)) => {
                names.extend(inner.trim_end_matches(')').split(',').map(str::trim));
            }
            None if matches!(text, "Agent" | "Task" | "*") => return None,
            _ => {}
        }
    }
    Some(names)
}
