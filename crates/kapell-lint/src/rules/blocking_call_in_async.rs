//! Calls that stop the event loop, in functions of which many run at once.
//!
//! Source: the documentation of Python, "Developing with asyncio": blocking code is not to be called directly; all other tasks
//! wait meanwhile.

use std::collections::BTreeSet;

use kapell_spec::finding::Span;
use kapell_view::audit::{Confidence, Severity};

use super::shared_state_across_tasks::{AtOnce, abroad, all};
use crate::{
    code::{Id, Language, Service, Transport, Unit, modules::Modules, service, tools},
    files::FileId,
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
    tell_tools(repository, &modules, &found, report);
    for (unit, at) in found {
        if unit.language == Language::Python && unit.is_async(at.function) {
            tell(unit, at.function, at.started, at.how, report);
        }
    }
}

/// Tells of the first call of a function that blocks, and of where others are `started` that wait meanwhile.
fn tell(unit: &Unit, function: Id, started: (FileId, Span), how: &str, report: &mut Report<'_>) {
    let mut calls = unit.calls_in(function).filter(|&call| unit.function_of(call) == function);
    let Some((call, instead)) = calls.find_map(|call| Some((call, blocks(unit, call)?))) else { return };
    let message = format!(
        "`{}`{} blocks the event loop: all other tasks stand still until it is done",
        unit.callee(call).map_or("", |callee| unit.text(callee)),
        service::place_name(unit, call),
    );
    let (file, span) = started;
    report
        .add(unit.file, unit.span(call), message)
        .hint(format!("use {instead}"))
        .also(file, span, how)
        .done();
}

/// Tells of tools that a model calls, in files that are loaded with what runs at once: nothing names them where they are called.
fn tell_tools(
    repository: &Repository,
    modules: &Modules<'_>,
    found: &[(&Unit, AtOnce)],
    report: &mut Report<'_>,
) {
    let serving: BTreeSet<FileId> = found.iter().flat_map(|(unit, at)| [unit.file, at.started.0]).collect();
    if serving.is_empty() {
        return;
    }
    let loaded = modules.with_imported(serving.iter().copied());
    let told: BTreeSet<(FileId, Id)> = found.iter().map(|(unit, at)| (unit.file, at.function)).collect();
    for unit in repository.code.iter() {
        let likely = unit.language == Language::Python && unit.whole().contains("tool");
        // Who registers a tool with a server takes that from its file.
        let together =
            || loaded.contains(&unit.file) || !modules.with_imported([unit.file]).is_disjoint(&serving);
        if !likely || !together() {
            continue;
        }
        for decorator in unit.syntax.of_kind(&["decorator"]).filter(|&id| tools::decorates_tool(unit, id)) {
            let function = unit.syntax.child(unit.syntax[decorator].parent, "definition");
            let asynchronous = function.filter(|&function| unit.is_async(function));
            let Some(function) = asynchronous.filter(|&function| !told.contains(&(unit.file, function)))
            else {
                continue;
            };
            let place = (unit.file, unit.span(decorator));
            tell(unit, function, place, "a model calls it while others wait", report);
        }
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
