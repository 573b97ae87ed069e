//! What the scripts of the repository do that a step runs: files, and scripts of the package.

use std::sync::Arc;

use kapell_spec::github::{Job, Step, Workflow};

use super::{
    Flow, StepFacts, facts,
    script::Command,
    tools::{self, Kind},
};
use crate::{
    files::{File, FileId, Files, joined},
    packages::{self, Package},
};

/// A script that a step runs, and what it does.
#[derive(Debug)]
pub(crate) struct OwnScript {
    /// The file that is nothing else.
    pub(crate) file: Option<FileId>,
    /// Its text.
    pub(crate) text: Arc<str>,
    /// What its commands do.
    pub(crate) facts: Arc<StepFacts>,
}

/// Returns the scripts of the repository that a step runs by their paths or by their names in `package.json`.
pub(crate) fn of_step(files: &Files, job: &Job, step: &Step, facts: &StepFacts) -> Vec<OwnScript> {
    let plain = facts.commands.iter().filter(|command| !command.words.is_empty());
    let found = plain.filter_map(|command| {
        if let Some(id) = by_path(files, (job, step), command) {
            let file = &files[id];
            return Some(OwnScript { file: Some(id), text: file.text.clone(), facts: facts_of(file) });
        }
        let text = by_name(files, (job, step), command)?;
        Some(OwnScript { file: None, facts: facts::of_text(&text).into(), text: text.into() })
    });
    found.collect()
}

/// Returns what the commands of a script do, which is found once for each text: many steps may run it, and many rules ask.
pub(crate) fn facts_of(script: &File) -> Arc<StepFacts> {
    script.made(|script| facts::of_text(&script.text))
}

/// Finds a file by its path, as a step sees it: from its folder, or from that of its job.
pub(crate) fn find(files: &Files, (job, step): (&Job, &Step), path: &str) -> Option<FileId> {
    let folder = step.folder.as_ref().or(job.folder.as_ref()).map_or(Some(""), |folder| folder.literal())?;
    files.find(&joined("", &format!("{folder}/{path}"))?)
}

/// How a step of an action names the folder of the action, and any step the top of the repository.
///
/// Source: GitHub, "Contexts reference" and "Variables reference".
const OF_ACTION: &[&str] = &["${{ github.action_path }}/", "$GITHUB_ACTION_PATH/", "${GITHUB_ACTION_PATH}/"];
const OF_ALL: &[&str] = &["${{ github.workspace }}/", "$GITHUB_WORKSPACE/", "${GITHUB_WORKSPACE}/"];

/// Finds a script by its path, as a step of a workflow or of an action of the repository names it.
pub(crate) fn named(files: &Files, flow: &Flow, place: (&Job, &Step), path: &str) -> Option<FileId> {
    let behind = |starts: &[&str]| starts.iter().find_map(|start| path.strip_prefix(start));
    if let Some(rest) = behind(OF_ACTION) {
        return files.find(&joined(&flow.path, rest)?);
    }
    match behind(OF_ALL) {
        Some(rest) => files.find(rest),
        None => find(files, place, path),
    }
}

/// Returns the scripts of the repository that a step runs by their paths.
pub(crate) fn files_of<'a>(
    files: &'a Files,
    place: (&'a Job, &'a Step),
    facts: &'a StepFacts,
) -> impl Iterator<Item = &'a File> {
    let plain = facts.commands.iter().filter(|command| !command.words.is_empty());
    plain.filter_map(move |command| by_path(files, place, command).map(|file| &files[file]))
}

fn by_path(files: &Files, step: (&Job, &Step), command: &Command) -> Option<FileId> {
    let shell = is_shell(command.program());
    let mut words = command.inner().iter().skip(usize::from(shell)).skip_while(|word| word.starts_with('-'));
    let path = words.next().filter(|path| path.contains(['/', '.']))?;
    let file = find(files, step, path)?;
    shell_text(&files[file], shell).map(|_| file)
}

/// Tells whether a program is a shell, to which scripts are given.
pub(crate) fn is_shell(program: &str) -> bool {
    matches!(program, "bash" | "sh" | "zsh" | "dash")
}

/// The longest script that is read, in bytes: a longer one is a program.
pub(crate) const LENGTH_MAX: usize = 40_000;

/// Returns the text of a script of a shell: one that is given to a shell, or says by its first line or its name that it is.
pub(crate) fn shell_text(file: &File, given: bool) -> Option<&str> {
    let text = &*file.text;
    let first = text.lines().next().unwrap_or_default();
    let own = first.starts_with("#!") && (first.ends_with("sh") || first.contains("sh -"));
    let named = file.path.ends_with(".sh") || file.path.ends_with(".bash");
    ((given || own || named) && text.len() <= LENGTH_MAX).then_some(text)
}

fn by_name(files: &Files, step: (&Job, &Step), command: &Command) -> Option<String> {
    if !matches!(command.program(), "npm" | "pnpm" | "yarn" | "bun") || !tools::is_by_name(command) {
        return None;
    }
    let mut words = command.inner()[1..].iter().filter(|word| !word.starts_with('-'));
    let name = words.find(|word| !matches!(word.as_str(), "run" | "run-script"))?;
    let package = Package::of(&files[find(files, step, packages::MANIFEST)?])?;
    package.script(name).map(str::to_owned)
}

