//! Counting what happened, by name.

use std::collections::BTreeMap;

/// How often each thing happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally(Vec<(&'static str, u64)>);

impl Tally {
    pub(crate) fn add(&mut self, name: &'static str) {
        self.add_many(name, 1);
    }

    fn add_many(&mut self, name: &'static str, count: u64) {
        // Names are few and static: most are found by their address.
        let same =
            |known: &&'static str| std::ptr::eq(known.as_ptr(), name.as_ptr()) && known.len() == name.len();
        let at = self
            .0
            .iter()
            .position(|(known, _)| same(known))
            .or_else(|| self.0.iter().position(|(known, _)| *known == name));
        match at {
            Some(at) => self.0[at].1 += count,
            None => self.0.push((name, count)),
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(name, count)| self.add_many(name, *count));
    }

    /// Returns how often the thing of that name happened.
    #[must_use]
    pub fn of(&self, name: &str) -> u64 {
        self.0.iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count)
    }

    /// Returns what happened, by name.
    #[must_use]
    pub fn sorted(&self) -> BTreeMap<&'static str, u64> {
        self.0.iter().copied().collect()
    }
}
