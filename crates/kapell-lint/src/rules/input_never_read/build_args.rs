//! Arguments that a step gives to the build of an image, and that its recipe does not ask for.

use kapell_spec::{
    finding::Span,
    github::{Job, Step, Text},
};
use kapell_view::audit::Severity;

use crate::{
    files::{FileId, Files},
    github::{Flow, StepFacts, script::Command},
    repository::Repository,
    rule::{Report, names},
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
                for build in builds(flow, job, step, facts) {
                    tell(repository, flow, at, &build, report);
                }
            }
        }
    }
}

/// A build of an image by a recipe.
struct Build<'a> {
    path: String,
    args: Vec<&'a str>,
    span: Span,
    delivers: bool,
}

fn tell(repository: &Repository, flow: &Flow, at: usize, build: &Build<'_>, report: &mut Report<'_>) {
    let files = &repository.files;
    let Some(file) = files.find(&build.path).filter(|_| !is_written(flow, at, &build.path)) else { return };
    let Some(asked) = asked(files, file) else { return };
    let unread: Vec<&str> = build.args.iter().copied().filter(|name| !asked.contains(name)).collect();
    if unread.is_empty() {
        return;
    }
    let about =
        |name: &&str| name.split('_').any(|word| ABOUT.iter().any(|own| word.eq_ignore_ascii_case(own)));
    let severity = match (unread.iter().all(about), build.delivers) {
        (true, _) => Severity::Low,
        (false, true) => Severity::High,
        (false, false) => Severity::Medium,
    };
    let (listed, path) = (names(unread.iter().copied()), &build.path);
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

/// Returns the builds of a step whose recipe and arguments are written out.
fn builds<'a>(flow: &Flow, job: &Job, step: &'a Step, facts: &'a StepFacts) -> Vec<Build<'a>> {
    let delivers = facts.mutation().is_some();
    if step.is("docker/build-push-action") || step.is("depot/build-push-action") {
        return by_action(step, delivers).into_iter().collect();
    }
    let folder = [&step.folder, &job.folder, &flow.model.folder].into_iter().flatten().next();
    let Some(folder) = folder.map_or(Some(""), |folder| folder.literal()) else { return Vec::new() };
    let script = step.script();
    if !script.contains("build-arg") || script.contains("cd ") || script.contains("pushd") {
        return Vec::new();
    }
    let build = |command: &'a Command| {
        let (path, args) = by_command(command)?;
        let span = flow.script_line(step, command.start, "");
        Some(Build { path: below(folder, &path)?, args, span, delivers })
    };
    facts.commands.iter().filter_map(build).collect()
}

/// Reads `file`, `context` and `build-args` of an action. Paths are those of the checkout; a template is none.
fn by_action(step: &Step, delivers: bool) -> Option<Build<'_>> {
    let given = step.input("build-args")?;
    let literal = |name: &str| step.input(name).map_or(Some(""), Text::literal);
    let (file, context) = (literal("file")?, literal("context")?);
    let path = if file.is_empty() { below(context, "Dockerfile")? } else { below("", file)? };
    let args = given.text.lines().filter_map(|line| name(line.trim())).collect();
    Some(Build { path, args, span: given.span, delivers })
}

/// Options of `docker build` with a value behind them.
///
/// Source: Docker, "docker buildx build".
const VALUED: &[&str] = &[
    "-t",
    "--tag",
    "--target",
    "--platform",
    "--cache-from",
    "--cache-to",
    "--label",
    "--secret",
    "--ssh",
    "--output",
    "-o",
    "--progress",
    "--network",
    "--iidfile",
    "--metadata-file",
    "--builder",
    "--add-host",
    "--build-context",
    "--shm-size",
    "--ulimit",
    "--annotation",
    "--attest",
    "--allow",
];

/// Options without one.
const PLAIN: &[&str] = &[
    "--push",
    "--load",
    "--pull",
    "--no-cache",
    "-q",
    "--quiet",
    "--rm",
    "--force-rm",
    "--squash",
    "--compress",
];

/// Reads the recipe and the names of the arguments of `docker build`.
fn by_command(command: &Command) -> Option<(String, Vec<&str>)> {
    let words: Vec<&str> = command.inner().iter().map(String::as_str).collect();
    let rest = match &words[..] {
        ["docker" | "podman", "buildx", "build", rest @ ..] | ["docker" | "podman", "build", rest @ ..] => {
            rest
        }
        _ => return None,
    };
    let (mut file, mut context, mut args) = (None, None, Vec::new());
    let mut rest = rest.iter().copied();
    while let Some(word) = rest.next() {
        let (option, joined) = word
            .split_once('=')
            .filter(|_| word.starts_with("--"))
            .map_or((word, None), |(a, b)| (a, Some(b)));
        match option {
            "-f" | "--file" => file = Some(joined.or_else(|| rest.next())?),
            "--build-arg" => args.extend(name(joined.or_else(|| rest.next())?)),
            _ if VALUED.contains(&option) => drop(joined.or_else(|| rest.next())),
            _ if PLAIN.contains(&option) || joined.is_some() => {}
            _ if word.starts_with('-') || context.is_some() => return None,
            _ => context = Some(word),
        }
    }
    let path = match file {
        Some(file) => file.to_owned(),
        None => format!("{}/Dockerfile", context?.trim_end_matches('/')),
    };
    (!path.contains('$')).then_some((path, args))
}

/// Returns the name of an argument that a recipe has to ask for: `NAME=value`, or `NAME` alone.
fn name(given: &str) -> Option<&str> {
    let name = given.split('=').next()?.trim();
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let lower = name.to_ascii_lowercase();
    let known = PREDEFINED.contains(&&*lower) || STARTS.iter().any(|start| lower.starts_with(start));
    (plain && !known).then_some(name)
}

/// Returns a path below a folder, both from the top of the repository. One that leads out of it, or is made, is none.
fn below(folder: &str, path: &str) -> Option<String> {
    let parts = folder.split('/').chain(path.split('/')).filter(|part| !part.is_empty() && *part != ".");
    let parts: Vec<&str> = parts.collect();
    let plain = |part: &&str| *part != ".." && !part.contains(['$', '{', '*', '~', ':']);
    let whole = !folder.starts_with('/') && !path.starts_with('/');
    (whole && parts.iter().all(plain)).then(|| parts.join("/"))
}
