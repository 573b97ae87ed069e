//! A call that waits for ever when the other side does not answer.

mod address;
mod clients;
mod killed; // programs that outlive their limit
mod started; // programs and shells

use std::collections::BTreeMap;

use kapell_spec::finding::Span;
use kapell_view::audit::{Confidence, Severity};

use self::{
    clients::{endless_clients, exported, tell_sdk},
    killed::tell_killed,
    started::{tell_agents, tell_processes, tell_shells},
};
use crate::{
    code::{Id, Language, Service, Transport, Unit, service, tools},
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// See `docs/rules/call-without-timeout.md`.
pub(super) static RULE: Rule = Rule {
    name: "call-without-timeout",
    summary: "a call to a model or a service that may wait for ever",
    group: Group::Code,
    anti_pattern: Some(AntiPattern::NoTimeout),
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Deep,
    page: include_str!("../../docs/rules/call-without-timeout.md"),
    check,
};

/// What sets a limit for all calls of a program, and by which means they travel.
const EVERYWHERE: &[(&str, &[Transport])] = &[
    ("setdefaulttimeout(", &[Transport::Requests, Transport::Urllib]),
    ("axios.defaults.timeout", &[Transport::Axios]),
    ("setGlobalDispatcher(", &[Transport::Fetch]),
];

/// Words of what limits the calls within it.
const WRAPPERS: &[&str] =
    &["timeout", "wait_for", "waitfor", "race", "fail_after", "move_on_after", "deadline"];

fn check(repository: &Repository, report: &mut Report<'_>) {
    let set = |mark: &str| repository.code.iter().any(|unit| unit.whole().contains(mark));
    let limited: Vec<Transport> =
        EVERYWHERE.iter().filter(|(mark, _)| set(mark)).flat_map(|(_, of)| of.iter().copied()).collect();
    for unit in repository.code.iter() {
        let mut found: BTreeMap<Transport, Vec<Id>> = BTreeMap::new();
        for call in unit.calls() {
            if let Some(Service::Http(transport)) = service::of_call(unit, call)
                && !limited.contains(&transport)
                && endless(unit, call, transport)
                && !service::wrapped(unit, call, WRAPPERS)
            {
                found.entry(transport).or_default().push(call);
            }
        }
        for (transport, calls) in found {
            tell(unit, transport, &calls, report);
        }
        tell_processes(unit, report);
        tell_agents(unit, report);
        tell_shells(unit, report);
        tell_killed(unit, report);
    }
    endless_clients(repository, report);
    if !limited.contains(&Transport::Axios) {
        exported(repository, report);
    }
    tell_sdk(repository, report);
}

/// A habit of calls, told once for all of them.
struct Habit {
    severity: Severity,
    message: String,
    hint: &'static str,
    /// What is said of each call but the first.
    too: &'static str,
}

impl Habit {
    fn new(message: String, hint: &'static str, too: &'static str) -> Self {
        Self { severity: Severity::Medium, message, hint, too }
    }

    /// One habit is one finding, at the first of its places.
    fn tell<'a>(
        places: impl IntoIterator<Item = (&'a Unit, Id)>,
        said: impl FnOnce(&Unit, Id) -> Self,
        report: &mut Report<'_>,
    ) {
        let mut places = places.into_iter();
        let Some((unit, first)) = places.next() else { return };
        let Self { severity, message, hint, too } = said(unit, first);
        let draft = report.add(unit.file, unit.span(first), message).severity(severity);
        let mut draft = draft.confidence(Confidence::Medium).hint(hint);
        for (unit, call) in places {
            draft = draft.also(unit.file, unit.span(call), too);
        }
        draft.done();
    }
}

/// Returns how a call is written, and the function around it, for people.
fn written(unit: &Unit, call: Id) -> (&str, String) {
    (unit.callee(call).map_or("", |callee| unit.text(callee)), service::place_name(unit, call))
}

fn tell(unit: &Unit, transport: Transport, calls: &[Id], report: &mut Report<'_>) {
    let head = |call: Id| {
        let span = unit.callee(call).map_or(unit.span(call), |callee| unit.span(callee));
        Span { start: unit.span(call).start, end: span.end }
    };
    let Some((&first, others)) = calls.split_first() else { return };
    let name = unit.callee(first).map_or("", |callee| unit.text(callee));
    let more =
        if others.is_empty() { String::new() } else { format!(", nor have {} more here", others.len()) };
    let message = format!("`{name}`{} has no time limit{more}", service::place_name(unit, first));
    let hint = match transport {
        Transport::Fetch => "give it `signal: AbortSignal.timeout(30_000)`",
        Transport::Axios => {
            "give it `timeout: 30_000`, or make a client with `axios.create({ timeout: 30_000 })`"
        }
        Transport::Got => "give it `timeout: { request: 30_000 }`",
        _ => "give it `timeout=30`",
    };
    let mut draft = report.add(unit.file, head(first), message).hint(hint);
    if transport == Transport::Fetch {
        draft = draft.confidence(Confidence::Medium);
    }
    // While a tool waits, its agent does, whatever the agent itself is limited to.
    let to_model = calls.iter().any(|&call| service::names_model_host(unit.text(call)));
    if to_model || tools::any_in_tool(unit, calls) {
        draft = draft.severity(Severity::High);
    }
    for &call in others {
        draft = draft.also(unit.file, head(call), "without a limit too");
    }
    draft.done();
}

/// Tells whether a call has no limit, as far as can be seen; what cannot be seen may have one.
fn endless(unit: &Unit, call: Id, transport: Transport) -> bool {
    let args = unit.args(call);
    let position = |at: usize| args.get(at).map(|arg| arg.value);
    match transport {
        Transport::Requests => {
            let limited = unit.keyword(call, "timeout").is_some_and(|value| unit.text(value) != "None");
            // An adapter may set a limit for the whole session.
            !limited && (!unit.has_splat(call) || hands_none_on(unit, call)) && !limits_sessions(unit)
        }
        Transport::Urllib => {
            unit.keyword(call, "timeout").is_none() && args.len() < 3 && !unit.has_splat(call)
        }
        Transport::Httpx | Transport::Aiohttp => false,
        Transport::Fetch => {
            !in_browser(unit)
                && position(0).is_some_and(|url| address::is_far(unit, url))
                && without(unit, position(1), &["signal", "timeout"])
        }
        Transport::Axios => !in_browser(unit) && axios_endless(unit, call),
        Transport::Got => without(unit, position(1), &["timeout", "signal"]) && !unit.has_splat(call),
    }
}

/// Tells whether what a call hands on by `**options` is what the callers of its own function give, which only this file calls,
/// and none gives a limit.
fn hands_none_on(unit: &Unit, call: Id) -> bool {
    let function = unit.function_of(call);
    let named = unit.syntax.child(function, "name").map_or("", |name| unit.text(name));
    let args = unit.args(call);
    let splats: Vec<&str> = args
        .iter()
        .filter(|arg| unit.kind(arg.value).ends_with("splat"))
        .map(|arg| unit.text(arg.value).trim_start_matches('*'))
        .collect();
    let list = unit.syntax.child(function, "parameters").map_or("", |list| unit.text(list));
    let own = splats.iter().all(|name| list.contains(&format!("**{name}")));
    let private = named.starts_with('_') && !named.starts_with("__");
    let set = splats.iter().any(|name| {
        let text = unit.text(function);
        text.contains(&format!("{name}[")) || text.contains(&format!("{name}."))
    });
    let calls: Vec<Id> = unit.calls().filter(|&other| unit.called(other) == Some(function)).collect();
    let gives = |&call: &Id| unit.keyword(call, "timeout").is_some() || unit.has_splat(call);
    private && own && !set && !splats.is_empty() && !calls.is_empty() && !calls.iter().any(gives)
}

/// Tells whether something may set a limit for a whole session: an adapter of one's own, or its `request` replaced. The adapter
/// that the library brings knows of tries, and of no limit.
fn limits_sessions(unit: &Unit) -> bool {
    let plain = |mount: Id| {
        let adapter = unit.args(mount).get(1).and_then(|arg| unit.value(arg.value));
        let made = adapter.and_then(|adapter| unit.path(unit.callee(adapter)?));
        made.is_some_and(|made| {
            matches!(&*made.text, "requests.adapters.HTTPAdapter" | "requests.sessions.HTTPAdapter")
        })
    };
    let text = unit.whole();
    let replaced = text.contains(".request = ") || text.contains(".send = ");
    replaced || unit.calls().filter(|&call| unit.callee_name(call) == "mount").any(|mount| !plain(mount))
}

fn axios_endless(unit: &Unit, call: Id) -> bool {
    let Some(path) = unit.callee(call).and_then(|callee| unit.path(callee)) else { return false };
    let keys = ["timeout", "signal", "cancelToken", "httpAgent"];
    if path.text.starts_with("axios.create()") {
        let limited = path.built.is_none_or(|made| {
            let config = unit.args(made).first().map(|arg| arg.value);
            !without(unit, config, &keys)
        });
        if limited {
            return false;
        }
    }
    let args = unit.args(call);
    let config = match unit.callee_name(call) {
        "post" | "put" | "patch" => 2,
        "request" => 0,
        "get" | "delete" | "head" | "options" => 1,
        _ => args.len().saturating_sub(1),
    };
    without(unit, args.get(config).map(|arg| arg.value), &keys)
}

/// Tells whether options are not given, or are given and have none of the keys.
fn without(unit: &Unit, options: Option<Id>, keys: &[&str]) -> bool {
    let Some(options) = options else { return true };
    if matches!(unit.kind(options), "string" | "template_string") {
        return true;
    }
    keys.iter().all(|key| unit.object_key(options, key) == Some(None))
}

/// Tells whether a file runs in a browser, where the person closes the page.
fn in_browser(unit: &Unit) -> bool {
    let text = unit.whole();
    unit.language != Language::Python
        && [
            "use client",
            "document.",
            "window.",
            "localStorage",
            "\"react\"",
            "'react'",
            "\"vue\"",
            "chrome.",
            "caches.",
            "import.meta.env",
            "$state(",
        ]
        .iter()
        .any(|mark| text.contains(mark))
}

/// Tells whether a client is made without what it needs, as far as can be seen.
pub(super) fn lacks(unit: &Unit, call: Id, given: &[&str]) -> bool {
    let args = unit.args(call);
    let spread = || args.iter().any(|arg| unit.kind(arg.value).ends_with("splat"));
    match unit.language {
        Language::Python => {
            given.iter().all(|name| unit.keyword(call, name).is_none_or(|value| unit.text(value) == "None"))
                && !spread()
        }
        // Without options it takes none, or takes them from the environment.
        _ => {
            let options = args.iter().rev().find(|arg| unit.kind(arg.value) != "string").map(|arg| arg.value);
            !unit.has_splat(call) && without(unit, options, given)
        }
    }
}
