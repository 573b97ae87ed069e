//! State of a module that tasks write at the same time, each on what it read before it waited.

mod alone; // what there is one of
mod at_once; // what runs at once
mod common; // what all runs have in common
mod exchanged; // what a task gets from an object that all have in common, and hands back
mod left; // what a request leaves for a function of another file
mod overwritten; // what an agent of another file is told
mod reducers; // keys of a graph's state
mod reset; // what one call sets, and takes back after it waited
mod setter; // what a request leaves by a function of another file
mod taken; // locks that are taken from their holder
mod through; // what a task does by a function that it calls
mod whole; // files that are read and written whole

use std::collections::{BTreeMap, BTreeSet};

use kapell_view::audit::{Confidence, Severity};

pub(super) use self::at_once::{AtOnce, abroad, all, handlers};
use self::common::Common;
use crate::{
    code::{Id, Unit, guards, modules::Modules, service},
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

/// Words of who lets one at a time.
const LOCKS: &[&str] =
    &["lock(", "mutex", "semaphore(1)", "new lock", "plimit(1)", "concurrency: 1 ", "concurrency: 1,"];

fn check(repository: &Repository, report: &mut Report<'_>) {
    overwritten::check(repository, report);
    let modules = Modules::new(&repository.code);
    for unit in repository.code.iter() {
        let text = repository.files[unit.file].lower();
        let locks = has_lock(text);
        if !locks {
            alone::conversations(unit, report);
        }
        for at in at_once::all(unit) {
            if locks && is_locked(unit, at.function) {
                continue;
            }
            judge((repository, &modules), unit, at, report);
            setter::tell(repository, unit, at, report);
        }
        reducers::check(repository, &modules, unit, report);
        taken::check(unit, report);
        if !locks {
            reset::check(repository, unit, report);
        }
        for (function, started) in at_once::threaded(unit) {
            if !locks || !is_locked(unit, function) {
                judge_thread(&modules, unit, (function, started), report);
            }
        }
    }
    // A function of another file may be what runs at once.
    for (unit, at) in at_once::abroad(&repository.code, &modules) {
        if !has_lock(repository.files[unit.file].lower()) || !is_locked(unit, at.function) {
            judge((repository, &modules), unit, at, report);
        }
    }
}

/// Tells whether a text, in lower case, speaks of a lock: not of a block or a clock.
fn has_lock(text: &str) -> bool {
    let word = |word: &str| {
        text.match_indices(word).any(|(at, _)| word != "lock(" || !text[..at].ends_with(['b', 'c']))
    };
    LOCKS.iter().any(|lock| word(lock))
}

/// Tells whether a function, or one that calls it, uses a lock. At the top of a file anything may be held around it.
fn is_locked(unit: &Unit, function: Id) -> bool {
    let mut within = vec![function];
    for _ in 0..STEPS {
        let calls =
            unit.calls().filter(|&call| unit.called(call).is_some_and(|called| within.contains(&called)));
        let around: Vec<Id> = calls.map(|call| unit.function_of(call)).collect();
        within.extend(around);
        within.sort_unstable();
        within.dedup();
    }
    // What is handed to a lock runs under it: `one(async () => ...)`.
    let handed = unit.syntax.around(function).take_while(|&id| id != Id::ROOT).take(4);
    let handed: Vec<Id> = handed.filter(|&id| unit.kind(id) == "call_expression").collect();
    let root = within.contains(&Id::ROOT);
    within.extend(handed);
    root || guards::guarded(unit, &within, LOCKS)
}

/// How far it is looked for a lock in the functions that call one.
const STEPS: u32 = 2;

/// Tells what one function does wrong that runs many times at once.
fn judge<'a>(
    (repository, modules): (&'a Repository, &Modules<'a>),
    unit: &'a Unit,
    at: AtOnce,
    report: &mut Report<'_>,
) {
    let AtOnce { function, started, common, how } = at;
    alone::tell(unit, at, report);
    for (write, target) in lost(unit, function, common) {
        let message = format!(
            "`{}`{} is read before an `await` and written after it, while other tasks do the same: updates are lost",
            unit.text(target),
            service::place_name(unit, write),
        );
        let hint = "let each task return its part and add them up after all have ended, or hold a lock";
        report.add(unit.file, unit.span(write), message).hint(hint).also(started.0, started.1, how).done();
    }
    let asked = how == at_once::ASKED;
    let files = whole::rewritten(modules, unit, function, whole::Runs::Tasks(common));
    for (write, read, path) in files.into_iter().chain(counted(unit, function, asked)) {
        let message = format!(
            "`{path}`{} is read, and written whole after an `await`, while other tasks do the same: updates are lost",
            service::place_name(unit, write),
        );
        report
            .add(unit.file, unit.span(write), message)
            .hint("let each task return its part and write it once, after all have ended, or let the store itself add")
            .also(unit.file, unit.span(read), "read here")
            .also(started.0, started.1, how)
            .done();
    }
    if !asked {
        tell_exchanged(modules, unit, at, report);
    }
    left::tell(repository, unit, at, &of_task(unit, function, common), report);
    for (write, target, read) in mixed(unit, function, common) {
        let message = format!(
            "`{}`{} is written before an `await` and read after it, while other tasks write it: one reads what another one wrote",
            unit.text(target),
            service::place_name(unit, write),
        );
        report
            .add(unit.file, unit.span(write), message)
            .hint("keep it in a variable of the task, or hand it on as an argument")
            .also(unit.file, unit.span(read), "read here, after the wait")
            .also(started.0, started.1, how)
            .done();
    }
}

