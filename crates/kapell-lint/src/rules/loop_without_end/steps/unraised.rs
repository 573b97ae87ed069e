//! Bounds of rounds that a choice reads, and that no step raises: `if state["revisions"] >= 3: return END`, where the only step
//! that sets it says `{"revisions": 0}`.
//!
//! Source: the documentation of LangGraph, "Graph API overview": a key without a reducer is what the last step has set it to.

use std::collections::BTreeSet;

use kapell_spec::finding::Span;

use super::{Function, Routers, function, graphs, state::is_key};
use crate::{
    code::{Id, Language, Unit, graphs::Choice, guards::has_word, modules::Modules},
    files::FileId,
    repository::Repository,
    rule::Report,
};

/// Tells of the first such bound of a graph; whether there is one.
pub(super) fn check<'a>(
    repository: &'a Repository,
    modules: &Modules<'a>,
    routers: &Routers<'a, '_>,
    report: &mut Report<'_>,
) -> bool {
    let graph = routers.graph;
    let found = graph.choices.iter().find_map(|choice| {
        let router =
            function(modules, graph.unit, choice.router).filter(|_| turns(modules, routers, choice))?;
        let mut seen = BTreeSet::new();
        let mut bounds = bounds(router).into_iter().filter(|(_, key)| seen.insert(*key));
        bounds.find_map(|(at, key)| Some((router.0, at, key, constant(repository, modules, key)?)))
    });
    let Some((unit, at, key, set)) = found else { return false };
    let message = format!("`{key}` is to end these rounds, and no step raises it: it stays {}", set.number);
    report
        .add(unit.file, unit.span(at), message)
        .hint(format!("give back `{key}` plus one from a step of the round"))
        .also(set.file, set.span, "all that sets it")
        .done();
    true
}

/// Tells whether an answer of a choice leads back to it.
fn turns<'a>(modules: &Modules<'a>, routers: &Routers<'a, '_>, choice: &Choice<'a>) -> bool {
    let graph = routers.graph;
    let Some((unit, router)) = function(modules, graph.unit, choice.router) else { return false };
    graphs::given(unit, router).into_iter().any(|answer| {
        let next = graph.led_to(choice, unit, answer);
        next.is_some_and(|next| routers.way(next, choice.from).is_some())
    })
}

/// Finds where a function compares a key of the state with a number or a constant.
fn bounds((unit, router): Function<'_>) -> Vec<(Id, &str)> {
    let compared = unit.syntax.below(router).filter(|&id| {
        matches!(unit.kind(id), "comparison_operator" | "binary_expression")
            && unit.syntax.children(id).any(|sign| matches!(unit.kind(sign), ">=" | ">" | "<" | "<="))
    });
    let read = |whole: Id| {
        let parts: Vec<Id> = unit.syntax.children(whole).collect();
        let &[left, _, right] = &parts[..] else { return None };
        let fixed = |id: Id| {
            let text = unit.text(id);
            matches!(unit.kind(id), "integer" | "number")
                || text.starts_with(|c: char| c.is_ascii_uppercase())
                    && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        };
        let of_state = if fixed(right) { left } else { Some(right).filter(|_| fixed(left))? };
        Some((whole, key(unit, of_state)?))
    };
    compared.filter_map(read).collect()
}

/// Returns the key of the state that an expression reads: `state["turns"]`, `state.get("turns", 0)`, `state.turns`.
fn key(unit: &Unit, id: Id) -> Option<&str> {
    let child = |field| unit.syntax.child(id, field);
    let of_state = |object: Id| unit.text(object) == "state";
    match unit.kind(id) {
        "subscript" => unit.literal(child("subscript").filter(|_| child("value").is_some_and(of_state))?),
        "subscript_expression" => {
            unit.literal(child("index").filter(|_| child("object").is_some_and(of_state))?)
        }
        "call" => {
            let object = unit.syntax.child(unit.callee(id)?, "object")?;
            let gets = of_state(object) && unit.callee_name(id) == "get";
            unit.literal(unit.args(id).first().filter(|_| gets)?.value)
        }
        "attribute" | "member_expression" => {
            let name = child("attribute").or_else(|| child("property"))?;
            child("object").is_some_and(of_state).then(|| unit.text(name))
        }
        _ => None,
    }
}

/// A number that a key is set to, and where.
struct Constant {
    number: String,
    file: FileId,
    span: Span,
}

/// Returns where a key is set, if all of the repository's code only ever sets it to one and the same number.
fn constant(repository: &Repository, modules: &Modules<'_>, key: &str) -> Option<Constant> {
    let mut first: Option<Constant> = None;
    for (id, file) in repository.files.iter().filter(|(_, file)| has_word(&file.text, key)) {
        let Some(language) = Language::of(&file.path) else { continue };
        let known = modules.unit(id);
        // A file that asks no model may raise it as well.
        let read = if known.is_none() { Unit::read(id, language, &file.text) } else { None };
        let unit = known.or(read.as_ref())?;
        for value in set(unit, key)? {
            let number = unit.text(value);
            let same = first.as_ref().is_none_or(|known| known.number == number);
            (same && matches!(unit.kind(value), "integer" | "number")).then_some(())?;
            first = first
                .or_else(|| Some(Constant { number: number.to_owned(), file: id, span: unit.span(value) }));
        }
    }
    first
}

/// Returns what a key is set to in a file; `None` where that may be anything.
fn set(unit: &Unit, key: &str) -> Option<Vec<Id>> {
    let mut found = Vec::new();
    for id in unit.syntax.below(Id::ROOT) {
        let around = unit.syntax[id].parent;
        let child = |field| unit.syntax.child(around, field);
        match unit.kind(id) {
            "string" if unit.literal(id) == Some(key) => match unit.kind(around) {
                "pair" => found.push(child("value")?),
                "subscript" | "subscript_expression" => found.extend(assigned(unit, around)?),
                _ => is_key(unit, id).then_some(())?,
            },
            "identifier" | "property_identifier" | "shorthand_property_identifier"
                if unit.text(id) == key =>
            {
                match unit.kind(around) {
                    "keyword_argument" | "pair" => found.push(child("value")?),
                    "attribute" | "member_expression" => found.extend(assigned(unit, around)?),
                    "property_signature" => {}
                    // `revisions: int`, with or without a value; a reducer may add it up.
                    "assignment" => {
                        let kind = child("type").map(|kind| unit.text(kind))?;
                        (!kind.contains("Annotated")).then_some(())?;
                        found.extend(child("right"));
                    }
                    _ => return None,
                }
            }
            _ => {}
        }
    }
    Some(found)
}

/// Returns what a part of something is set to, nothing where it is read; `None` where it is counted up.
fn assigned(unit: &Unit, part: Id) -> Option<Option<Id>> {
    let around = unit.syntax[part].parent;
    if unit.syntax.child(around, "left") != Some(part) {
        return (unit.kind(around) != "update_expression").then_some(None);
    }
    match unit.kind(around) {
        "assignment" | "assignment_expression" => Some(unit.syntax.child(around, "right")),
        "augmented_assignment" | "augmented_assignment_expression" => None,
        _ => Some(None),
    }
}
