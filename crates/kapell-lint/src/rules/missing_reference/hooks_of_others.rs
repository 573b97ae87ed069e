//! Scripts that hooks of other clients run.
//!
//! Sources: <https://cursor.com/docs/agent/hooks>, <https://geminicli.com/docs/hooks>,
//! <https://docs.github.com/en/copilot/reference/hooks-configuration>, <https://developers.openai.com/codex/hooks>, as of 2026-08.

use kapell_spec::{
    claude::{definition::Named, hooks},
    yaml::{Entry, Node},
};
use kapell_view::audit::Severity;

use super::has_company;
use crate::{agents::script_of, repository::Repository, rule::Report};

/// Keys under which a hook says what it runs: Copilot has one for each kind of shell.
const COMMANDS: &[&str] = &["command", "bash"];

/// Variables that stand for the top of the repository.
const TOPS: &[&str] = &[
    "$GEMINI_PROJECT_DIR/",
    "${GEMINI_PROJECT_DIR}/",
    "$CURSOR_PROJECT_DIR/",
    "${CURSOR_PROJECT_DIR}/",
    "${workspaceFolder}/",
    "$CLAUDE_PROJECT_DIR/",
    "${CLAUDE_PROJECT_DIR}/",
    "$(git rev-parse --show-toplevel)/",
    "./",
];

/// Returns the folder that a file of hooks lies in, if a client reads it.
fn folder(path: &str) -> Option<&'static str> {
    match path {
        ".cursor/hooks.json" => Some(".cursor/"),
        ".codex/hooks.json" => Some(".codex/"),
        ".gemini/settings.json" => Some(".gemini/"),
        _ => (path.starts_with(".github/hooks/") && path.ends_with(".json")).then_some(".github/hooks/"),
    }
}

/// Finds the commands of the hooks of an event, whether or not they lie in groups with a matcher.
fn commands(event: &Node) -> Vec<(Named, Option<String>)> {
    let groups = event.items().unwrap_or_default().iter();
    let hooks = groups.flat_map(|group| match group.get("hooks").and_then(Node::items) {
        Some(hooks) => hooks.iter().collect::<Vec<_>>(),
        None => vec![group],
    });
    hooks
        .flat_map(|hook| {
            let cwd = hook.get("cwd").and_then(Node::text).map(str::to_owned);
            let named = COMMANDS.iter().filter_map(|key| hook.get(key).and_then(hooks::scalar));
            named.map(|command| (command, cwd.clone())).collect::<Vec<_>>()
        })
        .collect()
}

/// Scripts that are not there, though their folder is: what such a hook guards is not guarded, and nobody is told.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    for (id, file) in repository.files.iter() {
        let Some(folder) = folder(&file.path) else { continue };
        let (Some(root), _) = hooks::json(&file.text) else { continue };
        let events = root.get("hooks").and_then(Node::entries).unwrap_or_default();
        for Entry { key, value, .. } in events {
            for (command, cwd) in commands(value) {
                let Some(path) = missing(repository, folder, &command.text, cwd.as_deref()) else { continue };
                let event = key.text().unwrap_or_default();
                let message = format!("the hook of `{event}` runs `{path}`, and it is not there");
                let hint = format!("add `{path}`, or drop the hook");
                report.add(id, command.span, message).severity(Severity::High).hint(hint).done();
            }
        }
    }
}

/// Returns the script that a command runs, if the repository should hold it and does not.
fn missing(repository: &Repository, folder: &str, command: &str, cwd: Option<&str>) -> Option<String> {
    let word = script_of(command)?;
    let top = TOPS.iter().find_map(|top| word.strip_prefix(top)).unwrap_or(&word);
    let top = top.trim_start_matches("./");
    if !top.contains('/') && cwd.is_none() || top.starts_with(['/', '.']) && !top.starts_with(folder) {
        return None;
    }
    if top.contains(['$', '*', '{', '~', ':', '(']) {
        return None;
    }
    let within = cwd.map(|cwd| cwd.trim_start_matches("./").trim_matches('/')).unwrap_or_default();
    let path = if within.is_empty() { top.to_owned() } else { format!("{within}/{top}") };
    // A client may start it from the folder of its own.
    let beside = format!("{folder}{top}");
    let there = [&path, &beside, &top.to_owned()].into_iter().any(|path| repository.files.exists(path));
    (!there && has_company(repository, &path)).then_some(path)
}
