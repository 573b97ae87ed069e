//! `hooks-edit-one-file`: hooks that are started at the same time rewrite the same file.

use std::collections::BTreeSet;

use kapell_spec::{claude::hooks::Hook, finding::Span, line};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    agents::HookFile,
    files::FileId,
    repository::{Depth, Repository},
    rule::{self, AntiPattern, Focus, Group, Report, Rule},
    rules::hook_text::HookText,
};

/// See `docs/rules/hooks-edit-one-file.md`.
pub(super) static RULE: Rule = Rule {
    name: "hooks-edit-one-file",
    summary: "hooks that are started at the same time rewrite the same file",
    group: Group::AgentFlow,
    anti_pattern: Some(AntiPattern::SharedState),
    focus: Focus::Conflicts,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/hooks-edit-one-file.md"),
    check,
};

/// Programs that rewrite the file that they are given, the word that has them do so if they would else only look, and the
/// endings of the files that they take.
const WRITERS: &[(&str, &str, &[&str])] = &[
    ("isort", "", &["py"]),
    ("black", "", &["py"]),
    ("ruff check", "--fix", &["py"]),
    ("ruff format", "", &["py"]),
    ("autopep8", "-i", &["py"]),
    ("yapf", "-i", &["py"]),
    ("docformatter", "-i", &["py"]),
    ("pyupgrade", "", &["py"]),
    ("gofmt", "-w", &["go"]),
    ("goimports", "-w", &["go"]),
    ("gofumpt", "-w", &["go"]),
    ("gci write", "", &["go"]),
    ("rustfmt", "", &["rs"]),
    ("prettier", "--write", WEB),
    ("eslint", "--fix", CODE),
    ("biome check", "--write", WEB),
    ("biome format", "--write", WEB),
    ("stylelint", "--fix", &["css"]),
    ("shfmt", "-w", &["sh"]),
    ("clang-format", "-i", &["c"]),
    ("rubocop", "-a", &["rb"]),
    ("standardrb", "--fix", &["rb"]),
];

const WEB: &[&str] = &["ts", "tsx", "js", "jsx", "css", "json", "md"];
const CODE: &[&str] = &["ts", "tsx", "js", "jsx"];

/// What has a program only look.
const LOOKS: &[&str] = &["--check", "--diff", "--dry-run", "--list-different", "--fix-dry-run", "--no-write"];

/// Ways to name the file that was edited. `$PATH` and `${PWD}` are none.
const EDITED: &[&str] = &[
    "file_path",
    "FILE_PATH",
    "$f\"",
    "$F\"",
    "$file",
    "$FILE",
    "$path",
    "${f",
    "${F",
    "${p",
    "$1",
    "filepath",
    "filePath",
    "xargs",
];

/// Ways to ask whether a file lies in a folder.
const OF_FOLDER: &[&str] = &["*/", "/*)", "/*|", "startswith(", "startsWith("];

/// A hook that rewrites what was edited.
#[derive(Debug)]
struct Writer<'a> {
    hook: &'a Hook,
    program: &'static str,
    endings: BTreeSet<&'static str>,
    /// Where it does.
    at: (FileId, Span),
}

fn check(repository: &Repository, report: &mut Report<'_>) {
    for file in &repository.agents.hooks {
        let hooks = file.hooks.hooks.iter().filter(|hook| hook.event.text == "PostToolUse");
        let writers: Vec<Writer<'_>> = hooks.filter_map(|hook| writer(repository, file, hook)).collect();
        let Some((first, rest)) = writers.iter().enumerate().find_map(|(at, first)| {
            let rest: Vec<&Writer<'_>> =
                writers[at + 1..].iter().filter(|other| meet(first, other)).collect();
            (!rest.is_empty()).then_some((first, rest))
        }) else {
            continue;
        };
        let programs: BTreeSet<&str> =
            std::iter::once(first).chain(rest.iter().copied()).map(|writer| writer.program).collect();
        let message = format!(
            "hooks of one event run at the same time: {} of them rewrite the file that was edited ({}), and the last to end wins",
            rest.len() + 1,
            rule::names(programs)
        );
        let mut draft = report.add(file.file, first.hook.span, message);
        draft = draft.hint("start one hook that runs them one after the other");
        for other in &rest {
            draft = draft.also(file.file, other.hook.span, "started at the same time");
        }
        for writer in std::iter::once(&first).chain(&rest) {
            draft = draft.also(writer.at.0, writer.at.1, format!("`{}` rewrites it here", writer.program));
        }
        draft.done();
    }
}

