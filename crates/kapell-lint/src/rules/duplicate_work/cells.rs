//! Jobs that are one cell of the matrix of another one.

use std::collections::BTreeSet;

use kapell_core::expr::Value;
use kapell_spec::github::{Job, Step};

/// The values of a cell by their axes.
type Cell<'a> = [(&'a str, &'a Value)];

/// Tells whether some cell of a job prepares all that another job does before its step of that number, on the same runner.
pub(super) fn has(job: &Job, other: &Job, step: usize) -> bool {
    let cells = job.matrix.as_ref().and_then(|matrix| matrix.cells()).unwrap_or_default();
    let runners_of_other = runners(other, &[]);
    let wanted: BTreeSet<String> = other.steps[..step].iter().map(|step| does(step, &[])).collect();
    let always = || job.steps.iter().filter(|step| step.condition.is_none());
    cells.iter().any(|cell| {
        runners(job, cell) == runners_of_other
            && wanted.is_subset(&always().map(|step| does(step, cell)).collect())
    })
}

/// Returns what a job runs on in a cell.
pub(super) fn runners(job: &Job, cell: &Cell<'_>) -> Vec<String> {
    job.runs_on.iter().map(|label| filled(&label.text, cell)).collect()
}

/// Returns what a step uses and runs in a cell, whatever it is called.
fn does(step: &Step, cell: &Cell<'_>) -> String {
    let uses = step.uses.as_ref().map_or("", |(text, _)| &*text.text);
    let mut given: Vec<String> =
        step.with.iter().map(|(name, text)| format!("{}={}", name.text, filled(&text.text, cell))).collect();
    given.sort_unstable();
    format!("{uses}\n{}\n{}", given.join("\n"), filled(step.script().trim(), cell))
}

/// Returns a text with the values of a cell for its axes.
fn filled(text: &str, cell: &Cell<'_>) -> String {
    let mut text = text.to_owned();
    for (name, value) in cell {
        if let Some(value) = value.text().filter(|_| text.contains("matrix.")) {
            text = text.replace(&format!("${{{{ matrix.{name} }}}}"), &value);
        }
    }
    text
}
