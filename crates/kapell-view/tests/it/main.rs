//! What people and machines see of a run, told as texts.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod audit;
mod escape;
mod logs;
mod next;
mod plan;
mod progress;
mod report;
mod schema;
mod status;
mod summary;
mod world;
