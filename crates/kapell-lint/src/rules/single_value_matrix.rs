//! A matrix has only one cell.

use crate::github::intent;
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};
use kapell_view::audit::{Confidence, Severity};

/// See `docs/rules/single-value-matrix.md`.
pub(super) static RULE: Rule = Rule {
    name: "single-value-matrix",
    summary: "A matrix has only one cell",
    group: Group::Waste,
    anti_pattern: None,
    focus: Focus::Performance,
    severity: Severity::Low,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/single-value-matrix.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        for (_, job) in flow.jobs() {
            let Some(matrix) = &job.matrix else { continue };
            let [axis] = &matrix.axes[..] else { continue };
            let plain = matrix.include.is_empty() && matrix.exclude.is_empty() && !matrix.dynamic;
            let one = axis.values.as_ref().is_some_and(|values| {
                values.len() == 1 && values[0].0.is_known() && values[0].0.is_primitive()
            });
            if !plain || !one {
                continue;
            }
            let draft = report
                .add(flow.file, axis.name.span, format!("the matrix of `{}` has only one cell", job.id.text))
                .hint("write the value where it is used");
            // A comment that counts on more values than are left is no reason.
            match intent::explains(
                flow,
                axis.name.span,
                1,
                &["later", "todo", "more to come", "will add", "re-enable", "temporar"],
            ) {
                Some(comment) => draft.explained(comment).done(),
                None => draft.done(),
            }
        }
    }
}
