//! Which functions run many times at once.

mod asked; // what answers requests
mod members; // what objects of a list have in common

use std::collections::BTreeMap;

use kapell_spec::finding::Span;

pub(in crate::rules) use self::asked::handlers;
use super::{
    LOCKS,
    common::{self, Common},
};
use crate::{
    code::{Id, Language, Unit, guards, modules::Modules, unit::FUNCTIONS},
    files::FileId,
    rules::unbounded_fan_out,
};

/// A function that runs many times at once.
#[derive(Debug, Clone, Copy)]
pub(in crate::rules) struct AtOnce {
    pub(in crate::rules) function: Id,
    /// Where its runs are started.
    pub(in crate::rules) started: (FileId, Span),
    /// What they have in common.
    pub(super) common: Common,
    /// What is said of where they are started.
    pub(in crate::rules) how: &'static str,
}

const STARTED: &str = "they are started here";
pub(super) const ASKED: &str = "every request runs it";

/// How far what runs at once is followed from function to function.
const STEPS: u32 = 3;

/// How far it is followed from file to file.
const FILES: u32 = 2;

/// Finds the functions that run many times at once: those that are started so, and those that answer requests.
pub(in crate::rules) fn all(unit: &Unit) -> Vec<AtOnce> {
    let mut found = started(unit);
    found.extend(handlers(unit));
    found
}

/// Finds the functions of other files that run many times at once: those that are named where they are started, and those that
/// a function calls which does, or answers requests. Of methods, those of an object that all runs have in common.
pub(in crate::rules) fn abroad<'a>(units: &'a [Unit], modules: &Modules<'a>) -> Vec<(&'a Unit, AtOnce)> {
    let mut found: Vec<(&Unit, AtOnce)> = Vec::new();
    let leads_out = |unit: &&Unit| unit.origins().any(|(_, origin)| origin.target.is_some());
    for unit in units.iter().filter(leads_out) {
        let fans = unbounded_fan_out::fans(unit).into_iter().map(|fan| AtOnce {
            function: fan.body,
            started: (unit.file, unit.span(fan.at)),
            common: Common::OBJECT,
            how: STARTED,
        });
        let asked = handlers(unit).into_iter().filter(|task| task.how == ASKED);
        let mut tasks: Vec<(&Unit, AtOnce, u32)> =
            fans.chain(started(unit)).chain(asked).map(|task| (unit, task, FILES)).collect();
        while let Some((unit, task, files)) = tasks.pop() {
            let Some(files) = files.checked_sub(1) else { continue };
            for call in unit.calls_in(task.function) {
                for (other, function, common) in leads_to(modules, unit, task, call) {
                    let known =
                        found.iter().any(|(known, at)| known.file == other.file && at.function == function);
                    if !known && other.is_async(function) && !guards::guarded(unit, &[task.function], LOCKS) {
                        let mut own = Vec::new();
                        follow(other, function, AtOnce { function, common, ..task }, STEPS, &mut own);
                        tasks.extend(own.iter().map(|at| (other, *at, files)));
                        found.extend(own.into_iter().map(|at| (other, at)));
                    }
                }
            }
        }
    }
    found
}

/// Finds the function of another file that a task calls, and what all runs of it have in common; where it is a method of each
/// object of a list, also those of what all of these objects were made with.
fn leads_to<'a>(
    modules: &Modules<'a>,
    unit: &'a Unit,
    task: AtOnce,
    call: Id,
) -> Vec<(&'a Unit, Id, Common)> {
    if let Some(found) = named(modules, unit, task, call) {
        return vec![found];
    }
    let Some(of) = modules.of_each(unit, call) else { return Vec::new() };
    let shared = members::shared(modules, &of).into_iter();
    let shared = shared.map(|(other, function)| (other, function, Common::OBJECT));
    let common = task.common.of_call((unit, task.function, call), (of.unit, of.function), false);
    shared.chain([(of.unit, of.function, common)]).collect()
}

/// Finds the function of another file that a call of a task names.
fn named<'a>(modules: &Modules<'a>, unit: &Unit, task: AtOnce, call: Id) -> Option<(&'a Unit, Id, Common)> {
    let object = unit.syntax.child(unit.callee(call)?, "object");
    let of_given = || {
        let object = object.filter(|&object| unit.kind(object) == "identifier")?;
        let class = common::class_given(unit, task.function, unit.text(object))?;
        modules.method_of(unit, class, unit.callee_name(call))
    };
    let (other, function) = modules.exported(unit, call).or_else(of_given)?;
    let method = other.is_method(function);
    if method && !object.is_some_and(|object| task.common.is_same((unit, task.function), object)) {
        return None;
    }
    Some((other, function, task.common.of_call((unit, task.function, call), (other, function), true)))
}

