//! Settings of MCP servers whose tools tasks call: `[mcp.NAME]`, in the user's own settings only.
//!
//! ```toml
//! [mcp.files]
//! command = "mcp-server-files"
//! args = ["--root", "."]
//! pass = ["FILES_TOKEN"]                  # variables of kapell's own environment
//! env = { LOG = "warn" }
//! timeout = "2m"
//!
//! [mcp.tickets]
//! url = "https://example.org/mcp"
//! bearer_env = "TICKETS_TOKEN"            # the variable with the token
//! headers = { X-Team = "core" }
//! ```

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

use kapell_agents::drivers::mcp::{Reach, Server, Servers as Known};
use kapell_spec::finding::Finding;
use toml::{Spanned, de::DeValue};

use super::{
    Whose,
    clients::{duration, table, texts, unknown},
    span, text, wrong,
};

pub(super) const KEYS: [&str; 8] =
    ["command", "args", "env", "pass", "url", "headers", "bearer_env", "timeout"];

/// Servers by their names; those of the nearer file count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Servers(BTreeMap<String, One>);

/// Settings of one server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct One {
    command: Option<String>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    pass: Vec<String>,
    url: Option<String>,
    headers: BTreeMap<String, String>,
    bearer_env: Option<String>,
    timeout: Option<Duration>,
}

impl Servers {
    pub(super) fn or(mut self, other: Self) -> Self {
        for (name, far) in other.0 {
            if let Entry::Vacant(free) = self.0.entry(name) {
                free.insert(far);
            }
        }
        self
    }

    /// Returns all of them, with the secrets that `variable` gives.
    pub fn known(&self, variable: impl Fn(&str) -> Option<String>) -> Known {
        let of = |one: &One| {
            let passed = one.pass.iter().filter_map(|name| Some((name.into(), variable(name)?.into())));
            let own = one.env.iter().map(|(name, value)| (name.into(), value.into()));
            let mut headers = one.headers.clone();
            if let Some(token) = one.bearer_env.as_deref().and_then(&variable) {
                headers.insert("authorization".to_owned(), format!("Bearer {token}"));
            }
            let program = one.command.iter().chain(&one.args).cloned().collect();
            let reach = one.url.clone().map_or(Reach::Program(program), Reach::Url);
            Server { reach, env: passed.chain(own).collect(), headers, timeout: one.timeout }
        };
        self.0.iter().map(|(name, one)| (name.clone(), of(one))).collect()
    }

    pub(super) fn parse(value: &Spanned<DeValue<'_>>, whose: Whose) -> Result<Self, Box<Finding>> {
        let mut servers = Self::default();
        for (name, value) in table(value, "mcp")? {
            // Whoever names the program decides what runs. A repository does not.
            if whose == Whose::Place {
                let message = "MCP servers can be set in your own settings only".to_owned();
                let finding = Finding::error("K0912", span(name.span()), message)
                    .label("this file may have come with a repository");
                return Err(Box::new(finding.hint(format!("put it into ~/.config/kapell/{}", super::FILE))));
            }
            servers.0.insert(name.get_ref().to_string(), one(value, name.get_ref())?);
        }
        Ok(servers)
    }
}

fn one(value: &Spanned<DeValue<'_>>, server: &str) -> Result<One, Box<Finding>> {
    let mut one = One::default();
    for (key, value) in table(value, server)? {
        let name: &str = key.get_ref();
        match name {
            "command" => one.command = Some(text(value, name)?.to_owned()),
            "args" => one.args = texts(value, name)?,
            "pass" => one.pass = texts(value, name)?,
            "env" => one.env = pairs(value, name)?,
            "url" => one.url = Some(text(value, name)?.to_owned()),
            "headers" => one.headers = pairs(value, name)?.into_iter().collect(),
            "bearer_env" => one.bearer_env = Some(text(value, name)?.to_owned()),
            "timeout" => one.timeout = Some(duration(value, name)?),
            _ => return Err(unknown(key, "setting of an MCP server", &KEYS)),
        }
    }
    if one.command.is_some() == one.url.is_some() {
        let finding = wrong(value, format!("`{server}` needs either a `command` or a `url`"));
        return Err(Box::new(finding.hint("command = \"...\"")));
    }
    Ok(one)
}

fn pairs(value: &Spanned<DeValue<'_>>, key: &str) -> Result<Vec<(String, String)>, Box<Finding>> {
    let pair = |(name, value): (&Spanned<_>, _)| -> Result<(String, String), Box<Finding>> {
        let name: &std::borrow::Cow<'_, str> = name.get_ref();
        Ok((name.to_string(), text(value, name)?.to_owned()))
    };
    table(value, key)?.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::parse;

    fn check(text: &str, whose: Whose) -> String {
        match parse(text, Path::new("/repo"), whose) {
            Ok(config) => {
                format!("{:?}", config.servers.known(|name| (name == "T").then(|| "secret".to_owned())))
            }
            Err(finding) => {
                format!("{} {} ({})", finding.code, finding.message, finding.hint.unwrap_or_default())
            }
        }
    }

    #[test]
    fn servers_are_read_and_what_they_get_is_not_shown() {
        let text = "[mcp.a]\ncommand = \"x\"\nargs = [\"-v\"]\npass = [\"T\"]\ntimeout = \"2m\"\n\
                    [mcp.b]\nurl = \"https://b\"\nbearer_env = \"T\"";
        let shown = check(text, Whose::User);
        assert!(
            shown.contains(r#"Program(["x", "-v"])"#) && shown.contains(r#"Url("https://b")"#),
            "{shown}"
        );
        assert!(!shown.contains("secret"), "{shown}");
        let servers = parse(text, Path::new("/"), Whose::User).unwrap().servers;
        let known = servers.known(|name| (name == "T").then(|| "secret".to_owned()));
        assert_eq!(known["a"].env, [("T".into(), "secret".into())]);
        assert_eq!(known["b"].headers["authorization"], "Bearer secret");
    }

    #[test]
    fn a_repository_names_no_server_and_faults_are_explained() {
        assert!(
            check("mcp.a.command = \"x\"", Whose::Place)
                .starts_with("K0912 MCP servers can be set in your own")
        );
        for (text, expected) in [
            ("mcp.a = {}", "K0912 `a` needs either a `command` or a `url` (command = \"...\")"),
            (
                "mcp.a = { command = \"x\", url = \"y\" }",
                "K0912 `a` needs either a `command` or a `url` (command = \"...\")",
            ),
            (
                "mcp.a.comand = \"x\"",
                "K0911 there is no setting of an MCP server `comand` (did you mean `command`?)",
            ),
            ("mcp.a.args = 1", "K0912 `args` is a list, not integer (args = [\"...\"])"),
        ] {
            assert_eq!(check(text, Whose::User), expected);
        }
    }
}
