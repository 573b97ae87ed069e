//! Chores of the kapell workspace.
fn main() {}
