//! What tasks get from an object, or of another file, and hand back to it: what is kept there is everybody's.

use super::{
    Before, Common, at_once::AtOnce, common, is_of_file, left::is_shown, of_call, own_nodes, shared,
    with_below,
};
use crate::code::{Id, Unit, modules::Modules};

/// A call of a task that hands something to whoever keeps it, and one that gets it from there.
pub(super) struct Exchange<'a> {
    pub(super) set: Id,
    pub(super) get: Id,
    /// The variable there.
    pub(super) kept: &'a str,
}

/// A call of a function that is the same for all tasks.
struct Shared<'a> {
    call: Id,
    /// The object that it is a method of, as it is written; nothing for a plain function.
    object: &'a str,
    unit: &'a Unit,
    function: Id,
}

/// Finds what a task gets before it waits, and hands back changed after that.
pub(super) fn lost<'a>(modules: &Modules<'a>, unit: &'a Unit, at: AtOnce) -> Vec<Exchange<'a>> {
    let own = own_nodes(unit, at.function);
    let before = Before::of(unit, &own);
    if before.waits.is_empty() {
        return Vec::new();
    }
    let calls = calls(modules, unit, at);
    let copied = |set: &Shared<'_>, get: &Shared<'_>| {
        let args = unit.args(set.call).into_iter().filter(|arg| unit.kind(arg.value) != "identifier");
        let mut names =
            args.flat_map(|arg| with_below(unit, arg.value)).filter(|&id| unit.kind(id) == "identifier");
        names.any(|name| {
            let bound = before.bound.get(unit.text(name)).map(Vec::as_slice);
            bound.is_some_and(|all| matches!(all, [(_, value)] if unit.syntax.holds(*value, get.call)))
        })
    };
    let between = |get: &Shared<'_>, set: &Shared<'_>| {
        before
            .waits
            .iter()
            .any(|&wait| wait > get.call && wait < set.call && !unit.syntax.holds(wait, set.call))
    };
    pairs(&calls, |get, set| get.call < set.call && between(get, set) && copied(set, get))
}

/// Finds what a task sets to something of its own before it waits, and gets after that.
pub(super) fn mixed<'a>(modules: &Modules<'a>, unit: &'a Unit, at: AtOnce) -> Vec<Exchange<'a>> {
    let own = own_nodes(unit, at.function);
    let waits = Before::of(unit, &own).waits;
    if waits.is_empty() {
        return Vec::new();
    }
    let mut names = of_call(unit, at.function, &own);
    names.retain(|name| !at.common.has(unit, at.function, name));
    let calls = calls(modules, unit, at);
    let of_task = |set: &Shared<'_>| {
        let given = unit.syntax.child(set.call, "arguments");
        given.is_some_and(|given| unit.syntax.below(given).any(|id| names.contains(unit.text(id))))
            && !super::in_branch(unit, at.function, set.call)
    };
    let between = |set: &Shared<'_>, get: &Shared<'_>| {
        waits.iter().any(|&wait| wait > set.call && wait < get.call && !unit.syntax.holds(wait, get.call))
    };
    pairs(&calls, |get, set| between(set, get) && of_task(set))
}

/// Pairs calls that get with such that set the same of the same object.
fn pairs<'a>(calls: &[Shared<'a>], fits: impl Fn(&Shared<'a>, &Shared<'a>) -> bool) -> Vec<Exchange<'a>> {
    let mut found = Vec::new();
    for set in calls {
        let Some(kept) = sets(set.unit, set.function).filter(|kept| !is_shown(kept)) else { continue };
        let get = calls.iter().find(|get| {
            get.call != set.call
                && get.object == set.object
                && get.unit.file == set.unit.file
                && gives(get.unit, get.function, kept)
                && fits(get, set)
        });
        found.extend(get.map(|get| Exchange { set: set.call, get: get.call, kept }));
    }
    found
}

/// Returns the calls of a task that go to what all tasks have in common: a function of another file, or a method of an object.
fn calls<'a>(modules: &Modules<'a>, unit: &'a Unit, at: AtOnce) -> Vec<Shared<'a>> {
    let own = unit.calls_in(at.function).filter(|&call| unit.function_of(call) == at.function);
    let shared = own.filter_map(|call| {
        let callee = unit.callee(call)?;
        let object = unit.syntax.child(callee, "object");
        let own = object.is_some_and(|object| matches!(unit.text(object), "self" | "this"));
        let same = object.is_none_or(|object| at.common.is_same((unit, at.function), object));
        if own || !same {
            return None;
        }
        let here = || {
            let (object, function) = (object?, unit.called(call)?);
            let class = unit.syntax.around(function).find(|&id| unit.kind(id).starts_with("class_d"))?;
            let class = unit.text(unit.syntax.child(class, "name")?);
            let made = unit.path(object).and_then(|path| path.built).and_then(|made| unit.callee(made));
            let of_class = made.is_some_and(|made| unit.text(made) == class)
                || made.is_none() && common::is_named_like(unit, at.function, object, class);
            of_class.then_some((unit, function))
        };
        let (other, function) = modules.exported(unit, call).or_else(here)?;
        let object = object.map_or("", |object| unit.text(object));
        Some(Shared { call, object, unit: other, function })
    });
    shared.collect()
}

/// Returns the variable that a function, which does nothing else of the kind, sets to what it is given.
fn sets(unit: &Unit, function: Id) -> Option<&str> {
    if unit.is_async(function) {
        return None;
    }
    let own = own_nodes(unit, function);
    let given = common::parameters(unit, function);
    let mut writes =
        own.iter().filter(|&&id| matches!(unit.kind(id), "assignment" | "assignment_expression"));
    let write = *writes.next().filter(|_| writes.next().is_none())?;
    let (left, right) = (unit.syntax.child(write, "left")?, unit.syntax.child(write, "right")?);
    let own = ["self.", "this."].iter().any(|own| unit.text(left).starts_with(own));
    let plain = unit.kind(left) == "identifier" || own;
    let of_given = unit.kind(right) == "identifier" && given.contains(&unit.text(right));
    (plain && of_given && (shared(unit, function, left, Common::OBJECT) || is_of_file(unit, unit.text(left))))
        .then(|| unit.text(left))
}

/// Tells whether a function gives back a variable, and nothing but that.
fn gives(unit: &Unit, function: Id, kept: &str) -> bool {
    let own = own_nodes(unit, function);
    let mut back = own.iter().filter(|&&id| unit.kind(id) == "return_statement");
    let first = back.next().is_some_and(|&back| {
        unit.syntax.children(back).any(|id| unit.text(id).trim_end_matches('!') == kept)
    });
    first && back.next().is_none()
}
