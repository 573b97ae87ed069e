//! Functions that an agent has for its tools: while one of them waits, the agent does.

use crate::code::{Id, Unit, guards::has_word};

/// Tells whether a call stands in a tool of an agent, or in a function of the file that such a tool calls.
pub(super) fn is_in_tool(unit: &Unit, call: Id) -> bool {
    // Most files have none.
    if !["tool", "Tool", "TOOL"].iter().any(|word| unit.whole().contains(word)) {
        return false;
    }
    let function = unit.function_of(call);
    if is_tool(unit, function, call) {
        return true;
    }
    let calls = unit.calls().filter(|&other| function != Id::ROOT && unit.called(other) == Some(function));
    calls.into_iter().any(|other| is_tool(unit, unit.function_of(other), other))
}

/// Tells whether a function is a tool: by what decorates it, `@tool`; by what it is handed to, `tool({ execute })`; or by a table
/// of tools that names it, `TOOLS = {"search": search}`.
fn is_tool(unit: &Unit, function: Id, within: Id) -> bool {
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
    decorated || handed || is_listed(unit, function)
}

/// Tells whether a name ends as those of what makes a tool do: `function_tool`, `defineTool`, `mcp.tool`.
fn is_of_tools(name: &str) -> bool {
    name.trim_start_matches('@').to_ascii_lowercase().ends_with("tool")
}

/// Tells whether a table or a list of the file that is called after tools names a function.
fn is_listed(unit: &Unit, function: Id) -> bool {
    let Some(name) = unit.syntax.child(function, "name").map(|name| unit.text(name)) else { return false };
    let mut made = unit.syntax.of_kind(&["assignment", "variable_declarator"]);
    made.any(|made| {
        let child = |field| unit.syntax.child(made, field);
        let Some((own, value)) =
            child("left").or_else(|| child("name")).zip(child("right").or_else(|| child("value")))
        else {
            return false;
        };
        let table = matches!(unit.kind(value), "dictionary" | "object" | "list" | "array" | "tuple");
        let called = unit.text(own).to_ascii_lowercase().contains("tools");
        table && called && unit.function_of(made) == Id::ROOT && has_word(unit.text(value), name)
    })
}
