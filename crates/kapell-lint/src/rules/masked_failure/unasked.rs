//! Scripts of Python that start checks, and ask none of them what it came to.

use kapell_view::audit::Severity;

use super::{Lost, is_check, short};
use crate::github::{StepFacts, facts, tools::Kind};

/// What asks for a status, ends with one, or hands on what a later step may ask for.
const ASKS: &[&str] = &[
    "check=",
    "check =",
    "check_",
    "returncode",
    "exit",
    "raise",
    "assert ",
    "Popen",
    "wait",
    "pytest.main",
    "GITHUB_",
];

/// Calls that start a program and go on whatever it comes to.
///
/// Sources: Python, `subprocess.run`: it raises for a status other than 0 "if *check* is true"; `subprocess.call` and
/// `os.system` return the status.
const CALLS: &[&str] = &["subprocess.run(", "subprocess.call(", "os.system("];

/// Finds a check that such a call starts as a statement of its own, so that nobody has its status: where the call stands.
pub(super) fn lost(text: &str) -> Option<(usize, Lost)> {
    let starts = CALLS.iter().any(|call| text.contains(call));
    if !starts || ASKS.iter().any(|word| text.contains(word)) {
        return None;
    }
    let lists = strings(text);
    let mut at = 0;
    text.split_inclusive('\n').find_map(|line| {
        let start = at + (line.len() - line.trim_start().len());
        at += line.len();
        let call = CALLS.iter().find(|call| text[start..at].starts_with(**call))?;
        let open = start + call.len();
        let (check, facts) = started(text, open, &lists)?;
        let message = format!(
            "`{}` can fail and the script ends well: `{}` asks for no status",
            short(&facts.commands[check]),
            call.trim_end_matches('(')
        );
        let hint = match *call {
            "subprocess.run(" => "write `check=True`, or end with the worst `returncode`",
            _ => "end with the worst status that is returned",
        };
        Some((start, Lost::new(Severity::High, message, hint)))
    })
}

/// Returns a check that a call starts: what stands in it, or any list of words of the script where it is given a name.
fn started(text: &str, open: usize, lists: &[List<'_>]) -> Option<(usize, StepFacts)> {
    let given = text[open..].trim_start();
    let from = text.len() - given.len();
    if given.starts_with(['[', '"', '\'']) {
        let own = lists.iter().find(|list| list.start >= from)?;
        return check_in(own);
    }
    let name = given.split([',', ')', '.']).next()?.trim();
    let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    lists.iter().filter(|list| plain && list.bracketed).find_map(check_in)
}

/// Returns the check that the words of a list are.
fn check_in(list: &List<'_>) -> Option<(usize, StepFacts)> {
    // `[sys.executable, "-m", "pytest"]`
    let own = list.words.strip_prefix(&["-m"]).unwrap_or(&list.words);
    let words: Vec<String> = match own[..] {
        [whole] => vec![whole.to_owned()],
        _ => own.iter().map(|word| quoted(word)).collect(),
    };
    let facts = facts::of_text(&words.join(" "));
    let at = facts.works.iter().find_map(|done| {
        let at = done.command?;
        let tests = done.work.kind == Kind::Test;
        let looks = done.work.kind == Kind::Lint && !formats(&list.words);
        ((tests || looks) && is_check(&facts, at)).then_some(at)
    })?;
    Some((at, facts))
}

/// Writes a word as a shell reads it.
fn quoted(word: &str) -> String {
    if word.contains(' ') { format!("'{word}'") } else { word.to_owned() }
}

/// Tells whether words are those of a program that writes files anew, and is not told only to look.
fn formats(words: &[&str]) -> bool {
    const FORMATS: &[&str] = &["format", "fmt", "black", "isort", "yapf", "prettier", "gofmt", "rustfmt"];
    let only_looks = |word: &&str| word.starts_with("--check") || word.starts_with("--diff");
    words.iter().any(|word| FORMATS.contains(word)) && !words.iter().any(only_looks)
}

/// Texts that stand in one list, or one that stands in none.
struct List<'a> {
    /// Where it begins.
    start: usize,
    words: Vec<&'a str>,
    bracketed: bool,
}

/// Returns the texts of a script of Python, those of one list together, in the order of their beginnings.
fn strings(text: &str) -> Vec<List<'_>> {
    let bytes = text.as_bytes();
    let (mut found, mut open): (Vec<List<'_>>, Vec<usize>) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'#' => at += text[at..].find('\n').unwrap_or(text.len() - at),
            b'[' => {
                open.push(found.len());
                found.push(List { start: at, words: Vec::new(), bracketed: true });
                at += 1;
            }
            b']' => {
                open.pop();
                at += 1;
            }
            quote @ (b'"' | b'\'') => {
                let (inner, end) = string(text, at, quote);
                match open.last() {
                    Some(&list) => found[list].words.push(inner),
                    None => found.push(List { start: at, words: vec![inner], bracketed: false }),
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    found
}

/// Returns what stands between the quotes of a text that begins at a place, and where it ends.
fn string(text: &str, at: usize, quote: u8) -> (&str, usize) {
    let bytes = text.as_bytes();
    let three = [quote; 3];
    let width = if bytes[at..].starts_with(&three) { 3 } else { 1 };
    let start = at + width;
    let mut end = start;
    while end < bytes.len() {
        let closes = if width == 3 { bytes[end..].starts_with(&three) } else { bytes[end] == quote };
        if closes {
            return (&text[start..end], end + width);
        }
        end += if bytes[end] == b'\\' { 2 } else { 1 };
    }
    ("", bytes.len())
}
