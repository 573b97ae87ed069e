//! A step that tells of the failure of another job, in a job that is skipped then.

use kapell_spec::github::{Condition, Job, Step};
use kapell_view::audit::{Confidence, Severity};

use crate::{
    github::{Flow, StepFacts, aggregate, script::Command, tools::Kind},
    rule::Report,
};

/// How many words may stand between what failed and that it did: `build or upload failed`.
const BETWEEN: usize = 2;

/// Parts of ids that say nothing of what a job does.
const PLAIN: &[&str] = &["jobs", "main", "step", "steps", "stage", "part", "with", "linux", "ubuntu"];

/// Tells of such a step, by its words: it runs on `failure()` of its own job, which a failure of what the job needs skips as a whole.
///
/// Source: GitHub, "Workflow syntax", `jobs.<job_id>.needs`: "If a job fails or is skipped, all jobs that need it are skipped
/// unless the jobs use a conditional expression that causes the job to continue."
pub(super) fn check(flow: &Flow, report: &mut Report<'_>) {
    if !flow.starts("schedule") && !flow.starts("push") || !flow.text.contains("failure()") {
        return;
    }
    for (at, job) in flow.jobs() {
        // Another job that runs after failures may tell of them.
        let runs = |job: &Job| job.condition.as_ref().is_some_and(after_failure);
        if job.needs.is_empty() || flow.jobs().any(|(_, other)| runs(other)) {
            continue;
        }
        for (step, facts) in flow.steps(at) {
            let on_failure = step.condition.as_ref().is_some_and(|own| own.text.trim() == "failure()");
            if !on_failure || !tells(facts) {
                continue;
            }
            let text = flow.text.get(step.span.range()).unwrap_or_default();
            let said = words(text);
            let needs = flow.closures[at].iter().map(|&up| &flow.model.jobs[up]);
            let mut unheard = needs.filter(|up| {
                let heard = up.steps.iter().any(|step| step.condition.as_ref().is_some_and(after_failure));
                !heard && words(&up.id.text).iter().any(|word| speaks(flow, job, step, (word, &said)))
            });
            let Some(up) = unheard.next() else { continue };
            report
                .add(
                    flow.file,
                    step.name_span(),
                    format!(
                        "this tells of a failure of `{}` too, and never runs then: `{}` is skipped as a whole",
                        up.id.text, job.id.text
                    ),
                )
                .severity(Severity::Medium)
                .confidence(Confidence::Medium)
                .also(flow.file, up.id.span, "its failure is told to nobody")
                .hint("tell it in a job of its own that needs both, with `if: failure()`")
                .done();
        }
    }
}

/// Tells whether a condition lets something run after a failure.
fn after_failure(own: &Condition) -> bool {
    own.asks_status() && !aggregate::is_default(&own.text)
}

/// Tells whether a step tells people something.
fn tells(facts: &StepFacts) -> bool {
    let opens = |command: &Command| matches!(command.inner(), [gh, what, does, ..] if gh == "gh" && what == "issue" && (does == "create" || does == "comment"));
    facts.does(Kind::Report) || facts.commands.iter().any(opens)
}

/// Returns the words of a text in small letters.
fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect()
}

/// Tells whether a step says that what a word stands for has failed, which nothing else of its job is called by.
fn speaks(flow: &Flow, job: &Job, step: &Step, (word, said): (&str, &[String])) -> bool {
    let fails = |next: &String| next.starts_with("fail");
    let failed = || {
        said.iter()
            .enumerate()
            .any(|(at, own)| own == word && said[at + 1..].iter().take(BETWEEN + 1).any(fails))
    };
    let own = || {
        let others = job.steps.iter().filter(|other| !std::ptr::eq(*other, step));
        let texts = others.filter_map(|other| flow.text.get(other.span.range()));
        words(&job.id.text).iter().any(|own| own == word) || texts.flat_map(words).any(|own| own == word)
    };
    word.len() > 3 && !PLAIN.contains(&word) && failed() && !own()
}
