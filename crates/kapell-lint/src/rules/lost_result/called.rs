//! Asynchronous functions that are called, and that nobody waits for.
//!
//! Source: the documentation of Python, "Coroutines and Tasks": calling a coroutine function does not schedule it to be
//! executed. ECMAScript: an async function runs, and who drops its promise never hears of its failure.

use kapell_view::audit::Severity;

use crate::{
    code::{
        Id, Language, Service, Unit,
        guards::has_word,
        service::{self, Methods},
        unit::FUNCTIONS,
    },
    rule::Report,
};

/// Tells of calls that never run, and in scripts of models and agents whose failure nobody hears of.
pub(super) fn check(methods: &Methods<'_>, unit: &Unit, report: &mut Report<'_>) {
    let alone = |call: &Id| {
        unit.kind(unit.syntax[*call].parent) == "expression_statement" && unit.kind(*call) != "new_expression"
    };
    for call in unit.calls().filter(alone) {
        let Some(found) = named(methods, unit, call) else { continue };
        if !found.0.is_async(found.1) || is_changed(found.0, found.1) {
            continue;
        }
        if unit.language == Language::Python {
            never_runs(unit, call, found, report);
        } else {
            runs_aside(methods, (unit, call), found, report);
        }
    }
}

fn never_runs(unit: &Unit, call: Id, (other, function): (&Unit, Id), report: &mut Report<'_>) {
    let callee = unit.callee(call).map_or("", |callee| unit.text(callee));
    let place = service::place_name(unit, call);
    report
        .add(
            unit.file,
            unit.span(call),
            format!("`{callee}`{place} is asynchronous, and nobody awaits it: it never runs"),
        )
        .hint("put `await` before it, or keep a task of it")
        .also(other.file, other.span(function), "it is defined here")
        .done();
}

fn runs_aside(
    methods: &Methods<'_>,
    (unit, call): (&Unit, Id),
    (other, function): (&Unit, Id),
    report: &mut Report<'_>,
) {
    let around = unit.function_of(call);
    let waits = around != Id::ROOT && unit.is_async(around);
    if !waits || super::each::catches_all(methods, other, function) {
        return;
    }
    let Some((reached, what @ (Service::Model | Service::Agent))) = methods.reached(other, function) else {
        return;
    };
    let callee = unit.callee(call).map_or("", |callee| unit.text(callee));
    let place = service::place_name(unit, call);
    report
        .add(
            unit.file,
            unit.span(call),
            format!(
                "nobody waits for `{callee}`{place}: whether its {} call works is never known",
                what.name()
            ),
        )
        .severity(Severity::Medium)
        .hint("put `await` before it; where it is to run aside, write `void` and catch what fails")
        .also(other.file, other.span(reached), "the call")
        .done();
}

/// Finds the function that a call calls by its own name, or that of the same class.
fn named<'a>(methods: &Methods<'a>, unit: &'a Unit, call: Id) -> Option<(&'a Unit, Id)> {
    let callee = unit.callee(call)?;
    if unit.kind(callee) != "identifier" {
        return service::own_method(unit, call).map(|function| (unit, function));
    }
    let name = unit.text(callee);
    // What is given, or bound again, may be anything.
    let hidden = unit.syntax.around(call).filter(|&id| FUNCTIONS.contains(&unit.kind(id))).any(|function| {
        let given =
            unit.syntax.child(function, "parameters").or_else(|| unit.syntax.child(function, "parameter"));
        given.is_some_and(|given| has_word(unit.text(given), name))
    });
    let bound = unit.values(call, name).iter().any(|&value| !FUNCTIONS.contains(&unit.kind(value)));
    if hidden || bound {
        return None;
    }
    let own = unit.function(name).filter(|&function| !unit.is_method(function));
    own.map(|function| (unit, function))
        .or_else(|| methods.exported(unit, call).filter(|(other, function)| !other.is_method(*function)))
}

/// Tells whether something makes another function of it, or it gives one thing after the other.
fn is_changed(unit: &Unit, function: Id) -> bool {
    unit.kind(unit.syntax[function].parent) == "decorated_definition"
        || unit.syntax.below(function).any(|id| unit.kind(id).starts_with("yield"))
}
