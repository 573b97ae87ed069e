//! A reviewer that answers no findings where it failed, and a program that ends well because of it.

use crate::code::{Id, Unit, guards::has_word, service::Methods};

/// How far it is looked around a call for who takes its answer.
const AROUND: usize = 14;

/// Calls by which a program ends, or is marked as failed.
const ENDS: &[&str] = &["exit", "setFailed", "SystemExit"];

/// Says which decision is made on the answer of a function, where that is an empty list.
pub(super) fn gate(
    units: &[Unit],
    methods: &Methods<'_>,
    (unit, function): (&Unit, Id),
    value: Id,
) -> Option<String> {
    if !is_empty(unit, value) {
        return None;
    }
    units.iter().find_map(|other| {
        let calls = other.calls().filter(|&call| {
            if other.file == unit.file {
                other.called(call) == Some(function)
            } else {
                methods.exported(other, call).is_some_and(|(one, id)| one.file == unit.file && id == function)
            }
        });
        let mut names: Vec<&str> = calls.filter_map(|call| taker(other, call)).collect();
        let derived: Vec<&str> = derived(other, &names);
        names.extend(derived);
        decides(other, &names)
    })
}

/// Tells whether a value is an empty list, or an object of nothing else.
fn is_empty(unit: &Unit, value: Id) -> bool {
    let text: String = unit.text(value).chars().filter(|c| !c.is_whitespace()).collect();
    let list = |text: &str| matches!(text, "[]" | "list()");
    let inner =
        text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).and_then(|text| text.split_once(':'));
    list(&text) || inner.is_some_and(|(_, text)| list(text.trim_end_matches(',')))
}

/// Returns the name that takes what a call answers: it is bound to it, or grown by it.
fn taker(unit: &Unit, call: Id) -> Option<&str> {
    unit.syntax.around(call).take(AROUND).find_map(|id| match unit.kind(id) {
        "assignment" => unit.syntax.child(id, "left").map(|left| unit.text(left)),
        "variable_declarator" => unit.syntax.child(id, "name").map(|name| unit.text(name)),
        "call" | "call_expression" if ["push", "extend", "append"].contains(&unit.callee_name(id)) => {
            unit.syntax.child(unit.callee(id)?, "object").map(|object| unit.text(object))
        }
        _ => None,
    })
}

/// Returns the names that are bound to something of these.
fn derived<'a>(unit: &'a Unit, names: &[&str]) -> Vec<&'a str> {
    let bound = unit.syntax.of_kind(&["assignment", "variable_declarator"]);
    bound
        .filter_map(|id| {
            let value = unit.syntax.child(id, "right").or_else(|| unit.syntax.child(id, "value"))?;
            let name = unit.syntax.child(id, "left").or_else(|| unit.syntax.child(id, "name"))?;
            names.iter().any(|own| has_word(unit.text(value), own)).then(|| unit.text(name))
        })
        .collect()
}

/// Says what a file decides by one of these names: whether the program fails.
fn decides(unit: &Unit, names: &[&str]) -> Option<String> {
    let about = |id: Id| names.iter().any(|name| has_word(unit.text(id), name));
    let mut ends = unit.calls().filter(|&call| ENDS.contains(&unit.callee_name(call)));
    ends.find_map(|call| {
        let given = unit.syntax.child(call, "arguments").filter(|_| unit.callee_name(call) != "setFailed");
        let chosen = given.is_some_and(about);
        let conditions = unit.syntax.around(call).filter(|&id| unit.kind(id) == "if_statement");
        let asked = || {
            let mut conditions = conditions.filter_map(|id| unit.syntax.child(id, "condition"));
            conditions.any(about)
        };
        let callee = unit.callee(call).map_or("", |callee| unit.text(callee));
        (chosen || asked()).then(|| format!("`{callee}`"))
    })
}
