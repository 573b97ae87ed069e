//! Workspaces: where agents and acceptance commands work, and how their work comes out again.

mod capture; // the submitted commit
mod carry; // ignored files from the user's checkout
pub(crate) mod dotgit; // the `.git` that an agent gets
mod permissions; // ground: modes and sizes of whole trees
mod pool; // making, resetting, finding again
mod remove; // deleting what an agent has filled
mod salvage; // nothing is deleted before it is kept
mod scan; // what differs from the index

pub use capture::{CaptureOptions, Captured, Change, Status};
pub use carry::{Carried, carry};
pub use pool::{Kind, Owner, Pool, Request, Workspace};
pub use remove::remove_tree;
pub use salvage::{Kept, Salvaged};
