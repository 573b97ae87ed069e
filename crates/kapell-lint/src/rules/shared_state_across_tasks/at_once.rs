//! Which functions run many times at once.

mod asked; // what answers requests

use std::collections::BTreeMap;

use kapell_spec::finding::Span;

use self::asked::handlers;
use crate::{
    code::{Id, Language, Unit, modules::Modules, unit::FUNCTIONS},
    files::FileId,
    rules::unbounded_fan_out,
};

/// A function that runs many times at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct AtOnce {
    pub(super) function: Id,
    /// Where its runs are started.
    pub(super) started: (FileId, Span),
    /// Whether all of them are methods of one object.
    pub(super) of_one: bool,
    /// What is said of where they are started.
    pub(super) how: &'static str,
}

const STARTED: &str = "they are started here";
pub(super) const ASKED: &str = "every request runs it";

/// How far what runs at once is followed from function to function.
const STEPS: u32 = 3;

/// Finds the functions that run many times at once: those that are started so, and those that answer requests.
pub(super) fn all(unit: &Unit) -> Vec<AtOnce> {
    let mut found = started(unit);
    found.extend(handlers(unit));
    found
}

/// Finds the functions of other files that run many times at once: plain ones that are named where they are started, or that
/// a function calls which answers requests.
pub(super) fn abroad<'a>(units: &'a [Unit], modules: &Modules<'a>) -> Vec<(&'a Unit, AtOnce)> {
    let mut found: Vec<(&Unit, AtOnce)> = Vec::new();
    let leads_out = |unit: &&Unit| unit.origins().any(|(_, origin)| origin.target.is_some());
    for unit in units.iter().filter(leads_out) {
        let fans = unbounded_fan_out::fans(unit).into_iter().map(|fan| (fan.body, fan.at, STARTED));
        let asked = handlers(unit).into_iter().filter(|task| task.how == ASKED);
        let asked: Vec<(Id, (FileId, Span))> = asked.map(|task| (task.function, task.started)).collect();
        let fans = fans.map(|(body, at, how)| (body, (unit.file, unit.span(at)), how));
        for (body, started, how) in fans.chain(asked.into_iter().map(|(body, at)| (body, at, ASKED))) {
            for call in unit.calls_in(body) {
                let Some((other, function)) = modules.exported(unit, call) else { continue };
                let known =
                    found.iter().any(|(known, at)| known.file == other.file && at.function == function);
                if !known && other.is_async(function) && !other.is_method(function) {
                    found.push((other, AtOnce { function, started, of_one: true, how }));
                }
            }
        }
    }
    found
}

/// Finds the functions that are started many times at once.
fn started(unit: &Unit) -> Vec<AtOnce> {
    let mut found: Vec<AtOnce> = Vec::new();
    // What never waits is never left off.
    if unit.language == Language::Python && !unit.whole().contains("async def ") {
        return found;
    }
    let gathers = unit.calls().filter(|&call| unbounded_fan_out::gathers(unit, call));
    let twice = gathers.filter_map(|gather| Some((started_twice(unit, gather)?, gather)));
    let fans = unbounded_fan_out::fans(unit).into_iter().map(|fan| (fan.body, fan.at));
    let mapped = unit.calls().filter_map(|call| Some((bounded_map(unit, call)?, call)));
    for (body, started) in fans.chain(mapped).chain(twice).chain(grouped_twice(unit)) {
        follow(
            unit,
            body,
            AtOnce { function: body, started: (unit.file, unit.span(started)), of_one: true, how: STARTED },
            STEPS,
            &mut found,
        );
    }
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
        let of_one = at.of_one && of_one(unit, body, call, function);
        follow(unit, function, AtOnce { of_one, ..at }, steps, found);
    }
}

/// Tells whether a function has variables of its own, which what it makes has in common with nobody.
fn declares(unit: &Unit, function: Id) -> bool {
    let mut own = unit.syntax.below(function).filter(|&id| unit.function_of(id) == function);
    own.any(|id| unit.kind(id) == "variable_declarator")
}

/// Tells whether all runs call a method of the same object, or a plain function.
fn of_one(unit: &Unit, body: Id, call: Id, function: Id) -> bool {
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
    // What a task makes for itself is its own.
    of_class && made.is_some_and(|made| !unit.syntax.holds(body, made))
}

/// Finds the function of this file that a call waits for at least twice: `Promise.all([ask(a), ask(b)])`.
fn started_twice(unit: &Unit, gather: Id) -> Option<Id> {
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
        let function = unit.called(part).filter(|&function| of_one(unit, gather, part, function))?;
        Some((function, unit.text(object)))
    };
    let called: Vec<(Id, &str)> = parts
        .into_iter()
        .filter(|&part| matches!(unit.kind(part), "call" | "call_expression"))
        .filter_map(of)
        .collect();
    let again = called.iter().find(|one| called.iter().filter(|other| other == one).count() > 1);
    again.map(|(function, _)| *function)
}
