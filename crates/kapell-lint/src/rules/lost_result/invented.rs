//! Answers that are made up where what should have brought them failed.

use kapell_view::audit::{Confidence, Severity};

use crate::{
    code::{Id, Language, Unit, service, unit::FUNCTIONS},
    rule::Report,
    rules::names::words,
};

/// First words of names of functions that bring something from elsewhere, or do something there. What one may `get` or `read` is
/// as well a setting with a default.
const BRINGS: &[&str] =
    &["retrieve", "search", "fetch", "lookup", "query", "scrape", "browse", "execute", "run", "call"];

/// Words of names of functions whose answer stands above something, or in its place, and is no answer by itself.
const SHOWN: &[&str] =
    &["title", "label", "heading", "header", "caption", "placeholder", "message", "prompt"];

/// Words of a text which says that something was done.
const SAYS: &[&str] = &[
    "retrieved",
    "results for",
    "result for",
    "found",
    "executed",
    "completed",
    "success",
    "searched",
    "fetched",
    "information about",
];

/// Words of a text which says that something was not.
const DENIES: &[&str] = &[
    "not ",
    "no ",
    "fail",
    "error",
    "unable",
    "could",
    "cannot",
    "can't",
    "unavailable",
    "sorry",
    "n't",
    "missing",
    "skipped",
    "without",
];

/// Tells of functions that answer what a call brings, and, where that fails, say of what they were asked that it was done.
pub(super) fn check(unit: &Unit, report: &mut Report<'_>) {
    for attempt in unit.syntax.of_kind(&["try_statement"]) {
        let function = unit.function_of(attempt);
        if !brings(unit, function) || !answers_with_call(unit, attempt, function) {
            continue;
        }
        let Some(text) = made_up(unit, attempt, function) else { continue };
        let message = format!(
            "this text{} says that it was done where the call before has failed: whoever asked takes it for an answer",
            service::place_name(unit, text),
        );
        report
            .add(unit.file, unit.span(text), message)
            .severity(Severity::High)
            .confidence(Confidence::Medium)
            .hint("raise, or answer that nothing was found and why")
            .also(unit.file, unit.span(attempt), "this fails unseen")
            .done();
    }
}

/// Tells whether a function is named for bringing something, and not a text to be shown with it.
fn brings(unit: &Unit, function: Id) -> bool {
    let name = unit.name_of(function).map_or("", |name| unit.text(name));
    let words = words(name);
    let first = words.iter().find(|word| !word.is_empty());
    FUNCTIONS.contains(&unit.kind(function))
        && first.is_some_and(|first| BRINGS.contains(&&**first))
        && !words.iter().any(|word| SHOWN.contains(&&**word))
}

/// Tells whether a `try` answers at once with what a call brings, and handles any failure by nothing. One that expects a certain
/// failure, as `KeyError`, only asks whether something is there.
fn answers_with_call(unit: &Unit, attempt: Id, function: Id) -> bool {
    let Some(body) = unit.syntax.child(attempt, "body") else { return false };
    let own = |id: &Id| unit.function_of(*id) == function;
    let mut back = unit.syntax.below(body).filter(|&id| unit.kind(id) == "return_statement").filter(own);
    let answers = back.any(|back| unit.calls_in(back).next().is_some());
    let handlers = unit.syntax.children(attempt).filter(|&id| unit.is_handler(id));
    let leaves =
        ["return_statement", "raise_statement", "throw_statement", "assignment", "assignment_expression"];
    let mut handlers = handlers.peekable();
    answers
        && handlers.peek().is_some()
        && handlers.all(|handler| {
            unit.handles_all(handler) && !unit.syntax.below(handler).any(|id| leaves.contains(&unit.kind(id)))
        })
}

/// Finds the text behind a `try` that a function answers with, made of what it was given, and which says that it was done.
fn made_up(unit: &Unit, attempt: Id, function: Id) -> Option<Id> {
    let end = unit.syntax.end(attempt);
    let mut back = unit
        .syntax
        .below(function)
        .filter(|&id| id >= end && unit.kind(id) == "return_statement" && unit.function_of(id) == function);
    let text = back.next().and_then(|back| unit.syntax.children(back).nth(1))?;
    let kind = if unit.language == Language::Python { "string" } else { "template_string" };
    let parameters = unit.syntax.child(function, "parameters")?;
    let given: Vec<&str> = unit
        .syntax
        .below(parameters)
        .filter(|&id| unit.kind(id) == "identifier")
        .map(|id| unit.text(id))
        .collect();
    let named =
        unit.syntax.below(text).any(|id| unit.kind(id) == "identifier" && given.contains(&unit.text(id)));
    let lower = unit.text(text).to_ascii_lowercase();
    let says =
        SAYS.iter().any(|word| lower.contains(word)) && !DENIES.iter().any(|word| lower.contains(word));
    (unit.kind(text) == kind && named && says && back.next().is_none()).then_some(text)
}
