//! The engine's ports on this machine: real repositories, real processes, and whole runs over them.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod checks; // acceptance commands
#[path = "../../../kapell-engine/tests/it/journal.rs"]
#[expect(dead_code, reason = "shared with the tests of the engine")]
mod journal; // a journal in memory
mod landing; // many branches, some of them bad
mod merging; // the user's branch and checkout
mod rig; // a repository, its workspaces and a host over them
mod runs; // whole runs
#[path = "../git/support.rs"]
#[expect(dead_code, reason = "shared with the tests of git")]
mod support; // repositories to test on
mod workspaces; // where attempts work
