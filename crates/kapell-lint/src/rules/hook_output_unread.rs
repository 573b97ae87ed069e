//! `hook-output-unread`: what a hook hands back, or asks for, is not part of what its client speaks.

use std::collections::BTreeSet;

use kapell_spec::{claude::hooks::Hook, finding::Span, line};
use kapell_view::audit::{Confidence, Severity};

use super::gate_hook_fails_open;
use crate::{
    files::FileId,
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/hook-output-unread.md`.
pub(super) static RULE: Rule = Rule {
    name: "hook-output-unread",
    summary: "what a hook hands back is not read, or what it asks for is never given",
    group: Group::AgentFlow,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/hook-output-unread.md"),
    check,
};

/// A place, and who starts the script.
type Place = (FileId, Span, FileId, Span);

fn check(repository: &Repository, report: &mut Report<'_>) {
    let (mut unread, mut ungiven, mut unset): (Vec<Place>, Vec<Place>, Vec<Place>) = Default::default();
    let (mut judged, mut ungiven_in, mut misread) = (BTreeSet::new(), Vec::new(), Vec::<Place>::new());
    let (mut unheard, mut powerless): (Vec<Place>, Vec<Place>) = Default::default();
    for from in &repository.agents.hooks {
        for hook in &from.hooks.hooks {
            ungiven_in.extend(never_given_in(hook).map(|at| (from.file, at, from.file, hook.event.span)));
            unset.extend(never_set_in(hook).map(|at| (from.file, at, from.file, hook.event.span)));
            unheard.extend(said_to_nobody(hook).map(|at| (from.file, at, from.file, hook.event.span)));
            let Some(script) = repository.agents.hook_script(&repository.files, from, hook) else { continue };
            let Some(file) = repository.files.find(&script.path) else { continue };
            if !judged.insert((file, hook.event.text == "PostToolUse")) {
                continue;
            }
            let text = &*repository.files[file].text;
            let printed = || printed_for_model(hook, &script.path, text);
            let said = meant_for_model(hook, text).or_else(printed);
            unheard.extend(said.map(|at| (file, at, from.file, script.span)));
            unread.extend(bare_context(hook, text).map(|at| (file, at, from.file, script.span)));
            powerless.extend(cannot_block(hook, text).map(|at| (file, at, from.file, script.span)));
            // A gate is told of as one.
            if hook.event.text != "PreToolUse"
                && let Some(at) = nameless(text)
            {
                unread.push((file, at, from.file, script.span));
            }
            if hook.event.text == "PostToolUse"
                && let Some(at) = never_given(text)
            {
                ungiven.push((file, at, from.file, script.span));
            }
            if hook.event.text == "UserPromptSubmit"
                && let Some(at) = no_message(text)
            {
                misread.push((file, at, from.file, script.span));
            }
            if hook.event.text != "PreToolUse"
                && script.path.ends_with(".py")
                && let Some(at) = environ_of(text)
            {
                unset.push((file, at, from.file, script.span));
            }
            let is_shell = [".sh", ".bash"].iter().any(|end| script.path.ends_with(end));
            if hook.event.text != "PreToolUse"
                && is_shell
                && let Some(at) = never_set(text).filter(|_| !takes_input(text))
            {
                unset.push((file, at, from.file, script.span));
            }
        }
    }
    tell(
        report,
        &unread,
        "what this hook hands back is not read: it does not stand in `hookSpecificOutput` with its `hookEventName`",
        "write `{\"hookSpecificOutput\": {\"hookEventName\": \"..\", ..}}`, with the event that started it",
    );
    tell(
        report,
        &unheard,
        "what this hook prints reaches no model: at this event standard output is for logs alone",
        "write it to standard error and end with 2, or print JSON with `additionalContext`, where the event takes it",
    );
    tell(
        report,
        &powerless,
        "this hook blocks nothing: at this event a decision is not read",
        "decide at `Stop` or `PreToolUse`, which can be blocked",
    );
    tell(
        report,
        &ungiven,
        "this hook reads `tool_result`, which it is never given",
        "read `tool_response`, which holds what the tool gave back",
    );
    tell(
        report,
        &ungiven_in,
        "this hook never gets what it works on: the file that was edited is not handed over so",
        "read it from standard input, such as with `jq -r '.tool_input.file_path'`",
    );
    tell(
        report,
        &misread,
        "this hook reads `message`, which it is never given",
        "read `prompt`, which holds what the user wrote",
    );
    tell(
        report,
        &unset,
        "this hook reads a variable that its client never sets: what it is told comes as JSON on standard input",
        "read it from there, such as with `jq -r '.tool_input.file_path'`",
    );
}

