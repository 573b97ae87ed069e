//! Tests that are split into more parts than the matrix has cells for.

use std::collections::BTreeSet;

use kapell_core::expr::Value;
use kapell_view::audit::Severity;

use crate::{github::Flow, rule::Report};

/// Words in front of the number of a part.
const SPLITS: &[&str] = &["shard", "partition", "split", "slice", "part", "group"];

/// Looks at `--shard=${{ matrix.shard }}/4` and `--splits 4 --group ${{ matrix.group }}`.
pub(super) fn check(flow: &Flow, at: usize, cells: &[Vec<(&str, &Value)>], report: &mut Report<'_>) {
    for (step, _) in flow.steps(at) {
        let script = step.script();
        if !script.contains("matrix.") || !SPLITS.iter().any(|word| script.contains(word)) {
            continue;
        }
        for (start, _) in script.match_indices("${{") {
            let Some((inner, rest)) = script[start + 3..].split_once("}}") else { break };
            let Some(axis) = inner.trim().strip_prefix("matrix.") else { continue };
            let line = script[..start].rsplit('\n').next().unwrap_or_default();
            let word =
                line.rsplit([' ', '\t']).find(|word| word.contains(char::is_alphabetic)).unwrap_or(line);
            let named = SPLITS.iter().any(|split| word.contains(split));
            let number = |text: &str| -> Option<usize> {
                let len = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
                text[..len].parse().ok()
            };
            let whole = rest.strip_prefix('/').and_then(number);
            let by_flag = || {
                let (_, behind) = script.split_once("--splits")?;
                number(behind.trim_start_matches([' ', '=']))
            };
            let Some(parts) = whole.or_else(by_flag).filter(|_| named) else { continue };
            let values: BTreeSet<String> = cells
                .iter()
                .flatten()
                .filter(|(name, _)| name.eq_ignore_ascii_case(axis))
                .filter_map(|(_, value)| value.text().map(|text| text.into_owned()))
                .collect();
            let numbers = values.iter().all(|text| text.parse::<usize>().is_ok());
            if values.is_empty() || !numbers || values.len() >= parts || parts > 256 {
                continue;
            }
            report
                .add(
                    flow.file,
                    flow.script_line(step, start, "matrix"),
                    format!("the tests are split into {parts} parts, and `matrix.{axis}` has {} values: the others never run", values.len()),
                )
                .severity(Severity::High)
                .hint(format!("list all {parts} parts in the matrix, or split into {}", values.len()))
                .done();
            return;
        }
    }
}
