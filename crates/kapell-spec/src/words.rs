//! Looking for many words at once, in one pass and without regard to the case of ASCII letters.

use std::{
    borrow::Cow,
    iter,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use aho_corasick::{AhoCorasick, MatchKind, Span, packed};

/// How many bytes are looked through before the words are made ready to be found in one pass: for less text that takes
/// longer than looking for each of them.
const WORTH_IT: usize = 4096;

/// How many words that holds for; of more of them less text is.
const FEW: usize = 16;

/// So many bytes at a time are [folded](fold): the copy of a whole text would have to be made on the heap.
const BLOCK: usize = 1024;

/// The bit that small letters of ASCII have beside large ones.
const SMALL: u8 = 0x20;

/// Writes bytes as they are but for the case of letters. Some others become alike as well, as `@` and the backtick: what is
/// found has to be looked at again. Nothing is cheaper.
fn fold<'b>(text: &[u8], block: &'b mut [u8]) -> &'b [u8] {
    let len = text.len().min(block.len());
    let block = &mut block[..len];
    block.iter_mut().zip(text).for_each(|(to, from)| *to = from | SMALL);
    block
}

/// Words that are looked for.
#[derive(Debug)]
pub struct Words {
    words: Box<[Box<str>]>,
    /// How many bytes the longest of them has.
    longest: usize,
    any_case: bool,
    /// How many bytes were looked through for each word by itself.
    read: AtomicUsize,
    /// Finds any of them, many bytes at a time; not every machine can, and the automaton stands in. It knows no case,
    /// so that words and texts are [folded](fold) where that does not count.
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
        let words: Box<[Box<str>]> = words.iter().map(|word| in_case(word, any_case).into()).collect();
        let longest = words.iter().map(|word| word.len()).max().unwrap_or_default();
        Self {
            words,
            longest,
            any_case,
            read: AtomicUsize::new(0),
            packed: OnceLock::new(),
            automaton: OnceLock::new(),
        }
    }

    fn packed(&self) -> Option<&packed::Searcher> {
        let as_is = |word: &str| word.as_bytes().to_vec();
        let folded = |word: &str| word.bytes().map(|byte| byte | SMALL).collect();
        let build = || {
            let words = self.words.iter().map(|word| if self.any_case { folded(word) } else { as_is(word) });
            packed::Searcher::new(words)
        };
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
        self.first(text).is_some()
    }

    /// Does the same for words whose case does not count, in a text that is in lower case already: one that is looked
    /// through often is best kept so.
    #[must_use]
    pub fn is_in_lower(&self, lower: &str) -> bool {
        if self.is_by_word(lower) {
            return self.words.iter().any(|word| lower.contains(&**word));
        }
        self.first(lower).is_some()
    }

    /// Counts the text, and tells whether each word is still to be looked for by itself.
    fn is_by_word(&self, text: &str) -> bool {
        let worth_it = WORTH_IT * FEW / self.words.len().max(FEW);
        self.read.fetch_add(text.len(), Ordering::Relaxed) < worth_it && text.len() < worth_it
    }

    /// Finds any of the words in a text.
    fn first(&self, text: &str) -> Option<usize> {
        let text = text.as_bytes();
        let Some(packed) = self.packed() else {
            return self.automaton()?.find(text).map(|found| found.start());
        };
        if !self.any_case {
            return packed.find(text).map(|found| found.start());
        }
        // Names that texts give can be of any length.
        if self.longest > BLOCK / 2 {
            return self.first_folded(packed, text, fold(text, &mut vec![0; text.len()]));
        }
        let mut block = [0; BLOCK];
        let mut from = 0;
        loop {
            let rest = &text[from..];
            let folded = fold(rest, &mut block);
            if let Some(at) = self.first_folded(packed, rest, folded) {
                return Some(from + at);
            }
            if folded.len() == rest.len() {
                return None;
            }
            // What the end of a block cuts off stands whole in the next one.
            from += BLOCK - self.longest.saturating_sub(1);
        }
    }

    /// Finds any of the words in a text of which the beginning is `folded`.
    fn first_folded(&self, packed: &packed::Searcher, text: &[u8], folded: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            let found = packed.find_in(folded, Span { start: at, end: folded.len() })?;
            let rest = &text[found.start()..];
            let stands =
                |word: &[u8]| rest.get(..word.len()).is_some_and(|text| text.eq_ignore_ascii_case(word));
            if self.words.iter().any(|word| stands(word.as_bytes())) {
                return Some(found.start());
            }
            at = found.start() + 1;
        }
    }

    fn stands_in(&self, word: &str, text: &str) -> bool {
        let word = word.as_bytes();
        let same = |part: &[u8]| if self.any_case { part.eq_ignore_ascii_case(word) } else { part == word };
        word.is_empty() || text.as_bytes().windows(word.len()).any(same)
    }

    /// Returns the lines that any of the words is in, with their breaks, and where each starts. No word may hold a break.
    pub fn lines<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (usize, &'a str)> + 'a {
        let mut at = 0;
        iter::from_fn(move || {
            let found = at + self.first(text.get(at..)?)?;
            let start = text[..found].rfind('\n').map_or(0, |before| before + 1);
            at = text[found..].find('\n').map_or(text.len(), |len| found + len + 1);
            Some((start, &text[start..at]))
        })
    }

    /// Returns all places of the words, those within others too: the word by its number, and where it starts. No word may
    /// hold a break.
    pub fn places<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (usize, usize)> + 'a {
        // Most texts have none of them, and most lines of the others.
        let automaton = if self.is_in(text) { self.automaton() } else { None };
        automaton.into_iter().flat_map(move |words| {
            self.lines(text).flat_map(move |(start, line)| {
                let found = words.find_overlapping_iter(line);
                found.map(move |found| (found.pattern().as_usize(), start + found.start()))
            })
        })
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

    #[test]
    fn words_are_found_across_the_ends_of_blocks() {
        let words = Words::new(&["in parallel", "at once"]);
        for before in BLOCK - 20..BLOCK + 5 {
            let text = format!("{}\nRun them IN PARALLEL.\n{}", "x".repeat(before), "y".repeat(3 * BLOCK));
            assert!(words.is_in(&text), "{before}");
            let lines: Vec<_> = words.lines(&text).collect();
            assert_eq!(lines, [(before + 1, "Run them IN PARALLEL.\n")]);
        }
        assert!(!words.is_in(&"in paralle".repeat(BLOCK)));
        // These are alike but for the bit that the case of letters is in.
        let words = Words::new(&["a@b", "a`c"]);
        let texts = |text: &str| words.is_in(&format!("{}{text}", "x".repeat(WORTH_IT)));
        assert_eq!(["a`b", "A`B A@B", "a@c", "A`C", "@"].map(texts), [false, true, false, true, false]);
        let long = "Long".repeat(BLOCK / 4 + 1);
        assert!(Words::new(&[&long]).is_in(&format!("{}{long}", "x".repeat(WORTH_IT))));
    }
}
