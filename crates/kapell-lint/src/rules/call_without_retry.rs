//! A call to a model that fails the whole work when the service is busy for a moment.

use std::cell::OnceCell;

use kapell_view::audit::{Confidence, Severity};

use super::{call_without_timeout, loop_without_end};
use crate::{
    code::{Id, Service, Transport, Unit, libraries, modules::Modules, retries, service},
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// See `docs/rules/call-without-retry.md`.
pub(super) static RULE: Rule = Rule {
    name: "call-without-retry",
    summary: "a call to a model that is not tried again when the service is busy",
    group: Group::Code,
    anti_pattern: Some(AntiPattern::NoTimeout),
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::Medium,
    depth: Depth::Deep,
    page: include_str!("../../docs/rules/call-without-retry.md"),
    check,
};

/// What sets up all calls of a program, and by which means they travel; its file says whether they are tried again.
const EVERYWHERE: &[(&str, Transport)] = &[
    ("setGlobalDispatcher(", Transport::Fetch),
    ("globalThis.fetch =", Transport::Fetch),
    ("global.fetch =", Transport::Fetch),
    ("axiosRetry(axios", Transport::Axios),
    ("axios.interceptors.response.use(", Transport::Axios),
];

fn check(repository: &Repository, report: &mut Report<'_>) {
    let modules = Modules::new(&repository.code);
    let everywhere = EVERYWHERE.iter().filter(|(mark, _)| {
        repository.code.iter().any(|unit| unit.whole().contains(mark) && retries::mentioned(unit))
    });
    let everywhere: Vec<Transport> = everywhere.map(|(_, transport)| *transport).collect();
    for unit in repository.code.iter() {
        // The whole file is read for those only of which there is something to say.
        let mentioned = OnceCell::new();
        let mentioned = || *mentioned.get_or_init(|| retries::mentioned(unit));
        let covered = |call| matches!(service::of_call(unit, call), Some(Service::Http(by)) if everywhere.contains(&by));
        let again = |call| covered(call) || mentioned() && retries::retried(unit, call);
        let alone =
            |call| !again(call) && !loops(unit, call) && !caller_retries((repository, &modules), unit, call);
        let told = |call| once(unit, call).or_else(|| reason(unit, call).filter(|_| alone(call)));
        let mut found = unit.calls().filter_map(|call| Some((call, told(call)?)));
        let Some((first, (message, hint))) = found.next() else { continue };
        let mut draft = report.add(unit.file, unit.span(first), message).hint(hint);
        for (call, _) in found {
            draft = draft.also(unit.file, unit.span(call), "not tried again either");
        }
        draft.done();
    }
}

/// Tells whether a loop tries a call again until it works, or what a client that it makes is asked. One that nothing ends is told
/// of by itself.
fn loops(unit: &Unit, call: Id) -> bool {
    let asks =
        |other: Id| other == call || unit.callee_path(other).is_some_and(|path| path.built == Some(call));
    let mut tried =
        unit.syntax.of_kind(&["while_statement"]).filter_map(|each| loop_without_end::tries(unit, each));
    tried.any(|(_, inner)| unit.calls_in(inner).any(asks))
}

/// Tells whether a function of another file that calls the one around a call tries again: its own words say so.
///
/// What its imports lead to is known; an object of unknown make may be of any file that names this one.
fn caller_retries((repository, modules): (&Repository, &Modules<'_>), unit: &Unit, call: Id) -> bool {
    let function = unit.function_of(call);
    let Some(name) = unit.syntax.child(function, "name").map(|name| unit.text(name)) else { return false };
    let path = &repository.files[unit.file].path;
    let stem = path.rsplit('/').next().and_then(|file| file.split('.').next()).unwrap_or_default();
    let others = repository.code.iter().filter(|other| {
        other.file != unit.file && other.whole().contains(name) && other.whole().contains(stem)
    });
    let words = ["retry", "retries", "attempt", "tries", "backoff"];
    let again = |other: &Unit, at: Id| {
        let text = other.text(other.function_of(at)).to_ascii_lowercase();
        let text = text.replace("entries", "");
        words.iter().any(|word| text.contains(word)) || service::wrapped(other, at, &words)
    };
    let ours = |other: &Unit, at: Id| match modules.exported(other, at) {
        Some((found, one)) => found.file == unit.file && one == function,
        None => other.function(name).is_none(),
    };
    others.into_iter().any(|other| {
        let named = |at: &Id| other.callee_name(*at) == name && other.function_of(*at) != Id::ROOT;
        other.calls().filter(named).any(|at| again(other, at) && ours(other, at))
    })
}

/// Libraries whose clients try again unless they are told not to.
const RETRYING: &[&str] = &[
    "openai",
    "anthropic",
    "@anthropic-ai/sdk",
    "groq",
    "together",
    "cohere",
    "langchain_openai",
    "langchain_anthropic",
    "langchain_groq",
    "langchain_google_genai",
    "@langchain/",
    "ai.generate",
    "ai.stream",
    "litellm",
    "llama_index",
    "crewai",
    "autogen_ext",
    "langchain",
    "dspy",
    "groq-sdk",
    "together-ai",
    "cohere-ai",
    "instructor",
    "agno",
    "smolagents",
];

/// What tries again, as often as it is told.
const RETRIERS: &[&str] = &[
    "retry",
    "Retrying",
    "AsyncRetrying",
    "on_exception",
    "on_predicate",
    "pRetry",
    "retryAsync",
    "backOff",
];

/// Options by which it tries only once, in lower case and without blanks; what follows is no digit.
const ONCE: &[&str] = &[
    "stop_after_attempt(1",
    "max_tries=1",
    "retries:0",
    "attempts=1",
    "tries=1",
    "numofattempts:1",
    "retries=0",
];

/// Says what is wrong with a retry that never tries again.
fn once(unit: &Unit, call: Id) -> Option<(String, &'static str)> {
    if !RETRIERS.contains(&unit.callee_name(call)) {
        return None;
    }
    let list = unit.syntax.child(call, "arguments")?;
    let text: String =
        unit.text(list).chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase();
    let says = |option: &&&str| {
        text.match_indices(**option)
            .any(|(at, _)| !text[at + option.len()..].starts_with(|c: char| c.is_ascii_digit()))
    };
    ONCE.iter().find(says)?;
    let decorator = unit.syntax.around(call).find(|&id| unit.kind(id) == "decorated_definition");
    let (_, what) = service::reached(unit, decorator.unwrap_or(call))?;
    let asks = what.answers();
    let message = format!(
        "this retry{} tries only once: the first 429 or 503 fails it",
        service::place_name(unit, call)
    );
    asks.then_some((message, "let it try at least three times, with backoff"))
}

/// Says why a call is not tried again.
fn reason(unit: &Unit, call: Id) -> Option<(String, &'static str)> {
    let path = unit.path(unit.callee(call)?)?;
    let place = service::place_name(unit, call);
    let hasty = libraries::HASTY.iter().find(|client| client.path == path.text);
    let without = |client: &&libraries::Client| {
        call_without_timeout::lacks(unit, call, client.given) || other_options(unit, call)
    };
    if let Some(client) = hasty.filter(without) {
        return Some((format!("this client{place} {}", client.why), client.hint));
    }
    if switched_off(unit, call) && RETRYING.iter().any(|root| path.text.starts_with(root)) {
        let message =
            format!("retries are switched off for this client{place}, and nothing else tries again");
        return Some((message, "leave the default of two retries, or retry with backoff around the call"));
    }
    let config = ["botocore.config.Config", "botocore.client.Config"].contains(&&*path.text);
    if let Some(retries) =
        unit.keyword(call, "retries").filter(|_| config && unit.whole().contains("bedrock"))
    {
        let says = |key, value| {
            unit.object_key(retries, key).flatten().is_some_and(|given| unit.text(given) == value)
        };
        if says("max_attempts", "0") || says("total_max_attempts", "1") {
            let message =
                format!("retries are switched off for this client{place}, and nothing else tries again");
            return Some((
                message,
                "leave the default, or say `retries={\"max_attempts\": 5, \"mode\": \"adaptive\"}`",
            ));
        }
    }
    let http = matches!(service::of_call(unit, call), Some(Service::Http(_)));
    let address = || {
        let url = unit.args(call).first()?.value;
        let value = unit.value(url).map_or(unit.text(url), |value| unit.text(value));
        // What only counts is asked again with the next turn.
        (service::names_model_host(value) && !value.contains("count_tokens")).then_some(())
    };
    if http && address().is_some() {
        let message =
            format!("this call{place} to a model's address is not tried again when it answers 429 or 503");
        return Some((message, "use the vendor's client, which retries, or retry with backoff and jitter"));
    }
    None
}

/// Tells whether the options of a client of Gemini are there, and say nothing of trying again.
fn other_options(unit: &Unit, call: Id) -> bool {
    let named = || {
        let first = unit.args(call).first()?.value;
        unit.object_key(first, "httpOptions").flatten()
    };
    let given = unit.keyword(call, "http_options").or_else(named).and_then(|given| unit.value(given));
    given.is_some_and(|given| {
        let text = unit.text(given);
        (matches!(unit.kind(given), "dictionary" | "object")
            || unit.callee_name(given).starts_with("HttpOptions"))
            && !["retry", "**", "..."].iter().any(|word| text.contains(word))
    })
}

fn switched_off(unit: &Unit, call: Id) -> bool {
    let zero = |value: Id| unit.text(value) == "0";
    unit.keyword(call, "max_retries").is_some_and(zero)
        || unit.keyword(call, "num_retries").is_some_and(zero)
        || unit.args(call).first().is_some_and(|arg| {
            unit.kind(arg.value) == "object"
                && unit.object_key(arg.value, "maxRetries").flatten().is_some_and(zero)
        })
}
