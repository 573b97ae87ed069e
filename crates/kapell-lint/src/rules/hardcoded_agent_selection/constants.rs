//! Names of agents that have a constant each, and are plain texts beside it.

use std::collections::{BTreeMap, BTreeSet};

use kapell_view::audit::{Confidence, Severity};

use crate::{
    code::{Id, Unit, unit::unquoted},
    repository::Repository,
    rule::Report,
};

/// An enum or an object of constants: where it is, and its values.
struct Names<'a> {
    unit: &'a Unit,
    at: Id,
    name: &'a str,
    values: BTreeSet<&'a str>,
}

/// Tells whether a name is that of names of agents: `AgentName`, `AGENT_IDS`, `Agents`.
fn of_agents(name: &str) -> bool {
    let lower = name.to_ascii_lowercase().replace('_', "");
    ["agentname", "agentnames", "agentid", "agentids", "agentkind", "agenttype", "agents", "agentkey"]
        .contains(&&*lower)
}

/// Finds `class AgentName(StrEnum)`, `enum AgentName`, `const AgentName = { ... } as const`.
fn names(unit: &Unit) -> Vec<Names<'_>> {
    let made = unit.syntax.of_kind(&["class_definition", "enum_declaration", "variable_declarator"]);
    let read = |id: Id| {
        let at = unit.syntax.child(id, "name")?;
        let name = unit.text(at);
        if !of_agents(name) || unit.function_of(id) != Id::ROOT {
            return None;
        }
        let (of, body) = match unit.kind(id) {
            "class_definition" => {
                let bases = unit.syntax.child(id, "superclasses").map_or("", |bases| unit.text(bases));
                ("assignment", unit.syntax.child(id, "body").filter(|_| bases.contains("Enum")))
            }
            "enum_declaration" => ("enum_assignment", unit.syntax.child(id, "body")),
            _ => (
                "pair",
                unit.syntax.child(id, "value").filter(|&value| unit.text(value).ends_with("as const")),
            ),
        };
        let parts = unit.syntax.below(body?).filter(|&part| unit.kind(part) == of);
        let values = parts.filter_map(|part| {
            let value = unit.syntax.child(part, "value").or_else(|| unit.syntax.child(part, "right"))?;
            (unit.kind(value) == "string").then(|| unquoted(unit.text(value)))
        });
        let values: BTreeSet<&str> = values.collect();
        (values.len() > 1).then_some(Names { unit, at, name, values })
    };
    made.filter_map(read).collect()
}

/// What a function is handed in all files.
#[derive(Default)]
struct Handed<'a> {
    /// Whether one of the constants.
    by_constant: bool,
    texts: Vec<(&'a Unit, Id)>,
}

/// Tells of texts that are handed to a function which is handed the constants elsewhere.
pub(super) fn beside(repository: &Repository, report: &mut Report<'_>) {
    let all: Vec<Names<'_>> =
        repository.code.iter().filter(|unit| unit.whole().contains("gent")).flat_map(names).collect();
    let [constants] = &all[..] else { return };
    let member = format!("{}.", constants.name);
    let mut handed: BTreeMap<&str, Handed<'_>> = BTreeMap::new();
    for unit in repository.code.iter().filter(|unit| unit.file != constants.unit.file) {
        for call in unit.calls() {
            let Some(first) = unit.args(call).first().map(|arg| arg.value) else { continue };
            let callee = unit.callee_name(call);
            if unit.kind(first) == "string" && constants.values.contains(unquoted(unit.text(first))) {
                handed.entry(callee).or_default().texts.push((unit, first));
            } else if unit.text(first).starts_with(&*member) {
                handed.entry(callee).or_default().by_constant = true;
            }
        }
    }
    let known = handed.into_values().filter(|handed| handed.by_constant);
    let found: Vec<(&Unit, Id)> = known.flat_map(|handed| handed.texts).collect();
    let Some((&(unit, first), rest)) = found.split_first() else { return };
    let message = format!(
        "{} is a plain text here, though `{}` names it and other calls of this function use that",
        unit.text(first),
        constants.name
    );
    let mut draft = report.add(unit.file, unit.span(first), message);
    draft = draft.severity(Severity::Low).confidence(Confidence::Medium);
    draft = draft.hint(format!("use the constant of `{}`", constants.name));
    draft = draft.also(constants.unit.file, constants.unit.span(constants.at), "the names");
    for (unit, id) in rest.iter().take(4) {
        draft = draft.also(unit.file, unit.span(*id), "a plain text, too");
    }
    draft.done();
}
