//! Answers that a script has its agents give in a shape of its own, and throws away.
//!
//! Source: <https://code.claude.com/docs/en/workflows>, as of 2026-11: `agent()` with a `schema` answers an object of that shape, and
//! the script holds what comes back: nobody else sees it.

use kapell_spec::finding::Span;

use crate::code::{Id, Unit, unit::FUNCTIONS};

/// An answer that nothing reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unheard {
    /// The agent.
    pub span: Span,
    /// Where the script goes on to say that something was done.
    pub said: Option<Span>,
}

/// Finds the agents whose answers nothing reads.
pub(super) fn unheard(unit: &Unit) -> Vec<Unheard> {
    let asked = unit.calls().filter(|&call| is_to_answer(unit, call));
    asked
        .filter_map(|call| {
            let statement = thrown_away(unit, call);
            if statement.is_none() && !is_handed_to_nobody(unit, call) {
                return None;
            }
            let said = statement.and_then(|statement| said_after(unit, statement));
            Some(Unheard { span: unit.span(call), said: said.map(|said| unit.span(said)) })
        })
        .collect()
}

/// Tells whether a call starts an agent, by itself or by a function that is called after it, and says which shape its answer has.
fn is_to_answer(unit: &Unit, call: Id) -> bool {
    let own = unit.callee(call).is_some_and(|callee| unit.kind(callee) == "identifier");
    let agent = unit.callee_name(call);
    let [_, options] = &*unit.args(call) else { return false };
    own && (agent == "agent" || agent.ends_with("Agent"))
        && unit.kind(options.value) == "object"
        && unit.syntax.children(options.value).any(|pair| {
            let key = unit.syntax.child(pair, "key").map_or("", |key| unit.text(key));
            key == "schema" || unit.kind(pair).starts_with("shorthand") && unit.text(pair) == "schema"
        })
}

/// Returns the statement that awaits a call, or a list of such, and does nothing with what comes back.
fn thrown_away(unit: &Unit, call: Id) -> Option<Id> {
    let mut waits = false;
    for around in unit.syntax.around(call) {
        match unit.kind(around) {
            "await_expression" => waits = true,
            "arrow_function" | "arguments" | "array" | "parenthesized_expression" => waits = false,
            "call_expression" if matches!(unit.callee_name(around), "map" | "parallel" | "all") => {}
            "member_expression" => {}
            "expression_statement" => return waits.then_some(around),
            _ => return None,
        }
    }
    None
}

/// Tells whether a call is all that a function does which is handed on by name (`{ reset: () => agent(..) }`) to one that calls it and
/// never looks at what it answers.
fn is_handed_to_nobody(unit: &Unit, call: Id) -> bool {
    let mut around = unit.syntax.around(call).skip_while(|&id| unit.kind(id) == "await_expression");
    let arrow = around.next().filter(|&id| unit.kind(id) == "arrow_function");
    let pair = around.next().filter(|&id| unit.kind(id) == "pair");
    let taken = around.nth(1).zip(around.next()).map(|(_, taker)| taker);
    let (Some(_), Some(pair), Some(taker)) = (arrow, pair, taken) else { return false };
    let name = unit.syntax.child(pair, "key").map_or("", |key| unit.text(key));
    let function = unit.function(unit.callee_name(taker)).filter(|_| unit.kind(taker) == "call_expression");
    let Some(function) = function else { return false };
    let given = unit.syntax.child(function, "parameters").is_some_and(|list| {
        let mut below = unit.syntax.below(list);
        below.any(|id| unit.kind(id) == "shorthand_property_identifier_pattern" && unit.text(id) == name)
    });
    let mut calls = unit.calls_in(function).filter(|&call| unit.callee_name(call) == name).peekable();
    given && calls.peek().is_some() && calls.all(|call| thrown_away(unit, call).is_some())
}

/// Returns the line of the log that follows a statement.
fn said_after(unit: &Unit, statement: Id) -> Option<Id> {
    let block = unit.syntax[statement].parent;
    let mut after = unit.syntax.children(block).skip_while(|&id| id <= statement);
    let next = after.find(|&id| unit.kind(id) != "comment")?;
    let call = unit.syntax.children(next).next().filter(|_| unit.kind(next) == "expression_statement")?;
    let logs = unit.kind(call) == "call_expression" && unit.callee_name(call) == "log";
    (logs && !FUNCTIONS.contains(&unit.kind(block))).then_some(call)
}
