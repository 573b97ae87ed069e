//! The git boundary: everything that kapell does with git.
//!
//! **Invariant:** git never runs with the user's or an agent's repository as its git directory,
//! save for one compare-and-swap of a ref, so that no hook, filter or setting of theirs is ever
//! executed. All else happens in the [`OwnRepo`], a bare repository of kapell's own.

mod chain; // joining commits
mod compact; // what is no longer needed
pub mod config; // ground: the text of configuration files
mod content; // what a commit holds under some paths
mod diff; // patches
pub mod error;
mod index; // index files for one computation
mod look; // reading commits
pub mod merge; // into the user's branch
pub mod own_repo; // kapell's own repository
pub(crate) mod process; // the one place that starts git
pub mod propose; // branches for a person to look at
pub mod protect; // files that a task must not change
pub(crate) mod refs; // refs as files
pub(crate) mod transfer; // objects from one repository to another
pub mod user; // the user's repository, read as files

pub use chain::{Chain, Conflict, Entry};
pub use error::{Error, ErrorKind, Failure, Result, printable};
pub use merge::MergeTurn;
pub use own_repo::{
    BaseFacts, OwnRepo, OwnRepoOptions, Signature, Stamp, Step, base_ref, head_ref, salvage_ref, trailers,
};
pub use process::Git;
pub(crate) use process::INDEX_VARIABLE;
pub use propose::Rewrite;
pub use refs::is_ref_name;
pub use user::{Head, Identity, ObjectFormat, UserRepo, Worktree};
