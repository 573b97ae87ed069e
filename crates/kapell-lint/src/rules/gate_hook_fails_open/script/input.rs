//! What a gate takes for what it judges, and is not.

use kapell_spec::{finding::Span, line, suggest};
use kapell_view::audit::Severity;

use super::{Fault, HEARD, Language};
use crate::{repository::Repository, rules::hook_output_unread};

/// Finds where a gate reads a file of its rules that is not there, while one that is called nearly so is.
pub(super) fn reads_missing(repository: &Repository, text: &str, language: Language) -> Option<Fault> {
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
    let at = line::offset(text, fault);
    let commented = language.is_comment(line::around(text, at));
    let why =
        "this gate never judges: the file that it reads is not there, though one that is called nearly so is";
    let hint = "name the file that is there, and end with 2 where it cannot be read";
    (!commented).then(|| (Span::new(at, at + fault.len()), why, hint, Severity::High))
}

/// Finds where a gate of a shell compares with a pattern in quotes, which stands for itself there: `[ "$f" == "*.lock" ]`.
pub(super) fn quoted_pattern(lower: &str, language: Language) -> Option<Fault> {
    if language != Language::Shell || !lower.contains("*") {
        return None;
    }
    let found = lower.lines().filter(|line| !language.is_comment(line)).find_map(|line| {
        let (_, test) = line.split_once("[ ")?;
        let test = test.split(" ]").next()?;
        let operand =
            [" == \"", " = \""].iter().find_map(|sign| test.split_once(sign)).map(|(_, rest)| rest)?;
        let pattern = operand.split('"').next()?;
        let names = pattern.chars().filter(char::is_ascii_alphanumeric).count() >= 2;
        (pattern.contains('*') && names && !pattern.contains(['$', ' '])).then_some(pattern)
    })?;
    let at = line::offset(lower, found);
    let why = "this never holds: in quotes a pattern stands for itself, and the gate lets everything pass";
    let hint = "write `[[ $file == *.lock ]]` without quotes, or use `case`";
    Some((Span::new(at, at + found.len()), why, hint, Severity::High))
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
pub(super) fn reads_too_high(lower: &str, language: Language) -> Option<Fault> {
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
const INPUT_KEYS: &[(&str, &[&str])] = &[
    ("Bash", &["command", "description", "timeout", "run_in_background"]),
    ("Edit", &["file_path", "old_string", "new_string", "replace_all"]),
    ("Write", &["file_path", "content"]),
    ("MultiEdit", &["file_path", "edits"]),
    ("Read", &["file_path", "offset", "limit", "pages"]),
    ("WebFetch", &["url", "prompt"]),
    ("NotebookEdit", &["notebook_path", "new_source", "cell_id", "cell_type", "edit_mode"]),
];

/// Finds where a gate reads a key that the input of no such tool has, and none that it has: it never sees what it judges.
pub(super) fn misnames(lower: &str, matcher: &str) -> Option<Fault> {
    let keys_of =
        |tool: &str| INPUT_KEYS.iter().find(|(name, _)| *name == tool.trim()).map(|(_, keys)| *keys);
    let own = matcher.split('|').all(|tool| keys_of(tool).is_some());
    let known: Vec<&str> = matcher.split('|').filter_map(keys_of).flatten().copied().collect();
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
    let unknown = all.iter().all(|(_, key)| key.len() > 1 && !known.contains(key) && *key != "get");
    let why = "this gate never sees what it judges: the input of the tool has no such key";
    let hint = "read `.tool_input.command` of Bash, `.tool_input.file_path` of Edit and Write";
    (own && unknown && all.len() == count).then(|| (Span::new(at, at + key.len()), why, hint, Severity::High))
}

/// Finds where a gate takes what it judges from its command line, on which nothing stands.
pub(super) fn asks_the_line(lower: &str, language: Language, command: &str) -> Option<Fault> {
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
pub(super) fn asks_variables(text: &str, lower: &str, language: Language, command: &str) -> Option<Fault> {
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
            let at = line::offset(text, line) + line.find(name)?;
            reads.iter().any(|read| lower.contains(read)).then(|| Span::new(at, at + name.len()))
        })?
    };
    let why = "this gate never sees what it judges: no such variable is set, what a tool is given comes as JSON on standard input";
    Some((span, why, "read it with `jq -r '.tool_input.command'` from standard input", Severity::High))
}
