//! A matrix has only one cell.

use kapell_spec::github::Axis;
use kapell_view::audit::{Confidence, Severity};

use crate::github::{Flow, intent};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

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
        for (at, job) in flow.jobs() {
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
            match grows(flow, at, axis) {
                Some(why) => draft.explained(why).done(),
                None => draft.done(),
            }
        }
    }
}

/// Words of comments that count on more values. One that names values that are gone is no reason.
const REASONS: &[&str] = &[
    "later",
    "todo",
    "fixme",
    "more to come",
    "will add",
    "re-enable",
    "reenable",
    "temporar",
    "until",
    "once ",
    "when ",
    "broken",
    "blocked",
    "disabled",
    "does not support",
    "doesn't support",
    "not supported",
    "not yet",
    "waiting",
    "flaky",
];

/// Says why a list of one is a list: its values come and go, or its sisters have more.
fn grows(flow: &Flow, at: usize, axis: &Axis) -> Option<String> {
    let text = flow.text.get(axis.span.range()).unwrap_or_default();
    let lines = text.lines().count() + 1;
    if let Some(comment) = intent::explains(flow, axis.name.span, lines, REASONS) {
        return Some(comment);
    }
    // `# - windows-latest` below the value, or `[ubuntu-latest] # , macos-latest]`.
    let first =
        axis.values.as_ref().and_then(|values| values.first()).map_or(axis.name.span, |(_, span)| *span);
    let after = flow.text.get(first.end as usize..).unwrap_or_default();
    let rest = after.lines().next().unwrap_or_default();
    let off = after
        .lines()
        .skip(1)
        .map(str::trim)
        .take_while(|line| line.starts_with(['#', '-']) || line.is_empty());
    let aside = off.chain([rest.trim_start_matches([']', '\'', '"', ' '])]).find_map(|line| {
        let value = line.strip_prefix('#')?.trim_start();
        value.starts_with(['-', ',', '[', '\'', '"']).then(|| line.to_owned())
    });
    // Jobs that are kept alike may have lists of their own length.
    let sister = || {
        let same = |known: &Axis| {
            known.name.text == axis.name.text && known.values.as_ref().is_none_or(|values| values.len() > 1)
        };
        let wide = flow.jobs().find(|(other, job)| {
            *other != at && job.matrix.as_ref().is_some_and(|matrix| matrix.axes.iter().any(same))
        });
        wide.map(|(_, job)| format!("`{}` has more of the same axis", job.id.text))
    };
    aside.or_else(sister)
}
