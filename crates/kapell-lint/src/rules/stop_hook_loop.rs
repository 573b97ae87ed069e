//! `stop-hook-loop`: a hook keeps a session from its end, and does not look whether it has done so already.

use kapell_spec::{claude::hooks::Hook, finding::Span};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    agents::HookFile,
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
    rules::{gate_hook_fails_open::script_of, hook_fan_out},
};

/// See `docs/rules/stop-hook-loop.md`.
pub(super) static RULE: Rule = Rule {
    name: "stop-hook-loop",
    summary: "a hook keeps a session from its end again and again",
    group: Group::AgentFlow,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/stop-hook-loop.md"),
    check,
};

/// What a script bounds itself with: the word of its input that tells it, a count, a mark that it leaves, a look at what was
/// said.
const BOUNDS: &[&str] = &[
    "stop_hook_active",
    "transcript",
    "last_assistant",
    "attempt",
    "count",
    "retr",
    "max",
    "touch ",
    "mkdir",
    "mktemp",
    "rm -",
    "marker",
    "flag",
    "flock",
    ".lock",
    "round",
    "-ge ",
    "-gt ",
    "-lt ",
    "stamp",
    "state",
    "once",
];

fn check(repository: &Repository, report: &mut Report<'_>) {
    for file in &repository.agents.hooks {
        for hook in file.hooks.hooks.iter().filter(|hook| is_at_end(hook)) {
            of(repository, file, hook, report);
        }
    }
}

/// Tells whether a hook is asked when a session, or an agent of it, wants to end, and is waited for.
fn is_at_end(hook: &Hook) -> bool {
    matches!(&*hook.event.text, "Stop" | "SubagentStop") && hook.kind == "command" && !hook.is_async
}

fn of(repository: &Repository, file: &HookFile, hook: &Hook, report: &mut Report<'_>) {
    let Some(command) = &hook.text else { return };
    // What the settings do with its end comes first.
    if ["||", "&&", "|"].iter().any(|join| command.text.contains(join))
        || command.text.trim_end().ends_with('&')
    {
        return;
    }
    let script = script_of(repository, file.file, &command.text);
    let text = script.map_or(&*command.text, |script| &*repository.files[script].text);
    let lower = text.to_ascii_lowercase();
    if BOUNDS.iter().any(|bound| lower.contains(bound)) {
        return;
    }
    let (span, message, severity) = if let Some(span) = always(&lower) {
        let message = "this hook sends the session on each time that it wants to end, whatever it has done";
        (span, message.to_owned(), Severity::High)
    } else if let Some((span, suite)) = by_suite(&lower).filter(|_| hook.event.text == "Stop") {
        let message = format!(
            "this hook sends the session on for as long as `{suite}` fails, and never lets it give up"
        );
        (span, message, Severity::Medium)
    } else {
        return;
    };
    let (at, span) = script.map_or((file.file, command.span), |script| (script, span));
    let mut draft = report.add(at, span, message).severity(severity);
    if severity < Severity::High {
        draft = draft.confidence(Confidence::Medium);
    }
    if script.is_some() {
        draft = draft.also(file.file, command.span, format!("started here at every {}", hook.event.text));
    }
    draft.hint("let it pass where its input says `\"stop_hook_active\": true`").done();
}

/// Beginnings of lines that decide nothing: what is said, and what is taken in.
const PLAIN: &[&str] = &[
    "echo ",
    "printf ",
    "cat ",
    "set -u",
    "set +e",
    "import ",
    "from ",
    "const ",
    "let ",
    "print(",
    "console.error(",
    "sys.stderr.write(",
    "process.stderr.write(",
    "input=$(cat)",
    "cd ",
    "\"\"\"",
];

/// Finds where a script says no without having decided anything before.
fn always(lower: &str) -> Option<Span> {
    let mut at = 0;
    let mut document: Option<&str> = None;
    for line in lower.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let plain = line.trim();
        if let Some(end) = document {
            document = (plain != end).then_some(end);
            continue;
        }
        if plain.starts_with(['#', '/']) {
            continue;
        }
        // One line of settings may hold several commands.
        let bare = unquoted(line);
        let mut from = 0;
        for masked in bare.split(';') {
            let part = &line[from..from + masked.len()];
            let offset = start + from + (part.len() - part.trim_start().len());
            from += masked.len() + 1;
            let part = part.trim();
            if says_no(part) {
                return Some(Span::new(offset, offset + part.len()));
            }
            if decides(part, masked) {
                return None;
            }
        }
        document = plain.split_once("<<").map(|(_, word)| word.trim_matches(['-', '\'', '"', ' ']));
        // What is printed over several lines may be the answer, which is not looked into.
        if document.is_some_and(|word| word.contains(' ') || word.is_empty()) {
            return None;
        }
    }
    None
}

/// Tells whether a line is an end that its client takes for a no: an end with 2, or a decision that is printed.
fn says_no(line: &str) -> bool {
    let ends = matches!(line, "exit 2" | "exit(2)" | "sys.exit(2)" | "process.exit(2)");
    let prints = ["echo ", "printf ", "print(", "console.log("].iter().any(|word| line.starts_with(word));
    let decides = || line.contains("decision") && line.contains("block") && !line.contains("$(");
    ends || prints && decides() && !line.contains(">&2") && !line.contains("stderr")
}

/// Tells whether a command may lead elsewhere than to the next one. `bare` is it without what stands in quotes.
fn decides(command: &str, bare: &str) -> bool {
    let joined = ["&&", "||", " if ", "?"].iter().any(|word| bare.contains(word));
    !(command.is_empty() || PLAIN.iter().any(|start| command.starts_with(start))) || joined
}

/// Returns a line in which blanks stand for what is in quotes, as long as before.
fn unquoted(line: &str) -> String {
    let mut quote = None;
    let mask = |byte: u8| {
        let is_quote = matches!(byte, b'"' | b'\'');
        match quote {
            None if is_quote => quote = Some(byte),
            Some(open) if open == byte => quote = None,
            _ => {}
        }
        if is_quote || quote.is_some() || !byte.is_ascii() { ' ' } else { char::from(byte) }
    };
    line.bytes().map(mask).collect()
}

/// Finds the end with 2 below a suite that a shell script runs, and the suite.
fn by_suite(lower: &str) -> Option<(Span, &'static str)> {
    let run = |line: &str| {
        let line = line.trim_start().trim_start_matches("if ").trim_start_matches("! ");
        let suites = hook_fan_out::SUITES.iter().filter(|_| !line.starts_with('#'));
        suites.copied().find(|suite| hook_fan_out::starts(line, suite))
    };
    let suite = lower.lines().find_map(run)?;
    let mut ends = lower.match_indices("exit 2");
    // Where there are several reasons to go on, one of them may be a bound.
    let (at, end) = ends.next().filter(|_| ends.next().is_none())?;
    Some((Span::new(at, at + end.len()), suite.trim()))
}
