//! A check by a model or an agent that lets through what it could not look at.

mod empty; // an empty list for a failure
pub(super) mod meant; // who says that it is so on purpose
pub(super) mod words; // what a name says of its answer

use kapell_view::audit::{Confidence, Severity};

use crate::{
    code::{
        Id, Service, Unit,
        service::{self, Methods},
    },
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/check-fails-open.md`.
pub(super) static RULE: Rule = Rule {
    name: "check-fails-open",
    summary: "a check by a model or an agent answers that all is well where it failed itself",
    group: Group::Code,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Deep,
    page: include_str!("../../docs/rules/check-fails-open.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    let methods = Methods::new(&repository.code);
    for unit in repository.code.iter() {
        for attempt in unit.syntax.of_kind(&["try_statement"]) {
            let answers = answers(unit, attempt);
            let Some((reached, what)) = asked(&methods, unit, attempt).filter(|_| !answers.is_empty()) else {
                continue;
            };
            let function = unit.function_of(attempt);
            for (answer, value) in answers {
                let Some(passes) = passes(repository, &methods, (unit, function), value) else { continue };
                let message = format!(
                    "`{}`{} answers for the {} where that failed{passes}",
                    unit.text(answer),
                    service::place_name(unit, answer),
                    what.name(),
                );
                let mut draft = report
                    .add(unit.file, unit.span(answer), message)
                    .hint("raise, or answer that it was not checked, which is not a yes")
                    .also(unit.file, unit.span(reached), "this may fail");
                if let Some(comment) = meant::said(unit, function, answer) {
                    draft = draft.explained(comment);
                }
                draft.done();
            }
        }
    }
}

/// Says what passes by the answer to a failure, if anything does.
fn passes(
    repository: &Repository,
    methods: &Methods<'_>,
    (unit, function): (&Unit, Id),
    value: Id,
) -> Option<String> {
    if lets_through(unit, function, value) && may_refuse(unit, function, value) {
        return Some(": whatever could not be checked passes".to_owned());
    }
    let gate = empty::gate(&repository.code, methods, (unit, function), value)?;
    Some(format!(", and {gate} takes it for a check without a finding"))
}

/// Finds the model or agent that a `try` asks.
fn asked(methods: &Methods<'_>, unit: &Unit, attempt: Id) -> Option<(Id, Service)> {
    let body = unit.syntax.child(attempt, "body")?;
    methods.reached(unit, body).filter(|(_, what)| what.answers())
}

/// Returns what a failure is answered with: the only `return` of each handler, where it throws nothing.
fn answers(unit: &Unit, attempt: Id) -> Vec<(Id, Id)> {
    let function = unit.function_of(attempt);
    let handlers = unit.syntax.children(attempt).filter(|&id| unit.is_handler(id));
    handlers
        .filter_map(|handler| {
            let own = |kinds: &[&str]| -> Vec<Id> {
                let all = unit.syntax.below(handler).filter(|&id| kinds.contains(&unit.kind(id)));
                all.filter(|&id| unit.function_of(id) == function).collect()
            };
            let leaves =
                own(&["raise_statement", "throw_statement", "if_statement", "conditional_expression"]);
            let [back] = *own(&["return_statement"]) else { return None };
            let value = unit.syntax.children(back).nth(1)?;
            leaves.is_empty().then_some((back, value))
        })
        .collect()
}

/// Tells whether a value says that all is well: by its own keys, or by the name of the function that answers it.
fn lets_through(unit: &Unit, function: Id, value: Id) -> bool {
    let name = name_of(unit, function);
    match unit.kind(value) {
        "true" => words::is_yes(name, true),
        "false" => words::is_yes(name, false),
        "string" => words::judges(name) && words::is_pass(unit.text(value).trim_matches(['"', '\''])),
        _ => {
            let verdicts = verdicts(unit, name, value);
            !verdicts.is_empty() && verdicts.iter().all(|verdict| verdict.passes)
        }
    }
}

/// A key of an answer that says whether something passes.
struct Verdict<'a> {
    key: &'a str,
    /// What it is given, as it is written.
    given: &'a str,
    passes: bool,
}

/// Returns the keys of an answer that say plainly whether something passes.
fn verdicts<'a>(unit: &'a Unit, function: &str, value: Id) -> Vec<Verdict<'a>> {
    let verdict = |(key, given): (&'a str, &'a str)| {
        let passes = match given {
            "true" | "True" => words::of_key(key, function)?,
            "false" | "False" => !words::of_key(key, function)?,
            _ => word_of(unit, function, key, given)?,
        };
        Some(Verdict { key, given, passes })
    };
    pairs(unit, value).into_iter().flatten().filter_map(verdict).collect()
}

/// Tells whether a word that a judge answers under a key of its own lets through, `verdict: 'pass'`, or stops. Nothing where the
/// file knows no word that stops: then it may be no verdict at all.
fn word_of(unit: &Unit, function: &str, key: &str, given: &str) -> Option<bool> {
    let quoted = given.starts_with(['"', '\'']);
    let word = given.trim_matches(['"', '\'']);
    if !quoted || !words::judges(function) || !words::is_verdict(key) {
        return None;
    }
    let stops = |text: &str| words::is_refusal(text.trim_matches(['"', '\'']));
    let may_stop = || unit.syntax.of_kind(&["string"]).any(|id| stops(unit.text(id)));
    match (words::is_pass(word), stops(word)) {
        (true, _) => may_stop().then_some(true),
        (_, stops) => stops.then_some(false),
    }
}

/// Returns the keys of an object and what they are given, as they are written; those of a class in Python too. Nothing where
/// it is none, or where others are spread into it.
fn pairs(unit: &Unit, value: Id) -> Option<Vec<(&str, &str)>> {
    let holder = match unit.kind(value) {
        "object" | "dictionary" => value,
        "call" if unit.callee_name(value).starts_with(char::is_uppercase) => {
            unit.syntax.child(value, "arguments")?
        }
        _ => return None,
    };
    let mut found = Vec::new();
    for inner in unit.syntax.children(holder) {
        match unit.kind(inner) {
            "pair" | "keyword_argument" => {
                let key = unit.syntax.child(inner, "key").or_else(|| unit.syntax.child(inner, "name"))?;
                let given = unit.syntax.child(inner, "value")?;
                found.push((unit.text(key).trim_matches(['"', '\'']), unit.text(given)));
            }
            "shorthand_property_identifier" => found.push((unit.text(inner), unit.text(inner))),
            "spread_element" | "dictionary_splat" => return None,
            _ => {}
        }
    }
    Some(found)
}

/// Tells whether a function answers otherwise where nothing fails: another value, or another one of the key that lets through.
fn may_refuse(unit: &Unit, function: Id, value: Id) -> bool {
    let handled = |id: Id| unit.syntax.around(id).any(|id| unit.is_handler(id));
    let back = unit.syntax.below(function).filter(|&id| unit.kind(id) == "return_statement");
    let mut values = back
        .filter(|&id| unit.function_of(id) == function && !handled(id))
        .filter_map(|id| unit.syntax.children(id).nth(1));
    let verdicts = verdicts(unit, name_of(unit, function), value);
    values.any(|id| match pairs(unit, id) {
        Some(pairs) if !verdicts.is_empty() => pairs.iter().any(|(key, given)| {
            verdicts.iter().any(|verdict| verdict.key == *key && verdict.given != *given)
        }),
        _ => unit.text(id) != unit.text(value),
    })
}

/// Returns the name of a function.
fn name_of(unit: &Unit, function: Id) -> &str {
    let parent = unit.syntax[function].parent;
    let given = || unit.syntax.child(parent, "name").or_else(|| unit.syntax.child(parent, "key"));
    let bound = matches!(unit.kind(parent), "variable_declarator" | "pair");
    let name = unit.syntax.child(function, "name").or_else(|| given().filter(|_| bound));
    name.map_or("", |name| unit.text(name))
}
