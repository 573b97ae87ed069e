//! Maps and sets of names, of which thousands are looked up: hashed fast, in no order.

use std::{
    collections,
    hash::{BuildHasher, Hasher},
};

use foldhash::fast::{FixedState, RandomState};

/// A map that is only looked up in.
pub type HashMap<K, V> = collections::HashMap<K, V, RandomState>;

/// A set that is only looked up in.
pub type HashSet<T> = collections::HashSet<T, RandomState>;

/// Returns a number for some texts in a row, in which two that differ are alike once in 2^64: for what is told of people, not
/// for what has to withstand them.
#[must_use]
pub fn of_texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    for text in texts {
        hasher.write(text.as_bytes());
        // No text has it: one that ends is another than one that goes on.
        hasher.write_u8(0xff);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_texts_end_counts() {
        assert_eq!(of_texts(["ab", "c"]), of_texts(["ab", "c"]));
        assert_ne!(of_texts(["ab", "c"]), of_texts(["a", "bc"]));
        assert_ne!(of_texts(["ab"]), of_texts(["ab", ""]));
    }
}
