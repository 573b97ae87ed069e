//! The outcome of tests that may fail is printed, and nobody judges it.

use kapell_spec::github::Job;

use crate::github::Flow;

/// What hands a text on, so that somebody may judge it after all.
const HANDS_ON: &[&str] = &["GITHUB_OUTPUT", "GITHUB_ENV", "set-output"];

/// Tells whether all that later steps and the job's outputs do with a step's outcome is to print it.
pub(super) fn only(flow: &Flow, job: &Job, index: usize) -> bool {
    let step = &job.steps[index];
    let Some(id) = &step.id else { return false };
    let asked = ["outcome", "conclusion"].map(|what| format!("steps.{}.{what}", id.text));
    let asks = |text: &str| asked.iter().any(|asked| text.contains(asked));
    let later = flow.text.get(step.span.end as usize..job.span.end as usize).unwrap_or_default();
    !job.outputs.iter().any(|(_, text)| asks(&text.text))
        && !HANDS_ON.iter().any(|word| later.contains(word))
        && later.lines().filter(|line| asks(line)).all(prints)
}

/// Tells whether a line of a script prints, and does nothing else.
fn prints(line: &str) -> bool {
    let line = line.trim_start().trim_start_matches("- ");
    let line = line.strip_prefix("run:").unwrap_or(line).trim_start();
    ["echo ", "printf "].iter().any(|print| line.starts_with(print))
        && ![" | ", "||", "&&", "exit", ";"].iter().any(|more| line.contains(more))
}
