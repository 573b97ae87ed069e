//! Steps that are done in turn in one `try`, and whose ways back stand beside them and are called by nobody: `book_flight`, then
//! `book_hotel`, and a `cancel_flight` that no code names.
//!
//! Source: Garcia-Molina and Salem, "Sagas", 1987: of a sequence of transactions all succeed, or compensating ones undo those that
//! did.

use kapell_view::audit::{Confidence, Severity};

use super::provision;
use crate::{
    code::{self, Id, Language, Unit, guards::has_word, modules::Modules, service::place_name},
    files,
    repository::Repository,
    rule::Report,
    rules::names::words,
};

/// First words of steps, and of what takes them back: of the same thing, and of payments.
const BOOKS: &[&str] = &["book", "reserve", "hold", "order", "purchase", "rent", "allocate"];
const UNBOOKS: &[&str] = &["cancel", "release", "unbook", "free", "void"];
const PAYS: &[&str] = &["charge", "pay", "capture", "authorize", "debit", "bill"];
const REFUNDS: &[&str] = &["refund", "void", "reverse"];

/// What only tells people of a failure, or shapes what is told.
const TELLS: &[&str] = &[
    "log",
    "logger",
    "logging",
    "print",
    "console",
    "str",
    "repr",
    "String",
    "traceback",
    "span",
    "sentry_sdk",
];

/// What a record says of what failed.
const FAILED: &[&str] = &["failed", "failure", "error", "errored", "aborted"];

/// A step, and the way back of it that nobody goes.
struct Step<'a> {
    call: Id,
    unit: &'a Unit,
    undo: Option<Id>,
}

/// Tells of the first step of each `try` that stays where a later one fails.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let any = |text: &str, verbs: &[&str]| verbs.iter().any(|verb| text.contains(verb));
    let tries = |unit: &&Unit| unit.whole().contains("try") && any(unit.whole(), BOOKS);
    let mut likely = repository.code.iter().filter(tries).peekable();
    if likely.peek().is_none() {
        return;
    }
    let modules = Modules::new(&repository.code);
    for unit in likely {
        for attempt in unit.syntax.of_kind(&["try_statement"]) {
            let steps = steps(repository, &modules, unit, attempt);
            let Some((_, before)) = steps.split_last() else { continue };
            let Some(Step { call, unit: other, undo: Some(undo) }) =
                before.iter().find(|step| step.undo.is_some())
            else {
                continue;
            };
            if !only_tells(unit, attempt) || provision::is_safe(unit, unit.function_of(attempt)) {
                continue;
            }
            let name = other.name_of(*undo).map_or("", |name| other.text(name));
            let message = format!(
                "`{}`{} stays done where a later step fails: `{name}` takes it back, and nobody calls that",
                unit.callee_name(*call),
                place_name(unit, *call),
            );
            let last = steps[steps.len() - 1].call;
            report
                .add(unit.file, unit.span(*call), message)
                .severity(Severity::High)
                .confidence(Confidence::Medium)
                .hint("take back what was done, the last first, before the failure is told")
                .also(unit.file, unit.span(last), "where this fails")
                .also(other.file, other.span(other.name_of(*undo).unwrap_or(*undo)), "nobody calls this")
                .done();
        }
    }
}

/// Returns the steps of a `try` in their order, each with the way back that nobody goes.
fn steps<'a>(
    repository: &'a Repository,
    modules: &Modules<'a>,
    unit: &'a Unit,
    attempt: Id,
) -> Vec<Step<'a>> {
    let Some(body) = unit.syntax.child(attempt, "body") else { return Vec::new() };
    let function = unit.function_of(attempt);
    let straight = |&call: &Id| {
        let mut around = unit.syntax.around(call).take_while(|&id| id != body);
        let waited = unit.awaited(call) || unit.language == Language::Python && !unit.is_async(function);
        waited && unit.function_of(call) == function && !around.any(|id| is_branch(unit, id))
    };
    let verb = |call: &Id| words(unit.callee_name(*call)).first().is_some_and(|verb| is_step(verb));
    let own = unit.calls_in(body).filter(verb).filter(straight);
    let found = own.filter_map(|call| {
        let here = || unit.called(call).map(|function| (unit, function));
        let name = unit.callee_name(call);
        let other = modules.exported(unit, call).or_else(here).map(|(other, _)| other);
        let other = other.or_else(|| only_home(repository, name))?;
        Some(Step { call, unit: other, undo: undo(repository, other, name) })
    });
    found.collect()
}

