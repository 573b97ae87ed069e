//! `asyncio.gather(..., return_exceptions=True)` and `Promise.allSettled(...)`, of which nobody looks at the failures.
//!
//! Source: the documentation of Python, `asyncio.gather`: with `return_exceptions=True`, exceptions are treated as results;
//! ECMAScript, `Promise.allSettled`: its promise is never rejected.

use super::super::unbounded_fan_out;
use crate::{
    code::{
        Id, Language, Unit,
        guards::{self, has_word},
        service,
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

/// Tells of them, where what follows goes on as if all had worked.
pub(super) fn check(unit: &Unit, report: &mut Report<'_>) {
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
        if sees_to_itself(unit, body) || tidies() {
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
        report
            .add(unit.file, unit.span(call), message)
            .hint(hint)
            .also(unit.file, unit.span(next), "this is done all the same")
            .done();
    }
}

fn swallows(unit: &Unit, call: Id) -> bool {
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
    let wait = unit.syntax[call].parent;
    if !unit.awaited(call) {
        return None;
    }
    let taken = unit.syntax[wait].parent;
    let name = match unit.kind(taken) {
        "expression_statement" => None,
        "assignment" => Some(unit.syntax.child(taken, "left")?),
        "variable_declarator" => Some(unit.syntax.child(taken, "name")?),
        _ => return None,
    };
    let function = unit.function_of(call);
    let after = |id: Id| id >= unit.syntax.end(call) && unit.syntax.holds(function, id);
    if let Some(name) = name {
        let kinds = ["identifier", "shorthand_property_identifier"];
        let mut used =
            unit.syntax.of_kind(&kinds).filter(|&id| after(id) && has_word(unit.text(id), unit.text(name)));
        if unit.kind(name) != "identifier" || !used.all(|id| is_counted(unit, id)) {
            return None;
        }
    }
    // The tasks themselves may be asked.
    let items = unit.args(call).first().map(|arg| arg.value)?;
    let named =
        std::iter::once(items).chain(unit.syntax.below(items)).filter(|&id| unit.kind(id) == "identifier");
    let lists: Vec<&str> = named
        .filter(|&id| {
            !unit.syntax.around(id).take_while(|&around| around != call).any(|around| is_body(unit, around))
        })
        .map(|id| unit.text(id))
        .collect();
    let mut read =
        unit.syntax.of_kind(&["for_statement", "for_in_statement", "for_in_clause"]).filter(|&id| after(id));
    let asks = |id: Id| {
        let right = unit.syntax.child(id, "right").map_or("", |right| unit.text(right));
        lists.iter().any(|list| has_word(right, list))
    };
    if read.any(asks) {
        return None;
    }
    let block = unit
        .syntax
        .around(call)
        .find(|&id| matches!(unit.kind(id), "block" | "statement_block" | "module" | "program"))?;
    let outer = std::iter::once(block).chain(unit.syntax.around(block).take_while(|&id| id != function));
    if outer.into_iter().any(|id| unit.kind(id) == "finally_clause" || unit.kind(id) == "except_clause") {
        return None;
    }
    let mut next = unit.calls_in(function).filter(|&id| after(id) && unit.function_of(id) == function);
    next.find(|&id| !["len", "range"].contains(&unit.callee_name(id)))
}

/// Tells whether a node is what runs for each item.
fn is_body(unit: &Unit, id: Id) -> bool {
    FUNCTIONS.contains(&unit.kind(id))
        || matches!(unit.kind(id), "generator_expression" | "list_comprehension")
}

/// Tells whether a result is only counted: `len(results)`, `results.length`.
fn is_counted(unit: &Unit, id: Id) -> bool {
    let parent = unit.syntax[id].parent;
    match unit.kind(parent) {
        "argument_list" => unit.callee_name(unit.syntax[parent].parent) == "len",
        "member_expression" => unit.text(parent).ends_with(".length"),
        _ => false,
    }
}

/// Tells whether what runs for each item sees to its failures itself, or cannot be seen.
fn sees_to_itself(unit: &Unit, body: Id) -> bool {
    let handled = |id: Id| {
        let text = unit.text(id);
        text.contains("except") || text.contains("catch")
    };
    let own = FUNCTIONS.contains(&unit.kind(body)).then_some(body);
    let called: Vec<Id> =
        own.into_iter().chain(unit.calls_in(body).filter_map(|call| unit.called(call))).collect();
    called.is_empty() || handled(body) || called.into_iter().any(handled)
}
