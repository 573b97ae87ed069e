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
        for (client, message, hint) in endless_clients(unit) {
            let draft = report.add(unit.file, unit.span(client), message).confidence(Confidence::Medium);
            draft.hint(hint).done();
        }
        tell_processes(unit, report);
    }
}

/// Programs that are agents, and what makes each work alone.
const AGENTS: &[(&str, &[&str])] = &[
    ("claude", &["-p", "--print"]),
    ("codex", &["exec"]),
    ("gemini", &["-p", "--prompt", "--yolo"]),
    ("aider", &["--message", "-m", "--message-file"]),
    ("opencode", &["run"]),
    ("goose", &["run"]),
    ("cursor-agent", &["-p", "--print"]),
    ("qwen", &["-p", "--prompt"]),
];

/// Agents that are started as programs, and waited for without a limit.
fn tell_processes(unit: &Unit, report: &mut Report<'_>) {
    let mut found = unit.calls().filter_map(|call| Some((call, endless_process(unit, call)?)));
    let Some((first, agent)) = found.next() else { return };
    let callee = unit.callee(first).map_or("", |callee| unit.text(callee));
    let place = service::place_name(unit, first);
    let message = format!("`{callee}`{place} waits for the agent `{agent}` with no time limit");
    let mut draft = report
        .add(unit.file, unit.span(first), message)
        .confidence(Confidence::Medium)
        .hint("give it a limit, and end the process when that is over");
    for (call, _) in found {
        draft = draft.also(unit.file, unit.span(call), "without a limit too");
    }
    draft.done();
}

/// Returns the agent that a call starts to work alone, if nothing limits how long it waits.
fn endless_process(unit: &Unit, call: Id) -> Option<&'static str> {
    let path = unit.path(unit.callee(call)?)?.text;
    let waits = match &*path {
        "subprocess.run" | "subprocess.call" | "subprocess.check_call" | "subprocess.check_output" => {
            unit.keyword(call, "timeout").is_none() && !unit.has_splat(call)
        }
        "subprocess.Popen" | "asyncio.create_subprocess_exec" => {
            let around = unit.text(unit.function_of(call)).to_ascii_lowercase();
            let waits = [".wait()", ".communicate("].iter().any(|wait| around.contains(wait));
            let ends = ["timeout", "wait_for", ".kill(", ".terminate(", "poll("];
            waits && !ends.iter().any(|end| around.contains(end))
        }
        "child_process.execFileSync"
        | "child_process.spawnSync"
        | "node:child_process.execFileSync"
        | "node:child_process.spawnSync" => {
            without(unit, unit.args(call).get(2).map(|arg| arg.value), &["timeout", "signal"])
        }
        _ => false,
    };
    if !waits {
        return None;
    }
    let mut given = Vec::new();
    for arg in unit.args(call).iter().filter(|arg| arg.name.is_none()) {
        texts(unit, arg.value, 3, &mut given);
    }
    let is = |known: &str| given.contains(&known);
    AGENTS
        .iter()
        .find(|(agent, alone)| is(agent) && alone.iter().any(|flag| is(flag)))
        .map(|(agent, _)| *agent)
}

/// Collects the texts in an expression, and in what its names are bound to.
fn texts<'a>(unit: &'a Unit, id: Id, hops: u32, given: &mut Vec<&'a str>) {
    let Some(hops) = hops.checked_sub(1) else { return };
    for node in std::iter::once(id).chain(unit.syntax.below(id)) {
        match unit.kind(node) {
            "string" => given.push(unit.text(node).trim_matches(['"', '\''])),
            "identifier" | "attribute" | "member_expression" => {
                for &value in unit.values(node, unit.text(node)) {
                    if !unit.syntax.holds(value, node) {
                        texts(unit, value, hops, given);
                    }
                }
            }
            _ => {}
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

/// Clients that have no limit for any call, what they are given to have one, and how.
const CLIENTS: &[(&str, &[&str], &str, &str)] = &[
    (
        "google.genai.Client",
        &["http_options"],
        "this client waits for ever: google-genai sets no limit unless `http_options` gives one",
        "give it `http_options=types.HttpOptions(timeout=60_000)`, in milliseconds",
    ),
    (
        "langchain_ollama.ChatOllama",
        &["client_kwargs", "async_client_kwargs", "sync_client_kwargs"],
        "this client waits for ever: Ollama's sets no limit unless `client_kwargs` gives one",
        "give it `client_kwargs={\"timeout\": 120}`",
    ),
    (
        "ollama.Client",
        &["timeout"],
        "this client waits for ever: Ollama's sets no limit",
        "give it `timeout=120`",
    ),
    (
        "ollama.AsyncClient",
        &["timeout"],
        "this client waits for ever: Ollama's sets no limit",
        "give it `timeout=120`",
    ),
];

/// Finds such clients in a file, with what to say of each.
fn endless_clients(unit: &Unit) -> Vec<(Id, &'static str, &'static str)> {
    let made = |call: Id| {
        let path = unit.callee(call).and_then(|callee| unit.path(callee))?;
        let (_, limits, message, hint) = CLIENTS.iter().find(|(client, ..)| *client == path.text)?;
        let bare = limits.iter().all(|limit| unit.keyword(call, limit).is_none()) && !unit.has_splat(call);
        bare.then_some((call, *message, *hint))
    };
    unit.calls().filter_map(made).collect()
}
