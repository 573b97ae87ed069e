//! A job says that a version runs, which it has only asked for.

use std::sync::LazyLock;

use kapell_spec::{github::Step, words::Words};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    github::{Flow, StepFacts, script::Command, tools},
    rule::Report,
};

/// Commands that end when the wish is written down, and not when what they ask for runs.
///
/// Sources: Kubernetes, "Deployments", "Updating a Deployment": the rollout goes on in the background, `kubectl rollout status`
/// waits for it; AWS CLI, `ecs wait services-stable`.
const ASKS: [&str; 6] = [
    "kubectl set image",
    "kubectl rollout restart",
    "oc set image",
    "oc rollout restart",
    "oc rollout latest",
    "aws ecs update-service",
];

/// Words of whatever waits for a version, or looks at it.
const WAITS: &[&str] = &[
    "rollout status",
    "kubectl wait",
    "oc wait",
    "--wait",
    "services-stable",
    "aws ecs wait",
    "curl ",
    "wget ",
    "smoke",
    "health",
    "verify",
    "wait-for",
    "sleep ",
    "uses: ./",
];

/// What says that a version runs.
const SAYS: &[&str] = &["deployed", "is live", "rolled out", "is now running", "is out now"];

/// Words that a sentence has which does not say that for certain.
const DOUBTS: &[&str] = &["will be", "not ", "to be", "being", "if ", "started", "request"];

/// Tells of the first command of a job that asks for a version of which a later step says that it runs.
pub(super) fn check(flow: &Flow, report: &mut Report<'_>) {
    // Few workflows say these words.
    static LASTS: LazyLock<Words> = LazyLock::new(|| {
        Words::exact(&ASKS.map(|asks| asks.rsplit_once(' ').map_or(asks, |(_, last)| last)))
    });
    if !LASTS.is_in(&flow.text) {
        return;
    }
    if WAITS.iter().any(|word| flow.text.contains(word)) {
        return;
    }
    for (at, job) in flow.jobs().filter(|(_, job)| job.uses.is_none()) {
        let asks = |command: &&Command| {
            let plain = tools::plain_text(command);
            ASKS.iter().any(|start| plain.starts_with(start))
        };
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
