//! Settings of coding agents: `[clients.claude-code]` and the like.
//!
//! ```toml
//! [clients.claude-code]
//! model = "sonnet"
//! program = "/opt/claude/bin/claude"      # this and all below: in your own settings only
//! base_url = "http://127.0.0.1:8787"
//! key_env = "MY_ANTHROPIC_KEY"            # by default the client's usual variable
//! key_keyring = "anthropic"               # or from the system's keyring, in place of key_env
//! key_command = ["pass", "show", "anthropic"]   # or from a program, in place of both
//! idle = "10m"
//! requests_per_minute = 60                # the model proxy holds back more
//! args = ["--verbose"]                    # for agents behind the Agent Client Protocol
//! env = { HTTPS_PROXY = "http://proxy:3128" }
//! ```

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf, time::Duration};

use kapell_agents::drivers::client::{AllSettings, Client, KeyGiver, Service, Settings};
use kapell_spec::{finding::Finding, suggest};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Whose, span, text, wrong};
use crate::registry::on_path;

pub(super) const KEYS: [&str; 10] = [
    "model",
    "program",
    "args",
    "base_url",
    "key_env",
    "key_keyring",
    "key_command",
    "idle",
    "requests_per_minute",
    "env",
];

/// Settings of clients; those of the nearer file count, each by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clients(BTreeMap<Client, One>);

/// Settings of one client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct One {
    model: Option<String>,
    program: Option<PathBuf>,
    base_url: Option<String>,
    key: Option<KeySource>,
    idle: Option<Duration>,
    requests_per_minute: Option<u32>,
    env: Vec<(OsString, OsString)>,
    args: Option<Vec<String>>,
}

/// Where a key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum KeySource {
    /// A variable.
    Variable(String),
    /// A keyring, or a program.
    Giver(KeyGiver),
}

impl Clients {
    pub(super) fn or(mut self, other: Self) -> Self {
        for (client, far) in other.0 {
            let near = self.0.entry(client).or_default();
            near.model = near.model.take().or(far.model);
            near.program = near.program.take().or(far.program);
            near.base_url = near.base_url.take().or(far.base_url);
            near.key = near.key.take().or(far.key);
            near.idle = near.idle.or(far.idle);
            near.requests_per_minute = near.requests_per_minute.or(far.requests_per_minute);
            near.args = near.args.take().or(far.args);
            // What comes later wins.
            near.env = far.env.into_iter().chain(std::mem::take(&mut near.env)).collect();
        }
        self
    }

    /// Returns the settings of all clients, with the keys that `variable` gives.
    pub fn settings(&self, variable: impl Fn(&str) -> Option<String>) -> AllSettings {
        let of = |client: Client| {
            let one = self.0.get(&client).cloned().unwrap_or_default();
            let (name, key_giver) = match one.key {
                // There is no way to give it one.
                _ if client.inner().is_none() => (None, None),
                Some(KeySource::Variable(name)) => (Some(name), None),
                Some(KeySource::Giver(giver)) => (None, Some(giver)),
                None => (Some(client.key_variable().to_owned()), None),
            };
            let base_url = one.base_url.or_else(|| client.base_url_variable().and_then(&variable));
            Settings {
                program: one.program.map(|name| name.to_str().and_then(on_path).unwrap_or(name)),
                base_url,
                key: name.and_then(|name| variable(&name)).filter(|key| !key.is_empty()),
                key_giver,
                model: one.model,
                env: one.env,
                args: one.args.unwrap_or_default(),
                idle: one.idle,
                requests_per_minute: one.requests_per_minute,
            }
        };
        Client::ALL.into_iter().map(|client| (client, of(client))).collect()
    }

    pub(super) fn parse(value: &Spanned<DeValue<'_>>, whose: Whose) -> Result<Self, Box<Finding>> {
        let mut clients = Self::default();
        for (name, value) in table(value, "clients")? {
            let known = Client::ALL.map(Client::adapter);
            let Some(client) = Client::of(name.get_ref()) else {
                return Err(unknown(name, "coding agent", &known));
            };
            clients.0.insert(client, one(value, name.get_ref(), whose)?);
        }
        Ok(clients)
    }
}

