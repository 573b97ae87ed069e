//! Files that stand for a lock, and that whoever has waited long enough takes from the one who still holds it.
//!
//! Source: POSIX, `open`: with `O_CREAT` and `O_EXCL` it fails if the file exists, so that only one makes it; the flag `wx` of
//! Node and the mode `x` of Python say the same. Who removes a file that another one made, and makes it anew, lets both work.

use crate::{
    code::{self, Id, Unit, service},
    rule::Report,
};

/// Where what stands within is not always reached, or only after a failure.
const BRANCHES: &[&str] = &[
    "if_statement",
    "ternary_expression",
    "conditional_expression",
    "while_statement",
    "do_statement",
    "for_statement",
    "for_in_statement",
    "except_clause",
    "catch_clause",
    "finally_clause",
];

/// Tells of locks that are made anew after a loop of tries has ended without one.
pub(super) fn check(unit: &Unit, report: &mut Report<'_>) {
    if !code::locks_by_file(unit.whole()) {
        return;
    }
    let tries = unit.calls().filter(|&call| makes(unit, call).is_some());
    let found = tries.filter_map(|call| Some((call, taken(unit, call)?)));
    for (attempt, removed) in found {
        let message = format!(
            "`{}`{} takes the lock, when it has waited long enough, from whoever holds it: two then work at once, and updates are lost",
            unit.callee(removed).map_or("", |callee| unit.text(callee)),
            service::place_name(unit, removed),
        );
        report
            .add(unit.file, unit.span(removed), message)
            .hint("fail when the time is over, and remove a lock only where its holder is gone")
            .also(unit.file, unit.span(attempt), "the tries, which fail as long as somebody holds it")
            .done();
    }
}

/// Returns what names the file that a call makes only if it is not there yet.
fn makes(unit: &Unit, call: Id) -> Option<Id> {
    let name = unit.callee_name(call);
    let args = unit.args(call);
    let given = || {
        let nodes =
            args.iter().flat_map(|arg| std::iter::once(arg.value).chain(unit.syntax.below(arg.value)));
        let mut words = nodes.filter(|&id| matches!(unit.kind(id), "string" | "identifier" | "attribute"));
        words.any(|id| match unit.kind(id) {
            "string" => unit.literal(id).is_some_and(|word| matches!(word, "wx" | "x")),
            _ => unit.text(id).rsplit('.').next() == Some("O_EXCL"),
        })
    };
    let opens = matches!(name, "open" | "openSync" | "writeFile" | "writeFileSync");
    (opens && given()).then(|| args.first().map(|arg| arg.value))?
}

/// Returns the call that removes the lock after the loop around a try to get it, if the function then makes it anew.
fn taken(unit: &Unit, attempt: Id) -> Option<Id> {
    let made = makes(unit, attempt)?;
    let file = naming(unit, made);
    let function = unit.function_of(attempt);
    let mut within = unit.syntax.around(attempt).take_while(|&id| id != function);
    let tries = within
        .find(|&id| matches!(unit.kind(id), "while_statement" | "for_statement" | "for_in_statement"))?;
    // Who goes on for as long as the lock is young asks its holder.
    let condition = unit.syntax.child(tries, "condition").map_or("", |id| unit.text(id));
    if [file, unit.text(made)].iter().any(|name| condition.contains(name)) {
        return None;
    }
    let after = || {
        let own = unit.calls_in(function).filter(|&id| unit.function_of(id) == function);
        own.filter(|&id| id >= unit.syntax.end(tries))
    };
    let removed = after().find(|&id| {
        let named = unit.args(id).first().map(|arg| arg.value);
        let object = || unit.syntax.child(unit.callee(id)?, "object");
        let all = named.or_else(object).is_some_and(|named| naming(unit, named) == file);
        all && removes(unit, id) && !in_branch(unit, function, id)
    })?;
    let anew = |id: Id| {
        makes(unit, id).is_some_and(|again| naming(unit, again) == file) || unit.called(id) == Some(function)
    };
    after().any(|id| id > removed && anew(id)).then_some(removed)
}

/// Tells whether a call removes a file, by its name.
fn removes(unit: &Unit, call: Id) -> bool {
    code::REMOVES.iter().any(|start| start.strip_suffix('(') == Some(unit.callee_name(call)))
}

/// Returns how a file is named, by what its name was bound to where that is a call: `lock` of `const lock = lockPath(state)`.
fn naming(unit: &Unit, named: Id) -> &str {
    let value = unit.value(named).filter(|&value| unit.is_call(value));
    unit.text(value.unwrap_or(named))
}

/// Tells whether a call of a function is not always reached.
fn in_branch(unit: &Unit, function: Id, call: Id) -> bool {
    let mut around = unit.syntax.around(call).take_while(|&id| id != function);
    around.any(|id| BRANCHES.contains(&unit.kind(id)))
}
