//! Prompts that speak of what another agent found, and are not handed it.

use kapell_spec::{
    claude::{starts::Start, steps::paths},
    finding::Span,
};
use kapell_view::audit::{Confidence, Severity};

use crate::{agents::Asset, rule::Report};

/// What was done with a thing by somebody.
const DONE: &[&str] = &[
    "found",
    "listed",
    "reported",
    "flagged",
    "named",
    "identified",
    "collected",
    "detected",
    "discovered",
    "raised",
    "returned",
    "gathered",
];

/// Words of a text that has answers handed on.
const HANDS_ON: &[&str] = &[
    "pass",
    "hand",
    "give",
    "gave",
    "include",
    "insert",
    "paste",
    "append",
    "forward",
    "attach",
    "fill in",
    "replace",
    "placeholder",
];

/// Tells of a prompt that is written out between quotes, and has an agent work on what an earlier one found, though neither it nor
/// a file brings that: whoever starts has a context of its own, and knows nothing but its prompt.
///
/// Source: <https://code.claude.com/docs/en/sub-agents>, as of 2026-08: each subagent runs in its own context window.
pub(super) fn check(asset: &Asset, text: &str, report: &mut Report<'_>) {
    let body = text.get(asset.definition.body as usize..).unwrap_or_default();
    // Most texts quote no prompt.
    if asset.starts.len() < 2 || !body.contains("rompt: \"") || !DONE.iter().any(|done| body.contains(done)) {
        return;
    }
    let plain = without_prompts(body).to_ascii_lowercase();
    if HANDS_ON.iter().any(|word| plain.contains(word)) {
        return;
    }
    for (at, later) in asset.starts.iter().enumerate() {
        let Some(prompt) = prompt(text, later) else { continue };
        let said = text[prompt.range()].to_ascii_lowercase();
        // Most prompts speak of nobody.
        if !said.contains(" by the ") {
            continue;
        }
        if said.contains(['[', '{', '<', '`', '@']) || said.contains("read ") || paths(&said).next().is_some()
        {
            continue;
        }
        let own = |start: &Start| text.get(start.words.range()).unwrap_or_default();
        let meant = asset.starts[..at].iter().find(|earlier| speaks_of(&said, earlier));
        let Some(earlier) = meant.filter(|earlier| paths(own(earlier)).next().is_none()) else { continue };
        let message = format!(
            "`{}` is to work on what `{}` found, and is handed nothing of it: it knows only this prompt",
            later.agent.text, earlier.agent.text
        );
        let hint = format!(
            "say in its prompt what goes in: the answer of `{}`, or a file that it writes",
            earlier.agent.text
        );
        let draft =
            report.add(asset.file, prompt, message).severity(Severity::High).confidence(Confidence::Medium);
        draft.hint(hint).also(asset.file, earlier.heading, "it was found here").done();
    }
}

/// Returns a text without the prompts that it quotes.
fn without_prompts(text: &str) -> String {
    let mut rest = text;
    let mut plain = String::with_capacity(text.len());
    while let Some((before, behind)) = rest.split_once("rompt: \"") {
        plain.push_str(before);
        rest = behind.split_once('"').map_or("", |(_, rest)| rest);
    }
    plain.push_str(rest);
    plain
}

/// Returns the prompt that the words of a start quote.
fn prompt(text: &str, start: &Start) -> Option<Span> {
    let own = text.get(start.words.range())?;
    let from = own.find("rompt: \"")? + "rompt: \"".len();
    let len = own[from..].find('"')?;
    let base = start.words.start as usize + from;
    Some(Span::new(base, base + len))
}

/// Tells whether a prompt in small letters speaks of what was found by a start, by a word of its title or of its agent.
fn speaks_of(prompt: &str, start: &Start) -> bool {
    let names = format!("{} {}", start.title, start.agent.text).to_ascii_lowercase();
    let mut names = names.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| word.len() >= 4);
    names.any(|name| {
        DONE.iter().any(|done| {
            prompt.split_once(&format!("{done} by the {name}")).is_some_and(|(before, behind)| {
                !before.ends_with(|c: char| c.is_ascii_alphanumeric())
                    && !behind.starts_with(|c: char| c.is_ascii_alphanumeric())
            })
        })
    })
}
