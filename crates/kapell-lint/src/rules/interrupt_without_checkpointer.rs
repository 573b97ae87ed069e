//! A graph that waits for a person, and keeps nothing to go on from.
//!
//! Source: the documentation of LangGraph, "Interrupts": to use `interrupt`, a graph needs a checkpointer, which keeps its
//! state; without one, what it waits for is lost, and there is nothing to resume. Its server gives each graph one
//! (`langgraph.json`), and a graph that a node of another one runs has the checkpointer of that one ("Use subgraphs").

use kapell_view::audit::{Confidence, Severity};

use crate::{
    code::{Id, Unit, graphs, graphs::Graph, guards::has_word},
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/interrupt-without-checkpointer.md`.
pub(super) static RULE: Rule = Rule {
    name: "interrupt-without-checkpointer",
    summary: "a graph stops for a person, and has no checkpointer to go on from",
    group: Group::Code,
    anti_pattern: None,
    focus: Focus::State,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Deep,
    page: include_str!("../../docs/rules/interrupt-without-checkpointer.md"),
    check,
};

/// Methods that run a graph.
const RUNS: &[&str] = &["invoke", "ainvoke", "stream", "astream", "astream_events", "streamEvents"];

fn check(repository: &Repository, report: &mut Report<'_>) {
    if repository.files.iter().any(|(_, file)| file.name() == "langgraph.json") {
        return;
    }
    for unit in repository.code.iter() {
        let text = unit.whole();
        if !text.contains("interrupt") || text.contains("checkpoint") {
            continue;
        }
        // What another file's graph runs has the checkpointer of that graph.
        let others = || repository.code.iter().filter(|other| other.file != unit.file);
        if others().any(|other| other.whole().contains("langgraph") && other.whole().contains("checkpointer"))
        {
            continue;
        }
        for graph in graphs::of(unit) {
            let Some(stop) = stops(unit, &graph) else { continue };
            let Some(compiled) = compiled(unit, &graph).filter(|&id| is_run(unit, id)) else { continue };
            report
                .add(
                    unit.file,
                    unit.span(compiled),
                    "this graph stops for a person, but has no checkpointer: it cannot keep where it was, nor go on",
                )
                .hint("give it one: `compile(checkpointer=saver)`")
                .also(unit.file, unit.span(stop), "it stops here")
                .done();
        }
    }
}

/// Finds where a node of a graph stops for a person.
fn stops(unit: &Unit, graph: &Graph<'_>) -> Option<Id> {
    let mut nodes = graph.nodes.values().filter_map(|node| unit.function(unit.text(node.runs?)));
    let stop = |&call: &Id| {
        unit.callee_path(call).is_some_and(|path| {
            let known = path.text.starts_with("langgraph.") || path.text.starts_with("@langchain/langgraph.");
            known && path.text.ends_with(".interrupt")
        })
    };
    nodes.find_map(|function| unit.calls_in(function).find(stop))
}

/// Finds the only call that compiles a graph, where it is given nothing.
fn compiled(unit: &Unit, graph: &Graph<'_>) -> Option<Id> {
    let mut calls = unit.calls().filter(|&call| {
        let object = unit.callee(call).and_then(|callee| unit.syntax.child(callee, "object"));
        unit.callee_name(call) == "compile" && object.is_some_and(|object| graph.is_built_by(object))
    });
    let call = calls.next().filter(|_| calls.next().is_none())?;
    unit.args(call).is_empty().then_some(call)
}

/// Tells whether the file runs what a call compiled, and does nothing else with it: as a part of another graph it has that one's
/// checkpointer.
fn is_run(unit: &Unit, compiled: Id) -> bool {
    let parent = unit.syntax[compiled].parent;
    let Some(name) = unit.syntax.child(parent, "left").or_else(|| unit.syntax.child(parent, "name")) else {
        return false;
    };
    let name = unit.text(name);
    let runs = |call: Id| {
        let object = unit.callee(call).and_then(|callee| unit.syntax.child(callee, "object"));
        RUNS.contains(&unit.callee_name(call)) && object.is_some_and(|object| unit.text(object) == name)
    };
    let hands_on = |call: Id| unit.args(call).iter().any(|arg| has_word(unit.text(arg.value), name));
    unit.calls().any(runs) && !unit.calls().any(hands_on)
}
