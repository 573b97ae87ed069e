//! `stop-hook-loop`: a hook keeps a session from its end, and does not look whether it has done so already.

use std::ops::Range;

use kapell_spec::{claude::hooks::Hook, finding::Span};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    agents::HookFile,
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
    rules::{hook_fan_out, hook_text::HookText},
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
    let Some(run) = HookText::of(repository, file, hook) else { return };
    // What the settings do with its end comes first.
    let command = &*run.command.text;
    if command.contains('|') || command.contains("&&") || command.trim_end().ends_with('&') {
        return;
    }
    let lower = run.text.to_ascii_lowercase();
    if is_bounded(&lower) {
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
    let (at, span) = run.place(span);
    let mut draft = report.add(at, span, message).severity(severity);
    if severity < Severity::High {
        draft = draft.confidence(Confidence::Medium);
    }
    let draft = draft.hint("let it pass where its input says `\"stop_hook_active\": true`");
    run.started(draft, &format!("at every {}", hook.event.text)).done();
}

/// Tells whether a script bounds itself. What it prints and remarks says nothing of that, unless it looks at something in it.
fn is_bounded(lower: &str) -> bool {
    let says = |line: &str| BOUNDS.iter().any(|bound| line.contains(bound));
    lower.lines().any(|line| {
        let plain = line.trim_start();
        let prints = ["echo ", "printf "].iter().any(|start| plain.starts_with(start));
        if prints && !plain.contains("$(") {
            says(&unquoted(plain))
        } else {
            says(plain) && !plain.starts_with('#')
        }
    })
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

/// Finds the end with 2 that a shell script takes where a suite fails, and the suite: `if ! npm test; then ... exit 2; fi`,
/// `npm test || { ... exit 2; }`.
fn by_suite(lower: &str) -> Option<(Span, &'static str)> {
    let mut ends = lower.match_indices("exit 2");
    // Where there are several reasons to go on, one of them may be a bound.
    let (end, word) = ends.next().filter(|_| ends.next().is_none())?;
    let mut at = 0;
    lower.split_inclusive('\n').find_map(|line| {
        let start = at;
        at += line.len();
        let plain = line.trim_start();
        let command = plain.trim_start_matches("if ").trim_start_matches("! ");
        let suites =
            || hook_fan_out::SUITES.iter().copied().find(|suite| hook_fan_out::starts(command, suite));
        let suite = suites().filter(|_| !plain.starts_with('#'))?;
        let decides = decided(lower, start, line).is_some_and(|range| range.contains(&end));
        decides.then(|| (Span::new(end, end + word.len()), suite.trim()))
    })
}

/// Returns where an end is decided by the suite of a line: in the block of its `if` or behind its `||`, behind an `if` or an
/// `&&` that ends well, and in the next `if` where that asks `$?`.
fn decided(lower: &str, start: usize, line: &str) -> Option<Range<usize>> {
    let behind = start + line.len();
    if line.trim_start().starts_with("if ") {
        let end = block_end(lower, start, "fi");
        let well = lower[start..end].contains("exit 0");
        return Some(start..if well { next_question(lower, end) } else { end });
    }
    if let Some((_, rest)) = line.split_once("||") {
        let block = rest.trim_start().starts_with('{');
        return Some(start..if block { block_end(lower, start, "}") } else { behind });
    }
    if line.contains("&& exit 0") {
        return Some(behind..next_question(lower, behind));
    }
    let next = next_question(lower, behind);
    let asked = lower[next..].split('\n').next().map_or(next, |question| next + question.len());
    lower[start..asked].contains("$?").then(|| next..block_end(lower, next, "fi"))
}

/// Returns where a block ends that begins behind `start`: before the first `word` that stands by itself.
fn block_end(lower: &str, start: usize, word: &str) -> usize {
    let blank = [' ', ';', '\n', '\t'];
    let mut at = start;
    for own in lower[start..].split_inclusive(blank) {
        if own.trim_end_matches(blank) == word {
            return at;
        }
        at += own.len();
    }
    lower.len()
}

/// Returns where the next line starts that asks something else.
fn next_question(lower: &str, from: usize) -> usize {
    let mut at = from;
    for line in lower[from..].split_inclusive('\n') {
        let plain = line.trim_start();
        if ["if ", "case ", "[", "test ", "while ", "for "].iter().any(|word| plain.starts_with(word)) {
            return at;
        }
        at += line.len();
    }
    lower.len()
}
