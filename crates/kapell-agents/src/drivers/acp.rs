//! Agents behind the Agent Client Protocol: one driver for all of them.
//!
//! It runs as a process of its own (`kapell __acp-agent FILE`, the prompt on standard input), starts the agent below
//! itself and speaks JSON-RPC with it. So the agent has the workspace, the containment and the proxy that any other client
//! has, and its tree of processes is held by the same supervisor. What happens is printed as sayings.
//!
//! ```text
//!   initialize -> session/new -> (mode, model) -> session/prompt ... session/update ... -> stop reason
//!                                    session/request_permission -> policy gate -> allow, deny, or ask a person
//!   SIGTERM    -> session/cancel, and the agent has a moment to say that it heard
//! ```
//!
//! **Invariant:** what is particular to a version of the protocol is in one module (`v1`); the rest knows `Heard`
//! alone. Version 2 is another such module.

mod permission; // may it?
mod session; // one prompt, from the first word to the last
mod v1; // version 1 of the protocol, as it goes over the wire
mod wire; // lines of JSON-RPC

use std::{ffi::OsString, io::Read, path::Path, process::ExitCode, time::Duration};

use kapell_core::retry::FailureClass;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::api::{
    Place, Surroundings,
    saying::{End, Saying, Teller},
};

/// The hidden argument with which kapell re-executes itself as the client of an agent.
pub const ARGUMENT: &str = "__acp-agent";

/// What an agent may do that it asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Permissions {
    /// A person decides.
    #[default]
    Ask,
    /// What the policy gate lets pass.
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
    pub(super) permissions: Permissions,
    /// Whether it gets kapell's own tools.
    pub(super) tools: bool,
    /// How often it is said that a person is waited for.
    pub(super) silence: Duration,
    /// How many calls of tools it may make.
    pub(super) steps_max: u32,
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
    /// A call has ended.
    Ended { id: String, failed: bool },
    /// What its session has cost so far, in millionths of a US dollar.
    Cost(u64),
    /// Something that matters to an editor only.
    Other,
}

/// Has an agent work on a prompt; `arguments` is the file with the `Spec`. This is what the hidden argument calls.
pub fn main(arguments: &[OsString], surroundings: Surroundings<'_>) -> ExitCode {
    let Surroundings { env, place, input, out } = surroundings;
    let mut teller = Teller::new(out);
    let place =
        place.map_err(|error| failed(FailureClass::Permanent, format!("there is no place to work: {error}")));
    let ended = place.and_then(|place| begin(arguments, env, place, input, &mut teller));
    let ended = ended.unwrap_or_else(|end| *end);
    let failed = ended.class.is_some();
    teller.say(&Saying::End(ended));
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Ends early, with a reason.
type Stopped<T> = Result<T, Box<End>>;

fn failed(class: FailureClass, text: impl Into<String>) -> Box<End> {
    Box::new(End::failed(class, text))
}

fn begin(
    arguments: &[OsString],
    env: &dyn Fn(&str) -> Option<OsString>,
    place: Place,
    input: &mut dyn Read,
    teller: &mut Teller<'_>,
) -> Stopped<End> {
    let hopeless = |text: String| failed(FailureClass::Permanent, text);
    let [path] = arguments else { return Err(hopeless(format!("usage: kapell {ARGUMENT} FILE"))) };
    let path = Path::new(path);
    let spec = std::fs::read(path).map_err(|error| error.to_string());
    let spec: Spec = spec
        .and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()))
        .map_err(|error| hopeless(format!("{}: {error}", path.display())))?;
    let mut prompt = String::new();
    let read = input.read_to_string(&mut prompt);
    read.map_err(|error| hopeless(format!("the prompt cannot be read: {error}")))?;
    let dir = std::fs::canonicalize(&place.dir)
        .map_err(|error| hopeless(format!("there is no directory to work in: {error}")))?;
    session::work(&spec, &prompt, Place { dir, ..place }, env, teller)
}
