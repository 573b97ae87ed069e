//! `ignored-in-plugin`: an agent of a plugin has keys that its client does not read there.

use std::collections::BTreeMap;

use kapell_spec::claude::{definition::Field, hooks};
use kapell_view::audit::{AssetKind, Confidence, Scope, Severity};

use crate::{
    agents::{Asset, Home},
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/ignored-in-plugin.md`.
pub(super) static RULE: Rule = Rule {
    name: "ignored-in-plugin",
    summary: "an agent of a plugin has keys that its client does not read there",
    group: Group::AgentFlow,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/ignored-in-plugin.md"),
    check,
};

/// Keys of agents that count in `.claude/agents`, and not in a plugin.
/// Source: <https://code.claude.com/docs/en/plugins-reference> ("Agents"), as of 2026-08.
const IGNORED: &[&str] = &["hooks", "mcpServers", "permissionMode"];

/// Events whose hooks can keep something from being done.
const GATES: &[&str] = &["PreToolUse", "PermissionRequest"];

fn check(repository: &Repository, report: &mut Report<'_>) {
    // Whoever copies agents there has them read with all keys.
    let copied = repository.files.iter().any(|(_, file)| file.text.contains(".claude/agents"));
    if copied {
        return;
    }
    // One habit of a plugin is one finding.
    let mut found: BTreeMap<(&str, &str), Vec<(&Asset, &Field)>> = BTreeMap::new();
    for (_, agent) in repository.agents.of(AssetKind::Agent).filter(|(_, agent)| agent.home == Home::Claude) {
        let Scope::Plugin(plugin) = &agent.scope else { continue };
        for key in IGNORED {
            if let Some(field) = agent.definition.field(key).filter(|field| says_something(key, field)) {
                found.entry((plugin, key)).or_default().push((agent, field));
            }
        }
    }
    for ((_, key), places) in found {
        let Some(((first, field), rest)) = places.split_first() else { continue };
        let more = if rest.is_empty() { String::new() } else { format!("; nor in {} more", rest.len()) };
        let message = format!("`{key}` is not read in an agent of a plugin: {}{more}", loses(key));
        let guards =
            places.iter().any(|(_, field)| key == "hooks" && is_gate(field) || restricts(key, field));
        let severity = if guards { Severity::High } else { Severity::Medium };
        let mut draft = report.add(first.file, field.key.span, message).severity(severity).hint(instead(key));
        for (agent, field) in rest {
            draft = draft.also(agent.file, field.key.span, format!("nor is that of `{}`", agent.name));
        }
        draft.done();
    }
}

/// Tells whether it would make a difference if a key were read.
fn says_something(key: &str, field: &Field) -> bool {
    let Some(node) = &field.node else { return false };
    match key {
        "permissionMode" => !matches!(node.text(), None | Some("default" | "inherit")),
        _ => {
            node.entries().is_some_and(|entries| !entries.is_empty())
                || node.items().is_some_and(|items| !items.is_empty())
        }
    }
}

/// Tells whether hooks are there to keep something from being done.
fn is_gate(field: &Field) -> bool {
    let hooks = field.node.as_ref().map(hooks::of).unwrap_or_default();
    hooks.hooks.iter().any(|hook| GATES.contains(&&*hook.event.text))
}

/// Tells whether a mode allows less than the default.
fn restricts(key: &str, field: &Field) -> bool {
    let mode = field.node.as_ref().and_then(|node| node.text());
    key == "permissionMode" && matches!(mode, Some("plan" | "dontAsk"))
}

/// Says what is lost with a key.
fn loses(key: &str) -> &'static str {
    match key {
        "hooks" => "none of these hooks runs",
        "mcpServers" => "the agent has none of these servers",
        _ => "the agent works in the mode of the session",
    }
}

/// Says what does it instead.
fn instead(key: &str) -> &'static str {
    match key {
        "hooks" => {
            "put them into `hooks/hooks.json` of the plugin, which is read, but for every session and agent: have the script look at `agent_type` in its input"
        }
        "mcpServers" => "put them into `.mcp.json` of the plugin, which is read, but for the whole session",
        _ => "give the agent no more `tools` than it may use, or have it lie in `.claude/agents`",
    }
}
