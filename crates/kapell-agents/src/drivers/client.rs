//! Coding agents: the clients that people use, driven without a person at their terminal.
//!
//! Each client has one file, which knows how it is started and how to read what it prints. Reading is a pure state
//! machine ([`Reader`]): lines go in, [`Report`]s come out, and when the process has ended, a [`Verdict`].
//!
//! **Invariant:** an exit code alone is never believed, nor is what a client says about itself. An attempt succeeded if
//! its process ended by itself with code 0, its stream came to a proper end that says so, and its last call of a tool
//! was not refused. Lines that nobody knows are passed over: clients add new ones every week.
//!
//! A client that can be talked to while it works ([`Client::is_talked_to`]) puts its questions and its requests for
//! permission to a person, is told when its budget runs out, and is interrupted in its own words. The others are asked
//! once. Where an earlier attempt left a session, a later one goes on in it ([`Resume`]); where it could not, it is told
//! what was done (`past`).

mod acp; // agents behind the Agent Client Protocol
mod claude_code;
mod codex;
mod codex_app; // Codex, talked to while it works
mod gemini;
mod key; // where a key comes from that no variable holds
mod limit; // what it may spend, and when it is told that this ends
mod listen; // reading along, and the end
mod model; // models behind their HTTP APIs
pub(in crate::drivers) mod opencode;
pub mod options; // what an agent can be told in a workflow
mod order; // what a client is to do, and how it is made ready for that
pub(crate) mod past; // what earlier attempts did, for the next one
mod purse; // what attempts of a run spend together
pub mod structure; // outputs of a shape
mod talk; // what is said to a client
mod told; // what it said and did, for a person
mod words; // what is common to the errors of all of them

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kapell_core::{
    price::{Price, Tokens},
    retry::FailureClass,
    time::Wall,
};
use serde_json::Value;

pub use self::{
    acp::AcpAgent,
    key::{KeyGiver, Service},
    limit::Limit,
    model::ModelApi,
    order::{Order, Resume},
    purse::{Purse, Purses},
    structure::Shape,
    talk::{Opening, Outgoing, Tell, Totals},
    told::told,
    words::reset_in,
};
pub(in crate::drivers) use self::{
    claude_code::refused,
    limit::{WAS_TOLD, WIND_DOWN},
    words::{SAID_BYTES_MAX, UNKNOWN_SESSION, about, add_said, failure, head, no_end, short},
};
pub(crate) use self::{
    key::{Denial, Keyring},
    listen::{Heard, LINE_BYTES_MAX, Listener, Watch},
    talk::QUESTIONS_FROM,
};
use self::{order::Invocation, talk::Questions, words::UNKNOWN_SESSIONS};
use super::{Exit, Report, own::saying::Own};
use crate::{
    protocol,
    supervise::{ExitRecord, MARKER},
};

/// Within an attempt's directory: which client works there, so that its end can be read even by another kapell.
const CLIENT_FILE: &str = "client";
/// Within an attempt's directory: what the client is asked.
const PROMPT_FILE: &str = "prompt.txt";
/// Within an attempt's directory: what shape its outputs have.
const SCHEMA_FILE: &str = "schema.json";
/// Within an attempt's directory: the attempt's second process, if its client is asked once more for its outputs.
pub(crate) const AGAIN_DIR: &str = "again";

/// Under this name a client knows kapell's own server.
const OWN_SERVER: &str = "kapell";
/// What that server needs of the environment of its attempt.
const OWN_SERVER_NEEDS: [&str; 3] = [protocol::SOCKET, protocol::TOKEN, MARKER];
/// A person who is asked by a tool can take as long, in seconds: clients have much less patience by themselves.
const ANSWER_TIMEOUT_S: u64 = 24 * 3600;

/// A client that kapell can drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Client {
    /// Anthropic's Claude Code.
    ClaudeCode,
    /// OpenAI's Codex.
    Codex,
    /// The same, by its server, which can be talked to.
    CodexApp,
    /// Google's Gemini CLI.
    Gemini,
    /// opencode, by the Agent Client Protocol and its own server.
    Opencode,
    /// The same, asked once.
    OpencodeRun,
    /// kapell's own loop of tools around a model.
    Model(ModelApi),
    /// Any agent that speaks the Agent Client Protocol.
    Acp(AcpAgent),
}

