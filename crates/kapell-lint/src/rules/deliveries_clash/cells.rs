//! Cells of a matrix that build an image for a platform each, and push all of them under the same tags.

use std::{borrow::Cow, collections::BTreeSet};

use kapell_core::expr::Value;
use kapell_spec::github::{Job, Step};
use kapell_view::audit::Severity;

use crate::{github::Flow, repository::Repository, rule::Report};

/// Words of what makes one image of several, in the same workflow or by its digests.
const MERGES: &[&str] = &["imagetools", "manifest", "push-by-digest", "digests"];

/// Tells of images of several platforms of which each replaces the one before.
///
/// Sources: Docker, "Immutable tags on Docker Hub": by default a tag can be changed to reference a different image; "Multi-platform
/// image with GitHub Actions", "Distribute build across multiple runners": each platform is pushed by its digest, and a job that needs
/// all of them makes the tags with `docker buildx imagetools create`.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let pushing = |flow: &&Flow| {
        ["docker/build-push-action", "matrix."].iter().all(|word| flow.text.contains(word))
            && !MERGES.iter().any(|word| flow.text.contains(word))
    };
    for flow in repository.asked_flows().filter(pushing) {
        for (_, job) in flow.jobs() {
            let pushed = job.steps.iter().find(|step| is_pushed_by_platform(job, step));
            let Some(tags) = pushed.and_then(|step| step.input("tags")) else { continue };
            let message = format!(
                "each cell of `{}` pushes its platform under the same tags: only that of the last one stays",
                &*job.id
            );
            report
                .add(flow.file, tags.span, message)
                .severity(Severity::High)
                .hint("push each by its digest, and make the tags in a job that needs all cells: `docker buildx imagetools create`")
                .done();
        }
    }
}

/// Tells whether a step pushes an image for the platform of its cell alone, under tags in which nothing of the cell stands.
fn is_pushed_by_platform(job: &Job, step: &Step) -> bool {
    let pushes = step.is("docker/build-push-action")
        && step.condition.is_none()
        && step.input("push").is_some_and(|push| push.is("true"))
        && step.input("outputs").is_none();
    let axis = || step.input("platforms")?.expression()?.strip_prefix("matrix.");
    pushes && axis().is_some_and(|axis| has_one_each(job, axis)) && are_tags_alike(job, step)
}

/// Tells whether each cell of the matrix of a job has a platform of its own under a name, and only one.
fn has_one_each(job: &Job, axis: &str) -> bool {
    let Some(cells) = job.matrix.as_ref().and_then(|matrix| matrix.cells()) else { return false };
    let platform = |cell: &[(&'_ str, &'_ Value)]| {
        let (_, value) = cell.iter().find(|(name, _)| *name == axis)?;
        value.text().map(Cow::into_owned).filter(|own| own.contains('/') && !own.contains([',', '$']))
    };
    let mut platforms = BTreeSet::new();
    cells.len() > 1 && cells.iter().all(|cell| platform(cell).is_some_and(|own| platforms.insert(own)))
}

/// What may be another text in each cell.
const OF_CELL: &[&str] = &["matrix.", "steps.", "strategy.", "runner.", "$("];

/// Tells whether the tags of a step are the same in each cell: they are written out, or `docker/metadata-action` makes them of
/// what does not change with the cell.
fn are_tags_alike(job: &Job, step: &Step) -> bool {
    let of_cell = |text: &str| OF_CELL.iter().any(|word| text.contains(word));
    let set = job.env.iter().chain(&step.env).any(|(_, value)| of_cell(value))
        || job.steps.iter().any(|step| step.script().contains("GITHUB_ENV"));
    let Some(tags) = step.input("tags").filter(|tags| !tags.trim().is_empty() && !set) else { return false };
    if !of_cell(tags) {
        return true;
    }
    let made = || {
        let id = tags.expression()?.strip_prefix("steps.")?.strip_suffix(".outputs.tags")?;
        job.steps.iter().find(|step| step.id.as_ref().is_some_and(|own| *own.text == *id))
    };
    made().is_some_and(|made| {
        made.is("docker/metadata-action")
            && made.with.iter().chain(&made.env).all(|(_, value)| !of_cell(value))
    })
}
