//! What a request leaves in a module for functions of another file, which read it after the request has waited.

use super::{
    Set,
    at_once::{ASKED, AtOnce},
    has_lock, service,
};
use crate::{
    code::{Unit, imports::Part},
    files::FileId,
    repository::Repository,
    rule::Report,
};

/// Words of what is kept for people to look at, where the last one to write may win.
const SHOWN: &[&str] =
    &["last", "latest", "recent", "seen", "status", "stat", "count", "time", "started", "health"];

/// Tells of what a request sets, and a function of the file that keeps it reads.
pub(super) fn tell(repository: &Repository, unit: &Unit, at: AtOnce, sets: &[Set], report: &mut Report<'_>) {
    for Set { write, left, .. } in sets.iter().filter(|_| at.how == ASKED) {
        let text = unit.text(*left);
        let Some((root, _)) = text.split_once(['.', '[']).filter(|(root, _)| unit.imported(root)) else {
            continue;
        };
        if is_shown(text) {
            continue;
        }
        let Some((file, line)) = read_in(repository, unit, root, text) else { continue };
        let message = format!(
            "`{text}`{} is set to what one request brings, and `{}` reads it while the request waits: another one has set it by then",
            service::place_name(unit, *write),
            repository.files[file].path,
        );
        report
            .add(unit.file, unit.span(*write), message)
            .hint("hand it on as an argument, or keep it in a context variable")
            .also(file, line, "read here")
            .also(at.started.0, at.started.1, at.how)
            .done();
    }
}

/// Tells whether something is kept for people to look at.
pub(super) fn is_shown(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    SHOWN.iter().any(|word| lower.contains(word))
}

/// Finds a line of the imported file that reads it, within a function.
fn read_in(
    repository: &Repository,
    unit: &Unit,
    root: &str,
    text: &str,
) -> Option<(FileId, kapell_spec::finding::Span)> {
    let (id, part) = unit.origin(root)?.target.as_ref()?;
    let file = &repository.files[*id];
    if locked(&file.text) {
        return None;
    }
    // In its own file it goes by its own name.
    let name = match part {
        Part::Whole => text.split_once('.').map_or(text, |(_, rest)| rest),
        Part::Named(_) => text,
    };
    let mut at = 0;
    for line in file.text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let inside = line.starts_with([' ', '\t']);
        if let Some(found) = line.find(name).filter(|_| inside && reads(line, name)) {
            return Some((*id, kapell_spec::finding::Span::new(start + found, start + found + name.len())));
        }
    }
    None
}

/// Tells whether a line has a name as a whole word and does not set it.
fn reads(line: &str, name: &str) -> bool {
    let Some(at) = line.find(name) else { return false };
    let (before, after) = (&line[..at], line[at + name.len()..].trim_start());
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let sets = after.starts_with('=') && !after.starts_with("==") || after.starts_with(':');
    let declares = before.trim_start().starts_with(['#', '/', '*']) || before.contains("global ");
    !before.ends_with(word)
        && !line[at + name.len()..].starts_with(|c: char| word(c) && c != '.')
        && !sets
        && !declares
}

pub(super) fn locked(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("contextvar") || text.contains("asynclocalstorage") || has_lock(&text)
}
