//! What a script that a hook starts does where it should say no.

mod input; // what it takes for what it judges
pub(super) mod passes; // where it lets everything pass

use std::collections::BTreeSet;

use kapell_spec::{claude::hooks::Hook, finding::Span};
use kapell_view::audit::{Confidence, Severity};

use super::{script_of, swallowed, unheard};
use crate::{
    agents::{HookFile, clients::Client},
    files::FileId,
    repository::Repository,
    rule::Report,
};
use input::{asks_the_line, asks_variables, misnames, quoted_pattern, reads_missing, reads_too_high};
use passes::{always_passes, swallows};

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

/// What begins an end of a script; its client takes any number but 0 and 2 for a fault of the script, after which the tool
/// runs.
const ENDS: &[&str] = &["exit ", "exit(", "exitcode = "];

/// Finds where a line ends its script with a number that is neither 0 nor 2.
fn ends_badly(line: &str) -> Option<(usize, usize)> {
    ENDS.iter().find_map(|end| {
        let (at, _) = line.match_indices(end).find(|(at, _)| {
            let code = digits(&line[at + end.len()..]);
            !matches!(code, "" | "0" | "2")
                && !line[..*at].ends_with(|c: char| c.is_ascii_alphabetic() && c != 'm')
        })?;
        let rest = &line[at + end.len()..];
        let closed = usize::from(end.ends_with('(') && rest[digits(rest).len()..].starts_with(')'));
        Some((at, end.len() + digits(rest).len() + closed))
    })
}

fn digits(text: &str) -> &str {
    &text[..text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len())]
}

/// Finds where a line ends its script by a fault that nobody catches, which is an end with 1.
fn falls(line: &str, language: Language) -> Option<(usize, usize)> {
    let words: &[&str] = match language {
        Language::JavaScript => &["throw new ", "throw error"],
        Language::Python => {
            &["raise permissionerror", "raise runtimeerror", "raise exception", "raise valueerror"]
        }
        Language::Ruby => &["abort(", "abort \"", "abort '", "raise \"", "raise '"],
        Language::Go => &["log.fatal(", "log.fatalf(", "log.fatalln(", "panic("],
        Language::Php => &["throw new "],
        Language::PowerShell => &["throw \"", "throw '"],
        Language::Perl => &["die \"", "die '", "die(\"", "croak"],
        Language::Shell => &[],
    };
    words.iter().find_map(|word| Some((line.find(word)?, word.trim_end_matches([' ', '(', '"', '\'']).len())))
}

/// The languages that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Shell,
    Python,
    JavaScript,
    Ruby,
    Go,
    Php,
    PowerShell,
    Perl,
}

impl Language {
    /// Tells the language by the ending of a path, or else by the program that the first line names.
    fn of(path: &str, lower: &str) -> Self {
        let first = lower.lines().next().filter(|line| line.starts_with("#!")).unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or(path);
        let named = [("python", "py"), ("node", "js"), ("ruby", "rb"), ("php", "php"), ("perl", "pl")];
        let by_line = named.iter().find(|(program, _)| first.contains(program)).map_or("sh", |(_, end)| *end);
        match name.rsplit_once('.').map_or(by_line, |(_, end)| end) {
            "py" => Self::Python,
            "js" | "mjs" | "cjs" | "ts" | "mts" => Self::JavaScript,
            "rb" => Self::Ruby,
            "go" => Self::Go,
            "php" => Self::Php,
            "ps1" => Self::PowerShell,
            "pl" => Self::Perl,
            _ => Self::Shell,
        }
    }