/// Tells of files that threads read and write whole.
fn judge_thread<'a>(
    modules: &Modules<'a>,
    unit: &'a Unit,
    (function, started): (Id, Id),
    report: &mut Report<'_>,
) {
    for (write, read, path) in whole::rewritten(modules, unit, function, whole::Runs::Threads) {
        let message = format!(
            "`{path}`{} is read and written whole, while other threads do the same: updates are lost",
            service::place_name(unit, write),
        );
        report
            .add(unit.file, unit.span(write), message)
            .hint("let each thread return its part and write it once, after all have ended, or hold a lock")
            .also(unit.file, unit.span(read), "read here")
            .also(unit.file, unit.span(started), "they are started here")
            .done();
    }
}

/// Tells of what tasks get from, and hand to, an object or another file.
fn tell_exchanged<'a>(modules: &Modules<'a>, unit: &'a Unit, at: AtOnce, report: &mut Report<'_>) {
    let place = |call: Id| {
        (unit.callee(call).map_or("", |callee| unit.text(callee)), service::place_name(unit, call))
    };
    for exchanged::Exchange { set, get, kept } in exchanged::lost(modules, unit, at) {
        let (callee, place) = place(set);
        let message = format!(
            "`{callee}`{place} writes `{kept}`, which was read before an `await`, while other tasks do the same: updates are lost"
        );
        report
            .add(unit.file, unit.span(set), message)
            .hint("let each task return its part and add them up after all have ended, or hold a lock")
            .also(unit.file, unit.span(get), "read here")
            .also(at.started.0, at.started.1, at.how)
            .done();
    }
    for exchanged::Exchange { set, get, kept } in exchanged::mixed(modules, unit, at) {
        let (callee, place) = place(set);
        let message = format!(
            "`{callee}`{place} sets `{kept}` before an `await`, and it is read after it, while other tasks set it: one reads what another one wrote"
        );
        report
            .add(unit.file, unit.span(set), message)
            .hint("keep it in a variable of the task, or hand it on as an argument")
            .also(unit.file, unit.span(get), "read here, after the wait")
            .also(at.started.0, at.started.1, at.how)
            .done();
    }
}

/// Finds writes of outer variables that await between reading and writing: `total += await f()`,
/// `total = total + await f()`, and `old = total; await f(); total = old + 1`. Each with the variable.
fn lost(unit: &Unit, function: Id, common: Common) -> Vec<(Id, Id)> {
    let inner = |id: Id| unit.function_of(id) == function;
    let own: Vec<Id> = unit.syntax.below(function).filter(|&id| inner(id)).collect();
    let before = Before::of(unit, &own);
    let target = |&id: &Id| {
        let (left, right) = (unit.syntax.child(id, "left"), unit.syntax.child(id, "right"));
        let (left, right) = left.zip(right)?;
        let wait = with_below(unit, right).find(|&id| waits(unit, id));
        let reads = match (unit.kind(id), wait) {
            ("augmented_assignment" | "augmented_assignment_expression", wait) => wait.is_some(),
            ("assignment" | "assignment_expression", Some(wait)) => {
                with_below(unit, right).any(|id| id < wait && is_same(unit, id, left))
            }
            ("assignment" | "assignment_expression", None) => before.is_copy_in(unit, id, (left, right)),
            _ => false,
        };
        (reads && shared(unit, function, left, common)).then_some((id, left))
    };
    let mut found: Vec<(Id, Id)> = own.iter().filter_map(target).collect();
    if !before.waits.is_empty() {
        let called = through::writes(unit, function, common).into_iter();
        let copied = called.filter(|write| before.is_copy_in(unit, write.call, (write.left, write.given)));
        found.extend(copied.map(|write| (write.call, write.left)));
    }
    found
}

