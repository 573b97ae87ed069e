//! Coroutines that are made in one go and awaited one by one.

use super::{WANTED, parts};
use crate::{
    code::{
        Id, Language, Service, Unit, guards,
        service::{self, Methods, own_method},
        unit::FUNCTIONS,
    },
    rule::Report,
};

/// Methods of known libraries that hand back a coroutine.
const COROUTINES: &[&str] = &["ainvoke", "arun", "acompletion", "agenerate", "kickoff_async", "akickoff"];

/// What leaves a loop before its end: then not all of them may be wanted.
const LEAVES: &[&str] = &["break_statement", "return_statement", "yield", "raise_statement"];

/// Coroutines in a list that a loop awaits one after the other. None of them starts before it is awaited, so that each waits for
/// the one before.
///
/// Source: <https://docs.python.org/3/library/asyncio-task.html> ("Coroutines"), as of 2026-08.
pub(super) fn check(unit: &Unit, methods: &Methods<'_>, report: &mut Report<'_>) {
    if unit.language != Language::Python || !unit.whole().contains("await ") {
        return;
    }
    for each in unit.syntax.of_kind(&["for_statement"]) {
        let Some((item, items, body)) = parts(unit, each) else { continue };
        let Some(awaited) = awaits(unit, each, item, body) else { continue };
        let Some((call, what)) = makes(unit, methods, items) else { continue };
        if unit.syntax.below(body).any(|id| LEAVES.contains(&unit.kind(id))) || is_wanted(unit, each) {
            continue;
        }
        let message = format!(
            "`{}`{} is awaited before the next of `{}` starts: a coroutine does nothing until it is awaited",
            unit.text(item),
            service::place_name(unit, each),
            unit.text(items),
        );
        report
            .add(unit.file, unit.span(awaited), message)
            .hint("gather them, with a semaphore that bounds how many run at once")
            .also(unit.file, unit.span(call), format!("the {} calls are made here", what.name()))
            .done();
    }
}

/// Finds where a loop awaits its own item.
fn awaits(unit: &Unit, each: Id, item: Id, body: Id) -> Option<Id> {
    if unit.kind(item) != "identifier" || unit.syntax.children(each).any(|id| unit.kind(id) == "async") {
        return None;
    }
    let own = |id: &Id| {
        let around = unit.syntax.around(*id).find(|&around| {
            matches!(unit.kind(around), "for_statement" | "while_statement")
                || FUNCTIONS.contains(&unit.kind(around))
        });
        around == Some(each)
    };
    let names = |id: Id| {
        unit.syntax.children(id).any(|id| unit.kind(id) == "identifier" && unit.text(id) == unit.text(item))
    };
    unit.syntax.below(body).filter(|&id| unit.kind(id) == "await").filter(own).find(|&id| names(id))
}

/// Finds the call that makes each coroutine of a list, and what it reaches. What starts a task is none.
fn makes(unit: &Unit, methods: &Methods<'_>, items: Id) -> Option<(Id, Service)> {
    let list = unit.value(items).filter(|&list| list != items && unit.kind(list) == "list_comprehension")?;
    let call = unit.syntax.child(list, "body").filter(|&call| unit.kind(call) == "call")?;
    let known = COROUTINES.contains(&unit.callee_name(call));
    let own = || {
        own_method(unit, call).or_else(|| unit.called(call)).is_some_and(|function| unit.is_async(function))
    };
    if !known && !own() {
        return None;
    }
    let (_, what) = methods.reached(unit, call)?;
    (!matches!(what, Service::Http(_))).then_some((call, what))
}

/// Tells whether somebody says that one is to come after the other.
fn is_wanted(unit: &Unit, each: Id) -> bool {
    let above = &unit.whole()[..unit.span(each).start as usize];
    let above: String = above.lines().rev().take(3).collect::<Vec<_>>().join("\n").to_ascii_lowercase();
    let own = guards::code(unit, each);
    WANTED.iter().any(|word| above.contains(word)) || own.contains("sleep")
}
