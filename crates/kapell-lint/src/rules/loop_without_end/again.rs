//! `while True: try: return ask() except Exception: sleep(1)`.

use super::LOOPS;
use crate::{
    code::{
        Id, Unit, guards,
        service::{self, Methods},
    },
    rule::Report,
    rules::names::words,
};

/// Words of a loop that waits longer each time, ends some other way, or is meant to go on.
const BOUNDED: &[&str] = &[
    "backoff",
    "**",
    "*= 2",
    "* 2",
    "<<",
    "expovariate",
    ".pow(",
    "deadline",
    "aborted",
    "throwifaborted",
    "input(",
    "prompt(",
    "question(",
    "readline",
    "attempt",
    "retries",
    "tries",
    "monotonic",
    "elapsed",
];

/// How words of functions begin that wait for something to come, or never end.
pub(super) const LASTS: &[&str] = &[
    "wait",
    "connect",
    "poll",
    "listen",
    "serve",
    "consume",
    "loop",
    "worker",
    "daemon",
    "watch",
    "forever",
    "ready",
    "subscribe",
    "reconnect",
    "resubscribe",
    "mainloop",
    "runloop",
    "eventloop",
    "longpoll",
    "stream",
    "acquire",
    "receive",
];

/// Tells of loops that try something again until it works.
pub(super) fn check(methods: &Methods<'_>, unit: &Unit, report: &mut Report<'_>) {
    for each in unit.syntax.of_kind(&["while_statement"]) {
        let Some((attempt, body)) = tries(unit, each) else { continue };
        let function = unit.function_of(each);
        let place = service::place_name(unit, each);
        let name = words(&place);
        let code = guards::code(unit, each);
        if BOUNDED.iter().any(|word| code.contains(word))
            || LASTS.iter().any(|known| name.iter().any(|word| word.starts_with(known)))
            || name.iter().any(|word| word == "main")
            || waits_longer(unit, each)
            || service::wrapped(unit, each, &["timeout", "wait_for", "fail_after", "race"])
        {
            continue;
        }
        let reached =
            methods.reached(unit, body).map(|(call, _)| call).or_else(|| given(unit, function, body));
        let Some(reached) = reached else { continue };
        let callee = unit.callee(reached).map_or("", |callee| unit.text(callee));
        let message = format!(
            "this loop{place} tries `{callee}` again for ever, also where it can never work: nothing bounds how often",
        );
        report
            .add(unit.file, unit.span(unit.syntax.child(each, "condition").unwrap_or(each)), message)
            .hint("try a few times, wait longer each time, and then raise what failed")
            .also(unit.file, unit.span(attempt), "what fails here is tried again")
            .done();
    }
}

/// Calls that pause.
const PAUSES: &[&str] = &["sleep", "delay", "wait", "pause", "setTimeout"];

/// Tells whether a pause of the loop is given a name that the loop binds anew: `delay = min(delay * 1.5, 60)`.
fn waits_longer(unit: &Unit, each: Id) -> bool {
    let pauses = unit.calls_in(each).filter(|&call| PAUSES.contains(&unit.callee_name(call)));
    let given = pauses.filter_map(|call| unit.syntax.child(call, "arguments"));
    let given: Vec<&str> = given.map(|arguments| unit.text(arguments)).collect();
    let bound = |id: Id| match unit.kind(id) {
        "assignment"
        | "augmented_assignment"
        | "assignment_expression"
        | "augmented_assignment_expression" => unit.syntax.child(id, "left"),
        "update_expression" => unit.syntax.child(id, "argument"),
        _ => None,
    };
    let mut names = unit.syntax.below(each).filter_map(bound);
    names.any(|name| given.iter().any(|text| guards::has_word(text, unit.text(name))))
}

/// Tells whether a condition always holds.
pub(super) fn holds(unit: &Unit, each: Id) -> bool {
    let condition = unit.syntax.child(each, "condition").map_or("", |condition| unit.text(condition));
    matches!(condition.trim_matches(['(', ')']), "True" | "true" | "1")
}

/// Finds the `try` of an endless loop that leaves it where all goes well, and in no other case; with its body.
pub(in crate::rules) fn tries(unit: &Unit, each: Id) -> Option<(Id, Id)> {
    let body = unit.syntax.child(each, "body").filter(|_| holds(unit, each))?;
    let attempt = unit.syntax.children(body).find(|&id| unit.kind(id) == "try_statement")?;
    let inner = unit.syntax.child(attempt, "body")?;
    let handlers: Vec<Id> = unit.syntax.children(attempt).filter(|&id| unit.is_handler(id)).collect();
    if handlers.is_empty() || !handlers.iter().any(|&id| unit.handles_all(id)) {
        return None;
    }
    let function = unit.function_of(each);
    let exits = unit.syntax.below(each).filter(|&id| leaves(unit, each, function, id));
    let (mut plain, mut other) = (false, false);
    for exit in exits {
        let chosen = unit.syntax.around(exit).take_while(|&id| id != each).any(|id| {
            matches!(
                unit.kind(id),
                "if_statement" | "switch_statement" | "match_statement" | "conditional_expression"
            )
        });
        let handled = handlers.iter().any(|&id| unit.syntax.holds(id, exit));
        let throws = matches!(unit.kind(exit), "raise_statement" | "throw_statement");
        let inside = unit.syntax.holds(inner, exit);
        other |= handled || chosen && !throws || throws && !inside;
        plain |= !handled && !chosen && !throws;
    }
    (plain && !other).then_some((attempt, inner))
}

/// Tells whether a node leaves a loop.
pub(super) fn leaves(unit: &Unit, each: Id, function: Id, id: Id) -> bool {
    if unit.function_of(id) != function {
        return false;
    }
    match unit.kind(id) {
        "return_statement" | "raise_statement" | "throw_statement" => true,
        "break_statement" => unit.syntax.around(id).find(|&id| LOOPS.contains(&unit.kind(id))) == Some(each),
        "call" | "call_expression" => ["exit", "_exit"].contains(&unit.callee_name(id)),
        _ => false,
    }
}

/// Finds the call of a function that this one is given: it is a way to try anything again.
fn given(unit: &Unit, function: Id, body: Id) -> Option<Id> {
    let parameters = unit.syntax.child(function, "parameters")?;
    let names: Vec<&str> = unit
        .syntax
        .below(parameters)
        .filter(|&id| unit.kind(id) == "identifier")
        .map(|id| unit.text(id))
        .collect();
    let mut calls = unit.calls_in(body).filter(|&call| unit.awaited(call));
    calls.find(|&call| {
        unit.callee(call)
            .is_some_and(|callee| unit.kind(callee) == "identifier" && names.contains(&unit.text(callee)))
    })
}
