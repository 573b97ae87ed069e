//! Tests that are compiled or listed and never run, and scripts of the package that there are none of.

use kapell_spec::{github::Step, suggest};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    github::{Flow, StepFacts, script::Command, tools::Kind},
    packages::{MANIFEST, Package},
    repository::Repository,
    rule::Report,
};

/// Commands that run tests, and their options with which none is run.
///
/// Sources: `cargo help test`, `pytest --help`, `dotnet test --help`, `playwright test --help`, `jest --help`.
const ONLY_PREPARES: &[(&[&str], &[&str])] = &[
    (&["cargo", "test"], &["--no-run"]),
    (&["cargo", "nextest"], &["--no-run"]),
    (&["pytest"], &["--collect-only", "--co"]),
    (&["dotnet", "test"], &["--list-tests", "-t"]),
    (&["playwright", "test"], &["--list"]),
    (&["jest"], &["--listTests"]),
];

/// Returns the option with which a command runs no test.
fn prepares(command: &Command) -> Option<&'static str> {
    let words = command.inner();
    let (_, options) = ONLY_PREPARES.iter().find(|(start, _)| {
        start.len() <= words.len() && start.iter().zip(words).all(|(own, word)| own == word)
    })?;
    options.iter().copied().find(|option| words.iter().any(|word| word == option))
}

/// Tells of a job that is called after tests, runs none, and is waited for by one that delivers.
pub(super) fn compiled(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let name =
        format!("{} {}", job.id.text, job.name.as_ref().map_or("", |name| &name.text)).to_ascii_lowercase();
    let tests = |name: &str| {
        name.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| matches!(word, "test" | "tests"))
    };
    let says =
        tests(&name) && !["build", "compile", "prepare", "list"].iter().any(|word| name.contains(word));
    if !says {
        return;
    }
    let mut found = None;
    for (step, facts) in flow.steps(at) {
        for (index, command) in facts.commands.iter().enumerate() {
            let is_test = facts.works.iter().any(|done| {
                done.command == Some(index) && matches!(done.work.kind, Kind::Test | Kind::Unknown)
            });
            match prepares(command) {
                Some(option) => found = found.or(Some((step, command, option))),
                None if is_test => return,
                None => {}
            }
        }
        if step.uses.is_some() && facts.does(Kind::Test) || facts.runs_own_script() {
            return;
        }
    }
    let Some((step, command, option)) = found else { return };
    let runs = |facts: &StepFacts| facts.does(Kind::Test);
    let elsewhere = flow.jobs().any(|(other, _)| other != at && flow.facts[other].iter().any(runs));
    let delivers = flow.jobs().find(|(other, _)| {
        flow.closures[*other].contains(&at)
            && flow.facts[*other].iter().any(|facts| facts.mutation().is_some())
    });
    let Some((_, delivery)) = delivers.filter(|_| !elsewhere) else { return };
    let short: String = command.text().chars().take(60).collect();
    report
        .add(
            flow.file,
            flow.script_line(step, command.start, ""),
            format!("`{short}` runs no test, and `{}` delivers behind it", delivery.id.text),
        )
        .severity(Severity::High)
        .confidence(Confidence::High)
        .also(flow.file, delivery.id.span, "delivered here")
        .hint(format!("run them as well, without `{option}`"))
        .done();
}

/// Tells of `npm run NAME --if-present` with a name that the package has no script of: it ends well and does nothing.
///
/// Source: <https://docs.npmjs.com/cli/commands/npm-run>.
pub(super) fn absent(repository: &Repository, flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    for (step, facts) in flow.steps(at) {
        let folder = step.folder.as_ref().or(job.folder.as_ref());
        let Some(folder) = folder.map_or(Some(""), |folder| folder.literal()) else { continue };
        for command in &facts.commands {
            let Some(name) = if_present(command).filter(|_| !moves(step)) else { continue };
            let folder = folder.trim_start_matches("./").trim_end_matches('/');
            let path = if folder.is_empty() { MANIFEST.to_owned() } else { format!("{folder}/{MANIFEST}") };
            let Some(manifest) = repository.files.find(&path) else { continue };
            let Some(package) = Package::of(&repository.files[manifest]) else { continue };
            // A form for all packages names what some of them do not have.
            let Some(near) = near(&package, name).filter(|_| package.script(name).is_none()) else {
                continue;
            };
            report
                .add(
                    flow.file,
                    flow.script_line(step, command.start, ""),
                    format!("`{path}` has no script `{name}`: with `--if-present` the step is green without a check"),
                )
                .severity(Severity::High)
                .confidence(Confidence::High)
                .hint(format!("run `{near}`, and leave `--if-present` out"))
                .done();
        }
    }
}

/// Returns the script of a package that may be meant by a name.
fn near<'a>(package: &'a Package, name: &str) -> Option<&'a str> {
    let names = || package.scripts().map(|(own, _)| own);
    let part = name.rsplit(':').next().unwrap_or(name);
    let same = |own: &&str| *own == part || own.rsplit(':').next() == Some(part);
    names().find(same).or_else(|| suggest::nearest(name, names()))
}

fn moves(step: &Step) -> bool {
    step.script().contains("cd ") || step.script().contains("pushd")
}

/// Returns the name of a check that `npm run` is to run if there is one.
fn if_present(command: &Command) -> Option<&str> {
    let words = command.inner();
    let run = matches!(words.first()?.as_str(), "npm" | "pnpm")
        && matches!(words.get(1)?.as_str(), "run" | "run-script");
    let elsewhere = ["-w", "--workspace", "--prefix", "-C", "-r", "--filter", "--recursive"];
    let here = !words.iter().any(|word| elsewhere.iter().any(|start| word.starts_with(start)));
    let present = words.iter().any(|word| word == "--if-present");
    let name = words.iter().skip(2).find(|word| !word.starts_with('-'))?;
    let checks = ["test", "lint", "check", "typecheck", "e2e", "unit", "audit"];
    let is_check = name.split([':', '-']).any(|part| checks.contains(&part));
    (run && here && present && is_check && !name.contains('$')).then_some(name.as_str())
}
