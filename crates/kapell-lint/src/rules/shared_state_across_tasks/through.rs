//! What a task does to a variable around it by a plain function of its file: it counts where that one is called.

use super::{Set, common::Common, hides, is_same, left::is_shown, of_call, own_nodes, shared, with_below};
use crate::code::{Id, Unit};

/// Names of functions which show how far the work is: what they read wrong is put right a moment later.
const SHOWS: &[&str] =
    &["render", "draw", "print", "progress", "spinner", "log", "debug", "trace", "display"];

/// Returns the function of the file that a call runs on what this one has in common with it: a plain one, or a method of the
/// same object.
fn helper(unit: &Unit, function: Id, call: Id) -> Option<Id> {
    let callee = unit.callee(call)?;
    let plain = unit.kind(callee) == "identifier";
    let own = ["self.", "this."].iter().any(|object| unit.text(callee).starts_with(object));
    unit.called(call)
        .filter(|&other| other != function && (plain || own) && unit.is_method(other) != plain)
        .filter(|&other| !unit.syntax.holds(other, call))
}

fn calls(unit: &Unit, function: Id) -> impl Iterator<Item = Id> + '_ {
    let own = unit.calls_in(function).filter(move |&call| unit.function_of(call) == function);
    own.filter(|&call| unit.kind(call) != "new_expression")
}

/// A call by which a variable is set to what the call is given.
pub(super) struct Write {
    pub(super) call: Id,
    /// The variable, where the function sets it.
    pub(super) left: Id,
    /// What the call is given.
    pub(super) given: Id,
}

/// Finds such calls of a task.
pub(super) fn writes(unit: &Unit, function: Id, common: Common) -> Vec<Write> {
    let mut found = Vec::new();
    for call in calls(unit, function) {
        let Some((other, given)) = helper(unit, function, call).zip(unit.syntax.child(call, "arguments"))
        else {
            continue;
        };
        if unit.is_async(other) {
            continue;
        }
        let own = own_nodes(unit, other);
        let common = common.of_call((unit, function, call), (unit, other), common.object);
        let sets = |id: &&Id| matches!(unit.kind(**id), "assignment" | "assignment_expression");
        let mut parameters = None;
        for &write in own.iter().filter(sets) {
            let (left, right) = (unit.syntax.child(write, "left"), unit.syntax.child(write, "right"));
            let Some((left, right)) = left.zip(right) else { continue };
            let parameters = parameters.get_or_insert_with(|| of_call(unit, other, &own));
            let of_given = with_below(unit, right).any(|id| parameters.contains(unit.text(id)));
            if of_given && shared(unit, other, left, common) {
                found.push(Write { call, left, given });
            }
        }
    }
    found
}

/// Finds where a function of the file reads a variable that it does not set first, and which a task calls after it has waited,
/// or waits for.
pub(super) fn read_after(unit: &Unit, function: Id, set: &Set) -> Option<Id> {
    if is_shown(unit.text(set.left)) {
        return None;
    }
    let text = unit.text(set.left);
    let root = text.split(['.', '[']).next().unwrap_or(text);
    let own = matches!(root, "self" | "this" | "cls");
    // `note(await ask(page))` runs after the wait as well.
    let after = calls(unit, function).filter(|&call| {
        call > set.wait && !unit.syntax.holds(set.wait, call) || unit.syntax.holds(call, set.wait)
    });
    let shows = |call: Id| {
        let name = unit.callee_name(call).to_ascii_lowercase();
        SHOWS.iter().any(|word| name.starts_with(word) || name.ends_with(word))
    };
    after.filter(|&call| !shows(call)).filter_map(|call| helper(unit, function, call)).find_map(|other| {
        let first = unit.syntax.below(other).find(|&id| is_same(unit, id, set.left))?;
        let parent = unit.syntax[first].parent;
        let sets = matches!(unit.kind(parent), "assignment" | "assignment_expression")
            && unit.syntax.child(parent, "left") == Some(first);
        (!sets && (own || !hides(unit, other, root))).then_some(first)
    })
}

/// Tells whether a node is a call of a function of the file that gives back a variable: `remaining()`.
pub(super) fn gives(unit: &Unit, id: Id, variable: Id) -> bool {
    if !unit.is_call(id) {
        return false;
    }
    helper(unit, unit.function_of(id), id).is_some_and(|other| {
        let back = unit.syntax.below(other).filter(|&id| unit.kind(id) == "return_statement");
        back.into_iter()
            .any(|back| unit.syntax.below(back).take(super::SHORT).any(|part| is_same(unit, part, variable)))
    })
}
