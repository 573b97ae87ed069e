//! Agents of other clients that nobody can start.
//!
//! Sources: <https://opencode.ai/docs/agents> and <https://opencode.ai/docs/permissions> (the last rule that fits counts; a
//! person may start what is not hidden, whatever is denied), <https://code.visualstudio.com/docs/copilot/customization/custom-agents>,
//! as of 2026-08.

use kapell_spec::{
    claude::{hooks, reference::Names},
    finding::Span,
    yaml::{Kind, Node},
};
use kapell_view::audit::AssetKind;

use crate::{
    agents::{Asset, Resolved, clients::Client},
    files::FileId,
    repository::Repository,
    rule::Report,
};

/// Folders and endings in which a client does not look, and where it does.
const NEAR_MISSES: &[(&str, &str, &str)] = &[
    (".cursor/agent/", ".md", ".cursor/agents/"),
    (".cursor/command/", ".md", ".cursor/commands/"),
    (".github/agent/", ".md", ".github/agents/"),
    (".github/prompt/", ".md", ".github/prompts/"),
    (".gemini/agent/", ".md", ".gemini/agents/"),
    (".gemini/command/", ".toml", ".gemini/commands/"),
    (".gemini/commands/", ".md", "a file of TOML with a `prompt`"),
    (".codex/agent/", ".toml", ".codex/agents/"),
    (".codex/agents/", ".md", "a file of TOML with `developer_instructions`"),
    (".codex/prompt/", ".md", ".codex/prompts/"),
];

/// Agents and commands where their client does not look for any.
fn misplaced(repository: &Repository, report: &mut Report<'_>) {
    for (id, file) in repository.files.iter().filter(|(_, file)| file.path.starts_with('.')) {
        let wrong = |(folder, ending, _): &&(&str, &str, &str)| {
            file.path.starts_with(folder) && file.path.ends_with(ending)
        };
        let Some((_, _, right)) = NEAR_MISSES.iter().find(wrong) else { continue };
        let defines = match file.path.ends_with(".toml") {
            true => file.text.contains("prompt =") || file.text.contains("developer_instructions"),
            false => file.text.starts_with("---") && file.text.contains("\ndescription:"),
        };
        if defines {
            let message = format!("`{}` is not loaded where it lies", file.name());
            let hint = match right.starts_with('.') {
                true => format!("move it to {right}"),
                false => format!("write it as {right}"),
            };
            report.add(id, Span::new(0, file.text.len().min(3)), message).hint(hint).done();
        }
    }
}

pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    misplaced(repository, report);
    let agents = &repository.agents;
    if agents.iter().all(|(_, asset)| asset.client == Client::Claude) {
        return;
    }
    let settings = repository.files.iter().find(|(_, file)| &*file.path == "opencode.json");
    let settings = settings.and_then(|(id, file)| Some((id, hooks::json(&file.text).0?)));
    for (_, agent) in agents.of(AssetKind::Agent) {
        match agent.client {
            Client::Opencode => {
                denied(repository, report, agent, settings.as_ref());
                started_first(repository, report, agent, settings.as_ref());
            }
            Client::Copilot => shut(repository, report, agent),
            _ => {}
        }
    }
}

/// Finds a key of an agent of opencode: in its frontmatter, or in its entry of `opencode.json`.
fn setting<'a>(agent: &'a Asset, settings: Option<&'a (FileId, Node)>, key: &str) -> Option<&'a Node> {
    if let Some(field) = agent.definition.field(key) {
        return field.node.as_ref();
    }
    let (_, root) = settings.filter(|(id, _)| *id == agent.file)?;
    let entry = ["agent", "mode"].iter().find_map(|list| root.get(list)?.get(&agent.name))?;
    entry.get(key)
}

/// Returns where an agent stands: its frontmatter, or its name in `opencode.json`.
fn place(agent: &Asset, settings: Option<&(FileId, Node)>) -> Span {
    let named = settings.filter(|(id, _)| *id == agent.file).and_then(|(_, root)| {
        let lists = ["agent", "mode"].iter().filter_map(|list| root.get(list)?.entries());
        lists.flatten().find(|entry| entry.key.text() == Some(&*agent.name)).map(|entry| entry.key.place())
    });
    named.unwrap_or_else(|| agent.head())
}

/// Tells what permissions say of an agent: the last rule that fits. `None` if none does.
fn ruling(permission: Option<&Node>, name: &str) -> Option<bool> {
    let task = permission?.get("task")?;
    if let Some(all) = task.text() {
        return Some(all != "deny");
    }
    let rules = task.entries().unwrap_or_default().iter().rev();
    let mut fitting = rules.filter(|rule| rule.key.text().is_some_and(|pattern| fits(pattern, name)));
    fitting.next().and_then(|rule| rule.value.text()).map(|action| action != "deny")
}

