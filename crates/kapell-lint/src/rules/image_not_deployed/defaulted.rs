//! Tags that a compose file takes where nothing gives it one: `${TAG:-latest}`.

use kapell_spec::github::Step;
use kapell_view::audit::Confidence;

use super::{is_tag, plain};
use crate::{
    files::joined,
    github::{Flow, script::Command},
    repository::Repository,
    rule::Report,
    systems::{Compose, image_parts, images::Pushed, started},
};

/// Words of what may give variables that no text shows.
const OPAQUE: &[&str] = &[
    "GITHUB_ENV",
    "source ",
    "set -a",
    "env-file",
    "dotenv",
    ".env",
    "uses: ./",
    "sops",
    "op run",
    "doppler",
];

/// Tells of a job that starts such a file, gives no value, and of a tag for that case which no workflow pushes: what runs is
/// never what was pushed.
pub(super) fn check(repository: &Repository, pushed: &[Pushed], report: &mut Report<'_>) {
    if pushed.is_empty() || repository.systems.composes.is_empty() {
        return;
    }
    let mut told = Vec::new();
    for flow in &repository.github.flows {
        for (job, _) in flow.jobs() {
            for (step, facts) in flow.steps(job) {
                for command in &facts.commands {
                    for compose in brought_up(repository, (flow, job, step), command) {
                        if !told.contains(&compose.file) && in_file(repository, flow, compose, pushed, report)
                        {
                            told.push(compose.file);
                        }
                    }
                }
            }
        }
    }
}

/// Returns the compose files whose images a command pulls and runs.
fn brought_up<'a>(
    repository: &'a Repository,
    (flow, job, step): (&Flow, usize, &Step),
    command: &Command,
) -> Vec<&'a Compose> {
    let words: Vec<&str> = command.inner().iter().map(String::as_str).collect();
    if let ["docker", "stack", "deploy", rest @ ..] = words.as_slice() {
        let apart = rest.windows(2).filter(|pair| matches!(pair[0], "-c" | "--compose-file"));
        let composes = || repository.systems.composes.iter();
        let named =
            apart.filter_map(|pair| composes().find(|one| *one.path == *pair[1].trim_start_matches("./")));
        return if step.folder.is_some() { Vec::new() } else { named.collect() };
    }
    let Some(rest) = started::of_compose(command) else { return Vec::new() };
    let runs = rest.iter().any(|word| matches!(*word, "up" | "pull"));
    if !runs || rest.contains(&"--build") || rest.iter().any(|word| word.starts_with("--project-directory")) {
        return Vec::new();
    }
    started::files(&repository.systems, (flow, job, step), &rest).into_iter().flatten().collect()
}

/// Tells of the first image of a file whose tag nothing gives. A file of variables beside it may give it.
fn in_file(
    repository: &Repository,
    flow: &Flow,
    compose: &Compose,
    pushed: &[Pushed],
    report: &mut Report<'_>,
) -> bool {
    let beside = joined(&compose.path, ".env").is_some_and(|path| repository.files.exists(&path));
    if beside || repository.files.exists(".env") || OPAQUE.iter().any(|word| flow.text.contains(word)) {
        return false;
    }
    for service in compose.services.iter().filter(|service| service.build.is_none()) {
        let Some(image) = &service.image else { continue };
        let (name, tag) = image_parts(image);
        let Some((variable, value)) = tag.and_then(default) else { continue };
        let same: Vec<&Pushed> =
            pushed.iter().filter(|one| one.name.as_deref().map(plain) == Some(plain(name))).collect();
        let other = same.iter().all(|one| !is_tag(repository, one, value));
        let Some(first) = same.first().filter(|_| other && !flow.text.contains(variable)) else { continue };
        let message = format!(
            "`{}` runs `{value}`, for nothing sets `{variable}` where `{}` starts it, and the workflows push only `{}`",
            &*service.name, flow.path, first.tag
        );
        report
            .add(compose.file, image.span, message)
            .confidence(Confidence::High)
            .also(first.file, first.span, "pushed here")
            .hint(format!("set `{variable}` for the command that starts it"))
            .done();
        return true;
    }
    false
}

/// Reads `${TAG:-latest}`: the variable, and what holds without it.
fn default(tag: &str) -> Option<(&str, &str)> {
    let inner = tag.strip_prefix("${")?.strip_suffix('}')?;
    let (name, value) = inner.split_once(":-").or_else(|| inner.split_once('-'))?;
    (!value.is_empty() && !value.contains('$')).then_some((name, value))
}
