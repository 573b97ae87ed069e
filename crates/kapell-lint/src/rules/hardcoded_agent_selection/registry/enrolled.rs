//! Tables of agents that are empty at first, and that one function fills with what it is handed, by a field of that:
//! `agents.set(agent.name, agent)`.

use super::{Table, is_name, is_table};
use crate::{
    code::{self, Id, Language, Unit, modules::Modules, unit::unquoted},
    repository::Repository,
};

/// Finds the one such table of a repository, where all that is put into it stands in the code.
pub(super) fn only<'a>(repository: &'a Repository, modules: &Modules<'a>) -> Option<Table<'a>> {
    let likely = repository.code.iter().filter(|unit| unit.whole().contains("gent"));
    let mut found = likely.flat_map(empty);
    let (unit, at) = found.next().filter(|_| found.next().is_none())?;
    let (register, field) = filled_by(unit, unit.text(at))?;
    let name = unit.text(unit.name_of(register)?);
    if !is_seen(repository, unit, unit.text(at), name) {
        return None;
    }
    let mut keys = Vec::new();
    for other in repository.code.iter().filter(|other| other.whole().contains(name)) {
        for call in other.calls().filter(|&call| other.callee_name(call) == name) {
            let own = other.file == unit.file && other.called(call) == Some(register);
            let exported = || modules.exported(other, call).map(|(file, id)| (file.file, id));
            if !own && exported() != Some((unit.file, register)) {
                continue;
            }
            let given = other.args(call).first()?.value;
            let top = other.function_of(call) == Id::ROOT
                && other.kind(other.syntax[call].parent) == "expression_statement";
            let handed = key(modules, other, given, field).filter(|name| top && is_name(name))?;
            keys.push(handed);
        }
    }
    keys.sort_unstable();
    keys.dedup();
    (keys.len() > 1).then(|| Table { unit, at, name: unit.text(at), keys })
}

/// Finds the names of tables of agents that a file makes empty.
fn empty(unit: &Unit) -> impl Iterator<Item = (&Unit, Id)> {
    let made = unit.syntax.of_kind(&["assignment", "variable_declarator"]);
    made.filter(|&made| unit.function_of(made) == Id::ROOT).filter_map(move |made| {
        let child = |field| unit.syntax.child(made, field);
        let (at, value) =
            child("left").or_else(|| child("name")).zip(child("right").or_else(|| child("value")))?;
        let text = unit.text(value);
        let map = unit.kind(value) == "new_expression" && unit.callee_name(value) == "Map";
        let empty = matches!(text, "{}" | "dict()") || map && unit.args(value).is_empty();
        (empty && is_table(unit.text(at))).then_some((unit, at))
    })
}

/// Finds the function that alone puts something into a table, and the field of its parameter by which it does.
fn filled_by<'a>(unit: &'a Unit, table: &str) -> Option<(Id, &'a str)> {
    let set = format!("{table}.set");
    let by_call =
        unit.calls().filter(|&call| unit.callee(call).is_some_and(|callee| unit.text(callee) == set));
    let by_call = by_call.map(|call| unit.args(call).first().map(|arg| arg.value));
    let written = unit.syntax.of_kind(&["assignment", "assignment_expression"]).filter_map(|write| {
        let left = unit.syntax.child(write, "left")?;
        let of = unit.syntax.child(left, "value").or_else(|| unit.syntax.child(left, "object"))?;
        let indexed =
            matches!(unit.kind(left), "subscript" | "subscript_expression") && unit.text(of) == table;
        indexed.then(|| unit.syntax.child(left, "subscript").or_else(|| unit.syntax.child(left, "index")))
    });
    let mut keys = by_call.chain(written);
    let key = keys.next().filter(|_| keys.next().is_none())??;
    let function = unit.function_of(key);
    let given = unit.syntax.child(function, "parameters")?;
    let parameter = unit.syntax.below(given).find(|&id| unit.kind(id) == "identifier")?;
    let object =
        unit.syntax.child(key, "object").filter(|&object| unit.text(object) == unit.text(parameter))?;
    let field = unit.syntax.child(key, "attribute").or_else(|| unit.syntax.child(key, "property"))?;
    (unit.kind(object) == "identifier").then(|| (function, unit.text(field)))
}

/// Tells whether nothing but that function can fill the table, and no file that is not read as code names it.
fn is_seen(repository: &Repository, unit: &Unit, table: &str, register: &str) -> bool {
    let read = |file| repository.code.iter().any(|unit| unit.file == file);
    let set = format!("{table}.set(");
    let call = format!("{register}(");
    repository.files.iter().all(|(id, file)| {
        id == unit.file
            || Language::of(&file.path).is_none()
            || !file.text.contains(&*set)
                && (!file.text.contains(&*call) || !code::wanted(&file.path) || read(id))
    })
}

/// Returns the text that a field of what is handed over has: of an object that is written out, or made by a call, here or in
/// another file.
fn key<'a>(modules: &Modules<'a>, unit: &'a Unit, given: Id, field: &str) -> Option<&'a str> {
    let (unit, made) = match unit.kind(given) {
        "identifier" => match unit.values(given, unit.text(given)) {
            [value] => (unit, *value),
            [] => modules.value(unit, unit.text(given))?,
            _ => return None,
        },
        _ => (unit, given),
    };
    let made = if matches!(unit.kind(made), "as_expression" | "satisfies_expression") {
        unit.syntax.children(made).next()?
    } else {
        made
    };
    let value = match unit.kind(made) {
        "object" | "dictionary" => unit.object_key(made, field)??,
        "call" => unit.keyword(made, field)?,
        "new_expression" | "call_expression" => unit.object_key(unit.args(made).first()?.value, field)??,
        _ => return None,
    };
    (unit.kind(value) == "string").then(|| unquoted(unit.text(value)))
}
