//! Results of tools that no model ever sees, and an answer that is taken all the same: `generateText({ tools })` without `stopWhen`.
//!
//! Source: the documentation of the AI SDK, "Tool Calling", "Multi-Step Calls", and `generateText`: without `stopWhen` (`maxSteps`
//! before version 5) there is one step, which ends with the calls of tools; to answer by their results takes another one. `execute` is
//! optional: calls of a tool without it are forwarded, and not executed in the same process.

use crate::{
    code::{Id, Language, Unit, imports::Part, service},
    repository::Repository,
    rule::Report,
    rules::loop_without_end::LOOPS,
};

/// Keys by which a call takes more than one step, or is to make none of an answer.
const STEPS: &[&str] =
    &["stopWhen", "maxSteps", "maxToolRoundtrips", "toolChoice", "output", "experimental_output"];

/// What of a result shows which tools were called: who looks at that goes on by itself.
const SHOWS: &[&str] =
    &["toolCalls", "toolResults", "response", "responseMessages", "content", "finishReason"];

/// Tells of such calls.
pub(super) fn check(repository: &Repository, unit: &Unit, report: &mut Report<'_>) {
    if unit.language == Language::Python || !unit.whole().contains("generateText(") {
        return;
    }
    let is_asked = |call: Id| unit.callee_path(call).is_some_and(|path| path.text == "ai.generateText");
    for call in unit.calls().filter(|&call| is_asked(call)) {
        let Some(read) = answered(unit, call).filter(|_| ends_with_tools(repository, unit, call)) else {
            continue;
        };
        let message = format!(
            "`generateText`{} ends with the first calls of its tools: the model never sees their results, and the text is empty then",
            service::place_name(unit, call),
        );
        report
            .add(unit.file, unit.span(call), message)
            .hint("let it go on: `stopWhen: stepCountIs(8)`")
            .also(unit.file, unit.span(read), "the text is taken for the answer")
            .done();
    }
}

/// Tells whether a call has tools that are executed at once, and says nothing of further steps.
fn ends_with_tools(repository: &Repository, unit: &Unit, call: Id) -> bool {
    let Some(options) = unit.args(call).first().map(|arg| arg.value) else { return false };
    let Some(Some(tools)) = unit.object_key(options, "tools") else { return false };
    let more = STEPS.iter().any(|key| unit.object_key(options, key) != Some(None));
    let function = unit.function_of(call);
    let looped = || {
        let mut around = unit.syntax.around(call).take_while(|&id| id != function);
        around.any(|id| LOOPS.contains(&unit.kind(id)))
    };
    !more
        && !looped()
        && (unit.value(tools).is_some_and(|tools| are_executed(unit, tools))
            || are_imported_executed(repository, unit, tools))
}

/// Tells whether the first calls of some tools are executed at once: one of them that is seen has a function `execute`. What else is
/// called so, as a tool `executeQuery` that only shapes an answer, is left to whoever asked.
fn are_executed(unit: &Unit, tools: Id) -> bool {
    let executes = |tool: Id| {
        unit.syntax.below(tool).any(|id| match unit.kind(id) {
            "pair" => unit.syntax.child(id, "key").is_some_and(|key| unit.text(key) == "execute"),
            "method_definition" => {
                unit.syntax.child(id, "name").is_some_and(|name| unit.text(name) == "execute")
            }
            "shorthand_property_identifier" => unit.text(id) == "execute",
            _ => false,
        })
    };
    // `{ pods, nodes: listNodes }`
    let named = |part: Id| {
        let name = match unit.kind(part) {
            "shorthand_property_identifier" => part,
            "pair" => unit.syntax.child(part, "value").filter(|&value| unit.kind(value) == "identifier")?,
            _ => return None,
        };
        match unit.values(name, unit.text(name)) {
            &[value] => Some(value),
            _ => None,
        }
    };
    unit.kind(tools) == "object"
        && (executes(tools) || unit.syntax.children(tools).filter_map(named).any(executes))
}

/// The same of tools that another file exports. One that only makes tools asks no model, and is not read as code.
fn are_imported_executed(repository: &Repository, unit: &Unit, tools: Id) -> bool {
    let target = unit.origin(unit.text(tools)).and_then(|origin| origin.target.as_ref());
    let Some((id, Part::Named(name))) = target else { return false };
    let file = &repository.files[*id];
    let read = || Unit::read(*id, Language::of(&file.path)?, &file.text);
    file.text.contains("execute")
        && read().is_some_and(|other| match other.values(Id::ROOT, name) {
            &[tools] => are_executed(&other, tools),
            _ => false,
        })
}

/// Returns where the text of a result is read, if nothing of it is that shows which tools were called.
fn answered(unit: &Unit, call: Id) -> Option<Id> {
    let whole = unit.syntax[call].parent;
    let bound = unit.syntax[whole].parent;
    let name = unit.syntax.child(bound, "name").filter(|_| unit.awaited(call))?;
    if unit.kind(name) == "object_pattern" {
        let parts: Vec<Id> =
            unit.syntax.children(name).filter(|&id| unit.kind(id).contains("identifier")).collect();
        let known = parts.iter().all(|&part| matches!(unit.text(part), "text" | "usage" | "steps"));
        return parts.iter().copied().find(|&part| known && unit.text(part) == "text");
    }
    let mut read = None;
    for used in unit.syntax.below(unit.function_of(call)) {
        if used == name || unit.kind(used) != "identifier" || unit.text(used) != unit.text(name) {
            continue;
        }
        let part = unit.syntax[used].parent;
        let field = unit.syntax.child(part, "property").filter(|_| unit.kind(part) == "member_expression")?;
        if SHOWS.contains(&unit.text(field)) {
            return None;
        }
        read = read.or(Some(part).filter(|_| unit.text(field) == "text"));
    }
    read
}
