//! Which clients there are, and where they come from.

use std::path::PathBuf;

use crate::npm::{Absent, Prefix};

/// A client and where it comes from.
pub(crate) struct Client {
    pub(super) adapter: &'static str,
    package: &'static str,
    pub(crate) version: &'static str,
    program: &'static str,
    /// What its base URL has behind the server's.
    pub(super) path: &'static str,
}

pub(super) const CLIENTS: &[Client] = &[
    Client {
        adapter: "claude-code",
        package: "@anthropic-ai/claude-code",
        version: "2.1.329",
        program: "claude",
        path: "",
    },
    Client { adapter: "codex", package: "@openai/codex", version: "0.169.0", program: "codex", path: "/v1" },
    Client {
        adapter: "gemini",
        package: "@google/gemini-cli",
        version: "0.61.0",
        program: "gemini",
        path: "",
    },
    Client {
        adapter: "opencode",
        package: "opencode-ai",
        version: "1.18.33",
        program: "opencode",
        path: "/v1",
    },
];

/// Variables that keep clients from speaking to anybody but their model.
pub(crate) const QUIET: &[&str] = &[
    "DISABLE_AUTOUPDATER",
    "DISABLE_TELEMETRY",
    "DISABLE_ERROR_REPORTING",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
    "OPENCODE_DISABLE_AUTOUPDATE",
    "OPENCODE_DISABLE_MODELS_FETCH",
    "OPENCODE_DISABLE_LSP_DOWNLOAD",
];

/// A client that is there, by its program.
#[derive(Clone)]
pub(crate) struct Installed {
    pub(super) client: &'static Client,
    pub(crate) program: PathBuf,
}

impl Client {
    /// Installs it if it is not there yet. Each has a directory of its own, so that one that cannot be had does not
    /// spoil the others.
    pub(crate) fn install(&'static self) -> Result<Installed, Absent> {
        let prefix = Prefix::with(self.adapter, &[&format!("{}@{}", self.package, self.version)])?;
        Ok(Installed { client: self, program: prefix.program(self.program) })
    }
}

/// Returns Claude Code, which a chore of its own drives as its users do.
pub(crate) fn claude() -> &'static Client {
    &CLIENTS[0]
}
