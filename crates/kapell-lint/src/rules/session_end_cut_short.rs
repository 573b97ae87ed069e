//! `session-end-cut-short`: a hook at the end of a session takes longer than it is given, and is ended in its midst.

use kapell_spec::{claude::hooks::Hook, finding::Span};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    agents::HookFile,
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
    rules::{gate_hook_fails_open::script_of, hook_fan_out},
};

/// See `docs/rules/session-end-cut-short.md`.
pub(super) static RULE: Rule = Rule {
    name: "session-end-cut-short",
    summary: "a hook at the end of a session takes longer than it is given",
    group: Group::AgentFlow,
    anti_pattern: Some(AntiPattern::NoTimeout),
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/session-end-cut-short.md"),
    check,
};

/// The seconds that all hooks of `SessionEnd` have together, unless one of the settings asks for more.
/// Source: <https://code.claude.com/docs/en/hooks> ("SessionEnd"), as of 2026-08.
const GIVEN_SECONDS: f32 = 1.5;

/// The variable that gives them more.
const VARIABLE: &str = "CLAUDE_CODE_SESSIONEND_HOOKS_TIMEOUT_MS";

/// What takes longer by far: a model that is asked, and a container that is started.
const SLOW: &[&str] =
    &["claude -p", "claude --print", "codex exec", "gemini -p", "docker build", "docker compose up"];

fn check(repository: &Repository, report: &mut Report<'_>) {
    let ends = |hook: &&Hook| hook.event.text == "SessionEnd";
    let all = || repository.agents.hooks.iter().flat_map(|file| file.hooks.hooks.iter().filter(ends));
    // The longest that any of them asks for is given to all.
    if all().next().is_none() || all().any(|hook| hook.timeout.is_some()) {
        return;
    }
    if repository.files.iter().any(|(_, file)| file.text.contains(VARIABLE)) {
        return;
    }
    for file in &repository.agents.hooks {
        for hook in file.hooks.hooks.iter().filter(ends) {
            of(repository, file, hook, report);
        }
    }
}

fn of(repository: &Repository, file: &HookFile, hook: &Hook, report: &mut Report<'_>) {
    let Some(command) = hook.text.as_ref().filter(|_| hook.kind == "command" && !hook.is_async) else {
        return;
    };
    if is_left_behind(&command.text) {
        return;
    }
    let script = script_of(repository, file.file, &command.text);
    let text = script.map_or(&*command.text, |script| &*repository.files[script].text);
    let Some((span, what)) = slow(text) else { return };
    let message = format!(
        "`{what}` takes longer than the {GIVEN_SECONDS} s that hooks have at the end of a session: it is ended in its midst"
    );
    let (at, span) = script.map_or((file.file, command.span), |script| (script, span));
    let mut draft = report.add(at, span, message);
    if script.is_some() {
        draft = draft.also(file.file, command.span, "started here when a session ends");
    }
    draft
        .hint("give the hook a `timeout` that is long enough, or leave the work to a process behind it")
        .done();
}

/// Tells whether a command goes on behind its hook.
fn is_left_behind(command: &str) -> bool {
    let end = command.trim_end();
    ["nohup ", "setsid ", "disown", "detached", "spawn(", "popen("].iter().any(|word| command.contains(word))
        || end.ends_with('&') && !end.ends_with("&&")
}

/// Finds what is slow for sure in a script that waits for it.
fn slow(text: &str) -> Option<(Span, &str)> {
    if is_left_behind(&text.to_ascii_lowercase()) {
        return None;
    }
    let mut at = 0;
    text.split_inclusive('\n').find_map(|line| {
        let start = at;
        at += line.len();
        let plain = line.trim();
        if plain.starts_with(['#', '/']) || plain.ends_with('&') {
            return None;
        }
        let what = plain.split([';', '|', '&']).map(str::trim).find(|command| is_slow(command))?;
        let offset = start + (what.as_ptr() as usize - line.as_ptr() as usize);
        let what = what.split(" #").next().unwrap_or(what).trim_end();
        Some((Span::new(offset, offset + what.len()), what))
    })
}

fn is_slow(command: &str) -> bool {
    let sleeps = || {
        let time = command.strip_prefix("sleep ").and_then(|rest| rest.split_whitespace().next());
        time.and_then(|time| time.trim_end_matches('s').parse::<f32>().ok())
            .is_some_and(|time| time > GIVEN_SECONDS)
    };
    SLOW.iter().any(|program| hook_fan_out::starts(command, program))
        || hook_fan_out::SUITES.iter().any(|suite| hook_fan_out::starts(command, suite))
        || sleeps()
}
