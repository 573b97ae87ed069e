//! Names of agents that are defined, and where they stand in a text.

use std::collections::BTreeSet;

use super::is_kebab;
use crate::{hash::HashSet, words::Words};

/// Names of agents that are defined.
#[derive(Debug)]
pub struct Defined<'a> {
    names: &'a BTreeSet<String>,
    /// Those without a hyphen, in order.
    plain: Vec<&'a str>,
    /// Finds these.
    words: Words,
    /// Those with a hyphen.
    kebab: HashSet<&'a str>,
}

impl<'a> Defined<'a> {
    /// Takes the names.
    #[must_use]
    pub fn new(names: &'a BTreeSet<String>) -> Self {
        let (kebab, plain): (Vec<_>, Vec<_>) =
            names.iter().map(String::as_str).partition(|name| is_kebab(name));
        let words = Words::exact(&plain);
        Self { names, plain, words, kebab: kebab.into_iter().collect() }
    }

    /// Tells whether a name is among them.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Returns the names, in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> {
        self.names.iter().map(String::as_str)
    }

    /// Returns the names that stand in a text, and where; those without a hyphen in other words, too.
    pub(super) fn places<'t>(&'t self, text: &'t str) -> impl Iterator<Item = (&'t str, usize)> {
        let plain = self.words.places(text).map(|(number, at)| (self.plain[number], at));
        let part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        let bytes = text.as_bytes();
        let mut read = 0;
        // Few words have a hyphen: the others are not even looked at.
        let hyphened = memchr::memchr_iter(b'-', bytes).filter_map(move |at| {
            if at < read {
                return None;
            }
            let start = bytes[..at].iter().rposition(|byte| !part(byte)).map_or(0, |before| before + 1);
            read = bytes[at..].iter().position(|byte| !part(byte)).map_or(bytes.len(), |len| at + len);
            Some((&text[start..read], start))
        });
        plain.chain(hyphened.filter(|(name, _)| self.kebab.contains(name)))
    }
}
