//! What a request leaves in another file by a function that sets it, where another function reads it while the request waits.

use super::{
    at_once::{ASKED, AtOnce},
    common, declared_outside, left, of_call, own_nodes, service, waits, with_below,
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
        if !of_task {
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
    let sets = unit.callee_name(call).to_ascii_lowercase().starts_with("set");
    defined(unit, call).filter(|_| sets)
}

/// Returns the file of the repository and the name there of a function that another file gives.
pub(super) fn defined(unit: &Unit, call: Id) -> Option<(FileId, &str)> {
    let name = unit.callee_name(call);
    let callee = unit.callee(call)?;
    let root = unit.syntax.child(callee, "object").unwrap_or(callee);
    match unit.origin(unit.text(root))?.target.as_ref()? {
        (file, Part::Named(own)) if root == callee => Some((*file, &**own)),
        (file, Part::Whole) if root != callee => Some((*file, name)),
        _ => None,
    }
}

/// Returns the variable of its file that a function sets to what it is given and to nothing else, or whose entries it sets so,
/// and where another function reads it.
pub(super) fn sets(unit: &Unit, setter: Id) -> Option<(&str, Id)> {
    let inner = own_nodes(unit, setter);
    let mut writes = Vec::new();
    for &id in &inner {
        match unit.kind(id) {
            "assignment" | "assignment_expression" => writes.push(assigned(unit, id)?),
            "call" | "call_expression" => writes.extend(filled(unit, id)),
            _ => {}
        }
    }
    let Write { name, entry, .. } = *writes.first()?;
    let parameters = common::parameters(unit, setter);
    let given = writes.iter().flat_map(|write| &write.values).any(|&value| {
        let plain = matches!(unit.kind(value), "identifier" | "dictionary" | "object" | "tuple");
        let mut parts = with_below(unit, value);
        plain && parts.any(|id| is_name(unit, id) && parameters.contains(&unit.text(id)))
    });
    let alike = writes.iter().all(|write| write.name == name && write.entry == entry);
    let outside = if entry { is_table(unit, setter, name) } else { is_global(unit, (setter, &inner), name) };
    if !given || !alike || !outside {
        return None;
    }
    let read = unit.syntax.of_kind(&["identifier"]).find(|&id| {
        let function = unit.function_of(id);
        let other = function != setter && FUNCTIONS.contains(&unit.kind(function));
        other && unit.text(id) == name && !is_written(unit, id)
    })?;
    Some((name, read))
}

/// What a setter writes.
struct Write<'a> {
    /// The variable.
    name: &'a str,
    /// Whether entries of it are set, rather than the variable itself.
    entry: bool,
    /// To what; nothing where it is emptied.
    values: Vec<Id>,
}

/// Reads `name = given`, `name["id"] = given` and `name.id = given`.
fn assigned(unit: &Unit, id: Id) -> Option<Write<'_>> {
    let (left, right) = (unit.syntax.child(id, "left")?, unit.syntax.child(id, "right")?);
    let child = |field| unit.syntax.child(left, field);
    let (root, entry) = match unit.kind(left) {
        "identifier" => (left, false),
        // What is kept for each of many has another key each time.
        "subscript" | "subscript_expression" => {
            let key = child("subscript").or_else(|| child("index"))?;
            (child("value").or_else(|| child("object")).filter(|_| unit.kind(key) == "string")?, true)
        }
        "attribute" | "member_expression" => (child("object")?, true),
        _ => return None,
    };
    (unit.kind(root) == "identifier").then(|| Write { name: unit.text(root), entry, values: vec![right] })
}

/// Reads `name.update(id=given)`, `Object.assign(name, { id: given })` and `name.clear()`.
fn filled(unit: &Unit, call: Id) -> Option<Write<'_>> {
    let callee = unit.callee(call)?;
    let object = unit.syntax.child(callee, "object").filter(|&object| unit.kind(object) == "identifier")?;
    let mut values: Vec<Id> = unit.args(call).iter().map(|arg| arg.value).collect();
    let root = match unit.callee_name(call) {
        "clear" if values.is_empty() => object,
        "update" => object,
        "assign" if unit.text(object) == "Object" && !values.is_empty() => values.remove(0),
        _ => return None,
    };
    let computed = |id: Id| {
        let keys = unit.syntax.children(id).filter_map(|pair| unit.syntax.child(pair, "key"));
        keys.into_iter().any(|key| !matches!(unit.kind(key), "string" | "property_identifier"))
    };
    let plain = !values.iter().any(|&value| computed(value));
    (plain && unit.kind(root) == "identifier").then(|| Write { name: unit.text(root), entry: true, values })
}

fn is_name(unit: &Unit, id: Id) -> bool {
    matches!(unit.kind(id), "identifier" | "shorthand_property_identifier")
}

/// Tells whether a function sets a variable of its file by that name.
fn is_global(unit: &Unit, (setter, inner): (Id, &[Id]), name: &str) -> bool {
    match unit.language {
        Language::Python => {
            inner.iter().any(|&id| unit.kind(id) == "global_statement" && unit.text(id).contains(name))
        }
        _ => {
            declared_outside(unit, setter, name)
                || unit.values(Id::ROOT, name).is_empty() && is_declared(unit, name)
        }
    }
}

/// Tells whether a file keeps a table, or an object without a class of its own, under a name.
fn is_table(unit: &Unit, setter: Id, name: &str) -> bool {
    let [value] = unit.values(Id::ROOT, name) else { return false };
    let made = || matches!(unit.callee_name(*value), "dict" | "SimpleNamespace");
    declared_outside(unit, setter, name)
        && (matches!(unit.kind(*value), "dictionary" | "object") || unit.kind(*value) == "call" && made())
}

/// Tells whether a name only says what is written to, or emptied.
fn is_written(unit: &Unit, id: Id) -> bool {
    let part = unit.syntax[id].parent;
    let whole = unit.syntax[part].parent;
    let left = |of: Id, id: Id| {
        matches!(unit.kind(of), "assignment" | "assignment_expression")
            && unit.syntax.child(of, "left") == Some(id)
    };
    let called = unit.syntax.child(whole, "function") == Some(part);
    left(part, id)
        || left(whole, part)
        || unit.kind(part) == "global_statement"
        || called && matches!(unit.callee_name(whole), "clear" | "update")
}

/// Tells whether a script declares a name at its top without a value: `let user: string | undefined;`.
fn is_declared(unit: &Unit, name: &str) -> bool {
    unit.syntax.of_kind(&["variable_declarator"]).any(|id| {
        let own = unit.syntax.child(id, "name").is_some_and(|own| unit.text(own) == name);
        own && unit.function_of(id) == Id::ROOT
    })
}
