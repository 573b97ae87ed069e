//! The shell around the decider: run loop, timers, supervision, landing.
//!
//! **Invariant:** it decides nothing. What happens next is decided in `kapell-core`; what a journal, an agent
//! or a workspace *is* stays behind the ports, so no concrete store or adapter is known here.

pub mod port; // what the engine needs from the world
