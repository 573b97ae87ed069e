//! Sessions that workflows, scripts and make files start: which agent they run as, which command they are given, and whether
//! anybody is asked.

use kapell_spec::{finding::Span, line};

use crate::files::{File, FileId, Files};

/// What a line starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The file.
    pub file: FileId,
    /// What it says.
    pub what: What,
    /// Where it says so.
    pub span: Span,
}

/// What is told to a session where it is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The agent that it runs as.
    Agent(String),
    /// The command that it is given first, without its slash.
    Command(String),
    /// That nobody is asked: the flag.
    Unasked(&'static str),
}

/// Flags after which nobody is asked.
const UNASKED: &[&str] =
    &["--dangerously-skip-permissions", "--dangerously-bypass-approvals-and-sandbox", "--yolo"];

/// How many lines that go on with `\` may lie between a program and its flag.
const GOES_ON_MAX: usize = 6;

/// Finds what is told to sessions.
#[must_use]
pub fn sessions(files: &Files) -> Vec<Session> {
    let mut found = Vec::new();
    for (id, file) in files.iter().filter(|(_, file)| starts_some(file)) {
        let in_action = file.text.contains("claude-code-action");
        let (mut at, mut started, mut prompted) = (0, None, false);
        for (number, line) in file.text.split_inclusive('\n').enumerate() {
            let code = line.trim();
            let comment = code.starts_with('#') || code.starts_with("//");
            if !comment && is_started(code) {
                started = Some(number);
            }
            let within = started.is_some_and(|from| number - from <= GOES_ON_MAX) && !comment;
            let mut add = |what: What, from: usize, len: usize| {
                found.push(Session { file: id, what, span: Span::new(at + from, at + from + len) });
            };
            if within {
                if let Some((from, name)) = agent(line) {
                    add(What::Agent(name.to_owned()), from, name.len());
                }
                for flag in UNASKED {
                    line.find(flag).into_iter().for_each(|from| add(What::Unasked(flag), from, flag.len()));
                }
                if let Some((from, name)) = quoted(line) {
                    add(What::Command(name.to_owned()), from, name.len());
                }
            }
            if !code.ends_with('\\') {
                started = None;
            }
            let prompt = code.strip_prefix("prompt:").map(str::trim).filter(|_| in_action);
            if prompted || prompt.is_some() {
                let given = prompt.unwrap_or(code).trim_start_matches(['"', '\'']);
                if let Some(name) = slash(given) {
                    let from = line::offset(line, name);
                    add(What::Command(name.to_owned()), from, name.len());
                }
            }
            prompted = prompt.is_some_and(|prompt| matches!(prompt, "|" | ">" | "|-" | ">-"));
            at += line.len();
        }
    }
    found
}

/// Tells whether a file is one in which sessions are started, and names a client at all.
fn starts_some(file: &File) -> bool {
    let path = &*file.path;
    let name = file.name();
    let kind = path.starts_with(".github/") && (path.ends_with(".yml") || path.ends_with(".yaml"))
        || [".sh", ".bash"].iter().any(|end| path.ends_with(end))
        || matches!(name, "Makefile" | "justfile" | "Justfile" | "action.yml");
    kind && (file.text.contains("claude") || file.text.contains("codex exec"))
}

/// Tells whether a line starts a session.
fn is_started(code: &str) -> bool {
    let mut words = code.split(|c: char| c.is_whitespace() || "\"'(;|&@".contains(c));
    words.any(|word| {
        matches!(word, "claude" | "codex" | "gemini")
            || word.starts_with("anthropic-ai/claude-code")
            || word.ends_with("/bin/claude")
    })
}

/// Finds the name behind `--agent`.
fn agent(line: &str) -> Option<(usize, &str)> {
    let flag = "--agent";
    let at = line.match_indices(flag).map(|(at, _)| at + flag.len());
    at.filter(|&at| line[at..].starts_with([' ', '='])).find_map(|at| {
        let rest = line[at + 1..].trim_start_matches(['"', '\'']);
        let len =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-_:".contains(c))).unwrap_or(rest.len());
        (len > 0 && !rest[len..].starts_with(['{', '$', '/', '.']))
            .then(|| (line.len() - rest.len(), &rest[..len]))
    })
}

/// Finds a command between quotes: `claude -p "/audit --all"`.
fn quoted(line: &str) -> Option<(usize, &str)> {
    let open = ["\"/", "'/"].iter().filter_map(|open| line.find(open)).min()?;
    let name = slash(&line[open + 1..])?;
    Some((line::offset(line, name), name))
}

/// Reads `/name`, if that is no path.
fn slash(text: &str) -> Option<&str> {
    let rest = text.strip_prefix('/')?;
    let len = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-_:".contains(c))).unwrap_or(rest.len());
    let ends = rest[len..].is_empty() || rest[len..].starts_with([' ', '"', '\'', '\n', '\r']);
    (len > 1 && ends && rest.starts_with(|c: char| c.is_ascii_lowercase())).then_some(&rest[..len])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_agents_and_commands_are_read_from_lines() {
        assert_eq!(agent("claude -p --agent notes-writer \"x\"").map(|(_, name)| name), Some("notes-writer"));
        assert_eq!(agent("claude --agent=a-b").map(|(_, name)| name), Some("a-b"));
        assert_eq!(agent("claude --agent $NAME --agents '{}'"), None);
        assert_eq!(quoted("claude -p \"/audit --all\" > out").map(|(_, name)| name), Some("audit"));
        assert_eq!(quoted("claude -p \"/tmp/x.md\""), None);
        assert!(
            is_started("npx -y @anthropic-ai/claude-code -p x") && !is_started("uses: anthropics/claude-x")
        );
    }
}
