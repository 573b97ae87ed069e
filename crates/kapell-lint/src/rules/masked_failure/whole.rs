//! Jobs that may fail as a whole.

use kapell_spec::github::{Job, Text};
use kapell_view::audit::Severity;

use super::words::{AHEAD, ASIDE, LENIENT, LENIENT_AS_A_WHOLE, is_lenient};
use crate::{
    github::{
        Flow, comments,
        lenience::{Lenience, lenience},
        tools::Kind,
    },
    rule::Report,
};

/// A job of checks that may fail as a whole, and nobody asks for its result.
pub(super) fn check(flow: &Flow, at: usize, header: &str, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let Some(lenient) = job.continue_on_error.as_ref() else { return };
    match lenience(flow, lenient) {
        Some(Lenience::All) => {}
        Some(Lenience::AllBut(unsure)) => return wrong_way_round(flow, at, lenient, &unsure, report),
        None => return,
    }
    let name =
        format!("{} {}", job.id.text, job.name.as_ref().map_or("", |name| &name.text)).to_ascii_lowercase();
    let does = |kinds: &[Kind]| flow.facts[at].iter().any(|facts| kinds.iter().any(|&kind| facts.does(kind)));
    let tests = does(&[Kind::Test, Kind::Audit, Kind::Build]);
    let only_reads = does(&[Kind::Lint]) && !does(&[Kind::Report]);
    // What waits for it is told of as a gate.
    let awaited = flow.jobs().any(|(other, _)| flow.closures[other].contains(&at));
    let meant = LENIENT.iter().chain(ASIDE).any(|word| name.contains(word))
        || ["bench", "perf", "doc", "beta", "pre-release", "prerelease", "upstream", "future", "head"]
            .iter()
            .any(|word| name.contains(word))
        || name.split(|letter: char| !letter.is_alphanumeric()).any(|word| AHEAD.contains(&word));
    if !(tests || only_reads) || awaited || meant {
        return;
    }
    let span = job.keys.get("continue-on-error").map_or(lenient.span, |key| key.span.to(key.value));
    let comment = comments::at(flow, job.span, 3) + &comments::at(flow, span, 1);
    // A comment that lets one cell of the matrix fail says nothing of the others.
    let of_one = names_a_cell(flow, job, &comment);
    let said = is_lenient(&comment).then_some(comment);
    let said = said.filter(|_| !of_one);
    let does_tests = |other: usize| tests_of(flow, other).next().is_some();
    let ahead = LENIENT.iter().any(|word| flow.path.contains(word));
    let only = !ahead && does_tests(at) && tested_nowhere_else(flow, at);
    let severity = match tests {
        true if only => Severity::High,
        true => Severity::Medium,
        false => Severity::Low,
    };
    let draft = report
        .add(flow.file, span, format!("`{}` may fail and the run stays green", job.id.text))
        .severity(severity)
        .hint("drop `continue-on-error`, or say in a comment why a failure does not matter");
    let header = LENIENT_AS_A_WHOLE.iter().find(|word| header.contains(**word));
    match said.or_else(|| header.map(|word| format!("the header says `{word}`"))) {
        Some(comment) => draft.explained(comment).done(),
        None => draft.done(),
    }
}

/// Returns the commands and actions by which a job tests.
fn tests_of(flow: &Flow, at: usize) -> impl Iterator<Item = &str> {
    let works = flow.facts[at].iter().flat_map(|facts| &facts.works);
    works.filter(|done| done.work.kind == Kind::Test).map(|done| done.text.as_str())
}

/// Tells whether no other job of the workflow runs a program by which a job tests: that others test something else does not
/// make up for it.
fn tested_nowhere_else(flow: &Flow, at: usize) -> bool {
    // What begins with the same two words is the same: options may only choose among the tests.
    let program = |text: &str| text.split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>();
    let own: Vec<Vec<String>> = tests_of(flow, at).map(program).collect();
    flow.jobs()
        .filter(|(other, _)| *other != at)
        .all(|(other, _)| tests_of(flow, other).all(|text| !own.contains(&program(text))))
}

/// All cells of a matrix of checks may fail, but for the one that tries what nobody relies on.
fn wrong_way_round(flow: &Flow, at: usize, lenient: &Text, unsure: &str, report: &mut Report<'_>) {
    let checks = flow.facts[at].iter().flat_map(|facts| &facts.works).any(|done| done.work.kind.checks());
    if !checks {
        return;
    }
    let job = &flow.model.jobs[at];
    let span = job.keys.get("continue-on-error").map_or(lenient.span, |key| key.span.to(key.value));
    report
        .add(flow.file, span, format!("every cell of `{}` may fail but `{unsure}`", job.id.text))
        .hint("turn the condition round: only what is not relied on may fail")
        .done();
}

/// Tells whether a comment names one value of an axis that has others.
fn names_a_cell(flow: &Flow, job: &Job, comment: &str) -> bool {
    let axes = job.matrix.iter().flat_map(|matrix| &matrix.axes);
    axes.filter_map(|axis| axis.values.as_ref()).any(|values| {
        let named = values.iter().filter(|(_, span)| {
            let text = flow.text.get(span.range()).unwrap_or_default();
            let value = text.trim_matches(['\'', '"']);
            value.len() > 1 && comment.split([' ', ',', ':']).any(|word| word.trim_matches('`') == value)
        });
        let named = named.count();
        named > 0 && named < values.len()
    })
}
