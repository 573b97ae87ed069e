//! Limits of functions that call themselves: each call makes one of its own.

use super::{LIMITS, fans::Fan, short};
use crate::{
    code::{
        Id, Service, Unit,
        service::{Methods, own_method},
    },
    rule::Report,
};

/// A limit that a function makes for its own fan-out, in which it calls itself: every one of those calls makes another, and so
/// the limits multiply with each level.
pub(super) fn check(unit: &Unit, methods: &Methods<'_>, fan: &Fan, report: &mut Report<'_>) {
    let Some((function, limit, again)) = made_anew(unit, fan) else { return };
    let Some((_, what)) =
        methods.reached(unit, function).filter(|(_, what)| !matches!(what, Service::Http(_)))
    else {
        return;
    };
    let name = unit.callee_name(again);
    let message = format!(
        "`{}` is made anew by every call of `{name}`, which calls itself: it bounds the {} calls of one level, and not all of them",
        short(unit.text(limit)),
        what.name(),
    );
    report
        .add(unit.file, unit.span(limit), message)
        .hint(format!(
            "make it once, outside of `{name}`, and take it around the calls alone, not around `{name}`"
        ))
        .also(unit.file, unit.span(again), "it calls itself here")
        .done();
}

/// Finds the function around a fan, the limit that it makes itself, and where what runs for every item calls it again.
fn made_anew(unit: &Unit, fan: &Fan) -> Option<(Id, Id, Id)> {
    let function = unit.function_of(fan.at);
    if function == Id::ROOT {
        return None;
    }
    let direct = |id: &Id| unit.function_of(*id) == function;
    let made = |call: &Id| LIMITS.contains(&unit.callee_name(*call));
    let limit = unit.calls_in(function).filter(made).find(direct)?;
    let bound = unit.syntax[limit].parent;
    let name = unit.syntax.child(bound, "left").or_else(|| unit.syntax.child(bound, "name"))?;
    // What is kept outside of the function is for all of its calls.
    if unit.kind(name) != "identifier" {
        return None;
    }
    let recurs = |call: &Id| {
        let inner = unit.syntax.holds(fan.body, *call) || unit.function_of(*call) != function;
        inner && own_method(unit, *call).or_else(|| unit.called(*call)) == Some(function)
    };
    let again = unit.calls_in(function).find(recurs)?;
    // It is taken by what runs for every item, or by a function that this calls.
    let used = |id: Id| {
        unit.syntax.below(id).any(|id| unit.kind(id) == "identifier" && unit.text(id) == unit.text(name))
    };
    let within = unit.syntax.around(again).take_while(|&around| around != function);
    (used(fan.body) || within.into_iter().any(used)).then_some((function, limit, again))
}
