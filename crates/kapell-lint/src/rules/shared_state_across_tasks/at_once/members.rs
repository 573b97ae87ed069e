//! What objects of a list have in common: `[Worker(name, budget) for name in NAMES]`, each of which calls `self.budget.charge(...)`.

use super::super::common::{self, Common};
use crate::code::{
    Id, Unit,
    modules::{Modules, OfEach},
};

/// Finds the methods that those of a list call of an object which all of them were made with.
pub(super) fn shared<'a>(modules: &Modules<'a>, of: &OfEach<'a>) -> Vec<(&'a Unit, Id)> {
    let OfEach { unit, class, function, .. } = *of;
    let called = unit.calls_in(function).filter_map(|call| {
        let object = unit.syntax.child(unit.callee(call)?, "object")?;
        let text = unit.text(object);
        let member = text.strip_prefix("self.").or_else(|| text.strip_prefix("this."))?;
        let (place, name, type_) = given(unit, class, member)?;
        let same = of.makers.iter().all(|&maker| is_alike(of, maker, (place, name)));
        let own = || Some((unit, unit.method(unit.class(type_)?, unit.callee_name(call))?));
        own().or_else(|| modules.method_of(unit, type_, unit.callee_name(call))).filter(|_| same)
    });
    called.collect()
}

/// Tells whether a call that makes an object is given for a parameter what all others are given.
fn is_alike(of: &OfEach<'_>, maker: Id, (place, name): (usize, &str)) -> bool {
    let unit = of.makes;
    let value = |call: Id| {
        let args = unit.args(call);
        let plain = args.get(place).filter(|arg| arg.name.is_none()).map(|arg| arg.value);
        unit.keyword(call, name).or(plain)
    };
    let Some(own) = value(maker) else { return false };
    let named = |call: &Id| value(*call).is_some_and(|other| unit.text(other) == unit.text(own));
    unit.kind(own) == "identifier"
        && of.makers.iter().all(named)
        && Common::OBJECT.is_same((unit, maker), own)
}

/// Returns which parameter of a class an attribute keeps, with its name and the class that it is declared to be of.
fn given<'a>(unit: &'a Unit, class: Id, member: &str) -> Option<(usize, &'a str, &'a str)> {
    let makes = unit.method(class, "__init__").or_else(|| unit.method(class, "constructor"));
    let Some(makes) = makes else { return field(unit, class, member) };
    let kept = unit.syntax.below(makes).find_map(|id| {
        let left = unit.syntax.child(id, "left").filter(|_| unit.kind(id).starts_with("assignment"))?;
        let own = unit.text(left).strip_prefix("self.").or_else(|| unit.text(left).strip_prefix("this."))?;
        unit.syntax.child(id, "right").filter(|_| own == member)
    });
    // `constructor(private budget: Budget)` keeps it by itself.
    let name = kept.map_or(member, |kept| unit.text(kept));
    let place = common::parameters(unit, makes).iter().position(|own| *own == name)?;
    Some((place, common::parameters(unit, makes)[place], common::declared(unit, makes, name)?))
}

/// Returns the same of a field of a data class, whose parameters are its fields in their order.
///
/// Source: the documentation of Python, `dataclasses`: "The order of the fields in all of the generated methods is the order in
/// which they appear in the class definition."
fn field<'a>(unit: &'a Unit, class: Id, member: &str) -> Option<(usize, &'a str, &'a str)> {
    let whole = unit.syntax[class].parent;
    let decorated = |id: Id| unit.kind(id) == "decorator" && unit.text(id).contains("dataclass");
    let is_data = unit.kind(whole) == "decorated_definition" && unit.syntax.children(whole).any(decorated);
    let body = unit.syntax.child(class, "body").filter(|_| is_data)?;
    let fields = unit.syntax.children(body).filter_map(|statement| {
        let bound = unit.syntax.children(statement).next().filter(|&id| unit.kind(id) == "assignment")?;
        Some((unit.syntax.child(bound, "left")?, unit.syntax.child(bound, "type")?))
    });
    let (place, (name, type_)) = fields.enumerate().find(|(_, (name, _))| unit.text(*name) == member)?;
    Some((place, unit.text(name), unit.text(type_)))
}
