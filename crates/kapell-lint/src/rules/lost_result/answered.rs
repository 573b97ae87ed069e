//! Failures that are put where the answer of a model belongs, though failures have a place of their own:
//! `except Exception as e: state["answer"] = f"Error: {e}"` beside `except Exception as e: state["error"] = str(e)`.
//!
//! Source: the documentation of LangGraph, "Graph API": what a node returns updates the state, and all that comes after reads
//! the state alone.

use kapell_view::audit::Severity;

use crate::{
    code::{
        Id, Language, Unit,
        service::{self, Methods},
    },
    rule::Report,
};

/// Keys under which a state keeps failures.
const ERRORS: &[&str] = &["error", "errors", "error_message", "last_error", "failure"];

/// A failure that is kept as an answer.
struct Answered<'a> {
    unit: &'a Unit,
    /// Where it is kept, and the key.
    at: Id,
    key: &'a str,
    /// The key under which others of the file keep theirs.
    errors: &'a str,
    /// Where the answer of a model is kept under the same key.
    answer: Id,
}

/// Tells of the first, and of where the others are: one habit, one finding.
pub(super) fn check<'a>(
    methods: &Methods<'_>,
    units: impl Iterator<Item = &'a Unit>,
    report: &mut Report<'_>,
) {
    let mut all = units.flat_map(|unit| answered(methods, unit));
    let Some(first) = all.next() else { return };
    let Answered { unit, at, key, errors, answer } = first;
    let message = format!(
        "the failure{} becomes the `{key}`: whoever looks for one in `{errors}` finds none, and takes it for an answer",
        service::place_name(unit, at),
    );
    let mut draft = report
        .add(unit.file, unit.span(at), message)
        .severity(Severity::High)
        .hint(format!("keep it under `{errors}`, as the others do"))
        .also(unit.file, unit.span(answer), "this is the answer");
    for other in all {
        draft = draft.also(other.unit.file, other.unit.span(other.at), "and here");
    }
    draft.done();
}

fn answered<'a>(methods: &Methods<'_>, unit: &'a Unit) -> Vec<Answered<'a>> {
    let text = unit.whole();
    let errors = ERRORS.iter().copied().find(|key| text.contains(&format!("[\"{key}\"] = ")));
    let Some(errors) = errors.filter(|_| unit.language == Language::Python) else { return Vec::new() };
    let handlers: Vec<Id> = unit.syntax.of_kind(&["except_clause"]).collect();
    let marks = |&handler: &Id| kept(unit, handler).any(|kept| kept.key == errors);
    let asked = unit.syntax.of_kind(&["if_statement"]).any(|id| {
        let condition = unit.syntax.child(id, "condition").map_or("", |id| unit.text(id));
        condition.contains(&format!("\"{errors}\""))
    });
    if !asked || !handlers.iter().any(marks) {
        return Vec::new();
    }
    handlers.into_iter().filter_map(|handler| answer(methods, unit, handler, errors)).collect()
}

/// Finds what a handler keeps of its failure under a key that the answer of a model has otherwise.
fn answer<'a>(methods: &Methods<'_>, unit: &'a Unit, handler: Id, errors: &'a str) -> Option<Answered<'a>> {
    let named = unit.syntax.below(handler).find(|&id| unit.kind(id) == "as_pattern_target")?;
    let failure = unit.text(named);
    let mut all = kept(unit, handler);
    let own = all.next().filter(|_| all.next().is_none())?;
    let told =
        unit.syntax.below(own.value).any(|id| unit.kind(id) == "identifier" && unit.text(id) == failure);
    let raises = unit.syntax.below(handler).any(|id| unit.kind(id) == "raise_statement");
    if !told || raises || ERRORS.iter().any(|word| own.key.contains(word)) || unit.kind(own.value) != "string"
    {
        return None;
    }
    let tried = unit.syntax.child(unit.syntax[handler].parent, "body")?;
    let mut otherwise = kept(unit, tried).filter(|other| unit.text(other.place) == unit.text(own.place));
    let answer = otherwise.find(|other| unit.kind(other.value) != "string")?;
    let (_, reached) = methods.reached(unit, tried)?;
    reached.answers().then_some(Answered {
        unit,
        at: own.assignment,
        key: own.key,
        errors,
        answer: answer.assignment,
    })
}

/// Something that is kept under a key: `state["answer"] = text`.
struct Kept<'a> {
    assignment: Id,
    /// What stands left of the sign.
    place: Id,
    key: &'a str,
    value: Id,
}

/// Returns what is kept under keys that are written out, within a node.
fn kept(unit: &Unit, within: Id) -> impl Iterator<Item = Kept<'_>> {
    unit.syntax.below(within).filter(|&id| unit.kind(id) == "assignment").filter_map(|assignment| {
        let place = unit.syntax.child(assignment, "left").filter(|&left| unit.kind(left) == "subscript")?;
        let key = unit.literal(unit.syntax.child(place, "subscript")?)?;
        Some(Kept { assignment, place, key, value: unit.syntax.child(assignment, "right")? })
    })
}
