//! From a place in a scalar's text back to the place in the file.

use super::scalar::{Scalar, Style};
use crate::finding::Span;

impl Scalar {
    /// Finds where bytes `range` of the text stand in `source`, where the scalar stands at `span`.
    pub(super) fn locate(&self, source: &str, span: Span, range: std::ops::Range<usize>) -> Span {
        let Some(raw) = source.get(span.range()) else { return span };
        let start = self.raw_offset(raw, range.start);
        let last = range.end.saturating_sub(1).max(range.start);
        // The end is found by its last character, since what follows it may be far away.
        let last_char =
            (0..=last.min(self.text.len())).rev().find(|&at| self.text.is_char_boundary(at)).unwrap_or(0);
        let last_at = self.raw_offset(raw, last_char);
        let width = raw.get(last_at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
        let end = if range.is_empty() { start } else { (last_at + width).max(start) };
        Span::new(span.start as usize + start, span.start as usize + end.min(raw.len()))
    }

    /// Walks text and file side by side up to `offset` of the text. Where they differ, that is indentation, a fold or
    /// an escape; after each they meet again at the next character that is no blank.
    fn raw_offset(&self, raw: &str, offset: usize) -> usize {
        let mut at = match self.style {
            Style::Plain => 0,
            Style::SingleQuoted | Style::DoubleQuoted => 1,
            // After the header line.
            Style::Literal | Style::Folded => raw.find('\n').map_or(raw.len(), |newline| newline + 1),
        };
        let mut text = self.text.char_indices().peekable();
        while let Some(&(index, character)) = text.peek() {
            let Some(found) = raw.get(at..).and_then(|rest| rest.chars().next()) else { return raw.len() };
            let blank = found.is_ascii_whitespace();
            if self.style == Style::DoubleQuoted && found == '\\' {
                let (len, folds) = escape_len(&raw[at..]);
                if index >= offset && !folds {
                    return at;
                }
                at += len;
                if !folds {
                    text.next();
                }
                continue;
            }
            if index >= offset && (found == character || !blank) {
                return at;
            }
            if found == character {
                at += found.len_utf8();
                text.next();
                if self.style == Style::SingleQuoted && found == '\'' {
                    at += 1;
                }
            } else if blank {
                at += found.len_utf8();
                // A fold: any run of blanks in the file stands for this one.
                if character.is_ascii_whitespace()
                    && !raw[at..].starts_with(|c: char| c.is_ascii_whitespace())
                {
                    while text.next_if(|(_, c)| c.is_ascii_whitespace()).is_some() {}
                }
            } else {
                text.next();
            }
        }
        at.min(raw.len())
    }
}

/// Returns how long an escape is, and whether it stands for nothing (an escaped line break).
fn escape_len(raw: &str) -> (usize, bool) {
    match raw.as_bytes().get(1) {
        Some(b'x') => (4, false),
        Some(b'u') => (6, false),
        Some(b'U') => (10, false),
        Some(b'\n') => (2, true),
        Some(b'\r') => (3, true),
        Some(_) => (1 + raw[1..].chars().next().map_or(1, char::len_utf8), false),
        None => (1, false),
    }
}