/// Calls that read a value of a store by its key, and such that write one.
const GETS: &[&str] = &["get", "getItem", "hget", "get_item"];
const SETS: &[&str] = &["set", "setItem", "hset", "put", "set_item"];

/// Finds values of a store that a function reads, and writes anew from what it read, after it waited for something else.
///
/// A key that is put together may be another one for each task; but the same visitor may ask twice at once, and then what is
/// counted up or down is lost.
fn counted(unit: &Unit, function: Id, asked: bool) -> Vec<(Id, Id, &str)> {
    let own: Vec<Id> = unit.calls_in(function).filter(|&id| unit.function_of(id) == function).collect();
    let keyed = |call: Id, names: &[&str]| {
        let object = unit.syntax.child(unit.callee(call)?, "object")?;
        let key = unit.args(call).first().map(|arg| arg.value)?;
        let together = unit.kind(key) == "template_string" || unit.text(key).contains('{');
        let text = matches!(unit.kind(key), "string" | "template_string");
        let plain = text && (asked || !together) && unit.awaited(call);
        (plain && names.contains(&unit.callee_name(call))).then(|| (unit.text(object), unit.text(key)))
    };
    let before = Before::of(unit, &own_nodes(unit, function));
    let mut found = Vec::new();
    for &write in &own {
        let Some(what) = keyed(write, SETS) else { continue };
        let Some(&read) = own.iter().find(|&&read| read < write && keyed(read, GETS) == Some(what)) else {
            continue;
        };
        let copied = unit.args(write).iter().skip(1).any(|arg| {
            let sums = with_below(unit, arg.value)
                .any(|id| matches!(unit.kind(id), "binary_operator" | "binary_expression"));
            let named = with_below(unit, arg.value).filter(|&id| unit.kind(id) == "identifier");
            named.filter(|_| sums || !what.1.contains('{')).any(|name| {
                before
                    .bound
                    .get(unit.text(name))
                    .is_some_and(|bound| bound.iter().any(|(_, value)| unit.syntax.holds(*value, read)))
            })
        });
        let between =
            before.waits.iter().any(|&wait| wait > read && wait < write && !unit.syntax.holds(wait, write));
        if copied && between {
            found.push((write, read, what.1));
        }
    }
    found
}

/// Returns the nodes of a function that belong to no function within it.
fn own_nodes(unit: &Unit, function: Id) -> Vec<Id> {
    unit.syntax.below(function).filter(|&id| unit.function_of(id) == function).collect()
}

/// Finds what a task writes to an outer variable of its own: `current = name; await f(); use(current)`. Each with the variable,
/// and the first read after the wait.
fn mixed(unit: &Unit, function: Id, common: Common) -> Vec<(Id, Id, Id)> {
    let own = own_nodes(unit, function);
    let mut found = Vec::new();
    for set in of_task(unit, function, common) {
        let Set { write, left, wait } = set;
        let next = own
            .iter()
            .copied()
            .find(|&id| id > wait && !unit.syntax.holds(wait, id) && is_same(unit, id, left));
        // Who writes it again after the wait starts anew.
        let written = |id: Id| {
            let parent = unit.syntax[id].parent;
            matches!(unit.kind(parent), "assignment" | "assignment_expression")
                && unit.syntax.child(parent, "left") == Some(id)
        };
        let next = match next {
            Some(read) => Some(read).filter(|&read| !written(read)),
            None => through::read_after(unit, function, &set),
        };
        found.extend(next.map(|read| (write, left, read)));
    }
    found
}

/// An outer variable, an entry of one or an attribute, that a task sets to something of its own before it waits.
struct Set {
    write: Id,
    left: Id,
    wait: Id,
}

