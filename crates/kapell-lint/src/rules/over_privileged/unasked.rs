//! Agents whose own settings let them run everything unasked.

use kapell_spec::claude::{codex, definition::Named};
use kapell_view::audit::{AssetKind, Scope, Severity};

use crate::{
    agents::{Asset, Home, clients::Client, tools::granted},
    files::File,
    repository::Repository,
    rule::Report,
};

/// Words of an agent that reads what strangers write: what they write it may take for an order.
const STRANGERS: &[&str] = &[
    "web page",
    "webpage",
    "website",
    "web site",
    "the web",
    "the page",
    "a page",
    "url",
    "article",
    "the internet",
    "gh issue",
    "the issue",
    "issues",
    "gh pr",
    "pull request",
    "e-mail",
    "email",
    "inbox",
    "ticket",
    "comment of",
    "feedback",
    "download",
];

/// Words of an agent that works where it can do no harm.
const ENCLOSED: &[&str] = &["sandbox", "container", "throwaway", "disposable", "virtual machine", " vm "];

pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    for (_, agent) in repository.agents.of(AssetKind::Agent) {
        let file = &repository.files[agent.file];
        match agent.client {
            // Where a plugin brings an agent, its mode is not read.
            Client::Claude if agent.home == Home::Claude && agent.scope == Scope::Repository => {
                bypasses(report, agent, file);
            }
            Client::Codex if agent.sandbox.as_deref() == Some("danger-full-access") => {
                of_codex(report, agent, file);
            }
            _ => {}
        }
    }
}

/// Agents of other clients that are told to change nothing, and are given tools that edit.
pub(super) fn of_others(repository: &Repository, report: &mut Report<'_>) {
    for (_, agent) in
        repository.agents.of(AssetKind::Agent).filter(|(_, agent)| agent.client != Client::Claude)
    {
        let tools = granted(agent);
        let file = &repository.files[agent.file];
        // What lists nothing has everything, as its author may know; what is listed was meant.
        if !tools.is_limited() || !tools.has("Edit") || agent.definition.field("tools").is_none() {
            continue;
        }
        let edits =
            |tool: &&Named| agent.client.tool(tool.text.trim()).is_some_and(|same| same.contains(&"Edit"));
        let Some(first) = agent.definition.items("tools").iter().find(edits) else { continue };
        let Some(said) = super::told(agent, file) else { continue };
        let message = format!("`{}` shall change nothing, but has `{}`", agent.name, first.text);
        let draft = report.add(agent.file, first.span, message).hint("take it out of its tools");
        draft.also(agent.file, said, "what it is told").done();
    }
}

/// An agent of Claude Code that asks nobody, and has a shell that may run anything.
fn bypasses(report: &mut Report<'_>, agent: &Asset, file: &File) {
    let Some(mode) = agent.definition.text("permissionMode") else { return };
    if mode.text.trim() != "bypassPermissions" {
        return;
    }
    let tools = granted(agent);
    let narrow =
        |tool: &Named| tool.text.starts_with("Bash(") && !matches!(&*tool.text, "Bash(*)" | "Bash(:*)");
    let listed = agent.definition.items("tools");
    let shells: Vec<&Named> = listed.iter().filter(|tool| tool.text.starts_with("Bash")).collect();
    let bounded = !shells.is_empty() && shells.into_iter().all(narrow);
    let denied = agent.definition.items("disallowedTools").iter().any(|tool| tool.text == "Bash");
    let lower = file.lower();
    if !tools.has("Bash") || bounded || denied || ENCLOSED.iter().any(|word| lower.contains(word)) {
        return;
    }
    let online = tools.is_limited() && (tools.has("WebFetch") || tools.has("WebSearch"));
    let strangers = online || STRANGERS.iter().any(|word| lower.contains(word));
    let (severity, why) = match strangers {
        true => (Severity::High, ", and reads what strangers write: an order in it is carried out"),
        false => (Severity::Medium, ""),
    };
    let message = format!("`{}` runs every command unasked{why}", agent.name);
    let hint = "drop `permissionMode`, or name the commands that it needs under `tools`";
    report.add(agent.file, mode.span, message).severity(severity).hint(hint).done();
}

/// An agent of Codex that nothing holds back, and that asks nobody, or that shall change nothing.
///
/// Source: <https://github.com/openai/codex/blob/main/docs/config.md>, `sandbox_mode`, as of 2026-08: with `danger-full-access`
/// there is no sandbox.
fn of_codex(report: &mut Report<'_>, agent: &Asset, file: &File) {
    let Ok(codex::CodexAgent { approval, description, .. }) = codex::read(&file.text) else { return };
    let Some(span) = codex::text_of(&file.text, "sandbox_mode") else { return };
    if approval.as_deref() == Some("never") {
        let message = format!("`{}` runs every command unasked, and outside of the sandbox", agent.name);
        let hint = "write `workspace-write`; whoever wants more can set it in a file of their own";
        report.add(agent.file, span, message).severity(Severity::High).hint(hint).done();
        return;
    }
    let described = codex::text_of(&file.text, "description")
        .filter(|_| description.is_some_and(|text| super::says_read_only(&text)));
    let Some(said) = described.or_else(|| super::told(agent, file)) else { return };
    let message = format!("`{}` shall change nothing, and no sandbox keeps it from that", agent.name);
    let draft = report.add(agent.file, span, message).hint("write `read-only`");
    draft.also(agent.file, said, "what it is told").done();
}
