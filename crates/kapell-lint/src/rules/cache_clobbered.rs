//! The install deletes what the cache restored.

mod filled; // what two jobs put under one key
mod shared; // one key for what is compiled for different targets

use crate::github::{
    Flow,
    facts::Done,
    script::Command,
    tools::{self, Kind},
};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};
use kapell_spec::github::{Step, Text};
use kapell_view::audit::{Confidence, Severity};

/// See `docs/rules/cache-clobbered.md`.
pub(super) static RULE: Rule = Rule {
    name: "cache-clobbered",
    summary: "The install deletes what the cache restored",
    group: Group::Cache,
    anti_pattern: None,
    focus: Focus::Performance,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/cache-clobbered.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in repository.github.with_steps() {
        filled::check(flow, report);
        shared::check(flow, report);
        for (at, job) in flow.jobs() {
            for (index, step) in job.steps.iter().enumerate() {
                if !step.is("actions/cache") && !step.is("actions/cache/restore") {
                    continue;
                }
                let Some(path) = step.input("path") else { continue };
                if wiped(flow, at, index, path, report) {
                    continue;
                }
                for installer in tools::INSTALLERS {
                    let Some((command, folder)) = installer.wiped else { continue };
                    // Other folders beside it are kept, and it is saved and restored for nothing all the same.
                    let mut paths = path.text.split_whitespace();
                    if !paths.any(|path| path.ends_with(folder) && !path.starts_with(['~', '!'])) {
                        continue;
                    }
                    let wiping = (index + 1..job.steps.len()).find(|&later| {
                        let step = &job.steps[later];
                        step.condition.is_none()
                            && flow.facts[at][later].commands.iter().any(|found| {
                                found.depth == 0 && tools::plain_text(found).starts_with(command)
                            })
                    });
                    let Some(later) = wiping else { continue };
                    let span = path.span;
                    let condition =
                        step.id.as_ref().map_or("steps.cache.outputs.cache-hit != 'true'".to_owned(), |id| {
                            format!("steps.{}.outputs.cache-hit != 'true'", id.text)
                        });
                    report
                        .add(
                            flow.file,
                            span,
                            format!(
                                "`{}` restores `{folder}`, which `{command}` deletes before it installs",
                                job.id.text
                            ),
                        )
                        .also(flow.file, job.steps[later].span, "deletes it")
                        .hint(format!("keep `~/.npm` instead, or run `{command}` only `if: {condition}`"))
                        .done();
                }
            }
        }
    }
}

/// Something deletes what was restored before anything has used it. Returns whether that was told.
fn wiped(flow: &Flow, at: usize, index: usize, path: &Text, report: &mut Report<'_>) -> bool {
    let job = &flow.model.jobs[at];
    let paths: Vec<&str> = path.text.lines().map(plain).filter(|path| !path.is_empty()).collect();
    for later in index + 1..job.steps.len() {
        let (step, facts) = (&job.steps[later], &flow.facts[at][later]);
        let found = if step.condition.is_some() { None } else { wipes(step, &facts.commands, &paths) };
        if let Some((what, by)) = found {
            report
                .add(
                    flow.file,
                    path.span,
                    format!(
                        "`{}` restores `{what}`, which {by} deletes before anything has used it",
                        job.id.text
                    ),
                )
                .also(flow.file, step.span, "deletes it")
                .hint("delete it before the cache is restored, or not at all")
                .done();
            return true;
        }
        let uses = |done: &Done| {
            done.work.kind.checks() || matches!(done.work.kind, Kind::Install | Kind::Unknown | Kind::Cache)
        };
        if facts.works.iter().any(uses) {
            return false;
        }
    }
    false
}

/// Returns the restored path that a step deletes at its start, and what deletes it.
fn wipes(step: &Step, commands: &[Command], paths: &[&str]) -> Option<(String, String)> {
    let below =
        |path: &&&str| !path.starts_with(['~', '/', '$']) && !path.starts_with("..") && !path.contains(':');
    // It empties the folder where no repository is, and cleans one that is there.
    if step.is("actions/checkout")
        && ["path", "clean", "repository"].iter().all(|name| step.input(name).is_none())
    {
        return paths.iter().find(below).map(|path| ((*path).to_owned(), "the checkout".to_owned()));
    }
    for command in commands.iter().filter(|command| !command.words.is_empty()) {
        let text = command.text();
        let words = &command.words[1..];
        let flagged = |flag: char| {
            words.iter().any(|word| word.starts_with('-') && !word.starts_with("--") && word.contains(flag))
        };
        let named = || paths.iter().find(|path| words.iter().any(|word| plain(word) == **path));
        let found = match command.program() {
            "rm" if flagged('r') || flagged('R') => named(),
            "git"
                if words.first().is_some_and(|word| word == "clean")
                    && (flagged('x') || flagged('X'))
                    && !flagged('e') =>
            {
                paths.iter().find(below)
            }
            "cargo" if words.iter().map(String::as_str).eq(["clean"]) => {
                paths.iter().find(|path| **path == "target" || path.starts_with("target/"))
            }
            "go" if words.first().is_some_and(|word| word == "clean") => {
                let wiped = [("-modcache", "pkg/mod"), ("-cache", "go-build")];
                wiped
                    .iter()
                    .filter(|(flag, _)| words.iter().any(|word| word == flag))
                    .find_map(|(_, part)| paths.iter().find(|path| path.contains(part)))
            }
            _ if words.iter().any(|word| word == "--clear") && text.contains("venv") => named(),
            _ => None,
        };
        if let Some(path) = found.filter(|_| command.depth == 0 && !command.asked) {
            let short: String = text.chars().take(50).collect();
            return Some(((*path).to_owned(), format!("`{short}`")));
        }
        // What stands before it may have used it.
        if !matches!(command.program(), "echo" | "set" | "cd" | "mkdir" | "ls" | "du" | "export") {
            return None;
        }
    }
    None
}

/// Returns a path as it is compared: `./a/` is `a`, and `$HOME/a` is `~/a` to whoever writes the same twice.
fn plain(path: &str) -> &str {
    let path = path.trim().trim_start_matches("./");
    path.trim_end_matches("/**").trim_end_matches("/*").trim_end_matches('/')
}
