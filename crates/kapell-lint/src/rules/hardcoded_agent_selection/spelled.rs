//! Names of a table of agents that other files spell out.

use std::collections::BTreeSet;

use kapell_view::audit::{Confidence, Severity};

use super::registry::{self, Table};
use crate::{
    code::{Id, Unit, unit::unquoted},
    repository::Repository,
    rule::Report,
};

/// How often names have to be spelled out beside the table before it is told.
const TIMES: usize = 3;

/// Names of a table that other files write as plain texts, where neither a compiler nor a test sees a slip.
pub(super) fn tell(repository: &Repository, report: &mut Report<'_>) {
    let Some(table) = registry::only(repository) else { return };
    if registry::is_checked(repository, &table) {
        return;
    }
    let others = repository.code.iter().filter(|unit| unit.file != table.unit.file);
    let found: Vec<(&Unit, Id)> =
        others.flat_map(|unit| named(unit, &table).into_iter().map(move |id| (unit, id))).collect();
    let files: BTreeSet<_> = found.iter().map(|(unit, _)| unit.file).collect();
    let names: BTreeSet<&str> = found.iter().map(|(unit, id)| unquoted(unit.text(*id))).collect();
    let Some((&(unit, first), rest)) = found.split_first() else { return };
    // `Record<string, ...>` gives away what the compiler would have seen, so that one file is enough; so are three names.
    let open = table
        .unit
        .text(table.unit.syntax[table.at].parent)
        .starts_with(&format!("{}: Record<string", table.name));
    if found.len() < TIMES || files.len() < 2 && !open && names.len() < TIMES {
        return;
    }
    let message = format!(
        "names of `{}` are spelled out in {} places of {}: whoever renames an agent finds them by its failures",
        table.name,
        found.len(),
        if files.len() == 1 { "one file".to_owned() } else { format!("{} files", files.len()) },
    );
    let mut draft = report.add(unit.file, unit.span(first), message);
    draft = draft.severity(Severity::Low).confidence(Confidence::Medium);
    draft = draft.hint("give each name one constant or type beside the table, and use that");
    draft = draft.also(table.unit.file, table.unit.span(table.at), "the table");
    for (unit, id) in rest.iter().take(4) {
        draft = draft.also(unit.file, unit.span(*id), "spelled out here, too");
    }
    draft.done();
}

/// Finds the texts of a file that name an agent of the table.
///
/// A name of several words is nothing else. One of a single word may be any text: it has to say so itself, to stand in the
/// table's brackets, to be handed first to a function of agents, or to stand beside one of several words.
fn named(unit: &Unit, table: &Table<'_>) -> Vec<Id> {
    let all = unit.syntax.of_kind(&["string"]).filter(|&id| table.keys.contains(&unquoted(unit.text(id))));
    let all: Vec<Id> = all.filter(|&id| !is_node(unit, id)).collect();
    let (sure, others): (Vec<Id>, Vec<Id>) =
        all.into_iter().partition(|&id| names_agent(unit, table, id, unquoted(unit.text(id))));
    let beside = |id: Id, other: Id| {
        let (around, of) = (unit.syntax[id].parent, unit.syntax[other].parent);
        let function = unit.function_of(id);
        match (unit.kind(around), unit.kind(of)) {
            ("arguments", "arguments") | ("argument_list", "argument_list") => {
                unit.callee_name(unit.syntax[around].parent) == unit.callee_name(unit.syntax[of].parent)
            }
            ("pair", "pair") => unit.syntax[around].parent == unit.syntax[of].parent,
            ("return_statement", "return_statement") => function == unit.function_of(other),
            _ => false,
        }
    };
    let mut found: Vec<Id> = sure.clone();
    found.extend(others.into_iter().filter(|&id| sure.iter().any(|&other| beside(id, other))));
    found.sort_unstable();
    found
}

/// Tells whether a text is the name of a node of a graph, which has to be written where edges are.
fn is_node(unit: &Unit, id: Id) -> bool {
    let calls = unit.syntax.around(id).take(4).filter(|&around| unit.kind(around).starts_with("call"));
    calls.into_iter().any(|call| {
        let name = unit.callee_name(call).to_ascii_lowercase();
        name.contains("node") || name.contains("edge") || name == "command" || name == "send"
    })
}

fn names_agent(unit: &Unit, table: &Table<'_>, id: Id, name: &str) -> bool {
    let several = name.contains(['-', '_']) && !unit.imported(name);
    if several || name.ends_with("agent") && name.len() > "agent".len() {
        return true;
    }
    let around = unit.syntax[id].parent;
    match unit.kind(around) {
        "subscript" | "subscript_expression" => {
            unit.syntax.children(around).next().is_some_and(|object| unit.text(object) == table.name)
        }
        "arguments" | "argument_list" => {
            let call = unit.syntax[around].parent;
            let first = unit.args(call).first().is_some_and(|arg| arg.value == id);
            first && unit.callee_name(call).to_ascii_lowercase().contains("agent")
        }
        _ => false,
    }
}
