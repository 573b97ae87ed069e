//! The git boundary and workspaces, tested on real repositories in temporary directories.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

mod capture; // what an agent can leave
mod hostile; // repositories that want to run something
mod kinds; // every kind of repository
mod landing; // joining branches
mod merging; // into the branch of a person
mod pools; // workspaces between uses
mod random; // random work of an agent
mod vertical; // one task, from the user's repository and back into it
