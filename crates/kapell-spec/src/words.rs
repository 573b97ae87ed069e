//! Looking for many words at once, in one pass and without regard to the case of ASCII letters.

use std::{
    borrow::Cow,
    iter,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use aho_corasick::{AhoCorasick, MatchKind, packed};

/// How many bytes are looked through before the words are made ready to be found in one pass: for less text that takes
/// longer than looking for each of them.
const WORTH_IT: usize = 4096;

/// How many words that holds for; of more of them less text is.
const FEW: usize = 16;

/// Texts up to this many bytes, which lines and headings are, are brought into lower case without a copy on the heap.
const SHORT: usize = 128;

/// Words that are looked for.
#[derive(Debug)]
pub struct Words {
    words: Box<[Box<str>]>,
    any_case: bool,
    /// How many bytes were looked through for each word by itself.
    read: AtomicUsize,
    /// Finds any of them, many bytes at a time; not every machine can, and the automaton stands in. It knows no case,
    /// so that the words are in lower case where that does not count, and texts are made so.
    packed: OnceLock<Option<packed::Searcher>>,
    /// Finds all of them, those within others too, byte by byte.
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
        let words = words.iter().map(|word| in_case(word, any_case).into()).collect();
        Self {
            words,
            any_case,
            read: AtomicUsize::new(0),
            packed: OnceLock::new(),
            automaton: OnceLock::new(),
        }
    }

    fn packed(&self) -> Option<&packed::Searcher> {
        let build = || packed::Searcher::new(self.words.iter().map(|word| word.as_bytes()));
        self.packed.get_or_init(build).as_ref()
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
        if self.is_by_word(text) {
            return self.words.iter().any(|word| self.stands_in(word, text));
        }
        let mut short = [0; SHORT];
        let lower = match short.get_mut(..text.len()) {
            Some(short) if self.any_case => {
                short.copy_from_slice(text.as_bytes());
                short.make_ascii_lowercase();
                // No byte of a longer character changes.
                str::from_utf8(short).ok()
            }
            _ => None,
        };
        match lower {
            Some(lower) => self.first(lower).is_some(),
            None => self.first(&in_case(text, self.any_case)).is_some(),
        }
    }

    /// Does the same for words whose case does not count, in a text that is in lower case already: one that is looked
    /// through often is best kept so.
    #[must_use]
    pub fn is_in_lower(&self, lower: &str) -> bool {
        if self.is_by_word(lower) {
            return self.words.iter().any(|word| self.stands_in(word, lower));
        }
        self.first(lower).is_some()
    }

    /// Counts the text, and tells whether each word is still to be looked for by itself.
    fn is_by_word(&self, text: &str) -> bool {
        let worth_it = WORTH_IT * FEW / self.words.len().max(FEW);
        self.read.fetch_add(text.len(), Ordering::Relaxed) < worth_it && text.len() < worth_it
    }

    /// Finds any of the words in a text that is in lower case if case does not count.
    fn first(&self, text: &str) -> Option<usize> {
        match self.packed() {
            Some(packed) => packed.find(text).map(|found| found.start()),
            None => self.automaton()?.find(text).map(|found| found.start()),
        }
    }

    fn stands_in(&self, word: &str, text: &str) -> bool {
        let word = word.as_bytes();
        let same = |part: &[u8]| if self.any_case { part.eq_ignore_ascii_case(word) } else { part == word };
        word.is_empty() || text.as_bytes().windows(word.len()).any(same)
    }

    /// Returns the lines that any of the words is in, with their breaks, and where each starts. No word may hold a break.
    pub fn lines<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (usize, &'a str)> + 'a {
        let lower = in_case(text, self.any_case);
        let mut at = 0;
        iter::from_fn(move || {
            let found = at + self.first(lower.get(at..)?)?;
            let start = text[..found].rfind('\n').map_or(0, |before| before + 1);
            at = text[found..].find('\n').map_or(text.len(), |len| found + len + 1);
            Some((start, &text[start..at]))
        })
    }

    /// Returns all places of the words, those within others too: the word by its number, and where it starts.
    pub fn places<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (usize, usize)> + 'a {
        // Most texts have none of them.
        let automaton = if self.is_in(text) { self.automaton() } else { None };
        let found = automaton.into_iter().flat_map(move |words| words.find_overlapping_iter(text));
        found.map(|found| (found.pattern().as_usize(), found.start()))
    }
}

/// Returns a text in lower case if case does not count. No place moves.
fn in_case(text: &str, any_case: bool) -> Cow<'_, str> {
    if any_case { Cow::Owned(text.to_ascii_lowercase()) } else { Cow::Borrowed(text) }
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
            let (words, lower) = (Words::new(WORDS), text.to_ascii_lowercase());
            let long = long.to_ascii_lowercase();
            let found = [words.is_in_lower(&lower), words.is_in_lower(&long), words.is_in_lower(&lower)];
            assert_eq!(found, [is_there; 3], "{text}");
        }
        let mut places: Vec<_> = words.places("Run In Parallel").collect();
        places.sort_unstable();
        assert_eq!(places, [(0, 4), (1, 7)]);
        let lines: Vec<_> = words.lines("a\nin PARALLEL\n\nx parallel, parallel\nb\nside by side").collect();
        assert_eq!(lines, [(2, "in PARALLEL\n"), (15, "x parallel, parallel\n"), (38, "side by side")]);
        assert_eq!(words.lines("a\nb").chain(words.lines("")).count(), 0);
        assert!(!Words::exact(&["$ARGS"]).is_in("$args") && Words::exact(&["$ARGS"]).is_in("x $ARGS"));
    }
}
