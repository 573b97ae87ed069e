//! The Model Context Protocol, specifications 2025-06-18, 2025-11-25 and 2026-07-28.
//!
//! Nothing is kept between two calls: what a call is about stands in its arguments, so that a server can be ended and
//! started again, and nothing is lost.

pub mod toolbox; // ground: tools, documents, and the port of who answers for them

mod handler; // from the protocol to a toolbox and back

pub mod attempt; // the toolbox of an agent that works on a task
pub mod desk; // the toolbox of an agent that starts and follows runs
pub mod serve; // transports

pub use self::handler::Server;
