//! Outputs of actions that are named by what the action is given: filters of paths.

use std::collections::BTreeMap;

use kapell_spec::{
    finding::Span,
    github::{Step, Word},
    suggest,
};
use kapell_view::audit::Severity;

use super::{goes_out, handed_on, is_unread};
use crate::{github::Flow, repository::Repository, rule::Report};

/// Actions with one output for each filter, whether anything that it names has changed.
///
/// Source: dorny/paths-filter, README, "Outputs", v3.
const FILTERS: &[&str] = &["dorny/paths-filter", "AurorNZ/paths-filter"];

/// Tells of outputs for which there is no filter.
pub(super) fn check(repository: &Repository, flow: &Flow, at: usize, report: &mut Report<'_>) {
    for (step, _) in flow.steps(at).filter(|(step, _)| FILTERS.iter().any(|action| step.is(action))) {
        let (Some(id), Some(names)) = (&step.id, names(repository, step)) else { continue };
        let has = |output: &str| {
            let filter = ["_count", "_files"].iter().find_map(|end| output.strip_suffix(end));
            let named = |wanted: &str| names.iter().any(|name| name.eq_ignore_ascii_case(wanted));
            output.eq_ignore_ascii_case("changes") || named(output) || filter.is_some_and(named)
        };
        for (output, places) in reads(flow, at, &id.text) {
            if output == "*" || has(output) {
                continue;
            }
            let [first, rest @ ..] = &places[..] else { continue };
            let message = format!(
                "`steps.{0}.outputs.{output}` is always empty: `{0}` has no filter `{output}`",
                id.text
            );
            let hint = match suggest::mistyped(output, names.iter().copied(), 2) {
                Some(near) => format!("read `{near}`"),
                None => format!("name one of its filters `{output}`, or read one of {}", listed(&names)),
            };
            let draft = report.add(flow.file, *first, message).severity(weight(flow, at, &places));
            let mut draft = draft.also(flow.file, id.span, "its filters").hint(hint);
            for place in rest {
                draft = draft.also(flow.file, *place, "read here, too");
            }
            draft.done();
        }
    }
}

/// Returns the names of the filters that a step is given, in its own text or in a file of the repository; `None` where they
/// are made up elsewhere.
fn names<'a>(repository: &'a Repository, step: &'a Step) -> Option<Vec<&'a str>> {
    let given = step.input("filters")?.literal()?;
    let text = match given.contains('\n') || given.contains(':') {
        true => given,
        false => &*repository.files[repository.files.find(given.trim().trim_start_matches("./"))?].text,
    };
    let mut names = Vec::new();
    for line in text.lines().map(|line| line.trim_end()) {
        if line.is_empty() || line.starts_with([' ', '\t', '#', '-']) {
            continue;
        }
        let (name, _) = line.split_once(':')?;
        names.push(name.trim().trim_matches(['"', '\'']));
    }
    (!names.is_empty()).then_some(names)
}

/// Returns what a job reads of the outputs of a step: by their names, with their places.
fn reads<'a>(flow: &'a Flow, at: usize, id: &str) -> BTreeMap<&'a str, Vec<Span>> {
    let mut found: BTreeMap<&str, Vec<Span>> = BTreeMap::new();
    let all = flow.model.jobs[at].expressions.iter();
    for expression in all.filter(|expression| expression.says(Word::Steps)) {
        for reference in expression.expr.root().references() {
            let path: Vec<&str> = reference.path.iter().map(|(name, _)| *name).collect();
            if let ["steps", step, "outputs", output, ..] = path[..]
                && step.eq_ignore_ascii_case(id)
            {
                found.entry(output).or_default().push(expression.span(&flow.text));
            }
        }
    }
    found
}

/// A job that is asked for by such an output never runs.
fn weight(flow: &Flow, at: usize, places: &[Span]) -> Severity {
    if places.iter().all(|&place| is_unread(flow, at, place)) {
        return Severity::Low;
    }
    let job = &flow.model.jobs[at];
    let decides = |place: Span| {
        handed_on(job, place).is_some_and(|name| {
            let read = format!("needs.{}.outputs.{}", job.id.text, name.text);
            flow.jobs().filter_map(|(_, job)| job.condition.as_ref()).any(|known| known.text.contains(&read))
        })
    };
    match places.iter().any(|&place| decides(place) || goes_out(flow, at, place)) {
        true => Severity::High,
        false => Severity::Medium,
    }
}

fn listed(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
