//! Programs that ask for a token, and scripts that end without a variable, where nothing in their job gives it.

use std::sync::LazyLock;

use kapell_spec::words::Words;
use kapell_view::audit::Confidence;

use crate::{
    github::{Flow, StepFacts, script, tools},
    repository::Repository,
    rule::Report,
};

/// A program that does nothing without a token.
struct Tool {
    /// What it is called by: its first words.
    words: &'static [&'static str],
    /// What may give it the token: variables, options, files and other ways, of which one stands in the job.
    given: &'static [&'static str],
    /// The variable to give.
    wants: &'static str,
}

const fn tool(words: &'static [&'static str], wants: &'static str, given: &'static [&'static str]) -> Tool {
    Tool { words, given, wants }
}

const GH: &[&str] = &["GITHUB_TOKEN", "GH_TOKEN", "GH_ENTERPRISE_TOKEN", "gh auth"];
const NPM: &[&str] =
    &["NODE_AUTH_TOKEN", "NPM_TOKEN", "_auth", "npmrc", "NPM_CONFIG_", "npm_config_", "npm set", "id-token"];
const PAT: &[&str] = &["_PAT", " -p ", "--pat", "azure-credential"];

/// The programs, by their own documentation as of 2026-10. What a machine is logged in to by itself is none.
const TOOLS: &[Tool] = &[
    tool(&["gh", "release"], "GH_TOKEN", GH),
    tool(&["gh", "pr"], "GH_TOKEN", GH),
    tool(&["gh", "issue"], "GH_TOKEN", GH),
    tool(&["gh", "api"], "GH_TOKEN", GH),
    tool(&["gh", "run"], "GH_TOKEN", GH),
    tool(&["gh", "workflow"], "GH_TOKEN", GH),
    tool(&["gh", "label"], "GH_TOKEN", GH),
    tool(&["gh", "variable"], "GH_TOKEN", GH),
    tool(&["npm", "publish"], "NODE_AUTH_TOKEN", NPM),
    tool(&["pnpm", "publish"], "NODE_AUTH_TOKEN", NPM),
    tool(
        &["cargo", "publish"],
        "CARGO_REGISTRY_TOKEN",
        &["CARGO_REGISTR", "--token", "cargo login", "id-token"],
    ),
    tool(
        &["twine", "upload"],
        "TWINE_PASSWORD",
        &["TWINE_", " -p ", "--password", "pypirc", "--config-file", "keyring", "id-token"],
    ),
    tool(
        &["uv", "publish"],
        "UV_PUBLISH_TOKEN",
        &["UV_PUBLISH_", "--token", " -t ", "--password", " -p ", "id-token"],
    ),
    tool(
        &["poetry", "publish"],
        "POETRY_PYPI_TOKEN_PYPI",
        &["POETRY_", "poetry config", " -p ", "--password"],
    ),
    tool(
        &["gem", "push"],
        "GEM_HOST_API_KEY",
        &["GEM_HOST_API_KEY", "credentials", "--key", "id-token", "RUBYGEMS"],
    ),
    tool(&["vsce", "publish"], "VSCE_PAT", PAT),
    tool(&["ovsx", "publish"], "OVSX_PAT", PAT),
    tool(&["semantic-release"], "GITHUB_TOKEN", &["GITHUB_TOKEN", "GH_TOKEN", "GITLAB_TOKEN", "GL_TOKEN"]),
    tool(
        &["sentry-cli", "releases"],
        "SENTRY_AUTH_TOKEN",
        &["SENTRY_AUTH_TOKEN", "--auth-token", "sentryclirc"],
    ),
    tool(
        &["sentry-cli", "sourcemaps"],
        "SENTRY_AUTH_TOKEN",
        &["SENTRY_AUTH_TOKEN", "--auth-token", "sentryclirc"],
    ),
    tool(&["wrangler", "deploy"], "CLOUDFLARE_API_TOKEN", &["CLOUDFLARE_", "CF_API_TOKEN"]),
    tool(&["wrangler", "publish"], "CLOUDFLARE_API_TOKEN", &["CLOUDFLARE_", "CF_API_TOKEN"]),
    tool(&["flyctl", "deploy"], "FLY_API_TOKEN", &["FLY_A", "--access-token", " -t ", "auth"]),
    tool(&["fly", "deploy"], "FLY_API_TOKEN", &["FLY_A", "--access-token", " -t ", "auth"]),
    tool(&["netlify", "deploy"], "NETLIFY_AUTH_TOKEN", &["NETLIFY_AUTH_TOKEN", "--auth"]),
    tool(&["vercel", "deploy"], "VERCEL_TOKEN", &["VERCEL_TOKEN", "--token", " -t "]),
    tool(&["railway", "up"], "RAILWAY_TOKEN", &["RAILWAY_"]),
    tool(&["pulumi", "up"], "PULUMI_ACCESS_TOKEN", &["PULUMI_", "pulumi login", "cloud-url"]),
    tool(&["snyk", "test"], "SNYK_TOKEN", &["SNYK_", "snyk auth"]),
    tool(&["snyk", "monitor"], "SNYK_TOKEN", &["SNYK_", "snyk auth"]),
    tool(&["eas", "build"], "EXPO_TOKEN", &["EXPO_TOKEN", "token:"]),
    tool(&["eas", "submit"], "EXPO_TOKEN", &["EXPO_TOKEN", "token:"]),
];