/// Tells whether a pattern with stars stands for a name.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|tail| {
            tail.char_indices().map(|(at, _)| at).chain([tail.len()]).any(|at| fits(rest, &tail[at..]))
        }),
    }
}

/// A hidden subagent of opencode that permissions deny to everybody: no person sees it, and no agent may start it.
fn denied(
    repository: &Repository,
    report: &mut Report<'_>,
    agent: &Asset,
    settings: Option<&(FileId, Node)>,
) {
    let is = |key: &str, value: &str| setting(agent, settings, key).and_then(Node::text) == Some(value);
    let global = settings.and_then(|(_, root)| root.get("permission"));
    if !is("mode", "subagent") || !is("hidden", "true") || ruling(global, &agent.name) != Some(false) {
        return;
    }
    let agents = &repository.agents;
    let others = agents.iter().map(|(_, other)| other).filter(|other| other.file != agent.file);
    // One that has permissions of its own may start it, and so does a text that names it.
    let own = agents
        .of(AssetKind::Agent)
        .any(|(_, other)| ruling(setting(other, settings, "permission"), &agent.name) == Some(true));
    let built_in = settings.and_then(|(_, root)| root.get("agent")).and_then(Node::entries);
    let own = own
        || built_in
            .unwrap_or_default()
            .iter()
            .any(|entry| ruling(entry.value.get("permission"), &agent.name) == Some(true));
    if own || others.into_iter().any(|other| super::names(repository, other, &agent.name)) {
        return;
    }
    let message = format!("nobody can start `{}`: it is hidden, and denied to every agent", agent.name);
    let mut draft = report.add(agent.file, place(agent, settings), message);
    if let Some((id, task)) =
        settings.and_then(|(id, root)| Some((*id, root.get("permission")?.get("task")?)))
    {
        let span = match &task.kind {
            Kind::Mapping(entries) => entries.first().map_or(task.span, |entry| entry.key.place()),
            _ => task.place(),
        };
        draft = draft.also(id, span, "denied here");
    }
    draft.hint("allow it under `task`, or drop `hidden` or the agent").done();
}

/// An agent of opencode that only people switch to, and that another one is told to start.
fn started_first(
    repository: &Repository,
    report: &mut Report<'_>,
    agent: &Asset,
    settings: Option<&(FileId, Node)>,
) {
    let Some(mode) = setting(agent, settings, "mode").filter(|mode| mode.text() == Some("primary")) else {
        return;
    };
    let graph = repository.agents.handovers(&repository.files);
    let callers = repository.agents.of(AssetKind::Agent).filter(|(_, other)| other.client == agent.client);
    let handed = callers.flat_map(|(id, other)| graph.of(id).iter().map(move |edge| (other, edge)));
    let own = |to: crate::agents::AgentId| std::ptr::eq(&raw const repository.agents[to], agent);
    let Some((from, edge)) = handed.into_iter().find(|(_, edge)| own(edge.to)) else { return };
    let message = format!("`{}` cannot start `{}`: it is a primary agent", from.name, agent.name);
    let draft = report.add(edge.file, edge.span, message);
    let draft = draft.also(agent.file, mode.place(), "only people switch to it");
    draft.hint("set its `mode` to `all`, or have a subagent do that").done();
}

/// An agent of Copilot that neither a person nor a model can start, and that no other one lists.
fn shut(repository: &Repository, report: &mut Report<'_>, agent: &Asset) {
    let off = |key: &str, value: bool| agent.definition.is_on(key) == Some(value);
    let uninferred = off("disable-model-invocation", true) || off("infer", false);
    let Some(field) = agent.definition.field("user-invocable").filter(|_| off("user-invocable", false))
    else {
        return;
    };
    let listed = repository.agents.iter().any(|(_, other)| {
        let mut named = other.references.iter().filter(|reference| reference.names == Names::Agent);
        let is = |id: crate::agents::AgentId| std::ptr::eq(&raw const repository.agents[id], agent);
        named.any(
            |reference| matches!(repository.agents.resolve(other, reference), Resolved::Found(id) if is(id)),
        )
    });
    if uninferred && !listed {
        let message = format!("neither a person nor a model can start `{}`", agent.name);
        let hint = "drop `disable-model-invocation` or `user-invocable: false`, or list it under `agents` of another";
        report.add(agent.file, field.key.span, message).hint(hint).done();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_rule_that_fits_counts() {
        let (root, _) = hooks::json(r#"{"task": {"*": "deny", "test-*": "allow", "test-slow": "ask"}}"#);
        let ruled = |name: &str| ruling(root.as_ref(), name);
        assert_eq!(ruled("lint"), Some(false));
        assert_eq!(ruled("test-unit"), Some(true));
        assert_eq!(ruled("test-slow"), Some(true));
        assert!(fits("a*c", "abc") && !fits("a*c", "abd") && fits("*", ""));
    }
}