/// Tells whether two hooks are started for the same tool, and take the same files.
fn meet(one: &Writer<'_>, other: &Writer<'_>) -> bool {
    let tools = |writer: &Writer<'_>| -> BTreeSet<String> {
        let matcher = writer.hook.matcher.as_ref().map_or("", |matcher| &*matcher.text);
        matcher.split('|').map(|tool| tool.trim().to_owned()).collect()
    };
    let any = |tools: &BTreeSet<String>| tools.iter().any(|tool| matches!(&**tool, "" | "*" | ".*"));
    let (left, right) = (tools(one), tools(other));
    let same_tool = any(&left) || any(&right) || !left.is_disjoint(&right);
    let same_file = !one.endings.is_disjoint(&other.endings);
    let same_text = one.at == other.at || one.hook.text == other.hook.text;
    same_tool && same_file && !same_text
}

/// Finds what a hook rewrites the edited file with.
fn writer<'a>(repository: &'a Repository, file: &HookFile, hook: &'a Hook) -> Option<Writer<'a>> {
    let run = HookText::of(repository, file, hook)?;
    let lower = run.text.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| run.text.contains(word));
    // One that waits for its turn, formats everything, or takes the files of a folder alone, is another matter.
    if lower.contains("flock") || !has(EDITED) || has(OF_FOLDER) {
        return None;
    }
    let (at, program, endings) = rewrites(&lower)?;
    let named = |ending: &&&str| names_ending(&lower, ending);
    let mut taken: BTreeSet<&'static str> = endings.iter().filter(named).copied().collect();
    if taken.is_empty() {
        // A script that chooses other files than its program takes is not understood.
        let chooses =
            WRITERS.iter().flat_map(|(.., all)| all.iter()).any(|ending| names_ending(&lower, ending));
        taken = endings.iter().filter(|_| !chooses).copied().collect();
    }
    let at = run.place(Span::new(at, at + program.len()));
    Some(Writer { hook, program, endings: taken, at })
}

/// Tells whether a script names the ending of files: `*.py)`, `.endswith(".py")`, `\.(ts|tsx)$`.
fn names_ending(lower: &str, ending: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric();
    lower.match_indices(ending).any(|(at, _)| {
        let (before, after) = (&lower[..at], &lower[at + ending.len()..]);
        let starts = before.ends_with('.') && before.trim_end_matches('.').ends_with(['*', '"', '\'', '\\'])
            || before.ends_with(['|', '(', ',', '{'])
                && before.rfind("\\.(").or(before.rfind(".{")).is_some();
        starts && !after.starts_with(|c: char| letter(c) || c == '_' || c == '-')
    })
}

/// Finds the program with which a text in small letters rewrites a file, where it stands, and which files it takes.
fn rewrites(lower: &str) -> Option<(usize, &'static str, &'static [&'static str])> {
    let mut at = 0;
    lower.split_inclusive('\n').find_map(|line| {
        let start = at;
        at += line.len();
        if line.trim_start().starts_with(['#', '/']) {
            return None;
        }
        line.split([';', '|', '&', '(', ')']).find_map(|command| {
            let offset = start + line::offset(line, command);
            if LOOKS.iter().any(|word| command.contains(word)) {
                return None;
            }
            let (program, word, endings) =
                WRITERS.iter().find(|(program, ..)| is_started(command, program))?;
            let writes = word.is_empty() || command.split_whitespace().any(|own| own.starts_with(word));
            writes.then(|| (offset + command.find(program).unwrap_or(0), *program, *endings))
        })
    })
}

/// Tells whether a command starts a program, whatever runs it: `npx prettier`, `uv run black`, `.venv/bin/black`.
fn is_started(command: &str, program: &str) -> bool {
    const RUNNERS: &[&str] = &[
        "npx",
        "bunx",
        "pnpm",
        "yarn",
        "exec",
        "dlx",
        "uv",
        "uvx",
        "run",
        "poetry",
        "python",
        "python3",
        "-m",
        "then",
        "do",
        "xargs",
        "if",
        "!",
        "bundle",
        "time",
        "--no-install",
        "-y",
        "--yes",
        "--quiet",
        "-q",
    ];
    let mut words = command.split_whitespace().map(|word| word.trim_matches(['"', '\'']));
    let mut wanted = program.split(' ');
    let first = wanted.next().unwrap_or_default();
    let found = words.by_ref().find(|word| !RUNNERS.contains(word) && !word.contains('='));
    let own = found.map(|word| word.rsplit('/').next().unwrap_or(word).split('@').next().unwrap_or(word));
    own == Some(first) && wanted.all(|part| words.clone().any(|word| word == part))
}
