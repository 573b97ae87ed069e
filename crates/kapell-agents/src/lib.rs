//! What performs a task: adapters, the processes they start, workspaces and the git boundary.

pub mod git; // the git boundary: ground, knows nothing of the rest
pub mod workspace; // where work is done, and how it comes out again
