//! A tool of an MCP server, called as a task.
//!
//! The call is made by a process of its own (`kapell __mcp-call FILE`), below which a server that is a program runs, too:
//! the supervisor of the attempt holds all of it, and what the server prints as errors is in the attempt's log. Which
//! servers there are the user says, not a workflow: whoever names the program decides what runs.
//!
//! | the tool | the task |
//! |---|---|
//! | structured content | an output for each field |
//! | text | the output `text` |
//! | progress | its progress |
//! | `isError` | a failure, classified by its words as those of providers are |
//! | no answer in time | a timeout |

mod brought; // servers of a repository
mod call; // one call, from the first word to the last
mod forward; // HTTP that leaves by way of our own client

use std::{collections::BTreeMap, ffi::OsString, io, path::Path, process::ExitCode, time::Duration};

use kapell_core::retry::FailureClass;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::brought::brought;
use super::{
    Work,
    exit::{EXIT_CONFIG, code_of},
    own::{Surroundings, read_spec},
};
use crate::{private, protocol::client};

/// The hidden argument with which kapell re-executes itself to call a tool.
pub const ARGUMENT: &str = "__mcp-call";

/// The name of the adapter that a task with `mcp:` is performed by.
pub const ADAPTER: &str = "mcp";

/// The variable with the headers that a server behind HTTP wants, as JSON: they hold secrets, and are not written down.
const HEADERS: &str = "KAPELL_MCP_HEADERS";
/// Below an attempt's directory: what is called.
const SPEC_FILE: &str = "mcp.json";
/// How long a call may take, unless its server's settings say otherwise.
const TIMEOUT: Duration = Duration::from_secs(600);

/// How a server is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// A program and its arguments, which speaks on its standard input and output.
    Program(Vec<String>),
    /// An address, for streamable HTTP.
    Url(String),
}

/// A server, from the user's own settings or from a repository that is trusted.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    /// How it is reached.
    pub reach: Reach,
    /// Variables for a program, besides those that every process gets.
    pub env: Vec<(OsString, OsString)>,
    /// Headers for an address.
    pub headers: BTreeMap<String, String>,
    /// How long a call may take.
    pub timeout: Option<Duration>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What it is given besides may be secret.
        f.debug_struct("Server")
            .field("reach", &self.reach)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// The servers by their names.
pub type Servers = BTreeMap<String, Server>;

/// What is called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Spec {
    reach: Reach,
    tool: String,
    arguments: Map<String, Value>,
    timeout: Duration,
}

impl Server {
    /// Returns its variables as text.
    pub(super) fn variables(&self) -> Vec<(String, String)> {
        let text = |text: &OsString| text.to_string_lossy().into_owned();
        self.env.iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    /// Returns its variables as an object of JSON.
    pub(super) fn env_json(&self) -> Value {
        self.variables().into_iter().map(|(name, value)| (name, Value::from(value))).collect()
    }

    /// Returns the work that calls `tool`: writes down in the attempt's directory what is called, and adds to its
    /// variables what the server is to get. `program` is kapell's own.
    ///
    /// # Errors
    ///
    /// Fails if the arguments are no JSON object, or the file cannot be written.
    pub fn work(
        &self,
        program: &Path,
        dir: &Path,
        tool: &str,
        arguments: &str,
        env: &mut Vec<(OsString, OsString)>,
    ) -> io::Result<Work> {
        let spec = Spec {
            reach: self.reach.clone(),
            tool: tool.to_owned(),
            arguments: serde_json::from_str(arguments).map_err(io::Error::other)?,
            timeout: self.timeout.unwrap_or(TIMEOUT),
        };
        private::dir(dir)?;
        let path = dir.join(SPEC_FILE);
        private::write(&path, serde_json::to_vec(&spec)?)?;
        env.extend(self.env.iter().cloned());
        if !self.headers.is_empty() {
            env.push((HEADERS.into(), serde_json::to_string(&self.headers)?.into()));
        }
        Ok(Work::Program(vec![program.into(), ARGUMENT.into(), path.into()]))
    }
}

/// Why nothing came of a call.
#[derive(Debug, Clone, PartialEq)]
struct Trouble {
    class: FailureClass,
    text: String,
}

impl Trouble {
    fn new(class: FailureClass, text: impl Into<String>) -> Self {
        Self { class, text: text.into() }
    }
}

/// Calls a tool; `arguments` is the file that says which. This is what the hidden argument calls.
pub fn main(arguments: &[OsString], surroundings: Surroundings<'_>) -> ExitCode {
    let Surroundings { env, out, .. } = surroundings;
    let [path] = arguments else { return ExitCode::from(EXIT_CONFIG) };
    let done = perform(Path::new(path), env);
    let text = match &done {
        Ok(text) => text,
        Err(trouble) => &trouble.text,
    };
    let _ = writeln!(out, "{text}");
    match done {
        Ok(_) => ExitCode::SUCCESS,
        Err(trouble) => ExitCode::from(code_of(trouble.class).unwrap_or(1)),
    }
}

fn perform(path: &Path, env: &dyn Fn(&str) -> Option<OsString>) -> Result<String, Trouble> {
    let hopeless = |text: String| Trouble::new(FailureClass::Permanent, text);
    let spec: Spec = read_spec(path).map_err(hopeless)?;
    let headers = env(HEADERS).and_then(|text| serde_json::from_str(text.to_str()?).ok()).unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Trouble::new(FailureClass::Transient, error.to_string()))?;
    let result = runtime.block_on(call::call(&spec, headers, env));
    // A server that does not end is ended with this process.
    runtime.shutdown_background();
    let result = result?;
    let text = call::text(&result);
    if result["isError"] == true {
        return Err(call::judge(&text));
    }
    for (name, value) in call::outputs(&result, &text) {
        let words = ["output".into(), format!("{name}={value}").into()];
        client::run(&words, env).map_err(|error| {
            Trouble::new(FailureClass::InvalidOutput, format!("output `{name}`: {error}"))
        })?;
    }
    Ok(text)
}
