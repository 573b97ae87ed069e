//! Objects that a list holds: `check.run(diff)` for each `check` of `CHECKS = [Check(...), Check(...)]`.

use super::Modules;
use crate::code::{
    syntax::Id,
    unit::{FUNCTIONS, Unit},
};

/// Methods of a list of JavaScript that run a function for each of its items.
const EACH: &[&str] = &["map", "flatMap", "forEach"];

/// A method of the objects of a list.
#[derive(Debug)]
pub struct OfEach<'a> {
    /// The file of the class.
    pub unit: &'a Unit,
    /// The class.
    pub class: Id,
    /// Its method.
    pub function: Id,
    /// The file in which the objects are made.
    pub makes: &'a Unit,
    /// The calls that make them.
    pub makers: Vec<Id>,
}

impl<'a> Modules<'a> {
    /// Finds the method that a call names of each object of a list, if one class made all of them.
    #[must_use]
    pub fn of_each(&self, unit: &'a Unit, call: Id) -> Option<OfEach<'a>> {
        let object = unit.syntax.child(unit.callee(call)?, "object")?;
        let items = match unit.kind(object) {
            "identifier" => items_of(unit, object)?,
            _ => return None,
        };
        let (makes, list) = match unit.value(items) {
            Some(value) if value != items => (unit, value),
            _ => self.value(unit, unit.text(items))?,
        };
        let makers = makers(makes, list)?;
        let name = makes.callee(*makers.first()?).filter(|&callee| makes.kind(callee) == "identifier")?;
        let name = makes.text(name);
        let alike = |&call: &Id| makes.callee(call).is_some_and(|callee| makes.text(callee) == name);
        if !makers.iter().all(alike) {
            return None;
        }
        let method = unit.callee_name(call);
        let own = || makes.class(name).and_then(|class| Some((makes, makes.method(class, method)?)));
        let (unit, function) = own().or_else(|| self.method_of(makes, name, method))?;
        let class = unit.syntax.around(function).find(|&id| unit.is_class(id))?;
        Some(OfEach { unit, class, function, makes, makers })
    }
}

/// Returns what the name of an object goes through one by one: in a loop, a comprehension, or the function of `map`.
fn items_of(unit: &Unit, object: Id) -> Option<Id> {
    let name = unit.text(object);
    let child = |id, field| unit.syntax.child(id, field);
    let named = |id: Id| unit.text(id) == name;
    unit.syntax.around(object).find_map(|id| match unit.kind(id) {
        "for_statement" | "for_in_statement" => {
            child(id, "right").filter(|_| child(id, "left").is_some_and(named))
        }
        kind if kind.ends_with("_comprehension") || kind == "generator_expression" => {
            let mut clauses = unit.syntax.children(id).filter(|&part| unit.kind(part) == "for_in_clause");
            let clause = clauses.find(|&clause| child(clause, "left").is_some_and(named))?;
            child(clause, "right")
        }
        kind if FUNCTIONS.contains(&kind) => {
            let list = child(id, "parameters");
            let only = child(id, "parameter").or_else(|| unit.syntax.children(list?).nth(1))?;
            let call = unit.syntax.around(id).nth(1).filter(|_| named(only))?;
            let each = unit.kind(call) == "call_expression" && EACH.contains(&unit.callee_name(call));
            child(unit.callee(call)?, "object").filter(|_| each)
        }
        _ => None,
    })
}

/// Returns the calls that make all objects of a list, written out or made for each of others.
fn makers(unit: &Unit, list: Id) -> Option<Vec<Id>> {
    let is_call = |id: &Id| matches!(unit.kind(*id), "call" | "new_expression");
    match unit.kind(list) {
        "list_comprehension" => Some(vec![unit.syntax.child(list, "body").filter(is_call)?]),
        "list" | "tuple" | "array" => {
            let parts = unit.syntax.children(list);
            let parts: Vec<Id> = parts
                .filter(|&id| !matches!(unit.kind(id), "[" | "]" | "(" | ")" | "," | "comment"))
                .collect();
            parts.iter().all(is_call).then_some(parts)
        }
        _ => None,
    }
}
