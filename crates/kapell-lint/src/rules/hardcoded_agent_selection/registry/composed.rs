//! Tables of agents whose keys are what the agents are called: `{agent.name: agent for agent in (BILLING, REFUNDS)}`.

use super::is_name;
use crate::code::{Id, Unit, unit::unquoted};

/// Returns the keys of a table of Python that is put together of agents with a constant each; `None` where that is not how
/// it is made, or where one of them is not clear.
pub(super) fn keys<'a>(unit: &'a Unit, table: &str, value: Id) -> Option<Vec<&'a str>> {
    let keys = match unit.kind(value) {
        "dictionary_comprehension" => of_each(unit, value)?,
        "dictionary" if parts(unit, value).next().is_none() => filled(unit, table)?.1,
        "dictionary" => of_pairs(unit, value)?,
        "call" if unit.callee(value).is_some_and(|callee| unit.text(callee) == "dict") => {
            called(unit, table, value)?
        }
        _ => return None,
    };
    (keys.len() > 1 && keys.iter().all(is_name)).then_some(keys)
}

/// Returns the loop of the file that puts the agents into an empty table, and the keys that it gives them.
pub(super) fn filled<'a>(unit: &'a Unit, table: &str) -> Option<(Id, Vec<&'a str>)> {
    let outer = |&id: &Id| unit.function_of(id) == Id::ROOT && unit.syntax[id].parent == Id::ROOT;
    unit.syntax.of_kind(&["for_statement"]).filter(outer).find_map(|each| {
        let child = |field| unit.syntax.child(each, field);
        let mut statements = parts(unit, child("body")?);
        let write = unit.syntax.children(statements.next()?).next()?;
        let left = unit.syntax.child(write, "left")?;
        let of = unit.syntax.child(left, "value").filter(|&of| unit.text(of) == table);
        let alone = statements.next().is_none() && child("alternative").is_none();
        let key = unit.syntax.child(left, "subscript").filter(|_| of.is_some() && alone)?;
        Some((each, named_by(unit, key, child("left")?, child("right")?)?))
    })
}

/// Reads `dict(billing=BILLING)`, `dict((agent.name, agent) for agent in ALL)` and `dict()`.
fn called<'a>(unit: &'a Unit, table: &str, call: Id) -> Option<Vec<&'a str>> {
    let given = unit.syntax.child(call, "arguments")?;
    if unit.kind(given) == "generator_expression" {
        return of_each(unit, given);
    }
    let mut named = parts(unit, given).peekable();
    if named.peek().is_none() {
        return Some(filled(unit, table)?.1);
    }
    named
        .map(|arg| {
            let name = unit.syntax.child(arg, "name").filter(|_| unit.kind(arg) == "keyword_argument");
            name.map(|name| unit.text(name))
        })
        .collect()
}

/// Reads `{agent.name: agent for agent in ALL}`.
fn of_each(unit: &Unit, whole: Id) -> Option<Vec<&str>> {
    let body = unit.syntax.child(whole, "body")?;
    let key = match unit.kind(body) {
        "tuple" => parts(unit, body).next()?,
        _ => unit.syntax.child(body, "key")?,
    };
    let mut clauses = parts(unit, whole).filter(|&id| id != body);
    let each = clauses.next().filter(|&each| unit.kind(each) == "for_in_clause")?;
    // A condition leaves some out.
    if clauses.next().is_some() {
        return None;
    }
    named_by(unit, key, unit.syntax.child(each, "left")?, unit.syntax.child(each, "right")?)
}

/// Reads `{BILLING.name: BILLING, "refunds": REFUNDS}`, one key at least by its constant.
fn of_pairs(unit: &Unit, dictionary: Id) -> Option<Vec<&str>> {
    let mut by_name = false;
    let keys = parts(unit, dictionary).map(|pair| {
        let key = unit.syntax.child(pair, "key")?;
        match unit.kind(key) {
            "string" => Some(unquoted(unit.text(key))),
            "attribute" => {
                by_name = true;
                let (object, field) = attribute(unit, key)?;
                field_of(unit, object, field)
            }
            _ => None,
        }
    });
    let keys: Vec<&str> = keys.collect::<Option<_>>()?;
    by_name.then_some(keys)
}

/// Returns what a key, which is a field of the variable of a loop, is for each that the loop goes over.
fn named_by(unit: &Unit, key: Id, variable: Id, all: Id) -> Option<Vec<&str>> {
    let (object, field) = attribute(unit, key)?;
    let own = unit.kind(variable) == "identifier" && unit.text(object) == unit.text(variable);
    let listed = if unit.kind(all) == "identifier" { constant(unit, all)? } else { all };
    if !own || !matches!(unit.kind(listed), "tuple" | "list") {
        return None;
    }
    // A list that grows has others as well.
    let name = unit.text(all);
    let grows = [".append(", ".extend(", ".insert(", " += "];
    if listed != all && grows.iter().any(|form| unit.whole().contains(&format!("{name}{form}"))) {
        return None;
    }
    parts(unit, listed).map(|one| field_of(unit, one, field)).collect()
}

/// Returns the text that a field of an agent was given when it was made: `REFUNDS = AgentSpec("refund-agent", ...)`.
fn field_of<'a>(unit: &'a Unit, agent: Id, field: &str) -> Option<&'a str> {
    let made = if unit.kind(agent) == "identifier" { constant(unit, agent)? } else { agent };
    if unit.kind(made) != "call" || unit.has_splat(made) {
        return None;
    }
    let by_place = || {
        let class = unit.class(unit.callee_name(made))?;
        let own =
            unit.syntax.child(class, "superclasses").is_none() && unit.method(class, "__init__").is_none();
        let at = fields(unit, class).position(|name| own && name == field)?;
        let given = parts(unit, unit.syntax.child(made, "arguments")?).nth(at)?;
        (unit.kind(given) != "keyword_argument").then_some(given)
    };
    let value = unit.keyword(made, field).or_else(by_place)?;
    (unit.kind(value) == "string").then(|| unquoted(unit.text(value)))
}

/// Returns the fields that a class declares, in the order in which a data class takes them.
fn fields(unit: &Unit, class: Id) -> impl Iterator<Item = &str> {
    let body = unit.syntax.child(class, "body").into_iter();
    let statements = body.flat_map(|body| unit.syntax.children(body));
    let declared = statements.flat_map(|statement| unit.syntax.children(statement));
    let typed =
        declared.filter(|&id| unit.kind(id) == "assignment" && unit.syntax.child(id, "type").is_some());
    typed.filter_map(|id| unit.syntax.child(id, "left")).map(|left| unit.text(left))
}

/// Returns the only value of a name of the file.
fn constant(unit: &Unit, name: Id) -> Option<Id> {
    match unit.values(Id::ROOT, unit.text(name)) {
        [value] => Some(*value),
        _ => None,
    }
}

/// Returns the object and the name of an attribute.
fn attribute(unit: &Unit, id: Id) -> Option<(Id, &str)> {
    let object = unit.syntax.child(id, "object").filter(|_| unit.kind(id) == "attribute")?;
    Some((object, unit.text(unit.syntax.child(id, "attribute")?)))
}

/// Returns what stands between brackets and commas.
fn parts(unit: &Unit, id: Id) -> impl Iterator<Item = Id> + '_ {
    let marks = ["(", ")", "[", "]", "{", "}", ",", "comment"];
    unit.syntax.children(id).filter(move |&part| !marks.contains(&unit.kind(part)))
}
