//! Agents of Codex: `.codex/agents/NAME.toml`.

use crate::{finding::Span, line};

/// An agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CodexAgent {
    /// Its name.
    pub name: Option<String>,
    /// When it is for.
    pub description: Option<String>,
    /// What it is told.
    pub instructions: Option<String>,
    /// What its commands may touch: `read-only`, `workspace-write` or `danger-full-access`.
    pub sandbox: Option<String>,
    /// When somebody is asked: `never` and so on.
    pub approval: Option<String>,
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
        sandbox: get("sandbox_mode"),
        approval: get("approval_policy"),
    })
}

/// Finds the text that a key at the top of TOML has, without its quotes: of `prompt = """..."""` what is between them.
#[must_use]
pub fn text_of(text: &str, key: &str) -> Option<Span> {
    let line = text
        .split_inclusive('\n')
        .find(|line| line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('=')))?;
    let at = line::offset(text, line);
    let value = text[at..].split_once('=')?.1.trim_start();
    let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| value.starts_with(quote))?;
    let inner = &value[quote.len()..];
    let start = text.len() - inner.len();
    Some(Span::new(start, start + inner.find(quote)?))
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
