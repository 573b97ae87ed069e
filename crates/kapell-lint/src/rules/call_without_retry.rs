//! A call to a model that fails the whole work when the service is busy for a moment.

use kapell_view::audit::{Confidence, Severity};

use super::call_without_timeout;
use crate::{
    code::{Id, Service, Unit, libraries, service},
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

fn check(repository: &Repository, report: &mut Report<'_>) {
    for unit in repository.code.iter().filter(|unit| !service::retries(unit)) {
        let mut found = unit.calls().filter_map(|call| Some((call, reason(unit, call)?)));
        let Some((first, (message, hint))) = found.next() else { continue };
        let mut draft = report.add(unit.file, unit.span(first), message).hint(hint);
        for (call, _) in found {
            draft = draft.also(unit.file, unit.span(call), "not tried again either");
        }
        draft.done();
    }
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
];

/// Says why a call is not tried again.
fn reason(unit: &Unit, call: Id) -> Option<(String, &'static str)> {
    let path = unit.path(unit.callee(call)?)?;
    let place = service::place_name(unit, call);
    let hasty = libraries::HASTY.iter().find(|client| client.path == path.text);
    if let Some(client) = hasty.filter(|client| call_without_timeout::lacks(unit, call, client.given)) {
        return Some((format!("this client{place} {}", client.why), client.hint));
    }
    if switched_off(unit, call) && RETRYING.iter().any(|root| path.text.starts_with(root)) {
        let message =
            format!("retries are switched off for this client{place}, and nothing else tries again");
        return Some((message, "leave the default of two retries, or retry with backoff around the call"));
    }
    let http = matches!(service::of_call(unit, call), Some(Service::Http(_)));
    let address = || {
        let url = unit.args(call).first()?.value;
        let value = unit.value(url).map_or(unit.text(url), |value| unit.text(value));
        service::names_model_host(value).then_some(())
    };
    if http && address().is_some() {
        let message =
            format!("this call{place} to a model's address is not tried again when it answers 429 or 503");
        return Some((message, "use the vendor's client, which retries, or retry with backoff and jitter"));
    }
    None
}

fn switched_off(unit: &Unit, call: Id) -> bool {
    let zero = |value: Id| unit.text(value) == "0";
    unit.keyword(call, "max_retries").is_some_and(zero)
        || unit.args(call).first().is_some_and(|arg| {
            unit.kind(arg.value) == "object"
                && unit.object_key(arg.value, "maxRetries").flatten().is_some_and(zero)
        })
}
