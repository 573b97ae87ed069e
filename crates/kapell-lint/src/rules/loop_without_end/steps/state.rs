//! What a function of a graph reads and writes of the state that a run hands on from step to step.

use std::collections::BTreeSet;

use crate::code::{Id, Unit, graphs};

/// Words of what a program that failed leaves.
const FAILED: &[&str] = &["returncode", "exit_code", "exitCode", "stderr"];

/// What a function reads and writes of it, all of it written out.
#[derive(Default)]
pub(super) struct State<'a> {
    /// The keys that it reads.
    pub(super) reads: BTreeSet<&'a str>,
    writes: Vec<Write<'a>>,
}

/// A key that a function writes, and to what.
struct Write<'a> {
    key: &'a str,
    value: Id,
}

impl<'a> State<'a> {
    /// Reads it; `None` where something is done with the state that may be anything.
    pub(super) fn read(unit: &'a Unit, function: Id) -> Option<Self> {
        let mut state = Self::default();
        let given = first(unit, function)?;
        if unit.kind(given) == "object_pattern" {
            state.take_apart(unit, given)?;
        } else {
            let name = unit.text(given);
            let uses = unit.syntax.below(function).filter(|&id| id != given);
            for id in uses.filter(|&id| unit.kind(id) == "identifier" && unit.text(id) == name) {
                state.read_use(unit, id)?;
            }
        }
        for back in graphs::given(unit, function) {
            state.read_given(unit, given, back)?;
        }
        Some(state)
    }

    /// Returns what it writes under a key.
    pub(super) fn values(&self, key: &str) -> impl Iterator<Item = Id> {
        self.writes.iter().filter(move |write| write.key == key).map(|write| write.value)
    }

    /// Reads `{ sql, error }`, by which a function takes the state apart.
    fn take_apart(&mut self, unit: &'a Unit, pattern: Id) -> Option<()> {
        for part in unit.syntax.children(pattern) {
            match unit.kind(part) {
                "{" | "}" | "," | "comment" => {}
                "shorthand_property_identifier_pattern" => drop(self.reads.insert(unit.text(part))),
                "pair_pattern" => drop(self.reads.insert(unit.text(unit.syntax.child(part, "key")?))),
                _ => return None,
            }
        }
        Some(())
    }

    /// Reads what is done with the state where it is named.
    fn read_use(&mut self, unit: &'a Unit, named: Id) -> Option<()> {
        let around = unit.syntax[named].parent;
        let field = |name| unit.syntax.child(around, name);
        match unit.kind(around) {
            "subscript" | "subscript_expression" if field("value").or(field("object")) == Some(named) => {
                let key = unit.literal(field("subscript").or_else(|| field("index"))?)?;
                self.read_or_write(unit, around, key)
            }
            "attribute" | "member_expression" if field("object") == Some(named) => {
                let name = unit.text(field("attribute").or_else(|| field("property"))?);
                let call = unit.syntax[around].parent;
                let called = unit.syntax.child(call, "function") == Some(around);
                match name {
                    "get" if called => drop(self.reads.insert(unit.literal(unit.args(call).first()?.value)?)),
                    _ if called => return None,
                    _ => return self.read_or_write(unit, around, name),
                }
                Some(())
            }
            "variable_declarator" if field("value") == Some(named) => {
                self.take_apart(unit, field("name").filter(|&name| unit.kind(name) == "object_pattern")?)
            }
            // What is given back is looked at by itself.
            "return_statement" | "dictionary_splat" | "spread_element" => Some(()),
            _ => None,
        }
    }

    fn read_or_write(&mut self, unit: &Unit, part: Id, key: &'a str) -> Option<()> {
        let around = unit.syntax[part].parent;
        let child = |field| unit.syntax.child(around, field);
        let writes = matches!(unit.kind(around), "assignment" | "assignment_expression");
        match child("right").filter(|_| writes && child("left") == Some(part)) {
            Some(value) => self.writes.push(Write { key, value }),
            None => drop(self.reads.insert(key)),
        }
        Some(())
    }

    /// Reads what a function gives back: the state itself, nothing, an answer, or the keys that it sets.
    fn read_given(&mut self, unit: &'a Unit, state: Id, back: Id) -> Option<()> {
        match unit.kind(back) {
            "identifier" if unit.text(back) == unit.text(state) => Some(()),
            "none" | "null" | "undefined" | "string" => Some(()),
            "identifier" if matches!(unit.text(back), "END" | "START") => Some(()),
            "dictionary" | "object" => {
                for part in unit.syntax.children(back) {
                    match unit.kind(part) {
                        "{" | "}" | "," | "comment" => {}
                        "shorthand_property_identifier" => {
                            self.writes.push(Write { key: unit.text(part), value: part })
                        }
                        "pair" => {
                            let key = unit.syntax.child(part, "key")?;
                            let plain = || (unit.kind(key) == "property_identifier").then(|| unit.text(key));
                            let key = unit.literal(key).or_else(plain)?;
                            // What is added up, or how great something is, ends by itself.
                            let value = unit.syntax.child(part, "value")?;
                            let number = matches!(unit.kind(value), "integer" | "float" | "number");
                            (!number).then(|| self.writes.push(Write { key, value }))?;
                        }
                        "dictionary_splat" | "spread_element" => {
                            let spread = unit.syntax.children(part).last()?;
                            (unit.text(spread) == unit.text(state)).then_some(())?;
                        }
                        _ => return None,
                    }
                }
                Some(())
            }
            _ => None,
        }
    }
}

/// Tells whether a value is what is left of something that failed.
pub(super) fn is_of_failure(unit: &Unit, value: Id) -> bool {
    let text = unit.text(value);
    unit.syntax.around(value).any(|id| unit.is_handler(id)) || FAILED.iter().any(|word| text.contains(word))
}

/// Tells whether a text is a key: of what is taken out of something, or of something that is written out.
pub(super) fn is_key(unit: &Unit, id: Id) -> bool {
    let around = unit.syntax[id].parent;
    let of = |field| unit.syntax.child(around, field) == Some(id);
    match unit.kind(around) {
        "subscript" | "subscript_expression" => of("subscript") || of("index"),
        "pair" => of("key"),
        "argument_list" | "arguments" => unit.callee_name(unit.syntax[around].parent) == "get",
        _ => false,
    }
}

/// Returns the pattern or the name of what a function is given first.
fn first(unit: &Unit, function: Id) -> Option<Id> {
    if let Some(only) = unit.syntax.child(function, "parameter") {
        return Some(only);
    }
    let list = unit.syntax.child(function, "parameters")?;
    let mut all = unit.syntax.below(list).filter(|&id| {
        let own = unit.syntax[id].parent == list || unit.syntax[unit.syntax[id].parent].parent == list;
        own && matches!(unit.kind(id), "identifier" | "object_pattern")
    });
    all.find(|&id| !matches!(unit.text(id), "self" | "cls"))
}
