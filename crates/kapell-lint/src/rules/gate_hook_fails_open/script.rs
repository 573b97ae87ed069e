//! What a script that a hook starts does where it should say no.

use std::collections::BTreeSet;

use kapell_spec::{claude::hooks::Hook, finding::Span};
use kapell_view::audit::{Confidence, Severity};

use super::{script_of, swallowed, unheard};
use crate::{agents::HookFile, files::FileId, repository::Repository, rule::Report};

/// Events whose hooks can say no.
pub(super) const GATES: &[&str] =
    &["PreToolUse", "PermissionRequest", "UserPromptSubmit", "Stop", "SubagentStop"];

/// Words with which a script says no.
const REFUSALS: &[&str] = &[
    "block",
    "denied",
    "deny",
    "denies",
    "forbid",
    "not allowed",
    "not permitted",
    "refus",
    "never ",
    "reject",
    "prohibit",
    "disallow",
];

/// What its client hears: an end with 2, or a decision in JSON.
const HEARD: &[&str] = &[
    "exit 2",
    "exit(2)",
    "exit_code=2",
    "return 2",
    "permissiondecision",
    "\"decision\"",
    "'decision'",
    "decision:",
    "exitcode = 2",
    "\"continue\"",
    "continue: false",
];

/// Ends of a script that its client takes for a fault of the script, after which the tool runs.
const ONES: &[&str] = &["exit 1", "exit(1)", "exitcode = 1"];

/// The languages that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Shell,
    Python,
    JavaScript,
}

impl Language {
    fn of(path: &str) -> Self {
        match path.rsplit('.').next().unwrap_or_default() {
            "py" => Self::Python,
            "js" | "mjs" | "cjs" | "ts" => Self::JavaScript,
            _ => Self::Shell,
        }
    }

    fn is_comment(self, line: &str) -> bool {
        let line = line.trim_start();
        match self {
            Self::Shell | Self::Python => line.starts_with('#'),
            Self::JavaScript => line.starts_with("//") || line.starts_with('*') || line.starts_with("/*"),
        }
    }
}

/// Why a gate does not hold: where, what it does, and what to do.
type Fault = (Span, &'static str, &'static str, Severity);

/// Says how the answer of a script that says no gets lost where the settings start it.
pub(super) fn unheard_of(
    repository: &Repository,
    from: &HookFile,
    hook: &Hook,
) -> Option<(String, &'static str)> {
    let command = hook.text.as_ref().filter(|_| hook.kind == "command")?;
    if !GATES.contains(&&*hook.event.text) {
        return None;
    }
    let lower = command.text.to_ascii_lowercase();
    // Cheap first: most hooks end with nothing of the kind.
    let lost = swallowed(&lower, hook.is_async)?;
    let text = repository.files[script_of(repository, from, &command.text)?].text.to_ascii_lowercase();
    let says_no = ["exit 2", "exit(2)", "return 2", "exitcode = 2"].iter().any(|end| text.contains(end))
        && !MEANT.iter().any(|word| text.contains(word));
    says_no.then_some(lost)
}

/// A script of the repository that says no where nobody hears it. Only 2, or a decision in JSON, is heard.
pub(super) fn judge(
    repository: &Repository,
    from: &HookFile,
    hook: &Hook,
    judged: &mut BTreeSet<FileId>,
    report: &mut Report<'_>,
) {
    let event = &*hook.event.text;
    let Some(command) = hook.text.as_ref().filter(|_| hook.kind == "command") else { return };
    let matcher = hook.matcher.as_ref().map_or("", |matcher| &*matcher.text);
    let late = event == "PostToolUse"
        && matcher.split('|').all(|tool| matches!(tool, "Bash" | "Edit" | "Write" | "MultiEdit"));
    if !late && !GATES.contains(&event) {
        return;
    }
    let Some(file) = script_of(repository, from, &command.text) else { return };
    // One script is often started for several tools.
    if !judged.insert(file) {
        return;
    }
    let text = &repository.files[file].text;
    let lower = text.to_ascii_lowercase();
    let language = Language::of(&repository.files[file].path);
    let fault = if late {
        too_late(&lower, language, matcher == "Bash")
    } else {
        let decision = (event == "PreToolUse").then(|| unheard(text, &lower)).flatten();
        decision
            .map(|(span, why, hint)| (span, why, hint, Severity::High))
            .or_else(|| ends_with_one(&lower, language))
            .or_else(|| always_passes(&lower, language))
            .or_else(|| reads_too_high(&lower, language).filter(|_| event == "PreToolUse"))
            .or_else(|| {
                let says_no = HEARD.iter().any(|word| lower.contains(word));
                swallows(&lower, language).filter(|_| says_no && event == "PreToolUse")
            })
    };
    let Some((span, why, hint, severity)) = fault else { return };
    let started = match event {
        "PreToolUse" => "started here before a tool is used",
        "PostToolUse" => "started here after a tool was used",
        _ => "started here",
    };
    let mut draft = report.add(file, span, why).severity(severity).also(from.file, command.span, started);
    if severity < Severity::High {
        draft = draft.confidence(Confidence::Medium);
    }
    draft.hint(hint).done();
}

