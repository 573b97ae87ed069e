//! Arguments that a step gives to the build of an image, and that its recipe does not ask for.

use kapell_spec::finding::Span;
use kapell_view::audit::Severity;

use crate::{
    files::{FileId, Files},
    github::{Flow, script},
    repository::Repository,
    rule::{Report, names},
    systems::builds::{self, Build},
};

/// Arguments that no recipe has to ask for, and the starts of names of such.
///
/// Source: Docker, "Dockerfile reference", sections "Predefined ARGs", "Automatic platform ARGs in the global scope" and "BuildKit
/// built-in build args".
const PREDEFINED: &[&str] =
    &["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy", "source_date_epoch"];
const STARTS: &[&str] = &[
    "buildkit_",
    "targetplatform",
    "targetos",
    "targetarch",
    "targetvariant",
    "buildplatform",
    "buildos",
    "buildarch",
    "buildvariant",
];

/// Words of what an image only tells of itself.
const ABOUT: &[&str] = &[
    "version",
    "commit",
    "sha",
    "revision",
    "build",
    "date",
    "vcs",
    "ref",
    "created",
    "time",
    "number",
    "tag",
    "git",
    "author",
    "maintainer",
];

/// Tells of such arguments. Docker only warns: "\[Warning\] One or more build-args were not consumed".
///
/// Source: Docker, "Dockerfile reference", section "ARG".
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in repository.github.with_steps() {
        // Nothing else gives such arguments.
        if !flow.text.contains("build-arg") {
            continue;
        }
        for (at, job) in flow.jobs() {
            for (step, facts) in flow.steps(at) {
                for build in builds::of_step(flow, (job, step), facts) {
                    tell(repository, flow, at, (&build, facts.mutation().is_some()), report);
                }
            }
        }
    }
}

fn tell(
    repository: &Repository,
    flow: &Flow,
    at: usize,
    (build, delivers): (&Build<'_>, bool),
    report: &mut Report<'_>,
) {
    let (files, path) = (&repository.files, &build.recipe);
    let given: Vec<&str> = build.args.iter().filter_map(|given| name(given)).collect();
    if given.is_empty() {
        return;
    }
    let Some(file) = files.find(path).filter(|_| !is_written(flow, at, path)) else { return };
    let Some(asked) = asked(files, file) else { return };
    let unread: Vec<&str> = given.into_iter().filter(|name| !asked.contains(name)).collect();
    if unread.is_empty() {
        return;
    }
    let about =
        |name: &&str| name.split('_').any(|word| ABOUT.iter().any(|own| word.eq_ignore_ascii_case(own)));
    let severity = match (unread.iter().all(about), delivers) {
        (true, _) => Severity::Low,
        (false, true) => Severity::High,
        (false, false) => Severity::Medium,
    };
    let listed = names(unread.iter().copied());
    let message =
        format!("`{path}` has no `ARG` for {listed}: what is given here changes nothing in the image");
    report
        .add(flow.file, build.span, message)
        .severity(severity)
        .also(file, Span::new(0, 0), "this recipe")
        .hint(format!("add `ARG {}` to the stage that builds with it, or drop it here", unread[0]))
        .done();
}

/// Returns the names that a recipe asks for; `None` if another program than Docker's reads it.
fn asked(files: &Files, file: FileId) -> Option<Vec<&str>> {
    let text: &str = &files[file].text;
    let other = |line: &str| {
        let name = line.trim_start_matches('#').trim().strip_prefix("syntax=");
        name.is_some_and(|name| !name.trim().starts_with("docker/dockerfile"))
    };
    if text.lines().take(3).any(|line| line.starts_with('#') && other(line)) {
        return None;
    }
    let mut found = Vec::new();
    let mut goes_on = false;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if !goes_on && !words.next().is_some_and(|word| word.eq_ignore_ascii_case("arg")) {
            continue;
        }
        let words = if goes_on { line.split_whitespace() } else { words };
        found.extend(words.map(|word| word.split('=').next().unwrap_or(word)));
        goes_on = line.trim_end().ends_with('\\');
    }
    Some(found)
}

/// Tells whether a script of a job may write the recipe anew.
fn is_written(flow: &Flow, at: usize, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let writes = ["sed ", ">", "envsubst", "tee ", "cp ", "mv ", "patch", "perl "];
    flow.model.jobs[at].steps.iter().any(|step| {
        step.script().lines().any(|line| line.contains(name) && writes.iter().any(|word| line.contains(word)))
    })
}

/// Returns the name of an argument that a recipe has to ask for: `NAME=value`, or `NAME` alone.
fn name(given: &str) -> Option<&str> {
    let name = given.split('=').next()?.trim();
    let lower = name.to_ascii_lowercase();
    let known = PREDEFINED.contains(&&*lower) || STARTS.iter().any(|start| lower.starts_with(start));
    (script::is_variable(name) && !known).then_some(name)
}
