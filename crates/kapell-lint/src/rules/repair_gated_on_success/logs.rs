//! Logs of what the tests of a job work with, which are shown only if all went well.

use kapell_spec::github::Step;
use kapell_view::audit::{Confidence, Severity};

use super::{SHOWS_LOGS, named_for_failure};
use crate::{
    github::{
        Flow, StepFacts, aggregate,
        script::{Command, Then},
        tools::{self, Kind},
    },
    rule::Report,
};

/// What lets a script go on after a failure, or shows the logs by itself.
const KEPT: &[&str] = &["||", "set +e", "$?", " logs", "trap ", "exit 0"];

/// Tells of the first step that shows logs behind the tests and is skipped when they fail, where nothing else shows any.
pub(super) fn check(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    // Whoever asks for success in so many words wants the logs of that.
    let found = flow.steps(at).position(|(step, facts)| only_logs(facts) && step.condition.is_none());
    let Some(index) = found.filter(|_| job.continue_on_error.is_none()) else { return };
    let tests = |(step, facts): &(&Step, &StepFacts)| {
        facts.does(Kind::Test)
            && step.continue_on_error.is_none()
            && !KEPT.iter().any(|word| step.script().contains(word))
    };
    let Some((tested, _)) = flow.steps(at).take(index).find(tests) else { return };
    // Whatever runs after a failure may show them as well.
    let seen = |step: &Step| {
        step.condition.as_ref().is_some_and(|own| own.asks_status() && !aggregate::is_default(&own.text))
    };
    let again = |(step, facts): (&Step, &StepFacts)| {
        seen(step) && (facts.commands.iter().any(shows) || step.action().is_none())
    };
    if flow.steps(at).any(again) || named_for_failure(flow, (at, index)).is_some() {
        return;
    }
    let step = &job.steps[index];
    report
        .add(
            flow.file,
            step.name_span(),
            "the logs are shown when the tests pass, and not when they fail: this step is skipped then",
        )
        .severity(Severity::Medium)
        .confidence(Confidence::Medium)
        .also(flow.file, tested.name_span(), "may fail")
        .hint("add `if: failure()`, and to what uploads them as well")
        .done();
}

/// Tells whether a command shows what a program has said so far.
fn shows(command: &Command) -> bool {
    // Hardly any command is of a program that has logs.
    if !SHOWS_LOGS.iter().any(|start| start[0] == command.program()) {
        return false;
    }
    let text = tools::plain_text(command);
    SHOWS_LOGS.iter().any(|start| text.split(' ').take(start.len()).eq(start.iter().copied()))
}

/// Tells whether a step shows logs and does nothing else: what looks for something in them is a check.
fn only_logs(facts: &StepFacts) -> bool {
    let aside = |command: &Command| {
        matches!(command.program(), "echo" | "mkdir" | "true" | "tee" | "sort" | "tail" | "")
    };
    let plain =
        |command: &Command| !command.asked && (shows(command) || aside(command)) && command.then != Then::And;
    facts.commands.iter().any(shows) && facts.commands.iter().all(plain)
}
