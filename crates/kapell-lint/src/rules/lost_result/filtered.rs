//! Failures of `asyncio.gather(..., return_exceptions=True)` that are left out of the list by which a program decides whether it
//! ends well: where all failed, nothing was found.
//!
//! Source: the documentation of Python, `asyncio.gather`: with `return_exceptions=True`, exceptions are treated as results.

use super::{
    every::is_logged,
    kept::{bound_name, later, picked},
    settled::{is_counted, runs, sees_to_itself, swallows},
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

/// What code says that looks for what is not there, and parts of words for that.
const COMPARES: &[&str] = &["not in ", " - ", "!="];
const MISSED: &[&str] = &["difference", "missing", "fail", "skipped", "incomplete"];

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
    let leads_to_catch = |unit: &Unit, function: Id| {
        unit.calls_in(function).any(|call| match unit.called(call) {
            Some(function) => catches(unit, function),
            None => methods.exported(unit, call).is_some_and(|(other, function)| catches(other, function)),
        })
    };
    let called = |call: Id| unit.called(call).filter(|&function| unit.is_async(function));
    let mut own = unit.calls_in(body).chain([body]).filter_map(called);
    sees_to_itself(methods, unit, body)
        || own.any(|function| leads_to_catch(unit, function))
        || runs(methods, unit, body).is_some_and(|(other, function)| leads_to_catch(other, function))
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
    let uses = later(unit, list);
    let counts = |&used: &Id| is_counted(unit, used) && !is_logged(unit, used) || is_denied(unit, used);
    let names = grown(unit, list);
    if uses.iter().any(counts) || compares(&guards::code(unit, function), &names) {
        return None;
    }
    let ends_by_return = ends_by(unit, function);
    let mut below = unit.syntax.below(function);
    below.find_map(|id| match unit.kind(id) {
        "if_statement" => {
            let condition = unit.syntax.child(id, "condition")?;
            let done = unit.syntax.child(id, "consequence")?;
            let fails = || {
                unit.syntax.below(done).any(|id| match unit.kind(id) {
                    "call" => ENDS.contains(&unit.callee_name(id)) && !unit.text(id).ends_with("(0)"),
                    "return_statement" => ends_by_return && is_failure(unit, id),
                    _ => false,
                })
            };
            (asks_plainly(unit, condition, &names) && fails()).then_some(condition)
        }
        "conditional_expression" => {
            let around = unit.syntax[id].parent;
            let ends = match unit.kind(around) {
                "return_statement" => ends_by_return,
                "argument_list" => ENDS.contains(&unit.callee_name(unit.syntax[around].parent)),
                _ => false,
            };
            chosen(unit, id, &names).filter(|_| ends)
        }
        _ => None,
    })
}

/// Tells whether code, in lower case, looks for what is not there, under other names than these.
fn compares(code: &str, names: &[&str]) -> bool {
    let own = |word: &str| names.iter().any(|name| name.eq_ignore_ascii_case(word));
    let mut words = code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    COMPARES.iter().any(|word| code.contains(word))
        || words.any(|word| MISSED.iter().any(|part| word.contains(part)) && !own(word))
}

/// Tells whether a condition asks for one of some lists, and not for what is missing in it.
fn asks_plainly(unit: &Unit, condition: Id, names: &[&str]) -> bool {
    let denies = unit.syntax.below(condition).chain([condition]).any(|id| {
        matches!(unit.kind(id), "not_operator" | "<" | "<=" | "==")
            || unit.kind(id) == "call" && unit.callee_name(id) == "all"
    });
    !denies && names.iter().any(|name| has_word(unit.text(condition), name))
}

/// Returns the condition of `1 if failed else 0` or `0 if not failed else 1`, where what is bad was taken of a list.
fn chosen(unit: &Unit, choice: Id, names: &[&str]) -> Option<Id> {
    let mut parts = unit.syntax.children(choice).filter(|&id| !matches!(unit.kind(id), "if" | "else"));
    let (one, condition, other) = (parts.next()?, parts.next()?, parts.next()?);
    let numbers = [one, other].iter().all(|&id| unit.kind(id) == "integer");
    let bad = match unit.kind(condition) {
        "not_operator" => {
            let denied = unit.syntax.child(condition, "argument").map_or("", |id| unit.text(id));
            names.iter().skip(1).any(|name| *name == denied) && unit.text(one) == "0"
        }
        _ => asks_plainly(unit, condition, names) && unit.text(other) == "0",
    };
    (numbers && bad).then_some(condition)
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
