//! Programs that a signal ended, and that are taken for having done their work: `child.on("close", (code) => resolve(code ?? 0))`.
//!
//! Source: the documentation of Node.js, "Child process", events `close` and `exit`: the code is `null` where a signal ended the
//! program.

use kapell_view::audit::Severity;

use crate::{
    code::{Id, Language, Unit, service, unit::FUNCTIONS},
    rule::Report,
};

/// What starts a program.
const STARTS: &[&str] = &["spawn(", "fork(", "execFile("];

/// Words of files that start agents.
const AGENTS: &[&str] = &["agent", "claude", "codex", "gemini", "opencode"];

/// Names under which the code of a program is given on.
const CODES: &[&str] = &["code", "exitCode", "exit_code", "exitStatus", "status"];

/// Words of a handler that knows more than the code.
const KNOWS: &[&str] = &["signal", "kill", "timedout", "timed_out", "abort", "cancel", "stopped"];

/// Tells of such codes, once for each file.
pub(super) fn check(unit: &Unit, report: &mut Report<'_>) {
    let text = unit.whole();
    if unit.language == Language::Python
        || !text.contains(" 0")
        || !STARTS.iter().any(|word| text.contains(word))
    {
        return;
    }
    let lower = text.to_ascii_lowercase();
    if !AGENTS.iter().any(|word| lower.contains(word)) {
        return;
    }
    let mut lost = unit.calls().filter_map(|call| taken_for_done(unit, call));
    let Some(first) = lost.next() else { return };
    let message = format!(
        "`{}`{} takes a program that a signal ended for one that did its work: the code is `null` then",
        unit.text(first),
        service::place_name(unit, first),
    );
    // What the program itself stops in time is not done.
    let stops = [".kill(", "timeout:", "AbortSignal"].iter().any(|word| text.contains(word));
    let mut draft = report
        .add(unit.file, unit.span(first), message)
        .severity(if stops { Severity::High } else { Severity::Medium })
        .hint("take `null` for a failure, or ask for the signal, which is given behind the code");
    for other in lost {
        draft = draft.also(unit.file, unit.span(other), "so does this");
    }
    draft.done();
}

/// Finds where a handler of the end of a program gives on a missing code as 0.
fn taken_for_done(unit: &Unit, call: Id) -> Option<Id> {
    let args = unit.args(call);
    let [event, handler] = &args[..] else { return None };
    let ends = matches!(unit.callee_name(call), "on" | "once")
        && matches!(unit.literal(event.value), Some("close" | "exit"))
        && FUNCTIONS.contains(&unit.kind(handler.value));
    let code = ends.then(|| only_parameter(unit, handler.value))??;
    let said = unit.text(handler.value).to_ascii_lowercase();
    if KNOWS.iter().any(|word| said.contains(word)) {
        return None;
    }
    let given = |&id: &Id| {
        let side = |name| unit.syntax.child(id, name).map(|side| unit.text(side));
        unit.kind(id) == "binary_expression"
            && matches!(side("operator"), Some("??" | "||"))
            && (side("left"), side("right")) == (Some(code), Some("0"))
            && is_given_on(unit, id)
    };
    unit.syntax.below(handler.value).find(given)
}

/// Returns the name of a function's parameter, if it has but one.
fn only_parameter(unit: &Unit, function: Id) -> Option<&str> {
    let syntax = &unit.syntax;
    if let Some(plain) = syntax.child(function, "parameter") {
        return Some(unit.text(plain));
    }
    let list = syntax.child(function, "parameters")?;
    let mut all = syntax.children(list).filter(|&id| !matches!(unit.kind(id), "(" | ")" | "," | "comment"));
    let only = all.next().filter(|_| all.next().is_none())?;
    let name = syntax.child(only, "pattern").unwrap_or(only);
    (unit.kind(name) == "identifier").then(|| unit.text(name))
}

/// Tells whether a value is what a promise comes to, or the code in it: what is only compared or shown may be anything.
fn is_given_on(unit: &Unit, value: Id) -> bool {
    let syntax = &unit.syntax;
    let resolves = |id: Id| unit.kind(id) == "call_expression" && unit.callee_name(id) == "resolve";
    let mut around = syntax.around(value).skip_while(|&id| unit.kind(id) == "parenthesized_expression");
    let Some(outer) = around.next() else { return false };
    match unit.kind(outer) {
        "arguments" => around.next().is_some_and(resolves),
        "pair" => {
            let key = syntax.child(outer, "key").map_or("", |key| unit.text(key));
            CODES.contains(&key) && syntax.around(outer).any(resolves)
        }
        _ => false,
    }
}
