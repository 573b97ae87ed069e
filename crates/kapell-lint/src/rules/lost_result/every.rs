//! Failures that are left out before all of the rest are asked whether they agree: `fulfilled.every((v) => v.ok)`. Where all failed,
//! nobody is left to object.
//!
//! Source: ECMAScript, `Array.prototype.every`, and the documentation of Python, `all`: both are true of nothing.

use super::{
    kept::{bound_name, later, picked},
    settled::{catches_itself, is_counted, swallows},
};
use crate::{
    code::{
        Id, Language, Unit,
        guards::has_word,
        service::{self, Methods},
    },
    rule::Report,
    rules::{check_fails_open::words, unbounded_fan_out},
};

/// Words of code that asks for failures.
const FAILED: &[&str] = &["rejected", "Exception", "Error", "reason"];

/// What only tells people of something.
const LOGS: &[&str] = &["console", "log", "logger", "logging", "print"];

/// Tells of such questions, in functions that gather results of which they keep the failures.
pub(super) fn check(methods: &Methods<'_>, units: &[Unit], unit: &Unit, report: &mut Report<'_>) {
    if !["return_exceptions", "allSettled"].iter().any(|word| unit.whole().contains(word)) {
        return;
    }
    for call in unit.calls().filter(|&call| swallows(unit, call) && unit.awaited(call)) {
        let Some((body, _)) = unbounded_fan_out::fanned(unit, call) else { continue };
        let Some(decided) = decided(units, unit, call) else { continue };
        if catches_itself(methods, unit, body) {
            continue;
        }
        let message = format!(
            "what failed is left out{}, and this asks only the rest: where all fail, nobody objects",
            service::place_name(unit, decided),
        );
        report
            .add(unit.file, unit.span(decided), message)
            .hint("count what failed as a no")
            .also(unit.file, unit.span(call), "keeps all failures")
            .done();
    }
}

/// Finds where all of what did not fail are asked, and what failed decides nothing.
fn decided(units: &[Unit], unit: &Unit, call: Id) -> Option<Id> {
    let results = bound_name(unit, unit.syntax[unit.syntax[call].parent].parent)?;
    let (mut rest, mut failures) = (None, Vec::new());
    for used in later(unit, results) {
        let list = list_of(unit, used)?;
        match taken(unit, used, list.value)? {
            Taken::Rest if rest.is_some() => return None,
            Taken::Rest => rest = Some(list.name),
            Taken::Failures => failures.push(list.name),
        }
    }
    let rest = rest?;
    let asked = later(unit, rest);
    if asked.iter().any(|&used| is_counted(unit, used)) {
        return None;
    }
    let decided = asked.into_iter().find_map(|used| asks_all(unit, used)).filter(|&id| decides(unit, id))?;
    let seen = failures.into_iter().any(|name| is_minded(units, unit, name));
    (!seen).then_some(decided)
}

/// What a list takes of results.
enum Taken {
    /// What did not fail.
    Rest,
    /// What failed.
    Failures,
}

/// A list that is made of results.
struct List {
    name: Id,
    value: Id,
}

/// Returns the list that a use of some results makes.
fn list_of(unit: &Unit, used: Id) -> Option<List> {
    let bound = unit.syntax.around(used).find(|&id| {
        matches!(unit.kind(id), "variable_declarator" | "assignment" | "statement_block" | "block")
    })?;
    let value = unit.syntax.child(bound, "value").or_else(|| unit.syntax.child(bound, "right"))?;
    Some(List { name: bound_name(unit, bound)?, value })
}

/// Tells what of the results a list takes, if that can be seen.
fn taken(unit: &Unit, used: Id, value: Id) -> Option<Taken> {
    let text = unit.text(value);
    if unit.language == Language::Python {
        picked(unit, used).filter(|&list| list == value)?;
        let condition = text.rsplit_once(" if ")?.1;
        let failures = FAILED.iter().any(|word| condition.contains(word));
        return Some(if failures && !condition.contains("not ") { Taken::Failures } else { Taken::Rest });
    }
    // `s.status !== "rejected"` takes the others.
    match (text.contains("fulfilled"), text.contains("rejected"), text.contains("!=")) {
        (true, false, false) => Some(Taken::Rest),
        (false, true, false) => Some(Taken::Failures),
        _ => None,
    }
}

