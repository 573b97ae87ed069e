//! An output that each cell of a matrix sets to another value: a job has one value of it.

use kapell_spec::github::{Job, Step, Word};
use kapell_view::audit::{Confidence, Severity};

use super::super::unsatisfiable_if::handed_on;
use crate::{github::Flow, rule::Report};

/// Tells of the outputs of a matrix that another matrix reads in each of its cells, as if each had a value of its own.
///
/// Source: GitHub, "Workflow syntax", `jobs.<job_id>.outputs`: outputs of a matrix are those of the job, and the last cell
/// that sets one decides; the order of cells is not guaranteed.
pub(super) fn check(flow: &Flow, at: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    for expression in job.expressions.iter().filter(|expression| expression.says(Word::Needs)) {
        for reference in expression.expr.root().references() {
            let path: Vec<&str> = reference.path.iter().map(|(name, _)| *name).collect();
            let ["needs", id, "outputs", output] = path[..] else { continue };
            let Some((from, step, own)) = handed_on(flow, id, output) else { continue };
            if from == at {
                continue;
            }
            let gets = match overwritten(flow, from, (step, own), job) {
                Some(axis) => format!("here each `{axis}` gets"),
                None if of_image(flow, from, (step, own)) => "this is".to_owned(),
                None => continue,
            };
            let id = &flow.model.jobs[from].id;
            let message = format!(
                "every cell of `{}` sets the one output `{output}`: {gets} that of the cell that ends last",
                id.text
            );
            report
                .add(flow.file, expression.span(&flow.text), message)
                .severity(Severity::High)
                .confidence(Confidence::High)
                .also(flow.file, id.span, "has one value for all cells")
                .hint("hand each value on in an artifact of its own, or do both in one job")
                .done();
            return;
        }
    }
}

/// Tells whether a step gives what is another in each cell: the digest of an image that the matrix has a say in.
///
/// Source: docker/build-push-action, "outputs": `imageid`, `digest`, `metadata`.
fn of_image(flow: &Flow, from: usize, (step, output): (&str, &str)) -> bool {
    let job = &flow.model.jobs[from];
    let named = |own: &&Step| own.id.as_ref().is_some_and(|id| id.text.eq_ignore_ascii_case(step));
    let Some(step) = job.steps.iter().find(named) else { return false };
    let cells = job.matrix.as_ref().and_then(|matrix| matrix.cells()).map_or(0, |cells| cells.len());
    let varies = ["context", "file", "platforms", "target", "build-args"]
        .iter()
        .any(|input| step.input(input).is_some_and(|text| text.text.contains("matrix.")));
    let of_image = matches!(output, "digest" | "imageid" | "metadata");
    of_image && varies && cells > 1 && step.condition.is_none() && step.is("docker/build-push-action")
}

/// Returns the axis that two matrices share, if the step that sets an output does so for each of its values.
fn overwritten<'a>(
    flow: &'a Flow,
    from: usize,
    (step, output): (&str, &str),
    reader: &Job,
) -> Option<&'a str> {
    let job = &flow.model.jobs[from];
    let named = |own: &&Step| own.id.as_ref().is_some_and(|id| id.text.eq_ignore_ascii_case(step));
    let step = job.steps.iter().find(named)?;
    let axes = &job.matrix.as_ref()?.axes;
    let axis = axes.iter().find(|axis| {
        axis.values.as_ref().is_some_and(|values| values.len() > 1)
            && varies(step, output, &format!("matrix.{}", axis.name.text))
    })?;
    let same = |other: &kapell_spec::github::Axis| {
        let texts = |axis: &kapell_spec::github::Axis| -> Option<Vec<String>> {
            axis.values.as_ref()?.iter().map(|(value, _)| Some(value.text()?.into_owned())).collect()
        };
        other.name.text == axis.name.text && texts(other).is_some() && texts(other) == texts(axis)
    };
    let shared = reader.matrix.as_ref()?.axes.iter().any(same);
    // One that only some cells set, or under a name of its own for each, is no one's but theirs.
    let some = step.condition.as_ref().is_some_and(|own| own.text.contains("matrix."))
        || job.steps.iter().any(|other| own_name(other, &axis.name.text));
    (shared && !some).then_some(&axis.name.text)
}

/// Tells whether the value of an output hangs on a value of the matrix: the line says so that writes it, or it is of an image
/// that is made with it.
fn varies(step: &Step, output: &str, value: &str) -> bool {
    const OF_IMAGES: &[&str] = &["digest", "imageid", "metadata", "tags", "json", "labels"];
    let made = step.is("docker/build-push-action") || step.is("docker/metadata-action");
    let given = || step.with.iter().any(|(_, text)| text.text.contains(value));
    let written = || {
        let start = format!("{output}=");
        step.script()
            .lines()
            .any(|line| line.split_once(&*start).is_some_and(|(_, rest)| rest.contains(value)))
    };
    made && OF_IMAGES.contains(&output) && given() || written()
}

/// Tells whether a script writes an output whose name has the value of an axis in it: `echo "${{ matrix.os }}=$x"`.
fn own_name(step: &Step, axis: &str) -> bool {
    step.script().lines().filter(|line| line.contains("GITHUB_OUTPUT")).any(|line| {
        line.split_once('=').is_some_and(|(name, _)| name.contains("matrix.") && name.contains(axis))
    })
}
