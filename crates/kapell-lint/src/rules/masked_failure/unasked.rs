//! Scripts of Python that start checks, and ask none of them what it came to.

use std::cell::LazyCell;

use kapell_view::audit::Severity;

use super::{Lost, is_check, short};
use crate::github::{facts, script, tools::Kind};

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
    let named = LazyCell::new(|| named(&lists));
    let mut at = 0;
    text.split_inclusive('\n').find_map(|line| {
        let start = at + (line.len() - line.trim_start().len());
        at += line.len();
        let call = CALLS.iter().find(|call| text[start..at].starts_with(**call))?;
        let check = match given(text, start + call.len())? {
            Given::Words(from) => check_in(lists.get(lists.partition_point(|list| list.start < from))?)?.1,
            Given::Name => named.clone()?,
        };
        let message = format!(
            "`{check}` can fail and the script ends well: `{}` asks for no status",
            call.trim_end_matches('(')
        );
        let hint = match *call {
            "subprocess.run(" => "write `check=True`, or end with the worst `returncode`",
            _ => "end with the worst status that is returned",
        };
        Some((start, Lost::new(Severity::High, message, hint)))
    })
}

/// What a call is given first.
enum Given {
    /// Words or a text, from a place on.
    Words(usize),
    /// A name.
    Name,
}

fn given(text: &str, open: usize) -> Option<Given> {
    let given = text[open..].trim_start();
    if given.starts_with(['[', '"', '\'']) {
        return Some(Given::Words(text.len() - given.len()));
    }
    let name = given.split([',', ')', '.', '\n']).next()?.trim();
    // Python's names are made like those of a shell.
    script::is_variable(name).then_some(Given::Name)
}

/// Returns a check that one of the lists of a script is: of several the tests, which are missed most.
fn named(lists: &[List<'_>]) -> Option<String> {
    let mut checks = lists.iter().filter(|list| list.bracketed).filter_map(check_in).peekable();
    let first = checks.peek().map(|(_, check)| check.clone());
    checks.find(|(kind, _)| *kind == Kind::Test).map(|(_, check)| check).or(first)
}

/// Returns the check that the words of a list are, for people.
fn check_in(list: &List<'_>) -> Option<(Kind, String)> {
    // `[sys.executable, "-m", "pytest"]`
    let own = list.words.strip_prefix(&["-m"]).unwrap_or(&list.words);
    let words: Vec<String> = match own[..] {
        [whole] => vec![whole.to_owned()],
        _ => own.iter().map(|word| quoted(word)).collect(),
    };
    let facts = facts::of_text(&words.join(" "));
    facts.works.iter().find_map(|done| {
        let (at, kind) = (done.command?, done.work.kind);
        let looks = kind == Kind::Lint && !formats(&list.words);
        let checks = (kind == Kind::Test || looks) && is_check(&facts, at);
        checks.then(|| (kind, short(&facts.commands[at])))
    })
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
