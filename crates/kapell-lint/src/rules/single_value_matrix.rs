//! A matrix has only one cell.

use kapell_spec::{
    finding::Span,
    github::{Axis, Matrix},
};
use kapell_view::audit::{Confidence, Severity};

use crate::github::{Flow, comments};
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
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/single-value-matrix.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        for (at, job) in flow.jobs() {
            let Some(matrix) = &job.matrix else { continue };
            let Some(place) = single(matrix) else { continue };
            let draft = report
                .add(flow.file, place, format!("the matrix of `{}` has only one cell", job.id.text))
                // A list of one is kept for the day on which a second value comes; several of them are no matrix.
                .severity(match matrix.axes.len() > 1 && matrix.include.is_empty() {
                    true => Severity::Low,
                    false => Severity::Info,
                })
                .hint("write the value where it is used");
            let why = matrix
                .axes
                .iter()
                .find_map(|axis| grows(flow, axis).or_else(|| sister(flow, at, axis)))
                .or_else(|| inclusions_off(flow, matrix));
            match why {
                Some(why) => draft.explained(why).done(),
                None => draft.done(),
            }
        }
    }
}

/// Returns where a matrix of one cell says so: at its first axis, or at its only inclusion.
fn single(matrix: &Matrix) -> Option<Span> {
    // A list or a mapping in a cell is data that a step reads; to write it there would not be shorter. Nor would a row of
    // several values, to which others may be added.
    let row = matrix.axes.is_empty() && matrix.include.first().is_some_and(|cell| cell.values.len() > 1);
    let plain = |axis: &Axis| {
        axis.values.as_ref().is_some_and(|values| {
            values.len() == 1 && values.iter().all(|(value, _)| value.is_known() && value.is_primitive())
        })
    };
    let one =
        !row && matrix.exclude.is_empty() && matrix.axes.iter().all(plain) && matrix.cells()?.len() == 1;
    let place = match &matrix.axes[..] {
        [first, ..] => first.name.span,
        [] => matrix.include.first()?.span,
    };
    one.then_some(place)
}

/// Finds a job that is kept alike: its list of the same axis is longer. Where nobody reads the value, there is nothing to
/// keep.
fn sister(flow: &Flow, at: usize, axis: &Axis) -> Option<String> {
    let job = flow.text.get(flow.model.jobs[at].span.range()).unwrap_or_default();
    if !job.contains(&format!("matrix.{}", axis.name.text)) {
        return None;
    }
    let same = |known: &Axis| {
        known.name.text == axis.name.text && known.values.as_ref().is_none_or(|values| values.len() > 1)
    };
    let wide = flow.jobs().find(|(other, job)| {
        *other != at && job.matrix.as_ref().is_some_and(|matrix| matrix.axes.iter().any(same))
    });
    wide.map(|(_, job)| format!("`{}` has more of the same axis", job.id.text))
}

/// Finds an inclusion that is off for now: `# - os: windows-latest`.
fn inclusions_off(flow: &Flow, matrix: &Matrix) -> Option<String> {
    let only = matrix.include.first()?;
    if let Some(comment) =
        comments::explains(flow, only.span, flow.text[only.span.range()].lines().count() + 1, REASONS)
    {
        return Some(comment);
    }
    let around = [flow.text.get(matrix.span.range())?, flow.text.get(only.span.end as usize..)?];
    around.iter().flat_map(|text| text.lines().take(40).take_while(|line| is_list(line))).find_map(|line| {
        let off = line.trim().strip_prefix('#')?.trim_start();
        let starts = off.starts_with(['-', '{', '[']) || off.starts_with("os:") || off.starts_with("target:");
        starts.then(|| line.trim().to_owned())
    })
}

/// Tells whether a line may still belong to the list of inclusions: an item, a comment, or a key below an item.
fn is_list(line: &str) -> bool {
    let trimmed = line.trim();
    trimmed.is_empty()
        || trimmed.starts_with(['#', '-', '{', '}', ']'])
        || trimmed.contains(": ") && !trimmed.starts_with("steps")
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

/// Says why a list of one is a list: its values come and go.
fn grows(flow: &Flow, axis: &Axis) -> Option<String> {
    let text = flow.text.get(axis.span.range()).unwrap_or_default();
    let lines = text.lines().count() + 1;
    if let Some(comment) = comments::explains(flow, axis.name.span, lines, REASONS) {
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
    off.chain([rest.trim_start_matches([']', '\'', '"', ' '])]).find_map(|line| {
        let value = line.strip_prefix('#')?.trim_start();
        value.starts_with(['-', ',', '[', '\'', '"']).then(|| line.to_owned())
    })
}
