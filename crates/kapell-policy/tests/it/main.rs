//! Schedules and estimates against plans whose answers are known.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod brief;
mod estimate;
mod plans;
mod reuse;
mod route;
mod schedule;