impl Client {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::ClaudeCode,
        Self::Codex,
        Self::CodexApp,
        Self::Gemini,
        Self::Opencode,
        Self::OpencodeRun,
        Self::Model(ModelApi::Anthropic),
        Self::Model(ModelApi::OpenAi),
        Self::Model(ModelApi::Gemini),
        Self::Acp(AcpAgent::ClaudeCode),
        Self::Acp(AcpAgent::Codex),
        Self::Acp(AcpAgent::Gemini),
        Self::Acp(AcpAgent::Opencode),
        Self::Acp(AcpAgent::Other),
    ];

    /// Returns the name of its adapter, as `use:` takes it.
    #[must_use]
    pub fn adapter(self) -> &'static str {
        match self {
            Self::ClaudeCode => "claude-code",
            Self::Codex => "codex",
            Self::CodexApp => "codex-app-server",
            Self::Gemini => "gemini",
            Self::Opencode => "opencode",
            Self::OpencodeRun => "opencode-run",
            Self::Model(api) => api.adapter(),
            Self::Acp(agent) => agent.adapter(),
        }
    }

    /// Returns the client of an adapter.
    #[must_use]
    pub fn of(adapter: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|client| client.adapter() == adapter)
    }

    /// Returns the name of its program, which is looked up in `PATH`; empty if it is kapell's own, or only its user
    /// knows.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::ClaudeCode => "claude",
            Self::CodexApp => "codex",
            Self::OpencodeRun => "opencode",
            Self::Model(_) => "",
            Self::Acp(agent) => agent.program(),
            other => other.adapter(),
        }
    }

    /// Returns the client that it stands for, where another way to the same one is taken.
    #[must_use]
    pub fn inner(self) -> Option<Self> {
        match self {
            Self::Acp(agent) => agent.inner(),
            Self::CodexApp => Some(Self::Codex),
            Self::OpencodeRun => Some(Self::Opencode),
            other => Some(other),
        }
    }

    /// Returns the variable in which it looks for its key, and in which kapell does; empty if only its user knows.
    #[must_use]
    pub fn key_variable(self) -> &'static str {
        match self {
            Self::ClaudeCode => "ANTHROPIC_API_KEY",
            Self::Codex | Self::CodexApp | Self::Opencode | Self::OpencodeRun => "OPENAI_API_KEY",
            Self::Gemini => "GEMINI_API_KEY",
            Self::Model(api) => api.key_variable(),
            Self::Acp(agent) => agent.inner().map_or("", Self::key_variable),
        }
    }

    /// Returns the variable that names another server of its model, if it has one.
    #[must_use]
    pub fn base_url_variable(self) -> Option<&'static str> {
        match self {
            Self::ClaudeCode => Some("ANTHROPIC_BASE_URL"),
            Self::Codex | Self::CodexApp | Self::Opencode | Self::OpencodeRun => None,
            Self::Gemini => Some("GOOGLE_GEMINI_BASE_URL"),
            Self::Model(api) => Some(api.base_url_variable()),
            Self::Acp(agent) => agent.inner().and_then(Self::base_url_variable),
        }
    }

    /// Returns the files, below a home, that hold its credentials after a login. Nothing else of the user's home is
    /// shown to it.
    #[must_use]
    pub fn credentials(self) -> &'static [&'static str] {
        match self {
            Self::ClaudeCode => &[".claude/.credentials.json"],
            Self::Codex | Self::CodexApp => &[".codex/auth.json"],
            Self::Gemini => &[".gemini/oauth_creds.json", ".gemini/google_accounts.json"],
            Self::Opencode | Self::OpencodeRun => &[".local/share/opencode/auth.json"],
            Self::Model(_) => &[],
            Self::Acp(agent) => agent.inner().map_or(&[], Self::credentials),
        }
    }

    /// Returns where it looks, below its directory, for programs of the repository that it executes whatever it is told.
    ///
    /// opencode knows two switches for that (`OPENCODE_DISABLE_PROJECT_CONFIG`, `OPENCODE_PURE`), and version 1.18.33
    /// loads plugins in spite of both.
    #[must_use]
    pub fn executes(self) -> &'static [&'static str] {
        match self.inner() {
            Some(Self::Opencode) => &[".opencode", "opencode.json", "opencode.jsonc"],
            _ => &[],
        }
    }

    /// Tells whether it hears what it is told while it works.
    #[must_use]
    pub fn is_talked_to(self) -> bool {
        matches!(self, Self::ClaudeCode | Self::CodexApp) || self.behind_acp().is_some()
    }

    /// Returns the agent behind the Agent Client Protocol that it is, if it is one.
    #[must_use]
    pub fn behind_acp(self) -> Option<AcpAgent> {
        match self {
            Self::Acp(agent) => Some(agent),
            Self::Opencode => Some(AcpAgent::Opencode),
            _ => None,
        }
    }

    /// Tells whether it hears a word from kapell while it works, in whichever way.
    #[must_use]
    pub(crate) fn hears_words(self) -> bool {
        self.takes_turns() || self.behind_acp().is_some()
    }

    /// Tells whether its sessions belong to the directory in which they were begun. opencode works on in that directory,
    /// wherever it is started; Claude Code and Gemini CLI find them by it; of an agent behind the Agent Client Protocol
    /// nothing else is known.
    #[must_use]
    pub(crate) fn sessions_stay(self) -> bool {
        !matches!(self, Self::Codex | Self::CodexApp | Self::Model(_))
    }

    /// Tells whether it can be given another turn by whoever reads along.
    #[must_use]
    pub(crate) fn takes_turns(self) -> bool {
        matches!(self, Self::ClaudeCode | Self::CodexApp)
    }

    /// Returns a reader of what it prints.
    #[must_use]
    pub fn reader(self) -> Box<dyn Reader> {
        match self {
            Self::ClaudeCode => Box::new(claude_code::ClaudeCode::default()),
            Self::Codex => Box::new(codex::Codex::default()),
            Self::CodexApp => Box::new(codex_app::CodexApp::default()),
            Self::Gemini => Box::new(gemini::Gemini::default()),
            Self::OpencodeRun => Box::new(opencode::Opencode::default()),
            Self::Model(_) | Self::Acp(_) | Self::Opencode => Box::new(Own::default()),
        }
    }

    fn invoke(self, order: &Order) -> Invocation {
        match self {
            Self::ClaudeCode => claude_code::invoke(order),
            Self::Codex => codex::invoke(order),
            Self::CodexApp => codex_app::invoke(order),
            Self::Gemini => gemini::invoke(order),
            Self::Opencode => acp::invoke(order, AcpAgent::Opencode),
            Self::OpencodeRun => opencode::invoke(order),
            Self::Model(api) => model::invoke(order, api),
            Self::Acp(agent) => acp::invoke(order, agent),
        }
    }
}