/// Programs by which a job often starts what it tests with, and takes it away again.
const MAY_BE_LOCAL: &[&str] =
    &["docker", "docker-compose", "podman", "kubectl", "helm", "kustomize", "helmfile", "skaffold", "ssh"];

/// Takes a script of the repository or of its package, and a target of make, for what it does to something that runs elsewhere,
/// where its name does not say so.
pub(super) fn learn(files: &Files, workflow: &Workflow, facts: &mut [Vec<StepFacts>]) {
    for (job, facts) in workflow.jobs.iter().zip(facts) {
        for (step, facts) in job.steps.iter().zip(facts) {
            learn_step(files, workflow, (job, step), facts);
        }
    }
}

fn learn_step(files: &Files, workflow: &Workflow, (job, step): (&Job, &Step), facts: &mut StepFacts) {
    let StepFacts { works, commands, .. } = facts;
    for done in works.iter_mut().filter(|done| done.work.kind == Kind::Unknown) {
        let Some(command) = done.command.map(|at| &commands[at]).filter(|command| !command.asked) else {
            continue;
        };
        let text = by_name(files, (job, step), command)
            .or_else(|| by_target(files, (job, step), command))
            .or_else(|| by_path(files, (job, step), command).map(|file| files[file].text.to_string()));
        let Some(text) = text else { continue };
        let live = facts::has_live_database(workflow, job, step);
        if let Some(kind) = delivers(&text, live) {
            done.work.kind = kind;
        }
    }
}

/// Returns what a script surely gives to others or changes; a schema only where a database is known to be `live`.
fn delivers(text: &str, live: bool) -> Option<Kind> {
    let inner = facts::of_text(text);
    let sure = inner.works.iter().filter_map(|done| {
        let command = &inner.commands[done.command?];
        let local = MAY_BE_LOCAL.contains(&command.program())
            || command.words.iter().any(|word| word.contains("local"));
        if command.depth > 0 || command.asked || local {
            return None;
        }
        let known = matches!(done.work.kind, Kind::Deploy | Kind::Publish) && !tools::is_by_name(command);
        match (known, live && facts::is_migration(done)) {
            (true, _) => Some(done.work.kind),
            (false, true) => Some(Kind::Deploy),
            _ => None,
        }
    });
    sure.max()
}

/// Returns what `make` runs for the first target that a command names.
fn by_target(files: &Files, step: (&Job, &Step), command: &Command) -> Option<String> {
    if !matches!(command.program(), "make" | "gmake") {
        return None;
    }
    let words = command.inner();
    let folder = words.iter().position(|word| word == "-C").and_then(|at| words.get(at + 1));
    let path = folder
        .map_or_else(|| "Makefile".to_owned(), |folder| format!("{}/Makefile", folder.trim_end_matches('/')));
    let file = find(files, step, &path)?;
    let plain = |word: &&String| !word.starts_with('-') && !word.contains('=') && Some(*word) != folder;
    let target = words[1..].iter().find(plain)?;
    let text = &*files[file].text;
    let lines = reached(text, target).into_iter().flat_map(|name| recipe(text, name));
    Some(lines.map(|line| expanded(text, line)).collect::<Vec<_>>().join("\n"))
}

/// Returns a target of a makefile and those that it waits for, directly or not.
pub(crate) fn reached<'a>(text: &'a str, target: &'a str) -> Vec<&'a str> {
    let mut found = vec![target];
    let mut at = 0;
    // A makefile that goes in circles ends at the bound.
    while at < found.len() && found.len() < 50 {
        let own = found[at];
        for (_, rest) in
            text.lines().filter_map(head).filter(|(names, _)| names.split(' ').any(|name| name == own))
        {
            let rest = rest.split(['#', ';']).next().unwrap_or_default();
            for name in rest.split_whitespace().filter(|name| !name.contains(['$', '|'])) {
                if !found.contains(&name) {
                    found.push(name);
                }
            }
        }
        at += 1;
    }
    found
}

/// Splits the head of a rule of a makefile: its targets, and what they wait for.
fn head(line: &str) -> Option<(&str, &str)> {
    if line.starts_with(['\t', '#', '.', ' ']) {
        return None;
    }
    line.split_once(':').filter(|(_, rest)| !rest.starts_with(['=', ':']))
}

/// Returns the lines of the recipe of a target.
fn recipe<'a>(text: &'a str, target: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if let Some(line) = line.strip_prefix('\t') {
            if inside {
                found.push(line.trim_start_matches(['@', '-', '+']));
            }
        } else if let Some((names, _)) = head(line) {
            inside = names.split_whitespace().any(|name| name == target);
        }
    }
    found
}

/// Returns a line of a recipe with the variables that the makefile sets to a plain text.
fn expanded(text: &str, line: &str) -> String {
    let set = |name: &str| {
        text.lines().find_map(|line| {
            let (own, value) = line.split_once('=')?;
            (own.trim_end_matches([':', '?', ' ']).trim() == name).then(|| value.trim())
        })
    };
    let mut out = line.to_owned();
    for _ in 0..4 {
        let Some(start) = out.find("$(") else { break };
        let Some(end) = out[start..].find(')').map(|end| start + end) else { break };
        let Some(value) = set(&out[start + 2..end]) else { break };
        out.replace_range(start..=end, value);
    }
    out
}
