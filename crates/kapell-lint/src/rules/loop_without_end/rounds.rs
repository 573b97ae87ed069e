//! Agents that answer each other until one of them is content.

use std::collections::BTreeSet;

use super::{COUNTS, LOOPS, again};
use crate::{
    code::{
        Id, Service, Unit,
        service::{self, Methods},
        unit::FUNCTIONS,
    },
    rule::Report,
    rules::names::words,
};

/// Beginnings of words of names by which something else than [`COUNTS`] bounds a loop, and of those of an agent's own turns, which
/// are told of by themselves.
pub(super) const BOUNDS: &[&str] = &[
    "max",
    "iter",
    "abort",
    "tries",
    "retries",
    "quota",
    "cost",
    "spent",
    "left",
    "stop",
    "monotonic",
    "perf",
    "tool",
];

/// Beginnings of words of calls that hear from somebody, or wait for work.
const HEARS: &[&str] = &[
    "input", "prompt", "question", "receive", "recv", "readline", "get", "next", "pop", "listen", "sleep",
    "wait", "user", "human", "confirm", "poll", "read", "shift",
];

/// Calls that only take a text apart.
const OF_TEXTS: &[&str] = &[
    "strip",
    "lower",
    "upper",
    "startswith",
    "endswith",
    "trim",
    "toLowerCase",
    "toUpperCase",
    "startsWith",
    "endsWith",
    "includes",
];

/// Tells of loops whose rounds hand what one agent answered to the next, and that nothing but such an answer ends.
pub(super) fn check(methods: &Methods<'_>, unit: &Unit, report: &mut Report<'_>) {
    for each in unit.syntax.of_kind(&["while_statement"]) {
        let Some(body) = unit.syntax.child(each, "body").filter(|_| again::holds(unit, each)) else {
            continue;
        };
        let function = unit.function_of(each);
        let place = service::place_name(unit, each);
        let name = words(&place);
        let lasts = name
            .iter()
            .any(|word| word == "main" || again::LASTS.iter().any(|known| word.starts_with(known)));
        if function == Id::ROOT
            || lasts
            || service::wrapped(unit, each, &["timeout", "wait_for", "fail_after"])
        {
            continue;
        }
        let asked = asked(methods, unit, each, body);
        let Some(&first) = asked.first().filter(|_| !is_bounded(unit, each, &asked)) else { continue };
        let answers = answers(unit, each, &asked);
        if !goes_on(unit, function, &asked) || !ends_by(unit, (each, function), &answers) {
            continue;
        }
        let callee = unit.callee(first).map_or("", |callee| unit.text(callee));
        let message = format!(
            "this loop{place} asks `{callee}` until an answer is good enough: nothing bounds how many rounds it takes",
        );
        report
            .add(unit.file, unit.span(unit.syntax.child(each, "condition").unwrap_or(each)), message)
            .hint("count the rounds, and go on with what there is, or fail, after a few of them")
            .also(unit.file, unit.span(first), "asked in each round")
            .done();
    }
}

/// Finds the calls of a loop, and of no inner one or function, that ask a model or an agent.
fn asked(methods: &Methods<'_>, unit: &Unit, each: Id, body: Id) -> Vec<Id> {
    let own = |call: &Id| {
        let around = unit.syntax.around(*call);
        let nearest = around
            .into_iter()
            .find(|&id| LOOPS.contains(&unit.kind(id)) || FUNCTIONS.contains(&unit.kind(id)));
        nearest == Some(each)
    };
    let asks = |call: &Id| {
        let called = unit.awaited(*call) || service::is_known_to_ask(unit, *call);
        let reached = || methods.reached(unit, *call).map(|(_, what)| what);
        called && reached().is_some_and(Service::answers)
    };
    unit.calls_in(body).filter(own).filter(asks).collect()
}

