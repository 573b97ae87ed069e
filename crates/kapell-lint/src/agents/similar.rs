//! How alike two texts are.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// How many of the least hashes are kept.
const SIZE: usize = 128;

/// How many words a shingle has.
const WORDS: usize = 5;

/// The least hashes of a text's shingles of five words.
///
/// Source: Broder, "On the resemblance and containment of documents", 1997.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sketch(Vec<u64>);

/// Mixes a number; source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// What makes a hash of numbers: odd, and its bits are spread evenly; source: the golden ratio times 2 to the power of 64.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Takes eight bytes more into the hash of a word.
fn step(hash: u64, part: u64) -> u64 {
    (hash.rotate_left(5) ^ part).wrapping_mul(SPREAD)
}

/// Returns the hashes of the words of a text, without regard to case: eight bytes at a time, as most words are of ASCII.
fn word_hashes(text: &str) -> Vec<u64> {
    let bytes = text.as_bytes();
    let mut words = Vec::with_capacity(bytes.len() / 5);
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if byte.is_ascii() && !byte.is_ascii_alphanumeric() {
            at += 1;
            continue;
        }
        let (hash, end) = ascii_word(bytes, at);
        if bytes.get(end).is_none_or(u8::is_ascii) {
            words.push(hash);
            at = end + 1;
            continue;
        }
        let rest = &text[at..];
        let word = &rest[..rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len())];
        if word.len() > end - at {
            words.push(word.to_lowercase().chars().fold(0, |hash, letter| step(hash, u64::from(letter))));
        } else if end > at {
            words.push(hash);
        }
        at += word.len() + rest[word.len()..].chars().next().map_or(0, char::len_utf8);
    }
    words
}

/// Returns the hash of the letters and digits of ASCII from a place on, and where they end.
fn ascii_word(bytes: &[u8], start: usize) -> (u64, usize) {
    let (mut hash, mut at) = (0, start);
    loop {
        let part = eight(bytes, at);
        let count = letters(part);
        if count > 0 {
            // The bit that tells small letters from others is set in all digits.
            let small = part | 0x2020_2020_2020_2020;
            hash = step(hash, small & (u64::MAX >> (64 - 8 * count)));
        }
        at += count;
        if count < 8 {
            return (hash, at);
        }
    }
}

/// Returns the eight bytes from a place on; behind the end of the text they are zero.
fn eight(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or_default();
    let whole = rest.first_chunk().copied().unwrap_or_else(|| {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        last
    });
    u64::from_le_bytes(whole)
}

/// Returns how many of eight bytes, from the first on, are letters or digits of ASCII.
fn letters(part: u64) -> usize {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * EACH;
    // Sums of seven bits each do not reach the byte beside: the high bit of one says that it is at least so much.
    let from = |bytes: u64, least: u8| (bytes & !HIGH) + EACH * u64::from(0x80 - least);
    let small = part | (0x20 * EACH);
    let letter = from(small, b'a') & !from(small, b'z' + 1);
    let digit = from(part, b'0') & !from(part, b'9' + 1);
    let others = !(letter | digit) | part;
    (others & HIGH).trailing_zeros() as usize / 8
}

/// Returns the hashes of the shingles of some words: each goes on from the one before; source: Karp and Rabin, "Efficient
/// randomized pattern-matching algorithms", 1987.
fn shingles(words: &[u64]) -> impl Iterator<Item = u64> {
    /// What a word counts that leaves a shingle.
    const GONE: u64 = SPREAD.wrapping_pow(WORDS as u32);
    let join = |sum: u64, word: &u64| sum.wrapping_mul(SPREAD).wrapping_add(*word);
    let (first, rest) = words.split_at_checked(WORDS).unwrap_or_default();
    let mut sum = first.iter().fold(0, join);
    let head = (!first.is_empty()).then_some(sum);
    let others = rest.iter().zip(words).map(move |(next, gone)| {
        sum = join(sum, next).wrapping_sub(gone.wrapping_mul(GONE));
        sum
    });
    head.into_iter().chain(others).map(mix)
}

impl Sketch {
    /// Takes the sketch of a text. Marks and case do not count.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let words = word_hashes(text);
        let count = words.len().saturating_sub(WORDS - 1) as u64;
        // Hashes are spread evenly, so that about half as many again as are kept lie below the first of these; a text
        // that repeats itself needs more to have enough.
        let some = (u64::MAX / count.max(1)).saturating_mul(SIZE as u64);
        for bound in [some.saturating_add(some / 2), some.saturating_mul(6), u64::MAX] {
            let mut hashes = Vec::with_capacity(2 * SIZE);
            shingles(&words).filter(|&hash| hash <= bound).for_each(|hash| hashes.push(hash));
            hashes.sort_unstable();
            hashes.dedup();
            if hashes.len() >= SIZE || bound == u64::MAX {
                hashes.truncate(SIZE);
                return Self(hashes);
            }
        }
        Self::default()
    }

    /// Returns the share of shingles that both have, from 0 to 1. Short texts are like nothing.
    #[must_use]
    pub fn likeness(&self, other: &Self) -> f64 {
        self.likeness_from(other, 0.0).unwrap_or(0.0)
    }

    /// Returns those of its hashes of which another sketch that is alike to at least `share` has one among its own: of the least
    /// hashes of their union, at most `1 - share` are not in both.
    pub(super) fn least(&self, share: f64) -> &[u64] {
        &self.0[..self.0.len().min(odd_at_most(share) as usize + 1)]
    }

    /// Returns the likeness if it is at least `share`; the walk ends as soon as it cannot be any more.
    pub(super) fn likeness_from(&self, other: &Self, share: f64) -> Option<f64> {
        if self.0.len() < SIZE / 2 || other.0.len() < SIZE / 2 {
            return (share <= 0.0).then_some(0.0);
        }
        let odd = odd_at_most(share);
        // Both are in order: one walk over their union's least.
        let (mut left, mut right, mut both, mut union) = (0, 0, 0_u32, 0_u32);
        while union < SIZE as u32 && (left < self.0.len() || right < other.0.len()) {
            let (one, two) = (self.0.get(left), other.0.get(right));
            let takes_one = two.is_none_or(|two| one.is_some_and(|one| one <= two));
            let takes_two = one.is_none_or(|one| two.is_some_and(|two| two <= one));
            left += usize::from(takes_one);
            right += usize::from(takes_two);
            both += u32::from(takes_one && takes_two);
            union += 1;
            if union - both > odd {
                return None;
            }
        }
        let likeness = f64::from(both) / f64::from(union.max(1));
        (likeness >= share).then_some(likeness)
    }
}

