//! Loops that start an agent for each of several things, and wait for each before the next, without a reason.

use kapell_spec::{
    claude::reference::{Names, Strength},
    finding::Span,
};
use kapell_view::audit::Confidence;

use super::{HINT, STEPWISE, changes};
use crate::{
    agents::{Asset, Resolved, beside::tells_parallel, tools},
    repository::Repository,
    rule::Report,
};

/// How such a sentence begins.
const EACH: &[&str] = &["for each", "for every"];

/// Words that wait for one, of which the next is told of afterwards.
const WAITS: &[&str] = &[
    "wait until",
    "wait for",
    "waits until",
    "waits for",
    "when it is done",
    "when it has answered",
    "when it is back",
    "once it is done",
    "once it has answered",
    "once it is back",
    "after it has answered",
    "then take the next",
    "then go on with the next",
    "then go on to the next",
    "then move on to the next",
    "before the next",
    "before you start the next",
    "before starting the next",
    "before moving on",
];

/// Words of somebody who has a reason for that.
const REASONS: &[&str] = &[
    "because",
    "since ",
    "so that",
    "rate",
    "quota",
    "budget",
    "memory",
    "conflict",
    "depend",
    "previous",
    "builds on",
    "build on",
    "share",
    "lock",
    "the last one",
    "one database",
    "port ",
    "stop at the first",
    "stop when",
    "stop if",
    "until one",
    "first that",
    "ask me",
    "my yes",
    "approv",
    "confirm",
    "feedback",
    "result of",
    "what it found",
    "with its answer",
    "fails",
];

pub(super) fn check(repository: &Repository, asset: &Asset, text: &str, report: &mut Report<'_>) {
    // Most texts speak of no next one.
    if !text.contains("next") || !EACH.iter().any(|word| text.contains(&word[1..])) {
        return;
    }
    let body = asset.definition.body as usize;
    let named = asset.references.iter().filter(|reference| {
        let firm = reference.names == Names::Agent && reference.strength >= Strength::Strong;
        firm && !reference.fenced && reference.span.start as usize >= body
    });
    let mut told = None;
    for reference in named {
        let at = reference.span.start as usize;
        let Some(sentence) = looped(text, at).filter(|sentence| told != Some(sentence.start)) else {
            continue;
        };
        let Resolved::Found(worker) = repository.agents.resolve(asset, reference) else { continue };
        let worker = &repository.agents[worker];
        if !keeps_apart(worker, &repository.files[worker.file].text) {
            continue;
        }
        told = Some(sentence.start);
        let message = format!(
            "each `{}` is waited for before the next is started, and needs nothing of it",
            worker.name
        );
        let draft = report.add(asset.file, sentence, message);
        draft.confidence(Confidence::Medium).hint(HINT).done();
    }
}

/// How many bytes before and behind a name are looked at: a line may be a whole file.
const NEAR_MAX: usize = 600;

/// Moves an offset back to the start of its character, and into the text.
fn floor(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// Returns the sentence that loops over things and starts the agent at a place, if it also waits for each and gives no reason.
fn looped(text: &str, at: usize) -> Option<Span> {
    let first = floor(text, at.saturating_sub(NEAR_MAX));
    let paragraph = text[first..at].rfind("\n\n").map_or(first, |end| first + end + 2);
    let before = text.get(paragraph..at)?.to_ascii_lowercase();
    let from = EACH.iter().filter_map(|word| before.rfind(word)).max()?;
    // Between the words and the name there is no other sentence.
    let head = &before[from..];
    if head.len() > 160 || head.contains(". ") || head.contains("\n-") {
        return None;
    }
    let last = floor(text, at + NEAR_MAX);
    let end = text[at..last].find("\n\n").map_or(last, |len| at + len);
    let rest = text[at..end].to_ascii_lowercase();
    // A list may go on behind it.
    let rest = rest.split("\n1.").next().unwrap_or_default();
    let item = rest.find("\n- ").or_else(|| numbered(rest)).map_or(rest, |end| &rest[..end]);
    let whole = format!("{} {}", before.trim(), item).replace('\n', " ");
    let whole = whole.split_whitespace().collect::<Vec<_>>().join(" ");
    let things = head.split_whitespace().skip(2).take(3);
    let stepwise = things.clone().any(|word| STEPWISE.iter().any(|step| word.starts_with(step)));
    let waits = item.contains("next") && WAITS.iter().any(|word| whole.contains(word));
    let reason = REASONS.iter().any(|word| whole.contains(word)) || tells_parallel(&whole);
    let clause = &whole[whole.find(head.split_whitespace().next()?)?..];
    (waits && !stepwise && !reason && !changes(clause))
        .then(|| Span::new(paragraph + from, at + item.find(['.', '\n']).unwrap_or(item.len())))
}

/// Finds where the next item of a numbered list begins.
fn numbered(rest: &str) -> Option<usize> {
    let begins = |line: &str| {
        let digits = line.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
        digits > 0 && line[digits..].starts_with(['.', ')'])
    };
    rest.match_indices('\n').map(|(at, _)| at).find(|&at| begins(&rest[at + 1..]))
}

/// Tells whether two of an agent cannot disturb each other: it changes nothing, or a file that is called after what it is given.
fn keeps_apart(worker: &Asset, text: &str) -> bool {
    let granted = tools::granted(worker);
    let reads = granted.is_limited() && !granted.has("Edit") && !granted.served;
    let own = worker.body(text).split('`').skip(1).step_by(2);
    let mut own = own.filter(|path| {
        path.contains('/') && (path.contains('<') && path.contains('>') || path.contains('{'))
    });
    reads || own.next().is_some()
}
