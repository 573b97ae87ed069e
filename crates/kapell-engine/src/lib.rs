//! The shell around the decider: run loop, timers, supervision, landing.
//!
//! **Invariant:** it decides nothing. What happens next is decided in `kapell-core`; what a journal, an agent
//! or a workspace *is* stays behind the ports, so no concrete store or adapter is known here.

pub mod port; // what the engine needs from the world

mod workers; // threads for work that blocks

pub mod spin; // looking for news before sleeping

mod live; // one run, with what waits for the disk

pub mod open; // reading a run from the journal

mod brief; // what an attempt is given to read

pub mod perform; // effects, through the ports

pub mod host; // the loop

pub mod socket; // where others can reach a process

pub mod control; // commands from other terminals

mod children; // runs within runs

mod rest; // what a run waits for

mod asleep; // runs of which only that is kept

pub use asleep::AWAKE_MAX;
pub use live::{Refusal, Reply};
