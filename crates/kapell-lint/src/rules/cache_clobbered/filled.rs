//! One key for two contents: each of two jobs fills the cache on a miss with something else.

use std::collections::BTreeSet;

use kapell_spec::github::{Job, Step};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    github::{Flow, script::Command},
    rule::Report,
};

/// A cache that a job fills where it was not restored.
struct Filled<'a> {
    at: usize,
    key: &'a str,
    path: &'a str,
    /// The step that fills it, and its command.
    step: &'a Step,
    command: &'a Command,
}

/// Tells of two jobs with the same key and folders whose commands fill these with different things: whichever job is first saves
/// what is its own, and the other one restores that and fetches nothing.
///
/// Source: `actions/cache`, README, "Outputs": `cache-hit` is `true` where there is an exact match of the key; a key that is saved
/// is never changed.
pub(super) fn check(flow: &Flow, report: &mut Report<'_>) {
    if !flow.text.contains("cache-hit") {
        return;
    }
    let all: Vec<Filled<'_>> = flow.jobs().filter_map(|(at, job)| filled(flow, at, job)).collect();
    for (number, one) in all.iter().enumerate() {
        let other = all[..number].iter().find(|other| differ(flow, one, other));
        let Some(other) = other else { continue };
        // Whoever asks for more finds less.
        let (fuller, lesser) =
            if words(one.command).len() >= words(other.command).len() { (one, other) } else { (other, one) };
        let (own, first) = (&flow.model.jobs[fuller.at].id.text, &flow.model.jobs[lesser.at].id.text);
        report
            .add(
                flow.file,
                flow.script_line(fuller.step, fuller.command.start, ""),
                format!("`{own}` and `{first}` fill one cache with different things: where `{first}` was first, this is skipped, and what only it fetches is not there"),
            )
            .severity(Severity::High)
            .confidence(Confidence::High)
            .also(flow.file, flow.script_line(lesser.step, lesser.command.start, ""), "fills it under the same key")
            .hint("give each a key of its own, or fetch the same in both")
            .done();
        return;
    }
}

/// Returns the first cache of a job that a single command fills on a miss.
fn filled<'a>(flow: &'a Flow, at: usize, job: &'a Job) -> Option<Filled<'a>> {
    job.steps.iter().filter(|step| step.is("actions/cache")).find_map(|cache| {
        let id = cache.id.as_ref().filter(|_| cache.condition.is_none())?;
        let (key, path) = (cache.input("key")?.trim(), cache.input("path")?.trim());
        // A key may be another one in each cell or job.
        if ["matrix.", "github.job", "env.", "steps."].iter().any(|word| key.contains(word)) {
            return None;
        }
        let missed = format!("steps.{}.outputs.cache-hit!='true'", id.text);
        let on_miss = |step: &Step| {
            let plain =
                |text: &str| text.replace("${{", "").replace("}}", "").split_whitespace().collect::<String>();
            step.condition.as_ref().is_some_and(|own| plain(&own.text) == missed)
        };
        let (step, facts) = flow.steps(at).find(|(step, _)| on_miss(step))?;
        let mut commands = facts.commands.iter().filter(|command| !matches!(command.program(), "" | "echo"));
        let command = commands.next().filter(|_| commands.next().is_none())?;
        Some(Filled { at, key, path, step, command })
    })
}

/// Tells whether two jobs on runners of one kind fill one cache by the same program, which each tells to fetch something else.
fn differ(flow: &Flow, one: &Filled<'_>, other: &Filled<'_>) -> bool {
    let runners =
        |at: usize| flow.model.jobs[at].runs_on.iter().map(|label| &*label.text).collect::<Vec<_>>();
    let (own, theirs) = (one.command.inner(), other.command.inner());
    let same = own.len() > 2 && theirs.len() > 2 && own[..2] == theirs[..2];
    one.key == other.key
        && one.path == other.path
        && runners(one.at) == runners(other.at)
        && same
        && words(one.command) != words(other.command)
        && !own.iter().chain(theirs).any(|word| word.contains('$'))
}

/// Returns what a command is told to fetch.
fn words(command: &Command) -> BTreeSet<&str> {
    command.inner().iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect()
}
