//! `asyncio.gather(..., return_exceptions=True)` and `Promise.allSettled(...)`, of which nobody looks at the failures.
//!
//! Source: the documentation of Python, `asyncio.gather`: with `return_exceptions=True`, exceptions are treated as results;
//! ECMAScript, `Promise.allSettled`: its promise is never rejected.

use super::super::{check_fails_open::meant, unbounded_fan_out};
use crate::{
    code::{
        Id, Language, Unit,
        guards::{self, has_word},
        service::{self, Methods},
        unit::FUNCTIONS,
    },
    rule::Report,
};

/// Words of who ends, tidies up or only tries.
const ENDS: &[&str] = &[
    "cancel",
    "close",
    "shutdown",
    "stop",
    "dispose",
    "cleanup",
    "clean_up",
    "teardown",
    "__aexit__",
    "finally",
    "disconnect",
    "terminate",
    "best_effort",
    "notify",
    "prefetch",
    "warm",
    "abort",
    "kill",
    "drain",
];

/// Words of who does not mind what fails.
const NO_MATTER: &[&str] = &["ignore", "whatever"];

/// Tells of them, where what follows goes on as if all had worked.
pub(super) fn check(methods: &Methods<'_>, unit: &Unit, report: &mut Report<'_>) {
    if !["return_exceptions", "allSettled"].iter().any(|word| unit.whole().contains(word)) {
        return;
    }
    for call in unit.calls().filter(|&call| swallows(unit, call)) {
        let function = unit.function_of(call);
        let Some((body, _)) = unbounded_fan_out::fanned(unit, call) else { continue };
        let tidies = || {
            let (around, name) =
                (guards::code(unit, function), service::place_name(unit, call).to_lowercase());
            ENDS.iter().any(|word| around.contains(word) || name.contains(word))
        };
        let Some(next) = goes_on(unit, call) else { continue };
        if sees_to_itself(methods, unit, body) || tidies() {
            continue;
        }
        let callee = unit.callee(call).map_or("", |callee| unit.text(callee));
        let message = format!(
            "`{callee}`{} keeps all failures, and nobody looks at them: what follows goes on as if everything had worked",
            service::place_name(unit, call),
        );
        let hint = match unit.language {
            Language::Python => {
                "go through the results and raise, or count, what `isinstance(result, BaseException)`"
            }
            _ => "look at each result's `status`, and fail where one is `rejected`",
        };
        let mut draft = report.add(unit.file, unit.span(call), message).hint(hint).also(
            unit.file,
            unit.span(next),
            "this is done all the same",
        );
        if let Some(comment) = meant::beside(unit, call, &[meant::OPEN, meant::HERE, NO_MATTER]) {
            draft = draft.explained(comment);
        }
        draft.done();
    }
}

/// Tells whether a call waits for several things, and keeps what fails among their results.
pub(super) fn swallows(unit: &Unit, call: Id) -> bool {
    let python = unit.language == Language::Python;
    let kept = if python {
        unit.keyword(call, "return_exceptions").is_some_and(|value| unit.text(value) == "True")
    } else {
        unit.callee_path(call).is_some_and(|path| path.text == "Promise.allSettled")
    };
    kept && unbounded_fan_out::gathers(unit, call)
}

/// Returns the call of the statements behind that goes on, where nobody looks at a result in between.
fn goes_on(unit: &Unit, call: Id) -> Option<Id> {
    let function = unit.function_of(call);
    let after = |id: &Id| *id >= unit.syntax.end(call) && unit.syntax.holds(function, *id);
    if !unit.awaited(call)
        || looked_at(unit, call, &after)?
        || asked(unit, call, &after)?
        || ends(unit, call)?
    {
        return None;
    }
    let mut next = unit.calls_in(function).filter(|id| after(id) && unit.function_of(*id) == function);
    next.find(|&id| !["len", "range"].contains(&unit.callee_name(id)))
}

/// Tells whether the results are kept, and more is done with them than to count them. Nothing where it cannot be seen.
fn looked_at(unit: &Unit, call: Id, after: &dyn Fn(&Id) -> bool) -> Option<bool> {
    let taken = unit.syntax[unit.syntax[call].parent].parent;
    let name = match unit.kind(taken) {
        "expression_statement" => return Some(false),
        "assignment" => unit.syntax.child(taken, "left")?,
        "variable_declarator" => unit.syntax.child(taken, "name")?,
        _ => return None,
    };
    let named = unit.syntax.of_kind(&["identifier", "shorthand_property_identifier"]).filter(after);
    let mut used = named.filter(|&id| has_word(unit.text(id), unit.text(name)));
    Some(unit.kind(name) != "identifier" || !used.all(|id| is_counted(unit, id)))
}

