//! `items.forEach(async (item) => ...)`.
//!
//! Source: ECMAScript, `Array.prototype.forEach`: what the function answers is thrown away, a promise as well.

use crate::{
    code::{
        Id, Language, Service, Unit,
        service::{self, Methods},
        unit::FUNCTIONS,
    },
    rule::Report,
};

/// Methods by which something outer is grown.
const GROWS: &[&str] = &["push", "unshift", "set", "add"];

/// What to write instead of such a call.
const HINT: &str =
    "use `for (const item of items)`, or `await Promise.all(items.map(async ...))` with a bound";

/// Tells of results that are used before there are any, and of models and agents that nobody waits for.
pub(super) fn check(methods: &Methods<'_>, unit: &Unit, report: &mut Report<'_>) {
    if unit.language == Language::Python || !unit.whole().contains("forEach(") {
        return;
    }
    for call in unit.calls().filter(|&call| unit.callee_name(call) == "forEach") {
        let given = unit.args(call).first().map(|arg| arg.value);
        let Some(body) = given.filter(|&id| is_async(unit, id) && is_left(unit, call)) else { continue };
        let place = service::place_name(unit, call);
        if let Some((grown, used)) = used_too_soon(unit, call, body) {
            let message = format!(
                "`forEach`{place} does not wait for its async function: `{grown}` is used while it is still empty, and what fails is lost"
            );
            report
                .add(unit.file, unit.span(call), message)
                .hint(HINT)
                .also(unit.file, unit.span(used), "used here")
                .done();
            continue;
        }
        let asked = methods.reached(unit, body).filter(|_| !catches_all(methods, unit, body));
        if let Some((reached, what @ (Service::Model | Service::Agent))) = asked {
            let message = format!(
                "`forEach`{place} does not wait for its async function: nobody gets to know whether the {} call in it worked",
                what.name(),
            );
            report
                .add(unit.file, unit.span(call), message)
                .hint(HINT)
                .also(unit.file, unit.span(reached), "the call")
                .done();
        }
    }
}

fn is_async(unit: &Unit, id: Id) -> bool {
    FUNCTIONS.contains(&unit.kind(id)) && unit.is_async(id)
}

/// Tells whether nobody takes what a call gives back: some libraries have a `forEach` that can be waited for.
fn is_left(unit: &Unit, call: Id) -> bool {
    unit.kind(unit.syntax[call].parent) == "expression_statement"
}

/// Tells whether a function sees to its failures itself: each call that it waits for, or that asks a model or an agent, stands
/// in a `try` that throws nothing on, or before a `.catch(...)`.
pub(super) fn catches_all(methods: &Methods<'_>, unit: &Unit, function: Id) -> bool {
    let asks = |call: Id| unit.awaited(call) || methods.asks(unit, call);
    let mut own = unit.calls_in(function).filter(|&call| asks(call)).peekable();
    own.peek().is_some() && own.all(|call| is_caught(unit, function, call))
}

fn is_caught(unit: &Unit, function: Id, call: Id) -> bool {
    let around = unit.syntax.around(call).take_while(|&id| id != function);
    let mut inner = call;
    std::iter::once(call).chain(around).any(|id| match unit.kind(id) {
        // What `finally` does is no longer tried.
        "finally_clause" => {
            inner = unit.syntax[id].parent;
            false
        }
        "try_statement" if inner == id => false,
        "try_statement" => {
            let mut handlers = unit.syntax.children(id).filter(|&id| unit.is_handler(id)).peekable();
            let throws = |handler: Id| {
                let mut inner = unit.syntax.below(handler);
                inner.any(|id| matches!(unit.kind(id), "raise_statement" | "throw_statement"))
            };
            handlers.peek().is_some() && !handlers.any(throws)
        }
        "call_expression" => unit.callee_name(id) == "catch",
        _ => false,
    })
}

/// Finds what the function fills after it waited, and where the function around the loop uses that next.
fn used_too_soon(unit: &Unit, call: Id, body: Id) -> Option<(&str, Id)> {
    let own = |id: Id| unit.function_of(id) == body;
    let wait = unit.syntax.below(body).find(|&id| unit.kind(id) == "await_expression" && own(id))?;
    let grown = unit.calls_in(body).filter(|&id| own(id)).filter_map(|id| {
        let object = unit.syntax.child(unit.callee(id)?, "object")?;
        let late = id > wait || unit.syntax.holds(id, wait);
        let plain = unit.kind(object) == "identifier" && GROWS.contains(&unit.callee_name(id));
        (plain && late).then(|| unit.text(object))
    });
    let around = unit.function_of(call);
    let mut outer = grown.filter(|name| is_list_of(unit, around, name));
    outer.find_map(|name| {
        let named = unit.syntax.of_kind(&["identifier", "shorthand_property_identifier"]);
        let mut after = named.filter(|&id| {
            id >= unit.syntax.end(call) && unit.text(id) == name && unit.syntax.holds(around, id)
        });
        after.next().filter(|&id| unit.function_of(id) == around).map(|used| (name, used))
    })
}

/// Tells whether a function, or the file at its top, makes a variable of that name, and makes it empty.
fn is_list_of(unit: &Unit, around: Id, name: &str) -> bool {
    let makes = |id: &Id| {
        unit.function_of(*id) == around
            && unit.syntax.child(*id, "name").is_some_and(|own| unit.text(own) == name)
    };
    let empty = |id: Id| {
        let value = unit.syntax.child(id, "value").map_or("", |value| unit.text(value));
        value.starts_with("[]") || value.starts_with("new Map") || value.starts_with("new Set")
    };
    unit.syntax.of_kind(&["variable_declarator"]).find(makes).is_some_and(empty)
}