/// Settings of a client, from the user's own files and environment. A repository has no say in them: who names the
/// program, the server or the key decides who gets the key.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The program, if it is not to be looked up.
    pub program: Option<PathBuf>,
    /// The server of the model, if it is not the client's usual one.
    pub base_url: Option<String>,
    /// The key. Without one the client works with its own login.
    pub key: Option<String>,
    /// What gives the key when it is needed, if `key` is `None`.
    pub key_giver: Option<KeyGiver>,
    /// The model, unless the workflow names one.
    pub model: Option<String>,
    /// Variables besides.
    pub env: Vec<(OsString, OsString)>,
    /// Arguments besides, for agents behind the Agent Client Protocol.
    pub args: Vec<String>,
    /// How long it may be silent.
    pub idle: Option<Duration>,
    /// How many requests to its model may begin in a minute, through the proxy; `None` means no limit of ours.
    pub requests_per_minute: Option<u32>,
}

impl Settings {
    /// Tells whether there is a key, or something that gives it.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.key.is_some() || self.key_giver.is_some()
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is for the client alone.
        f.debug_struct("Settings")
            .field("program", &self.program)
            .field("base_url", &self.base_url)
            .field("has_key", &self.has_key())
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

/// The settings of all clients.
pub type AllSettings = BTreeMap<Client, Settings>;

/// How long a client may be silent, unless its settings say otherwise.
pub const IDLE_MAX: Duration = Duration::from_secs(15 * 60);
/// How many steps (replies of the model) a client may take, unless the workflow says otherwise (`max_turns`).
pub const STEPS_MAX: u32 = 300;

/// What models cost, by their names.
#[derive(Clone)]
pub struct Prices(Arc<PriceOf>);

/// Says what a model costs.
type PriceOf = dyn Fn(&str) -> Option<Price> + Send + Sync;

impl Prices {
    /// Takes a table.
    #[must_use]
    pub fn new(price: impl Fn(&str) -> Option<Price> + Send + Sync + 'static) -> Self {
        Self(Arc::new(price))
    }
}

impl Default for Prices {
    /// No price is known.
    fn default() -> Self {
        Self::new(|_| None)
    }
}

impl std::fmt::Debug for Prices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Prices")
    }
}

