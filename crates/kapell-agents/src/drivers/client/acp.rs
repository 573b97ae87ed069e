//! Agents behind the Agent Client Protocol: `kapell __acp-agent`, see [`crate::drivers::acp`].
//!
//! What is known of a client (its variables, its settings, how it is kept from what a repository brings along) is the
//! same whichever way it is spoken to; only its program and its arguments are others.

use serde_json::{Value, json};

use super::{Client, Invocation, Order, codex, opencode};
use crate::drivers::{
    acp::{ARGUMENT, Permissions, Spec},
    mcp,
};

/// Below its home: what it is told besides its prompt.
const SPEC_FILE: &str = ".kapell/acp.json";

/// An agent that speaks the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AcpAgent {
    /// Claude Code, by `claude-agent-acp`.
    ClaudeCode,
    /// Codex, by `codex-acp`.
    Codex,
    /// `gemini --acp`.
    Gemini,
    /// `opencode acp`.
    Opencode,
    /// Whichever the user's settings name.
    Other,
}

impl AcpAgent {
    pub(super) fn adapter(self) -> &'static str {
        match self {
            Self::ClaudeCode => "acp-claude-code",
            Self::Codex => "acp-codex",
            Self::Gemini => "acp-gemini",
            Self::Opencode => "acp-opencode",
            Self::Other => "acp",
        }
    }

    pub(super) fn program(self) -> &'static str {
        match self {
            Self::ClaudeCode => "claude-agent-acp",
            Self::Codex => "codex-acp",
            Self::Gemini => "gemini",
            Self::Opencode => "opencode",
            Self::Other => "",
        }
    }

    pub(super) fn inner(self) -> Option<Client> {
        match self {
            Self::ClaudeCode => Some(Client::ClaudeCode),
            Self::Codex => Some(Client::Codex),
            Self::Gemini => Some(Client::Gemini),
            Self::Opencode => Some(Client::Opencode),
            Self::Other => None,
        }
    }

    /// Returns its arguments.
    fn args(self, order: &Order) -> Vec<String> {
        let mut args: Vec<String> = match self {
            // That of Codex takes no settings as arguments; they are in its file.
            Self::ClaudeCode | Self::Codex | Self::Other => Vec::new(),
            Self::Gemini if order.is_trusted => ["--acp"].map(str::to_owned).into(),
            Self::Gemini => ["--acp", "--skip-trust"].map(str::to_owned).into(),
            Self::Opencode => ["acp"].map(str::to_owned).into(),
        };
        if let (Self::Gemini, Some(model)) = (self, order.model()) {
            args.extend(["--model".to_owned(), model.to_owned()]);
        }
        args
    }

    /// Returns what its sessions are told besides, in words of its own.
    fn meta(self, order: &Order) -> Option<Value> {
        match self {
            // Nothing that the repository brings along is executed, unless a person has looked at it.
            Self::ClaudeCode => {
                let sources: &[&str] = if order.is_trusted { &["project"] } else { &[] };
                Some(
                    json!({ "claudeCode": { "options": { "settingSources": sources, "strictMcpConfig": true } } }),
                )
            }
            _ => None,
        }
    }

    /// Returns the servers of the repository that its sessions get; the others have them in their settings.
    fn servers(self, order: &Order) -> Vec<Value> {
        let pairs = |pairs: &mut dyn Iterator<Item = (String, String)>| {
            pairs.map(|(name, value)| json!({ "name": name, "value": value })).collect::<Vec<_>>()
        };
        let server = |(name, server): (String, mcp::Server)| match &server.reach {
            mcp::Reach::Program(argv) => {
                let env = pairs(&mut server.variables().into_iter());
                json!({ "name": name, "command": argv.first(), "args": argv.get(1..), "env": env })
            }
            mcp::Reach::Url(url) => {
                let headers = pairs(&mut server.headers.clone().into_iter());
                json!({ "type": "http", "name": name, "url": url, "headers": headers })
            }
        };
        match self {
            Self::ClaudeCode | Self::Other => order.servers(str::to_owned).into_iter().map(server).collect(),
            Self::Codex | Self::Gemini | Self::Opencode => Vec::new(),
        }
    }

    /// Returns the mode of its sessions: one in which it asks for what it wants to do, or one in which it does it.
    fn mode(self, allows: bool) -> Option<&'static str> {
        match (self, allows) {
            // Its usual one has another model judge what it does, at the user's cost.
            (Self::Codex, true) => Some("agent-full-access"),
            (Self::Codex, false) => Some("read-only"),
            _ => None,
        }
    }
}

