//! One key of `Swatinem/rust-cache` for jobs that compile for different targets: whichever is first saves what is its own.

use std::collections::{BTreeMap, BTreeSet};

use kapell_spec::github::{Job, Step, Text};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    github::{Flow, script::Command},
    rule::Report,
};

/// A cache under a key that is not that of its job alone.
struct Shared<'a> {
    /// The number of the job.
    job: usize,
    key: &'a Text,
    /// What the job compiles for; empty is the machine itself.
    targets: BTreeSet<&'a str>,
}

/// Tells of two jobs with the same key that have no target in common: the first saves its own, and the other one finds nothing of
/// use in each run.
///
/// Sources: `Swatinem/rust-cache`, README, `shared-key`: "A cache key that is used instead of the automatic `job`-based key, and is
/// stable over multiple jobs"; "Cache Details": the compiler, its host and variables of the environment are in it too. The Cargo
/// Book, "Build Cache": what is compiled for a target lies in a folder of its own.
pub(super) fn check(flow: &Flow, report: &mut Report<'_>) {
    if !flow.text.contains("shared-key") || flow.text.contains("CARGO_BUILD_TARGET") {
        return;
    }
    let all: Vec<Shared<'_>> = flow.jobs().filter_map(|(at, job)| shared(flow, at, job)).collect();
    let clashing = all.iter().enumerate().find_map(|(number, one)| {
        let other = all[..number].iter().find(|other| clash(flow, one, other))?;
        Some((one, other))
    });
    let Some((one, other)) = clashing else { return };
    let (own, first) = (&flow.model.jobs[one.job].id.text, &flow.model.jobs[other.job].id.text);
    let message = format!(
        "`{own}` and `{first}` save one cache and compile for different targets: the second to end saves nothing, and finds nothing of its own the next time"
    );
    report
        .add(flow.file, one.key.span, message)
        .confidence(Confidence::Medium)
        .severity(Severity::Medium)
        .also(flow.file, other.key.span, "the same key")
        .hint("give each a `shared-key` of its own")
        .done();
}

/// Tells whether two jobs save under one key and share nothing of what they compile.
fn clash(flow: &Flow, one: &Shared<'_>, other: &Shared<'_>) -> bool {
    let after = |late: usize, early: usize| flow.closures[late].contains(&early);
    let (own, theirs) = (&flow.model.jobs[one.job], &flow.model.jobs[other.job]);
    one.key.text == other.key.text
        && one.targets.is_disjoint(&other.targets)
        // Who waits for another one restores what that has saved, and means to.
        && !after(one.job, other.job)
        && !after(other.job, one.job)
        && environment(own) == environment(theirs)
        && runners(own).is_some_and(|own| Some(own) == runners(theirs))
        && prepared(own) == prepared(theirs)
}

/// Returns the variables of a job.
fn environment(job: &Job) -> BTreeMap<&str, &str> {
    job.env.iter().map(|(name, value)| (&*name.text, &*value.text)).collect()
}

/// Returns the cache of a job that compiles with plain commands, and always.
fn shared<'a>(flow: &'a Flow, at: usize, job: &'a Job) -> Option<Shared<'a>> {
    let step = job.steps.iter().find(|step| is_cache(step))?;
    let key = step.input("shared-key").filter(|key| key.literal().is_some())?;
    let given = ["save-if", "cache-targets", "lookup-only"].iter().any(|name| step.input(name).is_some());
    if given || step.condition.is_some() || job.condition.is_some() {
        return None;
    }
    let mut targets = BTreeSet::new();
    for facts in &flow.facts[at] {
        if facts.runs_own_script() {
            return None;
        }
        for command in facts.commands.iter().filter(|command| command.program() == "cargo") {
            match compiled(command) {
                Compiled::For(target) => drop(targets.insert(target)),
                Compiled::Nothing => {}
                Compiled::Unknown => return None,
            }
        }
    }
    (!targets.is_empty()).then_some(Shared { job: at, key, targets })
}

/// Tells whether a step keeps what cargo has compiled.
fn is_cache(step: &Step) -> bool {
    step.is("swatinem/rust-cache")
}

/// What a command of cargo compiles.
enum Compiled<'a> {
    /// Nothing of the package, or aside from what it compiles.
    Nothing,
    /// The package for a target; empty is the machine itself.
    For(&'a str),
    /// Something else.
    Unknown,
}

/// Tells what a command of cargo compiles.
fn compiled(command: &Command) -> Compiled<'_> {
    const COMPILES: &[&str] =
        &["build", "b", "check", "c", "test", "t", "clippy", "nextest", "bench", "doc", "run", "rustc"];
    const ASIDE: &[&str] =
        &["fmt", "audit", "deny", "machete", "metadata", "fetch", "install", "binstall", "publish", "update"];
    let mut words = command.inner().iter().map(String::as_str).skip(1).filter(|word| !word.starts_with('+'));
    match words.next() {
        Some(verb) if ASIDE.contains(&verb) => return Compiled::Nothing,
        Some(verb) if COMPILES.contains(&verb) => {}
        _ => return Compiled::Unknown,
    }
    let words: Vec<&str> = words.collect();
    let given = words.iter().enumerate().find_map(|(at, word)| match word.strip_prefix("--target") {
        Some("") => words.get(at + 1).copied(),
        Some(rest) => rest.strip_prefix('='),
        None => None,
    });
    let target = given.unwrap_or_default();
    if target.contains('$') { Compiled::Unknown } else { Compiled::For(target) }
}

/// Returns what a job runs on in its cells; `None` if that is not known.
fn runners(job: &Job) -> Option<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for label in &job.runs_on {
        if let Some(label) = label.literal() {
            found.insert(label.to_owned());
            continue;
        }
        let axis = label.expression()?.strip_prefix("matrix.")?;
        for cell in job.matrix.as_ref()?.cells()? {
            let (_, value) = cell.into_iter().find(|(name, _)| *name == axis)?;
            found.insert(value.text()?.into_owned());
        }
    }
    Some(found)
}

/// What a step does that may choose another compiler.
#[derive(PartialEq)]
struct Prepared<'a> {
    uses: Option<&'a str>,
    toolchain: Option<&'a str>,
    script: &'a str,
}

/// Returns what comes before the cache of a job: it may choose another compiler, which is in the key.
fn prepared(job: &Job) -> Vec<Prepared<'_>> {
    let before = job.steps.iter().take_while(|step| !is_cache(step));
    let steps = before.filter(|step| !step.is("actions/checkout"));
    let prepared = steps.map(|step| Prepared {
        uses: step.uses.as_ref().map(|(text, _)| &*text.text),
        toolchain: step.input("toolchain").map(|text| &*text.text),
        script: step.script().trim(),
    });
    prepared.collect()
}
