//! Agents of Codex: `.codex/agents/NAME.toml`.

use crate::finding::Span;

/// An agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CodexAgent {
    /// Its name.
    pub name: Option<String>,
    /// When it is for.
    pub description: Option<String>,
    /// What it is told.
    pub instructions: Option<String>,
}

/// Reads an agent.
///
/// # Errors
///
/// Fails with the place and the reason if it is no TOML.
pub fn read(text: &str) -> Result<CodexAgent, (Span, String)> {
    let table = table(text)?;
    let get = |key: &str| table.get(key).and_then(toml::Value::as_str).map(str::to_owned);
    Ok(CodexAgent {
        name: get("name"),
        description: get("description"),
        instructions: get("developer_instructions"),
    })
}

/// Returns the place and the reason why a text is no TOML.
#[must_use]
pub fn broken(text: &str) -> Option<(Span, String)> {
    table(text).err()
}

fn table(text: &str) -> Result<toml::Table, (Span, String)> {
    text.parse().map_err(|error: toml::de::Error| {
        let span = error.span().map_or_else(Span::default, |span| Span::new(span.start, span.end));
        (span, error.message().to_owned())
    })
}
