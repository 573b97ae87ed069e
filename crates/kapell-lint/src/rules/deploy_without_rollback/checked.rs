//! A platform that could go back is never told to, though somebody looks at what it has been given.

use kapell_spec::github::Step;
use kapell_view::audit::Severity;

use crate::{
    github::{
        Flow, StepFacts,
        script::{Command, Then},
        tools::{self, Kind, Old},
    },
    rule::Report,
};

/// A deployment, and the step that looks at it: in the same job, or in one that waits for that.
pub(super) struct Found<'a> {
    step: usize,
    with: &'a str,
    back: &'static str,
    looks: &'a Step,
}

/// Words that keep what is deployed from those who rely on it.
const UNSEEN: &[&str] =
    &["--no-traffic", "--no-promote", "--skip-release", "--build-only", "--no-execute-changeset"];

/// Words of names that say that something is looked at.
const LOOKS: &[&str] =
    &["smoke", "health", "healthy", "healthcheck", "verify", "check", "probe", "answers", "alive"];

/// Finds a deployment that a platform could take back, and a look at it that fails where it does not answer.
pub(super) fn find(flow: &Flow, at: usize) -> Option<Found<'_>> {
    // The last one before the look is what is looked at.
    let brings = |facts: &'_ StepFacts| {
        facts.works.iter().rev().filter(|done| done.work.kind == Kind::Deploy).find_map(|done| {
            let command = done.command.and_then(|at| facts.commands.get(at));
            let plain = command.map(tools::plain_text);
            let row = tools::rollout(plain.as_deref().unwrap_or(&done.text))?;
            (row.old == Old::Kept && !UNSEEN.iter().any(|word| done.text.contains(word))).then_some(row.back)
        })
    };
    let facts = &flow.facts[at];
    let (step, back) =
        facts.iter().enumerate().rev().find_map(|(step, facts)| Some((step, brings(facts)?)))?;
    let steps = &flow.model.jobs[at].steps;
    let undone =
        steps[step..].iter().any(|step| step.condition.as_ref().is_some_and(|own| own.asks_status()));
    if undone {
        return None;
    }
    let own = (step + 1..steps.len()).map(|later| (&steps[later], &facts[later]));
    let later = || {
        let jobs =
            flow.jobs().filter(|(other, job)| job.condition.is_none() && flow.closures[*other].contains(&at));
        // Who delivers something itself looks at that from there on.
        let delivers = |facts: &StepFacts| facts.works.iter().any(|done| done.work.kind == Kind::Deploy);
        jobs.flat_map(move |(other, _)| flow.steps(other).take_while(move |(_, facts)| !delivers(facts)))
    };
    let fails = |step: &Step| step.condition.is_none() && step.continue_on_error.is_none();
    let looks = own.chain(later()).find(|(step, facts)| fails(step) && looks(step, facts))?.0;
    let with = facts[step].works.iter().rev().find(|done| done.work.kind == Kind::Deploy)?;
    Some(Found { step, with: &with.text, back, looks })
}

/// Tells whether a step asks what was deployed whether it answers, and fails where it does not.
pub(in crate::rules) fn looks(step: &Step, facts: &StepFacts) -> bool {
    let named = [step.name.as_ref().map(|name| &*name.text), step.id.as_ref().map(|id| &*id.text)];
    let script = facts.commands.iter().filter(|command| tools::is_own_script(command));
    let named = named
        .into_iter()
        .flatten()
        .map(str::to_ascii_lowercase)
        .chain(script.map(Command::text))
        .any(|text| text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| LOOKS.contains(&word)));
    let asks = facts.commands.iter().any(|command| {
        let text = command.text();
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        let fails = has(&["--fail", " -f", "-sf", "-fs", "http_code", "--retry", "Sf"]) || command.asked;
        let sends = has(&["POST", " -d ", "--data", "webhook", "hooks.", "-X PUT", "/dispatches"]);
        command.program() == "curl" && !sends && (fails || named) && command.then != Then::Or
    });
    // `[ "$(curl -w '%{http_code}' URL)" = 200 ]`
    let script = step.script();
    let compares = script.contains("$(curl ") && script.contains("http_code") && script.contains("exit 1");
    let tests = facts.works.iter().any(|done| done.work.kind == Kind::Test);
    asks || compares || named && (tests || facts.runs_own_script())
}

pub(super) fn tell(flow: &Flow, at: usize, found: &Found<'_>, live: bool, report: &mut Report<'_>) {
    let Found { step, with, back, looks } = found;
    let job = &flow.model.jobs[at];
    let place = job.steps[*step].keys.entries.first().map_or(flow.job_span(at), |key| key.span);
    let message = format!(
        "`{}` deploys with `{}` and looks at that afterwards, and no workflow here goes back where it does not answer",
        &*job.id,
        with.lines().next().unwrap_or_default()
    );
    let how = if back.is_empty() { String::new() } else { format!(": `{back}`") };
    report
        .add(flow.file, place, message)
        .also(flow.file, looks.name_span(), "fails when it does not answer")
        .hint(format!("go back in a step with `if: failure()`{how}"))
        .severity(if live { Severity::Medium } else { Severity::Low })
        .done();
}
