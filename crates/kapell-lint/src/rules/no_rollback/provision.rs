//! Code that makes several things elsewhere one after the other, and leaves the first ones behind when a later one fails.

use std::{cell::LazyCell, collections::BTreeSet};

use kapell_view::audit::{Confidence, Severity};

use crate::{
    code::{
        Id, Language, Unit,
        modules::Modules,
        service::{self, place_name},
        unit::FUNCTIONS,
    },
    repository::Repository,
    rule::Report,
    rules::names::words,
};

/// First words of what makes something, and of what takes it away.
const MAKES: &[&str] = &["create", "provision"];
const UNDOES: &[&str] = &["delete", "drop", "destroy", "remove", "deprovision", "teardown", "cancel"];

/// Words of code that finds what a run before left, or takes all back at once.
const SAFE: &[&str] = &[
    "transaction",
    ".begin(",
    "atomic",
    "exist",
    "already",
    "ensure",
    "idempot",
    "resume",
    "upsert",
    "rollback",
    "exitstack",
    "compensat",
    "defer",
];

/// Libraries whose objects make things on other machines.
const ELSEWHERE: &[&str] = &[
    "stripe",
    "@octokit/",
    "octokit",
    "boto3",
    "aioboto3",
    "@aws-sdk/",
    "googleapis",
    "@google-cloud/",
    "google.cloud",
    "azure.",
    "@azure/",
    "cloudflare",
    "@vercel/",
    "github.Github",
    "kubernetes",
    "@kubernetes/",
];

/// A call that makes something.
struct Made {
    call: Id,
    thing: String,
}

/// Tells of functions that make several things elsewhere in turn, and that nobody takes back where one of them fails: though
/// another function of the code undoes them, or though whoever asked is told to try again.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let makes = |unit: &&Unit| MAKES.iter().any(|verb| unit.whole().contains(verb));
    let mut likely = repository.code.iter().filter(makes).peekable();
    if likely.peek().is_none() {
        return;
    }
    let modules = Modules::new(&repository.code);
    let undoers = LazyCell::new(|| undoers(&repository.code));
    for unit in likely {
        for function in unit.syntax.of_kind(FUNCTIONS) {
            let made = made(unit, function);
            if made.len() < 2 || is_safe(unit, function) {
                continue;
            }
            let out = |made: &&Made| {
                goes_out(&modules, unit, made.call, STEPS) || speaks_of_others(repository, unit, made.call)
            };
            let out = made.iter().filter(out).count();
            if out < 2 {
                continue;
            }
            match undoing(&undoers, &repository.code, unit, &made) {
                Some(undoer) => tell(report, unit, &made, Some(undoer)),
                None if out > 2 && is_told_to_try_again(unit, &made) => tell(report, unit, &made, None),
                None => {}
            }
        }
    }
}

fn tell(report: &mut Report<'_>, unit: &Unit, made: &[Made], undoer: Option<&Undoer<'_>>) {
    let things: Vec<&str> = made.iter().map(|made| &*made.thing).collect();
    let first = made[0].call;
    let end = match undoer {
        Some(_) => "nothing takes them back when a later one fails, though there is a function that does",
        None => "when a later one fails, they stay, and whoever asked is told to try again",
    };
    let message = format!(
        "{}{} are made one after the other: {end}",
        crate::rule::names(things),
        place_name(unit, first)
    );
    let mut draft = report
        .add(unit.file, unit.span(first), message)
        .severity(Severity::High)
        .confidence(Confidence::Medium)
        .hint("undo what was made, the last first, where one of them fails, and then fail");
    for later in &made[1..] {
        draft = draft.also(unit.file, unit.span(later.call), "made next");
    }
    if let Some(Undoer { unit, function, .. }) = undoer {
        draft = draft.also(unit.file, unit.span(*function), "this undoes them");
    }
    draft.done();
}

/// Returns what a function itself makes in the order of its text, each thing once, where it waits for it and no loop or branch
/// is around it.
fn made(unit: &Unit, function: Id) -> Vec<Made> {
    let mut seen = BTreeSet::new();
    let own = unit.calls_in(function).filter(|&call| unit.function_of(call) == function);
    let waited = own
        .filter(|&call| unit.awaited(call) || unit.language == Language::Python && !unit.is_async(function));
    let made = waited.filter_map(|call| Some(Made { call, thing: thing(unit, call, MAKES)? }));
    let straight = |made: &Made| {
        let mut around = unit.syntax.around(made.call).take_while(|&id| id != function);
        !around.any(|id| {
            matches!(unit.kind(id), "if_statement" | "for_statement" | "for_in_statement" | "while_statement")
        })
    };
    made.filter(straight).filter(|made| seen.insert(made.thing.clone())).collect()
}

