//! What is kept of the results of many calls: under which name, and where it is used.

use crate::code::{Id, Unit};

/// Returns the plain name that something is bound to.
pub(super) fn bound_name(unit: &Unit, bound: Id) -> Option<Id> {
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

/// Returns the list that takes of some results in Python those which are of a kind: `[r for r in results if isinstance(r, float)]`.
pub(super) fn picked(unit: &Unit, results: Id) -> Option<Id> {
    let clause = unit.syntax[results].parent;
    let made = unit.syntax[clause].parent;
    let picks = |id: Id| unit.kind(id) == "if_clause" && unit.text(id).contains("isinstance(");
    let list = unit.kind(clause) == "for_in_clause" && unit.kind(made) == "list_comprehension";
    (list && unit.syntax.children(made).any(picks)).then_some(made)
}