/// What is known about an attempt of a client besides how it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The client's own name of the session.
    pub session: Option<String>,
    /// The model that it asked.
    pub model: Option<String>,
    /// What it said last; text of others, not to be shown unescaped.
    pub text: String,
    /// What it used.
    pub tokens: Tokens,
    /// What that costs, in millionths of a US dollar: as it says itself, or else by the table of prices. None if neither
    /// knows.
    pub usd_micros: Option<u64>,
    /// Replies of the model.
    pub steps: u32,
    /// Calls of tools that were performed.
    pub tools: u32,
    /// Calls of tools that were refused, by the tool's name.
    pub refused: Vec<String>,
    /// The output that its task has a schema for, as JSON.
    pub structured: Option<String>,
    /// Whether it was offered a way to give such an output, and gave none.
    pub lacks_structure: bool,
    /// Whether its client asked it once more for that output by itself.
    pub asked_again: bool,
    /// What its session had used when it ended, where that counts on from an earlier attempt.
    pub totals: Totals,
}

/// What an attempt of a client came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The class of the failure, if it is one.
    pub result: Result<(), FailureClass>,
    /// Why, or what the client said last; not to be shown unescaped.
    pub message: String,
    /// When the provider says that it may be asked again.
    pub until: Option<Wall>,
}

impl Verdict {
    fn failed(class: FailureClass, message: impl Into<String>) -> Self {
        Self { result: Err(class), message: message.into(), until: None }
    }

    fn succeeded(message: impl Into<String>) -> Self {
        Self { result: Ok(()), message: message.into(), until: None }
    }
}

/// How the process of a client ended by itself.
#[derive(Debug, Clone, Copy)]
pub struct Ended<'a> {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// The last of what it printed as errors.
    pub errors: &'a str,
    /// When it ended.
    pub at: Wall,
}

/// Reads what a client prints. No IO, no clock.
pub trait Reader: Send {
    /// Takes an event of its standard output.
    fn event(&mut self, event: &Value, at: Wall, reports: &mut Vec<Report>);

    /// Takes a line of its standard error, for clients that say there what matters.
    fn error_line(&mut self, _line: &str, _at: Wall, _reports: &mut Vec<Report>) {}

    /// Takes what the session had used before, of which its own counts may go on.
    fn resumed(&mut self, _totals: Totals) {}

    /// Begins a conversation, with a client that is talked to while it works.
    fn open(&mut self, _opening: Opening) {}

    /// Tells it something while it works.
    fn tell(&mut self, _what: Tell<'_>, _reports: &mut Vec<Report>) {}

    /// Takes what is to be written to its standard input.
    fn outgoing(&mut self) -> Outgoing {
        Outgoing::default()
    }

    /// Tells whether it waits for a person, so that its silence means nothing.
    fn waits(&self) -> bool {
        false
    }

    /// Tells whether its turn is over, and it waits to be told more or to be told that this was all.
    fn is_idle(&self) -> bool {
        false
    }

    /// Returns what is known by now.
    fn evidence(&self) -> &Evidence;

    /// Judges the end of a process that ended by itself.
    fn verdict(&self, ended: Ended<'_>) -> Verdict;
}

/// Reads how the attempt in `dir` ended, if it was one of a client.
#[must_use]
pub fn read_exit(dir: &Path, exit: Exit, prices: &Prices) -> Exit {
    let Some(listener) = Listener::reopen(dir, prices) else { return exit };
    let attempt = exit.record.as_ref().map(|record| record.attempt.clone());
    let (first, _) = listener.finish(exit);
    // It may have been asked once more.
    let again = dir.join(AGAIN_DIR);
    let second = attempt.and_then(|attempt| ExitRecord::read(&again, &attempt));
    match second.and_then(|record| Some((Listener::reopen(&again, prices)?, record))) {
        Some((listener, record)) => second_of(&first, listener.finish(Exit::from_record(record)).0),
        None => first,
    }
}

/// Puts the end of an attempt's second process in place of the first one's; what they used is used by both.
pub(crate) fn second_of(first: &Exit, mut second: Exit) -> Exit {
    if let (Some(before), Some(after)) = (&first.evidence, &mut second.evidence) {
        after.tokens += before.tokens;
        after.usd_micros = match (before.usd_micros, after.usd_micros) {
            (Some(before), Some(after)) => Some(before.saturating_add(after)),
            (one, other) => one.or(other),
        };
        after.steps += before.steps;
        after.tools += before.tools;
        after.refused.splice(0..0, before.refused.iter().cloned());
    }
    second
}
