//! A call that waits for ever when the other side does not answer.

use std::collections::BTreeMap;

use kapell_spec::finding::Span;
use kapell_view::audit::{Confidence, Severity};

use crate::{
    code::{Id, Language, Service, Transport, Unit, service},
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// The rule.
pub static RULE: Rule = Rule {
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

/// What sets a limit for all calls of a program.
const EVERYWHERE: &[&str] = &["setdefaulttimeout(", "axios.defaults.timeout", "setGlobalDispatcher("];

fn check(repository: &Repository, report: &mut Report<'_>) {
    if repository.code.iter().any(|unit| EVERYWHERE.iter().any(|mark| unit.whole().contains(mark))) {
        return;
    }
    for unit in repository.code.iter() {
        let mut found: BTreeMap<Transport, Vec<Id>> = BTreeMap::new();
        for call in unit.calls() {
            if let Some(Service::Http(transport)) = service::of_call(unit, call)
                && endless(unit, call, transport)
                && !service::wrapped(
                    unit,
                    call,
                    &["timeout", "wait_for", "race", "fail_after", "move_on_after"],
                )
            {
                found.entry(transport).or_default().push(call);
            }
        }
        for (transport, calls) in found {
            tell(unit, transport, &calls, report);
        }
        for client in endless_clients(unit) {
            let message =
                "this client waits for ever: google-genai sets no limit unless `http_options` gives one";
            let draft = report.add(unit.file, unit.span(client), message).confidence(Confidence::Medium);
            draft.hint("give it `http_options=types.HttpOptions(timeout=60_000)`, in milliseconds").done();
        }
    }
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
    if calls.iter().any(|&call| service::names_model_host(unit.text(call))) {
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
            !limited && !unit.has_splat(call) && !unit.whole().contains(".mount(")
        }
        Transport::Urllib => {
            unit.keyword(call, "timeout").is_none() && args.len() < 3 && !unit.has_splat(call)
        }
        Transport::Httpx | Transport::Aiohttp => false,
        Transport::Fetch => {
            !in_browser(unit)
                && position(0).is_some_and(|url| far(unit, url))
                && without(unit, position(1), &["signal", "timeout"])
        }
        Transport::Axios => !in_browser(unit) && axios_endless(unit, call),
        Transport::Got => without(unit, position(1), &["timeout", "signal"]) && !unit.has_splat(call),
    }
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

/// Tells whether an address is one of another machine: written out, or put together from what is.
fn far(unit: &Unit, url: Id) -> bool {
    let text = unit.value(url).map_or(unit.text(url), |value| unit.text(value));
    let text = text.trim_start_matches(['`', '"', '\'']);
    text.starts_with("http") || text.starts_with("${process.env") || text.starts_with("process.env") || {
        let inner =
            text.strip_prefix("${").and_then(|rest| rest.split_once('}')).map(|(name, _)| name.trim());
        let bound = inner.and_then(|name| unit.values(url, name).first().copied());
        bound.is_some_and(|value| {
            unit.text(value).contains("http") || unit.text(value).contains("process.env")
        })
    }
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
        ]
        .iter()
        .any(|mark| text.contains(mark))
}

/// Finds the clients that have no limit for any call.
fn endless_clients(unit: &Unit) -> Vec<Id> {
    let made = |&call: &Id| {
        let path = unit.callee(call).and_then(|callee| unit.path(callee));
        path.is_some_and(|path| path.text == "google.genai.Client")
    };
    let bare = |&call: &Id| unit.keyword(call, "http_options").is_none() && !unit.has_splat(call);
    unit.calls().filter(made).filter(bare).collect()
}
