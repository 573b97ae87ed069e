//! Failures that are left out of the average which decides whether all is well.

use super::{
    super::unbounded_fan_out,
    settled::{is_counted, sees_to_itself, swallows},
};
use crate::{
    code::{
        Id, Language, Unit,
        guards::has_word,
        service::{self, Methods},
    },
    rule::Report,
};

/// Functions that take an average.
const AVERAGES: &[&str] = &["mean", "fmean", "average"];

/// Tells of averages over what has not failed, where nobody asks how much that is and something is decided by them.
pub(super) fn check(methods: &Methods<'_>, unit: &Unit, report: &mut Report<'_>) {
    if !["return_exceptions", "allSettled"].iter().any(|word| unit.whole().contains(word)) {
        return;
    }
    for call in unit.calls().filter(|&call| swallows(unit, call) && unit.awaited(call)) {
        let Some((body, _)) = unbounded_fan_out::fanned(unit, call) else { continue };
        let Some((kept, average, decided)) = averaged(unit, call) else { continue };
        if sees_to_itself(methods, unit, body) {
            continue;
        }
        let message = format!(
            "`{}`{} leaves out what failed, and this average of the rest decides: a run in which nearly all failed passes by the few that did not",
            unit.text(kept),
            service::place_name(unit, kept),
        );
        report
            .add(unit.file, unit.span(average), message)
            .hint("count what failed as a failure, or refuse to decide where there is any")
            .also(unit.file, unit.span(call), "keeps all failures")
            .also(unit.file, unit.span(decided), "decided here")
            .done();
    }
}

/// Finds the name of what is left of the results of a call without its failures, the average of that, and what it decides.
/// Nothing where the results are used otherwise, or where somebody asks how many are left.
fn averaged(unit: &Unit, call: Id) -> Option<(Id, Id, Id)> {
    let results = name_of(unit, unit.syntax[unit.syntax[call].parent].parent)?;
    let kept = match &*later(unit, results) {
        &[only] => without_failures(unit, only)?,
        _ => return None,
    };
    let uses = later(unit, kept);
    let average = uses.iter().find_map(|&used| average_of(unit, used))?;
    let function = unit.function_of(average);
    let bound = unit.syntax.around(average).take_while(|&id| id != function);
    let bound =
        bound.into_iter().find(|&id| matches!(unit.kind(id), "assignment" | "variable_declarator"))?;
    let elsewhere = uses.iter().filter(|&&used| !unit.syntax.holds(bound, used));
    if elsewhere.into_iter().any(|&used| is_counted(unit, used)) {
        return None;
    }
    let name = unit.text(name_of(unit, bound)?);
    let mut below = unit.syntax.below(function).filter(|&id| id >= unit.syntax.end(bound));
    let decided = below.find(|&id| compares(unit, id) && has_word(unit.text(id), name))?;
    Some((kept, average, decided))
}

/// Returns the plain name that something is bound to.
pub(super) fn name_of(unit: &Unit, bound: Id) -> Option<Id> {
    let name = match unit.kind(bound) {
        "assignment" => unit.syntax.child(bound, "left")?,
        "variable_declarator" => unit.syntax.child(bound, "name")?,
        _ => return None,
    };
    (unit.kind(name) == "identifier" && unit.values(name, unit.text(name)).len() == 1).then_some(name)
}

/// Returns where a name stands again in the function that binds it.
pub(super) fn later(unit: &Unit, name: Id) -> Vec<Id> {
    let below = unit.syntax.below(unit.function_of(name)).filter(|&id| id > name);
    below.filter(|&id| unit.kind(id) == "identifier" && unit.text(id) == unit.text(name)).collect()
}

/// Returns the name of the list that takes of some results those which have not failed: `[r for r in results if isinstance(r, float)]`,
/// `results.filter((r) => r.status === "fulfilled").map(...)`.
fn without_failures(unit: &Unit, results: Id) -> Option<Id> {
    if unit.language == Language::Python {
        return name_of(unit, unit.syntax[picked(unit, results)?].parent);
    }
    let chain = unit.syntax.around(results);
    let chain = chain.take_while(|&id| matches!(unit.kind(id), "member_expression" | "call_expression"));
    let whole = chain.last()?;
    let text = unit.text(whole);
    let picked = text.contains(".filter(") && text.contains("fulfilled");
    picked.then(|| name_of(unit, unit.syntax[whole].parent))?
}

/// Returns the list that takes of some results in Python those which are of a kind: `[r for r in results if isinstance(r, float)]`.
pub(super) fn picked(unit: &Unit, results: Id) -> Option<Id> {
    let clause = unit.syntax[results].parent;
    let made = unit.syntax[clause].parent;
    let picks = |id: Id| unit.kind(id) == "if_clause" && unit.text(id).contains("isinstance(");
    let list = unit.kind(clause) == "for_in_clause" && unit.kind(made) == "list_comprehension";
    (list && unit.syntax.children(made).any(picks)).then_some(made)
}

/// Returns the average over a list that a use of its name is part of: `sum(scores) / len(scores)`, `mean(scores)`,
/// `scores.reduce(add, 0) / scores.length`.
fn average_of(unit: &Unit, used: Id) -> Option<Id> {
    let name = unit.text(used);
    let count = format!("len({name})");
    let length = format!("{name}.length");
    let around = unit.syntax.around(used).take_while(|&id| !unit.kind(id).ends_with("statement"));
    around.take(8).find(|&id| match unit.kind(id) {
        "binary_operator" | "binary_expression" => {
            let right = unit.syntax.child(id, "right").map_or("", |right| unit.text(right));
            let divides = unit.syntax.child(id, "operator").is_some_and(|sign| unit.text(sign) == "/");
            divides && (right.contains(&count) || right.contains(&length))
        }
        "call" | "call_expression" => AVERAGES.contains(&unit.callee_name(id)),
        _ => false,
    })
}

/// Tells whether a node compares by size.
fn compares(unit: &Unit, id: Id) -> bool {
    let sized = || unit.syntax.children(id).any(|sign| matches!(unit.kind(sign), "<" | "<=" | ">" | ">="));
    matches!(unit.kind(id), "comparison_operator" | "binary_expression") && sized()
}
