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

/// The letter or digit that each byte of ASCII stands for, in lower case; of all other bytes nothing.
static LETTERS: [u8; 256] = {
    let mut letters = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        if (byte as u8).is_ascii_alphanumeric() {
            letters[byte] = (byte as u8).to_ascii_lowercase();
        }
        byte += 1;
    }
    letters
};

/// Returns the hashes of the words of a text, without regard to case; source of the loop: Fowler, Noll and Vo (FNV-1a,
/// 64 bits).
fn word_hashes(text: &str) -> Vec<u64> {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    let step = |hash: u64, value: u64| (hash ^ value).wrapping_mul(0x0100_0000_01b3);
    let mut words = Vec::with_capacity(text.len() / 5);
    let (mut hash, mut at) = (OFFSET, 0);
    let bytes = text.as_bytes();
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        let letter = LETTERS[usize::from(byte)];
        if letter != 0 {
            hash = step(hash, u64::from(letter));
            continue;
        }
        // Most bytes are ASCII: only the others are read as characters.
        let wide = if byte.is_ascii() { None } else { text[at - 1..].chars().next() };
        at += wide.map_or(0, |character| character.len_utf8() - 1);
        match wide.filter(|character| character.is_alphanumeric()) {
            Some(character) => {
                hash = character.to_lowercase().fold(hash, |hash, small| step(hash, u64::from(small)));
            }
            None if hash != OFFSET => words.push(std::mem::replace(&mut hash, OFFSET)),
            None => {}
        }
    }
    if hash != OFFSET {
        words.push(hash);
    }
    words
}

impl Sketch {
    /// Takes the sketch of a text. Marks and case do not count.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let words = word_hashes(text);
        let add = |hash: u64, word: &u64| (hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // Of an array the compiler knows how long it is.
        let shingle =
            |words: &[u64]| words.try_into().map_or(0, |words: &[u64; WORDS]| mix(words.iter().fold(0, add)));
        let count = words.len().saturating_sub(WORDS - 1) as u64;
        // Hashes are spread evenly, so that about half as many again as are kept lie below the first of these; a text
        // that repeats itself needs more to have enough.
        let some = (u64::MAX / count.max(1)).saturating_mul(SIZE as u64);
        for bound in [some.saturating_add(some / 2), some.saturating_mul(6), u64::MAX] {
            let mut hashes = Vec::with_capacity(2 * SIZE);
            hashes.extend(words.windows(WORDS).map(shingle).filter(|&hash| hash <= bound));
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
struct AsItIs(u64);

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

/// Returns the pairs of sketches that are alike to at least `share`, in order.
///
/// Of the least hashes of their union, at most `1 - share` are not in both. So among that many and one more of the
/// least of one there is one that the other has, and looking it up replaces comparing all with all.
#[must_use]
pub fn pairs(sketches: &[&Sketch], share: f64) -> Vec<Pair> {
    let odd = odd_at_most(share) as usize;
    // The sketches that have a hash, last one first: each entry leads to the one before it.
    let mut last: HashMap<u64, usize, BuildHasherDefault<AsItIs>> = HashMap::default();
    let mut entries: Vec<(usize, Option<usize>)> = Vec::new();
    let mut found = Vec::new();
    // With which one each was compared last.
    let mut compared = vec![usize::MAX; sketches.len()];
    for (at, sketch) in sketches.iter().enumerate() {
        for &hash in sketch.0.iter().take(odd + 1) {
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
