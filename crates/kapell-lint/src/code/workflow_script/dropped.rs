//! Agents that failed and are left out of what decides: where all fail, nobody is left to object.
//!
//! Source: <https://code.claude.com/docs/en/workflows>, as of 2026-11: an agent of `parallel()` that fails is `null` in its list.

use kapell_spec::finding::Span;

use crate::code::{Id, Unit};

/// A question to the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Where those that failed are left out.
    pub span: Span,
    /// Where the rest decides.
    pub verdict: Span,
}

/// Finds lists of answers without those that failed, of which nobody asks how many are left, and which decide.
pub(super) fn dropped(unit: &Unit) -> Vec<Dropped> {
    let declared = unit.syntax.of_kind(&["variable_declarator"]);
    let rests = declared.filter_map(|declared| {
        let value = unit.syntax.child(declared, "value")?;
        let drops = unit.calls_in(value).find(|&call| leaves_out(unit, call))?;
        let starts = unit.calls_in(value).any(|call| unit.callee_name(call) == "parallel")
            && unit.calls_in(value).any(|call| unit.callee_name(call) == "agent");
        Some((unit.syntax.child(declared, "name").filter(|_| starts)?, drops))
    });
    rests
        .filter_map(|(name, drops)| {
            let list = unit.text(name);
            let verdict = verdict(unit, list).filter(|_| !is_counted(unit, list))?;
            let callee = unit.callee(drops)?;
            let from = unit.syntax.child(callee, "property").map_or(unit.span(drops), |id| unit.span(id));
            let span = Span::new(from.start as usize, unit.span(drops).end as usize);
            Some(Dropped { span, verdict: unit.span(verdict) })
        })
        .collect()
}

/// Tells whether a call takes of a list what is not `null`.
fn leaves_out(unit: &Unit, call: Id) -> bool {
    let [picks] = &*unit.args(call) else { return false };
    let plain: String =
        unit.text(picks.value).chars().filter(|c| !c.is_whitespace() && !"()".contains(*c)).collect();
    let test = plain.split_once("=>").and_then(|(name, test)| test.strip_prefix(name));
    unit.callee_name(call) == "filter"
        && (plain == "Boolean" || test.is_some_and(|test| matches!(test, "" | "!=null" | "!==null")))
}

/// Finds where a list of a name, or what of it objects, says that all is well.
fn verdict(unit: &Unit, list: &str) -> Option<Id> {
    let picked = unit.syntax.of_kind(&["variable_declarator"]).filter_map(|declared| {
        let value = unit.syntax.child(declared, "value")?;
        let name = unit.syntax.child(declared, "name")?;
        (is_call_of(unit, value, list, "filter")).then(|| unit.text(name))
    });
    let objects: Vec<&str> = picked.collect();
    unit.syntax.of_kind(&["binary_expression", "unary_expression", "call_expression"]).find(|&id| {
        let text: String = unit.text(id).chars().filter(|c| !c.is_whitespace()).collect();
        let none = |name: &&str| {
            text.strip_prefix(*name).is_some_and(|rest| matches!(rest, ".length===0" | ".length==0"))
                || text.strip_prefix('!').and_then(|rest| rest.strip_prefix(*name)) == Some(".length")
        };
        match unit.kind(id) {
            "call_expression" => is_call_of(unit, id, list, "every"),
            _ => objects.iter().any(none),
        }
    })
}

/// Tells whether something is a call of a method of a list.
fn is_call_of(unit: &Unit, call: Id, list: &str, method: &str) -> bool {
    let callee = unit.callee(call).filter(|_| unit.kind(call) == "call_expression");
    let of = callee.and_then(|callee| unit.syntax.child(callee, "object"));
    unit.callee_name(call) == method && of.is_some_and(|of| unit.text(of) == list)
}

/// Tells whether somebody asks how long a list is.
fn is_counted(unit: &Unit, list: &str) -> bool {
    unit.syntax.of_kind(&["member_expression"]).any(|id| {
        let of = unit.syntax.child(id, "object").map_or("", |of| unit.text(of));
        let property = unit.syntax.child(id, "property").map_or("", |property| unit.text(property));
        of == list && property == "length"
    })
}