/// Returns the names whose values belong to one run of a function: its parameters, and what is made of them.
fn of_call<'a>(unit: &'a Unit, function: Id, own: &[Id]) -> BTreeSet<&'a str> {
    let mut parameters: BTreeSet<&str> = own
        .iter()
        .filter(|&&id| matches!(unit.kind(id), "formal_parameters" | "parameters"))
        .flat_map(|&id| unit.syntax.below(id))
        .filter(|&id| matches!(unit.kind(id), "identifier" | "shorthand_property_identifier_pattern"))
        .chain(unit.syntax.child(function, "parameter"))
        .map(|id| unit.text(id))
        // What the object itself gives is the same for every task.
        .filter(|name| !matches!(*name, "self" | "this" | "cls"))
        .collect();
    // What is made of them belongs to the task as well: `const body = request.body`.
    for &made in own.iter().filter(|&&id| matches!(unit.kind(id), "assignment" | "variable_declarator")) {
        let name = unit.syntax.child(made, "left").or_else(|| unit.syntax.child(made, "name"));
        let value = unit.syntax.child(made, "right").or_else(|| unit.syntax.child(made, "value"));
        let Some((name, value)) = name.zip(value) else { continue };
        // `const { user, text } = await request.json()`
        let parts = matches!(unit.kind(name), "object_pattern" | "array_pattern" | "pattern_list");
        let local = parts || unit.kind(name) == "identifier" && !outer(unit, function, name);
        if local && with_below(unit, value).take(SHORT).any(|id| parameters.contains(unit.text(id))) {
            let named =
                |&id: &Id| matches!(unit.kind(id), "identifier" | "shorthand_property_identifier_pattern");
            parameters.extend(with_below(unit, name).filter(named).map(|id| unit.text(id)));
        }
    }
    parameters
}

/// Finds what a task sets so.
fn of_task(unit: &Unit, function: Id, common: Common) -> Vec<Set> {
    let inner = |id: Id| unit.function_of(id) == function;
    let own: Vec<Id> = unit.syntax.below(function).filter(|&id| inner(id)).collect();
    let mut parameters = of_call(unit, function, &own);
    parameters.retain(|name| !common.has(unit, function, name));
    let mut found = Vec::new();
    for &write in own.iter().filter(|&&id| matches!(unit.kind(id), "assignment" | "assignment_expression")) {
        let (left, right) = (unit.syntax.child(write, "left"), unit.syntax.child(write, "right"));
        let Some((left, right)) = left.zip(right) else { continue };
        let member = matches!(unit.kind(left), "attribute" | "member_expression")
            && ["self.", "this."].iter().any(|own| unit.text(left).starts_with(own));
        let kept = unit.kind(left) == "identifier" || member || is_entry(unit, left);
        let plain = kept && shared(unit, function, left, common);
        // What is the same for every task may be written by each.
        let of_task = with_below(unit, right).any(|id| parameters.contains(unit.text(id)));
        if !plain || !of_task || in_branch(unit, function, write) {
            continue;
        }
        let wait = own.iter().copied().find(|&id| id > right && waits(unit, id));
        found.extend(wait.map(|wait| Set { write, left, wait }));
    }
    for through::Write { call, left, given } in through::writes(unit, function, common) {
        let of_task = unit.syntax.below(given).any(|id| parameters.contains(unit.text(id)));
        let wait = own.iter().copied().find(|&id| id > given && waits(unit, id));
        let wait = wait.filter(|_| of_task && !in_branch(unit, function, call));
        found.extend(wait.map(|wait| Set { write: call, left, wait }));
    }
    found
}

/// Tells whether a node of a function is reached in some runs only, or several times in one.
fn in_branch(unit: &Unit, function: Id, id: Id) -> bool {
    unit.syntax.around(id).take_while(|&id| id != function).any(|id| {
        matches!(unit.kind(id), "if_statement" | "while_statement" | "for_statement" | "for_in_statement")
    })
}

/// Tells whether an expression is an entry of a dictionary by a key that stands there, or an attribute of a name:
/// `current["user"]`, `tools.current["user"]`, `state.user`.
fn is_entry(unit: &Unit, id: Id) -> bool {
    let named = |id: Id| {
        let object = unit.syntax.child(id, "object").filter(|_| is_member(unit, id)).unwrap_or(id);
        unit.kind(object) == "identifier"
    };
    match unit.kind(id) {
        "subscript" => {
            let value = unit.syntax.child(id, "value");
            let key = unit.syntax.child(id, "subscript");
            key.is_some_and(|key| unit.kind(key) == "string") && value.is_some_and(named)
        }
        "subscript_expression" => {
            let key = unit.syntax.child(id, "index");
            let object = unit.syntax.child(id, "object");
            key.is_some_and(|key| unit.kind(key) == "string") && object.is_some_and(named)
        }
        _ => is_member(unit, id) && named(id),
    }
}

fn is_member(unit: &Unit, id: Id) -> bool {
    matches!(unit.kind(id), "attribute" | "member_expression")
}

fn with_below(unit: &Unit, id: Id) -> impl Iterator<Item = Id> + '_ {
    std::iter::once(id).chain(unit.syntax.below(id))
}

