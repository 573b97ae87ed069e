//! Hooks that deploy when they are asked.

use kapell_spec::github::{Job, Step};

use crate::github::{Flow, script::Command};

/// Addresses of platforms that deploy when they are asked.
const HOOKS: &[&str] = &[
    "api.render.com/deploy",
    "api.vercel.com/v1/integrations/deploy",
    "api.netlify.com/build_hooks",
    "pages/webhooks/deploy_hooks",
];

/// Tells whether a command sends something to the hook of a platform.
pub(super) fn asks(flow: &Flow, job: &Job, step: &Step, command: &Command) -> bool {
    let sends = |word: &String| {
        matches!(word.as_str(), "POST" | "-XPOST" | "--request=POST" | "-d" | "--data" | "--json")
    };
    command.words.iter().any(sends) && command.words.iter().any(|word| deploys(flow, job, step, word))
}

/// Tells whether a word is the address of a hook that deploys: one of a platform, or a secret that is called so.
fn deploys(flow: &Flow, job: &Job, step: &Step, word: &str) -> bool {
    let is_hook = |text: &str| {
        text.split("secrets.").skip(1).any(|rest| {
            let name =
                rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
            let name = name.to_ascii_uppercase();
            name.contains("DEPLOY") && ["HOOK", "URL"].iter().any(|end| name.contains(end))
        })
    };
    if HOOKS.iter().any(|hook| word.contains(hook)) || is_hook(word) {
        return true;
    }
    let Some(name) = word.strip_prefix('$').map(|name| name.trim_matches(['{', '}'])) else { return false };
    let mut given = step.env.iter().chain(&job.env).chain(&flow.model.env);
    given.any(|(own, value)| *own.text == *name && is_hook(&value.text))
}
