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
    let found = circles(&modules, units);
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

/// A function: its file, and its place there.
type Function = (FileId, Id);

/// A call by which a function waits for another one.
struct Wait<'a> {
    unit: &'a Unit,
    call: Id,
    from: Function,
    other: &'a Unit,
    to: Function,
}

/// Finds the calls by which functions of a file wait for other ones, in the order of the text.
fn waits<'a>(modules: &Modules<'a>, unit: &'a Unit) -> impl Iterator<Item = Wait<'a>> {
    unit.calls().filter(|&call| is_waited_for(unit, call)).filter_map(|call| {
        let from = (unit.file, unit.function_of(call));
        let (other, function) = named(modules, unit, call).filter(|_| from.1 != Id::ROOT)?;
        let to = (other.file, function);
        (from != to).then_some(Wait { unit, call, from, other, to })
    })
}

/// Finds the calls that wait, under a condition, for a function which waits for the one around the call.
fn circles<'a>(modules: &Modules<'a>, units: &'a [Unit]) -> Vec<Around<'a>> {
    let waits: Vec<Wait<'a>> = units.iter().flat_map(|unit| waits(modules, unit)).collect();
    let mut first: BTreeMap<(Function, Function), Id> = BTreeMap::new();
    for wait in &waits {
        first.entry((wait.from, wait.to)).or_insert(wait.call);
    }
    let around = waits.into_iter().filter_map(|Wait { unit, call, from, other, to }| {
        let back = *first.get(&(to, from))?;
        let counted = || counts(unit, from.1) || counts(other, to.1);
        (!conditions(unit, call).is_empty() && !counted()).then_some(Around { unit, call, other, back })
    });
    around.collect()
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