/// Words of what may set variables that no text shows, or is logged in by itself.
static OPAQUE: LazyLock<Words> = LazyLock::new(|| {
    Words::exact(&[
        "vault",
        "doppler",
        "infisical",
        "1password",
        "keyvault",
        "key-vault",
        "secretsmanager",
        "secrets-manager",
        "sops",
        "GITHUB_ENV",
        "self-hosted",
        "op run",
        "chamber",
        "dotenv",
        "source ",
        "login",
        "container:",
        "write-all",
    ])
});

/// Tells of programs and scripts that lack a variable.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in repository.asked_flows().filter(|flow| flow.model.complete) {
        // A workflow that gives nobody a secret may be a sketch.
        let wired = || ["secrets.", "registry-url"].iter().any(|word| flow.text.contains(word));
        let allowed = || flow.text.contains("permissions:");
        for (at, job) in flow.jobs() {
            // Few jobs run any of that: only for those the text around is looked through.
            let asks = |(_, facts): (_, &StepFacts)| {
                let asks = |command| asked(command).is_some() || own_script(repository, command).is_some();
                facts.commands.iter().any(asks)
            };
            if !hosted(flow, at) || !flow.steps(at).any(asks) {
                continue;
            }
            let text = around(flow, job.span.range());
            if OPAQUE.is_in(&text) {
                continue;
            }
            let mut told: Vec<&str> = Vec::new();
            for (step, facts) in flow.steps(at) {
                let Some(run) = &step.run else { continue };
                let lacks = |command| {
                    lacking(flow, &text, command)
                        .filter(|(words, _)| wired() || allowed() && words.starts_with("gh "))
                };
                let name = facts.commands.iter().find_map(lacks);
                if let Some((words, wants)) = name.filter(|(_, wants)| !told.contains(wants)) {
                    told.push(wants);
                    let message =
                        format!("`{words}` asks for `{wants}`, which nothing in `{}` gives it", &*job.id);
                    let hint = format!("give the step `{wants}` under `env:`");
                    report.add(flow.file, run.span, message).confidence(Confidence::Medium).hint(hint).done();
                }
                let Some((script, name)) = script_lacks(repository, &text, facts) else { continue };
                let message =
                    format!("`{script}` ends without `{name}`, which nothing in `{}` gives it", &*job.id);
                let hint = format!("give the step `{name}` under `env:`");
                report.add(flow.file, run.span, message).confidence(Confidence::Medium).hint(hint).done();
            }
        }
    }
}

/// Returns the text of a job, and that of its workflow without the other jobs.
fn around(flow: &Flow, job: std::ops::Range<usize>) -> String {
    let first = flow.model.jobs.iter().map(|job| job.span.start as usize).min().unwrap_or(0);
    let head = flow.text.get(..first).unwrap_or_default();
    let own = flow.text.get(job).unwrap_or_default();
    let lines = head.lines().chain(own.lines()).filter(|line| !line.trim_start().starts_with('#'));
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

/// Tells whether a job runs on a machine of GitHub's, which is logged in to nothing.
pub(super) fn hosted(flow: &Flow, job: usize) -> bool {
    let model = &flow.model.jobs[job];
    let known = |text: &str| ["ubuntu-", "macos-", "windows-"].iter().any(|start| text.starts_with(start));
    !model.runs_on.is_empty()
        && model.runs_on.iter().all(|label| label.literal().is_some_and(known))
        && model.steps.iter().all(|step| !matches!(&step.uses, Some((text, _)) if text.starts_with("./")))
}

/// Returns the program that a command asks to do something for which it needs a token.
fn asked(command: &script::Command) -> Option<&'static Tool> {
    let words = command.inner();
    let behind = |start: &&[&str]| {
        let fits = start.len() <= words.len() && start.iter().zip(words).all(|(own, word)| word == own);
        fits.then(|| &words[start.len()..])
    };
    let words = RUNNERS.iter().find_map(behind).unwrap_or(words);
    let skip = words.iter().take_while(|word| word.starts_with('-')).count();
    let first = words.get(skip)?.rsplit('/').next()?.split('@').next()?;
    let rest = &words[skip + 1..];
    let verb = rest.iter().map(String::as_str).find(|word| !word.starts_with('-'));
    let tool = TOOLS.iter().find(|tool| {
        tool.words[0] == first && (tool.words.len() == 1 || verb == tool.words.get(1).copied())
    })?;
    let dry = ["--dry-run", "-n", "--help", "--version", "--snapshot", "--local", "--no-push"];
    let dry = rest.iter().any(|word| dry.contains(&word.as_str()) || word.contains("localhost"));
    (!dry).then_some(tool)
}

