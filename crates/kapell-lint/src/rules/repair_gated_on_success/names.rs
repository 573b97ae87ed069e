//! Names that say that something is for a failure.

use std::sync::LazyLock;

use kapell_spec::words::Words;

/// Words that say that a failure is told of, or that what it left behind is kept.
const ANNOUNCES: &[&str] = &[
    "notify", "alert", "page", "post", "send", "tell", "open", "file", "upload", "collect", "archive",
    "capture", "dump",
];

/// Words that say when it happens.
const AFTER_FAILURE: &[&str] = &[
    "on failure",
    "if failed",
    "on error",
    "when failed",
    "upon failure",
    "for debugging failed",
    "of failed tests",
    "of the failed tests",
    "for failed tests",
    "if failure",
    "on fail",
    "in case of failure",
    "in case of error",
    "in case of an error",
    "in case of a failure",
    "in case of failures",
    "in case of errors",
    "something went wrong",
    "something goes wrong",
    "if it fails",
    "if it failed",
    "if tests fail",
    "if tests failed",
    "if the tests fail",
    "if the build fails",
    "when it fails",
    "when tests fail",
    "after a failure",
    "after failure",
];

/// Tells whether a name says that what bears it is for a failure: `page-on-failure`, `Post failure to Slack`.
pub(super) fn is_for_failure(name: &str) -> bool {
    // Whatever says so has one of these in it, and most names have none.
    static NEEDED: LazyLock<Words> = LazyLock::new(|| Words::new(&["fail", "error", "wrong"]));
    if !NEEDED.is_in(name) {
        return false;
    }
    let lower = name.to_ascii_lowercase().replace(['-', '_'], " ");
    let says =
        AFTER_FAILURE.iter().any(|word| lower.match_indices(word).any(|(at, _)| is_apart(&lower, at, word)));
    let mut words = lower.split(|c: char| !c.is_ascii_alphanumeric());
    let announces = words.any(|word| ANNOUNCES.contains(&word))
        && words.any(|word| ["failure", "failures", "failed"].contains(&word));
    let tells = ["continue", "fail on", "exit on", "don't", "do not", "no fail", "retry", " or ", "success"]
        .iter()
        .any(|word| lower.contains(word));
    let back = ["roll back", "rollback", "revert", "undo"].iter().any(|word| lower.starts_with(word))
        && (lower.contains(" if ") || lower.contains(" when "))
        && lower.contains(" fail");
    (says || announces || back) && !tells
}

/// Tells whether words that start at a byte end the text, or are followed by a blank, or stand in parentheses.
fn is_apart(text: &str, at: usize, words: &str) -> bool {
    let after = &text[at + words.len()..];
    after.is_empty() || after.starts_with(' ') || after.starts_with(')') && text[..at].ends_with('(')
}
