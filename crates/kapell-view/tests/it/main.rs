//! What people and machines see of a run, told as texts.

mod escape;
mod logs;
mod plan;
mod progress;
mod report;
mod schema;
mod status;
mod summary;
mod world;
