//! Keys of a graph's state that several nodes of one step set, and that nothing puts together.
//!
//! Source: langgraph 1.0: a key without a reducer takes one value in a step, and a second one fails the run
//! (`INVALID_CONCURRENT_GRAPH_UPDATE`).

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    code::{Id, Language, Unit, graphs, graphs::Graph, imports::Part, modules::Modules},
    repository::Repository,
    rule::Report,
};

/// Tells of such keys.
pub(super) fn check(repository: &Repository, modules: &Modules<'_>, unit: &Unit, report: &mut Report<'_>) {
    if unit.language != Language::Python {
        return;
    }
    for graph in graphs::of(unit).iter().filter(|graph| !graph.hides_nodes) {
        let steps = steps(graph);
        if steps.is_empty() {
            continue;
        }
        let Some(plain) = plain_keys(repository, graph) else { continue };
        for step in steps {
            clash(modules, graph, &step, &plain, report);
        }
    }
}

/// Returns the nodes that run in one step: plain edges lead to them from one node.
fn steps<'a>(graph: &Graph<'a>) -> Vec<BTreeSet<&'a str>> {
    let mut led: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for edge in graph.edges.iter().filter(|edge| !edge.chosen && edge.to != graphs::END) {
        led.entry(edge.from).or_default().insert(edge.to);
    }
    led.into_values().filter(|nodes| nodes.len() > 1).collect()
}

/// Tells of the first key that two nodes of a step set.
fn clash(
    modules: &Modules<'_>,
    graph: &Graph<'_>,
    step: &BTreeSet<&str>,
    plain: &BTreeSet<String>,
    report: &mut Report<'_>,
) {
    let mut set: BTreeMap<String, (&str, (&Unit, Id))> = BTreeMap::new();
    for &name in step {
        let Some(runs) = graph.nodes.get(name).and_then(|node| node.runs) else { continue };
        let own = graph.unit.function(graph.unit.text(runs)).map(|function| (graph.unit, function));
        let Some((unit, function)) = own.or_else(|| modules.function(graph.unit, runs)) else { continue };
        for (key, at) in returned(modules, unit, function, HOPS) {
            let Some((first, (first_unit, first_at))) = set.get(&key).filter(|(first, _)| *first != name)
            else {
                set.entry(key).or_insert((name, (unit, at)));
                continue;
            };
            if !plain.contains(&key) {
                continue;
            }
            let message = format!(
                "`{first}` and `{name}` run in one step of the graph, and both set `{key}`, which takes one value in a step: the run fails"
            );
            report
                .add(unit.file, unit.span(at), message)
                .hint("give the key a reducer, such as `Annotated[list, operator.add]`, or give each node a key of its own")
                .also(first_unit.file, first_unit.span(*first_at), "set here as well")
                .also(graph.unit.file, graph.unit.span(graph.made), "the graph")
                .done();
            return;
        }
    }
}

/// How many functions are followed that answer what another one does.
const HOPS: u32 = 2;

/// Returns the keys that a function answers with, and where: those of all dictionaries that it returns, or that a function
/// does whose answer it returns.
fn returned(modules: &Modules<'_>, unit: &Unit, function: Id, hops: u32) -> Vec<(String, Id)> {
    let own = unit.syntax.below(function).filter(|&id| unit.function_of(id) == function);
    let back = own.filter(|&id| unit.kind(id) == "return_statement");
    let answers = back.filter_map(|back| unit.value(unit.syntax.children(back).nth(1)?));
    let mut found = Vec::new();
    for answer in answers {
        let answer =
            if unit.kind(answer) == "await" { unit.syntax.children(answer).nth(1) } else { Some(answer) };
        let Some(answer) = answer else { continue };
        match unit.kind(answer) {
            "dictionary" => found.extend(keys_of(unit, answer)),
            "call" => found.extend(of_helper(modules, unit, answer, hops)),
            _ => {}
        }
    }
    found
}

/// Returns the keys of a dictionary, and where they stand.
fn keys_of(unit: &Unit, dictionary: Id) -> Vec<(String, Id)> {
    let pairs = unit.syntax.children(dictionary).filter(|&pair| unit.kind(pair) == "pair");
    let keys = pairs.filter_map(|pair| unit.syntax.child(pair, "key"));
    keys.filter(|&key| unit.kind(key) == "string")
        .map(|key| (unit.text(key).trim_matches(['"', '\'']).to_owned(), key))
        .collect()
}

/// Returns the keys that every answer of a function of this file, or of another one, to a call has: all of them where the call
/// stands.
fn of_helper(modules: &Modules<'_>, unit: &Unit, call: Id, hops: u32) -> Vec<(String, Id)> {
    let Some(hops) = hops.checked_sub(1) else { return Vec::new() };
    let own = || Some((unit, unit.called(call).filter(|&other| !unit.syntax.holds(other, call))?));
    let Some((other, helper)) = own().or_else(|| modules.exported(unit, call)) else { return Vec::new() };
    let within = other.syntax.below(helper).filter(|&id| other.function_of(id) == helper);
    let answers = within.filter(|&id| other.kind(id) == "return_statement").count();
    let mut keys: BTreeMap<String, usize> = BTreeMap::new();
    for (key, _) in returned(modules, other, helper, hops) {
        *keys.entry(key).or_default() += 1;
    }
    keys.into_iter().filter(|(_, times)| *times == answers).map(|(key, _)| (key, call)).collect()
}

/// Returns the keys of a graph's state that have no reducer.
fn plain_keys(repository: &Repository, graph: &Graph<'_>) -> Option<BTreeSet<String>> {
    let unit = graph.unit;
    let state = unit.args(graph.made).first()?.value;
    let name = unit.text(state);
    if let Some(class) = unit.class(name) {
        return Some(keys(unit, class));
    }
    let (file, part) = unit.origin(name)?.target.as_ref()?;
    let Part::Named(name) = part else { return None };
    let other = Unit::read(*file, Language::Python, &repository.files[*file].text)?;
    Some(keys(&other, other.class(name)?))
}

/// Types of Python that put nothing together.
const TYPES: &[&str] = &[
    "str", "int", "float", "bool", "bytes", "list", "dict", "tuple", "set", "List", "Dict", "Tuple", "Set",
    "Optional", "Any",
];

/// Returns the fields of a class that are declared with a type alone.
fn keys(unit: &Unit, class: Id) -> BTreeSet<String> {
    let around = unit.function_of(class);
    let declared = unit.syntax.below(class).filter(|&id| {
        unit.kind(id) == "assignment"
            && unit.function_of(id) == around
            && unit.syntax.child(id, "type").is_some()
    });
    // A name of another file may stand for a type with a reducer.
    let plain = declared.filter(|&id| {
        let kept = unit.syntax.child(id, "type").map_or("", |kept| unit.text(kept));
        let first = kept.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
        TYPES.contains(&first) && !kept.contains("Annotated")
    });
    plain.filter_map(|id| Some(unit.text(unit.syntax.child(id, "left")?).to_owned())).collect()
}