/// Returns the lines of a text, and where each begins.
fn lines(text: &str) -> Vec<(usize, &str)> {
    let mut at = 0;
    text.split_inclusive('\n')
        .map(|line| {
            at += line.len();
            (at - line.len(), line)
        })
        .collect()
}

/// Finds where a gate refuses and ends with 1.
fn ends_with_one(lower: &str, language: Language) -> Option<Fault> {
    let heard = HEARD.iter().any(|word| lower.contains(word));
    let says = |line: &str| REFUSALS.iter().any(|word| line.contains(word));
    // `return 1` ends a script that hands what its main function returns on.
    let handed_on = language == Language::Python
        && ["exit(main(", "systemexit(main("].iter().any(|end| lower.contains(end));
    let lines = lines(lower);
    for (number, (at, line)) in lines.iter().enumerate() {
        if language.is_comment(line) {
            continue;
        }
        let one = ONES.iter().find_map(|end| Some((line.find(end)?, end.len())));
        let returned =
            (handed_on && line.trim() == "return 1").then(|| (line.find("return").unwrap_or(0), 8));
        let texts =
            ["sys.exit(\"", "sys.exit('", "sys.exit(f\"", "sys.exit(f'", "systemexit(\"", "systemexit(f\""];
        let said = texts
            .iter()
            .find_map(|end| Some((line.find(end)?, end.len() - 2)))
            .filter(|_| language == Language::Python && says(line));
        let Some((offset, len)) = one.or(returned).or(said) else { continue };
        let before = &lines[number.saturating_sub(3)..number];
        // Where other refusals are heard, this one is only one if it says so to somebody.
        let near = says(line)
            || before
                .iter()
                .any(|(_, line)| says(line) && (!heard || !language.is_comment(line) && is_said(line)));
        let fails = ["usage", "not found", "not installed", "require", "missing"];
        let own = fails
            .iter()
            .any(|word| line.contains(word) || before.last().is_some_and(|(_, line)| line.contains(word)));
        if near && !(heard && own) {
            let why = "this gate ends with 1, which does not block; only 2 does";
            let span = Span::new(at + offset, at + offset + len);
            return Some((span, why, "end with 2, and say why on standard error", Severity::High));
        }
    }
    None
}

/// Tells whether a line of a script says something to whoever started it.
fn is_said(line: &str) -> bool {
    ["echo", "print", "stderr", "console.", "cat ", "warn", "log"].iter().any(|word| line.contains(word))
}

/// Finds what makes a gate pass however it ends.
fn always_passes(lower: &str, language: Language) -> Option<Fault> {
    if !["exit 2", "exit(2)", "return 2"].iter().any(|end| lower.contains(end)) {
        return None;
    }
    let why = "this gate passes whatever it finds: here it ends with 0, however it came to an end";
    let lines = lines(lower);
    if let Some(span) = in_a_pipe(&lines).filter(|_| language == Language::Shell) {
        let why = "this ends the loop behind the pipe alone: the gate itself ends with 0";
        return Some((span, why, "read the loop's input with `done < <(..)`", Severity::High));
    }
    for (number, (at, line)) in lines.iter().enumerate() {
        let code = line.trim();
        let start = at + (line.len() - line.trim_start().len());
        let span = Span::new(start, start + code.len());
        let traps = language == Language::Shell
            && code.starts_with("trap ")
            && code.contains("exit 0")
            && code.split_whitespace().last().is_some_and(|signal| matches!(signal, "exit" | "0"));
        let finally = language == Language::Python
            && code == "finally:"
            && lines[number + 1..]
                .iter()
                .take(2)
                .any(|(_, line)| matches!(line.trim(), "sys.exit(0)" | "return 0"));
        if traps || finally {
            return Some((span, why, "let the exit code of the gate through", Severity::High));
        }
    }
    None
}

