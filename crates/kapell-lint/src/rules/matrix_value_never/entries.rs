//! Entries of `exclude` and `include` that do not do what they are there for.

use kapell_core::expr::Value;
use kapell_spec::github::{Axis, Cell, Matrix, Name};
use kapell_view::audit::Severity;

use crate::{github::Flow, rule::Report};

/// Tells of entries of `exclude` with a value that its axis does not have: they take nothing out.
///
/// Source: GitHub, "Workflow syntax", `jobs.<job_id>.strategy.matrix.exclude`: an entry takes out what fits it, and `include` is added
/// afterwards. What was dropped from an axis is often left here and does no harm; a version between those of the axis was none of these.
pub(super) fn excludes_nothing(flow: &Flow, (job, matrix): (&str, &Matrix), report: &mut Report<'_>) {
    if matrix.dynamic {
        return;
    }
    for cell in &matrix.exclude {
        let foreign = cell.values.iter().find_map(|(name, value)| {
            let axis = axis_of(matrix, name)?;
            let listed = axis.values.as_ref()?;
            let text = value.text()?;
            let texts: Option<Vec<_>> = listed.iter().map(|(value, _)| value.text()).collect();
            let texts: Vec<String> = texts?.iter().map(|text| text.to_string()).collect();
            let has = listed.iter().any(|(own, _)| is_same(own, value));
            (!has && !text.contains("${{")).then(|| (axis, text.to_string(), texts))
        });
        let Some((axis, text, listed)) = foreign else { continue };
        let meant = is_between(&text, &listed);
        report
            .add(
                flow.file,
                cell.span,
                format!(
                    "`{}` of `{job}` is never `{text}`, so this entry of `exclude` takes nothing out",
                    axis.name.text
                ),
            )
            .severity(if meant { Severity::Medium } else { Severity::Low })
            .hint(format!(
                "name one of its values, or drop the entry: {}",
                listed.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(", ")
            ))
            .done();
    }
}

/// Tells of an entry of `include` that only repeats values of an axis, in front of one that lacks that axis: they were one entry,
/// until a dash too many made two of it.
///
/// Source: GitHub, "Workflow syntax", `jobs.<job_id>.strategy.matrix.include`: what overwrites nothing and adds nothing changes nothing,
/// and what fits no cell is a cell of its own.
pub(super) fn split(flow: &Flow, (job, matrix): (&str, &Matrix), report: &mut Report<'_>) {
    if matrix.dynamic || matrix.axes.len() < 2 {
        return;
    }
    let has = |(name, value): &(Name, Value)| {
        axis_of(matrix, name).map(|axis| axis.values.iter().flatten().any(|(own, _)| is_same(own, value)))
    };
    for pair in matrix.include.windows(2) {
        let [first, second] = pair else { continue };
        let idle = !first.values.is_empty() && first.values.iter().all(|one| has(one) == Some(true));
        let apart =
            !second.values.iter().any(|(name, _)| first.values.iter().any(|(own, _)| own.text == name.text));
        let new = second.values.iter().any(|one| has(one) == Some(false));
        let whole = first.values.len() + second.values.len() == matrix.axes.len()
            && second.values.iter().all(|one| has(one).is_some());
        if idle && apart && new && whole {
            tell_split(flow, job, (first, second), report);
        }
    }
}

fn tell_split(flow: &Flow, job: &str, (first, second): (&Cell, &Cell), report: &mut Report<'_>) {
    let named = |cell: &Cell| {
        let all = cell
            .values
            .iter()
            .map(|(name, value)| format!("`{}: {}`", name.text, value.text().unwrap_or_default()));
        all.collect::<Vec<_>>().join(", ")
    };
    report
        .add(
            flow.file,
            first.span,
            format!("{} alone adds nothing to the matrix of `{job}`, and the cell of {} has none of it: they are two entries", named(first), named(second)),
        )
        .severity(Severity::Medium)
        .also(flow.file, second.span, "this cell lacks it")
        .hint("make one entry of both: without a dash in front of the second")
        .done();
}

fn axis_of<'a>(matrix: &'a Matrix, name: &Name) -> Option<&'a Axis> {
    matrix.axes.iter().find(|axis| axis.name.text.eq_ignore_ascii_case(&name.text))
}

fn is_same(one: &Value, other: &Value) -> bool {
    let texts = one.text().zip(other.text());
    one.loosely_equals(other) == Some(true)
        || texts.is_some_and(|(one, other)| one.eq_ignore_ascii_case(&other))
}

/// Tells whether a text is a version that is later than one of a list and earlier than another one, or later than one and all others
/// are words.
fn is_between(text: &str, listed: &[String]) -> bool {
    let Some(own) = version(text) else { return false };
    let known: Vec<Vec<u32>> = listed.iter().filter_map(|text| version(text)).collect();
    let earlier = known.iter().any(|other| *other < own);
    let later = known.iter().any(|other| own < *other) || known.len() < listed.len();
    earlier && later
}

/// Reads `1.62` or `18`.
fn version(text: &str) -> Option<Vec<u32>> {
    text.split('.').map(|part| part.parse().ok()).collect()
}
