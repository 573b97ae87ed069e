//! What all runs of a function have in common: the object they are a method of, and what each of them is given.

use super::{declared_outside, with_below};
use crate::code::{Id, Unit, unit::FUNCTIONS};

/// What is one and the same for all runs of a function that run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Common {
    /// Whether all runs are methods of one object.
    pub(super) object: bool,
    /// A bit for each parameter, in their order, that every run is given the same for.
    given: u32,
}

impl Common {
    /// Runs of which nothing is known.
    pub(super) const NOTHING: Self = Self { object: false, given: 0 };
    /// Runs of one object, or of a plain function.
    pub(super) const OBJECT: Self = Self { object: true, given: 0 };

    /// Returns what the runs of `function`, which a call within `within` starts, have in common.
    pub(super) fn of_call(
        self,
        (unit, within, call): (&Unit, Id, Id),
        (other, function): (&Unit, Id),
        object: bool,
    ) -> Self {
        let names = parameters(other, function);
        let mut given = 0;
        for (at, arg) in unit.args(call).into_iter().enumerate() {
            let keyword = unit.syntax[arg.value].parent;
            let name =
                unit.syntax.child(keyword, "name").filter(|_| unit.kind(keyword) == "keyword_argument");
            let place = match name {
                Some(name) => names.iter().position(|own| *own == unit.text(name)),
                None => Some(at),
            };
            let Some(bit) = place.and_then(|place| 1_u32.checked_shl(u32::try_from(place).ok()?)) else {
                continue;
            };
            if self.is_same((unit, within), arg.value) {
                given |= bit;
            }
        }
        Self { object, given }
    }

    /// Returns what runs have in common that are started by some calls, each written out.
    pub(super) fn of_calls(unit: &Unit, calls: &[Id]) -> Self {
        let named = |call: Id| -> Vec<(Id, &str)> {
            unit.args(call).into_iter().map(|arg| (arg.value, unit.text(arg.value))).collect()
        };
        let Some((&first, rest)) = calls.split_first() else { return Self::OBJECT };
        let mut given = 0;
        for (at, (id, text)) in named(first).into_iter().enumerate().take(u32::BITS as usize) {
            let plain = matches!(unit.kind(id), "identifier" | "attribute" | "member_expression");
            if plain && rest.iter().all(|&call| named(call).get(at).is_some_and(|(_, other)| *other == text))
            {
                given |= 1 << at;
            }
        }
        Self { object: true, given }
    }

    /// Tells whether a function's parameter is the same for every run.
    pub(super) fn has(self, unit: &Unit, function: Id, name: &str) -> bool {
        self.given != 0
            && parameters(unit, function).iter().position(|own| *own == name).is_some_and(|at| {
                u32::try_from(at)
                    .ok()
                    .and_then(|at| self.given.checked_shr(at))
                    .is_some_and(|bits| bits & 1 == 1)
            })
    }

    /// Tells whether an expression within `within`, a function or what is started for each of many, is a name of the same
    /// thing for every run.
    pub(super) fn is_same(self, (unit, within): (&Unit, Id), id: Id) -> bool {
        let text = unit.text(id);
        let root = match unit.kind(id) {
            "identifier" => text,
            "attribute" | "member_expression" => text.split('.').next().unwrap_or(text),
            _ => return false,
        };
        let is_function = FUNCTIONS.contains(&unit.kind(within));
        if matches!(root, "self" | "this") {
            return unit.kind(id) != "identifier" && (self.object || !is_function);
        }
        // A function within has names of its own.
        let inner = unit.syntax.around(id).take_while(|&around| around != within);
        if inner.into_iter().any(|around| is_scope(unit, around) && binds(unit, around, root)) {
            return false;
        }
        if is_function {
            return self.has(unit, within, root)
                || !binds(unit, within, root)
                    && (declared_outside(unit, within, root) || is_given(unit, within, root));
        }
        // What a loop goes through is another one each time.
        let outer = unit.function_of(within);
        let mut loops = unit.syntax.around(within).take_while(|&around| around != outer);
        !binds(unit, within, root) && !loops.any(|around| is_scope(unit, around) && binds(unit, around, root))
    }
}

