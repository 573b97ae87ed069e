//! Hooks, from settings, from a plugin's `hooks.json`, or from a frontmatter.

use super::definition::Named;
use crate::{
    finding::{Finding, Source, Span},
    yaml::{self, Entry, Node},
};

/// A hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The event that starts it.
    pub event: Named,
    /// The tools it is for; nothing is all of them.
    pub matcher: Option<Named>,
    /// `command`, `http`, `mcp_tool`, `prompt` or `agent`.
    pub kind: String,
    /// The command, or the prompt.
    pub text: Option<Named>,
    /// How long it may take, in seconds as its client takes it.
    pub timeout: Option<(u64, Span)>,
    /// Whether nobody waits for it.
    pub is_async: bool,
    /// Where it stands.
    pub span: Span,
}

/// A group of hooks that is not written as its client reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The event.
    pub event: String,
    /// Where it stands.
    pub span: Span,
    /// Why it is not read.
    pub why: String,
}

/// A file of hooks or settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hooks {
    /// The hooks that run.
    pub hooks: Vec<Hook>,
    /// Those that do not.
    pub lost: Vec<Lost>,
    /// How permissions are asked for: `bypassPermissions` and so on.
    pub mode: Option<Named>,
    /// Permissions that are granted without asking.
    pub allow: Vec<Named>,
    /// Permissions that nobody has, whatever grants them.
    pub deny: Vec<Named>,
    /// Whether any permission is denied.
    pub denies: bool,
    /// Whether something of that is a command.
    pub denies_commands: bool,
}

impl Hook {
    /// Tells whether it runs for every tool.
    #[must_use]
    pub fn is_for_all_tools(&self) -> bool {
        let matcher = self.matcher.as_ref().map_or("", |matcher| matcher.text.trim());
        matches!(matcher, "" | "*" | ".*" | ".+" | "^.*$")
            && matches!(&*self.event.text, "PreToolUse" | "PostToolUse")
    }
}

/// Reads JSON as YAML, which it is but for tabs.
#[must_use]
pub fn json(text: &str) -> (Option<Node>, Vec<Finding>) {
    // A blank is as long as a tab, so places stay.
    let text = text.replace('\t', " ");
    let (tree, findings) = yaml::read(&Source::new("", &text));
    (tree.map(|tree| tree.root), findings)
}

/// Reads settings or a plugin's hooks.
#[must_use]
pub fn read(text: &str) -> (Hooks, Vec<Finding>) {
    let (root, findings) = json(text);
    let Some(root) = root else { return (Hooks::default(), findings) };
    let mut hooks = root.get("hooks").map_or_else(Hooks::default, of);
    if let Some(permissions) = root.get("permissions") {
        hooks.mode = permissions.get("defaultMode").and_then(named);
        let allow = permissions.get("allow").and_then(Node::items).unwrap_or_default();
        hooks.allow = allow.iter().filter_map(named).collect();
        let denied = permissions.get("deny").and_then(Node::items).unwrap_or_default();
        hooks.denies = !denied.is_empty();
        hooks.deny = denied.iter().filter_map(named).collect();
        hooks.denies_commands = hooks.deny.iter().any(|tool| tool.text.starts_with("Bash"));
    }
    (hooks, findings)
}

/// Reads the value of a key `hooks`.
#[must_use]
pub fn of(node: &Node) -> Hooks {
    let mut hooks = Hooks::default();
    for Entry { key, value, .. } in node.entries().unwrap_or_default() {
        let Some(event) = named(key) else { continue };
        for group in value.items().unwrap_or_default() {
            let Some(list) = group.get("hooks") else {
                // An entry without a list never runs.
                let why = match group.get("hook") {
                    Some(_) => "its key is `hook`, but only a list `hooks` is read",
                    None => "it has no list `hooks`",
                };
                hooks.lost.push(Lost { event: event.text.clone(), span: group.place(), why: why.to_owned() });
                continue;
            };
            let matcher = group.get("matcher").and_then(named);
            let items = list.items().unwrap_or_default().iter();
            hooks.hooks.extend(items.map(|item| hook(item, &event, matcher.as_ref())));
        }
    }
    hooks
}

fn hook(node: &Node, event: &Named, matcher: Option<&Named>) -> Hook {
    let text = |key: &str| node.get(key).and_then(named);
    let timeout =
        node.get("timeout").and_then(|node| Some((node.text()?.trim().parse().ok()?, node.place())));
    Hook {
        event: event.clone(),
        matcher: matcher.cloned(),
        kind: text("type").map_or_else(|| "command".to_owned(), |kind| kind.text),
        text: text("command").or_else(|| text("prompt")).or_else(|| text("url")),
        timeout,
        is_async: text("async").is_some_and(|on| on.text == "true"),
        span: node.place(),
    }
}

fn named(node: &Node) -> Option<Named> {
    let scalar = node.scalar().filter(|scalar| !scalar.is_null())?;
    Some(Named { text: scalar.text.to_string(), span: node.place() })
}

/// Returns the name and place of a scalar.
#[must_use]
pub fn scalar(node: &Node) -> Option<Named> {
    named(node)
}
