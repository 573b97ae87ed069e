//! Agents behind the Agent Client Protocol: one driver for all of them.
//!
//! It runs as a process of its own (`kapell __acp-agent FILE`, what it is told on standard input), starts the agent below
//! itself and speaks JSON-RPC with it. So the agent has the workspace, the containment and the proxy that any other client
//! has, and its tree of processes is held by the same supervisor. What happens is printed as sayings.
//!
//! ```text
//!   initialize -> session/new, /load or /resume -> (mode, model) -> session/prompt ... session/update ... -> stop reason
//!                                    session/request_permission -> seat belt -> allow, deny, or ask a person
//!   told more -> another session/prompt, at once or after session/cancel
//!   told to stop -> session/cancel, and the agent has a moment to say that it heard
//! ```
//!
//! An agent that takes a prompt while it works on one gets the word that its budget ends so, and hears it at its next step:
//! Claude Code, which says that it does, and opencode, which does. The protocol promises that of nobody, so the turn of any
//! other agent is cancelled first.
//!
//! **Invariant:** what is particular to a version of the protocol is in one module (`v1`); the rest knows `Heard`
//! alone. Version 2 is another such module.

mod aside; // what opencode says beside the protocol
mod permission; // may it?
mod session; // one prompt, from the first word to the last
mod v1; // version 1 of the protocol, as it goes over the wire
mod wire; // lines of JSON-RPC

use std::{ffi::OsString, process::ExitCode};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::own::{self, Surroundings};

/// The hidden argument with which kapell re-executes itself as the client of an agent.
pub const ARGUMENT: &str = "__acp-agent";

/// What an agent may do that it asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Permissions {
    /// A person decides.
    #[default]
    Ask,
    /// What the seat belt lets pass.
    Allow,
    /// Nothing.
    Deny,
}

/// What the driver is told besides the prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Spec {
    /// The agent and its arguments.
    pub(super) argv: Vec<String>,
    /// The mode of the session, if the agent has it.
    pub(super) mode: Option<String>,
    /// The model, if the agent lets it be chosen.
    pub(super) model: Option<String>,
    /// What the agent is told with the session, in words of its own.
    pub(super) meta: Option<Value>,
    /// Servers of tools besides kapell's own, as the protocol has them.
    pub(super) servers: Vec<Value>,
    pub(super) permissions: Permissions,
    /// Whether it gets kapell's own tools.
    pub(super) tools: bool,
    /// The session of an earlier attempt in which it goes on.
    pub(super) resume: Option<String>,
    /// How many calls of tools it may make.
    pub(super) steps_max: u32,
    /// Whether it is opencode, whose own server is asked for what the protocol does not say.
    #[serde(default)]
    pub(super) aside: bool,
}

/// Something that an agent says or wants, whichever version of the protocol it speaks.
#[derive(Debug, Clone, PartialEq)]
enum Heard {
    /// A piece of what it says.
    Said(String),
    /// A piece of what it thinks; shown to nobody.
    Thought,
    /// It calls a tool.
    Tool { id: String, tool: String, about: String },
    /// A call is under way, and by now it is known what it is about.
    Going { id: String, about: String },
    /// A call has ended; what came of it, if it failed.
    Ended { id: String, failed: Option<String> },
    /// What its session has cost so far, in millionths of a US dollar.
    Cost(u64),
    /// Something that matters to an editor only.
    Other,
}

/// Has an agent work on a prompt; `arguments` is the file with the `Spec`. This is what the hidden argument calls.
pub fn main(arguments: &[OsString], surroundings: Surroundings<'_>) -> ExitCode {
    own::perform(arguments, surroundings, session::work)
}
