//! Functions that call each other for as long as a model says so.

use std::collections::BTreeMap;

use kapell_view::audit::{Confidence, Severity};

use crate::{
    code::{
        Id, Service, Unit,
        modules::Modules,
        service::{Methods, place_name},
    },
    files::FileId,
    repository::Repository,
    rule::Report,
    rules::decided::{conditions, counts, is_decided_by_model, is_waited_for},
};

/// A call that leads round a circle.
struct Around<'a> {
    unit: &'a Unit,
    call: Id,
    other: &'a Unit,
    back: Id,
}

/// Tells of two functions that wait for each other, where one calls the other because of what a model answered, and neither
/// counts.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let units = &repository.code;
    let modules = Modules::new(units);
    let found: Vec<Around<'_>> = units.iter().flat_map(|unit| circles(&modules, unit)).collect();
    if found.is_empty() {
        return;
    }
    let methods = Methods::new(units);
    for Around { unit, call, other, back } in found {
        let apart = other.file != unit.file || asks_itself(&methods, other, back);
        if !apart || !is_decided_by_model(&methods, unit, call) {
            continue;
        }
        let message = format!(
            "`{}`{} leads back to it for as long as a model says so, and nothing counts how deep",
            unit.callee_name(call),
            place_name(unit, call),
        );
        report
            .add(unit.file, unit.span(call), message)
            .severity(Severity::High)
            .confidence(Confidence::Medium)
            .hint("hand a depth along, and answer without another round where it is too deep")
            .also(other.file, other.span(back), "and back from here")
            .done();
    }
}

/// Finds the calls of a file that wait, under a condition, for a function which waits for the one around the call.
fn circles<'a>(modules: &Modules<'a>, unit: &'a Unit) -> Vec<Around<'a>> {
    let mut known: BTreeMap<(Id, FileId, Id), Option<Id>> = BTreeMap::new();
    let mut found = Vec::new();
    for call in unit.calls() {
        let function = unit.function_of(call);
        if function == Id::ROOT || !is_waited_for(unit, call) {
            continue;
        }
        let Some((other, next)) = named(modules, unit, call) else { continue };
        if other.file == unit.file && next == function {
            continue;
        }
        let way_back = || back(modules, (unit, function), (other, next));
        let Some(back) = *known.entry((function, other.file, next)).or_insert_with(way_back) else {
            continue;
        };
        let counted = || counts(unit, function) || counts(other, next);
        if !conditions(unit, call).is_empty() && !counted() {
            found.push(Around { unit, call, other, back });
        }
    }
    found
}

/// Finds where a function waits for another one.
fn back<'a>(
    modules: &Modules<'a>,
    (unit, function): (&Unit, Id),
    (other, next): (&'a Unit, Id),
) -> Option<Id> {
    let mut own = other.calls_in(next).filter(|&id| other.function_of(id) == next);
    own.find(|&id| {
        is_waited_for(other, id)
            && named(modules, other, id).is_some_and(|(found, id)| found.file == unit.file && id == function)
    })
}

/// Finds the function that a call names plainly: one of its file, or one that it imports.
fn named<'a>(modules: &Modules<'a>, unit: &'a Unit, call: Id) -> Option<(&'a Unit, Id)> {
    let callee = unit.callee(call).filter(|&callee| unit.kind(callee) == "identifier")?;
    let own = unit.function(unit.text(callee)).filter(|&function| !unit.is_method(function));
    own.map(|function| (unit, function)).or_else(|| modules.exported(unit, call))
}

/// Tells whether the function around a call asks a model or an agent by another call than this one.
fn asks_itself(methods: &Methods<'_>, unit: &Unit, back: Id) -> bool {
    let function = unit.function_of(back);
    let others = unit.calls_in(function).filter(|&call| !unit.syntax.holds(call, back));
    others.into_iter().any(|call| {
        matches!(methods.reached(unit, call), Some((reached, Service::Model | Service::Agent)) if reached == call)
    })
}
