//! `hook-timeout-unit`: a hook's time-out is written in milliseconds, but taken as seconds, or the other way round.

use kapell_spec::{
    claude::{hooks::Hook, tables::HOOK_TIMEOUT_SECONDS_MAX},
    finding::Span,
};
use kapell_view::audit::{Confidence, FixClass, Severity};

use crate::{
    agents::clients::Client,
    files::FileId,
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// See `docs/rules/hook-timeout-unit.md`.
pub(super) static RULE: Rule = Rule {
    name: "hook-timeout-unit",
    summary: "a hook's time-out is written in another unit than it is taken in",
    group: Group::AgentFlow,
    anti_pattern: Some(AntiPattern::NoTimeout),
    focus: Focus::Resilience,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/hook-timeout-unit.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for file in &repository.agents.client_hooks {
        let hooks = || file.hooks.iter().map(|own| &own.hook);
        match file.client {
            Client::Gemini => in_milliseconds(file.file, hooks(), report),
            _ => in_seconds(file.file, hooks(), report),
        }
    }
    for file in &repository.agents.hooks {
        in_seconds(file.file, file.hooks.hooks.iter(), report);
    }
}

/// Hooks whose client takes seconds.
fn in_seconds<'a>(id: FileId, hooks: impl Iterator<Item = &'a Hook>, report: &mut Report<'_>) {
    let long = |hook: &Hook| hook.timeout.filter(|(seconds, _)| is_milliseconds(*seconds));
    let found: Vec<(&Hook, u64, Span)> =
        hooks.filter_map(|hook| long(hook).map(|(at, span)| (hook, at, span))).collect();
    let Some(((hook, seconds, span), rest)) = found.split_first() else { return };
    let more = match rest.len() {
        0 => String::new(),
        1 => ", and one more here".to_owned(),
        more => format!(", and {more} more here"),
    };
    let minutes = seconds / 60;
    let message = format!(
        "time-outs are in seconds: {seconds} lets the {} hook hang for {minutes} minutes{more}",
        hook.event.text
    );
    let edits = found.iter().map(|(_, seconds, span)| (id, *span, right(*seconds).to_string()));
    let title = format!("write {} (seconds)", right(*seconds));
    let mut draft = report.add(id, *span, message).fix(title, FixClass::Review, edits);
    for (hook, seconds, span) in rest {
        draft = draft.also(id, *span, format!("{seconds} for the {} hook", hook.event.text));
    }
    draft.done();
}

/// Tells whether a number of seconds was meant as milliseconds.
fn is_milliseconds(seconds: u64) -> bool {
    seconds >= 1000 && seconds.is_multiple_of(500) || seconds > HOOK_TIMEOUT_SECONDS_MAX
}

/// Returns the seconds that were meant.
fn right(milliseconds: u64) -> u64 {
    milliseconds.div_ceil(1000)
}

/// Fewer milliseconds than these are none that a program is given on purpose: it has hardly started by then.
/// Gemini CLI itself gives 60000.
const LEAST_MS: u64 = 500;

/// Hooks of Gemini CLI: their time-outs are in milliseconds.
/// Source: <https://github.com/google-gemini/gemini-cli/blob/main/docs/hooks/reference.md>, as of 2026-08.
fn in_milliseconds<'a>(id: FileId, hooks: impl Iterator<Item = &'a Hook>, report: &mut Report<'_>) {
    let short = |hook: &Hook| hook.timeout.filter(|(given, _)| (1..LEAST_MS).contains(given));
    let found: Vec<(&Hook, u64, Span)> =
        hooks.filter_map(|hook| short(hook).map(|(given, span)| (hook, given, span))).collect();
    let Some(((hook, given, span), rest)) = found.split_first() else { return };
    let message = format!(
        "time-outs are in milliseconds here: the {} hook is ended after {given} of them",
        hook.event.text
    );
    let edits = found.iter().map(|(_, given, span)| (id, *span, (given * 1000).to_string()));
    let title = format!("write {} (milliseconds)", given * 1000);
    let mut draft = report.add(id, *span, message).fix(title, FixClass::Review, edits);
    for (hook, given, span) in rest {
        draft = draft.also(id, *span, format!("{given} for the {} hook", hook.event.text));
    }
    draft.done();
}