/// Finds what a command of a hook takes for the file that was edited, and is none: an argument, of which there are none,
/// braces that nobody fills in, and a key that the input does not have.
fn never_given_in(hook: &Hook) -> Option<Span> {
    let command = hook.text.as_ref().filter(|_| hook.kind == "command")?;
    if !matches!(&*hook.event.text, "PostToolUse" | "PreToolUse") {
        return None;
    }
    let text = &*command.text;
    // Another shell, a loop or a function has arguments of its own.
    let others = ["-c ", "awk", "xargs", "set --", "()", "function ", "perl ", "sed "];
    let argument = ["\"$1\"", " $1", "${1}"].iter().any(|form| text.contains(form))
        && !others.iter().any(|word| text.contains(word));
    let braces =
        ["{file_path}", "{{file_path}}", "{{file}}", "{filePath}"].iter().any(|form| text.contains(form))
            && !text.contains("jq ");
    let edits = hook.matcher.as_ref().is_some_and(|matcher| {
        matcher.text.split('|').all(|tool| matches!(tool.trim(), "Edit" | "Write" | "MultiEdit"))
    });
    let keys = [".tool_input.path", ".tool_input.file ", ".tool_input.filePath", ".tool_input.filename"];
    let key = edits && keys.iter().any(|key| text.contains(key)) && !text.contains(".tool_input.file_path");
    (argument || braces || key).then_some(command.span)
}

/// Finds where a Python script reads a variable that nobody sets.
fn environ_of(text: &str) -> Option<Span> {
    if text.contains("stdin") {
        return None;
    }
    let found = UNSET.iter().filter_map(|name| {
        ["environ[\"", "environ['", "environ.get(\"", "environ.get('", "getenv(\"", "getenv('"]
            .iter()
            .filter_map(|form| Some(text.find(&format!("{form}{name}"))? + form.len()))
            .min()
    });
    let at = found.min()?;
    let len = text[at..].find(['"', '\'']).unwrap_or(0);
    Some(Span::new(at, at + len))
}

/// Finds where the script of a prompt's hook takes `message` out of its input; what was written is called `prompt`.
fn no_message(text: &str) -> Option<Span> {
    if text.contains("prompt") || ["catch", "except", "systemMessage"].iter().any(|word| text.contains(word))
    {
        return None;
    }
    let forms = [
        "[\"message\"]",
        "['message']",
        "get(\"message\"",
        "get('message'",
        " .message",
        "'.message",
        "\".message",
        "j.message",
        "input.message",
        "data.message",
    ];
    let (at, form) = forms.iter().filter_map(|form| Some((text.find(form)?, form))).min()?;
    let at = at + form.find("message")?;
    Some(Span::new(at, at + "message".len()))
}

/// One habit, one finding.
fn tell(report: &mut Report<'_>, places: &[Place], message: &str, hint: &str) {
    let Some(((file, span, from, start), rest)) = places.split_first() else { return };
    let mut draft = report.add(*file, *span, message).also(*from, *start, "started here").hint(hint);
    for (file, span, ..) in rest {
        draft = draft.also(*file, *span, "so does this one");
    }
    draft.done();
}

/// Variables that many a hook reads, and no client sets: their names, or how these begin.
pub(super) const UNSET: &[&str] = &[
    "CLAUDE_FILE_PATH",
    "CLAUDE_TOOL_",
    "CLAUDE_USER_PROMPT",
    "CLAUDE_NOTIFICATION",
    "CLAUDE_HOOK_INPUT",
    "CLAUDE_EVENT_TYPE",
    "TOOL_INPUT",
    "TOOL_SUCCESS",
    "TOOL_OUTPUT",
];

