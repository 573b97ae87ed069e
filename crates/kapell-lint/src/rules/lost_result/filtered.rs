//! Failures of `asyncio.gather(..., return_exceptions=True)` that are left out of the list by which a program decides whether it
//! ends well: where all failed, nothing was found.
//!
//! Source: the documentation of Python, `asyncio.gather`: with `return_exceptions=True`, exceptions are treated as results.

use super::{
    kept::{bound_name, later, picked},
    settled::{is_counted, sees_to_itself, swallows},
};
use crate::{
    code::{
        Id, Language, Unit,
        guards::{self, has_word},
        service::{self, Methods},
    },
    rule::Report,
    rules::unbounded_fan_out,
};

/// Calls by which a program ends.
const ENDS: &[&str] = &["exit", "_exit", "SystemExit"];

/// What code says that looks for what is not there.
const COMPARES: &[&str] = &["not in ", " - ", "difference", "missing", "fail", "skipped", "incomplete", "!="];

/// How far it is looked around a call for the name that takes its answer.
const AROUND: usize = 6;

/// Tells of them, where all that is asked of the rest is whether something bad is in it.
pub(super) fn check(methods: &Methods<'_>, units: &[Unit], unit: &Unit, report: &mut Report<'_>) {
    if unit.language != Language::Python || !unit.whole().contains("return_exceptions") {
        return;
    }
    for call in unit.calls().filter(|&call| swallows(unit, call) && unit.awaited(call)) {
        let Some((body, _)) = unbounded_fan_out::fanned(unit, call) else { continue };
        let Some(list) = rest(unit, call).filter(|_| !sees_to_it(methods, unit, body)) else { continue };
        let Some((other, decided)) = decided(methods, units, unit, list) else { continue };
        let message = format!(
            "what failed is left out here{}, and the rest decides how the program ends: where all fail, it ends well",
            service::place_name(unit, list),
        );
        report
            .add(unit.file, unit.span(list), message)
            .hint("count what failed as a failure, or raise it")
            .also(unit.file, unit.span(call), "keeps all failures")
            .also(other.file, other.span(decided), "decided here")
            .done();
    }
}

/// Finds the list of what is left of the results of a call without its failures, where nothing else is done with them.
fn rest(unit: &Unit, call: Id) -> Option<Id> {
    let results = bound_name(unit, unit.syntax[unit.syntax[call].parent].parent)?;
    match *later(unit, results) {
        [only] => picked(unit, only),
        _ => None,
    }
}

/// Tells whether what runs for each item, or what that calls, catches its failures itself, or cannot be seen.
fn sees_to_it(methods: &Methods<'_>, unit: &Unit, body: Id) -> bool {
    let catches =
        |unit: &Unit, function: Id| unit.syntax.below(function).any(|id| unit.kind(id) == "except_clause");
    let called = |unit: &Unit, call: Id| unit.called(call).filter(|&function| unit.is_async(function));
    let own = unit.calls_in(body).chain([body]).filter_map(|call| called(unit, call));
    let mut next = own.flat_map(|function| unit.calls_in(function));
    sees_to_itself(methods, unit, body)
        || next.any(|call| match unit.called(call) {
            Some(function) => catches(unit, function),
            None => methods.exported(unit, call).is_some_and(|(other, function)| catches(other, function)),
        })
}

/// Finds where a program decides how it ends, by a list: in the function that makes it, or in one that is given it.
fn decided<'a>(methods: &Methods<'_>, units: &'a [Unit], unit: &'a Unit, list: Id) -> Option<(&'a Unit, Id)> {
    let function = unit.function_of(list);
    let around = unit.syntax[list].parent;
    let named = bound_name(unit, around);
    if let Some(name) = named {
        if let Some(found) = decides(unit, name) {
            return Some((unit, found));
        }
        // It is handed on as it is, and nothing else is done with it.
        let [only] = *later(unit, name) else { return None };
        if unit.kind(unit.syntax[only].parent) != "return_statement" {
            return None;
        }
    } else if unit.kind(around) != "return_statement" {
        return None;
    }
    units.iter().filter(|other| other.language == Language::Python).find_map(|other| {
        let leads = |call: Id| match other.file == unit.file {
            true => other.called(call) == Some(function),
            false => methods
                .exported(other, call)
                .is_some_and(|(target, id)| target.file == unit.file && id == function),
        };
        let mut takers = other.calls().filter(|&call| leads(call)).filter_map(|call| {
            let bound = other.syntax.around(call).take(AROUND).find(|&id| other.kind(id) == "assignment")?;
            bound_name(other, bound)
        });
        takers.find_map(|name| decides(other, name)).map(|found| (other, found))
    })
}

/// Finds the condition by which a function ends a program badly, and which asks nothing but what is in a list: not how much that
/// is, nor what is not in it.
fn decides(unit: &Unit, list: Id) -> Option<Id> {
    let function = unit.function_of(list);
    let code = guards::code(unit, function);
    let counted = later(unit, list).into_iter().any(|used| is_counted(unit, used) || is_denied(unit, used));
    if counted || COMPARES.iter().any(|word| code.contains(word)) {
        return None;
    }
    let names = grown(unit, list);
    let ends_by_return = ends_by(unit, function);
    let mut branches = unit.syntax.below(function).filter(|&id| unit.kind(id) == "if_statement");
    branches.find_map(|branch| {
        let condition = unit.syntax.child(branch, "condition")?;
        let done = unit.syntax.child(branch, "consequence")?;
        let plain = !unit.syntax.below(condition).chain([condition]).any(|id| {
            matches!(unit.kind(id), "not_operator" | "<" | "<=" | "==")
                || unit.kind(id) == "call" && unit.callee_name(id) == "all"
        });
        let asked = names.iter().any(|name| has_word(unit.text(condition), name));
        let fails = || {
            unit.syntax.below(done).any(|id| match unit.kind(id) {
                "call" => ENDS.contains(&unit.callee_name(id)) && !unit.text(id).ends_with("(0)"),
                "return_statement" => ends_by_return && is_failure(unit, id),
                _ => false,
            })
        };
        (plain && asked && fails()).then_some(condition)
    })
}

/// Tells whether what a function returns is how the program ends: `sys.exit(main())`.
fn ends_by(unit: &Unit, function: Id) -> bool {
    let mut ends = unit.calls().filter(|&call| ENDS.contains(&unit.callee_name(call)));
    ends.any(|end| unit.calls_in(end).any(|call| call != end && unit.called(call) == Some(function)))
}

/// Tells whether a number other than 0 is returned.
fn is_failure(unit: &Unit, back: Id) -> bool {
    let value = unit.syntax.children(back).nth(1);
    value.is_some_and(|value| unit.kind(value) == "integer" && unit.text(value) != "0")
}

/// Tells whether somebody asks whether a list is empty, by `not`.
fn is_denied(unit: &Unit, used: Id) -> bool {
    unit.kind(unit.syntax[used].parent) == "not_operator"
}

/// Returns a name and those that are made of it in its function, in the order of the text.
fn grown(unit: &Unit, list: Id) -> Vec<&str> {
    let mut names = vec![unit.text(list)];
    for id in unit.syntax.below(unit.function_of(list)).filter(|&id| id > list) {
        if !matches!(unit.kind(id), "assignment" | "augmented_assignment" | "for_statement") {
            continue;
        }
        let child = |field| unit.syntax.child(id, field);
        let Some((left, right)) = child("left").zip(child("right")) else { continue };
        let of_them = names.iter().any(|name| has_word(unit.text(right), name));
        if of_them && unit.kind(left) == "identifier" {
            names.push(unit.text(left));
        }
    }
    names
}
