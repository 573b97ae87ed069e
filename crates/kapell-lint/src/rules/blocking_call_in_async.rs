//! Calls that stop the event loop, in functions of which many run at once.
//!
//! Source: the documentation of Python, "Developing with asyncio": blocking code is not to be called directly; all other tasks
//! wait meanwhile.

use kapell_view::audit::{Confidence, Severity};

use super::shared_state_across_tasks::{AtOnce, abroad, all};
use crate::{
    code::{Id, Language, Service, Transport, Unit, modules::Modules, service},
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// See `docs/rules/blocking-call-in-async.md`.
pub(super) static RULE: Rule = Rule {
    name: "blocking-call-in-async",
    summary: "a call that blocks the event loop, in a function of which many run at once",
    group: Group::Code,
    anti_pattern: Some(AntiPattern::Sequential),
    focus: Focus::Performance,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Deep,
    page: include_str!("../../docs/rules/blocking-call-in-async.md"),
    check,
};

/// Clients that wait with the whole thread, and what waits with the task alone.
const CLIENTS: &[(&str, &str)] = &[
    ("openai.OpenAI().", "AsyncOpenAI"),
    ("openai.AzureOpenAI().", "AsyncAzureOpenAI"),
    ("anthropic.Anthropic().", "AsyncAnthropic"),
    ("groq.Groq().", "AsyncGroq"),
];

fn check(repository: &Repository, report: &mut Report<'_>) {
    let modules = Modules::new(&repository.code);
    let own = repository.code.iter().flat_map(|unit| all(unit).into_iter().map(move |at| (unit, at)));
    let mut found: Vec<(&Unit, AtOnce)> = own.chain(abroad(&repository.code, &modules)).collect();
    found.sort_by_key(|(unit, at)| (unit.file, at.function));
    found.dedup_by_key(|(unit, at)| (unit.file, at.function));
    for (unit, at) in found {
        if unit.language != Language::Python || !unit.is_async(at.function) {
            continue;
        }
        let mut calls = unit.calls_in(at.function).filter(|&call| unit.function_of(call) == at.function);
        let Some((call, instead)) = calls.find_map(|call| Some((call, blocks(unit, call)?))) else {
            continue;
        };
        let message = format!(
            "`{}`{} blocks the event loop: all other tasks stand still until it is done",
            unit.callee(call).map_or("", |callee| unit.text(callee)),
            service::place_name(unit, call),
        );
        report
            .add(unit.file, unit.span(call), message)
            .hint(format!("use {instead}"))
            .also(at.started.0, at.started.1, at.how)
            .done();
    }
}

/// Tells whether a call blocks, and what to use instead.
fn blocks(unit: &Unit, call: Id) -> Option<String> {
    if unit.awaited(call) {
        return None;
    }
    let path = unit.callee_path(call)?;
    if path.text == "time.sleep" {
        return Some("`await asyncio.sleep(...)`".to_owned());
    }
    match service::of_call(unit, call)? {
        Service::Http(Transport::Requests | Transport::Urllib) => {
            Some("`httpx.AsyncClient`, or `await asyncio.to_thread(...)`".to_owned())
        }
        Service::Model => {
            let (_, client) = CLIENTS.iter().find(|(start, _)| path.text.starts_with(start))?;
            Some(format!("`{client}` and `await`"))
        }
        _ => None,
    }
}
