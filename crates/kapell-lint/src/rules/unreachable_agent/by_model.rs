//! Commands and skills that only the model can start, which a text has a person type.

use std::collections::BTreeMap;

use kapell_spec::{finding::Span, line, words::Words};
use kapell_view::audit::{AssetKind, Scope};

use crate::{
    agents::{AgentId, Asset, Home},
    repository::Repository,
    rule::Report,
};

/// Words of a line, beside that of a user, that have somebody type a command.
const TYPED: &[&str] = &["guide to", "type", "to run", "can run", "then run", "suggest", "recommend", "tell"];

/// A command with `user-invocable: false` is not in the menu of a person: what a report names as the next step, or what a user is
/// to be told to run, cannot be run.
///
/// Source: <https://code.claude.com/docs/en/skills> ("Control who invokes a skill"), as of 2026-08.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let agents = &repository.agents;
    let kinds = [AssetKind::Command, AssetKind::Skill];
    let hidden: Vec<(AgentId, &Asset)> = agents
        .iter()
        .filter(|(_, asset)| kinds.contains(&asset.kind) && asset.home == Home::Claude)
        .filter(|(_, asset)| asset.definition.is_on("user-invocable") == Some(false))
        .collect();
    // Most repositories hide nothing from people.
    if hidden.is_empty() {
        return;
    }
    let called: Vec<(String, usize)> = hidden
        .iter()
        .enumerate()
        .flat_map(|(at, (_, asset))| calls(asset).map(move |call| (call, at)))
        .collect();
    let words: Vec<&str> = called.iter().map(|(call, _)| &**call).collect();
    let words = Words::exact(&words);
    let mut told: BTreeMap<AgentId, Vec<(&Asset, Span)>> = BTreeMap::new();
    for (_, from) in agents.iter().filter(|(_, from)| kinds.contains(&from.kind) && from.home == Home::Claude)
    {
        let text = &repository.files[from.file].text;
        let body = from.definition.body as usize;
        for (number, at) in words.places(&text[body..]) {
            let (call, command) = &called[number];
            let (id, command) = hidden[*command];
            let at = body + at;
            let own = from.scope == command.scope && from.file != command.file;
            if own && is_whole(text, at, call.len()) && is_typed(from, text, at) {
                told.entry(id).or_default().push((from, Span::new(at, at + call.len())));
            }
        }
    }
    for (id, places) in told {
        let command = &agents[id];
        let (Some(((from, span), rest)), Some(switch)) =
            (places.split_first(), command.definition.field("user-invocable"))
        else {
            continue;
        };
        let shown = &repository.files[from.file].text[span.range()];
        let message = format!("`{shown}` cannot be typed: only the model can start it");
        let mut draft = report
            .add(from.file, *span, message)
            .hint("drop `user-invocable: false`, or have the model start it")
            .also(command.file, switch.key.span, "kept from people here");
        for (from, span) in rest {
            draft = draft.also(from.file, *span, "a person is to type it here too");
        }
        draft.done();
    }
}

/// Returns what a person would type.
fn calls(asset: &Asset) -> impl Iterator<Item = String> + use<> {
    let plugin = match &asset.scope {
        Scope::Plugin(plugin) => Some(format!("/{plugin}:{}", asset.name)),
        _ => None,
    };
    [Some(format!("/{}", asset.name)), plugin].into_iter().flatten()
}

/// Tells whether a command stands by itself, and is no part of a path or of a longer name.
fn is_whole(text: &str, at: usize, len: usize) -> bool {
    let part = |c: char| c.is_alphanumeric() || "-_/:.~".contains(c);
    let after = &text[at + len..];
    let goes_on = after.starts_with(|c: char| c.is_alphanumeric() || "-_/:".contains(c));
    let ending = after.strip_prefix('.').is_some_and(|rest| rest.starts_with(char::is_alphanumeric));
    !text[..at].ends_with(part) && !goes_on && !ending
}

/// Tells whether a person is to type what stands at a place: the next step that a report names, or what a user is guided to.
fn is_typed(from: &Asset, text: &str, at: usize) -> bool {
    let before = text[line::start(text, at)..at].to_ascii_lowercase();
    let fenced = from.definition.document.fence_at(u32::try_from(at).unwrap_or(u32::MAX)).is_some();
    let next = ["next step:", "next steps:", "next:"].iter().any(|head| before.contains(head));
    let user = before.contains("user") && TYPED.iter().any(|word| before.contains(word));
    fenced && next || user
}
