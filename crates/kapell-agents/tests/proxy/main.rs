//! The model proxy between clients and a provider, over real sockets on the loopback interface.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod budget; // no budget is exceeded, whatever is drawn
mod passing; // what passes, what does not, and what is counted
mod rig; // a proxy, a provider, and a client that hides nothing
mod tape; // recordings
