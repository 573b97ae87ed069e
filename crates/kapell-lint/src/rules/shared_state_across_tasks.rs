//! State of a module that tasks write at the same time, each on what it read before it waited.

use std::collections::BTreeSet;

use kapell_view::audit::{Confidence, Severity};

use super::unbounded_fan_out;
use crate::{
    code::{Id, Unit, service, unit::FUNCTIONS},
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// The rule.
pub static RULE: Rule = Rule {
    name: "shared-state-across-tasks",
    summary: "tasks that run at once write the same variable from what they read before waiting",
    group: Group::Code,
    anti_pattern: Some(AntiPattern::SharedState),
    focus: Focus::State,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Deep,
    page: include_str!("../../docs/rules/shared-state-across-tasks.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for unit in repository.code.iter() {
        let text = unit.whole().to_ascii_lowercase();
        if ["lock(", "mutex", "semaphore(1)", "new lock"].iter().any(|word| text.contains(word)) {
            continue;
        }
        for (function, started) in at_once(unit) {
            for write in lost(unit, function).into_iter().chain(lost_by_copy(unit, function)) {
                let Some(target) = unit.syntax.child(write, "left") else { continue };
                let message = format!(
                    "`{}`{} is read before an `await` and written after it, while other tasks do the same: updates are lost",
                    unit.text(target),
                    service::place_name(unit, write),
                );
                let hint =
                    "let each task return its part and add them up after all have ended, or hold a lock";
                report
                    .add(unit.file, unit.span(write), message)
                    .hint(hint)
                    .also(unit.file, unit.span(started), "they are started here")
                    .done();
            }
        }
    }
}

/// Finds the functions that run many times at once, and where they are started.
fn at_once(unit: &Unit) -> Vec<(Id, Id)> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let gathers: Vec<Id> = unit.calls().filter(|&call| unbounded_fan_out::gathers(unit, call)).collect();
    let fanned = gathers.iter().filter_map(|&gather| {
        let (body, _) = unbounded_fan_out::fanned(unit, gather)?;
        Some((body, gather))
    });
    let twice = gathers.iter().filter_map(|&gather| Some((started_twice(unit, gather)?, gather)));
    for (body, gather) in fanned.chain(twice) {
        let own = FUNCTIONS.contains(&unit.kind(body)).then_some(body);
        let called = unit.calls_in(body).filter_map(|call| unit.function(unit.callee_name(call)));
        for function in own.into_iter().chain(called).filter(|&function| unit.is_async(function)) {
            if seen.insert(function) {
                found.push((function, gather));
            }
        }
    }
    found
}

/// Finds the function of this file that a call waits for at least twice: `Promise.all([ask(a), ask(b)])`.
fn started_twice(unit: &Unit, gather: Id) -> Option<Id> {
    let given: Vec<Id> = unit.args(gather).iter().map(|arg| arg.value).collect();
    let listed = given.first().filter(|&&first| matches!(unit.kind(first), "array" | "list"));
    let parts: Vec<Id> = listed.map_or(given.clone(), |&list| unit.syntax.children(list).collect());
    let called: Vec<Id> = parts
        .into_iter()
        .filter(|&part| matches!(unit.kind(part), "call" | "call_expression"))
        .filter(|&part| unit.callee(part).is_some_and(|callee| unit.kind(callee) == "identifier"))
        .filter_map(|part| unit.function(unit.callee_name(part)))
        .collect();
    called.iter().copied().find(|function| called.iter().filter(|other| *other == function).count() > 1)
}

