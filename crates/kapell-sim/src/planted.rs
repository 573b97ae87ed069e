//! Bugs put in on purpose, to test the checkers.

/// Tells whether the bug is in. Never, unless built for it.
#[cfg(not(kapell_planted))]
pub(crate) const fn is(_bug: &str) -> bool {
    false
}

#[cfg(kapell_planted)]
pub(crate) use kapell_core::planted::is;
