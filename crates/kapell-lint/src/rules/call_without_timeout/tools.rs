//! Functions that an agent has for its tools: while one of them waits, the agent does.

use std::collections::BTreeSet;

use crate::code::{Id, Unit, guards::has_word};

/// Tells whether one of some calls stands in a tool of an agent, or in a function of the file that such a tool calls.
pub(super) fn any_in_tool(unit: &Unit, calls: &[Id]) -> bool {
    // Most files have none.
    if !["tool", "Tool", "TOOL"].iter().any(|word| unit.whole().contains(word)) {
        return false;
    }
    let listed = tables(unit);
    let is_tool = |call: Id| is_tool(unit, unit.function_of(call), call, &listed);
    let mut functions: BTreeSet<Id> = calls.iter().map(|&call| unit.function_of(call)).collect();
    functions.remove(&Id::ROOT);
    let calls_one = |call: Id| unit.called(call).is_some_and(|function| functions.contains(&function));
    calls.iter().any(|&call| is_tool(call)) || unit.calls().any(|call| calls_one(call) && is_tool(call))
}

/// Tells whether something stands in a function that is a tool.
pub(super) fn is_in_tool(unit: &Unit, at: Id) -> bool {
    any_in_tool(unit, &[at])
}

/// Returns the call that makes a tool of the function around a node.
pub(super) fn given_to(unit: &Unit, at: Id) -> Option<Id> {
    let mut around = unit.syntax.around(at).filter(|&id| unit.kind(id) == "call_expression");
    around.find(|&id| is_of_tools(unit.callee_name(id)))
}

/// Tells whether a function around a call is a tool: by what decorates it, `@tool`; by what it is handed to, `tool({ execute })`;
/// or by a table of tools that names it, `TOOLS = {"search": search}`.
fn is_tool(unit: &Unit, function: Id, within: Id, tables: &[&str]) -> bool {
    let whole = unit.syntax[function].parent;
    let decorated = unit.syntax.children(whole).any(|id| {
        let name = unit.text(id).split('(').next().unwrap_or_default();
        unit.kind(id) == "decorator" && is_of_tools(name)
    });
    let handed = unit.syntax.around(within).any(|id| {
        matches!(unit.kind(id), "call" | "call_expression")
            && is_of_tools(unit.callee_name(id))
            && id != within
    });
    let name = unit.syntax.child(function, "name").map(|name| unit.text(name));
    let listed = || name.is_some_and(|name| tables.iter().any(|table| has_word(table, name)));
    decorated || handed || listed()
}

/// Tells whether a name ends as those of what makes a tool do: `function_tool`, `defineTool`, `mcp.tool`.
fn is_of_tools(name: &str) -> bool {
    name.trim_start_matches('@').to_ascii_lowercase().ends_with("tool")
}

/// Returns the tables and lists at the top of a file that are called after tools.
fn tables(unit: &Unit) -> Vec<&str> {
    let made = unit.syntax.of_kind(&["assignment", "variable_declarator"]);
    let tables = made.filter(|&made| unit.function_of(made) == Id::ROOT).filter_map(|made| {
        let child = |field| unit.syntax.child(made, field);
        let own = child("left").or_else(|| child("name"))?;
        let value = child("right").or_else(|| child("value"))?;
        let table = matches!(unit.kind(value), "dictionary" | "object" | "list" | "array" | "tuple");
        let called = unit.text(own).to_ascii_lowercase().contains("tools");
        (table && called).then(|| unit.text(value))
    });
    tables.collect()
}
