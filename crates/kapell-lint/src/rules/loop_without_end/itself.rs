//! Functions that call themselves again for as long as a model says so.

use kapell_view::audit::{Confidence, Severity};

use crate::{
    code::{
        Id, Unit, guards,
        service::{self, Methods},
    },
    rule::Report,
    rules::decided::{conditions, counts, is_decided_by_model, is_waited_for},
};

/// Words of code that hears from a person in each round.
const HEARS: &[&str] = &["input(", "prompt(", "question(", "readline"];

/// Tells of functions that call themselves because of what a model answered, and that count nothing.
pub(super) fn check(methods: &Methods<'_>, unit: &Unit, report: &mut Report<'_>) {
    let mut told: Option<Id> = None;
    for call in unit.calls() {
        let function = unit.function_of(call);
        if told == Some(function) || !is_itself(unit, call, function) || !is_waited_for(unit, call) {
            continue;
        }
        let code = guards::code(unit, function);
        let hears = || HEARS.iter().any(|word| code.contains(word));
        if conditions(unit, call).is_empty()
            || counts(unit, function)
            || hears()
            || !is_decided_by_model(methods, unit, call)
        {
            continue;
        }
        told = Some(function);
        let message = format!(
            "`{}`{} calls itself for as long as a model says so, and nothing counts how often",
            unit.callee(call).map_or("", |callee| unit.text(callee)),
            service::place_name(unit, call),
        );
        // An agent's own turns end as a rule.
        let turns = code.contains("tool");
        report
            .add(unit.file, unit.span(call), message)
            .severity(if turns { Severity::Medium } else { Severity::High })
            .confidence(Confidence::Medium)
            .hint("hand a number along, and answer with what there is where it is used up")
            .done();
    }
}

/// Tells whether a call calls the function that it stands in, by its name or as a method of the same object.
fn is_itself(unit: &Unit, call: Id, function: Id) -> bool {
    if function == Id::ROOT {
        return false;
    }
    let plain = unit.callee(call).is_some_and(|callee| unit.kind(callee) == "identifier");
    let own = || unit.function(unit.callee_name(call)).filter(|_| plain);
    service::own_method(unit, call).or_else(own) == Some(function)
}
