//! Code that gives a session its agents, and tells it to use another one.

use std::collections::BTreeSet;

use kapell_spec::{claude::reference::is_kebab, finding::Span, line, suggest};

use crate::{
    agents::is_built_in,
    code::{Id, Unit},
    repository::Repository,
    rule::Report,
};

/// What a file says that starts such sessions.
const SESSIONS: &[&str] =
    &["claude-agent-sdk", "claude_agent_sdk", "@anthropic-ai/claude-code", "claude_code_sdk"];

/// Words that stand behind the name of an agent.
const BEHIND: &[&str] = &["agent", "subagent", "sub-agent"];

pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    for unit in repository.code.iter().filter(|unit| SESSIONS.iter().any(|name| unit.whole().contains(name)))
    {
        let Some(given) = given(unit) else { continue };
        // What settings of the project define is there too.
        let files: Vec<&str> = repository.agents.iter().map(|(_, asset)| &*asset.name).collect();
        let mut told = BTreeSet::new();
        for text in unit.syntax.of_kind(&["string", "template_string"]) {
            for (name, span) in named(unit, text) {
                let known = given.contains(name) || files.contains(&name) || is_built_in(name);
                if known || !told.insert(name) {
                    continue;
                }
                let message = format!("agent `{name}` is not among those that this session is given");
                let hint = match suggest::nearest(name, given.iter().copied()) {
                    Some(near) => format!("name `{near}`, or add `{name}` to `agents`"),
                    None => format!("add `{name}` to `agents`, or name one of them"),
                };
                report.add(unit.file, span, message).hint(hint).done();
            }
        }
    }
}

/// Returns the names of the agents under all keys `agents` of a file; `None` where there are none, or more than is read.
fn given(unit: &Unit) -> Option<BTreeSet<&str>> {
    let mut names = BTreeSet::new();
    let mut any = false;
    for id in unit.syntax.of_kind(&["pair", "keyword_argument", "shorthand_property_identifier"]) {
        let object = match unit.kind(id) {
            "shorthand_property_identifier" if unit.text(id) == "agents" => {
                if let [value] = unit.values(id, "agents") { Some(*value) } else { None }
            }
            "shorthand_property_identifier" => continue,
            _ => {
                let key = unit.syntax.child(id, "key").or_else(|| unit.syntax.child(id, "name"))?;
                if unit.text(key).trim_matches(['"', '\'']) != "agents" {
                    continue;
                }
                let value = unit.syntax.child(id, "value")?;
                if unit.kind(value) == "identifier" { unit.value(value) } else { Some(value) }
            }
        }?;
        if !matches!(unit.kind(object), "object" | "dictionary") {
            return None;
        }
        for entry in unit.syntax.children(object) {
            match unit.kind(entry) {
                "pair" => {
                    let key = unit.syntax.child(entry, "key")?;
                    if !matches!(unit.kind(key), "string" | "property_identifier") {
                        return None;
                    }
                    names.insert(unit.text(key).trim_matches(['"', '\'']));
                }
                "shorthand_property_identifier" => {
                    names.insert(unit.text(entry));
                }
                "spread_element" | "dictionary_splat" => return None,
                _ => {}
            }
        }
        any = true;
    }
    any.then_some(names)
}

/// Finds the names before the word agent in a text: `then the copy-editor agent`. One word alone may be an adjective.
fn named(unit: &Unit, text: Id) -> Vec<(&str, Span)> {
    let (whole, base) = (unit.text(text), unit.span(text).start as usize);
    let breaks = |c: char| c.is_whitespace() || "`\"'(),;".contains(c);
    // A text may be put together of several: `"use the " + "copy-editor agent"`.
    let joined = unit.syntax[text].parent;
    let first = unit.syntax.child(joined, "left").filter(|_| unit.syntax[text].field == "right");
    let before = first.and_then(|first| unit.text(first).split(breaks).rfind(|word| !word.is_empty()));
    let own = whole.split(breaks).filter(|word| !word.is_empty());
    let words: Vec<&str> = before.into_iter().chain(own).collect();
    let pairs = words.windows(3).filter(|words| {
        let behind = words[2].trim_end_matches(['.', ':', '!', '?', '\\']).to_ascii_lowercase();
        let before = words[0].to_ascii_lowercase();
        BEHIND.contains(&&*behind)
            && is_kebab(words[1])
            && ["the", "use", "start", "call", "run", "ask", "invoke", "to", "then"].contains(&&*before)
    });
    pairs
        .map(|words| {
            let at = base + line::offset(whole, words[1]);
            (words[1], Span::new(at, at + words[1].len()))
        })
        .collect()
}
