//! Cells of a matrix do the same, since nobody reads what they differ in.

use kapell_spec::github::{Axis, Job};
use kapell_view::audit::{Confidence, Severity};

use crate::github::Flow;
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/matrix-axis-unread.md`.
pub(super) static RULE: Rule = Rule {
    name: "matrix-axis-unread",
    summary: "Cells of a matrix do the same: nobody reads what they differ in",
    group: Group::Waste,
    anti_pattern: None,
    focus: Focus::Performance,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/matrix-axis-unread.md"),
    check,
};

/// Names of axes that only say how often something is done.
const TIMES: &[&str] = &[
    "run",
    "runs",
    "attempt",
    "attempts",
    "iteration",
    "iterations",
    "repeat",
    "repetition",
    "round",
    "index",
    "instance",
    "number",
    "count",
    "copy",
    "containers",
    "container",
    "machines",
    "machine",
    "try",
    "n",
    "i",
    "x",
];

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        for (_, job) in flow.jobs() {
            let Some(axis) = unread(flow, job) else { continue };
            let values = axis.values.as_ref().map_or(0, Vec::len);
            let name = &axis.name.text;
            report
                .add(
                    flow.file,
                    axis.name.span,
                    format!(
                        "nothing in `{}` reads `matrix.{name}`, so it does the same {values} times",
                        job.id.text
                    ),
                )
                .hint(match &**name {
                    "os" | "runner" | "platform" => {
                        format!("set `runs-on: ${{{{ matrix.{name} }}}}`, or drop the axis")
                    }
                    _ => format!("use `matrix.{name}`, or drop the axis"),
                })
                .done();
        }
    }
}

/// Finds an axis of several values that nothing in the job reads.
fn unread<'a>(flow: &Flow, job: &'a Job) -> Option<&'a Axis> {
    let matrix = job.matrix.as_ref().filter(|matrix| !matrix.dynamic)?;
    let text = without_names(flow, job)?.to_ascii_lowercase();
    // The whole matrix, or the number of a cell, may be given to anything, and a tool may ask for it by a name of its own.
    let whole = ["tojson(matrix", "matrix[", "matrix.*", "strategy.job", "${{ matrix }}", "matrix)"];
    if whole.iter().any(|word| text.contains(word)) {
        return None;
    }
    let several = |axis: &&Axis| axis.values.as_ref().is_some_and(|values| values.len() > 1);
    let read = |name: &str| {
        let path = format!("matrix.{}", name.to_ascii_lowercase());
        text.match_indices(&path).any(|(at, _)| {
            let next = text[at + path.len()..].chars().next();
            !next.is_some_and(|next| next.is_ascii_alphanumeric() || matches!(next, '_' | '-'))
        })
    };
    // What an inclusion adds to some cells makes them differ.
    let extended = |axis: &&Axis| {
        matrix.include.iter().any(|cell| cell.values.iter().any(|(name, _)| name.text == axis.name.text))
    };
    let times = |axis: &&Axis| TIMES.contains(&&*axis.name.text.to_ascii_lowercase());
    matrix.axes.iter().filter(several).find(|axis| !read(&axis.name.text) && !extended(axis) && !times(axis))
}

/// Returns the text of a job without the names of it, of its steps and of what it uploads: they tell people of the cell, and
/// change nothing that it does.
fn without_names(flow: &Flow, job: &Job) -> Option<String> {
    let mut text = flow.text.get(job.span.range())?.to_owned();
    let uploads = job.steps.iter().filter(|step| step.is("actions/upload-artifact"));
    let names = job.steps.iter().filter_map(|step| step.name.as_ref()).chain(&job.name);
    let start = job.span.start as usize;
    for name in names.chain(uploads.filter_map(|step| step.input("name"))) {
        let range = name.span.range();
        let range = range.start.checked_sub(start)?..range.end.checked_sub(start)?;
        let blank = " ".repeat(text.get(range.clone())?.len());
        text.replace_range(range, &blank);
    }
    Some(text)
}
