//! The `kapell` program.
fn main() {}
