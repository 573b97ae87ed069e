//! An agent's own loop: the model is asked until it wants no more tools.

use kapell_view::audit::Severity;

use super::{COUNTS, LOOPS};
use crate::{
    code::{Id, Service, Unit, guards, service},
    rule::Report,
};

/// Parts of words, beside [`COUNTS`], of a loop that something bounds, or that hears from people.
const BOUNDED: &[&str] = &[
    "max_",
    "iteration",
    "aborted",
    "input(",
    "prompt(",
    "question(",
    "receive",
    "readline",
    ".get(",
    "stop_event",
    "is_set",
];

/// Words that hold one of these and bound no loop: options that bound an answer, and what only sounds like one.
const OF_ANSWERS: &[&str] = &[
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "max_retries",
    "return",
    "tool_call_id",
    "timeout=",
    "input_schema",
    "account",
];

/// Tells of loops that ask a model with tools, of which nothing counts the turns.
pub(super) fn check(unit: &Unit, report: &mut Report<'_>) {
    for each in unit.syntax.of_kind(&["while_statement", "do_statement"]) {
        let Some(call) = asks(unit, each) else { continue };
        // A call in the condition may count: `while quota.take():`.
        let condition = unit.syntax.child(each, "condition");
        if condition.is_some_and(|condition| unit.calls_in(condition).next().is_some()) {
            continue;
        }
        let function = unit.function_of(each);
        let mut words = guards::code(unit, each);
        let unread = unread_counters(unit, each);
        for word in OF_ANSWERS.iter().copied().chain(unread) {
            words = words.replace(word, "");
        }
        let compares = unit.syntax.below(each).any(|id| {
            let around = unit.syntax[id].parent;
            matches!(unit.kind(id), "<" | ">" | "<=" | ">=")
                && unit.kind(around) != "type_arguments"
                && !asks_for_any(unit.text(around))
        });
        let wrapped = service::wrapped(unit, each, &["timeout", "wait_for", "fail_after"]);
        if function == Id::ROOT
            || compares
            || wrapped
            || COUNTS.iter().chain(BOUNDED).any(|word| words.contains(word))
        {
            continue;
        }
        let message = format!(
            "this loop{} asks the model until it wants no more tools: nothing bounds how many turns it takes",
            service::place_name(unit, each),
        );
        report
            .add(unit.file, unit.span(condition.unwrap_or(each)), message)
            .severity(Severity::Medium)
            .hint("count the turns, and end with what there is, or with a failure, after a number of them")
            .also(unit.file, unit.span(call), "asked in each turn")
            .done();
    }
}

/// Tells whether a comparison only asks whether a list has anything: `results.length > 0`.
fn asks_for_any(comparison: &str) -> bool {
    let plain: String = comparison.chars().filter(|c| !c.is_whitespace()).collect();
    plain.ends_with(".length>0") || plain.starts_with("len(") && plain.ends_with(")>0")
}

/// Returns the names, in lower case as they stand there, that a loop counts and that nobody asks for but who is told in the end.
fn unread_counters(unit: &Unit, each: Id) -> impl Iterator<Item = &str> {
    let counted = unit.syntax.below(each).filter_map(|id| match unit.kind(id) {
        "augmented_assignment" | "augmented_assignment_expression" => unit.syntax.child(id, "left"),
        "update_expression" => unit.syntax.child(id, "argument"),
        _ => None,
    });
    let names = counted.filter(|&id| unit.kind(id) == "identifier").map(|id| unit.text(id));
    let is_unread = move |name: &&str| {
        let mut all = unit.syntax.below(unit.function_of(each)).filter(|&id| {
            matches!(unit.kind(id), "identifier" | "shorthand_property_identifier") && unit.text(id) == *name
        });
        all.all(|id| {
            let around = unit.syntax[id].parent;
            let side = |field| unit.syntax.child(around, field) == Some(id);
            match unit.kind(around) {
                "augmented_assignment" | "augmented_assignment_expression" | "assignment" => side("left"),
                "variable_declarator" => side("name"),
                "update_expression" => true,
                _ => unit.syntax.around(id).any(|id| unit.kind(id) == "return_statement"),
            }
        })
    };
    names.filter(|name| name.bytes().all(|byte| !byte.is_ascii_uppercase())).filter(is_unread)
}

/// Finds the call of a loop, and of no inner one, that asks a model and gives it tools.
fn asks(unit: &Unit, each: Id) -> Option<Id> {
    unit.calls_in(each).find(|&call| {
        let nearest = unit.syntax.around(call).find(|&id| LOOPS.contains(&unit.kind(id)));
        let model = || service::of_call(unit, call) == Some(Service::Model);
        let tools = || {
            let object = unit.args(call).first().map(|arg| arg.value);
            let key = object.and_then(|object| unit.object_key(object, "tools")).flatten();
            unit.keyword(call, "tools").or(key).is_some()
        };
        // What gives back its first answer has one turn: only a failure brings it there again.
        let leaves = || {
            let mut within = unit.syntax.around(call).take_while(|&id| id != each);
            within.any(|id| unit.kind(id) == "return_statement")
        };
        nearest == Some(each) && model() && tools() && !leaves()
    })
}
