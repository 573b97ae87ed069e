//! What a call sets in a module for its time, and takes back after it has waited:
//! `module.callback = given`, `try: await work()`, `finally: module.callback = None`.
//!
//! A second call meanwhile sets it to something else, and the first one to end takes it from the other.
//!
//! Source: the documentation of Python, `contextvars`: context managers that have state should use context variables to
//! prevent their state from bleeding to other code unexpectedly, when used in concurrent code.

use kapell_view::audit::Confidence;

use super::{
    at_once, declared_outside, is_same, left, of_call, own_nodes, service, setter, waits, with_below,
};
use crate::{
    code::{Id, Language, Unit, imports::Part},
    files::FileId,
    repository::Repository,
    rule::Report,
};

/// Tells of such variables, once for each function.
pub(super) fn check(repository: &Repository, unit: &Unit, report: &mut Report<'_>) {
    if !unit.whole().contains("finally") || !unit.whole().contains("await ") {
        return;
    }
    let mut told: Vec<Id> = Vec::new();
    for clause in unit.syntax.of_kind(&["finally_clause"]) {
        let function = unit.function_of(clause);
        let whole = unit.syntax[clause].parent;
        if told.contains(&function) || !unit.is_async(function) {
            continue;
        }
        let Some(found) = kept(repository, unit, function, (whole, clause)) else { continue };
        // Last, for it looks through all files.
        if runs_once(repository, unit, function) {
            continue;
        }
        told.push(function);
        let message = format!(
            "`{}`{} is set for one call and taken back after its `await`: another call meanwhile has set it to something else, or goes on with nothing",
            found.name,
            service::place_name(unit, found.set),
        );
        report
            .add(unit.file, unit.span(found.set), message)
            .confidence(Confidence::Medium)
            .hint("hand it on as an argument, or keep it in a context variable")
            .also(unit.file, unit.span(found.reset), "taken back here")
            .done();
    }
}

/// What is set and taken back.
struct Kept<'a> {
    name: &'a str,
    set: Id,
    reset: Id,
}

fn kept<'a>(
    repository: &Repository,
    unit: &'a Unit,
    function: Id,
    (whole, clause): (Id, Id),
) -> Option<Kept<'a>> {
    let own = own_nodes(unit, function);
    let tried = unit.syntax.child(whole, "body")?;
    let wait = own.iter().copied().find(|&id| waits(unit, id) && unit.syntax.holds(tried, id))?;
    let names = of_call(unit, function, &own);
    let given = |id: Id| with_below(unit, id).any(|id| names.contains(unit.text(id)));
    let set = |id: Id| {
        let left = unit.syntax.child(id, "left")?;
        let right = unit.syntax.child(id, "right")?;
        matches!(unit.kind(id), "assignment" | "assignment_expression").then_some((left, right))
    };
    for reset in unit.syntax.below(clause).filter(|&id| unit.function_of(id) == function) {
        if let Some((left, right)) = set(reset) {
            let mut before = own.iter().copied().filter(|&id| id < wait).filter_map(set);
            let before = before.rfind(|&(other, value)| is_same(unit, left, other) && given(value));
            if let Some((first, _)) =
                before.filter(|_| is_nothing(unit, right) && is_of_module(repository, unit, function, left))
            {
                return Some(Kept { name: unit.text(first), set: unit.syntax[first].parent, reset });
            }
        }
        if let Some(found) = by_setters(repository, unit, reset, &own, wait, &given) {
            return Some(found);
        }
    }
    None
}

/// Tells whether a variable belongs to a module that other code reads it in.
fn is_of_module(repository: &Repository, unit: &Unit, function: Id, variable: Id) -> bool {
    let text = unit.text(variable);
    if left::is_shown(text) {
        return false;
    }
    // Beside where it is made, declared, set and taken back.
    let read = |text: &str, name: &str, others: usize| text.matches(name).count() > others;
    if unit.kind(variable) == "identifier" {
        let global = unit.syntax.below(function).any(|id| {
            unit.kind(id) == "global_statement" && unit.syntax.children(id).any(|id| unit.text(id) == text)
        });
        return match unit.language {
            Language::Python => global && read(unit.whole(), text, 4),
            _ => declared_outside(unit, function, text) && read(unit.whole(), text, 3),
        };
    }
    let Some((root, name)) = text.split_once('.') else { return false };
    let target = unit.origin(root).and_then(|origin| origin.target.as_ref());
    let Some((file, Part::Whole)) = target else { return false };
    let text = &repository.files[*file].text;
    !name.contains('.') && read(text, name, 1) && !tells_apart(text)
}

