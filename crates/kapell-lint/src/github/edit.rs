//! Edits by ranges of bytes that keep comments and style.

use kapell_spec::{
    finding::Span,
    github::{Key, Keys},
};

/// An edit of the text of a workflow.
pub type Edit = (Span, String);

/// Returns where the line of a byte starts.
fn line_start(text: &str, at: u32) -> usize {
    text[..(at as usize).min(text.len())].rfind('\n').map_or(0, |newline| newline + 1)
}

/// Returns where the line of a byte ends, before its line break.
fn line_end(text: &str, at: u32) -> usize {
    let at = (at as usize).min(text.len());
    text[at..].find('\n').map_or(text.len(), |len| at + len)
}

/// Returns the line break that a text uses.
fn line_break(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

/// Returns the column of a key if nothing but blanks stands before it on its line, or the dash of a list.
fn indent(text: &str, key: &Key) -> Option<String> {
    let start = line_start(text, key.span.start);
    let before = &text[start..key.span.start as usize];
    before.chars().all(|c| c == ' ' || c == '-').then(|| " ".repeat(before.len()))
}

/// Adds lines behind an entry of a mapping, indented like it.
///
/// `None` if the mapping is not written as a block, or the entry does not end its line.
#[must_use]
pub fn add_after(text: &str, keys: &Keys, after: &str, lines: &[String]) -> Option<Edit> {
    if !keys.open {
        return None;
    }
    let key = keys.get(after)?;
    let indent = indent(text, key)?;
    let end = line_end(text, key.value.end.max(key.span.end));
    let rest = text[key.value.end.max(key.span.end) as usize..end].trim();
    if !(rest.is_empty() || rest.starts_with('#') || rest == ":") {
        return None;
    }
    let end = end - usize::from(text[..end].ends_with('\r'));
    let line_break = line_break(text);
    let added: String = lines.iter().map(|line| format!("{line_break}{indent}{line}")).collect();
    Some((Span::new(end, end), added))
}

/// Adds lines in front of an entry of a mapping, indented like it, and a blank line behind them if `apart`.
#[must_use]
pub fn add_before(text: &str, keys: &Keys, before: &str, lines: &[String], apart: bool) -> Option<Edit> {
    if !keys.open {
        return None;
    }
    let key = keys.get(before)?;
    let indent = indent(text, key)?;
    let mut start = line_start(text, key.span.start);
    // Comments right above belong to the entry.
    while start > 0 {
        let above = line_start(text, (start - 1) as u32);
        if !text[above..start].trim_start().starts_with('#') {
            break;
        }
        start = above;
    }
    let line_break = line_break(text);
    let mut added: String = lines.iter().map(|line| format!("{indent}{line}{line_break}")).collect();
    if apart {
        added.push_str(line_break);
    }
    Some((Span::new(start, start), added))
}

/// Replaces a range.
#[must_use]
pub fn replace(span: Span, text: impl Into<String>) -> Edit {
    (span, text.into())
}

/// Removes the lines of an entry of a mapping, if it is not the only one.
#[must_use]
pub fn remove(text: &str, keys: &Keys, name: &str) -> Option<Edit> {
    if !keys.open || keys.entries.len() < 2 {
        return None;
    }
    let key = keys.get(name)?;
    let start = line_start(text, key.span.start);
    if !text[start..key.span.start as usize].trim().is_empty() {
        return None;
    }
    let end = line_end(text, key.value.end.max(key.span.end));
    Some((Span::new(start, (end + 1).min(text.len())), String::new()))
}

/// Returns the names of `needs` without some, as it was written: `[a, b]`, a list of lines, or one name.
#[must_use]
pub fn without_need(
    text: &str,
    keys: &Keys,
    needs: &[kapell_spec::github::Name],
    gone: &[&str],
) -> Option<Edit> {
    let key = keys.get("needs")?;
    let raw = text.get(key.value.range())?;
    let goes = |need: &str| gone.iter().any(|gone| need.eq_ignore_ascii_case(gone));
    let kept: Vec<&str> = needs.iter().map(|need| &*need.text).filter(|need| !goes(need)).collect();
    if kept.len() == needs.len() || raw.contains('#') || raw.contains('&') || raw.contains('*') {
        return None;
    }
    match kept[..] {
        [] => remove(text, keys, "needs"),
        _ if raw.starts_with('[') => Some((key.value, format!("[{}]", kept.join(", ")))),
        _ => {
            // A list of lines: the line of the one that goes. Several are left to a person.
            let [_] = gone else { return None };
            let need = needs.iter().find(|need| goes(&need.text))?;
            let start = line_start(text, need.span.start);
            let first = raw.trim_start().starts_with('-') && start <= key.value.start as usize;
            let end = (line_end(text, need.span.end) + 1).min(text.len());
            (!first || text[start..].trim_start().starts_with('-'))
                .then(|| (Span::new(start, end), String::new()))
        }
    }
}
