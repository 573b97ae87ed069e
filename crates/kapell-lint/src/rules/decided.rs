//! What a model's answer decides: whether a function goes round again, which several rules ask.

use crate::code::{Id, Language, Unit, service::Methods};

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

/// Tells whether a function ends only after what it calls: by a wait, by handing on what it gets, or for it knows no other way.
pub(super) fn is_waited_for(unit: &Unit, call: Id) -> bool {
    let handed_on = || match unit.language {
        Language::Python => !unit.is_async(unit.function_of(call)),
        _ => {
            let parent = unit.syntax[call].parent;
            unit.kind(parent) == "return_statement"
                || unit.kind(parent) == "arrow_function" && unit.syntax.child(parent, "body") == Some(call)
        }
    };
    unit.awaited(call) || handed_on()
}

/// Tells whether a function counts how deep it is, or what is left.
pub(super) fn counts(unit: &Unit, function: Id) -> bool {
    let text = unit.text(function).to_ascii_lowercase();
    let text = text.replace("max_tokens", "").replace("maxtokens", "").replace("max_output_tokens", "");
    COUNTS.iter().any(|word| text.contains(word))
}

/// Returns the conditions on which it hangs whether a function comes to a call: those of the branches around it, and those before
/// it behind which the function ends.
pub(super) fn conditions(unit: &Unit, call: Id) -> Vec<Id> {
    let function = unit.function_of(call);
    let own = |&id: &Id| unit.function_of(id) == function;
    let around = unit.syntax.around(call).take_while(|&id| id != function);
    let around = around.filter(|&id| matches!(unit.kind(id), "if_statement" | "ternary_expression"));
    let ends = |branch: &Id| {
        unit.syntax
            .below(*branch)
            .any(|id| matches!(unit.kind(id), "return_statement" | "throw_statement" | "raise_statement"))
    };
    let within = unit.syntax.below(function).take_while(|&id| id < call);
    let before = within.filter(|&id| unit.kind(id) == "if_statement" && !unit.syntax.holds(id, call));
    let before = before.filter(own).filter(ends);
    around.chain(before).filter_map(|branch| unit.syntax.child(branch, "condition")).collect()
}

/// Tells whether a condition on which a call hangs reads what a model answered in this function.
pub(super) fn is_decided_by_model(methods: &Methods<'_>, unit: &Unit, call: Id) -> bool {
    conditions(unit, call).into_iter().any(|condition| {
        let within = std::iter::once(condition).chain(unit.syntax.below(condition));
        within.filter(|&id| unit.kind(id) == "identifier").any(|id| {
            unit.values(id, unit.text(id))
                .iter()
                .any(|&value| !unit.syntax.holds(value, call) && methods.asks(unit, value))
        })
    })
}
