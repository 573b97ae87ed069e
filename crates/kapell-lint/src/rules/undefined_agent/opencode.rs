//! Agents that commands of opencode are given to.
//!
//! Source: <https://github.com/sst/opencode>, its page on commands, as of 2026-08.

use std::collections::BTreeSet;

use kapell_spec::{
    claude::{
        definition::{Definition, Named},
        hooks,
    },
    suggest,
    yaml::Node,
};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    files::{FileId, Files},
    repository::Repository,
    rule::Report,
};

/// Agents that opencode brings.
const BUILT_IN: &[&str] = &["build", "plan", "general", "explore", "compaction", "title", "summary"];

/// Folders of agents, and of what agents were called before.
const AGENTS: &[&str] = &[".opencode/agent/", ".opencode/agents/", ".opencode/mode/", ".opencode/modes/"];

/// Folders of commands.
const COMMANDS: &[&str] = &[".opencode/command/", ".opencode/commands/"];

/// Returns the path below one of some folders, without its ending.
fn below<'a>(path: &'a str, folders: &[&str]) -> Option<&'a str> {
    folders.iter().find_map(|folder| path.strip_prefix(folder))?.strip_suffix(".md")
}

/// Tells whether settings that are not read, or plugins, may bring agents.
pub(super) fn may_be_elsewhere(files: &Files) -> bool {
    let elsewhere = |path: &str| {
        matches!(path, "opencode.jsonc" | ".opencode/opencode.json" | ".opencode/opencode.jsonc")
            || path.starts_with(".opencode/plugin")
    };
    files.iter().any(|(_, file)| elsewhere(&file.path)) || files.others().any(elsewhere)
}

/// A command that is given to an agent which nothing here defines does not start. Where no agent is defined, or plugins may
/// bring some, they may be anywhere.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let files = &repository.files;
    if may_be_elsewhere(files) {
        return;
    }
    let settings = files.iter().find(|(_, file)| &*file.path == "opencode.json");
    let root = settings.and_then(|(_, file)| hooks::json(&file.text).0);
    let at = |key: &str| root.as_ref().and_then(|root| root.get(key));
    let entries = |key: &str| at(key).and_then(Node::entries).unwrap_or_default();
    if at("plugin").is_some() {
        return;
    }
    let mut known: BTreeSet<&str> = BTreeSet::new();
    for key in ["agent", "mode"] {
        known.extend(entries(key).iter().filter_map(|entry| entry.key.text()));
    }
    for (_, file) in files.iter() {
        known.extend(below(&file.path, AGENTS));
        known.extend(below(&file.path, AGENTS).and_then(|path| path.rsplit('/').next()));
    }
    if known.is_empty() {
        return;
    }
    let mut given: Vec<(FileId, Named)> = Vec::new();
    for (id, file) in files.iter().filter(|(_, file)| below(&file.path, COMMANDS).is_some()) {
        given.extend(Definition::read(&file.text).text("agent").map(|agent| (id, agent.clone())));
    }
    if let Some((id, _)) = settings {
        let listed = entries("command").iter().filter_map(|entry| entry.value.get("agent"));
        given.extend(listed.filter_map(hooks::scalar).map(|agent| (id, agent)));
    }
    let default = at("default_agent").and_then(hooks::scalar);
    let disabled = |name: &str| {
        let entry = entries("agent").iter().find(|entry| entry.key.text() == Some(name));
        entry.is_some_and(|entry| entry.value.get("disable").and_then(Node::text) == Some("true"))
    };
    for (id, agent) in settings.iter().filter_map(|(id, _)| Some((*id, default.clone()?))) {
        let name = agent.text.trim();
        if !name.is_empty() && !known.contains(name) && !BUILT_IN.contains(&name) {
            let near = suggest::nearest(name, known.iter().copied()).unwrap_or("build");
            let message = format!("agent `{name}`, which every session is to start with, is not defined");
            report.add(id, agent.span, message).hint(format!("name `{near}`, if that is meant")).done();
        }
    }
    for (id, agent) in given {
        if disabled(agent.text.trim()) {
            let message =
                format!("agent `{}`, which this command is given to, is disabled", agent.text.trim());
            let draft = report.add(id, agent.span, message).severity(Severity::Medium);
            draft.hint("enable it, or give the command to another one").done();
            continue;
        }
        let name = agent.text.trim();
        if name.is_empty() || known.contains(name) || BUILT_IN.contains(&name) {
            continue;
        }
        let near = suggest::nearest(name, known.iter().copied());
        let hint = near.map_or_else(
            || "define it under `.opencode/agents`, or name one that is there".to_owned(),
            |near| format!("name `{near}`, if that is meant"),
        );
        let message = format!("agent `{name}`, which this command is given to, is not defined");
        // That one of nearly that name is there says which is meant; any other may come from elsewhere.
        let severity = if near.is_some() { Severity::High } else { Severity::Medium };
        let draft = report.add(id, agent.span, message).severity(severity);
        draft.confidence(Confidence::Medium).hint(hint).done();
    }
}
