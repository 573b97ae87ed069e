//! What kind of work a task is, by the words of its name and prompt: experience with one kind says little of another.

use serde::{Deserialize, Serialize};

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Something broken is to work.
    Fix,
    /// Tests are to be written.
    Test,
    /// Something is to be read and judged.
    Review,
    /// Something is to be explained.
    Docs,
    /// Something is to be put in another way.
    Refactor,
    /// Something is to be found out.
    Research,
    /// Something is to be thought out.
    Plan,
    /// Something new is to be there.
    Build,
    /// Something is to be given to others.
    Release,
    /// None of these.
    Other,
}

/// The first words of each kind, in the order in which kinds are looked for: who says `fix the tests` wants a fix.
///
/// Stems, for English puts endings to its verbs. The list is our own; it errs towards [`Kind::Other`].
const STEMS: &[(Kind, &[&str])] = &[
    (Kind::Fix, &["fix", "repair", "debug", "bug", "broken", "failing", "resolve", "correct", "patch"]),
    (
        Kind::Refactor,
        &["refactor", "rename", "restructur", "simplif", "clean", "migrat", "moderni", "upgrad"],
    ),
    (Kind::Review, &["review", "audit", "inspect", "judge", "critique", "assess", "security"]),
    (Kind::Docs, &["document", "docs", "readme", "changelog", "explain", "describ", "guide", "tutorial"]),
    (Kind::Test, &["test", "coverage", "spec", "fuzz", "benchmark"]),
    (
        Kind::Research,
        &["research", "investigat", "analys", "analyz", "explor", "find", "compar", "survey", "look"],
    ),
    (Kind::Plan, &["plan", "design", "architect", "outline", "decompos", "estimat"]),
    (Kind::Release, &["release", "publish", "deploy", "ship", "tag"]),
    (
        Kind::Build,
        &["build", "implement", "add", "creat", "writ", "make", "develop", "extend", "support", "introduc"],
    ),
];

/// How many words of a prompt are read: what a task is, it says at its beginning.
const WORDS_MAX: usize = 24;

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Fix,
        Self::Test,
        Self::Review,
        Self::Docs,
        Self::Refactor,
        Self::Research,
        Self::Plan,
        Self::Build,
        Self::Release,
        Self::Other,
    ];

    /// Returns its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fix => "fix",
            Self::Test => "test",
            Self::Review => "review",
            Self::Docs => "docs",
            Self::Refactor => "refactor",
            Self::Research => "research",
            Self::Plan => "plan",
            Self::Build => "build",
            Self::Release => "release",
            Self::Other => "other",
        }
    }

    /// Judges a task by its name, and if that says nothing by the beginning of its prompt.
    #[must_use]
    pub fn of(name: &str, prompt: &str) -> Self {
        in_words(name).or_else(|| in_words(prompt)).unwrap_or(Self::Other)
    }
}

fn in_words(text: &str) -> Option<Kind> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<String> = words.take(WORDS_MAX).map(str::to_lowercase).collect();
    let has = |stems: &[&str]| words.iter().any(|word| stems.iter().any(|stem| word.starts_with(stem)));
    STEMS.iter().find(|(_, stems)| has(stems)).map(|(kind, _)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_judged_by_their_words() {
        for (name, prompt, kind) in [
            ("parser", "Fix the tests in tests/parser.rs", Kind::Fix),
            ("fix-parser", "Write documentation", Kind::Fix),
            ("step-1", "Write tests for the parser", Kind::Test),
            ("security-review", "", Kind::Review),
            ("a", "Implement the endpoint", Kind::Build),
            ("a", "", Kind::Other),
            ("a", "Frobnicate", Kind::Other),
        ] {
            assert_eq!(Kind::of(name, prompt), kind, "{name}: {prompt}");
        }
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
    }
}
