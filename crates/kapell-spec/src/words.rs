//! Looking for many words at once, in one pass and without regard to the case of ASCII letters.

use aho_corasick::{AhoCorasick, MatchKind};

/// Words that are looked for.
#[derive(Debug)]
pub struct Words(Option<AhoCorasick>);

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
        // It only fails for words longer than memory; then nothing is ever found.
        let mut builder = AhoCorasick::builder();
        builder.ascii_case_insensitive(any_case).match_kind(MatchKind::Standard);
        Self(builder.build(words).ok())
    }

    /// Tells whether any of the words is in the text.
    #[must_use]
    pub fn is_in(&self, text: &str) -> bool {
        self.0.as_ref().is_some_and(|words| words.is_match(text))
    }

    /// Returns all places of the words, those within others too: the word by its number, and where it starts.
    pub fn places<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (usize, usize)> + 'a {
        let found = self.0.iter().flat_map(move |words| words.find_overlapping_iter(text));
        found.map(|found| (found.pattern().as_usize(), found.start()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_any_case_and_within_each_other() {
        let words = Words::new(&["in parallel", "parallel", "side by side"]);
        assert!(words.is_in("Run them IN PARALLEL.") && !words.is_in("one after the other"));
        let mut places: Vec<_> = words.places("Run In Parallel").collect();
        places.sort_unstable();
        assert_eq!(places, [(0, 4), (1, 7)]);
        assert!(!Words::exact(&["$ARGS"]).is_in("$args") && Words::exact(&["$ARGS"]).is_in("x $ARGS"));
    }
}