/// Returns what a call makes or undoes, by its name and that of its object: `database` of `createDatabase(x)`, `repo` of
/// `octokit.repos.createInOrg(x)`.
fn thing(unit: &Unit, call: Id, verbs: &[&str]) -> Option<String> {
    let name = unit.callee_name(call);
    let words = words(name);
    let (verb, rest) = words.split_first()?;
    if !verbs.contains(&&**verb) {
        return None;
    }
    let direct = rest.iter().take_while(|word| !matches!(&***word, "in" | "for" | "from" | "with" | "by"));
    let own: String = direct.map(|word| &**word).collect();
    let thing = if own.is_empty() {
        let object = unit.syntax.child(unit.callee(call)?, "object")?;
        unit.text(object).rsplit('.').next()?.to_ascii_lowercase()
    } else {
        own
    };
    let plain = thing.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    // `dns` is one thing.
    let one = thing.strip_suffix('s').filter(|one| one.len() > 2);
    plain.then(|| one.unwrap_or(&thing).to_owned())
}

/// How far a call is followed to see whether it goes to another machine.
const STEPS: u32 = 2;

/// Tells whether a call goes to another machine, by itself or by a function that it calls.
fn goes_out(modules: &Modules<'_>, unit: &Unit, call: Id, steps: u32) -> bool {
    let path = unit.callee_path(call);
    let known = path.is_some_and(|path| {
        service::of_path(path).is_some() || ELSEWHERE.iter().any(|library| path.text.starts_with(library))
    });
    let inside = || {
        let steps = steps.checked_sub(1)?;
        let own = || Some((unit, unit.called(call).filter(|&other| !unit.syntax.holds(other, call))?));
        let (other, function) = modules.exported(unit, call).or_else(own)?;
        Some(other.calls_in(function).any(|inner| goes_out(modules, other, inner, steps)))
    };
    known || inside().unwrap_or(false)
}

/// Tells whether the file from which a call takes its function speaks of other machines.
fn speaks_of_others(repository: &Repository, unit: &Unit, call: Id) -> bool {
    let target = unit.origin(unit.callee_name(call)).and_then(|origin| origin.target.as_ref());
    target.is_some_and(|(file, _)| {
        let text = &*repository.files[*file].text;
        text.contains("http") || ELSEWHERE.iter().any(|library| text.contains(library))
    })
}

/// Tells whether a function, or what decorates it, seems to take back what it did, or to find what is there already.
pub(super) fn is_safe(unit: &Unit, function: Id) -> bool {
    let code = crate::code::guards::code(unit, function);
    SAFE.iter().any(|word| code.contains(word))
        || unit.calls_in(function).any(|call| thing(unit, call, UNDOES).is_some())
}

/// A function that undoes several things.
struct Undoer<'a> {
    unit: &'a Unit,
    name: &'a str,
    function: Id,
    things: BTreeSet<String>,
}

/// Finds the functions that undo several things.
fn undoers(units: &[Unit]) -> Vec<Undoer<'_>> {
    units.iter().flat_map(undoers_of).collect()
}

fn undoers_of(unit: &Unit) -> impl Iterator<Item = Undoer<'_>> {
    let named = unit.functions().flat_map(|(name, all)| all.iter().map(move |&function| (name, function)));
    named.filter_map(move |(name, function)| {
        let things: BTreeSet<String> =
            unit.calls_in(function).filter_map(|call| thing(unit, call, UNDOES)).collect();
        (things.len() > 1).then_some(Undoer { unit, name, function, things })
    })
}

/// Finds the function that undoes at least two of the things, where nothing that runs after a failure calls it.
fn undoing<'a>(
    undoers: &'a [Undoer<'a>],
    units: &[Unit],
    unit: &Unit,
    made: &[Made],
) -> Option<&'a Undoer<'a>> {
    let undoer = undoers.iter().find(|undoer| {
        undoer.unit.language == unit.language
            && made.iter().filter(|made| undoer.things.contains(&made.thing)).count() > 1
    })?;
    let after_failure = |unit: &Unit, call: Id| {
        unit.syntax.around(call).any(|id| match unit.kind(id) {
            "except_clause" | "catch_clause" | "finally_clause" => true,
            "call" | "call_expression" => unit.callee_name(id) == "catch",
            _ => false,
        })
    };
    let handles = |unit: &Unit| {
        unit.calls().any(|call| unit.callee_name(call) == undoer.name && after_failure(unit, call))
    };
    (!units.iter().any(handles)).then_some(undoer)
}

/// Tells whether what handles the failure of things that are made raises nothing, and has whoever asked try again.
fn is_told_to_try_again(unit: &Unit, made: &[Made]) -> bool {
    let attempt = unit.syntax.around(made[0].call).find(|&id| unit.kind(id) == "try_statement");
    let Some(attempt) =
        attempt.filter(|&attempt| made.iter().all(|made| unit.syntax.holds(attempt, made.call)))
    else {
        return false;
    };
    let handlers = unit.syntax.children(attempt).filter(|&id| unit.is_handler(id));
    handlers.into_iter().any(|handler| {
        let raises = unit
            .syntax
            .below(handler)
            .any(|id| matches!(unit.kind(id), "throw_statement" | "raise_statement"));
        let text = unit.text(handler).to_ascii_lowercase();
        !raises && ["try again", "try it again", "please retry"].iter().any(|words| text.contains(words))
    })
}
