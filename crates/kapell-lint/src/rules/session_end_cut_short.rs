//! `session-end-cut-short`: a hook at the end of a session takes longer than it is given, and is ended in its midst.

use kapell_spec::{claude::hooks::Hook, finding::Span, line};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    agents::HookFile,
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
    rules::{hook_fan_out, hook_text::HookText},
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

/// The seconds that all hooks of `SessionEnd` have together, unless one of the settings asks for more. What those of a plugin
/// ask for does not count.
/// Source: <https://code.claude.com/docs/en/hooks> ("SessionEnd"), as of 2026-08.
const GIVEN_SECONDS: f32 = 1.5;

/// The variable that gives them more.
const VARIABLE: &str = "CLAUDE_CODE_SESSIONEND_HOOKS_TIMEOUT_MS";

/// What takes longer by far, besides models that are asked: containers that are built or started.
const SLOW: &[&str] = &["docker build", "docker compose up"];

fn check(repository: &Repository, report: &mut Report<'_>) {
    let ends = |hook: &&Hook| hook.event.text == "SessionEnd";
    let own = |file: &HookFile| file.hooks.hooks.iter().any(|hook| ends(&hook));
    let longer = |file: &HookFile| file.hooks.hooks.iter().filter(ends).any(|hook| hook.timeout.is_some());
    let files = || repository.agents.hooks.iter();
    // The longest that any of the settings asks for is given to all.
    if !files().any(own) || files().any(|file| file.is_settings && longer(file)) {
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
    let Some(run) = HookText::of(repository, file, hook).filter(|_| !hook.is_async) else { return };
    if is_left_behind(&run.command.text) {
        return;
    }
    let Some((span, what)) = slow(run.text) else { return };
    let message = format!(
        "`{what}` takes longer than the {GIVEN_SECONDS} s that hooks have at the end of a session: it is ended in its midst"
    );
    let (at, span) = run.place(span);
    let draft = report.add(at, span, message).hint(hint(file, run.text, what));
    run.started(draft, "when a session ends").done();
}

/// Says how the work comes to its end. A session that a hook starts ends as well, and would start the next one: it has to run
/// without hooks.
fn hint(file: &HookFile, text: &str, what: &str) -> String {
    let longer = if file.is_settings {
        "give the hook a `timeout` that is long enough".to_owned()
    } else {
        format!("have `{VARIABLE}` set, as a `timeout` of a plugin does not count")
    };
    let bare = ["disableAllHooks", "--bare"].iter().any(|word| text.contains(word));
    let asks = ["claude -p", "claude --print"].iter().any(|start| what.contains(start));
    let first = if asks && !bare {
        "have that session run without hooks (`--settings '{\"disableAllHooks\": true}'`), or its end starts the next one; then "
    } else {
        ""
    };
    format!("{first}{longer}, or leave the work to a process behind it")
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
        let offset = start + line::offset(line, what);
        let what = what.split(" #").next().unwrap_or(what).trim_end();
        Some((Span::new(offset, offset + what.len()), what))
    })
}

fn is_slow(command: &str) -> bool {
    let sleeps = || hook_fan_out::paused(command).is_some_and(|seconds| seconds > GIVEN_SECONDS);
    hook_fan_out::MODELS.iter().chain(SLOW).any(|program| hook_fan_out::starts(command, program))
        || hook_fan_out::SUITES.iter().any(|suite| hook_fan_out::starts(command, suite))
        || sleeps()
}
