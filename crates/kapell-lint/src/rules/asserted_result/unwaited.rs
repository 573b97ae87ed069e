//! A job says that a version runs, which it has only asked for.

use kapell_spec::github::Step;
use kapell_view::audit::{Confidence, Severity};

use crate::{
    github::{Flow, StepFacts, script::Command, tools},
    rule::Report,
};

/// Words of whatever looks at a version, or gives it time.
const LOOKS: &[&str] = &["curl ", "wget ", "smoke", "health", "verify", "wait-for", "sleep ", "uses: ./"];

/// What says that a version runs.
const SAYS: &[&str] = &["deployed", "is live", "rolled out", "is now running", "is out now"];

/// Words that a sentence has which does not say that for certain.
const DOUBTS: &[&str] = &["will be", "not ", "to be", "being", "if ", "started", "request"];

/// Tells of the first command of a job that asks for a version of which a later step says that it runs.
pub(super) fn check(flow: &Flow, report: &mut Report<'_>) {
    if !tools::may_only_ask(&flow.text)
        || tools::waits(&flow.text)
        || LOOKS.iter().any(|word| flow.text.contains(word))
    {
        return;
    }
    for (at, job) in flow.jobs().filter(|(_, job)| job.uses.is_none()) {
        let asks = |command: &&Command| tools::only_asks(&tools::plain_text(command));
        let asked = flow
            .steps(at)
            .enumerate()
            .find_map(|(index, (step, facts))| Some((index, step, facts.commands.iter().find(asks)?)));
        let Some((index, step, command)) = asked.filter(|(_, step, _)| step.condition.is_none()) else {
            continue;
        };
        if flow.facts[at].iter().any(StepFacts::runs_own_script) {
            continue;
        }
        let Some(says) = job.steps[index..].iter().zip(&flow.facts[at][index..]).find(|step| says(*step))
        else {
            continue;
        };
        report
            .add(
                flow.file,
                flow.script_line(step, command.start, ""),
                format!(
                    "`{}` says that the version runs, and has only asked for it: `{}` does not wait",
                    job.id.text,
                    tools::plain_text(command).split(' ').take(3).collect::<Vec<_>>().join(" ")
                ),
            )
            .severity(Severity::Medium)
            .confidence(Confidence::Medium)
            .also(flow.file, says.0.name_span(), "said here")
            .hint("wait first: `kubectl rollout status --timeout=…`, which fails where the version does not start")
            .done();
    }
}

/// Tells whether a step says in the summary of the run, and without a doubt, that a version runs.
fn says((step, facts): (&Step, &StepFacts)) -> bool {
    let told = |command: &&Command| {
        let text = command.text().to_ascii_lowercase();
        matches!(command.program(), "echo" | "printf")
            && SAYS.iter().any(|word| text.contains(word))
            && !DOUBTS.iter().any(|word| text.contains(word))
    };
    step.script().contains("GITHUB_STEP_SUMMARY") && facts.commands.iter().find(told).is_some()
}
