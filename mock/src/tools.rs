//! Calls of tools in the vocabulary of each client.

use serde_json::{Value, json};

use crate::{script::Call, talk::Talk};

/// A call, as it goes over the wire.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wire {
    pub(crate) name: String,
    pub(crate) input: Input,
}

/// The arguments of a call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Input {
    /// An object.
    Object(Value),
    /// Plain text, as some tools of OpenAI take it.
    Text(String),
}

impl Input {
    pub(crate) fn value(&self) -> Value {
        match self {
            Self::Object(value) => value.clone(),
            Self::Text(text) => json!(text),
        }
    }
}

/// Translates a call for whoever offers these tools.
///
/// A client that offers no tool that fits gets one of Claude Code's: it then says that it does not know it.
pub(crate) fn translate(call: &Call, talk: &Talk) -> Wire {
    let wire = |name: &str, input: Value| Wire { name: name.to_owned(), input: Input::Object(input) };
    match call {
        Call::Tool { name, input } => wire(name, input.clone()),
        Call::Served { server, tool, input } => {
            let is_it = |name: &&String| name.contains(server) && name.ends_with(tool);
            let name = talk.tools.iter().find(is_it).cloned();
            wire(&name.unwrap_or_else(|| format!("mcp__{server}__{tool}")), input.clone())
        }
        Call::Shell { command } => shell(command, talk),
        Call::Read { path } => {
            let at = talk.absolute(path);
            match first(talk, &["Read", "read_file", "read"]) {
                Some("read") => wire("read", json!({ "filePath": at })),
                Some(name @ ("Read" | "read_file")) => wire(name, json!({ "file_path": at })),
                _ if has_shell(talk) => shell(&format!("cat '{path}'"), talk),
                _ => wire("Read", json!({ "file_path": at })),
            }
        }
        Call::Write { path, content } => {
            let at = talk.absolute(path);
            match first(talk, &["Write", "write_file", "write", "apply_patch"]) {
                Some("write") => wire("write", json!({ "filePath": at, "content": content })),
                Some("apply_patch") => {
                    Wire { name: "apply_patch".to_owned(), input: Input::Text(patch(path, content)) }
                }
                Some(name @ ("Write" | "write_file")) => {
                    wire(name, json!({ "file_path": at, "content": content }))
                }
                _ if has_shell(talk) => {
                    shell(&format!("cat > '{path}' <<'END_OF_FILE'\n{content}END_OF_FILE\n"), talk)
                }
                _ => wire("Write", json!({ "file_path": at, "content": content })),
            }
        }
    }
}

const SHELLS: &[&str] = &["Bash", "exec_command", "shell_command", "shell", "run_shell_command", "bash"];

fn has_shell(talk: &Talk) -> bool {
    first(talk, SHELLS).is_some()
}

fn shell(command: &str, talk: &Talk) -> Wire {
    let wire = |name: &str, input: Value| Wire { name: name.to_owned(), input: Input::Object(input) };
    match first(talk, SHELLS) {
        Some("exec_command") => wire("exec_command", json!({ "cmd": command })),
        Some("shell_command") => wire("shell_command", json!({ "command": command })),
        Some("shell") => wire("shell", json!({ "command": ["/bin/sh", "-c", command] })),
        Some("run_shell_command") => wire("run_shell_command", json!({ "command": command })),
        Some("bash") => wire("bash", json!({ "command": command, "description": "runs a command" })),
        _ => wire("Bash", json!({ "command": command, "description": "runs a command" })),
    }
}

/// Returns the first of `names` that is offered.
fn first<'a>(talk: &Talk, names: &[&'a str]) -> Option<&'a str> {
    names.iter().find(|name| talk.offers(name)).copied()
}

/// A patch in OpenAI's notation that puts `content` at `path`, in the place of whatever is there.
fn patch(path: &str, content: &str) -> String {
    let lines: String = content.lines().map(|line| format!("+{line}\n")).collect();
    format!("*** Begin Patch\n*** Add File: {path}\n{lines}*** End Patch\n")
}
