//! How alike two texts are.

use std::hash::{DefaultHasher, Hash, Hasher};

/// How many of the least hashes are kept.
const SIZE: usize = 128;

/// The least hashes of a text's shingles of five words.
///
/// Source: Broder, "On the resemblance and containment of documents", 1997.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sketch(Vec<u64>);

impl Sketch {
    /// Takes the sketch of a text. Marks and case do not count.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let words: Vec<String> = text
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect();
        let hash = |shingle: &[String]| {
            let mut hasher = DefaultHasher::new();
            shingle.hash(&mut hasher);
            hasher.finish()
        };
        let mut hashes: Vec<u64> = words.windows(5).map(hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        hashes.truncate(SIZE);
        Self(hashes)
    }

    /// Returns the share of shingles that both have, from 0 to 1. Short texts are like nothing.
    #[must_use]
    pub fn likeness(&self, other: &Self) -> f64 {
        if self.0.len() < SIZE / 2 || other.0.len() < SIZE / 2 {
            return 0.0;
        }
        let mut union: Vec<u64> = self.0.iter().chain(&other.0).copied().collect();
        union.sort_unstable();
        union.dedup();
        union.truncate(SIZE);
        let both = union
            .iter()
            .filter(|hash| self.0.binary_search(hash).is_ok() && other.0.binary_search(hash).is_ok());
        both.count() as f64 / union.len().max(1) as f64
    }
}
