//! An agent of kapell's own: a model behind an HTTP API, and a small loop of tools around it.
//!
//! It runs as a process of its own (`kapell __model-agent FILE`, the prompt on standard input), so that all that holds for
//! other clients holds for it: its workspace, its containment, the proxy that has the key. It prints what happens as
//! sayings, one a line.
//!
//! ```text
//!   prompt -> ask the model -> calls of tools? -> perform them -> ask again -> ... -> it is done
//! ```
//!
//! **Invariant:** everything is bounded: turns, the length of what a tool gives, how long a provider may be silent, how
//! often a request is tried again, how often the same call may be repeated.

mod chat; // OpenAI's chat completions, and all that are compatible
mod check; // outputs against their schema
mod dialect; // what all APIs have in common
mod gemini;
mod kept; // what was said, for a later attempt
mod messages; // Anthropic's
mod responses; // OpenAI's
mod tools; // read, search, edit, write, run
mod turns; // the loop
mod wire; // one request

use std::{ffi::OsString, io::Read as _, path::PathBuf, process::ExitCode, time::Duration};

use kapell_core::{price::Rate, retry::FailureClass};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    client::{Limit, UNKNOWN_SESSION},
    own::{
        self, Begun, Env, Place, Stopped, Surroundings, failed,
        saying::{End, Teller},
    },
};
pub(super) use crate::proxy::Dialect as Api;
use crate::{protocol::SOCKET, supervise::MARKER};

/// The hidden argument with which kapell re-executes itself as an agent for a model.
pub const ARGUMENT: &str = "__model-agent";

/// The variable with the key. It is the proxy's: worth nothing elsewhere. Commands of the model do not get it.
pub(super) const KEY: &str = "KAPELL_MODEL_KEY";

/// What the agent is told besides its prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Spec {
    pub(super) api: Api,
    /// Where the API is, without a slash at its end.
    pub(super) base_url: String,
    pub(super) model: String,
    /// What it is told besides what every agent is.
    pub(super) system: Option<String>,
    /// The most tokens of a reply; the provider's own limit if `None`, where it has one.
    pub(super) output_max: Option<u32>,
    /// How many replies it may take.
    pub(super) turns_max: u32,
    /// What it may spend.
    pub(super) limit: Limit,
    /// What its tokens cost, if that is known.
    pub(super) rate: Option<Rate>,
    /// How long the provider may be silent.
    pub(super) silence: Duration,
    /// What its result must look like, as a JSON Schema.
    pub(super) schema: Option<Value>,
    /// Where the conversation is kept.
    pub(super) kept: PathBuf,
    /// Whether it is offered what `kapell task` says as tools.
    pub(super) tools: bool,
    /// The conversation of an earlier attempt in which it goes on.
    pub(super) resume: Option<String>,
}

/// Works on a prompt; `arguments` is the file with the `Spec`. This is what the hidden argument calls.
pub fn main(arguments: &[OsString], surroundings: Surroundings<'_>) -> ExitCode {
    own::perform(arguments, surroundings, |Begun { spec, place, mut input }, env, teller| {
        let mut prompt = String::new();
        let read = input.read_to_string(&mut prompt);
        read.map_err(|error| failed(FailureClass::Permanent, format!("the prompt cannot be read: {error}")))?;
        begin(&spec, prompt, place, env, teller)
    })
}

fn begin(spec: &Spec, prompt: String, place: Place, env: Env<'_>, teller: &mut Teller<'_>) -> Stopped<End> {
    let hopeless = |text: String| failed(FailureClass::Permanent, text);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(FailureClass::Transient, error.to_string()))?;
    let text = |name| env(name).and_then(|text| text.into_string().ok());
    let model = wire::Model::new(spec, text(KEY)).map_err(hopeless)?;
    let name = text(MARKER).unwrap_or_else(|| std::process::id().to_string());
    let kept = kept::Kept::open(spec, name).map_err(|why| hopeless(format!("{UNKNOWN_SESSION}: {why}")))?;
    let own = (spec.tools && env(SOCKET).is_some()).then_some(env);
    let tools = tools::Tools::new(place.dir, own);
    let ended = runtime.block_on(turns::work(spec, &model, &tools, prompt, kept, teller));
    let handed = ended.structured.as_ref().map_or(Ok(()), |result| check::hand_over(result, env));
    handed.map_err(|why| failed(FailureClass::InvalidOutput, why)).map(|()| ended)
}