/// Finds where a shell reads one of them that nothing before it sets.
pub(super) fn never_set(text: &str) -> Option<Span> {
    let found = text.match_indices('$').filter_map(|(at, _)| {
        let rest = text[at + 1..].trim_start_matches('{');
        let known = UNSET.iter().any(|name| rest.starts_with(name));
        let len = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let start = text.len() - text[at + 1..].len() + (text[at + 1..].len() - rest.len());
        known.then(|| Span::new(start, start + len))
    });
    let mut unset = found.filter(|span| {
        let set = format!("{}=", &text[span.range()]);
        let line = text[..span.start as usize].rfind('\n').map_or(0, |newline| newline + 1);
        !text.contains(&set) && !text[line..].trim_start().starts_with('#')
    });
    unset.next()
}

/// Tells whether a script takes what comes on standard input.
fn takes_input(text: &str) -> bool {
    ["$(cat", "stdin", "read ", "<&0", "cat |", "`cat`", "jq "].iter().any(|take| text.contains(take))
}

/// Finds such a variable in the command of a hook itself. A gate is told of as one.
fn never_set_in(hook: &Hook) -> Option<Span> {
    let command = hook.text.as_ref().filter(|_| hook.kind == "command")?;
    if takes_input(&command.text) || gate_hook_fails_open::open(hook).is_some() {
        return None;
    }
    never_set(&command.text).map(|_| command.span)
}

/// Finds an answer of the form that has to name its event, in a script that names none.
fn nameless(text: &str) -> Option<Span> {
    let key = "hookSpecificOutput";
    let answers =
        text.lines().find(|line| line.contains(key) && !line.trim_start().starts_with(['#', '/', '*']))?;
    let line = line::offset(text, answers);
    let at = line + answers.find(key)?;
    (!text.contains("hookEventName") && !text.contains("hook_event_name"))
        .then(|| Span::new(at, at + key.len()))
}

