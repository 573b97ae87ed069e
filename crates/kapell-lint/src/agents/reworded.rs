//! Whether two texts say the same in other words: their descriptions word by word, their bodies line by line.

use super::Asset;
use crate::files::Files;

/// The share of words that two lines, or two descriptions, have in common if they are nearly the same.
pub const WORDS_SHARE: f64 = 0.55;

/// How much of the longer of two texts must be lines that both have.
const LINES_SHARE: f64 = 0.75;

/// Tells whether most lines of two texts, and at least so many, are nearly the same, in their order.
#[must_use]
pub fn in_other_words(files: &Files, (one, other): (&Asset, &Asset), least: usize) -> bool {
    let lines = |asset: &Asset| -> Vec<Vec<String>> {
        let text = asset.body(files[asset.file].lower());
        let words = |line: &str| {
            let mut words: Vec<String> = line
                .split(|c: char| !c.is_alphanumeric())
                .filter(|word| !word.is_empty())
                .map(|word| word.chars().take(4).collect())
                .collect();
            words.sort_unstable();
            words.dedup();
            words
        };
        text.lines().map(words).filter(|words| words.len() >= 3).collect()
    };
    let (own, others) = (lines(one), lines(other));
    let (mut both, mut next) = (0, 0);
    for line in &own {
        if let Some(at) = others[next..].iter().position(|known| share(line, known) >= WORDS_SHARE) {
            both += 1;
            next += at + 1;
        }
    }
    both >= least && both as f64 >= LINES_SHARE * own.len().max(others.len()) as f64
}

/// Returns the share of words that two rows in order have in common, from 0 to 1.
#[must_use]
pub fn share(one: &[String], other: &[String]) -> f64 {
    let both = one.iter().filter(|word| other.binary_search(word).is_ok()).count();
    both as f64 / (one.len() + other.len() - both).max(1) as f64
}

/// Words that tell nobody what somebody does.
const FILLERS: &[&str] = &[
    "a",
    "an",
    "the",
    "of",
    "and",
    "or",
    "as",
    "it",
    "its",
    "is",
    "are",
    "was",
    "were",
    "be",
    "been",
    "that",
    "this",
    "has",
    "have",
    "such",
    "use",
    "used",
    "proactively",
    "immediately",
    "right",
    "must",
    "should",
    "agent",
];

/// Words that mean the same of somebody's work, each row with the one that stands for it.
const ALIKE: &[(&[&str], &str)] = &[
    (
        &["fixes", "fixed", "fixing", "resolve", "resolves", "resolved", "repair", "repairs", "repaired"],
        "fix",
    ),
    (&["audit", "audits", "audited", "inspect", "inspects", "inspected", "reviews", "reviewed"], "review"),
    (&["issues", "problem", "problems"], "issue"),
];

/// Returns the beginnings of the words of a description, in order: `writing`, `written` and `writes` are one, and so are words
/// that mean the same. A description that leads from one thing to another has none, for there the order tells.
#[must_use]
pub(super) fn own_words(asset: &Asset) -> Vec<String> {
    let text = asset.definition.text("description").map_or("", |description| &*description.text);
    let lower = text.to_lowercase();
    let words = || lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    if words().any(|word| matches!(word, "from" | "into" | "than")) {
        return Vec::new();
    }
    let start = |word: &str| {
        let same = ALIKE.iter().find(|(words, _)| words.contains(&word)).map_or(word, |(_, same)| *same);
        same.chars().take(4).collect::<String>()
    };
    let mut own: Vec<String> = words().filter(|word| !FILLERS.contains(word)).map(start).collect();
    // What comes before what is said by the word that follows.
    let next = words().zip(words().skip(1)).filter(|(word, _)| *word == "before");
    own.extend(next.map(|(_, next)| format!("before {}", start(next))));
    own.sort_unstable();
    own.dedup();
    own
}
