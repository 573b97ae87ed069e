//! Functions that a model may call as its tools.

use std::collections::BTreeSet;

use super::{guards::has_word, syntax::Id, unit::Unit};

/// Tells whether one of some calls stands in a tool of an agent, or in a function of the file that such a tool calls.
#[must_use]
pub fn any_in_tool(unit: &Unit, calls: &[Id]) -> bool {
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
#[must_use]
pub fn is_in_tool(unit: &Unit, at: Id) -> bool {
    any_in_tool(unit, &[at])
}

/// Returns the call that makes a tool of the function around a node.
#[must_use]
pub fn given_to(unit: &Unit, at: Id) -> Option<Id> {
    let mut around = unit.syntax.around(at).filter(|&id| unit.kind(id) == "call_expression");
    around.find(|&id| makes_tool(unit.callee_name(id)))
}

/// Tells whether a function around a call is a tool: by what decorates it, `@tool`; by what it is handed to, `tool({ execute })`;
/// or by a table of tools that names it, `TOOLS = {"search": search}`.
fn is_tool(unit: &Unit, function: Id, within: Id, tables: &[&str]) -> bool {
    let whole = unit.syntax[function].parent;
    let decorated =
        unit.syntax.children(whole).any(|id| unit.kind(id) == "decorator" && decorates_tool(unit, id));
    let handed = unit
        .syntax
        .around(within)
        .any(|id| unit.is_call(id) && makes_tool(unit.callee_name(id)) && id != within);
    let name = unit.syntax.child(function, "name").map(|name| unit.text(name));
    let listed = || name.is_some_and(|name| tables.iter().any(|table| has_word(table, name)));
    decorated || handed || listed()
}

/// Tells whether a decorator makes a tool of what it stands above: `@function_tool`, `@mcp.tool(...)`.
#[must_use]
pub fn decorates_tool(unit: &Unit, decorator: Id) -> bool {
    let name = unit.text(decorator).trim_start_matches('@').split('(').next().unwrap_or_default();
    makes_tool(name.trim().rsplit('.').next().unwrap_or_default())
}

/// What makes a tool and is not called so: of Pydantic AI, Microsoft's Agent Framework and Semantic Kernel.
const MAKERS: &[&str] = &["tool_plain", "ai_function", "kernel_function"];

/// Tells whether a name is that of what makes a tool: `function_tool`, `defineTool`.
fn makes_tool(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with("tool") || MAKERS.contains(&name)
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
