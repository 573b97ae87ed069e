//! Agents that code asks its own registry for by a name that nothing registers, and uses without a look.

use crate::{
    code::{
        Id, Unit,
        registry::{Named, Registry},
    },
    repository::Repository,
    rule::Report,
};

/// Tells of such names, each once.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let Some(registry) = Registry::of(&repository.code) else { return };
    let mut told: Vec<&str> = Vec::new();
    for Named { unit, call, at, name } in registry.unregistered() {
        if told.contains(&name) || !is_used_unseen(unit, call) {
            continue;
        }
        told.push(name);
        let what = format!("nobody registers an agent `{name}`: there is none to be used here");
        let known = registry.registered.iter().map(|named| named.name);
        super::graph::tell(report, (unit.file, unit.span(at)), what, name, known);
    }
}

/// Tells whether what a call gives is used as if it were there: at once, or by a name that nothing asks about.
fn is_used_unseen(unit: &Unit, call: Id) -> bool {
    let mut around = unit.syntax.around(call);
    if around.any(|id| matches!(unit.kind(id), "try_statement" | "with_statement")) {
        return false;
    }
    let mut value = call;
    while matches!(
        unit.kind(unit.syntax[value].parent),
        "await" | "await_expression" | "parenthesized_expression"
    ) {
        value = unit.syntax[value].parent;
    }
    let parent = unit.syntax[value].parent;
    let object = |id: Id, of: Id| {
        matches!(unit.kind(of), "attribute" | "member_expression")
            && unit.syntax.child(of, "object") == Some(id)
            && !unit.text(of)[unit.text(id).len()..].starts_with('?')
    };
    if object(value, parent) {
        return true;
    }
    let name = unit.syntax.child(parent, "left").or_else(|| unit.syntax.child(parent, "name"));
    let Some(name) = name.filter(|&id| id != value && unit.kind(id) == "identifier") else { return false };
    let plain = matches!(unit.kind(parent), "assignment" | "variable_declarator");
    let mut uses = unit
        .syntax
        .below(unit.function_of(call))
        .filter(|&id| id != name && unit.kind(id) == "identifier" && unit.text(id) == unit.text(name))
        .peekable();
    plain && uses.peek().is_some() && uses.all(|id| object(id, unit.syntax[id].parent))
}
