//! Clients that wait for ever, whatever is asked with them.

use std::collections::BTreeMap;

use kapell_view::audit::{Confidence, Severity};

use super::{Habit, WRAPPERS, in_browser, lacks, without, written};
use crate::{
    code::{Id, Language, Service, Unit, libraries, service},
    repository::Repository,
    rule::Report,
};

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
pub(super) fn exported(repository: &Repository, report: &mut Report<'_>) {
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

/// What is said of a client that has a limit unless somebody takes it away.
const SWITCHED_OFF: &str = "this client waits for ever: its limit is switched off";

/// Finds clients that wait for ever in all files, by what is wrong with them: one habit, one finding.
pub(super) fn endless_clients(repository: &Repository, report: &mut Report<'_>) {
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
                let said = (SWITCHED_OFF, "drop `None`, or give it a number");
                found.entry(said).or_default().push((unit, call));
            }
        }
    }
    for ((why, hint), places) in found {
        let habit = Habit::new(why.to_owned(), hint, "so does this one");
        let severity = if why == SWITCHED_OFF { Severity::High } else { habit.severity };
        Habit::tell(places, |_, _| Habit { severity, ..habit }, report);
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

/// Functions of the AI SDK that ask a model; it sets no limit of its own.
const UNLIMITED: &[&str] = &["ai.generateText", "ai.streamText", "ai.generateObject", "ai.streamObject"];

/// Calls through the AI SDK that nothing can end, in all files: one habit, one finding.
pub(super) fn tell_sdk(repository: &Repository, report: &mut Report<'_>) {
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
