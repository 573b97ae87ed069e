//! Hooks of other clients than Claude Code: where they keep them, what their events stand for, and how long they wait.
//!
//! Sources: <https://cursor.com/docs/agent/hooks>, <https://geminicli.com/docs/hooks>,
//! <https://docs.github.com/en/copilot/reference/hooks-configuration>, <https://developers.openai.com/codex/hooks>, as of 2026-08.

use kapell_spec::{
    claude::{
        definition::Named,
        hooks::{self, Hook},
    },
    finding::Span,
    yaml::{Entry, Node},
};

use super::clients::Client;
use crate::files::{File, FileId, Files};

/// A hook of another client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHook {
    /// The hook; its event is called as its client calls it.
    pub hook: Hook,
    /// The directory that it is started in, where it names one.
    pub cwd: Option<String>,
    /// What its event is called in Claude Code, if there is such a one.
    pub stands_for: Option<&'static str>,
    /// Whether its client blocks where the hook itself fails.
    pub fails_closed: bool,
}

/// A file in which another client keeps its hooks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHooks {
    /// The file.
    pub file: FileId,
    /// Whose it is.
    pub client: Client,
    /// The folder of the client that the file lies in.
    pub folder: &'static str,
    /// What it holds.
    pub hooks: Vec<ClientHook>,
}

/// Where clients look for hooks. Only what lies at the top is read by anybody who opens the repository.
#[must_use]
pub fn place(path: &str) -> Option<(Client, &'static str)> {
    match path {
        ".cursor/hooks.json" => Some((Client::Cursor, ".cursor/")),
        ".codex/hooks.json" => Some((Client::Codex, ".codex/")),
        ".gemini/settings.json" => Some((Client::Gemini, ".gemini/")),
        _ => (path.starts_with(".github/hooks/") && path.ends_with(".json"))
            .then_some((Client::Copilot, ".github/hooks/")),
    }
}

/// Returns what an event of a client is called in Claude Code.
fn stands_for(client: Client, event: &str) -> Option<&'static str> {
    Some(match (client, event) {
        (Client::Cursor, "beforeShellExecution" | "beforeMCPExecution" | "beforeReadFile" | "preToolUse")
        | (Client::Copilot, "preToolUse" | "PreToolUse")
        | (Client::Gemini, "BeforeTool")
        | (Client::Codex, "PreToolUse") => "PreToolUse",
        (Client::Cursor, "afterFileEdit" | "afterShellExecution" | "postToolUse")
        | (Client::Copilot, "postToolUse" | "PostToolUse")
        | (Client::Gemini, "AfterTool")
        | (Client::Codex, "PostToolUse") => "PostToolUse",
        (Client::Cursor, "beforeSubmitPrompt") | (Client::Codex, "UserPromptSubmit") => "UserPromptSubmit",
        (Client::Codex, "Stop") => "Stop",
        _ => return None,
    })
}

/// Keys under which a hook says what it runs: Copilot has one for each kind of shell.
const COMMANDS: &[&str] = &["command", "bash"];

/// Keys under which a hook says how long it may take.
const TIMEOUTS: &[&str] = &["timeout", "timeoutSec"];

/// Reads the files of hooks of all other clients.
#[must_use]
pub fn read(files: &Files) -> Vec<ClientHooks> {
    let known = files.iter().filter_map(|(id, file)| place(&file.path).map(|place| (id, file, place)));
    known.filter_map(|(id, file, (client, folder))| of(id, file, client, folder)).collect()
}

fn of(id: FileId, file: &File, client: Client, folder: &'static str) -> Option<ClientHooks> {
    let (root, _) = hooks::json(&file.text);
    let root = root?;
    let events = root.get("hooks").and_then(Node::entries)?;
    let hooks = events.iter().flat_map(|event| of_event(client, event)).collect();
    Some(ClientHooks { file: id, client, folder, hooks })
}

/// Reads the hooks of an event, whether or not they lie in groups with a matcher.
fn of_event(client: Client, Entry { key, value, .. }: &Entry) -> Vec<ClientHook> {
    let Some(event) = hooks::scalar(key) else { return Vec::new() };
    let mut found = Vec::new();
    for group in value.items().unwrap_or_default() {
        let inner = group.get("hooks").and_then(Node::items);
        for node in inner.unwrap_or(std::slice::from_ref(group)) {
            let matcher = node.get("matcher").or_else(|| group.get("matcher")).and_then(hooks::scalar);
            found.extend(COMMANDS.iter().filter_map(|key| {
                let command = node.get(key).and_then(hooks::scalar)?;
                let hook = hook(node, &event, matcher.clone(), command);
                let fails_closed =
                    client == Client::Copilot || node.get("failClosed").and_then(Node::text) == Some("true");
                let cwd = node.get("cwd").and_then(Node::text).map(str::to_owned);
                Some(ClientHook { hook, cwd, stands_for: stands_for(client, &event.text), fails_closed })
            }));
        }
    }
    found
}

fn hook(node: &Node, event: &Named, matcher: Option<Named>, command: Named) -> Hook {
    let timeout = |key: &&str| -> Option<(u64, Span)> {
        let node = node.get(key)?;
        Some((node.text()?.trim().parse().ok()?, node.place()))
    };
    Hook {
        event: event.clone(),
        matcher,
        kind: "command".to_owned(),
        text: Some(command),
        timeout: TIMEOUTS.iter().find_map(timeout),
        is_async: false,
        span: node.place(),
    }
}
