//! Scripts of dynamic workflows: which agents their `agent()` calls start.

use kapell_spec::finding::Span;

use super::{Language, Unit};
use crate::files::FileId;

/// An agent that a script starts by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Its name.
    pub name: String,
    /// Where it is named.
    pub span: Span,
}

/// Keys by which a call names its agent.
const KEYS: &[&str] = &["agentType", "subagent_type", "agent_type"];

/// Returns the agents that a script starts by names that stand there as they are.
#[must_use]
pub fn agents(file: FileId, text: &str) -> Vec<Started> {
    let Some(unit) = Unit::read(file, Language::Tsx, text) else { return Vec::new() };
    let mut found = Vec::new();
    for call in unit.calls().filter(|&call| unit.callee_name(call) == "agent") {
        let named = unit
            .args(call)
            .into_iter()
            .find_map(|arg| KEYS.iter().find_map(|key| unit.object_key(arg.value, key).flatten()));
        let Some(value) = named.and_then(|value| unit.value(value)) else { continue };
        let text = unit.text(value);
        let inner = text.get(1..text.len().saturating_sub(1)).filter(|_| unit.kind(value) == "string");
        if let Some(name) = inner.filter(|name| !name.is_empty()) {
            found.push(Started { name: name.to_owned(), span: unit.span(value) });
        }
    }
    found
}