/// How many of the least hashes of two texts may be in one of them only, if they are alike to `share`.
fn odd_at_most(share: f64) -> u32 {
    ((1.0 - share) * SIZE as f64).floor() as u32
}

/// Takes a number for its hash: those of shingles are spread evenly, but the first bits of the least of them are zeros.
#[derive(Debug, Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.0 = self.0.rotate_left(8) ^ u64::from(byte));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number.rotate_left(20);
    }
}

/// Two sketches that are alike, by their places.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// The one that comes first.
    pub one: usize,
    /// The other.
    pub other: usize,
    /// How alike they are, from 0 to 1.
    pub likeness: f64,
}

/// Returns the pairs of sketches that are alike to at least `share`, in order. To look up the least hashes of each replaces
/// comparing all with all.
#[must_use]
pub fn pairs(sketches: &[&Sketch], share: f64) -> Vec<Pair> {
    // The sketches that have a hash, last one first: each entry leads to the one before it.
    let mut last: HashMap<u64, usize, BuildHasherDefault<AsItIs>> = HashMap::default();
    let mut entries: Vec<(usize, Option<usize>)> = Vec::new();
    let mut found = Vec::new();
    // With which one each was compared last.
    let mut compared = vec![usize::MAX; sketches.len()];
    for (at, sketch) in sketches.iter().enumerate() {
        for &hash in sketch.least(share) {
            let before = last.insert(hash, entries.len());
            let mut next = before;
            while let Some((other, before)) = next.map(|entry| entries[entry]) {
                if std::mem::replace(&mut compared[other], at) != at {
                    let likeness = sketches[other].likeness_from(sketch, share);
                    found.extend(likeness.map(|likeness| Pair { one: other, other: at, likeness }));
                }
                next = before;
            }
            entries.push((at, before));
        }
    }
    found.sort_unstable_by_key(|pair| (pair.one, pair.other));
    found
}

/// Returns how many sketches have the hash that most of them have: no less than those that have a long text in common.
#[must_use]
pub fn most_common(sketches: &[&Sketch]) -> usize {
    let mut counts: HashMap<u64, usize, BuildHasherDefault<AsItIs>> = HashMap::default();
    sketches.iter().flat_map(|sketch| &sketch.0).for_each(|&hash| *counts.entry(hash).or_default() += 1);
    counts.into_values().max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(from: usize, words: usize) -> String {
        (from..from + words).map(|word| format!("Word{word}, ")).collect()
    }

    #[test]
    fn likeness_is_the_share_of_common_shingles() {
        let one = Sketch::of(&text(0, 1000));
        assert!((one.likeness(&Sketch::of(&text(0, 1000).to_uppercase())) - 1.0).abs() < f64::EPSILON);
        // 900 of 1,100 shingles are in both.
        let near = one.likeness(&Sketch::of(&text(100, 1000)));
        assert!((near - 0.82).abs() < 0.12, "{near}");
        assert!(one.likeness(&Sketch::of(&text(5000, 1000))) < 0.01);
        assert!(one.likeness(&Sketch::of("too short")) < 0.01);
    }

    #[test]
    fn words_are_runs_of_letters_and_digits_in_any_case() {
        let hashes = |text: &str| word_hashes(text);
        for byte in 0..=u8::MAX {
            let bytes = [byte; 8];
            let expected = if byte.is_ascii_alphanumeric() { 8 } else { 0 };
            assert_eq!(letters(u64::from_le_bytes(bytes)), expected, "{byte}");
        }
        assert_eq!(hashes("a1 verylongword,ÉTÉ—x"), hashes("(A1) VeryLongWord été X."));
        assert_eq!(hashes("a1 verylongword,ÉTÉ—x").len(), 4);
        assert_ne!(hashes("ab"), hashes("a b"));
        assert_ne!(hashes("eightlet"), hashes("eightletter"));
        assert_eq!(hashes("eightlet"), hashes("eightlet\n"));
        assert_eq!(hashes("").len() + hashes("--- \u{1}\u{10}").len(), 0);
    }

    #[test]
    fn the_index_finds_the_pairs_that_comparing_all_finds() {
        let all: Vec<Sketch> = (0..60).map(|n| Sketch::of(&text(n * 23, 600 + n * 3))).collect();
        let sketches: Vec<&Sketch> = all.iter().collect();
        for share in [0.5, 0.8, 0.9] {
            let mut all = Vec::new();
            for (at, one) in sketches.iter().enumerate() {
                for (other, two) in sketches.iter().enumerate().skip(at + 1) {
                    let likeness = one.likeness(two);
                    if likeness >= share {
                        all.push(Pair { one: at, other, likeness });
                    }
                }
            }
            assert!(!all.is_empty());
            assert_eq!(pairs(&sketches, share), all, "{share}");
        }
    }
}