pub(super) fn table<'a, 'b>(
    value: &'a Spanned<DeValue<'b>>,
    key: &str,
) -> Result<&'a DeTable<'b>, Box<Finding>> {
    value.get_ref().as_table().ok_or_else(|| {
        let finding = wrong(value, format!("`{key}` is a table, not {}", value.get_ref().type_str()));
        Box::new(finding.hint("[clients.claude-code]"))
    })
}

/// Reads a time, such as `10m`.
pub(super) fn duration(value: &Spanned<DeValue<'_>>, key: &str) -> Result<Duration, Box<Finding>> {
    let spoken = text(value, key)?;
    let time = crate::budget::Budget::parse(spoken).ok().and_then(|budget| budget.wall);
    let wrong = || Box::new(wrong(value, format!("`{spoken}` is no time")).hint(format!("{key} = \"10m\"")));
    time.map(|time| Duration::from_millis(time.0)).ok_or_else(wrong)
}

/// Reads a list of texts.
pub(super) fn texts(value: &Spanned<DeValue<'_>>, key: &str) -> Result<Vec<String>, Box<Finding>> {
    let list = value.get_ref().as_array().ok_or_else(|| {
        let finding = wrong(value, format!("`{key}` is a list, not {}", value.get_ref().type_str()));
        Box::new(finding.hint(format!("{key} = [\"...\"]")))
    })?;
    list.iter().map(|item| text(item, key).map(str::to_owned)).collect()
}

/// Tells whether a program is named so that it is the same one from wherever kapell is started: a relative path may
/// lead into a repository.
fn is_found(program: &str) -> bool {
    program.starts_with('/') || !(program.is_empty() || program.contains('/'))
}

/// Reads a program.
fn program(value: &Spanned<DeValue<'_>>, key: &str) -> Result<PathBuf, Box<Finding>> {
    let program = text(value, key)?;
    if is_found(program) {
        return Ok(program.into());
    }
    let finding = wrong(value, format!("`{key}` is a program: its name, or its whole path"));
    Err(Box::new(finding.hint(format!("{key} = \"/opt/agent/bin/agent\""))))
}

/// Reads a program with its arguments.
fn command(value: &Spanned<DeValue<'_>>, key: &str) -> Result<Vec<String>, Box<Finding>> {
    let words = texts(value, key)?;
    if words.first().is_some_and(|program| is_found(program)) {
        return Ok(words);
    }
    let finding = wrong(value, format!("`{key}` begins with a program: its name, or its whole path"));
    Err(Box::new(finding.hint(format!("{key} = [\"secret-tool\", \"lookup\", \"service\", \"openai\"]"))))
}

/// Reads the name under which the keyring keeps a key.
fn service(value: &Spanned<DeValue<'_>>, key: &str) -> Result<Service, Box<Finding>> {
    Service::new(text(value, key)?).ok_or_else(|| {
        let message = format!("`{key}` is the name of a service: letters and digits, then ._/@:- too");
        Box::new(wrong(value, message).hint(format!("{key} = \"anthropic\"")))
    })
}

/// Reads how often something may happen in a minute.
fn per_minute(value: &Spanned<DeValue<'_>>, key: &str) -> Result<u32, Box<Finding>> {
    let number = value.get_ref().as_integer().and_then(|number| number.as_str().parse().ok());
    number.filter(|number| *number > 0).ok_or_else(|| {
        let finding = wrong(value, format!("`{key}` is a number from 1"));
        Box::new(finding.hint(format!("{key} = 60")))
    })
}

pub(super) fn unknown(name: &Spanned<impl AsRef<str>>, what: &str, known: &[&str]) -> Box<Finding> {
    let text = name.get_ref().as_ref();
    let finding = Finding::error("K0911", span(name.span()), format!("there is no {what} `{text}`"));
    Box::new(match suggest::nearest(text, known.iter().copied()) {
        Some(near) => finding.hint(format!("did you mean `{near}`?")),
        None => finding.hint(format!("known are {}", known.join(", "))),
    })
}