/// Finds a variable of a module that a function sets and another one takes back, or the same with nothing:
/// `setSession(given)` and `clearSession()` or `setSession(null)`.
fn by_setters<'a>(
    repository: &Repository,
    unit: &'a Unit,
    reset: Id,
    own: &[Id],
    wait: Id,
    given: &dyn Fn(Id) -> bool,
) -> Option<Kept<'a>> {
    let called = |id: Id| {
        let callee = unit.is_call(id).then(|| unit.callee(id)).flatten();
        callee.map(|callee| unit.text(callee))
    };
    let (callee, last) = (called(reset)?, unit.callee_name(reset).to_ascii_lowercase());
    let empties = match *unit.args(reset) {
        [] if CLEARS.iter().any(|verb| last.starts_with(verb)) => false,
        [only] if is_nothing(unit, only.value) => true,
        _ => return None,
    };
    let set = own.iter().copied().filter(|&id| id < wait).find(|&id| {
        let sets = if empties { called(id) == Some(callee) } else { unit.callee_name(id).starts_with("set") };
        sets && called(id).is_some() && matches!(*unit.args(id), [only] if given(only.value))
    })?;
    let (file, setter) = home(unit, set)?;
    let (other, clearer) = home(unit, reset)?;
    let kept_in = &repository.files[file];
    if other != file || tells_apart(&kept_in.text) || empties && !serves(repository) {
        return None;
    }
    let home = Unit::read(file, Language::of(&kept_in.path)?, &kept_in.text)?;
    let (kept, _) = home.function(setter).and_then(|setter| setter::sets(&home, setter))?;
    let clears = home.function(clearer)?;
    let taken = home.syntax.below(clears).any(|id| {
        matches!(home.kind(id), "assignment" | "assignment_expression")
            && home.syntax.child(id, "left").is_some_and(|left| home.text(left) == kept)
    });
    let told = taken && !left::is_shown(kept);
    told.then(|| Kept { name: unit.callee(set).map_or("", |callee| unit.text(callee)), set, reset })
}

/// How names of functions begin that take something back.
const CLEARS: &[&str] = &["clear", "reset", "unset"];

/// Tells whether a value is none: what is set to it is taken back.
fn is_nothing(unit: &Unit, value: Id) -> bool {
    matches!(unit.kind(value), "none" | "null" | "undefined")
}

/// Returns the file of the function that a call calls by a name, and what it is called there.
fn home(unit: &Unit, call: Id) -> Option<(FileId, &str)> {
    let own = || {
        let name = unit.text(unit.callee(call)?);
        unit.function(name).map(|_| (unit.file, name))
    };
    setter::defined(unit, call).or_else(own)
}

/// Tells whether something of the code runs many times at once.
fn serves(repository: &Repository) -> bool {
    repository.code.iter().any(|unit| !at_once::all(unit).is_empty())
}

/// Tells whether a function is the one that a program runs, and ends with.
fn runs_once(repository: &Repository, unit: &Unit, function: Id) -> bool {
    let Some(name) = unit.syntax.child(function, "name").map(|name| unit.text(name)) else { return true };
    let runs = ["asyncio.run(", "anyio.run(", "run_until_complete("].map(|run| format!("{run}{name}("));
    name == "main"
        || repository.files.iter().any(|(_, file)| runs.iter().any(|run| file.text.contains(&**run)))
}

/// Tells whether a module keeps something for each task apart. A lock of its own does not hold while others wait.
fn tells_apart(text: &str) -> bool {
    text.contains("ContextVar") || text.contains("AsyncLocalStorage")
}