fn waits(unit: &Unit, id: Id) -> bool {
    matches!(unit.kind(id), "await" | "await_expression")
}

/// Tells whether two expressions are written alike.
fn is_same(unit: &Unit, one: Id, other: Id) -> bool {
    // `{ channel }` reads what it names.
    let short = unit.kind(one) == "shorthand_property_identifier" && unit.kind(other) == "identifier";
    (short || unit.kind(one) == unit.kind(other)) && unit.text(one) == unit.text(other)
}

/// How many nodes of an expression are looked at for a copy; who keeps one writes little else there.
const SHORT: usize = 32;

/// What a function does before it writes, in the order of its text.
struct Before<'a> {
    /// By name, where it is bound and to what.
    bound: BTreeMap<&'a str, Vec<(Id, Id)>>,
    /// By name, where it is added to: `spent += price`.
    changed: BTreeMap<&'a str, Vec<Id>>,
    waits: Vec<Id>,
}

impl<'a> Before<'a> {
    fn of(unit: &'a Unit, own: &[Id]) -> Self {
        let mut bound: BTreeMap<&str, Vec<(Id, Id)>> = BTreeMap::new();
        let mut changed: BTreeMap<&str, Vec<Id>> = BTreeMap::new();
        for &id in own {
            let (name, value) = match unit.kind(id) {
                "assignment" => ("left", "right"),
                "variable_declarator" => ("name", "value"),
                "augmented_assignment" | "augmented_assignment_expression" => {
                    let name = unit.syntax.child(id, "left").map_or("", |left| unit.text(left));
                    changed.entry(name).or_default().push(id);
                    continue;
                }
                _ => continue,
            };
            if let Some((name, value)) = unit.syntax.child(id, name).zip(unit.syntax.child(id, value)) {
                bound.entry(unit.text(name)).or_default().push((id, value));
            }
        }
        Self { bound, changed, waits: own.iter().copied().filter(|&id| waits(unit, id)).collect() }
    }

    /// Tells whether what is written is made from a copy that a name got before an `await`. Who puts the copy itself back
    /// restores what was there, unless it was added to.
    fn is_copy_in(&self, unit: &Unit, write: Id, (left, right): (Id, Id)) -> bool {
        let added = || self.changed.get(unit.text(right)).is_some_and(|all| all.iter().any(|&id| id < write));
        let itself = Some(right).filter(|&id| unit.kind(id) == "identifier" && added());
        let used = unit.syntax.below(right).take(SHORT).filter(|&id| unit.kind(id) == "identifier");
        used.chain(itself).filter_map(|name| self.bound.get(unit.text(name))).any(|bound| {
            let last = bound.partition_point(|(id, _)| *id < write).checked_sub(1);
            let Some((copy, value)) = last.map(|at| bound[at]) else { return false };
            let of_it = with_below(unit, value)
                .take(SHORT)
                .any(|id| is_same(unit, id, left) || through::gives(unit, id, left));
            let next = self.waits.partition_point(|&wait| wait < copy);
            of_it && self.waits.get(next).is_some_and(|&wait| wait < write)
        })
    }
}

/// Tells whether all runs of a function have a variable in common.
fn shared(unit: &Unit, function: Id, target: Id, common: Common) -> bool {
    let text = unit.text(target);
    let root = text.split(['.', '[']).next().unwrap_or(text);
    if matches!(root, "self" | "this") {
        return common.object && outer(unit, function, target);
    }
    // A part of what every run is given: `state["notes"]`.
    outer(unit, function, target) || is_entry(unit, target) && common.has(unit, function, root)
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
    if matches!(name, "self" | "this" | "cls") {
        return true;
    }
    // What is imported there is one of, too.
    let bound = unit.values(function, name).len();
    !hides(unit, function, name)
        && (bound == 1 || bound == 0 && (unit.imported(name) || is_of_file(unit, name)))
}

/// Tells whether a script declares a variable at its top, with or without a value: `let user: string | undefined;`.
fn is_of_file(unit: &Unit, name: &str) -> bool {
    unit.syntax.of_kind(&["variable_declarator"]).any(|id| {
        let own = unit.syntax.child(id, "name").is_some_and(|own| unit.text(own) == name);
        own && unit.function_of(id) == Id::ROOT
    })
}

/// Tells whether a function has a variable or a parameter of its own of that name.
fn hides(unit: &Unit, function: Id, name: &str) -> bool {
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
    local || unit.syntax.child(function, "parameter").is_some_and(|given| unit.text(given) == name)
}
