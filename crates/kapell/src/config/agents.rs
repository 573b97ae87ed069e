//! Agents that settings define: `[agent.NAME]`.
//!
//! ```toml
//! [agent.rust]
//! use = "claude-code"
//! model = "opus"
//! skills = ["rust", "tests"]
//! cost = "high"                      # free, low, medium or high
//! memory = "2GiB"                    # what one attempt needs
//! role = "reviewer"                  # a role of the repository
//!
//! [agent.linter]                     # `run` in your own settings only
//! use = "command"
//! run = "my-linter --fix"
//! skills = ["lint"]
//! ```

use std::collections::{BTreeMap, BTreeSet};

use kapell_policy::route::Cost;
use kapell_spec::{finding::Finding, suggest, workflow};
use toml::{Spanned, de::DeValue};

use super::{Whose, clients::table, size, span, text, wrong};

pub(super) const KEYS: [&str; 8] = ["use", "model", "skills", "cost", "memory", "role", "provider", "run"];

/// Agents by name; those of the nearer file count.
pub type Agents = BTreeMap<String, Defined>;

/// An agent that settings define. What is `None` is as it usually is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Defined {
    /// The adapter; that of its name if there is none.
    pub adapter: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// What it can do.
    pub skills: Option<BTreeSet<String>>,
    /// How dear it is.
    pub cost: Option<Cost>,
    /// The memory that one attempt needs, in MiB.
    pub memory_mib: Option<u32>,
    /// Its role, by the name that the repository gives it.
    pub role: Option<String>,
    /// Whose quota it uses up.
    pub provider: Option<String>,
    /// For `command`: what is run.
    pub run: Option<String>,
}

pub(super) fn parse(value: &Spanned<DeValue<'_>>, whose: Whose) -> Result<Agents, Box<Finding>> {
    let mut agents = Agents::new();
    for (name, value) in table(value, "agent")? {
        agents.insert(name.get_ref().to_string(), one(value, name.get_ref(), whose)?);
    }
    Ok(agents)
}

fn one(value: &Spanned<DeValue<'_>>, agent: &str, whose: Whose) -> Result<Defined, Box<Finding>> {
    let mut one = Defined::default();
    for (key, value) in table(value, agent)? {
        let name: &str = key.get_ref();
        match name {
            "use" => one.adapter = Some(text(value, name)?.to_owned()),
            "model" => one.model = Some(text(value, name)?.to_owned()),
            "role" => one.role = Some(text(value, name)?.to_owned()),
            "provider" => one.provider = Some(text(value, name)?.to_owned()),
            "skills" => one.skills = Some(skills(value)?),
            "cost" => one.cost = Some(cost(value)?),
            "memory" => one.memory_mib = Some(size(value, "memory", "memory")?),
            // It would be started because of what a task says, and not because a person named it.
            "run" if whose == Whose::Place => {
                let message = "`run` can be set in your own settings only";
                let finding = Finding::error("K0912", span(key.span()), message)
                    .label("this file may have come with a repository");
                return Err(Box::new(finding.hint(format!("put it into ~/.config/kapell/{}", super::FILE))));
            }
            "run" => one.run = Some(text(value, name)?.to_owned()),
            _ => {
                let finding = Finding::error(
                    "K0911",
                    span(key.span()),
                    format!("there is no setting of an agent `{name}`"),
                );
                return Err(Box::new(match suggest::nearest(name, KEYS) {
                    Some(near) => finding.hint(format!("did you mean `{near}`?")),
                    None => finding.hint(format!("known are {}", KEYS.join(", "))),
                }));
            }
        }
    }
    Ok(one)
}

fn skills(value: &Spanned<DeValue<'_>>) -> Result<BTreeSet<String>, Box<Finding>> {
    let list = || {
        let finding = wrong(value, format!("`skills` is a list, not {}", value.get_ref().type_str()));
        Box::new(finding.hint("skills = [\"rust\", \"tests\"]"))
    };
    let items = value.get_ref().as_array().ok_or_else(list)?.iter();
    let read = |item: &Spanned<DeValue<'_>>| {
        let word = text(item, "skills")?;
        workflow::skill(word).ok_or_else(|| {
            let finding = wrong(item, format!("`{}` cannot name a skill", word.escape_debug()));
            Box::new(finding.hint("a skill is one word, such as `rust` or `code-review`"))
        })
    };
    items.map(read).collect()
}

fn cost(value: &Spanned<DeValue<'_>>) -> Result<Cost, Box<Finding>> {
    let word = text(value, "cost")?;
    Cost::parse(word).ok_or_else(|| {
        let known = Cost::ALL.map(Cost::name).join(", ");
        let finding = wrong(value, format!("`{}` is no class of cost", word.escape_debug()));
        Box::new(finding.hint(format!("known are {known}")))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;

    fn check(text: &str, whose: Whose) -> String {
        match config::parse(text, Path::new("/repo"), whose) {
            Ok(config) => format!("{:?}", config.defined),
            Err(finding) => {
                format!("{} {} ({})", finding.code, finding.message, finding.hint.unwrap_or_default())
            }
        }
    }

    #[test]
    fn an_agent_is_read() {
        let text = "[agent.rust]\nuse = \"claude-code\"\nskills = [\"Rust\", \"tests\"]\ncost = \"low\"\nmemory = \"2GiB\"";
        let config = config::parse(text, Path::new("/repo"), Whose::Place).unwrap();
        let rust = &config.defined["rust"];
        assert_eq!(rust.adapter.as_deref(), Some("claude-code"));
        assert_eq!(rust.skills, Some(["rust".to_owned(), "tests".to_owned()].into()));
        assert_eq!((rust.cost, rust.memory_mib), (Some(Cost::Low), Some(2048)));
    }

    #[test]
    fn faults_are_explained() {
        for (text, expected) in [
            ("agent.a.skill = []", "K0911 there is no setting of an agent `skill` (did you mean `skills`?)"),
            (
                "agent.a.skills = [\"two words\"]",
                "K0912 `two words` cannot name a skill (a skill is one word, such as `rust` or `code-review`)",
            ),
            (
                "agent.a.cost = \"cheap\"",
                "K0912 `cheap` is no class of cost (known are free, low, medium, high)",
            ),
            ("agent.a.memory = \"2\"", "K0912 `2` is no size of memory (memory = \"2GiB\")"),
            ("agent = 3", "K0912 `agent` is a table, not integer ([clients.claude-code])"),
        ] {
            assert_eq!(check(text, Whose::User), expected);
        }
        let said = check("agent.a = { use = \"command\", run = \"x\" }", Whose::Place);
        assert!(said.starts_with("K0912 `run` can be set in your own settings only"), "{said}");
        assert!(check("agent.a.run = \"x\"", Whose::User).contains("run: Some(\"x\")"));
    }
}