/// Finds a refusal of a command that has run already.
fn too_late(lower: &str, language: Language, of_commands: bool) -> Option<Fault> {
    let reads =
        lower.contains("tool_input") && lower.contains(if of_commands { "command" } else { "file_path" });
    // Whoever looks at what came out judges the result.
    if !reads
        || ["tool_response", "tool_output", "exit_code", "tool_result"].iter().any(|key| lower.contains(key))
    {
        return None;
    }
    let commands: &[&str] = &["block", "denied", "not allowed", "forbidden", "refus", "prevent"];
    // Of an edit that stands it may be said what to do about it.
    let edits: &[&str] = &[
        "protected",
        "must not be edited",
        "must not be modified",
        "must not be changed",
        "may not be edited",
        "cannot be edited",
        "not allowed to edit",
        "edit blocked",
    ];
    let refuses = if of_commands { commands } else { edits };
    let lines = lines(lower);
    lines.iter().enumerate().find_map(|(number, (at, line))| {
        let offset = ["exit 2", "exit(2)"].iter().find_map(|end| line.find(end))?;
        let near = &lines[number.saturating_sub(3)..=number];
        let said = |line: &str| !language.is_comment(line) && refuses.iter().any(|word| line.contains(word));
        near.iter().any(|(_, line)| said(line) && is_said(line)).then(|| {
            let why = if of_commands {
                "this refuses a command that has run already: a PostToolUse hook cannot block"
            } else {
                "this refuses an edit that is made already: a PostToolUse hook cannot block"
            };
            let span = Span::new(at + offset, at + offset + 6);
            (span, why, "start it at PreToolUse", Severity::High)
        })
    })
}

/// Words of an author who wants a gate that fails to let everything pass.
const MEANT: &[&str] = &[
    "fail open",
    "fail-open",
    "failopen",
    "fails open",
    "never block",
    "not block",
    "n't block",
    "fail safe",
    "fail-safe",
    "gracefully",
];

/// Finds where a gate that can say no says yes because it could not judge: a program is missing, or it failed itself.
fn swallows(lower: &str, language: Language) -> Option<Fault> {
    if MEANT.iter().any(|word| lower.contains(word)) {
        return None;
    }
    let lines = lines(lower);
    let passes = |line: &str| {
        ["exit 0", "exit(0)", "exitcode = 0"].iter().any(|end| line.contains(end))
            || ["return 0", "return"].contains(&line.trim())
    };
    for (number, &(start, line)) in lines.iter().enumerate() {
        let next = lines.iter().skip(number + 1).take(2).map(|(_, line)| *line);
        let code = line.trim_start();
        if language.is_comment(code) {
            continue;
        }
        let (found, why) = if language == Language::Shell {
            let missing = code.contains("command -v ") || code.contains("which ") && code.contains("exit 0");
            let within = missing
                && (passes(code)
                    || code.starts_with("if !") && next.take_while(|line| line.trim() != "fi").any(passes));
            let unread = reads_or_passes(code);
            let traps =
                code.starts_with("trap ") && code.contains("exit 0") && code.trim_end().ends_with(" err");
            let why = if within {
                "this gate lets everything pass where a program that it needs is missing"
            } else {
                "this gate lets everything pass when it fails itself, or cannot read what it is given"
            };
            (within || unread || traps, why)
        } else {
            let caught = match language {
                Language::Python => code.starts_with("except"),
                _ => code.contains("catch") || code.contains("uncaughtexception"),
            };
            let within = caught && (passes(code) || next.into_iter().any(passes));
            let dropped = caught && falls_through(&lines[number + 1..], code, language, passes);
            (
                within || dropped,
                "this gate lets everything pass when it fails itself, or cannot read what it is given",
            )
        };
        if found {
            let start = start + (line.len() - code.len());
            let span = Span::new(start, start + code.trim_end().len());
            let severity = if language == Language::Python && swallows_all(&lines, number) {
                Severity::Medium
            } else {
                Severity::Low
            };
            return Some((span, why, "end with 2 there, and say why on standard error", severity));
        }
    }
    None
}