    fn is_comment(self, line: &str) -> bool {
        let line = line.trim_start();
        match self {
            Self::Shell | Self::Python | Self::Ruby | Self::Perl => line.starts_with('#'),
            Self::PowerShell => line.starts_with(['#', '<']),
            Self::JavaScript | Self::Go => ["//", "*", "/*"].iter().any(|mark| line.starts_with(mark)),
            Self::Php => ["//", "*", "/*", "#"].iter().any(|mark| line.starts_with(mark)),
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
    let text = repository.files[script_of(repository, from.file, &command.text)?].text.to_ascii_lowercase();
    let says_no = ["exit 2", "exit(2)", "return 2", "exitcode = 2"].iter().any(|end| text.contains(end))
        && !MEANT.iter().any(|word| text.contains(word));
    says_no.then_some(lost)
}

/// A script of the repository that says no where nobody hears it. Only 2, or a decision in JSON, is heard.
pub(super) fn judge(
    repository: &Repository,
    (from, client): (FileId, Client),
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
    let language = Language::of(&repository.files[file].path, &lower);
    // Other clients read decisions of other forms, and set other variables.
    let other = !matches!(client, Client::Claude | Client::Codex);
    // What Cursor gives its gates has no input of a tool around it.
    let flat = client == Client::Cursor;
    if flat && decides_flat(&lower) {
        return;
    }
    let missing = || reads_missing(repository, text, language).filter(|_| event == "PreToolUse");
    let fault = if late {
        too_late(&lower, language, matcher == "Bash")
    } else {
        let decision = (event == "PreToolUse" && !other).then(|| unheard(text, &lower)).flatten();
        decision
            .map(|(span, why, hint)| (span, why, hint, Severity::High))
            .or_else(|| ends_with_one(&lower, language, event))
            .or_else(|| always_passes(&lower, language))
            .or_else(|| reads_too_high(&lower, language).filter(|_| event == "PreToolUse" && !flat))
            .or_else(|| misnames(&lower, matcher).filter(|_| event == "PreToolUse"))
            .or_else(|| asks_the_line(&lower, language, &command.text))
            .or_else(|| {
                asks_variables(text, &lower, language, &command.text)
                    .filter(|_| event == "PreToolUse" && !other)
            })
            .or_else(missing)
            .or_else(|| quoted_pattern(&lower, language).filter(|_| event == "PreToolUse"))
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
    let mut draft = report.add(file, span, why).severity(severity).also(from, command.span, started);
    if severity < Severity::High {
        draft = draft.confidence(Confidence::Medium);
    }
    draft.hint(hint).done();
}

/// Tells whether a script answers as Cursor reads it, so that its end does not matter.
fn decides_flat(lower: &str) -> bool {
    ["\"permission\"", "'permission'", "permission:", "\\\"permission\\\""]
        .iter()
        .any(|key| lower.contains(key))
}

/// Tells whether the author of a text in small letters wants a gate that fails to let everything pass.
pub(super) fn is_meant(lower: &str) -> bool {
    MEANT.iter().any(|word| lower.contains(word))
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
fn ends_with_one(lower: &str, language: Language, event: &str) -> Option<Fault> {
    let heard = HEARD.iter().any(|word| lower.contains(word));
    // What looks at its input and complains is a gate, in whatever words it does so.
    let complains = !heard && complains(lower, event);
    let meant = !heard && is_meant_to_refuse(lower, language, event);
    let caught = ["catch", "except", "rescue"].iter().any(|word| lower.contains(word));
    let says = |line: &str| {
        REFUSALS.iter().any(|word| line.contains(word)) && !MEANT.iter().any(|word| line.contains(word))
    };
    // `return 1` ends a script that hands what its main function returns on.
    let handed_on = language == Language::Python
        && ["exit(main(", "systemexit(main("].iter().any(|end| lower.contains(end));
    let lines = lines(lower);
    for (number, (at, line)) in lines.iter().enumerate() {
        if language.is_comment(line) {
            continue;
        }
        let one = ends_badly(line).or_else(|| falls(line, language).filter(|_| !heard && !caught));
        let returned =
            (handed_on && line.trim() == "return 1").then(|| (line.find("return").unwrap_or(0), 8));
        let texts =
            ["sys.exit(\"", "sys.exit('", "sys.exit(f\"", "sys.exit(f'", "systemexit(\"", "systemexit(f\""];
        let said = texts
            .iter()
            .find_map(|end| Some((line.find(end)?, end.len() - 2)))
            .filter(|_| language == Language::Python && (says(line) || meant));
        let Some((offset, len)) = one.or(returned).or(said) else { continue };
        let before = &lines[number.saturating_sub(3)..number];
        let aloud = complains
            && std::iter::once(line)
                .chain(before.iter().map(|(_, line)| line))
                .any(|line| is_complaint(line) || event.ends_with("Stop") && is_demand(line));
        // Where other refusals are heard, this one is only one if it says so to somebody.
        let near = says(line)
            || before
                .iter()
                .any(|(_, line)| says(line) && (!heard || !language.is_comment(line) && is_said(line)));
        let fails = ["usage", "not found", "not installed", "require", "missing"];
        let own = fails
            .iter()
            .any(|word| line.contains(word) || before.last().is_some_and(|(_, line)| line.contains(word)));
        if (near || (aloud || meant) && !own) && !(heard && own) {
            let why = "this gate ends with 1, which does not block; only 2 does";
            let span = Span::new(at + offset, at + offset + len);
            return Some((span, why, "end with 2, and say why on standard error", Severity::High));
        }
    }
    None
}

/// Words with which a script keeps a session at work, or a prompt back.
const DEMANDS: &[&str] = &[
    "fix ",
    "mend ",
    "go on",
    "keep going",
    "keep working",
    "continue",
    "before stopping",
    "before you stop",
    "before finishing",
    "not done",
    "must ",
    "tests are",
    "are failing",
    "still fail",
];

/// Words with which the head of a script says that it is there to refuse something.
const PURPOSES: &[&str] =
    &["stops ", "protect", "prevent", "may not ", "must not ", "guard", "no direct ", "only allow", "keeps "];

/// What the head of a script says that keeps a session at work.
const KEEPS: &[&str] = &[
    "may not stop",
    "must not stop",
    "cannot stop",
    "can't stop",
    "keep going",
    "keeps going",
    "only end",
    "only stop",
    "only finish",
    "may not end",
    "must not end",
    "cannot end",
    "may not finish",
    "must not finish",
    "not done until",
    "no session ends",
];

/// How many lines the head of a script has at most.
const HEAD_MAX: usize = 10;

/// Tells whether the comment or text at the head of a script says that it refuses something.
fn is_meant_to_refuse(lower: &str, language: Language, event: &str) -> bool {
    let is_head = |line: &&str| {
        let line = line.trim();
        line.is_empty()
            || language.is_comment(line)
            || ["\"\"\"", "\'\'\'", "<?php", "package "].iter().any(|start| line.starts_with(start))
    };
    let head: String =
        lower.lines().take(HEAD_MAX).take_while(is_head).flat_map(|line| [line, "\n"]).collect();
    if MEANT.iter().any(|word| head.contains(word)) {
        return false;
    }
    match event {
        "Stop" | "SubagentStop" => KEEPS.iter().any(|word| head.contains(word)),
        _ => REFUSALS.iter().chain(PURPOSES).any(|word| head.contains(word)),
    }
}

/// Tells whether a script judges what it is given: the input of a tool, or whether a session may end.
fn complains(lower: &str, event: &str) -> bool {
    match event {
        "PreToolUse" => lower.contains("tool_input") && !lower.contains("exit 2"),
        "Stop" | "SubagentStop" => DEMANDS.iter().any(|word| lower.contains(word)),
        _ => false,
    }
}

/// Tells whether a line tells a session what is still to be done.
fn is_demand(line: &str) -> bool {
    is_said(line) && DEMANDS.iter().any(|word| line.contains(word))
}

/// Tells whether a line complains: on standard error, or by the text of a fault.
fn is_complaint(line: &str) -> bool {
    [">&2", "stderr", "console.error", "warn ", "warn(", "fprintln(os", "throw new ", "raise ", "abort"]
        .iter()
        .any(|word| line.contains(word))
}

/// Tells whether a line of a script says something to whoever started it.
fn is_said(line: &str) -> bool {
    ["echo", "print", "stderr", "console.", "cat ", "warn", "log"].iter().any(|word| line.contains(word))
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
        "do not edit",
        "don't edit",
        "never edit",
        "not edit ",
        "are generated",
        "is generated",
        "read-only",
        "frozen",
        "off limits",
        "off-limits",
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
];
