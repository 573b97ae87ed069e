//! Instructions that take a deployment back on another platform than the one it runs on.

use kapell_spec::{claude::markdown::Fence, finding::Span};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    agents::{Asset, Home},
    files::FileId,
    github::script::{Command, commands},
    repository::Repository,
    rule::Report,
};

/// Command lines of platforms, by their first word, and the words after it that deploy.
const PLATFORMS: &[(&str, &[&str])] = &[
    ("vercel", &["deploy", "--prod", ""]),
    ("wrangler", &["deploy", "publish", "pages"]),
    ("netlify", &["deploy"]),
    ("flyctl", &["deploy"]),
    ("fly", &["deploy"]),
    ("heroku", &["container:release"]),
    ("firebase", &["deploy"]),
    ("kubectl", &["apply", "set", "rollout"]),
    ("helm", &["upgrade", "install"]),
    ("railway", &["up"]),
    ("gcloud", &["run", "app", "functions"]),
    ("serverless", &["deploy"]),
];

/// Names of the same platform.
fn platform(program: &str) -> Option<&'static str> {
    let known = PLATFORMS.iter().find(|(name, _)| *name == program)?.0;
    Some(if known == "fly" { "flyctl" } else { known })
}

/// Finds sections on how to roll back that use a platform which nothing here deploys to.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let mut assets = repository.agents.iter().filter(|(_, asset)| asset.home == Home::Claude);
    let deployed = if assets.next().is_some() { deployed(repository) } else { Vec::new() };
    if deployed.is_empty() {
        return;
    }
    for (_, asset) in repository.agents.iter().filter(|(_, asset)| asset.home == Home::Claude) {
        let text = &repository.files[asset.file].text;
        let Some((program, heading, at)) = taken_back(asset, text) else { continue };
        // A way back on any of the platforms in use is one.
        if deployed.iter().any(|(known, _)| *known == program) {
            continue;
        }
        let names: Vec<String> = deployed.iter().map(|(name, _)| format!("`{name}`")).collect();
        let (other, (file, span)) = (names.join(" and "), deployed[0].1);
        report
            .add(
                asset.file,
                heading,
                format!("this takes a deployment back with `{program}`, but deployed is with {other}"),
            )
            .severity(Severity::High)
            .confidence(Confidence::Medium)
            .also(asset.file, at, "this command")
            .also(file, span, "deployed here")
            .hint(format!("say how {other} goes back to the version before"))
            .done();
    }
}

/// A place in a file.
type Place = (FileId, Span);

/// Returns the platforms that workflows and instructions deploy to, with a place for each: those of workflows first.
fn deployed(repository: &Repository) -> Vec<(&'static str, Place)> {
    let mut found: Vec<(&'static str, Place)> = Vec::new();
    for flow in &repository.github.flows {
        for (at, _) in flow.jobs() {
            for (step, facts) in flow.steps(at) {
                let by_command = facts.commands.iter().filter_map(deploys);
                let by_action = facts.actions.iter().filter_map(|action| by_action(action));
                for name in by_command.chain(by_action) {
                    if !found.iter().any(|(known, _)| *known == name) {
                        found.push((name, (flow.file, step.span)));
                    }
                }
            }
        }
    }
    if found.is_empty() {
        return found;
    }
    for (_, asset) in repository.agents.iter().filter(|(_, asset)| asset.home == Home::Claude) {
        let text = &repository.files[asset.file].text;
        for fence in &asset.definition.document.fences {
            let said = commands(&text[fence.span.range()]).iter().filter_map(deploys).collect::<Vec<_>>();
            found.extend(said.into_iter().map(|name| (name, (asset.file, fence.span))));
        }
    }
    let mut seen = Vec::new();
    found.retain(|(name, _)| {
        !seen.contains(name) && {
            seen.push(*name);
            true
        }
    });
    found
}

fn deploys(command: &Command) -> Option<&'static str> {
    let name = platform(command.program())?;
    let words = command.inner();
    let verbs = PLATFORMS.iter().find(|(known, _)| *known == command.program())?.1;
    let verb = words.iter().skip(1).find(|word| !word.starts_with('-') || *word == "--prod");
    verbs.contains(&verb.map_or("", String::as_str)).then_some(name)
}

fn by_action(action: &str) -> Option<&'static str> {
    let parts = [
        ("wrangler", "wrangler"),
        ("vercel", "vercel"),
        ("netlify", "netlify"),
        ("flyctl", "flyctl"),
        ("firebase", "firebase"),
        ("heroku", "heroku"),
        ("pages-action", "wrangler"),
    ];
    parts.iter().find(|(part, _)| action.contains(part)).map(|(_, name)| *name)
}

/// Finds the platform of the commands in a section on how to roll back, its heading, and the first of them.
fn taken_back(asset: &Asset, text: &str) -> Option<(&'static str, Span, Span)> {
    let document = &asset.definition.document;
    let heading = document.headings.iter().position(|heading| {
        let lower = heading.text.to_ascii_lowercase();
        lower.contains("rollback") || lower.contains("roll back")
    })?;
    let level = document.headings[heading].level;
    let start = document.headings[heading].span.end;
    let next = document.headings[heading + 1..].iter().find(|other| other.level <= level);
    let end = next.map_or(text.len(), |next| next.span.start as usize);
    let within = |fence: &&Fence| fence.span.start >= start && (fence.span.end as usize) <= end;
    let mut found: Vec<(&'static str, Span)> = Vec::new();
    for fence in document.fences.iter().filter(within) {
        let block = &text[fence.span.range()];
        let Some((head, body)) = block.split_once('\n') else { continue };
        let base = fence.span.start as usize + head.len() + 1;
        for command in commands(body) {
            let span = Span::new(base + command.start, base + command.end);
            found.extend(platform(command.program()).map(|name| (name, span)));
        }
    }
    // Two platforms in one section are told apart by people.
    let first = *found.first()?;
    let top = document.headings[heading].span;
    found.iter().all(|(name, _)| *name == first.0).then_some((first.0, top, first.1))
}
