//! Attempts, with real processes: well-behaved ones, and ones that would rather not end.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod acp; // agents behind the Agent Client Protocol
mod clients; // coding agents that replay what real ones printed
mod command; // what a command does and how its end is told
mod contained; // hostile commands at every level of containment
mod dialogue; // clients that are talked to
mod evil; // agents that do their worst
mod fake_mcp; // a server of tools
mod mcp; // tools of MCP servers, called as tasks
mod models; // kapell's own loop of tools, with each API
mod recovery; // what is found after kapell, a supervisor or both were killed
mod rig; // a crew with its reports in a channel
mod scripted; // what a scripted agent does
mod talk; // what agents say over the socket
