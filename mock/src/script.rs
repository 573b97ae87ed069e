//! What the server plays: scenarios, their turns, and the failures between them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A prompt that holds this word, followed by the name of a scenario, is answered from that scenario.
pub const MARKER: &str = "mock:";

/// What is answered to prompts with one marker.
///
/// The turn is chosen by counting the results of tools that come after the marker in the request, so the server keeps
/// no conversation: a client may resume, fork or try again as it likes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// The turns; the last one is repeated for ever.
    pub turns: Vec<Turn>,
    /// What goes wrong meanwhile.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// What each request costs; derived from its length if not given.
    #[serde(default)]
    pub usage: Option<Usage>,
}

impl Scenario {
    /// Makes a scenario in which nothing goes wrong.
    #[must_use]
    pub fn of(turns: impl IntoIterator<Item = Turn>) -> Self {
        Self { turns: turns.into_iter().collect(), ..Self::default() }
    }

    /// Lets the requests `from..from + times` fail, counted from 0 among all requests with this marker.
    #[must_use]
    pub fn failing(mut self, from: u64, times: u64, how: How) -> Self {
        self.faults.push(Fault { from, times, how });
        self
    }

    /// Sets what each request costs.
    #[must_use]
    pub fn costing(mut self, usage: Usage) -> Self {
        self.usage = Some(usage);
        self
    }
}

/// One reply of the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// It says something, and is done.
    Say(String),
    /// It does not want to, and says so.
    Refuse(String),
    /// It says something, and is cut off at the limit of its length.
    Overrun(String),
    /// It calls tools, all at once.
    Call(Vec<Call>),
}

/// The call of a tool. The server translates it into the vocabulary of whoever asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Writes a file; a relative path is below the directory in which the client works.
    Write {
        /// Where.
        path: String,
        /// What.
        content: String,
    },
    /// Reads a file.
    Read {
        /// Where.
        path: String,
    },
    /// Runs a command.
    Shell {
        /// The command.
        command: String,
    },
    /// Calls a tool as it is, offered or not.
    Tool {
        /// Its name.
        name: String,
        /// Its arguments.
        input: serde_json::Value,
    },
    /// Calls a tool of an MCP server, by the name under which the client offers it.
    Served {
        /// The server's name.
        server: String,
        /// The tool's own name.
        tool: String,
        /// Its arguments.
        input: serde_json::Value,
    },
}

/// Requests that fail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// The first of them, from 0.
    #[serde(default)]
    pub from: u64,
    /// How many.
    #[serde(default = "for_ever")]
    pub times: u64,
    /// How.
    pub how: How,
}

fn for_ever() -> u64 {
    u64::MAX
}

impl Fault {
    pub(crate) fn hits(&self, number: u64) -> bool {
        number >= self.from && number - self.from < self.times
    }
}

/// How a request fails.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// With a status, such as 429, and an error in the manner of the API.
    Status {
        /// The status.
        code: u16,
        /// Headers besides, such as `retry-after`.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// What the error says; something fitting if empty.
        #[serde(default)]
        message: String,
    },
    /// The connection breaks in the midst of the reply.
    Cut,
    /// Nothing comes, not even a status, until the client hangs up.
    Silent,
    /// The reply begins, and then nothing comes any more.
    Stalled,
    /// The reply comes in pieces with so many milliseconds between them.
    Slow {
        /// The pause.
        pause_ms: u64,
    },
}

impl How {
    /// Fails with a status.
    #[must_use]
    pub fn status(code: u16) -> Self {
        Self::Status { code, headers: Vec::new(), message: String::new() }
    }

    /// Fails with 429 and says when to come back.
    #[must_use]
    pub fn busy_for(pause: Duration) -> Self {
        let headers = vec![("retry-after".to_owned(), pause.as_secs().to_string())];
        Self::Status { code: 429, headers, message: String::new() }
    }
}

/// What a request costs, in tokens of four kinds that do not overlap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Read afresh.
    pub input: u64,
    /// Written.
    pub output: u64,
    /// Read from a cache.
    #[serde(default)]
    pub cache_read: u64,
    /// Read afresh and put into a cache.
    #[serde(default)]
    pub cache_write: u64,
}
