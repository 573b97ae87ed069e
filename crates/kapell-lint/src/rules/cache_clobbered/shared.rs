//! One key of `Swatinem/rust-cache` for jobs that compile for different targets: whichever is first saves what is its own.

use std::collections::BTreeSet;

use kapell_spec::github::{Job, Step, Text};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    github::{Flow, script::Command},
    rule::Report,
};

/// A cache under a key that is not that of its job alone.
struct Shared<'a> {
    at: usize,
    key: &'a Text,
    /// What the job compiles for; empty is the machine itself.
    targets: BTreeSet<&'a str>,
}

/// Tells of two jobs with the same key that have no target in common: the first saves its own, and the other one finds nothing of
/// use in each run.
///
/// Sources: `Swatinem/rust-cache`, README, `shared-key`: "A cache key that is used instead of the automatic `job`-based key"; the
/// system, the compiler and the variables of the environment are in it too. The Cargo Book, "Build Cache": what is compiled for a
/// target lies in a folder of its own.
pub(super) fn check(flow: &Flow, report: &mut Report<'_>) {
    if !flow.text.contains("shared-key") || flow.text.contains("CARGO_BUILD_TARGET") {
        return;
    }
    let all: Vec<Shared<'_>> = flow.jobs().filter_map(|(at, job)| shared(flow, at, job)).collect();
    for (number, one) in all.iter().enumerate() {
        let other = all[..number].iter().find(|other| clash(flow, one, other));
        let Some(other) = other else { continue };
        let (own, first) = (&flow.model.jobs[one.at].id.text, &flow.model.jobs[other.at].id.text);
        report
            .add(
                flow.file,
                one.key.span,
                format!("`{own}` and `{first}` save one cache and compile for different targets: the second to end saves nothing, and finds nothing of its own the next time"),
            )
            .confidence(Confidence::Medium)
            .severity(Severity::Medium)
            .also(flow.file, other.key.span, "the same key")
            .hint("give each a `shared-key` of its own")
            .done();
        return;
    }
}

/// Tells whether two jobs save under one key and share nothing of what they compile.
fn clash(flow: &Flow, one: &Shared<'_>, other: &Shared<'_>) -> bool {
    let (own, theirs) = (&flow.model.jobs[one.at], &flow.model.jobs[other.at]);
    let after = |late: usize, early: usize| flow.closures[late].contains(&early);
    let env =
        |job: &Job| job.env.iter().map(|(name, value)| (name.text.clone(), value.text.clone())).collect();
    let (left, right): (BTreeSet<_>, BTreeSet<_>) = (env(own), env(theirs));
    one.key.text == other.key.text
        && one.targets.is_disjoint(&other.targets)
        && runners(own).is_some_and(|runners_of| Some(runners_of) == runners(theirs))
        && before(own) == before(theirs)
        && left == right
        // Who waits for another one restores what that has saved, and means to.
        && !after(one.at, other.at)
        && !after(other.at, one.at)
}

/// Returns the cache of a job that compiles with plain commands, and always.
fn shared<'a>(flow: &'a Flow, at: usize, job: &'a Job) -> Option<Shared<'a>> {
    let step = job.steps.iter().find(|step| is_cache(step))?;
    let key = step.input("shared-key").filter(|key| !key.text.contains("${{"))?;
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
            if let Some(target) = target(command)? {
                targets.insert(target);
            }
        }
    }
    (!targets.is_empty()).then_some(Shared { at, key, targets })
}

/// Tells whether a step keeps what cargo has compiled.
fn is_cache(step: &Step) -> bool {
    step.is("swatinem/rust-cache")
}

/// Returns what a command of cargo compiles for, if it compiles; `None` if that is not known.
#[expect(clippy::option_option, reason = "not known is something else than nothing")]
fn target(command: &Command) -> Option<Option<&str>> {
    const COMPILES: &[&str] =
        &["build", "b", "check", "c", "test", "t", "clippy", "nextest", "bench", "doc", "run", "rustc"];
    const ASIDE: &[&str] =
        &["fmt", "audit", "deny", "machete", "metadata", "fetch", "install", "binstall", "publish", "update"];
    let mut words = command.inner().iter().map(String::as_str).skip(1).filter(|word| !word.starts_with('+'));
    let verb = words.next()?;
    if ASIDE.contains(&verb) {
        return Some(None);
    }
    if !COMPILES.contains(&verb) {
        return None;
    }
    let words: Vec<&str> = words.collect();
    let given = words.iter().enumerate().find_map(|(at, word)| match word.strip_prefix("--target") {
        Some("") => words.get(at + 1).copied(),
        Some(rest) => rest.strip_prefix('='),
        None => None,
    });
    let target = given.unwrap_or_default();
    (!target.contains('$')).then_some(Some(target))
}

/// Returns what a job runs on in its cells; `None` if that is not known.
fn runners(job: &Job) -> Option<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for label in &job.runs_on {
        if let Some(label) = label.literal() {
            found.insert(label.to_owned());
            continue;
        }
        let axis =
            label.text.trim().strip_prefix("${{")?.strip_suffix("}}")?.trim().strip_prefix("matrix.")?;
        for cell in job.matrix.as_ref()?.cells()? {
            let (_, value) = cell.into_iter().find(|(name, _)| *name == axis)?;
            found.insert(value.text()?.into_owned());
        }
    }
    Some(found)
}

/// Returns what comes before the cache of a job: it may choose another compiler, which is in the key.
fn before(job: &Job) -> Vec<String> {
    let steps =
        job.steps.iter().take_while(|step| !is_cache(step)).filter(|step| !step.is("actions/checkout"));
    let toolchain = |step: &Step| step.input("toolchain").map_or(String::new(), |text| text.text.to_string());
    steps
        .map(|step| {
            let uses = step.uses.as_ref().map_or("", |(text, _)| &*text.text);
            format!("{uses} {} {}", toolchain(step), step.script().trim())
        })
        .collect()
}