fn one(value: &Spanned<DeValue<'_>>, client: &str, whose: Whose) -> Result<One, Box<Finding>> {
    let mut one = One::default();
    for (key, value) in table(value, client)? {
        let name: &str = key.get_ref();
        // Whoever names the program or the server gets the key. A repository does not.
        if whose == Whose::Place && name != "model" && KEYS.contains(&name) {
            let finding = Finding::error(
                "K0912",
                span(key.span()),
                format!("`{name}` can be set in your own settings only"),
            )
            .label("this file may have come with a repository");
            return Err(Box::new(finding.hint(format!("put it into ~/.config/kapell/{}", super::FILE))));
        }
        let takes_key = Client::of(client).is_none_or(|client| client.inner().is_some());
        match name {
            "key_env" | "key_keyring" | "key_command" if !takes_key => {
                let message = format!("nobody knows how `{client}` takes a key");
                let finding = Finding::error("K0912", span(key.span()), message);
                return Err(Box::new(
                    finding.hint("env = { NAME = \"...\" } is what it gets, or it logs in by itself"),
                ));
            }
            "model" => one.model = Some(text(value, name)?.to_owned()),
            "program" => one.program = Some(program(value, name)?),
            "base_url" => one.base_url = Some(text(value, name)?.to_owned()),
            "key_env" | "key_keyring" | "key_command" if one.key.is_some() => {
                let finding =
                    Finding::error("K0912", span(key.span()), "a key comes from one place".to_owned());
                return Err(Box::new(finding.hint("keep one of `key_env`, `key_keyring` and `key_command`")));
            }
            "key_env" => one.key = Some(KeySource::Variable(text(value, name)?.to_owned())),
            "key_keyring" => one.key = Some(KeySource::Giver(KeyGiver::Keyring(service(value, name)?))),
            "key_command" => one.key = Some(KeySource::Giver(KeyGiver::Command(command(value, name)?))),
            "args" => one.args = Some(texts(value, name)?),
            "idle" => one.idle = Some(duration(value, name)?),
            "requests_per_minute" => one.requests_per_minute = Some(per_minute(value, name)?),
            "env" => {
                for (name, value) in table(value, name)? {
                    let value = text(value, name.get_ref())?;
                    one.env.push((name.get_ref().to_string().into(), value.into()));
                }
            }
            _ => return Err(unknown(key, "setting of a coding agent", &KEYS)),
        }
    }
    Ok(one)
}

#[cfg(test)]
mod tests {
    use kapell_agents::drivers::client::AcpAgent;

    use super::*;
    use crate::config::parse;

    fn check(text: &str, whose: Whose) -> String {
        match parse(text, std::path::Path::new("/repo"), whose) {
            Ok(config) => format!("{:?}", config.clients.0),
            Err(finding) => {
                format!("{} {} ({})", finding.code, finding.message, finding.hint.unwrap_or_default())
            }
        }
    }

    #[test]
    fn a_repository_may_name_a_model_and_nothing_that_leads_to_the_key() {
        assert!(check("clients.codex.model = \"gpt\"", Whose::Place).contains("gpt"));
        for key in KEYS.into_iter().filter(|key| *key != "model") {
            let text = format!("clients.claude-code.{key} = \"x\"");
            let said = check(&text, Whose::Place);
            assert!(
                said.starts_with(&format!("K0912 `{key}` can be set in your own settings only")),
                "{said}"
            );
        }
    }

