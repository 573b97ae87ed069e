//! Scripts of a package that steps run, and that its `package.json` does not have.

use std::collections::BTreeSet;

use kapell_spec::{
    finding::Span,
    github::{Job, Step},
    suggest,
};

use super::scripts::checks_out_other;
use crate::{
    files::{FileId, Files},
    github::{Flow, StepFacts, own_scripts, script::Command},
    packages::{self, Package},
    repository::Repository,
    rule::{Report, names},
};

/// Scripts that npm has without being told, or that it runs by itself.
///
/// Sources: npm, "npm run-script": `env` lists the variables; "npm start": without a script it runs `node server.js`; "npm restart":
/// without a script it stops and starts; "scripts", "Life Cycle Scripts".
const BUILT_IN: &[&str] =
    &["start", "restart", "stop", "env", "install", "preinstall", "postinstall", "prepare"];

/// Words of a script that goes to another folder, or writes the file anew.
const CHANGES: &[&str] =
    &["cd ", "pushd", "package.json", "npm pkg", "git checkout", "git switch", "git clone", "tar ", "unzip"];

/// A script that is not there.
struct Missing {
    name: String,
    span: Span,
    package: FileId,
}

/// Tells of `npm run NAME` where the `package.json` of that folder has no script of the name: npm ends with "Missing script". All of
/// a workflow are one finding.
///
/// Source: npm, "npm run": without `--if-present` an undefined script is an error.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in repository.asked_flows() {
        // What is called from elsewhere has the files of its caller.
        let runs = ["npm run", "pnpm run", "run-script"].iter().any(|word| flow.text.contains(word));
        if !runs || flow.model.event("workflow_call").is_some() || flow.model.folder.is_some() {
            continue;
        }
        let all = flow.jobs().flat_map(|(at, job)| missing(&repository.files, flow, at, job));
        let all: Vec<Missing> = all.collect();
        if let Some((first, rest)) = all.split_first() {
            tell(repository, flow, (first, rest), report);
        }
    }
}

fn tell(
    repository: &Repository,
    flow: &Flow,
    (first, rest): (&Missing, &[Missing]),
    report: &mut Report<'_>,
) {
    let mut seen = BTreeSet::new();
    let all = std::iter::once(first).chain(rest).map(|missing| &*missing.name);
    let listed: Vec<&str> = all.filter(|name| seen.insert(*name)).collect();
    let manifest = &repository.files[first.package];
    let path = &manifest.path;
    let word = if listed.len() == 1 { "script" } else { "scripts" };
    let message = format!("`{path}` has no {word} {}: the step fails", names(listed));
    let package = Package::of(manifest);
    let own = package.iter().flat_map(|package| package.scripts()).map(|(name, _)| name);
    let near = suggest::mistyped(&first.name, own, 2);
    let mut draft = report.add(flow.file, first.span, message).hint(match near {
        Some(near) => format!("run `{near}`"),
        None => format!("add `{}` to `scripts`, or run what is there", first.name),
    });
    for missing in rest {
        draft = draft.also(flow.file, missing.span, "nor is there this one");
    }
    draft.done();
}

/// Finds such scripts in the steps of a job, as long as these have the repository as it is.
fn missing(files: &Files, flow: &Flow, at: usize, job: &Job) -> Vec<Missing> {
    let mut found = Vec::new();
    let mut checked_out = false;
    for (step, facts) in flow.steps(at) {
        if step.is("actions/checkout") {
            if checks_out_other(step) {
                return found;
            }
            checked_out = true;
            continue;
        }
        if !keeps(step) {
            return found;
        }
        if checked_out {
            found.extend(facts.commands.iter().filter_map(|command| {
                let (name, package) = lacks(files, (job, step), facts, command)?;
                Some(Missing { name, span: flow.script_line(step, command.start, ""), package })
            }));
        }
    }
    found
}

/// Tells whether a step leaves the files of the repository as they are, or only sets something up.
fn keeps(step: &Step) -> bool {
    match &step.uses {
        Some((text, _)) => {
            let name = text.split('@').next().unwrap_or(text);
            ["/setup-", "login", "cache", "github-script", "upload-artifact"]
                .iter()
                .any(|part| name.contains(part))
        }
        None => !CHANGES.iter().any(|word| step.script().contains(word)),
    }
}

/// Returns the script that a command runs and the package in its folder, if that has none of the name.
fn lacks(
    files: &Files,
    place: (&Job, &Step),
    facts: &StepFacts,
    command: &Command,
) -> Option<(String, FileId)> {
    // One that the script asks for may be missing.
    if command.asked || command.depth > 0 || facts.commands.iter().any(|other| other.program() == "alias") {
        return None;
    }
    let words: Vec<&str> = command.inner().iter().map(String::as_str).collect();
    let ["npm" | "pnpm", "run" | "run-script", rest @ ..] = &words[..] else { return None };
    let own = rest.iter().position(|word| *word == "--").map_or(rest, |end| &rest[..end]);
    let name = own.iter().find(|word| !word.starts_with('-'))?;
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_:.".contains(c));
    let quiet =
        own.iter().filter(|word| word.starts_with('-')).all(|flag| matches!(*flag, "-s" | "--silent"));
    if !plain || !quiet || BUILT_IN.contains(name) {
        return None;
    }
    let manifest = own_scripts::find(files, place, packages::MANIFEST)?;
    let lacks = Package::of(&files[manifest])?.script(name).is_none();
    lacks.then(|| ((*name).to_owned(), manifest))
}