/// Finds writes of outer variables from a copy that was made before an `await`: `before = total`, a wait, and
/// `total = before + 1`.
fn lost_by_copy(unit: &Unit, function: Id) -> Vec<Id> {
    let inner: Vec<Id> = unit.syntax.below(function).filter(|&id| unit.function_of(id) == function).collect();
    let waits = |from: Id, to: Id| {
        inner.iter().any(|&id| from < id && id < to && matches!(unit.kind(id), "await" | "await_expression"))
    };
    // What a value is made of, with no wait in it.
    let made_of = |value: Id, name: &str| {
        let mut below = std::iter::once(value).chain(unit.syntax.below(value));
        below.any(|id| {
            matches!(
                unit.kind(id),
                "identifier" | "subscript" | "attribute" | "subscript_expression" | "member_expression"
            ) && unit.text(id) == name
        })
    };
    let copies: Vec<(Id, &str, Id)> = inner
        .iter()
        .filter_map(|&id| {
            let name = unit.syntax.child(id, "left").or_else(|| unit.syntax.child(id, "name"))?;
            let value = unit.syntax.child(id, "right").or_else(|| unit.syntax.child(id, "value"))?;
            let binds = matches!(unit.kind(id), "assignment" | "variable_declarator");
            (binds && unit.kind(name) == "identifier").then(|| (id, unit.text(name), value))
        })
        .collect();
    let mut found = Vec::new();
    for &id in inner.iter().filter(|&&id| matches!(unit.kind(id), "assignment" | "assignment_expression")) {
        let (left, right) = (unit.syntax.child(id, "left"), unit.syntax.child(id, "right"));
        let Some((left, right)) = left.zip(right) else { continue };
        let target = unit.text(left);
        let stale = copies.iter().any(|&(copy, name, value)| {
            // A copy that is taken anew after the wait is as good as the variable itself.
            let last = copies
                .iter()
                .filter(|(other, known, _)| *known == name && *other < id)
                .map(|(other, ..)| *other)
                .max();
            copy < id
                && last == Some(copy)
                && name != target
                && unit.text(value) == target
                && made_of(right, name)
                && !made_of(right, target)
                && waits(copy, id)
        });
        if stale && outer(unit, function, left) {
            found.push(id);
        }
    }
    found
}

/// Finds writes of outer variables that await between reading and writing: `total += await f()`,
/// `total = total + await f()`.
fn lost(unit: &Unit, function: Id) -> Vec<Id> {
    let inner = |id: Id| unit.function_of(id) == function;
    unit.syntax
        .below(function)
        .filter(|&id| inner(id))
        .filter(|&id| {
            let (left, right) = (unit.syntax.child(id, "left"), unit.syntax.child(id, "right"));
            let Some((left, right)) = left.zip(right) else { return false };
            let waits = |id: Id| {
                std::iter::once(id)
                    .chain(unit.syntax.below(id))
                    .find(|&id| matches!(unit.kind(id), "await" | "await_expression"))
            };
            let Some(wait) = waits(right) else { return false };
            let reads_first = || {
                let mut below = std::iter::once(right).chain(unit.syntax.below(right));
                below.any(|id| {
                    id < wait && unit.kind(id) == unit.kind(left) && unit.text(id) == unit.text(left)
                })
            };
            let reads = match unit.kind(id) {
                "augmented_assignment" | "augmented_assignment_expression" => true,
                "assignment" | "assignment_expression" => reads_first(),
                _ => false,
            };
            reads && outer(unit, function, left)
        })
        .collect()
}

/// Tells whether a variable belongs to something around the function.
fn outer(unit: &Unit, function: Id, target: Id) -> bool {
    let text = unit.text(target);
    let root = text.split(['.', '[']).next().unwrap_or(text);
    if unit.kind(target) == "identifier" {
        let declared = unit.syntax.below(function).any(|id| {
            matches!(unit.kind(id), "global_statement" | "nonlocal_statement")
                && unit.syntax.children(id).any(|name| unit.text(name) == root)
        });
        let python = unit.language == crate::code::Language::Python;
        return if python { declared } else { declared_outside(unit, function, root) };
    }
    declared_outside(unit, function, root)
}

fn declared_outside(unit: &Unit, function: Id, name: &str) -> bool {
    let local = unit.syntax.below(function).any(|id| {
        let node = &unit.syntax[id];
        let binds =
            matches!(node.kind, "variable_declarator" | "assignment" | "for_in_statement" | "for_statement")
                && unit
                    .syntax
                    .child(id, "name")
                    .or(unit.syntax.child(id, "left"))
                    .is_some_and(|left| unit.text(left) == name);
        let parameter = matches!(node.kind, "formal_parameters" | "parameters")
            && unit
                .syntax
                .below(id)
                .any(|inner| unit.kind(inner) == "identifier" && unit.text(inner) == name);
        binds || parameter
    });
    let single = unit.syntax.child(function, "parameter").is_some_and(|given| unit.text(given) == name);
    !local
        && !single
        && unit.values(function, name).len() <= 1
        && (name == "self" || name == "this" || !unit.values(function, name).is_empty())
}
