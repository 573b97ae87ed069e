//! Results of `asyncio.gather(..., return_exceptions=True)` that are only compared with `False`: an exception is not `False`.
//!
//! Sources: the documentation of Python, `asyncio.gather`: with `return_exceptions=True`, exceptions are treated as results;
//! "Truth Value Testing": an object is true unless it says otherwise, and exceptions do not.

use crate::{
    code::{
        Id, Language, Unit,
        service::{self, Methods},
    },
    rule::Report,
};

/// Tells of them, where all that is asked of a result is whether it is `False`, or true.
pub(super) fn check(methods: &Methods<'_>, unit: &Unit, report: &mut Report<'_>) {
    if unit.language != Language::Python || !unit.whole().contains("return_exceptions") {
        return;
    }
    for call in unit.calls().filter(|&call| super::settled::swallows(unit, call)) {
        let Some(asked) = asked(unit, call).filter(|_| !all_see_to_it(methods, unit, call)) else { continue };
        let callee = unit.callee(call).map_or("", |callee| unit.text(callee));
        let message = format!(
            "`{callee}`{} keeps what failed among the results, and `{}` takes that for a success",
            service::place_name(unit, call),
            unit.text(asked),
        );
        report
            .add(unit.file, unit.span(asked), message)
            .hint("ask `result is True`, or go through the results for `BaseException` first")
            .also(unit.file, unit.span(call), "keeps all failures")
            .done();
    }
}

/// Finds the first place that asks whether a result is `False`, where nothing else is asked of any but how many there are.
fn asked(unit: &Unit, call: Id) -> Option<Id> {
    let wait = unit.syntax[call].parent;
    let bound = unit.syntax[wait].parent;
    let name = unit.syntax.child(bound, "left").filter(|_| unit.kind(bound) == "assignment")?;
    if unit.kind(name) != "identifier" || unit.values(name, unit.text(name)).len() != 1 {
        return None;
    }
    let function = unit.function_of(call);
    let end = unit.syntax.end(call);
    let named = unit.syntax.below(function).filter(|&id| id >= end && unit.kind(id) == "identifier");
    let mut first = None;
    for used in named.filter(|&id| unit.text(id) == unit.text(name)) {
        match use_of(unit, used) {
            Use::Asks(at) => first = first.or(Some(at)),
            Use::Counts => {}
            Use::Other => return None,
        }
    }
    first
}

/// What is done with the results in one place.
enum Use {
    /// It is asked, here, whether they are `False`.
    Asks(Id),
    /// They are counted.
    Counts,
    /// Anything else.
    Other,
}

fn use_of(unit: &Unit, results: Id) -> Use {
    let around = unit.syntax[results].parent;
    match unit.kind(around) {
        "argument_list" => {
            let call = unit.syntax[around].parent;
            let alone = unit.args(call).len() == 1;
            match unit.callee_name(call) {
                "len" if alone => Use::Counts,
                "all" if alone => Use::Asks(call),
                _ => Use::Other,
            }
        }
        // `False in results`
        "comparison_operator" => {
            let all: Vec<Id> = unit.syntax.children(around).collect();
            match all[..] {
                [what, _, other] if other == results && unit.kind(what) == "false" => Use::Asks(around),
                _ => Use::Other,
            }
        }
        "for_in_clause" => of_each(unit, around, results).map_or(Use::Other, Use::Asks),
        _ => Use::Other,
    }
}

/// Finds where a comprehension, `[r for r in results if r is not False]`, asks of each result whether it is `False`, and
/// nothing else decides.
fn of_each(unit: &Unit, clause: Id, results: Id) -> Option<Id> {
    let item = unit.syntax.child(clause, "left").filter(|&id| unit.kind(id) == "identifier")?;
    if unit.syntax.child(clause, "right") != Some(results) {
        return None;
    }
    let whole = unit.syntax[clause].parent;
    let mut found = None;
    for used in unit.syntax.below(whole) {
        if used == item || unit.kind(used) != "identifier" || unit.text(used) != unit.text(item) {
            continue;
        }
        let body = unit.syntax.child(whole, "body") == Some(used);
        match is_false(unit, used) {
            Some(at) => found = found.or(Some(at)),
            // What passes is handed on as it is.
            None if body => {}
            None => return None,
        }
    }
    // `any(r for r in results)` would be another question.
    found
}

/// Returns the expression that asks whether a name is `False`: `r is False`, `r is not False`, `r == False`, `not r`.
fn is_false(unit: &Unit, used: Id) -> Option<Id> {
    let around = unit.syntax[used].parent;
    let last = unit.syntax.children(around).last()?;
    let compares = unit.kind(around) == "comparison_operator" && unit.kind(last) == "false";
    (compares || unit.kind(around) == "not_operator").then_some(around)
}

/// Tells whether all that runs at once catches what fails itself. What cannot be seen may not.
fn all_see_to_it(methods: &Methods<'_>, unit: &Unit, call: Id) -> bool {
    let Some(list) = unit.syntax.child(call, "arguments") else { return true };
    let called = unit.calls_in(list).filter_map(|call| {
        let own = unit.called(call).map(|function| (unit, function));
        own.or_else(|| methods.exported(unit, call))
    });
    // `map(check, cases)`
    let named = unit.syntax.below(list).filter(|&id| unit.kind(id) == "identifier");
    let named = named.filter_map(|id| Some((unit, unit.function(unit.text(id))?)));
    let mut all = called.chain(named).peekable();
    let catches = |(other, function): (&Unit, Id)| {
        other.syntax.below(function).any(|id| other.kind(id) == "except_clause")
    };
    all.peek().is_some() && all.all(catches)
}
