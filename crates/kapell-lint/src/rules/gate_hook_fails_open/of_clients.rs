//! Gates of other clients: an end with 2 blocks with most of them, any other number only warns, and each reads decisions
//! of its own. Copilot blocks at every end but 0.
//!
//! Sources: <https://cursor.com/docs/agent/hooks>, <https://docs.github.com/en/copilot/reference/hooks-configuration>,
//! <https://developers.openai.com/codex/hooks>,
//! <https://github.com/google-gemini/gemini-cli/blob/main/docs/hooks/reference.md>, as of 2026-08.

use std::collections::BTreeSet;

use kapell_spec::{
    claude::{definition::Named, hooks::Hook},
    finding::Span,
};
use kapell_view::audit::Severity;

use super::{open, script, script_of, swallowed};
use crate::{
    agents::{client_hooks::ClientHook, clients::Client},
    files::FileId,
    repository::Repository,
    rule::Report,
};

/// The key under which a client reads what a gate decides, and the words with which it says no.
fn answer(client: Client) -> (&'static str, &'static [&'static str]) {
    match client {
        Client::Cursor => ("permission", &["deny", "ask"]),
        Client::Gemini => ("decision", &["deny", "block", "ask"]),
        _ => ("permissiondecision", &["deny", "ask"]),
    }
}

/// Keys under which one client or another reads a decision.
const KEYS: &[&str] = &["permissiondecision", "permission", "decision", "action"];

/// Words that can only be meant as a no.
const NOES: &[&str] =
    &["deny", "denied", "block", "blocked", "reject", "rejected", "refuse", "refused", "forbid", "disallow"];

pub(super) fn check(repository: &Repository, scripts: &mut BTreeSet<FileId>, report: &mut Report<'_>) {
    for file in &repository.agents.client_hooks {
        for own in &file.hooks {
            let Some(event) = own.stands_for.filter(|event| script::GATES.contains(event)) else { continue };
            let event = Named { text: event.to_owned(), span: own.hook.event.span };
            let hook = Hook { event, ..own.hook.clone() };
            if let Some((why, hint)) = lost(repository, file.file, file.client, own, &hook) {
                let at = hook.text.as_ref().map_or(hook.span, |text| text.span);
                report.add(file.file, at, why).hint(hint).done();
            } else if let Some((found, span, why, hint)) = misread(repository, file.file, file.client, &hook)
            {
                if scripts.insert(found) {
                    let draft = report.add(found, span, why).severity(Severity::High).hint(hint);
                    let at = hook.text.as_ref().map_or(hook.span, |text| text.span);
                    draft.also(file.file, at, "started here before a tool is used").done();
                }
            } else if !own.fails_closed {
                script::judge(repository, (file.file, file.client), &hook, scripts, report);
            }
        }
    }
}

/// Says how what a gate answers gets lost in the line that starts it.
fn lost(
    repository: &Repository,
    from: FileId,
    client: Client,
    own: &ClientHook,
    hook: &Hook,
) -> Option<(String, &'static str)> {
    if !own.fails_closed
        && let Some(lost) = open(hook)
    {
        return Some(lost);
    }
    let command = hook.text.as_ref()?;
    let lost = swallowed(&command.text.to_ascii_lowercase(), false)?;
    let text = repository.files[script_of(repository, from, &command.text)?].lower();
    // A decision that is printed is read however the line ends.
    let (key, _) = answer(client);
    let ends = ["exit 2", "exit(2)", "return 2", "exitcode = 2"];
    let fails = ["exit 1", "exit(1)", "exitcode = 1"];
    let says_no = ends.iter().chain(fails.iter().filter(|_| own.fails_closed)).any(|end| text.contains(end));
    (says_no && !text.contains(key) && !script::is_meant(text)).then_some(lost)
}

/// Finds a decision in a script that its client does not read: it stands under another key, or is another word.
fn misread(
    repository: &Repository,
    from: FileId,
    client: Client,
    hook: &Hook,
) -> Option<(FileId, Span, String, String)> {
    let file = script_of(repository, from, &hook.text.as_ref()?.text)?;
    let text = repository.files[file].lower();
    let ends: &[&str] = match client {
        // What Codex reads is what Claude Code reads, and told by what reads that.
        Client::Codex => return None,
        Client::Copilot => &["exit 2", "exit(2)", "exit 1", "exit(1)", "exitcode = ", "raise ", "throw "],
        _ => &["exit 2", "exit(2)", "return 2", "exitcode = 2"],
    };
    if ends.iter().any(|end| text.contains(end)) || hook.event.text != "PreToolUse" {
        return None;
    }
    let (key, words) = answer(client);
    let noes: Vec<(usize, &str, &str)> = decisions(text).filter(|(.., word)| NOES.contains(word)).collect();
    let read = |(_, own, word): &(usize, &str, &str)| *own == key && words.contains(word);
    let (at, own, word) = *noes.first().filter(|_| !noes.iter().any(read))?;
    let shown = if key == "permissiondecision" { "permissionDecision" } else { key };
    let why = format!(
        "this decision is not read, and the tool runs: no client but others has `{own}: {word}` for a no"
    );
    let why = match own == key {
        true => format!("this decision is not known, and the tool runs: `{word}` is none of its words"),
        false => why,
    };
    Some((file, Span::new(at, at + own.len()), why, format!("write `\"{shown}\": \"deny\"`, or end with 2")))
}

/// Finds what a script decides, in small letters: where the key stands, the key, and the word behind it.
fn decisions(text: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    let whole = |at: usize| !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    KEYS.iter().flat_map(|key| text.match_indices(key)).filter_map(move |(at, key)| {
        let rest = text[at + key.len()..].trim_start_matches(['"', '\'', '\\']).trim_start();
        let rest = rest.strip_prefix(':')?.trim_start().trim_start_matches('\\').strip_prefix(['"', '\''])?;
        let word = &rest[..rest.find(|c: char| !c.is_ascii_alphabetic())?];
        whole(at).then_some((at, key, word))
    })
}