    #[test]
    fn faults_are_explained() {
        for (text, expected) in [
            (
                "clients.claude.model = \"x\"",
                "K0911 there is no coding agent `claude` (did you mean `claude-code`?)",
            ),
            (
                "clients.codex.modell = \"x\"",
                "K0911 there is no setting of a coding agent `modell` (did you mean `model`?)",
            ),
            ("clients = 1", "K0912 `clients` is a table, not integer ([clients.claude-code])"),
            (
                "clients.codex.requests_per_minute = 0",
                "K0912 `requests_per_minute` is a number from 1 (requests_per_minute = 60)",
            ),
            (
                "clients.codex.key_command = \"secret-tool lookup\"",
                "K0912 `key_command` is a list, not string (key_command = [\"...\"])",
            ),
            (
                "clients.codex.key_command = [\"./secret\"]",
                "K0912 `key_command` begins with a program: its name, or its whole path (key_command = [\"secret-tool\", \
                 \"lookup\", \"service\", \"openai\"])",
            ),
            (
                "clients.codex = { key_env = \"A\", key_command = [\"b\"] }",
                "K0912 a key comes from one place (keep one of `key_env`, `key_keyring` and `key_command`)",
            ),
            (
                "clients.codex = { key_keyring = \"a\", key_command = [\"b\"] }",
                "K0912 a key comes from one place (keep one of `key_env`, `key_keyring` and `key_command`)",
            ),
            (
                "clients.codex.key_keyring = \"-s x\"",
                "K0912 `key_keyring` is the name of a service: letters and digits, then ._/@:- too \
                 (key_keyring = \"anthropic\")",
            ),
            (
                "clients.acp.key_keyring = \"acp\"",
                "K0912 nobody knows how `acp` takes a key (env = { NAME = \"...\" } is what it gets, or it logs in by itself)",
            ),
            (
                "clients.acp.key_env = \"A\"",
                "K0912 nobody knows how `acp` takes a key (env = { NAME = \"...\" } is what it gets, or it logs in by itself)",
            ),
            (
                "clients.acp.key_command = [\"pass\", \"acp\"]",
                "K0912 nobody knows how `acp` takes a key (env = { NAME = \"...\" } is what it gets, or it logs in by itself)",
            ),
            (
                "clients.codex.program = \"bin/codex\"",
                "K0912 `program` is a program: its name, or its whole path (program = \"/opt/agent/bin/agent\")",
            ),
            ("clients.codex.idle = \"soon\"", "K0912 `soon` is no time (idle = \"10m\")"),
        ] {
            assert_eq!(check(text, Whose::User), expected);
        }
    }

    #[test]
    fn a_program_is_looked_up_by_its_name() {
        let program = |name: &str| {
            let text = format!("clients.acp.program = \"{name}\"");
            let clients = parse(&text, std::path::Path::new("/"), Whose::User).unwrap().clients;
            clients.settings(|_| None)[&Client::Acp(AcpAgent::Other)].program.clone().unwrap()
        };
        assert_eq!(program("/bin/sh"), PathBuf::from("/bin/sh"));
        assert!(program("sh").is_absolute());
        assert_eq!(program("no-such-agent"), PathBuf::from("no-such-agent"));
    }

    #[test]
    fn the_nearer_file_counts_and_the_key_comes_from_the_named_variable() {
        let of = |text: &str| parse(text, std::path::Path::new("/"), Whose::User).unwrap().clients;
        let near = of("clients.codex = { model = \"near\", env = { A = \"1\" } }");
        let far = of("clients.codex = { model = \"far\", key_env = \"MINE\", env = { A = \"2\" } }");
        let all = near.or(far).settings(|name| (name == "MINE").then(|| "secret".to_owned()));
        let codex = &all[&Client::Codex];
        assert_eq!((codex.model.as_deref(), codex.key.as_deref()), (Some("near"), Some("secret")));
        assert_eq!(codex.env, [("A".into(), "2".into()), ("A".into(), "1".into())]);
        assert!(!format!("{all:?}").contains("secret"));
        assert_eq!(all[&Client::ClaudeCode].key, None);
        // The usual variable does not count where a program is named.
        let by_command = of("clients.codex.key_command = [\"pass\", \"codex\"]");
        let all = by_command.settings(|_| Some("secret".to_owned()));
        assert_eq!(all[&Client::Codex].key, None);
        let giver = all[&Client::Codex].key_giver.as_ref().unwrap();
        assert_eq!((giver.setting(), giver.argv()), ("key_command", vec!["pass".into(), "codex".into()]));
        assert!(all[&Client::Codex].has_key());
        // Nobody knows how this one would take it.
        assert!(!all[&Client::Acp(AcpAgent::Other)].has_key());
        assert!(all[&Client::Acp(AcpAgent::Codex)].has_key());
    }
}
