//! Bugs put in on purpose, to test the tests. Release builds cannot enable them.

#[cfg(not(debug_assertions))]
compile_error!("planted bugs are for tests: build without --release, or with debug assertions");

use std::cell::Cell;

thread_local! {
    static ACTIVE: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Puts one bug in, on this thread; `None` takes it out.
pub fn plant(bug: Option<&'static str>) {
    ACTIVE.set(bug);
}

/// Tells whether the bug is in.
#[must_use]
pub fn is(bug: &str) -> bool {
    ACTIVE.get() == Some(bug)
}