/// Returns the only file whose classes have methods of a name.
fn only_home<'a>(repository: &'a Repository, name: &str) -> Option<&'a Unit> {
    let has = |unit: &&Unit| {
        let all = unit.functions().find(|(known, _)| *known == name).map(|(_, all)| all);
        all.is_some_and(|all| all.iter().all(|&function| unit.is_method(function)))
    };
    let mut homes = repository.code.iter().filter(has);
    homes.next().filter(|_| homes.next().is_none())
}

fn is_branch(unit: &Unit, id: Id) -> bool {
    let branches = ["if_statement", "for_statement", "for_in_statement", "while_statement", "try_statement"];
    branches.contains(&unit.kind(id))
}

fn is_step(verb: &str) -> bool {
    BOOKS.contains(&verb) || PAYS.contains(&verb)
}

/// Finds the function beside a step that takes it back, and that no other text names.
fn undo(repository: &Repository, unit: &Unit, step: &str) -> Option<Id> {
    let step = words(step);
    let (verb, thing) = step.split_first()?;
    let undoes = |name: &str| {
        let words = words(name);
        words.split_first().is_some_and(|(undo, of)| match PAYS.contains(&verb.as_str()) {
            true => REFUNDS.contains(&undo.as_str()),
            false => UNBOOKS.contains(&undo.as_str()) && of == thing,
        })
    };
    // A bare verb means what the object is, and so does its way back.
    let fits = |function: Id| !thing.is_empty() || unit.is_method(function);
    unit.functions().find_map(|(name, all)| match all {
        [only] if undoes(name) && fits(*only) && is_unnamed(repository, unit, (name, *only)) => Some(*only),
        _ => None,
    })
}

/// Tells whether no code and no configuration names a function, but for itself.
fn is_unnamed(repository: &Repository, unit: &Unit, (name, function): (&str, Id)) -> bool {
    let own = unit.span(function).range();
    repository.files.iter().all(|(id, file)| {
        let aside = file.path.ends_with(".md") || files::is_code(&file.path) && !code::wanted(&file.path);
        let named = |text: &str| text.contains(name) && has_word(text, name);
        match id == unit.file {
            true => !named(&file.text[..own.start]) && !named(&file.text[own.end..]),
            false => aside || !named(&file.text),
        }
    })
}

/// Tells whether what runs after a failure does nothing but tell of it.
fn only_tells(unit: &Unit, attempt: Id) -> bool {
    let handlers = unit.syntax.children(attempt);
    let handlers = handlers.filter(|&id| {
        matches!(unit.kind(id), "except_clause" | "catch_clause" | "finally_clause" | "else_clause")
    });
    let mut calls = handlers.flat_map(|handler| unit.calls_in(handler));
    calls.all(|call| {
        let callee = unit.callee(call).map_or("", |callee| unit.text(callee));
        let root = callee.split(['.', '(']).next().unwrap_or_default();
        let fails = || {
            let mut around = unit.syntax.around(call).take_while(|&id| id != attempt);
            around.any(|id| matches!(unit.kind(id), "raise_statement" | "throw_statement"))
        };
        let made = root.starts_with(char::is_uppercase) || unit.kind(call) == "new_expression";
        // `store.save(trip, status="failed")` tells of it, too.
        let records = || {
            let said = |id: Id| unit.text(id).trim_matches(['"', '\'']).to_ascii_lowercase();
            unit.args(call)
                .iter()
                .any(|arg| unit.kind(arg.value) == "string" && FAILED.contains(&&*said(arg.value)))
        };
        TELLS.contains(&root) || made || fails() || records()
    })
}
