//! State of a module that tasks write at the same time, each on what it read before it waited.

use std::collections::{BTreeMap, BTreeSet};

use kapell_view::audit::{Confidence, Severity};

use super::unbounded_fan_out;
use crate::{
    code::{Id, Unit, service, unit::FUNCTIONS},
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// See `docs/rules/shared-state-across-tasks.md`.
pub(super) static RULE: Rule = Rule {
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
            for write in lost(unit, function) {
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
            for (write, read, path) in rewritten(unit, function) {
                let message = format!(
                    "`{path}`{} is read, and written whole after an `await`, while other tasks do the same: updates are lost",
                    service::place_name(unit, write),
                );
                report
                    .add(unit.file, unit.span(write), message)
                    .hint("let each task return its part and write the file once, after all have ended")
                    .also(unit.file, unit.span(read), "read here")
                    .also(unit.file, unit.span(started), "they are started here")
                    .done();
            }
            for (write, read) in mixed(unit, function) {
                let Some(target) = unit.syntax.child(write, "left") else { continue };
                let message = format!(
                    "`{}`{} is written before an `await` and read after it, while other tasks write it: one reads what another one wrote",
                    unit.text(target),
                    service::place_name(unit, write),
                );
                report
                    .add(unit.file, unit.span(write), message)
                    .hint("keep it in a variable of the task, or hand it on as an argument")
                    .also(unit.file, unit.span(read), "read here, after the wait")
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

/// Finds writes of outer variables that await between reading and writing: `total += await f()`,
/// `total = total + await f()`, and `old = total; await f(); total = old + 1`.
fn lost(unit: &Unit, function: Id) -> Vec<Id> {
    let inner = |id: Id| unit.function_of(id) == function;
    let own: Vec<Id> = unit.syntax.below(function).filter(|&id| inner(id)).collect();
    let before = Before::of(unit, &own);
    let is_lost = |&id: &Id| {
        let (left, right) = (unit.syntax.child(id, "left"), unit.syntax.child(id, "right"));
        let Some((left, right)) = left.zip(right) else { return false };
        let wait = with_below(unit, right).find(|&id| waits(unit, id));
        let reads = match (unit.kind(id), wait) {
            ("augmented_assignment" | "augmented_assignment_expression", wait) => wait.is_some(),
            ("assignment" | "assignment_expression", Some(wait)) => {
                with_below(unit, right).any(|id| id < wait && is_same(unit, id, left))
            }
            ("assignment" | "assignment_expression", None) => before.is_copy_in(unit, id, (left, right)),
            _ => false,
        };
        reads && outer(unit, function, left)
    };
    own.iter().copied().filter(is_lost).collect()
}

/// Calls that read a whole file, and such that write one.
const READS: &[&str] = &["readFile", "readJson", "readJSON", "read_text", "read_bytes"];
const WRITES: &[&str] = &["writeFile", "writeJson", "writeJSON", "write_text", "write_bytes"];

/// Finds the files, the same for every task, that a function reads, and writes after it waited for something else. Each
/// with the call that writes, the one that reads, and the path as it is written.
fn rewritten(unit: &Unit, function: Id) -> Vec<(Id, Id, &str)> {
    let own: Vec<Id> = unit.calls_in(function).filter(|&id| unit.function_of(id) == function).collect();
    let whole = |names: &[&str]| {
        let calls = own.iter().copied().filter(|&call| names.contains(&unit.callee_name(call)));
        calls.filter_map(|call| Some((call, file_of(unit, call)?))).collect::<Vec<_>>()
    };
    let waiting: Vec<Id> = unit.syntax.below(function).filter(|&id| waits(unit, id)).collect();
    let reads = whole(READS);
    let mut found = Vec::new();
    for (write, file) in whole(WRITES) {
        let path = unit.text(file);
        let Some(&(read, _)) = reads.iter().find(|(read, of)| *read < write && unit.text(*of) == path) else {
            continue;
        };
        let between = |&wait: &Id| wait > read && wait < write && !unit.syntax.holds(wait, write);
        // A path that is put together may be another one for each task.
        let plain = unit.kind(file) == "string" && !path.contains('{');
        let shared = plain || unit.kind(file) == "identifier" && declared_outside(unit, function, path);
        if shared && waiting.iter().any(between) {
            found.push((write, read, path));
        }
    }
    found
}

/// Returns what names the file of a call: its first argument, or what `read_text` is called on.
fn file_of(unit: &Unit, call: Id) -> Option<Id> {
    let callee = unit.callee(call)?;
    if unit.callee_name(call).contains('_') {
        return unit.syntax.child(callee, "object");
    }
    unit.args(call).first().map(|arg| arg.value)
}

/// Finds what a task writes to an outer variable of its own: `current = name; await f(); use(current)`. Each with the first
/// read after the wait.
fn mixed(unit: &Unit, function: Id) -> Vec<(Id, Id)> {
    let inner = |id: Id| unit.function_of(id) == function;
    let own: Vec<Id> = unit.syntax.below(function).filter(|&id| inner(id)).collect();
    let parameters: BTreeSet<&str> = own
        .iter()
        .filter(|&&id| matches!(unit.kind(id), "formal_parameters" | "parameters"))
        .flat_map(|&id| unit.syntax.below(id))
        .filter(|&id| unit.kind(id) == "identifier")
        .map(|id| unit.text(id))
        .collect();
    let mut found = Vec::new();
    for &write in own.iter().filter(|&&id| matches!(unit.kind(id), "assignment" | "assignment_expression")) {
        let (left, right) = (unit.syntax.child(write, "left"), unit.syntax.child(write, "right"));
        let Some((left, right)) = left.zip(right) else { continue };
        let plain = unit.kind(left) == "identifier" && outer(unit, function, left);
        // What is the same for every task may be written by each.
        let of_task = with_below(unit, right).any(|id| parameters.contains(unit.text(id)));
        let in_branch = unit.syntax.around(write).take_while(|&id| id != function).any(|id| {
            matches!(unit.kind(id), "if_statement" | "while_statement" | "for_statement" | "for_in_statement")
        });
        if !plain || !of_task || in_branch {
            continue;
        }
        let Some(wait) = own.iter().copied().find(|&id| id > right && waits(unit, id)) else { continue };
        let next = own.iter().copied().find(|&id| {
            id > wait
                && !unit.syntax.holds(wait, id)
                && unit.kind(id) == "identifier"
                && unit.text(id) == unit.text(left)
        });
        // Who writes it again after the wait starts anew.
        let written = |id: Id| {
            let parent = unit.syntax[id].parent;
            matches!(unit.kind(parent), "assignment" | "assignment_expression")
                && unit.syntax.child(parent, "left") == Some(id)
        };
        found.extend(next.filter(|&read| !written(read)).map(|read| (write, read)));
    }
    found
}

fn with_below(unit: &Unit, id: Id) -> impl Iterator<Item = Id> + '_ {
    std::iter::once(id).chain(unit.syntax.below(id))
}

fn waits(unit: &Unit, id: Id) -> bool {
    matches!(unit.kind(id), "await" | "await_expression")
}

/// Tells whether two expressions are written alike.
fn is_same(unit: &Unit, one: Id, other: Id) -> bool {
    unit.kind(one) == unit.kind(other) && unit.text(one) == unit.text(other)
}

/// How many nodes of an expression are looked at for a copy; who keeps one writes little else there.
const SHORT: usize = 32;

/// What a function does before it writes, in the order of its text.
struct Before<'a> {
    /// By name, where it is bound and to what.
    bound: BTreeMap<&'a str, Vec<(Id, Id)>>,
    waits: Vec<Id>,
}

impl<'a> Before<'a> {
    fn of(unit: &'a Unit, own: &[Id]) -> Self {
        let mut bound: BTreeMap<&str, Vec<(Id, Id)>> = BTreeMap::new();
        for &id in own {
            let (name, value) = match unit.kind(id) {
                "assignment" => ("left", "right"),
                "variable_declarator" => ("name", "value"),
                _ => continue,
            };
            if let Some((name, value)) = unit.syntax.child(id, name).zip(unit.syntax.child(id, value)) {
                bound.entry(unit.text(name)).or_default().push((id, value));
            }
        }
        Self { bound, waits: own.iter().copied().filter(|&id| waits(unit, id)).collect() }
    }

    /// Tells whether what is written is made from a copy that a name got before an `await`. Who puts the copy itself back
    /// restores what was there.
    fn is_copy_in(&self, unit: &Unit, write: Id, (left, right): (Id, Id)) -> bool {
        let used = unit.syntax.below(right).take(SHORT).filter(|&id| unit.kind(id) == "identifier");
        used.filter_map(|name| self.bound.get(unit.text(name))).any(|bound| {
            let last = bound.partition_point(|(id, _)| *id < write).checked_sub(1);
            let Some((copy, value)) = last.map(|at| bound[at]) else { return false };
            let of_it = with_below(unit, value).take(SHORT).any(|id| is_same(unit, id, left));
            let next = self.waits.partition_point(|&wait| wait < copy);
            of_it && self.waits.get(next).is_some_and(|&wait| wait < write)
        })
    }
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
