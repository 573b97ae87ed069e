//! What an agent can be told in a workflow (`model:`, `options:`), by adapter: which options there are, and what each value
//! may be. What nobody would read is refused, lest a cap with a letter too many be none.

use super::{AcpAgent, Client, ModelApi};
use crate::{drivers::mcp, supervise::spec::parse_bytes};

/// How many steps (replies of the model) an attempt may take.
pub const MAX_TURNS: &str = "max_turns";
/// How many requests of an attempt the proxy lets through.
pub const MAX_REQUESTS: &str = "max_requests";

/// What the value of an option may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A whole number from 1.
    Number,
    /// A size, such as 512M.
    Size,
    /// One of these words.
    One(&'static [&'static str]),
    /// A text of JSON.
    Json,
}

impl Kind {
    /// Tells whether `value` is one.
    #[must_use]
    pub fn takes(self, value: &str) -> bool {
        match self {
            Self::Text => true,
            Self::Number => value.parse::<u32>().is_ok_and(|number| number > 0),
            Self::Size => parse_bytes(value).is_some(),
            Self::One(words) => words.contains(&value),
            Self::Json => serde_json::from_str::<serde_json::Value>(value).is_ok(),
        }
    }

    /// Says in words what it is.
    #[must_use]
    pub fn about(self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::Number => "a whole number from 1".to_owned(),
            Self::Size => "a size, such as 512M or 2G".to_owned(),
            Self::One(words) => words.join(", "),
            Self::Json => "JSON".to_owned(),
        }
    }
}

/// An option: its name, and what its value may be.
pub type Known = (&'static str, Kind);

const YES_NO: Kind = Kind::One(&["yes", "no"]);

/// What every agent takes, whatever it is. What kapell itself writes is among it.
const OF_ALL: &[Known] = &[
    ("sandbox", Kind::Text),
    ("network", Kind::Text),
    ("memory", Kind::Size),
    ("role", Kind::Text),
    ("role_file", Kind::Text),
    ("role_text", Kind::Text),
    ("brief_tokens", Kind::Number),
    ("cost", Kind::One(&["free", "low", "medium", "high"])),
];

/// What every agent that a model drives takes besides.
const OF_MODELS: &[Known] = &[
    ("model", Kind::Text),
    (MAX_TURNS, Kind::Number),
    (MAX_REQUESTS, Kind::Number),
    ("resume", YES_NO),
    ("kapell_tools", YES_NO),
];

const OF_CLAUDE_CODE: &[Known] = &[
    ("permissions", Kind::One(&["ask", "deny"])),
    ("permission_mode", Kind::Text),
    ("allowed_tools", Kind::Text),
    ("disallowed_tools", Kind::Text),
    ("effort", Kind::Text),
    ("system", Kind::Text),
    ("json_schema", Kind::Json),
];
const OF_CODEX: &[Known] = &[("effort", Kind::Text)];
const OF_GEMINI: &[Known] = &[("approval_mode", Kind::Text)];
const OF_OPENCODE: &[Known] = &[("permission", Kind::Json)];
const OF_APIS: &[Known] =
    &[("system", Kind::Text), ("max_output_tokens", Kind::Number), ("json_schema", Kind::Json)];
const OF_OPENAI: &[Known] = &[("api", Kind::One(&["chat", "responses"]))];
const OF_ASKED: &[Known] = &[("permissions", Kind::One(&["ask", "allow", "deny"]))];
const OF_ACP: &[Known] = &[("mode", Kind::Text)];

/// Returns the options that an agent of this adapter takes; nothing if there is no such adapter.
#[must_use]
pub fn of(adapter: &str) -> Vec<Known> {
    let own: &[&[Known]] = match (Client::of(adapter), adapter) {
        (None, "command") => &[&[("run", Kind::Text), ("model", Kind::Text)]],
        (None, "scripted") => &[&[("script", Kind::Text), ("model", Kind::Text)]],
        (None, "person") => &[],
        (None, mcp::ADAPTER) => &[&[("server", Kind::Text), ("tool", Kind::Text)]],
        (None, _) => return Vec::new(),
        (Some(Client::ClaudeCode), _) => &[OF_MODELS, OF_CLAUDE_CODE],
        (Some(Client::Codex), _) => &[OF_MODELS, OF_CODEX],
        (Some(Client::CodexApp), _) => &[OF_MODELS, OF_CODEX, OF_ASKED],
        (Some(Client::Gemini), _) => &[OF_MODELS, OF_GEMINI],
        (Some(Client::OpencodeRun), _) => &[OF_MODELS, OF_OPENCODE],
        (Some(Client::Model(ModelApi::OpenAi)), _) => &[OF_MODELS, OF_APIS, OF_OPENAI],
        (Some(Client::Model(_)), _) => &[OF_MODELS, OF_APIS],
        (Some(Client::Acp(AcpAgent::Codex)), _) => &[OF_MODELS, OF_ASKED, OF_ACP, OF_CODEX],
        (Some(Client::Opencode | Client::Acp(AcpAgent::Opencode)), _) => {
            &[OF_MODELS, OF_ASKED, OF_ACP, OF_OPENCODE]
        }
        (Some(Client::Acp(_)), _) => &[OF_MODELS, OF_ASKED, OF_ACP],
    };
    own.iter().copied().flatten().chain(OF_ALL).copied().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_adapter_has_its_options_and_each_name_once() {
        for adapter in crate::world::adapters() {
            let all = of(adapter);
            let names: BTreeSet<_> = all.iter().map(|(name, _)| *name).collect();
            assert!(names.len() == all.len() && names.contains("sandbox"), "{adapter}: {names:?}");
        }
        assert!(of("clod").is_empty());
    }

    #[test]
    fn values_are_what_they_should_be() {
        for (kind, well, ill) in [
            (Kind::Number, "3", "many"),
            (Kind::Number, "1", "0"),
            (Kind::Size, "512M", "much"),
            (Kind::One(&["ask", "deny"]), "deny", "denied"),
            (Kind::Json, "{}", "{"),
        ] {
            assert!(kind.takes(well) && !kind.takes(ill), "{kind:?}");
        }
    }
}