/// Finds the functions that are started many times at once.
fn started(unit: &Unit) -> Vec<AtOnce> {
    let mut found: Vec<AtOnce> = Vec::new();
    // What never waits is never left off.
    if unit.language == Language::Python && !unit.whole().contains("async def ") {
        return found;
    }
    let gathers = unit.calls().filter(|&call| unbounded_fan_out::gathers(unit, call));
    let twice = gathers.filter_map(|gather| {
        let (function, calls) = started_twice(unit, gather)?;
        Some((function, gather, Common::of_calls(unit, &calls)))
    });
    let fans = unbounded_fan_out::fans(unit).into_iter().map(|fan| (fan.body, fan.at));
    let mapped = unit.calls().filter_map(|call| Some((bounded_map(unit, call)?, call)));
    let others = fans.chain(mapped).chain(grouped_twice(unit));
    for (body, started, common) in others.map(|(body, at)| (body, at, Common::OBJECT)).chain(twice) {
        let started = (unit.file, unit.span(started));
        follow(unit, body, AtOnce { function: body, started, common, how: STARTED }, STEPS, &mut found);
    }
    found
}

/// Finds the functions that threads run at once, and what they call of this file, each with where they are started.
pub(super) fn threaded(unit: &Unit) -> Vec<(Id, Id)> {
    let mut found: Vec<(Id, Id)> = Vec::new();
    if unit.language != Language::Python || !unit.whole().contains("ThreadPoolExecutor(") {
        return found;
    }
    for call in unit.calls() {
        let Some(first) = unit.args(call).first().map(|arg| arg.value) else { continue };
        let of_pool =
            unit.callee(call).and_then(|callee| unit.syntax.child(callee, "object")).is_some_and(|object| {
                let name = unit.text(object).to_ascii_lowercase();
                ["pool", "executor", "exec", "ex"].iter().any(|word| name.ends_with(word))
            });
        let outer = unit.function_of(call);
        let looped = || {
            let mut around = unit.syntax.around(call).take_while(|&id| id != outer);
            around.any(|id| unit.kind(id) == "for_statement" || unit.kind(id).ends_with("_comprehension"))
        };
        let many = of_pool
            && match unit.callee_name(call) {
                "map" => true,
                "submit" => looped(),
                _ => false,
            };
        let Some(function) = unit.function(unit.text(first)).filter(|_| many) else { continue };
        let mut tasks = vec![function];
        for _ in 0..STEPS {
            let calls = tasks.iter().flat_map(|&task| unit.calls_in(task));
            let next: Vec<Id> =
                calls.filter_map(|call| unit.called(call)).filter(|next| !tasks.contains(next)).collect();
            tasks.extend(next);
        }
        found.extend(tasks.into_iter().map(|task| (task, call)));
    }
    found.sort_unstable();
    found.dedup_by_key(|(task, _)| *task);
    found
}

/// Returns what runs for every item of a call that is told how many may run at once: `pMap(items, f, { concurrency: 4 })`.
fn bounded_map(unit: &Unit, call: Id) -> Option<Id> {
    let path = unit.path(unit.callee(call)?)?.text;
    let known = ["p-map", "bluebird.map", "async.mapLimit", "async.eachLimit"].contains(&&*path);
    let function = unit.args(call).into_iter().filter(|_| known).map(|arg| arg.value);
    let mut named = function.map(|id| unit.function(unit.text(id)).unwrap_or(id));
    named.find(|&id| FUNCTIONS.contains(&unit.kind(id)))
}

/// Finds functions that a group of tasks, or a nursery, is given at least twice, in a loop or without.
fn grouped_twice(unit: &Unit) -> Vec<(Id, Id)> {
    let mut given: BTreeMap<(Id, Id), (usize, Id)> = BTreeMap::new();
    for call in unit.calls().filter(|&call| ["start_soon", "create_task"].contains(&unit.callee_name(call))) {
        let first = unit.args(call).first().map(|arg| arg.value);
        let name = first.map(|first| match unit.kind(first) {
            "call" => unit.callee_name(first),
            _ => unit.text(first).rsplit('.').next().unwrap_or_default(),
        });
        let Some(function) = name.and_then(|name| unit.function(name)) else { continue };
        let around = unit.function_of(call);
        let looped = unit
            .syntax
            .around(call)
            .take_while(|&id| id != around)
            .any(|id| unit.kind(id) == "for_statement");
        given.entry((around, function)).or_insert((0, call)).0 += if looped { 2 } else { 1 };
    }
    let many = given.into_iter().filter(|(_, (count, _))| *count > 1);
    many.map(|((_, function), (_, call))| (function, call)).collect()
}