/// Returns the question to all of a list: `rest.every(...)`, `all(v.ok for v in rest)`.
fn asks_all(unit: &Unit, used: Id) -> Option<Id> {
    let around = unit.syntax[used].parent;
    if unit.language == Language::Python {
        let call = unit.syntax.around(used).find(|&id| unit.kind(id) == "call")?;
        let clause = unit.kind(around) == "for_in_clause";
        return (clause && unit.callee(call).is_some_and(|callee| unit.text(callee) == "all"))
            .then_some(call);
    }
    let call = unit.syntax[around].parent;
    let asks = unit.kind(call) == "call_expression" && unit.syntax.child(call, "function") == Some(around);
    (asks && unit.callee_name(call) == "every").then_some(call)
}

/// Tells whether an answer is by itself what something is let through by: under a name that says so, or a condition.
fn decides(unit: &Unit, answer: Id) -> bool {
    let around = unit.syntax[answer].parent;
    let child = |field| unit.syntax.child(around, field);
    let name = match unit.kind(around) {
        "pair" => child("key"),
        "variable_declarator" | "keyword_argument" => child("name"),
        "assignment" => child("left"),
        "return_statement" => unit.name_of(unit.function_of(answer)),
        _ => None,
    };
    name.is_some_and(|name| words::lets_pass(unit.text(name).trim_matches(['"', '\''])))
}

/// Tells whether somebody minds what failed: by a condition here, or in a file that reads it of the answer.
fn is_minded(units: &[Unit], unit: &Unit, failures: Id) -> bool {
    let name = unit.text(failures);
    let handed = later(unit, failures).into_iter().chain(short(unit, failures));
    for used in handed {
        let around = unit.syntax[used].parent;
        let key = match unit.kind(around) {
            "pair" => unit.syntax.child(around, "key").map(|key| unit.text(key).trim_matches(['"', '\''])),
            "object" => Some(name),
            "keyword_argument" => unit.syntax.child(around, "name").map(|key| unit.text(key)),
            _ if is_logged(unit, used) => continue,
            _ => return true,
        };
        let Some(key) = key else { return true };
        if units.iter().any(|other| reads(other, key)) {
            return true;
        }
    }
    false
}

/// Returns where an object takes a name as its own key.
fn short(unit: &Unit, name: Id) -> Vec<Id> {
    let below = unit.syntax.below(unit.function_of(name)).filter(|&id| id > name);
    let own =
        |id: &Id| unit.kind(*id) == "shorthand_property_identifier" && unit.text(*id) == unit.text(name);
    below.filter(own).collect()
}

/// Tells whether a file asks for what failed by its key, and does more about it than to tell of it.
fn reads(unit: &Unit, key: &str) -> bool {
    if !unit.whole().contains(key) {
        return false;
    }
    let members =
        unit.syntax.of_kind(&["attribute", "member_expression", "subscript", "subscript_expression"]);
    let mut read = members.filter(|&id| {
        let name = unit.text(id).rsplit(['.', '[']).next().unwrap_or_default();
        name.trim_matches(['"', '\'', ']']) == key
    });
    read.any(|id| !is_logged(unit, id))
}

/// Tells whether something is only told to people: handed to what logs, or asked for before that is done.
pub(super) fn is_logged(unit: &Unit, id: Id) -> bool {
    let function = unit.function_of(id);
    let mut around = unit.syntax.around(id).take_while(|&around| around != function);
    let logs = |call: Id| {
        let callee = unit.callee(call).map_or("", |callee| unit.text(callee));
        LOGS.iter().any(|word| has_word(callee, word))
    };
    around.any(|id| match unit.kind(id) {
        "call" | "call_expression" => logs(id),
        "if_statement" => {
            let done = unit.syntax.child(id, "consequence");
            let leaves = ["return_statement", "throw_statement", "raise_statement"];
            done.is_some_and(|done| {
                let mut calls = unit.calls_in(done).peekable();
                calls.peek().is_some()
                    && calls.all(logs)
                    && !unit.syntax.below(done).any(|id| leaves.contains(&unit.kind(id)))
            })
        }
        _ => false,
    })
}
