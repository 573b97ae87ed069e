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
mod messages; // Anthropic's
mod responses; // OpenAI's
pub(super) mod saying; // what is printed, and how it is read
mod tools; // read, search, edit, write, run
mod turns; // the loop
mod wire; // one request

use std::{
    ffi::OsString,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use kapell_core::retry::FailureClass;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::saying::{Saying, Teller};
pub(super) use crate::proxy::Dialect as Api;

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
    /// How long the provider may be silent.
    pub(super) silence: Duration,
    /// What its result must look like, as a JSON Schema.
    pub(super) schema: Option<Value>,
}

/// Where an agent of kapell's own is.
#[derive(Debug, Clone)]
pub struct Place {
    /// The directory in which it works.
    pub dir: PathBuf,
    /// kapell's own program, by the path at which it is found from there.
    pub program: PathBuf,
}

/// What an agent of kapell's own finds around it.
pub struct Surroundings<'a> {
    /// Looks up a variable.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
    /// Where it works, and what kapell's own program is.
    pub place: std::io::Result<Place>,
    /// Takes its prompt from here.
    pub input: &'a mut dyn Read,
    /// Takes what happens, one event a line.
    pub out: &'a mut dyn Write,
}

/// Works on a prompt; `arguments` is the file with the `Spec`. This is what the hidden argument calls.
pub fn main(arguments: &[OsString], surroundings: Surroundings<'_>) -> ExitCode {
    let Surroundings { env, place, input, out } = surroundings;
    let mut teller = Teller::new(out);
    let ended = match place {
        Ok(place) => begin(arguments, env, &place, input, &mut teller),
        Err(error) => {
            saying::End::failed(FailureClass::Permanent, format!("there is no place to work: {error}"))
        }
    };
    let failed = ended.class.is_some();
    teller.say(&Saying::End(ended));
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn begin(
    arguments: &[OsString],
    env: &dyn Fn(&str) -> Option<OsString>,
    place: &Place,
    input: &mut dyn Read,
    teller: &mut Teller<'_>,
) -> saying::End {
    let hopeless = |text: String| saying::End::failed(FailureClass::Permanent, text);
    let spec = match arguments {
        [path] => read_spec(Path::new(path)),
        _ => Err(format!("usage: kapell {ARGUMENT} FILE")),
    };
    let spec = match spec {
        Ok(spec) => spec,
        Err(why) => return hopeless(why),
    };
    let mut prompt = String::new();
    if let Err(error) = input.read_to_string(&mut prompt) {
        return hopeless(format!("the prompt cannot be read: {error}"));
    }
    let workspace = match std::fs::canonicalize(&place.dir) {
        Ok(dir) => dir,
        Err(error) => return hopeless(format!("there is no directory to work in: {error}")),
    };
    let key = env(KEY).and_then(|key| key.into_string().ok());
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return saying::End::failed(FailureClass::Transient, error.to_string()),
    };
    let model = match wire::Model::new(&spec, key) {
        Ok(model) => model,
        Err(why) => return hopeless(why),
    };
    let tools = tools::Tools::new(workspace);
    let ended = runtime.block_on(turns::work(&spec, &model, &tools, prompt, teller));
    match ended.structured.as_ref().map(|result| check::hand_over(result, env)) {
        Some(Err(why)) => saying::End::failed(FailureClass::InvalidOutput, why),
        _ => ended,
    }
}

fn read_spec(path: &Path) -> Result<Spec, String> {
    let text = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))
}