/// Tells whether something in a loop, beside what agents are given, counts, compares, hears from somebody or has to do with tools:
/// those are an agent's own turns.
fn is_bounded(unit: &Unit, each: Id, asked: &[Id]) -> bool {
    let lists =
        asked.iter().filter_map(|&call| unit.syntax.child(call, "arguments")).map(|list| unit.span(list));
    let (mut lists, mut until) = (lists.peekable(), 0);
    let begins = |text: &str, known: &[&[&str]]| {
        words(text).iter().any(|word| known.iter().copied().flatten().any(|start| word.starts_with(start)))
    };
    unit.syntax.below(each).any(|id| {
        let at = unit.span(id).start;
        while let Some(list) = lists.next_if(|list| list.start <= at) {
            until = list.end.max(until);
        }
        match unit.kind(id) {
            _ if at < until => false,
            "<" | ">" | "<=" | ">=" => unit.kind(unit.syntax[id].parent) != "type_arguments",
            "augmented_assignment" | "augmented_assignment_expression" | "update_expression" => true,
            "call" | "call_expression" => {
                asked.binary_search(&id).is_err() && begins(unit.callee_name(id), &[HEARS])
            }
            "identifier" | "property_identifier" => begins(unit.text(id), &[COUNTS, BOUNDS]),
            _ => false,
        }
    })
}

/// Returns the names that are bound in a part of a file to what an agent answered there, or to something of it.
fn answers<'a>(unit: &'a Unit, part: Id, asked: &[Id]) -> BTreeSet<&'a str> {
    let mut names: BTreeSet<&str> = BTreeSet::new();
    // What is made of an answer stands behind it.
    for (name, value) in unit.syntax.below(part).filter_map(|id| bound(unit, id)) {
        let next = asked.get(asked.partition_point(|&call| call < value));
        let of_answer = next.is_some_and(|&call| unit.syntax.holds(value, call));
        if unit.kind(name) == "identifier" && (of_answer || names_one(unit, value, &names)) {
            names.insert(unit.text(name));
        }
    }
    names
}

/// Tells whether an expression has one of these names.
fn names_one(unit: &Unit, id: Id, names: &BTreeSet<&str>) -> bool {
    let mut all = std::iter::once(id).chain(unit.syntax.below(id));
    all.any(|id| unit.kind(id) == "identifier" && names.contains(unit.text(id)))
}

fn bound(unit: &Unit, id: Id) -> Option<(Id, Id)> {
    let child = |field| unit.syntax.child(id, field);
    match unit.kind(id) {
        "assignment" | "assignment_expression" => child("left").zip(child("right")),
        "variable_declarator" => child("name").zip(child("value")),
        _ => None,
    }
}

/// Tells whether an agent of the loop is given what one answered, in a round before or before the loop.
fn goes_on(unit: &Unit, function: Id, asked: &[Id]) -> bool {
    let names = answers(unit, function, asked);
    let mut lists = asked.iter().filter_map(|&call| unit.syntax.child(call, "arguments"));
    lists.any(|list| names_one(unit, list, &names))
}

/// Tells whether a loop is left, and only where a condition holds for what an agent answered.
fn ends_by(unit: &Unit, (each, function): (Id, Id), answers: &BTreeSet<&str>) -> bool {
    let asks = |condition: Id| {
        names_one(unit, condition, answers)
            && unit.calls_in(condition).all(|call| OF_TEXTS.contains(&unit.callee_name(call)))
    };
    let by_answer = |exit: Id| {
        let around = unit.syntax.around(exit).take_while(|&id| id != each);
        let mut chosen = around.filter(|&id| unit.kind(id) == "if_statement").peekable();
        chosen.peek().is_some() && chosen.all(|id| unit.syntax.child(id, "condition").is_some_and(&asks))
    };
    let mut exits = unit.syntax.below(each).filter(|&id| again::leaves(unit, each, function, id)).peekable();
    exits.peek().is_some() && exits.all(by_answer)
}