/// Tells whether a function stands in one that is given something under a name.
fn is_given(unit: &Unit, within: Id, name: &str) -> bool {
    let mut around = unit.syntax.around(within).filter(|&id| FUNCTIONS.contains(&unit.kind(id)));
    around.any(|function| parameters(unit, function).contains(&name))
}

/// Tells whether a node has names of its own for each time that it is gone through.
fn is_scope(unit: &Unit, id: Id) -> bool {
    let kind = unit.kind(id);
    FUNCTIONS.contains(&kind)
        || kind.ends_with("_comprehension")
        || matches!(kind, "generator_expression" | "for_statement" | "for_in_statement")
}

/// Tells whether a name is bound within a node.
fn binds(unit: &Unit, within: Id, name: &str) -> bool {
    let named = |id: Id| {
        with_below(unit, id).any(|id| {
            matches!(unit.kind(id), "identifier" | "shorthand_property_identifier_pattern")
                && unit.text(id) == name
        })
    };
    let plain = |id: Id| {
        matches!(
            unit.kind(id),
            "identifier" | "object_pattern" | "array_pattern" | "pattern_list" | "tuple_pattern"
        ) && named(id)
    };
    parameters(unit, within).contains(&name)
        || with_below(unit, within).any(|id| match unit.kind(id) {
            "for_in_clause" | "for_statement" | "for_in_statement" | "assignment" | "named_expression" => {
                unit.syntax.child(id, "left").or_else(|| unit.syntax.child(id, "name")).is_some_and(plain)
            }
            "variable_declarator" => unit.syntax.child(id, "name").is_some_and(plain),
            "as_pattern_target" => named(id),
            _ => false,
        })
}

/// Returns the names of a function's parameters in their order, without the object of a method.
pub(super) fn parameters(unit: &Unit, function: Id) -> Vec<&str> {
    if let Some(only) = unit.syntax.child(function, "parameter") {
        return vec![unit.text(only)];
    }
    let Some(list) = unit.syntax.child(function, "parameters") else { return Vec::new() };
    let named =
        |id: Id| with_below(unit, id).find(|&id| unit.kind(id) == "identifier").map(|id| unit.text(id));
    unit.syntax
        .children(list)
        .filter_map(named)
        .filter(|name| !matches!(*name, "self" | "cls" | "this"))
        .collect()
}

/// Tells whether a call is of a method of an object of the class that the method belongs to, as far as its declared type or its
/// name tells.
pub(super) fn is_named_like(unit: &Unit, within: Id, object: Id, class: &str) -> bool {
    let name = unit.text(object).rsplit('.').next().unwrap_or_default();
    let plain = |name: &str| name.replace('_', "").to_ascii_lowercase();
    declared(unit, within, name).map_or_else(|| plain(name) == plain(class), |declared| declared == class)
}

/// Returns the class of what a function is given under a name: the declared one, or one that is imported under the same name.
pub(super) fn class_given<'a>(unit: &'a Unit, function: Id, name: &str) -> Option<&'a str> {
    let given = parameters(unit, function).contains(&name) || is_given(unit, function, name);
    let plain = |name: &str| name.replace('_', "").to_ascii_lowercase();
    let alike =
        || unit.origins().map(|(class, _)| class).find(|class| *class != name && plain(class) == plain(name));
    declared(unit, function, name).or_else(alike).filter(|_| given)
}

/// Returns the type that a function declares for one of its parameters.
pub(super) fn declared<'a>(unit: &'a Unit, function: Id, name: &str) -> Option<&'a str> {
    let list = unit.syntax.child(function, "parameters")?;
    let own = unit.syntax.children(list).find(|&id| {
        with_below(unit, id).find(|&id| unit.kind(id) == "identifier").is_some_and(|id| unit.text(id) == name)
    })?;
    let kept = unit.syntax.child(own, "type")?;
    with_below(unit, kept)
        .find(|&id| matches!(unit.kind(id), "identifier" | "type_identifier"))
        .map(|id| unit.text(id))
}
