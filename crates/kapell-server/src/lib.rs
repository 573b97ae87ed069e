//! What kapell offers to other programs.
//!
//! For now that is the Model Context Protocol: [`mcp`] makes a server of anything that is a
//! [`mcp::toolbox::Toolbox`]. There are two: the [`mcp::desk`], for an agent that a person talks to and that starts
//! and follows runs, and the [`mcp::attempt`], for an agent that works on one task of a run.
//!
//! **Invariant:** it knows no store and no adapter. What it offers it asks of a port, which the program fills; what it
//! is told by a client is never more than a wish.

pub mod mcp;
