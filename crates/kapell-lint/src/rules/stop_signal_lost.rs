//! A container that never hears that it is to stop.

use std::sync::LazyLock;

use kapell_spec::{finding::Span, words::Words};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    files::{File, FileId},
    github::script::{self, Command, Then},
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
    systems::docker::Dockerfile,
};

/// See `docs/rules/stop-signal-lost.md`.
pub(super) static RULE: Rule = Rule {
    name: "stop-signal-lost",
    summary: "the script that a container starts with keeps the signal to stop from its program",
    group: Group::CrossSystem,
    anti_pattern: Some(AntiPattern::NoTimeout),
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Deep,
    page: include_str!("../../docs/rules/stop-signal-lost.md"),
    check,
};

/// Programs that go on until they are told to stop.
const SERVERS: &[&str] = &[
    "gunicorn",
    "uvicorn",
    "hypercorn",
    "daphne",
    "granian",
    "celery",
    "puma",
    "sidekiq",
    "unicorn",
    "caddy",
    "php-fpm",
    "redis-server",
    "rq",
    "dramatiq",
    "arq",
];

/// Programs that run any other, and parts of the names of those that go on.
const RUNTIMES: &[&str] = &["node", "bun", "deno", "python", "python3", "java", "ruby", "php", "dotnet"];
const LASTING: &[&str] =
    &["server", "worker", "consumer", "listener", "daemon", "runserver", "gunicorn", "uvicorn"];

fn check(repository: &Repository, report: &mut Report<'_>) {
    let mut told: Vec<FileId> = Vec::new();
    for recipe in &repository.systems.dockerfiles {
        let text = &*repository.files[recipe.file].text;
        let Some((entry, path)) = started(text) else { continue };
        let Some((file, script)) = script_of(repository, recipe, path) else { continue };
        let commands = script::commands(&script.text);
        let Some(last) = last(&script.text, &commands).filter(|_| !told.contains(&file)) else { continue };
        told.push(file);
        let works = last
            .words
            .iter()
            .any(|word| ["worker", "consumer", "celery"].iter().any(|part| word.contains(part)));
        report
            .add(
                file,
                Span::new(last.start, last.end),
                format!("`{}` never hears that its container is to stop: the shell in front of it gets the signal", shown(last)),
            )
            .severity(if works { Severity::High } else { Severity::Medium })
            .also(recipe.file, entry, "this starts the script")
            .hint("put `exec` in front of it")
            .done();
    }
}

/// Returns a command as people know it.
fn shown(command: &Command) -> String {
    command.words.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// Returns the script that the last stage of a recipe starts with, as one of a list, and where that is said.
///
/// Source: Docker, "Dockerfile reference", "Exec form ENTRYPOINT example".
fn started(text: &str) -> Option<(Span, &str)> {
    let (mut entry, mut command, mut at) = (None, None, 0);
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let line = line.trim_end();
        let span = Span::new(start, start + line.len());
        match line.split_whitespace().next().unwrap_or_default().to_ascii_uppercase().as_str() {
            "FROM" => (entry, command) = (None, None),
            "ENTRYPOINT" => entry = Some((span, line)),
            "CMD" => command = Some((span, line)),
            _ => {}
        }
    }
    let (span, line) = entry.or(command)?;
    let list = line[line.find('[')?..].trim_start_matches('[').split(']').next()?;
    let mut words = list.split(',').map(|word| word.trim().trim_matches(['"', '\'']));
    let path =
        words.find(|word| !matches!(*word, "sh" | "bash" | "/bin/sh" | "/bin/bash" | "/usr/bin/env"))?;
    // What a shell is given as text is no file, and a supervisor in front may pass signals on.
    (path.ends_with(".sh") || path.rsplit('/').next()?.contains("entrypoint")).then_some((span, path))
}

/// Finds the script among the files: the only one of its name, or the one nearest to the recipe.
fn script_of<'a>(repository: &'a Repository, recipe: &Dockerfile, path: &str) -> Option<(FileId, &'a File)> {
    let name = path.rsplit('/').next()?;
    let folder = recipe.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let named: Vec<(FileId, &File)> =
        repository.files.iter().filter(|(_, file)| file.name() == name).collect();
    let found = match &named[..] {
        [one] => *one,
        several => {
            let mut near =
                several.iter().filter(|(_, file)| !folder.is_empty() && file.path.starts_with(folder));
            near.next().copied().filter(|_| near.next().is_none())?
        }
    };
    let first = found.1.text.lines().next().unwrap_or_default();
    (first.starts_with("#!") && first.contains("sh")).then_some(found)
}

/// Returns the last command of a script, if it is a program that goes on, and nothing passes signals on to it.
fn last<'a>(text: &str, commands: &'a [Command]) -> Option<&'a Command> {
    static PASSES: LazyLock<Words> = LazyLock::new(|| {
        Words::new(&["exec ", "trap ", "wait", "tini", "dumb-init", "supervis", "s6-", "while "])
    });
    let last = commands.last()?;
    let plain = last.depth == 0 && !last.asked && last.then == Then::End && last.after == Then::End;
    let whole =
        text.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n");
    (plain && goes_on(last) && !PASSES.is_in(&whole)).then_some(last)
}

/// Tells whether a command is one that ends only when it is told to.
fn goes_on(command: &Command) -> bool {
    let words = &command.words;
    // What the container is given as its command.
    if let [given] = &words[..] {
        return given == "$@" || given == "${@}";
    }
    let program = command.program();
    let serves =
        || words[1..].iter().any(|word| LASTING.iter().any(|part| word.to_ascii_lowercase().contains(part)));
    SERVERS.contains(&program) || RUNTIMES.contains(&program) && serves()
}
