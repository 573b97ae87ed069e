//! Looking for many words at once, in one pass and without regard to the case of ASCII letters.

use std::sync::{
    OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use aho_corasick::{AhoCorasick, MatchKind};

/// How many bytes are looked through before the words are made ready to be found in one pass: for less text that takes
/// longer than looking for each of them.
const WORTH_IT: usize = 4096;

/// Words that are looked for.
#[derive(Debug)]
pub struct Words {
    words: Box<[Box<str>]>,
    any_case: bool,
    /// How many bytes were looked through without the automaton.
    read: AtomicUsize,
    automaton: OnceLock<Option<AhoCorasick>>,
}

impl Words {
    /// Takes words; each text is then read once for all of them.
    #[must_use]
    pub fn new(words: &[&str]) -> Self {
        Self::build(words, true)
    }

    /// Takes words whose case counts.
    #[must_use]
    pub fn exact(words: &[&str]) -> Self {
        Self::build(words, false)
    }

    fn build(words: &[&str], any_case: bool) -> Self {
        let words = words.iter().map(|&word| word.into()).collect();
        Self { words, any_case, read: AtomicUsize::new(0), automaton: OnceLock::new() }
    }

    fn automaton(&self) -> Option<&AhoCorasick> {
        let build = || {
            // It only fails for words longer than memory; then nothing is ever found.
            let mut builder = AhoCorasick::builder();
            builder.ascii_case_insensitive(self.any_case).match_kind(MatchKind::Standard);
            builder.build(self.words.iter().map(|word| word.as_bytes())).ok()
        };
        self.automaton.get_or_init(build).as_ref()
    }

    /// Tells whether any of the words is in the text.
    #[must_use]
    pub fn is_in(&self, text: &str) -> bool {
        if self.read.fetch_add(text.len(), Ordering::Relaxed) < WORTH_IT && text.len() < WORTH_IT {
            return self.words.iter().any(|word| self.stands_in(word, text));
        }
        self.automaton().is_some_and(|words| words.is_match(text))
    }

    fn stands_in(&self, word: &str, text: &str) -> bool {
        let word = word.as_bytes();
        let same = |part: &[u8]| if self.any_case { part.eq_ignore_ascii_case(word) } else { part == word };
        word.is_empty() || text.as_bytes().windows(word.len()).any(same)
    }

    /// Returns all places of the words, those within others too: the word by its number, and where it starts.
    pub fn places<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (usize, usize)> + 'a {
        let found = self.automaton().into_iter().flat_map(move |words| words.find_overlapping_iter(text));
        found.map(|found| (found.pattern().as_usize(), found.start()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_any_case_and_within_each_other() {
        const WORDS: &[&str] = &["in parallel", "parallel", "side by side"];
        let words = Words::new(WORDS);
        assert!(words.is_in("Run them IN PARALLEL.") && !words.is_in("one after the other"));
        // What is read later is found in the same way.
        let cases = [
            ("run IN Parallel", true),
            ("SIDE by side", true),
            ("one after", false),
            ("", false),
            ("paralle", false),
        ];
        for (text, is_there) in cases {
            let words = Words::new(WORDS);
            let long = format!("{} {text}", "x".repeat(WORTH_IT));
            assert_eq!([words.is_in(text), words.is_in(&long), words.is_in(text)], [is_there; 3], "{text}");
        }
        let mut places: Vec<_> = words.places("Run In Parallel").collect();
        places.sort_unstable();
        assert_eq!(places, [(0, 4), (1, 7)]);
        assert!(!Words::exact(&["$ARGS"]).is_in("$args") && Words::exact(&["$ARGS"]).is_in("x $ARGS"));
    }
}
