//! A call that waits for ever when the other side does not answer.

mod address;

use std::collections::BTreeMap;

use kapell_spec::finding::Span;
use kapell_view::audit::{Confidence, Severity};

use crate::{
    code::{Id, Language, Service, Transport, Unit, libraries, programs, service},
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

/// What sets a limit for all calls of a program.
const EVERYWHERE: &[&str] = &["setdefaulttimeout(", "axios.defaults.timeout", "setGlobalDispatcher("];

/// Words of what limits the calls within it.
const WRAPPERS: &[&str] =
    &["timeout", "wait_for", "waitfor", "race", "fail_after", "move_on_after", "deadline"];

fn check(repository: &Repository, report: &mut Report<'_>) {
    if repository.code.iter().any(|unit| EVERYWHERE.iter().any(|mark| unit.whole().contains(mark))) {
        return;
    }
    for unit in repository.code.iter() {
        let mut found: BTreeMap<Transport, Vec<Id>> = BTreeMap::new();
        for call in unit.calls() {
            if let Some(Service::Http(transport)) = service::of_call(unit, call)
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
    }
    endless_clients(repository, report);
    exported(repository, report);
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

/// Agents that are started as programs, and waited for without a limit.
fn tell_processes(unit: &Unit, report: &mut Report<'_>) {
    let found = unit.calls().filter(|&call| endless_process(unit, call).is_some());
    let said = |unit: &Unit, call: Id| {
        let (callee, place) = written(unit, call);
        let agent = endless_process(unit, call).unwrap_or_default();
        let message = format!("`{callee}`{place} waits for the agent `{agent}` with no time limit");
        Habit::new(message, "give it a limit, and end the process when that is over", "without a limit too")
    };
    Habit::tell(found.map(|call| (unit, call)), said, report);
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
        "child_process.spawn"
        | "node:child_process.spawn"
        | "cross-spawn"
        | "Bun.spawn"
        | "Bun.spawnSync"
        | "child_process.execFile"
        | "node:child_process.execFile" => {
            let around = unit.whole().to_ascii_lowercase();
            let ends = ["timeout", ".kill(", "signal:", "abort"];
            !ends.iter().any(|end| around.contains(end))
        }
        "zx.$" | "execa.$" | "bun.$" | "Bun.$" => {
            let around = unit.whole().to_ascii_lowercase();
            !["timeout", ".kill(", "signal", "abort"].iter().any(|end| around.contains(end))
        }
        "execa" | "execa.execa" | "execa.execaSync" => {
            without(unit, unit.args(call).get(2).map(|arg| arg.value), &["timeout", "cancelSignal", "signal"])
        }
        _ => false,
    };
    // `timeout 900 claude -p ...` ends by itself.
    let ends = || {
        let words = programs::words(unit, call).unwrap_or_default();
        words.first().is_some_and(|word| matches!(*word, "timeout" | "gtimeout"))
    };
    if !waits || ends() {
        return None;
    }
    programs::agent(unit, call)
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
            !limited && !unit.has_splat(call) && !limits_sessions(unit)
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

/// Folders of what runs in a browser.
const PAGES: &[&str] = &[
    "web",
    "frontend",
    "client",
    "ui",
    "app",
    "components",
    "views",
    "pages",
    "public",
    "mobile",
    "browser",
];

/// Clients of axios that a file makes for others, and gives no limit: what they ask stands in other files.
fn exported(repository: &Repository, report: &mut Report<'_>) {
    for unit in repository.code.iter().filter(|unit| unit.language != Language::Python && !in_browser(unit)) {
        let text = unit.whole();
        let path = &repository.files[unit.file].path;
        let shown = path.split('/').any(|folder| PAGES.contains(&folder));
        // An address that only a server knows.
        let served = text.contains("process.env.")
            && !["NEXT_PUBLIC_", "REACT_APP_", "VUE_APP_", "EXPO_PUBLIC_", "NUXT_PUBLIC_"]
                .iter()
                .any(|mark| text.contains(mark));
        let exports = text.contains("export ") || text.contains("exports");
        let own = |call: Id| {
            let path = unit.callee(call).and_then(|callee| unit.path(callee));
            path.is_some_and(|path| path.text == "axios.create" || path.text == "axios.default.create")
        };
        let used = unit.calls().any(|call| {
            let path = unit.callee(call).and_then(|callee| unit.path(callee));
            path.is_some_and(|path| path.text.starts_with("axios.create()."))
                && matches!(service::of_call(unit, call), Some(Service::Http(_)))
        });
        if shown || !served || !exports || used || text.contains("timeout") {
            continue;
        }
        let Some(made) = unit.calls().find(|&call| own(call)) else { continue };
        let keys = ["timeout", "signal", "httpAgent", "httpsAgent"];
        if without(unit, unit.args(made).first().map(|arg| arg.value), &keys) && !unit.has_splat(made) {
            let message = "requests of this client wait for ever: axios sets no limit".to_owned();
            let draft = report.add(unit.file, unit.span(made), message).confidence(Confidence::Medium);
            draft.hint("give it `timeout: 30_000`").done();
        }
    }
}

/// Finds clients that wait for ever in all files, by what is wrong with them: one habit, one finding.
fn endless_clients(repository: &Repository, report: &mut Report<'_>) {
    let mut found: BTreeMap<(&str, &'static str), Vec<(&Unit, Id)>> = BTreeMap::new();
    for unit in repository.code.iter() {
        for call in unit.calls() {
            let Some(path) = unit.callee(call).and_then(|callee| unit.path(callee)) else { continue };
            let known = libraries::ENDLESS.iter().find(|client| client.path == path.text);
            // Who limits each call of a session need not limit the session.
            let session = path.text == "mcp.ClientSession"
                && (unit.whole().contains("timeout") || unit.whole().contains("fail_after"));
            if let Some(client) = known.filter(|client| !session && lacks(unit, call, client.given)) {
                found.entry((client.why, client.hint)).or_default().push((unit, call));
            }
            if let Some(said) = bare(unit, call, &path.text) {
                found.entry(said).or_default().push((unit, call));
            }
            let off = libraries::LIMITED.contains(&&*path.text)
                && ["timeout", "total"]
                    .iter()
                    .any(|name| unit.keyword(call, name).is_some_and(|value| is_off(unit.text(value))));
            if off && !is_limited(unit, call) {
                let said = (
                    "this client waits for ever: its limit is switched off",
                    "drop `None`, or give it a number",
                );
                found.entry(said).or_default().push((unit, call));
            }
        }
    }
    for ((why, hint), places) in found {
        Habit::tell(places, |_, _| Habit::new(why.to_owned(), hint, "so does this one"), report);
    }
}

/// Methods of HTTP.
const VERBS: &[&str] = &["get", "post", "put", "patch", "delete", "del", "head"];

/// Requests of Node itself.
const NODE: &[&str] = &["https.request", "https.get", "http.request", "http.get"];

/// Says why a call that no client limits waits for ever, and what to do: one of a gRPC stub, a request of Node itself.
fn bare(unit: &Unit, call: Id, path: &str) -> Option<(&'static str, &'static str)> {
    let method = path.rsplit('.').next().unwrap_or_default();
    let stub = path.contains("_pb2_grpc.")
        && path.contains("Stub().")
        && method.starts_with(|c: char| c.is_ascii_uppercase());
    if stub
        && unit.keyword(call, "timeout").is_none()
        && !unit.has_splat(call)
        && !service::wrapped(unit, call, WRAPPERS)
    {
        return Some(("this call waits for ever: gRPC sets no deadline", "give it `timeout=30`"));
    }
    // The whole file is read for none but these, since this is asked of every call.
    let known = ["superagent.", "websockets."].iter().any(|start| path.starts_with(start))
        || NODE.contains(&path.trim_start_matches("node:"));
    if !known {
        return None;
    }
    let text = unit.whole().to_ascii_lowercase();
    let limited = ["timeout", "signal", "abort"].iter().any(|word| text.contains(word));
    // Those of superagent end in no time either, unless the chain of calls says so.
    let chained = path.starts_with("superagent.") && path.matches('.').count() == 1;
    if chained && VERBS.contains(&method) && !limited && !in_browser(unit) {
        let hint = "add `.timeout({ response: 10_000, deadline: 60_000 })`";
        return Some(("this request waits for ever: superagent sets no limit", hint));
    }
    let received = method == "recv" && path.starts_with("websockets.") && !text.contains("wait_for");
    if received && !limited && unit.keyword(call, "timeout").is_none() {
        return Some((
            "this waits for ever for an answer: websockets sets no limit",
            "take it within `asyncio.timeout(30)`",
        ));
    }
    let near = ["localhost", "127.0.0.1", "socketPath"].iter().any(|word| unit.text(call).contains(word));
    let node = unit.language != Language::Python && NODE.contains(&path.trim_start_matches("node:"));
    let hint = "give its options `timeout: 30_000`, and destroy the request on its `timeout`";
    (node && !limited && !near && !unit.args(call).is_empty())
        .then_some(("this request waits for ever: Node sets no limit", hint))
}

/// Tells whether a limit is none: `None`, `httpx.Timeout(None)`.
fn is_off(limit: &str) -> bool {
    let inner = ["httpx.Timeout(", "aiohttp.ClientTimeout(", "ClientTimeout(", "Timeout("]
        .iter()
        .find_map(|start| limit.strip_prefix(start)?.strip_suffix(')'));
    matches!(inner.unwrap_or(limit).trim(), "None" | "timeout=None" | "total=None")
}

/// Tells whether something around a client limits it. Where a `with` opens it, its own `timeout=None` is no limit.
fn is_limited(unit: &Unit, call: Id) -> bool {
    let head = unit.syntax.around(call).take_while(|&id| unit.kind(id) != "block");
    let Some(clause) = head.into_iter().find(|&id| unit.kind(id) == "with_clause") else {
        return service::wrapped(unit, call, WRAPPERS);
    };
    let others = unit.text(clause).replacen(unit.text(call), "", 1).to_ascii_lowercase();
    WRAPPERS.iter().any(|word| others.contains(word))
        || service::wrapped(unit, unit.syntax[clause].parent, WRAPPERS)
}

/// Functions of the agents' own kits that work until they are done.
const UNBOUND: &[&str] = &[
    "claude_agent_sdk.query",
    "claude_code_sdk.query",
    "@anthropic-ai/claude-agent-sdk.query",
    "@anthropic-ai/claude-code.query",
];

/// Words of what ends an agent some time.
const ENDS: &[&str] = &[
    "max_turns",
    "maxturns",
    "timeout",
    "wait_for",
    "abort",
    "max_budget",
    "maxbudget",
    "deadline",
    "interrupt",
];

/// Agents that are started by their kit in a file that bounds neither time nor turns nor cost.
fn tell_agents(unit: &Unit, report: &mut Report<'_>) {
    let text = unit.whole().to_ascii_lowercase();
    if ENDS.iter().any(|word| text.contains(word)) {
        return;
    }
    let found = unit.calls().filter(|&call| {
        // Options that another file makes may hold anything.
        let seen = unit
            .args(call)
            .iter()
            .all(|arg| unit.value(arg.value).is_some_and(|value| unit.kind(value) != "identifier"));
        let path = unit.callee(call).and_then(|callee| unit.path(callee));
        seen && path.is_some_and(|path| UNBOUND.contains(&&*path.text))
    });
    let said = |unit: &Unit, call: Id| {
        let (_, place) = written(unit, call);
        let message = format!("this agent{place} is bounded neither in time nor in turns nor in cost");
        let hint = match unit.language {
            Language::Python => "give its options `max_turns`, and put `asyncio.timeout` around it",
            _ => "give its options `maxTurns` and an `abortController`",
        };
        Habit::new(message, hint, "nor is this one")
    };
    Habit::tell(found.map(|call| (unit, call)), said, report);
}

/// Calls that start a program and wait for it, and where their options stand among what they are given.
const SHELLS: &[(&str, Option<usize>)] = &[
    ("subprocess.run", None),
    ("subprocess.call", None),
    ("subprocess.check_call", None),
    ("subprocess.check_output", None),
    ("subprocess.getoutput", None),
    ("subprocess.getstatusoutput", None),
    ("child_process.execSync", Some(1)),
    ("node:child_process.execSync", Some(1)),
];

/// A shell that runs whatever its caller hands it, and waits for that without a limit.
fn tell_shells(unit: &Unit, report: &mut Report<'_>) {
    let found = unit.calls().filter(|&call| runs_anything(unit, call));
    let said = |unit: &Unit, call: Id| {
        let (callee, place) = written(unit, call);
        let message = format!("`{callee}`{place} waits with no time limit for whatever command it is given");
        let hint = match unit.language {
            Language::Python => "give it `timeout=600`, and tell the model when that was over",
            _ => "give it `timeout: 600_000`, and tell the model when that was over",
        };
        Habit::new(message, hint, "so does this one")
    };
    Habit::tell(found.map(|call| (unit, call)), said, report);
}

fn runs_anything(unit: &Unit, call: Id) -> bool {
    let path = unit.callee(call).and_then(|callee| unit.path(callee));
    let known = path.and_then(|path| SHELLS.iter().find(|(known, _)| *known == path.text));
    let Some((program, options)) = known else { return false };
    let Some(command) = unit.args(call).first().filter(|arg| arg.name.is_none()).map(|arg| arg.value) else {
        return false;
    };
    // A name that this function was given, and that it does not make itself.
    let function = unit.function_of(call);
    let given = ["parameters", "formal_parameters"].iter().any(|kind| {
        let list = unit.syntax.children(function).find(|&child| unit.kind(child) == *kind);
        list.is_some_and(|list| {
            unit.syntax
                .below(list)
                .any(|id| unit.kind(id) == "identifier" && unit.text(id) == unit.text(command))
        })
    });
    let plain =
        unit.kind(command) == "identifier" && given && unit.values(call, unit.text(command)).is_empty();
    let shell = program.contains("getoutput")
        || program.contains("getstatus")
        || options.is_some()
        || unit.keyword(call, "shell").is_some_and(|value| unit.text(value) == "True");
    let endless = match options {
        Some(at) => without(unit, unit.args(call).get(*at).map(|arg| arg.value), &["timeout", "signal"]),
        None => unit.keyword(call, "timeout").is_none() && !unit.has_splat(call),
    };
    // A script's own short name for its steps is no tool that a model uses.
    let name = unit.syntax.child(function, "name").map_or("", |name| unit.text(name));
    let text = unit.whole().to_ascii_lowercase();
    let of_agent = ["agent", "llm", "tool"].iter().any(|word| text.contains(word))
        && !["run", "exec", "sh", "cmd", "execute", ""].contains(&name);
    plain && shell && endless && of_agent && !service::wrapped(unit, call, WRAPPERS)
}

/// Functions of the AI SDK that ask a model; it sets no limit of its own.
const UNLIMITED: &[&str] = &["ai.generateText", "ai.streamText", "ai.generateObject", "ai.streamObject"];

/// Calls through the AI SDK that nothing can end, in all files: one habit, one finding.
fn tell_sdk(repository: &Repository, report: &mut Report<'_>) {
    let found = repository.code.iter().filter(|unit| !in_browser(unit)).flat_map(|unit| {
        let calls = unit.calls().filter(|&call| {
            let path = unit.callee(call).and_then(|callee| unit.path(callee));
            path.is_some_and(|path| UNLIMITED.contains(&&*path.text))
                && !unit.args(call).is_empty()
                && without(unit, unit.args(call).first().map(|arg| arg.value), &["abortSignal", "timeout"])
                && !service::wrapped(unit, call, WRAPPERS)
        });
        calls.map(move |call| (unit, call))
    });
    let said = |unit: &Unit, call: Id| {
        let (callee, place) = written(unit, call);
        let message = format!("`{callee}`{place} has no time limit: the AI SDK sets none");
        let hint = "give it `abortSignal: AbortSignal.timeout(120_000)`";
        Habit { severity: Severity::Low, ..Habit::new(message, hint, "without a limit too") }
    };
    Habit::tell(found, said, report);
}
