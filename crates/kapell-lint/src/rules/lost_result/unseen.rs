//! Results of tools that no model ever sees, and an answer that is taken all the same: `generateText({ tools })` without `stopWhen`.
//!
//! Source: the documentation of the AI SDK, "Tool Calling" and `generateText`: without `stopWhen` (`maxSteps` before version 5) there
//! is one step, which ends with the calls of tools; to answer by their results takes another one.

use crate::{
    code::{Id, Language, Unit, service},
    repository::Repository,
    rule::Report,
};

/// Keys by which a call takes more than one step, or is to make none of an answer.
const STEPS: &[&str] =
    &["stopWhen", "maxSteps", "maxToolRoundtrips", "toolChoice", "output", "experimental_output"];

/// What of a result shows which tools were called: who looks at that goes on by itself.
const SHOWS: &[&str] =
    &["toolCalls", "toolResults", "response", "responseMessages", "content", "finishReason"];

pub(super) fn check(repository: &Repository, unit: &Unit, report: &mut Report<'_>) {
    if unit.language == Language::Python || !unit.whole().contains("generateText(") {
        return;
    }
    for call in
        unit.calls().filter(|&call| unit.callee_path(call).is_some_and(|path| path.text == "ai.generateText"))
    {
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
    let looped = unit.syntax.around(call).take_while(|&id| id != unit.function_of(call)).any(|id| {
        matches!(unit.kind(id), "while_statement" | "for_statement" | "for_in_statement" | "do_statement")
    });
    let own = unit
        .value(tools)
        .is_some_and(|value| unit.kind(value) == "object" && unit.text(value).contains("execute"));
    // A file that only makes tools asks no model, and is not read as code.
    let imported = || {
        let target = unit.origin(unit.text(tools)).and_then(|origin| origin.target.as_ref());
        target.is_some_and(|(file, _)| repository.files[*file].text.contains("execute"))
    };
    !more && !looped && (own || imported())
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
