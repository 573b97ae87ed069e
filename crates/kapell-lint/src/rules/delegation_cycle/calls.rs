//! Functions of two files that call each other for as long as a model says so.

use kapell_view::audit::{Confidence, Severity};

use crate::{
    code::{
        Id, Service, Unit,
        modules::Modules,
        service::{Methods, place_name},
    },
    repository::Repository,
    rule::Report,
};

/// Words of code that counts how deep it is, or what is left to be spent.
const COUNTS: &[&str] = &[
    "depth",
    "level",
    "limit",
    "max",
    "remaining",
    "budget",
    "attempt",
    "hop",
    "round",
    "tries",
    "quota",
    "seen",
    "visited",
    "count",
    "left",
];

/// A call that leads round a circle.
struct Around<'a> {
    unit: &'a Unit,
    call: Id,
    other: &'a Unit,
    back: Id,
}

/// Tells of two functions of different files that wait for each other, where one calls the other because of what a model answered,
/// and neither counts.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let units = &repository.code;
    let leads_out = |unit: &&Unit| unit.origins().any(|(_, origin)| origin.target.is_some());
    let mut leading = units.iter().filter(leads_out).peekable();
    if leading.peek().is_none() {
        return;
    }
    let modules = Modules::new(units);
    let found: Vec<Around<'_>> = leading.flat_map(|unit| circles(&modules, unit)).collect();
    if found.is_empty() {
        return;
    }
    let methods = Methods::new(units);
    for Around { unit, call, other, back } in found {
        if !is_decided_by_model(&methods, unit, call) {
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

/// Finds the calls of a file that wait, under a condition, for a function of another file which waits for the one around the call.
fn circles<'a>(modules: &Modules<'a>, unit: &'a Unit) -> Vec<Around<'a>> {
    let taken = |call: Id| unit.origin(unit.callee_name(call)).is_some_and(|origin| origin.target.is_some());
    let calls = unit.calls().filter(|&call| unit.awaited(call) && taken(call));
    let around = calls.filter_map(|call| {
        let function = unit.function_of(call);
        let chosen = unit.syntax.around(call).take_while(|&id| id != function);
        let chosen = function != Id::ROOT && chosen.into_iter().any(|id| unit.kind(id) == "if_statement");
        let (other, next) = modules.exported(unit, call).filter(|_| chosen)?;
        if other.file == unit.file || counts(unit, function) || counts(other, next) {
            return None;
        }
        let leads_back = |back: &Id| {
            let own = modules.exported(other, *back);
            other.awaited(*back) && own.is_some_and(|(found, id)| found.file == unit.file && id == function)
        };
        let back = other.calls_in(next).find(leads_back)?;
        Some(Around { unit, call, other, back })
    });
    around.collect()
}

/// Tells whether a function counts how deep it is, or what is left.
fn counts(unit: &Unit, function: Id) -> bool {
    let text = unit.text(function).to_ascii_lowercase();
    let text = text.replace("max_tokens", "").replace("maxtokens", "").replace("max_output_tokens", "");
    COUNTS.iter().any(|word| text.contains(word))
}

/// Tells whether the condition of a branch around a call reads what a model answered in this function.
fn is_decided_by_model(methods: &Methods<'_>, unit: &Unit, call: Id) -> bool {
    let function = unit.function_of(call);
    let around = unit.syntax.around(call).take_while(|&id| id != function);
    let branches = around.filter(|&id| unit.kind(id) == "if_statement");
    let conditions = branches.filter_map(|branch| unit.syntax.child(branch, "condition"));
    conditions.into_iter().any(|condition| {
        let within = std::iter::once(condition).chain(unit.syntax.below(condition));
        within.filter(|&id| unit.kind(id) == "identifier").any(|id| {
            unit.values(id, unit.text(id)).iter().any(|&value| {
                matches!(methods.reached(unit, value), Some((_, Service::Model | Service::Agent)))
            })
        })
    })
}
