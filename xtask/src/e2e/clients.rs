//! Which clients there are, and where they come from.

use std::path::PathBuf;

use crate::npm::{Absent, Prefix};

/// A client and where it comes from.
pub(crate) struct Client {
    pub(super) adapter: &'static str,
    /// The directory that it is installed into, below that of all packages.
    place: &'static str,
    package: &'static str,
    pub(crate) version: &'static str,
    program: &'static str,
    /// Whether it wants a newer Node than the others.
    wants_node: bool,
    /// What its base URL has behind the server's.
    pub(super) path: &'static str,
}

const CLAUDE: Client = Client {
    adapter: "claude-code",
    place: "claude-code",
    package: "@anthropic-ai/claude-code",
    version: "2.1.329",
    program: "claude",
    wants_node: false,
    path: "",
};

const CODEX: Client = Client {
    adapter: "codex",
    place: "codex",
    package: "@openai/codex",
    version: "0.169.0",
    program: "codex",
    path: "/v1",
    ..CLAUDE
};

const GEMINI: Client = Client {
    adapter: "gemini",
    place: "gemini",
    package: "@google/gemini-cli",
    version: "0.61.0",
    program: "gemini",
    ..CLAUDE
};

const OPENCODE: Client = Client {
    adapter: "opencode",
    place: "opencode",
    package: "opencode-ai",
    version: "1.18.33",
    program: "opencode",
    path: "/v1",
    ..CLAUDE
};

/// The clients, each by its own way of being talked to.
pub(super) const CLIENTS: &[Client] = &[CLAUDE, CODEX, GEMINI, OPENCODE];

/// The same clients behind the Agent Client Protocol. For two of them that is another program.
pub(super) const BEHIND_ACP: &[Client] = &[
    Client {
        adapter: "acp-claude-code",
        place: "acp-claude-code",
        package: "@agentclientprotocol/claude-agent-acp",
        version: "0.100.0",
        program: "claude-agent-acp",
        wants_node: true,
        ..CLAUDE
    },
    Client {
        adapter: "acp-codex",
        place: "acp-codex",
        package: "@agentclientprotocol/codex-acp",
        version: "2.6.0",
        program: "codex-acp",
        wants_node: true,
        ..CODEX
    },
    Client { adapter: "acp-gemini", ..GEMINI },
    Client { adapter: "acp-opencode", ..OPENCODE },
];

/// The clients, and two of them once more: Codex by its server, which can be talked to, and opencode asked once.
pub(super) const EVERY_WAY: &[Client] = &[
    CLAUDE,
    CODEX,
    Client { adapter: "codex-app-server", ..CODEX },
    GEMINI,
    OPENCODE,
    Client { adapter: "opencode-run", ..OPENCODE },
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
        let package = format!("{}@{}", self.package, self.version);
        let program = match self.wants_node {
            true => {
                let prefix = Prefix::with_node(self.place, &[&package])?;
                prefix.program_on_node(self.program).map_err(|error| Absent(error.into()))?
            }
            false => Prefix::with(self.place, &[&package])?.program(self.program),
        };
        Ok(Installed { client: self, program })
    }
}

/// Returns Claude Code, which a chore of its own drives as its users do.
pub(crate) fn claude() -> &'static Client {
    &CLIENTS[0]
}