/// Tells whether the tasks themselves are gone through later.
fn asked(unit: &Unit, call: Id, after: &dyn Fn(&Id) -> bool) -> Option<bool> {
    let items = unit.args(call).first().map(|arg| arg.value)?;
    let all = std::iter::once(items).chain(unit.syntax.below(items));
    let outside = |id: Id| {
        let mut around = unit.syntax.around(id).take_while(|&around| around != call);
        !around.any(|around| is_body(unit, around))
    };
    let lists = all.filter(|&id| unit.kind(id) == "identifier" && outside(id));
    let lists: Vec<&str> = lists.map(|id| unit.text(id)).collect();
    let mut read = unit.syntax.of_kind(&["for_statement", "for_in_statement", "for_in_clause"]).filter(after);
    Some(read.any(|id| {
        let right = unit.syntax.child(id, "right").map_or("", |right| unit.text(right));
        lists.iter().any(|list| has_word(right, list))
    }))
}

/// Tells whether the call stands where something ends or has failed already.
fn ends(unit: &Unit, call: Id) -> Option<bool> {
    let function = unit.function_of(call);
    let block = unit
        .syntax
        .around(call)
        .find(|&id| matches!(unit.kind(id), "block" | "statement_block" | "module" | "program"))?;
    let mut outer = std::iter::once(block).chain(unit.syntax.around(block).take_while(|&id| id != function));
    Some(outer.any(|id| matches!(unit.kind(id), "finally_clause" | "except_clause")))
}

/// Tells whether a node is what runs for each item.
fn is_body(unit: &Unit, id: Id) -> bool {
    FUNCTIONS.contains(&unit.kind(id))
        || matches!(unit.kind(id), "generator_expression" | "list_comprehension")
}

/// Tells whether a result is only counted: `len(results)`, `results.length`.
pub(super) fn is_counted(unit: &Unit, id: Id) -> bool {
    let parent = unit.syntax[id].parent;
    match unit.kind(parent) {
        "argument_list" => unit.callee_name(unit.syntax[parent].parent) == "len",
        "member_expression" => unit.text(parent).ends_with(".length"),
        _ => false,
    }
}

/// Tells whether what runs for each item sees to its failures itself, or cannot be seen.
pub(super) fn sees_to_itself(methods: &Methods<'_>, unit: &Unit, body: Id) -> bool {
    let handles = |unit: &Unit, id: Id| {
        let text = unit.text(id);
        let decorated = unit.kind(unit.syntax[id].parent) == "decorated_definition";
        decorated || text.contains("except") || text.contains("catch")
    };
    if handles(unit, body) {
        return true;
    }
    if let Some(call) = outermost(unit, body) {
        return named(methods, unit, call).is_none_or(|(other, function)| handles(other, function));
    }
    // Of several statements each may see to it, or not.
    let mut called = unit.calls_in(body).filter_map(|call| unit.called(call));
    !FUNCTIONS.contains(&unit.kind(body)) || called.any(|function| handles(unit, function))
}

/// Tells whether what runs for each item is seen to catch its failures itself.
pub(super) fn catches_itself(methods: &Methods<'_>, unit: &Unit, body: Id) -> bool {
    let catches = |unit: &Unit, id: Id| unit.syntax.below(id).any(|id| unit.is_handler(id));
    catches(unit, body) || runs(methods, unit, body).is_some_and(|(other, function)| catches(other, function))
}

/// Finds the function that runs for each item, where that is a single one.
pub(super) fn runs<'a>(methods: &Methods<'a>, unit: &'a Unit, body: Id) -> Option<(&'a Unit, Id)> {
    named(methods, unit, outermost(unit, body)?)
}

/// What runs another call as it is.
const RUNNERS: &[&str] = &["create_task", "ensure_future", "wait_for", "shield"];

/// Returns the call that runs for each item, where that is a single one: `send(user)`, `(user) => send(user)`.
fn outermost(unit: &Unit, body: Id) -> Option<Id> {
    match unit.kind(body) {
        "await" | "await_expression" | "parenthesized_expression" => {
            outermost(unit, unit.syntax.children(body).nth(1)?)
        }
        "arrow_function" | "lambda" => outermost(unit, unit.syntax.child(body, "body")?),
        "call" if RUNNERS.contains(&unit.callee_name(body)) => {
            outermost(unit, unit.args(body).first()?.value)
        }
        // `limit(() => send(user))`
        "call_expression" if unit.callee_name(body).to_ascii_lowercase().ends_with("limit") => {
            outermost(unit, unit.args(body).first()?.value)
        }
        "call" | "call_expression" => Some(body),
        _ => None,
    }
}

/// Finds the function that a call names by itself, as one of its class, by an import, or of each object of a list.
fn named<'a>(methods: &Methods<'a>, unit: &'a Unit, call: Id) -> Option<(&'a Unit, Id)> {
    let plain = unit.callee(call).is_some_and(|callee| unit.kind(callee) == "identifier");
    let own = unit.called(call).filter(|_| plain).or_else(|| service::own_method(unit, call));
    let of_each = || methods.of_each(unit, call).map(|of| (of.unit, of.function));
    own.map(|function| (unit, function)).or_else(|| methods.exported(unit, call)).or_else(of_each)
}
