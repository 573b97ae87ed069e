//! The comments at a place of a workflow, for rules that ask elsewhere than where they report, or decide more by it than whether
//! a finding is a note. All others leave that to the model of intent, `crate::intent`.

use kapell_spec::finding::Span;

use super::Flow;
use crate::intent::MARK;

/// Returns the comments at a place: the block right above its first line, those at the end of its lines up to
/// `lines` of them, and those on lines of their own among these.
#[must_use]
pub fn at(flow: &Flow, span: Span, lines: usize) -> String {
    let text = &*flow.text;
    let start = text[..(span.start as usize).min(text.len())].rfind('\n').map_or(0, |at| at + 1);
    let end = text[start..].match_indices('\n').nth(lines).map_or(text.len(), |(at, _)| start + at);
    let end =
        end.min((span.end as usize).max(start + text[start..].find('\n').unwrap_or(text.len() - start)));
    let mut found = String::new();
    let mut above: Vec<&str> = Vec::new();
    for line in text[..start].lines().rev() {
        let line = line.trim();
        if !line.starts_with('#') {
            break;
        }
        // What keeps a rule quiet explains nothing to another one.
        if !line.contains(MARK) {
            above.push(line.trim_start_matches('#').trim());
        }
    }
    for line in above.iter().rev() {
        found.push_str(line);
        found.push(' ');
    }
    let from = flow.model.comments.partition_point(|comment| (comment.start as usize) < start);
    for comment in flow.model.comments[from..].iter().take_while(|comment| (comment.start as usize) < end) {
        let comment = &text[comment.range()];
        if !comment.contains(MARK) {
            found.push_str(comment.trim_start_matches('#').trim());
            found.push(' ');
        }
    }
    found
}

/// Returns the comment at a place if it speaks of one of `words`.
#[must_use]
pub fn explains(flow: &Flow, span: Span, lines: usize, words: &[&str]) -> Option<String> {
    let comment = at(flow, span, lines);
    let lower = comment.to_ascii_lowercase();
    words.iter().any(|word| lower.contains(word)).then(|| comment.trim().to_owned())
}
