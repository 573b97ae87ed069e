//! The key of a cache never changes, so its content grows old.

use super::cache_after_install::restored;
use crate::github::{
    Flow, StepFacts,
    facts::Done,
    intent,
    tools::{self, Kind},
};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};
use kapell_spec::github::{Job, Step};
use kapell_view::audit::{Confidence, Severity};

/// See `docs/rules/cache-key-without-lock.md`.
pub(super) static RULE: Rule = Rule {
    name: "cache-key-without-lock",
    summary: "The key of a cache never changes, so its content grows old",
    group: Group::Cache,
    anti_pattern: None,
    focus: Focus::State,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/cache-key-without-lock.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        for (at, job) in flow.jobs() {
            for (index, step) in job.steps.iter().enumerate() {
                if before_checkout(flow, at, index, report) {
                    continue;
                }
                let Some(installer) = restored(step) else { continue };
                let Some(key) = step.input("key") else { continue };
                by_manifest(flow, (at, index), installer.name, report);
                // One that was meant to move is told of as an expression.
                if key.text.replace("${{", "").contains("{{") {
                    continue;
                }
                let lower = resolved(flow, job, &key.text).to_ascii_lowercase();
                let moves = [
                    "hashfiles",
                    "github.sha",
                    "run_id",
                    "run_number",
                    "steps.",
                    "needs.",
                    "inputs.",
                    "date",
                    "week",
                    "hash",
                    "env.",
                    "version",
                    "vars.",
                    "checksum",
                    "matrix.cache",
                ];
                if moves.iter().any(|word| lower.contains(word))
                    || step.is("actions/cache/restore")
                    || installer.name == "cargo" && lower.contains("toolchain")
                {
                    continue;
                }
                let draft = report
                    .add(
                        flow.file,
                        key.span,
                        format!(
                            "the key `{}` never changes, so what `{}` saved first is kept for ever",
                            key.text.trim(),
                            installer.name
                        ),
                    )
                    .hint(format!("add `${{{{ hashFiles('**/{}') }}}}` to the key", installer.locks[0]));
                match intent::explains(flow, step.span, 8, &["key", "never", "static", "purpose", "rolling"])
                {
                    Some(comment) => draft.explained(comment).done(),
                    None => draft.done(),
                }
            }
        }
    }
}

/// What says which dependencies are wanted, where another file says which there are: tool, manifest, lock files.
const MANIFESTS: &[(&str, &str, &[&str])] = &[
    ("npm", "package.json", &["package-lock.json", "npm-shrinkwrap.json"]),
    ("yarn", "package.json", &["yarn.lock"]),
    ("pnpm", "package.json", &["pnpm-lock.yaml"]),
    ("composer", "composer.json", &["composer.lock"]),
    ("bundler", "Gemfile", &["Gemfile.lock"]),
    ("poetry", "pyproject.toml", &["poetry.lock"]),
];

/// The key knows the manifest alone, and a hit skips the install: what the lock file says anew never arrives.
fn by_manifest(flow: &Flow, (at, index): (usize, usize), tool: &str, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let step = &job.steps[index];
    let (Some(key), Some(id)) = (step.input("key"), &step.id) else { return };
    let Some((_, manifest, locks)) = MANIFESTS.iter().find(|row| row.0 == tool) else { return };
    // Of a family of tools only one lock is there.
    let all = MANIFESTS.iter().flat_map(|row| row.2);
    let named = key.text.split(['\'', '"']).any(|part| part.rsplit('/').next() == Some(manifest));
    let moves = ["github.sha", "run_id", "date", "week", "steps.", "needs."];
    if !named
        || all.clone().any(|lock| key.text.contains(lock))
        || moves.iter().any(|word| key.text.contains(word))
    {
        return;
    }
    let hit = format!("steps.{}.outputs.cache-hit", id.text);
    let installs =
        |facts: &StepFacts| facts.commands.iter().any(|command| tools::installer(command).is_some());
    let mut later = flow.steps(at).skip(index + 1).filter(|(_, facts)| installs(facts));
    let asks = |step: &Step| step.condition.as_ref().is_some_and(|condition| condition.text.contains(&hit));
    let Some((install, _)) = later.next().filter(|(step, _)| asks(step)) else { return };
    // Whatever installs without asking brings it up to date.
    if later.any(|(step, _)| !asks(step)) {
        return;
    }
    report
        .add(
            flow.file,
            key.span,
            format!("the key knows `{manifest}` and no lock file, and a hit skips the install: an update of the lock alone never arrives"),
        )
        .confidence(Confidence::Medium)
        .also(flow.file, install.span, "skipped on a hit")
        .hint(format!("take `${{{{ hashFiles('**/{}') }}}}` for the key", locks[0]))
        .done();
}

/// `hashFiles` finds nothing before the files are there: the hash is empty, and the key never changes.
fn before_checkout(flow: &Flow, at: usize, index: usize, report: &mut Report<'_>) -> bool {
    let job = &flow.model.jobs[at];
    let step = &job.steps[index];
    let caches = ["actions/cache", "actions/cache/restore"].iter().any(|name| step.is(name));
    let Some(key) = step.input("key").filter(|key| caches && key.text.contains("hashFiles(")) else {
        return false;
    };
    // Its own runner may have files of another run.
    let own = job.runs_on.iter().any(|label| label.text.contains("self-hosted"));
    let gives = |facts: &StepFacts| {
        let unknown = |done: &Done| done.work.kind == Kind::Unknown && done.command.is_none();
        !facts.downloads.is_empty()
            || facts.works.iter().any(|done| done.work.kind == Kind::Checkout || unknown(done))
    };
    let fetches = ["clone", "checkout", "curl", "wget", "tar ", "unzip", "cp ", "download", "fetch", "sync"];
    let before = flow.facts[at][..index].iter().any(gives)
        || job.steps[..index].iter().any(|step| fetches.iter().any(|word| step.script().contains(word)));
    let after = job.steps[index + 1..]
        .iter()
        .find(|step| step.is("actions/checkout") && step.input("path").is_none());
    let Some(checkout) = after.filter(|_| !before && !own && !job.container) else { return false };
    report
        .add(
            flow.file,
            key.span,
            "`hashFiles` runs before the checkout and finds no file, so this key never changes".to_owned(),
        )
        .also(flow.file, checkout.span, "the files come here")
        .hint("move the checkout in front of the cache")
        .done();
    true
}

/// Returns a key with those variables replaced that the workflow sets to a plain text. One that is there to be raised by
/// hand stays.
fn resolved(flow: &Flow, job: &Job, key: &str) -> String {
    let mut out = key.to_owned();
    for (name, value) in flow.model.env.iter().chain(&job.env) {
        let by_hand = ["cache", "key", "bust", "epoch"]
            .iter()
            .any(|word| name.text.to_ascii_lowercase().contains(word));
        let Some(value) = value.literal().filter(|_| !by_hand) else { continue };
        for written in [format!("${{{{ env.{} }}}}", name.text), format!("${{{{env.{}}}}}", name.text)] {
            out = out.replace(&written, value);
        }
    }
    out
}
