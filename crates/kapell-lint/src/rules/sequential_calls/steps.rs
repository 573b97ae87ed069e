//! Steps of a graph of LangGraph that run one after the other, though none reads what the one before wrote.

use std::collections::BTreeSet;

use super::{WANTED, is_change};
use crate::{
    code::{
        Id, Unit,
        graphs::{self, Edge, Graph},
        service::Methods,
    },
    repository::Repository,
    rule::Report,
};

/// What a step reads of the state, and what it writes to it.
struct Uses<'a> {
    reads: BTreeSet<&'a str>,
    writes: BTreeSet<&'a str>,
}

/// Tells of steps in a row, each of which asks a model, and of which none reads what another of them wrote.
///
/// Source: <https://docs.langchain.com/oss/python/langgraph/use-graph-api>, "Run graph nodes in parallel": steps to which edges lead
/// from one and the same run at once, and one to which an edge leads from a list of them waits for all.
pub(super) fn check(repository: &Repository, methods: &Methods<'_>, unit: &Unit, report: &mut Report<'_>) {
    for graph in graphs::of(unit) {
        if graph.hides_nodes || graph.hides_edges || graphs::may_go_anywhere(&repository.code, &graph) {
            continue;
        }
        let around = unit.text(unit.function_of(graph.made)).to_ascii_lowercase();
        if WANTED.iter().any(|word| around.contains(word)) {
            continue;
        }
        for row in rows(methods, &graph) {
            let Some(first) = row.first() else { continue };
            let message = format!(
                "{} take nothing of each other, and run one after the other",
                crate::rule::names(std::iter::once(first.from).chain(row.iter().map(|edge| edge.to))),
            );
            report
                .add(unit.file, unit.span(first.to_at), message)
                .hint(
                    "lead to each of them from the step before, and from the list of them to the step behind",
                )
                .also(unit.file, unit.span(first.from_at), "the one before")
                .done();
        }
    }
}

/// Finds the edges from step to step of such rows.
fn rows<'a>(methods: &Methods<'_>, graph: &Graph<'a>) -> Vec<Vec<Edge<'a>>> {
    let only = |edge: &Edge<'_>| {
        let out = graph.edges.iter().filter(|other| other.from == edge.from).count();
        let into = graph.edges.iter().filter(|other| other.to == edge.to).count();
        !edge.chosen && out == 1 && into == 1
    };
    let plain: Vec<Edge<'a>> = graph.edges.iter().filter(|edge| only(edge)).copied().collect();
    let mut found: Vec<Vec<Edge<'a>>> = Vec::new();
    let mut taken: BTreeSet<&str> = BTreeSet::new();
    for &edge in &plain {
        if taken.contains(edge.from) {
            continue;
        }
        let (mut row, mut at): (Vec<Edge<'a>>, Edge<'a>) = (Vec::new(), edge);
        let Some(first) = uses(methods, graph, edge.from) else { continue };
        let mut known = vec![first];
        while let Some(next) = uses(methods, graph, at.to) {
            let apart = |before: &Uses<'_>| {
                next.reads.is_disjoint(&before.writes) && next.writes.is_disjoint(&before.writes)
            };
            if row.len() > graph.edges.len() || !known.iter().all(apart) {
                break;
            }
            known.push(next);
            row.push(at);
            taken.insert(at.from);
            let Some(&behind) = plain.iter().find(|other| other.from == at.to) else { break };
            at = behind;
        }
        if !row.is_empty() {
            taken.insert(row[row.len() - 1].to);
            found.push(row);
        }
    }
    found
}

/// Returns what the function of a step does with the state, where all of it can be seen and it asks a model.
fn uses<'a>(methods: &Methods<'_>, graph: &Graph<'a>, name: &str) -> Option<Uses<'a>> {
    let unit = graph.unit;
    let runs = graph.nodes.get(name)?.runs?;
    let function = unit.function(unit.text(runs))?;
    let asks = methods.asks(unit, function);
    if !asks || is_change(name) || is_change(unit.text(runs)) {
        return None;
    }
    let given = unit.syntax.child(function, "parameters")?;
    let mut parameters = unit.syntax.below(given).filter(|&id| unit.kind(id) == "identifier");
    let state = unit.text(parameters.next()?);
    let body = unit.syntax.child(function, "body")?;
    let named = unit.syntax.below(body).filter(|&id| unit.kind(id) == "identifier" && unit.text(id) == state);
    let reads: BTreeSet<&str> = named.map(|id| key(unit, id)).collect::<Option<_>>()?;
    let back = unit
        .syntax
        .below(body)
        .filter(|&id| unit.kind(id) == "return_statement" && unit.function_of(id) == function);
    let mut writes = BTreeSet::new();
    for back in back {
        let value = unit.syntax.children(back).find(|&id| unit.kind(id) == "dictionary")?;
        for pair in
            unit.syntax.children(value).filter(|&id| !matches!(unit.kind(id), "{" | "}" | "," | "comment"))
        {
            let key = unit.syntax.child(pair, "key").filter(|&key| unit.kind(key) == "string")?;
            writes.insert(unit.text(key).trim_matches(['"', '\'']));
        }
    }
    (!reads.is_empty() && !writes.is_empty()).then_some(Uses { reads, writes })
}

/// Returns the key by which the state is read: `state["topic"]`, `state.get("topic")`; nothing where all of it is used.
fn key(unit: &Unit, state: Id) -> Option<&str> {
    let parent = unit.syntax[state].parent;
    let key = match unit.kind(parent) {
        "subscript" => unit.syntax.child(parent, "subscript")?,
        "attribute" if unit.text(parent).ends_with(".get") => {
            unit.args(unit.syntax[parent].parent).first()?.value
        }
        _ => return None,
    };
    (unit.kind(key) == "string").then(|| unit.text(key).trim_matches(['"', '\'']))
}