/// Returns what it may do without being asked, if the workflow says so.
pub(super) fn permissions(order: &Order) -> Option<Permissions> {
    match order.option("permissions") {
        Some("ask") => Some(Permissions::Ask),
        Some("allow") => Some(Permissions::Allow),
        Some("deny") => Some(Permissions::Deny),
        Some(_) => None,
        // Where nothing keeps it from the rest of the machine, somebody is asked.
        None if order.contained => Some(Permissions::Allow),
        None => Some(Permissions::Ask),
    }
}

pub(super) fn check(order: &Order, agent: AcpAgent) -> Result<(), String> {
    if agent == AcpAgent::Other && order.settings.program.is_none() {
        return Err("adapter `acp` needs to know its agent: `program` under [clients.acp] in your settings"
            .to_owned());
    }
    match permissions(order) {
        Some(_) => Ok(()),
        None => Err("its `permissions` are none of `ask`, `allow`, `deny`".to_owned()),
    }
}

pub(super) fn invoke(order: &Order, agent: AcpAgent) -> Invocation {
    let mut invocation = Invocation::default();
    // Its variables and files, not its arguments.
    if let Some(inner) = agent.inner() {
        // Whose own way this is has another one, too.
        let client = if inner == Client::Opencode { Client::OpencodeRun } else { inner };
        let mut its = Order { client, ..order.clone() };
        // It gets kapell's own server with its session.
        its.options.insert("kapell_tools".to_owned(), "no".to_owned());
        let known = client.invoke(&its);
        (invocation.env, invocation.files) = (known.env, known.files);
        if inner == Client::Codex {
            // Whether it may is asked here, and not decided by a setting.
            let mut settings = codex::settings(order);
            if order.contained {
                // Its usual sandbox does not work within another one.
                settings.push("features.use_legacy_landlock=true".to_owned());
            }
            invocation.files = vec![(codex::SETTINGS_FILE, settings.join("\n"))];
        }
    }
    if let (AcpAgent::ClaudeCode, Some(model)) = (agent, order.model()) {
        invocation.env("ANTHROPIC_MODEL", model);
    }
    let permissions = permissions(order).unwrap_or_default();
    let allows = permissions == Permissions::Allow;
    if agent == AcpAgent::Opencode && order.option("permission").is_none() {
        // It asks for nothing by itself. Whoever allows all has it pass by the seat belt, which sees more than patterns do.
        invocation.env(opencode::PERMISSION, opencode::ASK);
    }
    let program = order.program().to_string_lossy().into_owned();
    let argv = std::iter::once(program).chain(agent.args(order)).chain(order.settings.args.iter().cloned());
    let spec = Spec {
        argv: argv.collect(),
        mode: order.option("mode").or(agent.mode(allows)).map(str::to_owned),
        // That of opencode is in its settings, under the name of the server.
        model: order
            .model()
            .filter(|_| agent != AcpAgent::Opencode || order.base_url().is_none())
            .map(str::to_owned),
        meta: agent.meta(order),
        servers: agent.servers(order),
        permissions,
        tools: order.option("kapell_tools") != Some("no"),
        resume: order.resume.as_ref().map(|resume| resume.session.clone()),
        steps_max: order.steps_max(),
        aside: agent == AcpAgent::Opencode,
    };
    invocation.arg(ARGUMENT).arg(order.home.join(SPEC_FILE));
    invocation.files.push((SPEC_FILE, serde_json::to_string(&spec).unwrap_or_default()));
    invocation
}
