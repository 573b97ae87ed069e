//! The git boundary and workspaces, tested on real repositories in temporary directories.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

mod vertical; // one task, from the user's repository and back into it
