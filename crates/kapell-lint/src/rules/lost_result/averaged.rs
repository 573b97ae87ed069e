//! Failures that are left out of the average which decides whether all is well.

use super::{
    kept::{bound_name, later, picked},
    settled::{is_counted, sees_to_itself, swallows},
};
use crate::{
    code::{
        Id, Language, Unit,
        guards::has_word,
        service::{self, Methods},
    },
    rule::Report,
    rules::unbounded_fan_out,
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
        let Some(Averaged { kept, average, decided }) = averaged(unit, call) else { continue };
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

/// An average that decides.
struct Averaged {
    /// The name of what is left of the results without the failures.
    kept: Id,
    average: Id,
    /// The comparison that it decides.
    decided: Id,
}

/// Finds what averages the results of a call without its failures, and decides. Nothing where the results are used otherwise, or
/// where somebody asks how many are left.
fn averaged(unit: &Unit, call: Id) -> Option<Averaged> {
    let results = bound_name(unit, unit.syntax[unit.syntax[call].parent].parent)?;
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
    let name = unit.text(bound_name(unit, bound)?);
    let mut below = unit.syntax.below(function).filter(|&id| id >= unit.syntax.end(bound));
    let decided = below.find(|&id| compares(unit, id) && has_word(unit.text(id), name))?;
    Some(Averaged { kept, average, decided })
}

/// Returns the name of the list that takes of some results those which have not failed: `[r for r in results if isinstance(r, float)]`,
/// `results.filter((r) => r.status === "fulfilled").map(...)`.
fn without_failures(unit: &Unit, results: Id) -> Option<Id> {
    if unit.language == Language::Python {
        return bound_name(unit, unit.syntax[picked(unit, results)?].parent);
    }
    let chain = unit.syntax.around(results);
    let chain = chain.take_while(|&id| matches!(unit.kind(id), "member_expression" | "call_expression"));
    let whole = chain.last()?;
    let text = unit.text(whole);
    let picked = text.contains(".filter(") && text.contains("fulfilled");
    picked.then(|| bound_name(unit, unit.syntax[whole].parent))?
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
