//! What a script that a hook starts does where it should say no.

use std::collections::BTreeSet;

use kapell_spec::{claude::hooks::Hook, finding::Span, line, suggest};
use kapell_view::audit::{Confidence, Severity};

use super::{script_of, swallowed, unheard};
use crate::{
    agents::{HookFile, clients::Client},
    files::FileId,
    repository::Repository,
    rule::Report,
    rules::hook_output_unread,
};

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

/// Finds where a gate reads a file of its rules that is not there, while one that is called nearly so is.
fn reads_missing(repository: &Repository, text: &str, language: Language) -> Option<Fault> {
    let mut parts = text.split(['"', '\'']).skip(1);
    let fault = parts.find_map(|part| {
        let path = part.trim_start_matches("./").trim_start_matches("/.");
        let (folder, name) = path.rsplit_once('/')?;
        let known = [".yml", ".yaml", ".json", ".txt", ".toml", ".lst", ".conf"]
            .iter()
            .any(|end| name.ends_with(end));
        if !known
            || part.len() > 120
            || path.contains([' ', '$', '{', '*', '\n'])
            || repository.files.exists(path)
        {
            return None;
        }
        let stem = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
        let mut beside =
            repository.files.iter().map(|(_, file)| &*file.path).chain(repository.files.others());
        let near = beside.find(|other| {
            let own = other.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
            own.is_some_and(|own| {
                !own.contains('/') && (stem(own) == stem(name) || suggest::mistyped(name, [own], 2).is_some())
            })
        });
        near.map(|_| part)
    })?;
    let at = fault.as_ptr() as usize - text.as_ptr() as usize;
    let commented = language.is_comment(line::around(text, at));
    let why =
        "this gate never judges: the file that it reads is not there, though one that is called nearly so is";
    let hint = "name the file that is there, and end with 2 where it cannot be read";
    (!commented).then(|| (Span::new(at, at + fault.len()), why, hint, Severity::High))
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
                .any(|line| is_complaint(line));
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
const KEEPS: &[&str] =
    &["may not stop", "must not stop", "cannot stop", "can't stop", "keep going", "keeps going"];

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
    if let Some(span) = asks_the_pipe(lower, &lines).filter(|_| language == Language::Shell) {
        let why = "`$?` is what the end of the pipe returned: the gate never sees that the check failed";
        return Some((span, why, "write `set -o pipefail`, or ask `${PIPESTATUS[0]}`", Severity::High));
    }
    if let Some(span) = returns_unheard(lower, &lines).filter(|_| language == Language::Shell) {
        let why = "nobody reads what this function returns: the gate itself ends with 0";
        return Some((span, why, "write `exit 2`, or `check || exit 2` where it is called", Severity::High));
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

/// Finds where a gate that can say no says yes because it could not judge: a program is missing, or it failed itself.
fn swallows(lower: &str, language: Language) -> Option<Fault> {
    if MEANT.iter().any(|word| lower.contains(word)) {
        return None;
    }
    let lines = lines(lower);
    let mut gravest: Option<Fault> = None;
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
            let severity =
                if language == Language::Python && takes_exits(code) && swallows_all(&lines, number) {
                    Severity::High
                } else if language == Language::Python && swallows_all(&lines, number) {
                    Severity::Medium
                } else {
                    Severity::Low
                };
            // One that takes every fault may stand behind one that takes a few.
            if gravest.as_ref().is_none_or(|(.., known)| severity > *known) {
                gravest = Some((span, why, "end with 2 there, and say why on standard error", severity));
            }
        }
    }
    gravest
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

/// Finds a function that returns 2 in a script that ends with 0 whatever its functions return.
fn returns_unheard(lower: &str, lines: &[(usize, &str)]) -> Option<Span> {
    let heard = ["exit 2", "$?", "set -e", "|| exit", "&& exit", "errexit", "if check", "if !"];
    let last = lines.iter().rev().map(|(_, line)| line.trim()).find(|line| !line.is_empty())?;
    if last != "exit 0" || heard.iter().any(|word| lower.contains(word)) {
        return None;
    }
    let at = lines.iter().find_map(|(at, line)| Some(at + line.find("return 2")?))?;
    Some(Span::new(at, at + "return 2".len()))
}

/// Programs at the end of a pipe that take in what another one says, and succeed.
const PASSES_ON: &[&str] = &["tee", "cat", "tail", "head", "sed", "ts", "logger"];

/// Finds a line whose pipe ends in a program that succeeds, before one that asks for `$?`.
fn asks_the_pipe(lower: &str, lines: &[(usize, &str)]) -> Option<Span> {
    if lower.contains("pipefail") || lower.contains("pipestatus") {
        return None;
    }
    lines.windows(2).find_map(|pair| {
        let (at, line) = pair[0];
        let code = line.trim();
        let (_, reader) = code.rsplit_once("| ").filter(|(before, _)| !before.ends_with('|'))?;
        let passes = PASSES_ON.contains(&reader.split_whitespace().next()?);
        let asks = pair[1].1.contains("$?") && (pair[1].1.contains("if ") || pair[1].1.contains("=$?"));
        let inside = code.contains("$(") || code.starts_with('#');
        let start = at + (line.len() - line.trim_start().len());
        (passes && asks && !inside).then(|| Span::new(start, start + code.len()))
    })
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
        Language::JavaScript | Language::Ruby => lower.contains("json.parse"),
        // What is taken out there is told by the types.
        Language::Go => false,
        Language::Php | Language::Perl => lower.contains("json_decode") || lower.contains("decode_json"),
        Language::PowerShell => lower.contains("convertfrom-json"),
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

/// Keys of the inputs of the tools that a client has itself, as of Claude Code 2.1.
const INPUT_KEYS: &[&str] = &[
    "command",
    "description",
    "file_path",
    "content",
    "old_string",
    "new_string",
    "replace_all",
    "edits",
    "path",
    "pattern",
    "glob",
    "url",
    "prompt",
    "query",
    "notebook_path",
    "new_source",
    "cell_id",
    "cell_type",
    "edit_mode",
    "subagent_type",
    "todos",
    "timeout",
    "run_in_background",
    "offset",
    "limit",
    "output_mode",
    "skill",
    "args",
    "plan",
    "questions",
    "allowed_domains",
    "blocked_domains",
];

/// Finds where a gate reads a key that the input of no such tool has, and none that it has: it never sees what it judges.
fn misnames(lower: &str, matcher: &str) -> Option<Fault> {
    let own = matcher.split('|').all(|tool| {
        matches!(tool.trim(), "Bash" | "Edit" | "Write" | "MultiEdit" | "Read" | "WebFetch" | "NotebookEdit")
    });
    // Written out, or behind a name for it.
    let forms = ["tool_input.", "tool_input?.", "tool_input\"][\"", "tool_input']['", "tool_input\"]['"];
    let mut keys = forms.iter().flat_map(|form| {
        lower.match_indices(form).map(move |(at, _)| {
            let from = at + form.len();
            let rest = &lower[from..];
            let len = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
            (from, &rest[..len])
        })
    });
    let all: Vec<(usize, &str)> = keys.by_ref().collect();
    let count = lower.matches("tool_input").count();
    let (at, key) = *all.first()?;
    let unknown = all.iter().all(|(_, key)| key.len() > 1 && !INPUT_KEYS.contains(key) && *key != "get");
    let why = "this gate never sees what it judges: the input of the tool has no such key";
    let hint = "read `.tool_input.command` of Bash, `.tool_input.file_path` of Edit and Write";
    (own && unknown && all.len() == count).then(|| (Span::new(at, at + key.len()), why, hint, Severity::High))
}

/// Finds where a gate takes what it judges from its command line, on which nothing stands.
fn asks_the_line(lower: &str, language: Language, command: &str) -> Option<Fault> {
    let takes = ["jq ", "stdin", "$(cat", "read ", "cat |", "`cat`", "<&0", "$#"];
    let bare = command.trim_end().trim_end_matches(['"', '\'']).ends_with(".sh");
    let says_no = ["exit 2", "exit(2)", "return 2"].iter().any(|end| lower.contains(end));
    if language != Language::Shell || !bare || !says_no || takes.iter().any(|take| lower.contains(take)) {
        return None;
    }
    let (at, _) = lower.match_indices("=\"$1\"").chain(lower.match_indices("=$1\n")).next()?;
    let why = "this gate judges its first argument, and is given none: what a tool is given comes as JSON on standard input";
    let hint = "read it with `jq -r '.tool_input.command'` from standard input";
    Some((Span::new(at + 1, at + 5), why, hint, Severity::High))
}

/// What takes in what comes on standard input.
const STDIN: &[&str] = &[
    "stdin",
    "$(cat)",
    "$(cat ",
    "`cat`",
    "cat |",
    "<&0",
    "read -",
    "/dev/fd/0",
    "readfilesync(0",
    "$(jq ",
    "php://input",
];

/// Finds where a gate takes what it judges from a variable that its client does not set, and reads nothing of its standard
/// input.
fn asks_variables(text: &str, lower: &str, language: Language, command: &str) -> Option<Fault> {
    let says_no = HEARD.iter().any(|word| lower.contains(word));
    // Who starts it may set them.
    if !says_no || command.contains('=') || STDIN.iter().any(|take| lower.contains(take)) {
        return None;
    }
    let span = if language == Language::Shell {
        hook_output_unread::never_set(text)?
    } else {
        let reads = ["environ", "getenv", "process.env", "env[", "$env:"];
        text.lines().filter(|line| !language.is_comment(line)).find_map(|line| {
            let lower = line.to_ascii_lowercase();
            let name = hook_output_unread::UNSET
                .iter()
                .find(|name| name.starts_with("CLAUDE_") && line.contains(**name))?;
            let at = line.as_ptr() as usize - text.as_ptr() as usize + line.find(name)?;
            reads.iter().any(|read| lower.contains(read)).then(|| Span::new(at, at + name.len()))
        })?
    };
    let why = "this gate never sees what it judges: no such variable is set, what a tool is given comes as JSON on standard input";
    Some((span, why, "read it with `jq -r '.tool_input.command'` from standard input", Severity::High))
}

/// Tells whether a line of shell reads what the hook is given, and lets everything pass where it cannot.
fn reads_or_passes(code: &str) -> bool {
    let ends = code.trim_end();
    let reads = ["$(jq ", "| jq ", "$(cat", "json.load"].iter().any(|word| code.contains(word));
    let last = ends.rsplit("||").next().unwrap_or_default().trim();
    reads && ends.contains(")") && ends.contains("||") && !ends.contains("&&") && last == "exit 0"
}

/// Tells whether an `except` takes the end of the script too, which is a fault of its own kind: the gate never says no.
fn takes_exits(code: &str) -> bool {
    matches!(code.trim_end(), "except:" | "except baseexception:")
        || code.starts_with("except baseexception as")
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
        .any(|(_, line)| {
            // `sys.exit(main())` says no where `main` does.
            let of_main = line.contains("main(") && lines.iter().any(|(_, line)| line.trim() == "return 2");
            of_main || ["exit(2)", "return 2"].iter().any(|end| line.contains(end))
        })
}
