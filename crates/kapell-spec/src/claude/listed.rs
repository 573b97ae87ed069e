//! Slash commands that a text shows in a row: a list of next steps, a table of what there is.
//!
//! A name with a slash alone may be a path or the address of a page. Where a list shows several and others of them are
//! commands, it is meant as a command too.

use super::{
    definition::Definition,
    reference::{Names, Reference, Strength, is_placeholder},
};
use crate::finding::Span;

/// The commands of one section, each the first of its line.
pub type Row = Vec<Reference>;

/// Words of lines that show addresses rather than commands.
const ADDRESSES: &[&str] =
    &["endpoint", "route", " url", "http", "get `", "post `", "put `", "patch `", "delete `", "path"];

/// Finds the rows of a text, section by section. The names are without their slashes.
#[must_use]
pub fn rows(text: &str, definition: &Definition) -> Vec<Row> {
    let document = &definition.document;
    let mut rows: Vec<Row> = Vec::new();
    let (mut section, mut line_end) = (u32::MAX, 0);
    for mark in document.marks.iter().filter(|mark| mark.code && mark.text.starts_with('/')) {
        let start = mark.span.start as usize;
        let line = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let own = document.heading_at(mark.span.start).map_or(0, |heading| heading.span.start);
        // Only the first of a line is what the line is about.
        if own == section && start < line_end {
            continue;
        }
        let end = text[start..].find('\n').map_or(text.len(), |len| start + len);
        let Some(reference) = command(text, mark.span) else { continue };
        if !opens_row(&text[line..end]) {
            continue;
        }
        if own != section || rows.is_empty() {
            rows.push(Row::new());
        }
        (section, line_end) = (own, end);
        if let Some(row) = rows.last_mut() {
            row.push(reference);
        }
    }
    rows.retain(|row| row.len() > 1);
    rows
}

/// Tells whether a line is an item of a list, or a row of a table, that does not speak of addresses.
fn opens_row(line: &str) -> bool {
    let lower = line.trim_start().to_ascii_lowercase();
    let digits = lower.trim_start_matches(|c: char| c.is_ascii_digit());
    let item =
        lower.starts_with(['-', '*', '+', '|']) || digits.len() < lower.len() && digits.starts_with('.');
    item && !ADDRESSES.iter().any(|word| lower.contains(word))
}

/// Reads `/name`, alone or with what it is given, from a span of code.
fn command(text: &str, mark: Span) -> Option<Reference> {
    let code = text.get(mark.range())?;
    let at = code.find('/')? + 1;
    let rest = &code[at..];
    let len = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-_:".contains(c)))?;
    let name = &rest[..len];
    let alone = rest[len..].starts_with(['`', ' ']);
    let named = name.len() > 1 && name.starts_with(|c: char| c.is_ascii_lowercase()) && !is_placeholder(name);
    let start = mark.start as usize + at;
    (alone && named && !name.ends_with(['-', ':', '_'])).then(|| Reference {
        names: Names::Command,
        name: name.to_owned(),
        span: Span::new(start, start + len),
        strength: Strength::Strong,
        fenced: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<Vec<String>> {
        let rows = rows(text, &Definition::read(text));
        rows.into_iter().map(|row| row.into_iter().map(|command| command.name).collect()).collect()
    }

    #[test]
    fn a_list_or_a_table_of_commands_is_a_row() {
        let text = "# Next\n- Write it: `/draft-post <topic>`\n- `/ship-post`, or `/drop-post`\n\n## All\n\
            | command | does |\n|---|---|\n| `/ship-post` | ships |\n| `/list-posts` | lists |\n";
        assert_eq!(names(text), [["draft-post", "ship-post"], ["ship-post", "list-posts"]]);
    }

    #[test]
    fn addresses_prose_and_single_names_are_none() {
        assert_eq!(names("- GET `/users`\n- POST `/orders`\n").len(), 0);
        assert_eq!(names("Then `/a-b` and\nthen `/c-d`.\n").len(), 0);
        assert_eq!(names("- `/only-one`\n- `/tmp/x` and `/<name>`\n").len(), 0);
    }
}
