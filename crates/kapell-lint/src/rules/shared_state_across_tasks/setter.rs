//! What a request leaves in another file by a function that sets it, where another function reads it while the request waits.

use super::{
    at_once::{ASKED, AtOnce},
    declared_outside, left, of_call, own_nodes, service, waits, with_below,
};
use crate::{
    code::{Id, Language, Unit, imports::Part, unit::FUNCTIONS},
    files::FileId,
    repository::Repository,
    rule::Report,
};

/// Tells of a call that sets a variable of another file to something of this request.
pub(super) fn tell(repository: &Repository, unit: &Unit, at: AtOnce, report: &mut Report<'_>) {
    if at.how != ASKED {
        return;
    }
    let own = own_nodes(unit, at.function);
    let Some(last) = own.iter().copied().rfind(|&id| waits(unit, id)) else { return };
    let names = of_call(unit, at.function, &own);
    for call in
        unit.calls_in(at.function).filter(|&call| call < last && unit.function_of(call) == at.function)
    {
        let args = unit.args(call);
        let of_task =
            args.iter().any(|arg| with_below(unit, arg.value).any(|id| names.contains(unit.text(id))));
        if !of_task || args.len() != 1 {
            continue;
        }
        let Some((file, name)) = target(unit, call) else { continue };
        let kept_in = &repository.files[file];
        // What only keeps something calls nobody, and was not read with the code that does.
        let Some(other) = Language::of(&kept_in.path)
            .filter(|_| !left::locked(&kept_in.text))
            .and_then(|language| Unit::read(file, language, &kept_in.text))
        else {
            continue;
        };
        let Some((kept, read)) = other.function(name).and_then(|setter| sets(&other, setter)) else {
            continue;
        };
        if left::is_shown(kept) {
            continue;
        }
        let message = format!(
            "`{}`{} keeps what one request brings in `{kept}` of `{}`, and another one has set it by the time it is read",
            unit.callee(call).map_or("", |callee| unit.text(callee)),
            service::place_name(unit, call),
            kept_in.path,
        );
        report
            .add(unit.file, unit.span(call), message)
            .hint("hand it on as an argument, or keep it in a context variable")
            .also(other.file, other.span(read), "read here")
            .also(at.started.0, at.started.1, at.how)
            .done();
    }
}

/// Returns the file of the repository and the name there of a function that is called for setting something.
pub(super) fn target(unit: &Unit, call: Id) -> Option<(FileId, &str)> {
    let name = unit.callee_name(call);
    if !name.to_ascii_lowercase().starts_with("set") {
        return None;
    }
    let callee = unit.callee(call)?;
    let root = unit.syntax.child(callee, "object").unwrap_or(callee);
    match unit.origin(unit.text(root))?.target.as_ref()? {
        (file, Part::Named(own)) if root == callee => Some((*file, &**own)),
        (file, Part::Whole) if root != callee => Some((*file, name)),
        _ => None,
    }
}

/// Returns the variable of its file that a function sets to its parameter and nothing else, and where another function reads
/// it.
pub(super) fn sets(unit: &Unit, setter: Id) -> Option<(&str, Id)> {
    let inner = own_nodes(unit, setter);
    let mut writes =
        inner.iter().copied().filter(|&id| matches!(unit.kind(id), "assignment" | "assignment_expression"));
    let write = writes.next().filter(|_| writes.next().is_none())?;
    let (left, right) = (unit.syntax.child(write, "left")?, unit.syntax.child(write, "right")?);
    let parameters = unit.syntax.child(setter, "parameters")?;
    let given = unit
        .syntax
        .below(parameters)
        .any(|id| unit.kind(id) == "identifier" && unit.text(id) == unit.text(right));
    let name = unit.text(left);
    let global = match unit.language {
        Language::Python => {
            inner.iter().any(|&id| unit.kind(id) == "global_statement" && unit.text(id).contains(name))
        }
        _ => {
            declared_outside(unit, setter, name)
                || unit.values(Id::ROOT, name).is_empty() && is_declared(unit, name)
        }
    };
    if unit.kind(left) != "identifier" || !given || !global {
        return None;
    }
    let read = unit.syntax.of_kind(&["identifier"]).find(|&id| {
        let function = unit.function_of(id);
        unit.text(id) == name && function != setter && FUNCTIONS.contains(&unit.kind(function))
    })?;
    Some((name, read))
}

/// Tells whether a script declares a name at its top without a value: `let user: string | undefined;`.
fn is_declared(unit: &Unit, name: &str) -> bool {
    unit.syntax.of_kind(&["variable_declarator"]).any(|id| {
        let own = unit.syntax.child(id, "name").is_some_and(|own| unit.text(own) == name);
        own && unit.function_of(id) == Id::ROOT
    })
}
