//! Steps of a graph that nothing leads to, and agents that code makes and nobody uses.

use std::collections::BTreeSet;

use kapell_view::audit::{Confidence, Severity};

use crate::{
    code::{
        crews::{self, Member},
        graphs,
    },
    files::FileId,
    repository::Repository,
    rule::Report,
};

pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    for unit in repository.code.iter() {
        for graph in graphs::of(unit) {
            let lost = graph.unreached();
            if lost.is_empty() || graphs::may_go_anywhere(&repository.code, &graph) {
                continue;
            }
            for (name, at) in lost {
                let message = format!("no edge of this graph leads to `{name}`: it never runs");
                report
                    .add(unit.file, unit.span(at), message)
                    .severity(Severity::High)
                    .hint("add the edge that leads to it, or drop the node")
                    .also(unit.file, unit.span(graph.made), "the graph")
                    .done();
            }
        }
    }
    unused(repository, report);
}

/// Agents beside others that are used, which nothing names again.
fn unused(repository: &Repository, report: &mut Report<'_>) {
    let members = crews::members(&repository.code);
    let (lost, used): (Vec<&Member<'_>>, Vec<_>) = members.iter().partition(|one| !is_named_here(one));
    let beside: BTreeSet<FileId> = used.iter().map(|member| member.unit.file).collect();
    for member in lost.into_iter().filter(|member| beside.contains(&member.unit.file)) {
        let unit = member.unit;
        // A framework looks for these itself.
        if matches!(member.name, "agent" | "root_agent") || is_named_elsewhere(repository, member) {
            continue;
        }
        let message =
            format!("nobody uses the agent `{}`: it is no tool, part or handoff of another", member.name);
        report
            .add(unit.file, unit.span(member.at), message)
            .confidence(Confidence::Medium)
            .hint("give it to the agent that is to call it, or drop it")
            .done();
    }
}

/// Tells whether the file of an agent names it again.
fn is_named_here(member: &Member<'_>) -> bool {
    let unit = member.unit;
    let named = unit.syntax.of_kind(&["identifier", "shorthand_property_identifier", "string"]);
    named.into_iter().any(|id| {
        id != member.at
            && unit.text(id).trim_matches(['"', '\'']) == member.name
            && !unit.syntax.holds(member.made, id)
    })
}

/// Tells whether any other file names it.
fn is_named_elsewhere(repository: &Repository, member: &Member<'_>) -> bool {
    let path = &repository.files[member.unit.file].path;
    let module = crate::code::modules::last_part(path);
    repository.files.iter().filter(|(id, _)| *id != member.unit.file).any(|(_, file)| {
        has_word(&file.text, member.name)
            || file.path.ends_with(".py") && file.text.contains("import *") && file.text.contains(module)
            || file.text.contains("export *") && file.text.contains(module)
    })
}

fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(part) && !text[at + word.len()..].starts_with(part))
}
