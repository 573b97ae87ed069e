//! What people say about a place: the comments that explain a finding.
//!
//! One model for every rule and every kind of file; [`crate::rule::Report`] asks it once for each finding. A comment is heard
//! where [`near::comments`] looks for it, and it explains where [`matters::explains`] takes it for a reason. What is explained is
//! lowered to a note with the comment beside it, never left out.
//!
//! **Invariant:** a pure function of the file, the lines and the rule.

mod beside; // words that are a reason right beside a finding
mod matters; // what each rule is about, in the words of people
mod near; // where a comment is heard

use crate::files::File;

/// What begins a comment that keeps a rule quiet.
pub(crate) const MARK: &str = "kapell: ignore[";

/// Returns the nearest comment that explains a finding of a rule on some lines, from 1.
pub(crate) fn reason(file: &File, (line, end): (u32, u32), rule: &str) -> Option<String> {
    near::comments(file, (line, end))
        .into_iter()
        .find(|said| matters::explains(rule, said))
        .map(|said| said.text)
}

/// Words before others in their clause that turn them round: `must not fail open`, `nothing in parallel`.
const DENIED: &[&str] = &[
    "not ",
    "never ",
    "n't ",
    "no ",
    "nothing ",
    "cannot ",
    "avoid ",
    "instead of ",
    "rather than ",
    "without ",
];

/// Tells whether a text says one of some words, and nothing before them in their clause that turns them round. Both are in
/// lower case; a word starts where one of the text does.
pub(crate) fn says(lower: &str, words: &[&str]) -> bool {
    words.iter().any(|word| {
        starts(lower, word)
            .any(|at| !is_denied(lower[..at].rsplit(['.', ';', ':', ',', '(']).next().unwrap_or_default()))
    })
}

/// Tells whether what stands before something in its clause, in lower case, turns it round.
pub(crate) fn is_denied(before: &str) -> bool {
    DENIED.iter().any(|denied| before.contains(denied))
}

/// Returns where a word stands at the start of one.
fn starts<'a>(lower: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let places = lower.match_indices(word).map(|(at, _)| at);
    places.filter(|&at| !lower[..at].ends_with(|before: char| before.is_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_denied_is_not_said() {
        assert!(says("fail open: the shop goes on", &["fail open"]));
        assert!(says("not checked: fail open", &["fail open"]));
        assert!(
            !says("this must not fail open", &["fail open"])
                && !says("nothing in parallel", &["in parallel"])
        );
        assert!(!says("the latest one", &["test"]) && says("a test", &["test"]));
    }
}
