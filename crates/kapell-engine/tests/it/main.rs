//! The engine on ports that live in memory and do as they are told.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod brief; // what an attempt is given to read
mod children; // runs within runs
mod control; // the owner's socket
mod durable; // nothing leaves before it is recorded
mod effects; // what is asked of agents and workspaces, and what comes of their failures
mod journal; // a journal in memory, whose disk can be slow or fail
mod people; // gates, questions and answers
mod recovery; // what a later process makes of a run that another left
mod rig; // a host with everything around it
mod scale; // many runs in one host
mod snapshots; // when a snapshot is used, and when not
mod timers; // backoff, timeouts, times of day