/// Collects the functions of the file that `body`, which runs many times at once, is made of or calls.
fn follow(unit: &Unit, body: Id, at: AtOnce, steps: u32, found: &mut Vec<AtOnce>) {
    let Some(steps) = steps.checked_sub(1) else { return };
    let is_function = FUNCTIONS.contains(&unit.kind(body));
    if is_function {
        if found.iter().any(|other| other.function == body) {
            return;
        }
        if unit.is_async(body) {
            found.push(AtOnce { function: body, ..at });
        }
    }
    // `limit(async () => ...)`: what waits for its turn runs beside others still.
    if is_function && !unit.is_async(body) && !declares(unit, body) {
        for call in unit.calls_in(body).filter(|&call| unit.function_of(call) == body) {
            let args = unit.args(call).into_iter().map(|arg| arg.value);
            for inner in args.filter(|&arg| FUNCTIONS.contains(&unit.kind(arg)) && unit.is_async(arg)) {
                follow(unit, inner, at, steps, found);
            }
        }
    }
    for call in unit.calls_in(body) {
        if is_function && unit.function_of(call) != body && unit.is_async(unit.function_of(call)) {
            continue;
        }
        let Some(function) = unit.called(call) else { continue };
        let object = at.common.object && of_one(unit, (body, at.common), call, function);
        let common = at.common.of_call((unit, body, call), (unit, function), object);
        follow(unit, function, AtOnce { common, ..at }, steps, found);
    }
}

/// Tells whether a function has variables of its own, which what it makes has in common with nobody.
fn declares(unit: &Unit, function: Id) -> bool {
    let mut own = unit.syntax.below(function).filter(|&id| unit.function_of(id) == function);
    own.any(|id| unit.kind(id) == "variable_declarator")
}

/// Tells whether all runs call a method of the same object, or a plain function.
fn of_one(unit: &Unit, (body, common): (Id, Common), call: Id, function: Id) -> bool {
    let object = unit.callee(call).and_then(|callee| unit.syntax.child(callee, "object"));
    let Some(object) = object else { return true };
    if matches!(unit.text(object), "self" | "this") {
        return true;
    }
    let class = unit.syntax.around(function).find(|&id| unit.kind(id).starts_with("class_d"));
    let name = class.and_then(|class| unit.syntax.child(class, "name"));
    let made = unit.path(object).and_then(|path| path.built);
    let of_class = made
        .and_then(|made| unit.callee(made))
        .zip(name)
        .is_some_and(|(made, name)| unit.text(made) == unit.text(name));
    // What a task is given may be the same for all of them; what it makes for itself is its own.
    let given = || {
        let class = name.is_some_and(|name| common::is_named_like(unit, body, object, unit.text(name)));
        class && common.is_same((unit, body), object)
    };
    of_class && made.is_some_and(|made| !unit.syntax.holds(body, made)) || made.is_none() && given()
}

/// Finds the function of this file that a call waits for at least twice, and the calls of it: `Promise.all([ask(a), ask(b)])`.
fn started_twice(unit: &Unit, gather: Id) -> Option<(Id, Vec<Id>)> {
    let given: Vec<Id> = unit.args(gather).iter().map(|arg| arg.value).collect();
    let listed = given.first().filter(|&&first| matches!(unit.kind(first), "array" | "list"));
    let parts: Vec<Id> = listed.map_or(given.clone(), |&list| unit.syntax.children(list).collect());
    // A method is the same one where it is called of the same object.
    let of = |part: Id| {
        let callee = unit.callee(part)?;
        if unit.kind(callee) == "identifier" {
            return Some((unit.function(unit.callee_name(part))?, ""));
        }
        let object = unit.syntax.child(callee, "object")?;
        let function =
            unit.called(part).filter(|&function| of_one(unit, (gather, Common::OBJECT), part, function))?;
        Some((function, unit.text(object)))
    };
    let calls = parts.into_iter().filter(|&part| unit.is_call(part));
    let called: Vec<((Id, &str), Id)> = calls.filter_map(|part| Some((of(part)?, part))).collect();
    let same = |one: &(Id, &str)| -> Vec<Id> {
        called.iter().filter(|(other, _)| other == one).map(|(_, part)| *part).collect()
    };
    let (again, calls) = called.iter().map(|(one, _)| (one, same(one))).find(|(_, calls)| calls.len() > 1)?;
    Some((again.0, calls))
}
