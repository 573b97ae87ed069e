//! The line around a place.
//!
//! A line may be a whole file, and each word of it a place: what asks for the line at every one of them must not read all of
//! it each time.

/// How far a line is followed from a place, in bytes. Sentences that say something of a word stand nearer.
pub const REACH: usize = 1_000;

/// Returns where a part of a text begins in it, in bytes: the two are one piece of memory.
#[must_use]
pub fn offset(text: &str, part: &str) -> usize {
    part.as_ptr() as usize - text.as_ptr() as usize
}

/// Returns where the line of a place starts, or where it is no longer followed.
#[must_use]
pub fn start(text: &str, at: usize) -> usize {
    let far = back(text, at, REACH);
    text[far..at].rfind('\n').map_or(far, |newline| far + newline + 1)
}

/// Returns where the line of a place ends, without its break, or where it is no longer followed.
#[must_use]
pub fn end(text: &str, at: usize) -> usize {
    let far = forth(text, at, REACH);
    text[at..far].find('\n').map_or(far, |newline| at + newline)
}

/// Returns the line around a place, as far as it is followed.
#[must_use]
pub fn around(text: &str, at: usize) -> &str {
    &text[start(text, at)..end(text, at)]
}

/// Returns what stands before a place in its line. Where that is nothing but blanks and marks, as in wrapped prose, it begins in
/// the line before, unless that is a heading or nothing.
#[must_use]
pub fn lead(text: &str, at: usize) -> &str {
    let from = start(text, at);
    let marks = |c: char| c.is_whitespace() || "`*_".contains(c);
    if from == 0 || !text[from..at].chars().all(marks) || !text[..from].ends_with('\n') {
        return &text[from..at];
    }
    let above = start(text, from - 1);
    let line = text[above..from].trim();
    if line.is_empty() || line.starts_with(['#', '|']) { &text[from..at] } else { &text[above..at] }
}

/// Returns as many lines before a place and behind it, with its own, as far as so many lines are followed.
#[must_use]
pub fn block(text: &str, at: usize, before: usize, behind: usize) -> &str {
    let far = back(text, at, (before + 1) * REACH);
    let near = forth(text, at, (behind + 1) * REACH);
    let from = text[far..at].rmatch_indices('\n').nth(before).map_or(far, |(newline, _)| far + newline);
    let to = text[at..near].match_indices('\n').nth(behind).map_or(near, |(newline, _)| at + newline);
    &text[from..to]
}

fn back(text: &str, at: usize, len: usize) -> usize {
    (at.saturating_sub(len)..at).find(|&at| text.is_char_boundary(at)).unwrap_or(at)
}

fn forth(text: &str, at: usize, len: usize) -> usize {
    let far = at.saturating_add(len).min(text.len());
    (at..=far).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_followed_to_its_ends_or_as_far_as_it_is_near() {
        let text = "a\nbc d\ne";
        assert_eq!((around(text, 4), around(text, 0), around(text, text.len())), ("bc d", "a", "e"));
        let long = "\u{e4}".repeat(5_000);
        let line = around(&long, 5_000);
        assert!((REACH * 2 - 3..=REACH * 2).contains(&line.len()), "{}", line.len());
        assert_eq!(around(&long, 0).len(), REACH);
    }

    #[test]
    fn what_leads_to_a_place_may_begin_in_the_line_before() {
        assert_eq!(lead("Have the\n`x` agent", 10), "Have the\n`");
        assert_eq!((lead("# Have\n`x`", 8), lead("a\n\n`x`", 4), lead("a\nb `x`", 5)), ("`", "`", "b `"));
    }

    #[test]
    fn a_block_has_as_many_lines_as_it_is_asked_for() {
        let text = "1\n2\n3\n4\n5\n6";
        assert_eq!(block(text, 6, 1, 1), "\n3\n4\n5");
        assert_eq!(block(text, 6, 9, 9), text);
        let long = "x".repeat(100_000);
        assert!(block(&long, 50_000, 1, 1).len() < 20_000);
    }
}
