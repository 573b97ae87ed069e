//! What an agent may do with the tools that it is given, in the words of Claude Code.

use std::collections::BTreeSet;

use kapell_spec::yaml::Node;

use super::{Asset, clients::Client};

/// Tools of Claude Code that those of other clients are held against.
const KNOWN: &[&str] =
    &["Read", "Grep", "Glob", "Write", "Edit", "Bash", "Agent", "WebFetch", "WebSearch", "Skill"];

/// The tools of an agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Granted {
    /// Those that it has; `None` if nothing is kept from it.
    names: Option<BTreeSet<String>>,
    /// Whether there are some of a server, which may do anything.
    pub served: bool,
    /// Whether a shell may write for it. Where a client keeps files from being changed, it keeps its shell from it as well, or
    /// its author means it to.
    pub shell_writes: bool,
}

impl Granted {
    /// Tells whether anything is kept from the agent.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.names.is_some()
    }

    /// Tells whether it has a tool.
    #[must_use]
    pub fn has(&self, tool: &str) -> bool {
        self.names.as_ref().is_none_or(|names| names.contains(tool))
    }

    fn all() -> Self {
        Self { names: None, served: false, shell_writes: true }
    }

    /// All but some.
    fn without(denied: &[&str]) -> Self {
        if denied.is_empty() {
            return Self::all();
        }
        let kept = KNOWN.iter().filter(|tool| !denied.contains(tool));
        let names = Some(kept.map(|tool| (*tool).to_owned()).collect());
        Self { names, served: false, shell_writes: !denied.contains(&"Write") }
    }
}

/// Returns the tools of an agent, by what its client reads.
#[must_use]
pub fn granted(agent: &Asset) -> Granted {
    match agent.client {
        Client::Claude => of_claude(agent),
        Client::Copilot | Client::Gemini => listed(agent),
        Client::Cursor => {
            let readonly = agent.definition.is_on("readonly") == Some(true);
            Granted::without(if readonly { &["Write", "Edit"] } else { &[] })
        }
        Client::Opencode => of_opencode(agent),
        Client::Codex => {
            let readonly = agent.sandbox.as_deref() == Some("read-only");
            Granted::without(if readonly { &["Write", "Edit"] } else { &[] })
        }
    }
}

fn of_claude(agent: &Asset) -> Granted {
    let tools = agent.definition.items("tools");
    if agent.definition.field("tools").is_none() || tools.iter().any(|tool| tool.text == "*") {
        return Granted::all();
    }
    let names = tools.iter().map(|tool| tool.text.split('(').next().unwrap_or_default());
    let mut names: BTreeSet<String> = names.map(str::to_owned).collect();
    // `Task` is what `Agent` was called.
    if names.contains("Task") {
        names.insert("Agent".to_owned());
    }
    let served = tools.iter().any(|tool| tool.text.starts_with("mcp__"));
    Granted { names: Some(names), served, shell_writes: true }
}

/// Lists of names that only their clients know.
fn listed(agent: &Asset) -> Granted {
    let tools = agent.definition.items("tools");
    if agent.definition.field("tools").is_none() || tools.iter().any(|tool| tool.text == "*") {
        return Granted::all();
    }
    let mut granted = Granted { names: Some(BTreeSet::new()), served: false, shell_writes: true };
    for tool in tools {
        match agent.client.tool(tool.text.trim()) {
            Some(same) => {
                let names = granted.names.get_or_insert_default();
                names.extend(same.iter().map(|tool| (*tool).to_owned()));
            }
            None => granted.served = true,
        }
    }
    granted
}

/// What `tools` switches off, and `permission` denies.
fn of_opencode(agent: &Asset) -> Granted {
    let node = |key: &str| agent.definition.field(key).and_then(|field| field.node.as_ref());
    let off = |tool: &str| {
        let switched = node("tools").and_then(|tools| tools.get(tool)).and_then(Node::text);
        switched == Some("false") || node("permission").and_then(|all| all.get(tool)).is_some_and(denies)
    };
    let mut denied: Vec<&str> = Vec::new();
    if off("edit") && (off("write") || node("permission").is_some_and(|all| all.get("edit").is_some())) {
        denied.extend(["Write", "Edit"]);
    }
    for (own, tool) in
        [("bash", "Bash"), ("task", "Agent"), ("webfetch", "WebFetch"), ("websearch", "WebSearch")]
    {
        if off(own) {
            denied.push(tool);
        }
    }
    Granted::without(&denied)
}

/// Tells whether a permission denies whatever is asked: `deny`, or `"*": deny` and nothing else that is granted.
fn denies(permission: &Node) -> bool {
    permission.text() == Some("deny")
        || permission.entries().is_some_and(|entries| {
            !entries.is_empty()
                && entries.iter().all(|entry| entry.value.text() == Some("deny"))
                && entries.iter().any(|entry| entry.key.text() == Some("*"))
        })
}