/// Tells whether a command does nothing without the token that it takes from this variable.
pub(super) fn wants(command: &script::Command, variable: &str) -> bool {
    asked(command).is_some_and(|tool| tool.wants == variable)
}

/// Programs that run the one behind them.
const RUNNERS: &[&[&str]] = &[
    &["npx"],
    &["bunx"],
    &["pnpx"],
    &["pnpm", "exec"],
    &["pnpm", "dlx"],
    &["yarn", "dlx"],
    &["npm", "exec"],
    &["bundle", "exec"],
    &["python", "-m"],
    &["python3", "-m"],
    &["uv", "run"],
    &["poetry", "run"],
];

/// Returns how a command is written that lacks its token, and the variable that would give it.
fn lacking(flow: &Flow, text: &str, command: &script::Command) -> Option<(String, &'static str)> {
    let known = asked(command)?;
    let given = known.given.iter().any(|word| text.contains(word))
        || command.assigned.iter().any(|pair| pair.starts_with(known.wants));
    // A called workflow may have the right to ask for a token of its caller.
    let may = known.given.contains(&"id-token") && flow.model.event("workflow_call").is_some();
    (!given && !may).then(|| (known.words.join(" "), known.wants))
}

/// Ends of names of what is secret.
const SECRET: &[&str] =
    &["TOKEN", "SECRET", "PASSWORD", "PASSPHRASE", "API_KEY", "ACCESS_KEY", "_DSN", "PRIVATE_KEY"];

/// Returns a script of the repository that a step runs, and a variable without which it ends and which its job never names.
fn script_lacks(repository: &Repository, text: &str, facts: &StepFacts) -> Option<(String, String)> {
    facts.commands.iter().find_map(|command| {
        let (path, script) = own_script(repository, command)?;
        let names = if path.ends_with(".sh") { of_shell(script) } else { of_python(script) };
        let lacks = |name: &String| !text.contains(&**name) && SECRET.iter().any(|end| name.ends_with(end));
        names.into_iter().find(lacks).map(|name| (path.to_owned(), name))
    })
}

/// Returns the path and the text of the script of the repository that a command runs.
fn own_script<'a>(repository: &'a Repository, command: &'a script::Command) -> Option<(&'a str, &'a str)> {
    let path = command.inner().iter().find(|word| word.ends_with(".sh") || word.ends_with(".py"))?;
    let id =
        repository.files.find(path.trim_start_matches("./")).filter(|_| tools::is_own_script(command))?;
    Some((path, &repository.files[id].text))
}

/// Returns the variables without which a shell script ends.
fn of_shell(text: &str) -> Vec<String> {
    if text
        .lines()
        .any(|line| line.trim_start().starts_with("source ") || line.trim_start().starts_with(". "))
    {
        return Vec::new();
    }
    let strict = text.lines().any(|line| {
        let line = line.trim_start();
        line.starts_with("set -") && line.split_whitespace().nth(1).is_some_and(|flags| flags.contains('u'))
    });
    let mut names = Vec::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        for (at, _) in line.match_indices('$') {
            let rest = line[at + 1..].strip_prefix('{').unwrap_or(&line[at + 1..]);
            let end = rest
                .find(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_')
                .unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            let braced = line[at + 1..].starts_with('{');
            let asked = braced && (after.starts_with(":?") || after.starts_with('?'));
            let needed = asked || strict && (!braced || after.starts_with('}'));
            let set = text.contains(&format!("{name}="))
                || text.contains(&format!("{name}:-"))
                || text.contains(&format!("{name}:="))
                || text.contains(&format!("read {name}"))
                || text.contains(&format!("{name}+"));
            if !needed || set || name.len() < 4 {
                continue;
            }
            names.push(name.to_owned());
        }
    }
    names
}

/// Returns the variables without which a script of Python ends: `os.environ["NAME"]`.
fn of_python(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let parts = lines.flat_map(|line| line.split("os.environ[").skip(1));
    let names = parts.filter_map(|part| {
        let quote = part.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let (name, rest) = part[1..].split_once(quote)?;
        // Who sets it, or asks for it first, does not end.
        let sets = rest.trim_start_matches(']').trim_start().starts_with("= ");
        (!sets && !text.contains(&format!("{quote}{name}{quote} in"))).then(|| name.to_owned())
    });
    names.collect()
}
