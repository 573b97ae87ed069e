//! Names of agents that an object keeps until they are looked up: `session.agent = "refunds-agent"`.

use kapell_spec::suggest;
use kapell_view::audit::Severity;

use super::{Table, is_name};
use crate::{
    code::{Id, Unit, unit::unquoted},
    repository::Repository,
    rule::Report,
};

/// By how many letters such a text may differ from the name that it was to be; what differs more may be meant for somebody else.
pub(super) const SLIPS: usize = 2;

/// Tells of texts that are set to a property by which the table is asked somewhere, `AGENTS[session.agent]`, and that are nearly one
/// of its names and yet none: whatever stands in for what is not found hides it.
pub(super) fn check(repository: &Repository, table: &Table<'_>, report: &mut Report<'_>) {
    let mut asked: Vec<&str> = repository.code.iter().flat_map(|unit| asked(unit, table)).collect();
    asked.sort_unstable();
    asked.dedup();
    if asked.is_empty() {
        return;
    }
    for unit in repository.code.iter().filter(|unit| asked.iter().any(|name| unit.whole().contains(*name))) {
        for set in unit.syntax.of_kind(&["assignment", "assignment_expression"]) {
            let child = |field| unit.syntax.child(set, field);
            let Some((left, right)) = child("left").zip(child("right")) else { continue };
            let name = unquoted(unit.text(right));
            let known = property(unit, left).is_some_and(|property| asked.contains(&property));
            if !known || unit.kind(right) != "string" || !is_name(&name) || table.keys.contains(&name) {
                continue;
            }
            let Some(meant) = suggest::mistyped(name, table.keys.iter().copied(), SLIPS) else { continue };
            let message = format!(
                "`{}` has no agent `{name}`, by which it is asked later: nothing is found there",
                table.name
            );
            report
                .add(unit.file, unit.span(right), message)
                .severity(Severity::High)
                .hint(format!("did you mean `{meant}`?"))
                .also(table.unit.file, table.unit.span(table.at), "the table")
                .done();
        }
    }
}

/// Returns the properties by which a file asks the table: `AGENTS[session.agent]`, `AGENTS.get(state.agent)`.
fn asked<'a>(unit: &'a Unit, table: &Table<'_>) -> Vec<&'a str> {
    if !unit.whole().contains(table.name) {
        return Vec::new();
    }
    let keys = unit.syntax.of_kind(&["subscript", "subscript_expression"]).filter_map(|asked| {
        let child = |field| unit.syntax.child(asked, field);
        let of = child("value").or_else(|| child("object"))?;
        (unit.text(of) == table.name).then(|| child("subscript").or_else(|| child("index")))?
    });
    let got = unit.calls().filter(|&call| unit.callee_name(call) == "get").filter_map(|call| {
        let of = unit.syntax.child(unit.callee(call)?, "object")?;
        unit.args(call).first().filter(|_| unit.text(of) == table.name).map(|arg| arg.value)
    });
    keys.chain(got).filter_map(|key| property(unit, key)).collect()
}

/// Returns the property of an object that an expression is, if its name is that of an agent.
fn property(unit: &Unit, id: Id) -> Option<&str> {
    let name = match unit.kind(id) {
        "member_expression" => unit.syntax.child(id, "property")?,
        "attribute" => unit.syntax.child(id, "attribute")?,
        _ => return None,
    };
    Some(unit.text(name)).filter(|name| name.to_ascii_lowercase().contains("agent"))
}