/// Finds where a script takes `tool_result` out of its input; what a tool gave back is called `tool_response`.
fn never_given(text: &str) -> Option<Span> {
    let key = "tool_result";
    let forms = [".tool_result", "\"tool_result\"", "'tool_result'"];
    let (at, form) = forms.iter().filter_map(|form| Some((text.find(form)?, form))).min()?;
    let at = at + form.find(key)?;
    let whole = !text[at + key.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    (whole && !text.contains("tool_response")).then(|| Span::new(at, at + key.len()))
}

/// Events at which what a hook prints, other than JSON, is not shown to the model, as of Claude Code 2.1. At `PreCompact` it
/// is: it goes to whoever sums up.
///
/// Source: <https://code.claude.com/docs/en/hooks>, "Exit code output", as of 2026-08: but for a few events, what stands on
/// standard output at exit 0 goes to the debug log.
const SILENT: &[&str] = &["Stop", "SubagentStop", "SessionEnd", "PreToolUse", "PostToolUse"];

/// Words with which a hook speaks to a model, and to nobody else.
const SPOKEN: &[&str] =
    &["remember to", "remember:", "don't forget", "do not forget", "make sure", "you must", "keep in mind"];

/// Finds a command that prints words for the model, or a whole text, at an event at which nobody reads it.
fn said_to_nobody(hook: &Hook) -> Option<Span> {
    let command =
        hook.text.as_ref().filter(|_| hook.kind == "command" && SILENT.contains(&&*hook.event.text))?;
    let text = command.text.trim();
    let lower = text.to_ascii_lowercase();
    let plain = !text.contains(['|', '>', ';', '&', '{', '$']);
    let spoken = lower.starts_with("echo ") && SPOKEN.iter().any(|words| lower.contains(words));
    let shown = lower.starts_with("cat ") && [".md", ".txt"].iter().any(|end| lower.ends_with(end));
    (plain && (spoken || shown)).then_some(command.span)
}

/// Tells whether a script neither ends with 2 nor answers in JSON, at an event at which nobody reads what it prints.
fn is_silent(hook: &Hook, text: &str) -> bool {
    let heard = [
        "exit 2",
        "exit(2)",
        "return 2",
        "decision",
        "Decision",
        "dditionalContext",
        "hookSpecificOutput",
        "systemMessage",
        "exit $",
        "exec ",
    ];
    SILENT.contains(&&*hook.event.text) && !heard.iter().any(|word| text.contains(word))
}

/// Words with which a script speaks to a model.
const TO_MODEL: &[&str] = &[
    "remember to",
    "remember:",
    "don't forget",
    "do not forget",
    "you must",
    "keep in mind",
    "<system-reminder>",
    "important: ",
];

/// Finds the line of a shell script that prints words for the model, plainly or in a text that it holds: `cat << 'EOF'`.
fn printed_for_model(hook: &Hook, path: &str, text: &str) -> Option<Span> {
    let is_shell = [".sh", ".bash"].iter().any(|end| path.ends_with(end));
    // What a block prints may go elsewhere.
    let taken = ["} >", "} |", ") >", ") |", "done >", "done |"].iter().any(|end| text.contains(end));
    if !is_shell || taken || !is_silent(hook, text) {
        return None;
    }
    let mut held: Option<&str> = None;
    for line in text.lines() {
        let trimmed = line.trim();
        let lower = trimmed.to_ascii_lowercase();
        let spoken = TO_MODEL.iter().any(|words| lower.contains(words)) && !trimmed.contains("{\"");
        let elsewhere = ["|", " >", ">&"].iter().any(|sign| trimmed.contains(sign));
        let prints = match held {
            Some(end) if trimmed == end => {
                held = None;
                false
            }
            Some(_) => true,
            None => (trimmed.starts_with("echo ") || trimmed.starts_with("printf ")) && !elsewhere,
        };
        if prints && spoken {
            let at = line::offset(text, trimmed);
            return Some(Span::new(at, at + trimmed.len()));
        }
        let opened = trimmed.strip_prefix("cat ").filter(|_| held.is_none() && !elsewhere);
        held = held.or_else(|| {
            let word = opened?.trim_start().strip_prefix("<<")?.trim_start_matches('-').trim();
            Some(word.trim_matches(['\'', '"']))
        });
    }
    None
}

/// Finds the comment of a shell script that says that a model is told what it prints, where it neither ends with 2 nor
/// answers in JSON.
fn meant_for_model(hook: &Hook, text: &str) -> Option<Span> {
    if !is_silent(hook, text) {
        return None;
    }
    let said = [
        "tells claude",
        "tell claude",
        "shows claude",
        "so that claude",
        "so claude",
        "claude sees",
        "back to claude",
    ];
    let line = text.lines().take(6).find(|line| {
        let lower = line.to_ascii_lowercase();
        lower.starts_with('#') && said.iter().any(|words| lower.contains(words))
    })?;
    let at = line::offset(text, line);
    Some(Span::new(at, at + line.len()))
}

/// Finds context that a script hands back at the top of its answer, where nobody looks for it.
fn bare_context(hook: &Hook, text: &str) -> Option<Span> {
    let takes = ["SessionStart", "UserPromptSubmit", "PostToolUse"].contains(&&*hook.event.text);
    let key = "additionalContext";
    let at = text.find(key).filter(|_| takes && !text.contains("hookSpecificOutput"))?;
    let line = kapell_spec::line::around(text, at).trim_start();
    (!line.starts_with(['#', '/', '*'])).then(|| Span::new(at, at + key.len()))
}

/// Finds a decision to block at an event that cannot be blocked.
fn cannot_block(hook: &Hook, text: &str) -> Option<Span> {
    let late = ["SessionEnd", "SessionStart", "Notification"].contains(&&*hook.event.text);
    let forms = [
        "\"decision\": \"block\"",
        "\"decision\":\"block\"",
        "decision: \"block\"",
        "decision: 'block'",
        "'decision': 'block'",
    ];
    let (at, form) = forms.iter().filter(|_| late).filter_map(|form| Some((text.find(form)?, form))).min()?;
    Some(Span::new(at, at + form.len()))
}
