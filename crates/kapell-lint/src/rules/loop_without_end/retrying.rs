//! Decorators that try again for ever unless they are told when to stop.
//!
//! Sources: tenacity, "Basic Retry": "the default behavior is to retry forever without waiting when an exception is raised";
//! retrying, README, "Examples": the same; backoff, docstring of `on_exception`: "The default value of None means there is no limit
//! to the number of tries"; retry, `retry`: `tries` is -1 unless given, infinite.

use super::again::LASTS;
use crate::{
    code::{Id, Language, Unit, service::Methods, unit::BROAD},
    rule::Report,
    rules::names::words,
};

/// A decorator of a library that tries again.
struct Retrier {
    /// What it is called.
    path: &'static str,
    /// How the names begin of what bounds how often it tries, or how long.
    stops: &'static [&'static str],
    /// How the names begin of what lets some failures through, or makes the pauses longer.
    spares: &'static [&'static str],
    /// How many arguments it may be given without their names, of which the last says which failures are tried again.
    plain: usize,
    /// What to do.
    hint: &'static str,
}

/// Those that have no limit of their own.
const RETRIERS: &[Retrier] = &[
    Retrier {
        path: "tenacity.retry",
        stops: &["stop"],
        spares: &["retry"],
        plain: 0,
        hint: "give it `stop=stop_after_attempt(5)` and `wait=wait_exponential()`",
    },
    Retrier {
        path: "backoff.on_exception",
        stops: &["max_"],
        spares: &["giveup", "exception"],
        plain: 2,
        hint: "give it `max_tries=5`",
    },
    Retrier {
        path: "retry.retry",
        stops: &["tries"],
        spares: &["backoff", "max_delay", "exceptions"],
        plain: 1,
        hint: "give it `tries=5` and `backoff=2`",
    },
    Retrier {
        path: "retrying.retry",
        stops: &["stop"],
        spares: &["retry_on", "wait_exponential", "wait_increment", "wait_func"],
        plain: 0,
        hint: "give it `stop_max_attempt_number=5` and `wait_exponential_multiplier=1000`",
    },
];

/// Words of pauses that grow.
const GROWS: &[&str] = &["expo", "fibo", "increment", "chain", "combine"];

/// How a limit is set behind the decorator.
const SET_LATER: &[&str] = &[".retry_with(", ".retry.stop", ".retry.wait"];

/// Tells of functions that such a decorator tries again for ever.
pub(super) fn check(methods: &Methods<'_>, unit: &Unit, report: &mut Report<'_>) {
    let text = unit.whole();
    let module = |retrier: &Retrier| retrier.path.split('.').next().unwrap_or_default();
    let imported =
        RETRIERS.iter().any(|retrier| unit.language == Language::Python && text.contains(module(retrier)));
    if !imported || SET_LATER.iter().any(|word| text.contains(word)) {
        return;
    }
    for decorated in unit.syntax.of_kind(&["decorated_definition"]) {
        let Some(function) = unit.syntax.child(decorated, "definition") else { continue };
        let mut decorators = unit.syntax.children(decorated).filter(|&id| unit.kind(id) == "decorator");
        let Some((made, retrier)) = decorators.find_map(|id| endless(unit, id)) else { continue };
        let name = unit.syntax.child(function, "name").map_or("", |name| unit.text(name));
        let lasts = words(name)
            .iter()
            .any(|word| word == "main" || LASTS.iter().any(|known| word.starts_with(known)));
        if lasts || unit.kind(function) != "function_definition" {
            continue;
        }
        let Some((reached, _)) = methods.reached(unit, function) else { continue };
        let message = format!(
            "`{name}` is tried again for ever, also where it can never work: `{}` has no limit unless it is given one",
            retrier.path
        );
        report
            .add(unit.file, unit.span(made), message)
            .hint(retrier.hint)
            .also(unit.file, unit.span(reached), "what fails here is tried again")
            .done();
    }
}

/// Reads a decorator as one that tries again for ever, whatever fails, with pauses that do not grow: what is called, or named,
/// and which it is.
fn endless(unit: &Unit, decorator: Id) -> Option<(Id, &'static Retrier)> {
    let made = unit
        .syntax
        .children(decorator)
        .find(|&id| matches!(unit.kind(id), "call" | "identifier" | "attribute"))?;
    let called = unit.kind(made) == "call";
    let path = unit.path(if called { unit.callee(made)? } else { made })?;
    let retrier = RETRIERS.iter().find(|retrier| retrier.path == path.text)?;
    let args = if called { unit.args(made) } else { Vec::new() };
    let plain: Vec<Id> = args.iter().filter(|arg| arg.name.is_none()).map(|arg| arg.value).collect();
    let named = |known: &[&str]| {
        args.iter().filter_map(|arg| arg.name).any(|name| known.iter().any(|start| name.starts_with(start)))
    };
    let broad = match retrier.plain {
        // What is given without a name may be a limit.
        0 => plain.is_empty(),
        most => plain.len() <= most && plain.get(most - 1).is_none_or(|&id| BROAD.contains(&unit.text(id))),
    };
    let unseen = called && unit.has_splat(made);
    let grows = GROWS.iter().any(|word| called && unit.text(made).contains(word));
    (broad && !unseen && !grows && !named(retrier.stops) && !named(retrier.spares)).then_some((made, retrier))
}