/// Tells whether a handler of faults is empty, and what comes next lets everything pass, or is nothing.
fn falls_through(
    next: &[(usize, &str)],
    code: &str,
    language: Language,
    passes: impl Fn(&str) -> bool,
) -> bool {
    let mut closed = language == Language::Python || code.trim_end().ends_with("{}");
    for (_, line) in next {
        let trimmed = line.trim();
        match trimmed {
            "" | "pass" => {}
            "}" | "};" if !closed => closed = true,
            _ if language.is_comment(line) => {}
            _ => return closed && passes(line),
        }
    }
    closed
}

/// Finds an end with 2 in a loop behind a pipe, which ends the loop alone, before the script ends with 0.
fn in_a_pipe(lines: &[(usize, &str)]) -> Option<Span> {
    let starts = lines
        .iter()
        .enumerate()
        .filter(|(_, (_, line))| line.contains("| while ") || line.contains("|while "));
    for (number, _) in starts {
        let rest = &lines[number + 1..];
        let end = rest.iter().position(|(_, line)| line.trim_start().starts_with("done"))?;
        let behind = rest[end + 1..]
            .iter()
            .map(|(_, line)| line.trim())
            .find(|line| !line.is_empty() && !line.starts_with('#'));
        let alone = matches!(rest[end].1.trim(), "done" | "done;") && matches!(behind, Some("exit 0"));
        let refusal = rest[..end].iter().find_map(|(at, line)| Some(at + line.find("exit 2")?));
        if let Some(at) = refusal.filter(|_| alone) {
            return Some(Span::new(at, at + "exit 2".len()));
        }
    }
    None
}

/// Ways in which a script asks what it is given for what lies one level deeper.
const TOO_HIGH: &[&str] = &[
    "'.command",
    "\".command",
    " .command",
    "'.file_path",
    "\".file_path",
    " .file_path",
    "[\"command\"]",
    "['command']",
    "get(\"command\"",
    "get('command'",
    "[\"file_path\"]",
    "['file_path']",
    "get(\"file_path\"",
    "get('file_path'",
    "input.command",
    "input.file_path",
    "data.command",
    "data.file_path",
    "toolinput",
];

/// Finds where a script reads what its client does not give at that place: a tool's own input stands under `tool_input`.
fn reads_too_high(lower: &str, language: Language) -> Option<Fault> {
    let takes = match language {
        Language::Shell => lower.contains("jq "),
        Language::Python => lower.contains("json.load"),
        Language::JavaScript => lower.contains("json.parse"),
    };
    // What another file takes out may be handed on as it is.
    let others =
        ["source ", "\n. ", "from .", "require(\"./", "require('./", "from \"./", "from './", "import \"./"];
    if !takes || lower.contains("tool_input") || others.iter().any(|word| lower.contains(word)) {
        return None;
    }
    let (at, word) = TOO_HIGH.iter().filter_map(|word| Some((lower.find(word)?, word))).min()?;
    let why = "this gate never sees what it judges: what a tool is given stands under `tool_input`";
    let end = at + word.len();
    Some((
        Span::new(at, end),
        why,
        "read `.tool_input.command`, or whatever key the tool has",
        Severity::High,
    ))
}

/// Tells whether a line of shell reads what the hook is given, and lets everything pass where it cannot.
fn reads_or_passes(code: &str) -> bool {
    let ends = code.trim_end();
    let reads = ["$(jq ", "| jq ", "$(cat", "json.load"].iter().any(|word| code.contains(word));
    let last = ends.rsplit("||").next().unwrap_or_default().trim();
    reads && ends.contains(")") && ends.contains("||") && !ends.contains("&&") && last == "exit 0"
}

/// Tells whether an `except` takes every fault, of a `try` in which the gate says no as well.
fn swallows_all(lines: &[(usize, &str)], except: usize) -> bool {
    let code = lines[except].1.trim();
    if !matches!(code.split([':', ' ']).nth(1).unwrap_or_default(), "" | "exception" | "baseexception") {
        return false;
    }
    let indent = |line: &str| line.len() - line.trim_start().len();
    let depth = indent(lines[except].1);
    lines[..except]
        .iter()
        .rev()
        .take_while(|(_, line)| !(line.trim() == "try:" && indent(line) == depth))
        .any(|(_, line)| ["exit(2)", "return 2"].iter().any(|end| line.contains(end)))
}
