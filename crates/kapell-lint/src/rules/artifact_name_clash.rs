//! Two uploads of one run give the same name to their artifacts.

use kapell_spec::{
    finding::Span,
    github::{Step, Uses},
};
use kapell_view::audit::{Confidence, Severity};

use crate::github::{Flow, StepFacts};
use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/artifact-name-clash.md`.
pub(super) static RULE: Rule = Rule {
    name: "artifact-name-clash",
    summary: "Several uploads of one run give their artifacts the same name: all but the first fail",
    group: Group::Dead,
    anti_pattern: None,
    focus: Focus::Conflicts,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/artifact-name-clash.md"),
    check,
};

/// Two jobs of one run give their artifacts the same name.
fn two_jobs(flow: &Flow, report: &mut Report<'_>) {
    // The names that differ in nothing of the job's own, with the jobs that take them.
    let mut taken: Vec<(String, usize, Span)> = Vec::new();
    for (at, job) in flow.jobs() {
        if job.condition.is_some() || job.matrix.is_some() {
            continue;
        }
        for (step, facts) in flow.steps(at).filter(|(step, _)| step.condition.is_none()) {
            let Some(artifact) = facts.uploads.first().filter(|_| adds_nothing(step)) else { continue };
            let (Some(name), None) = (step.input("name"), &step.continue_on_error) else { continue };
            let own =
                ["github.job", "matrix.", "strategy.", "steps.", "env.", "needs.", "hashFiles", "runner."];
            if own.iter().any(|word| name.text.contains(word)) || artifact.all {
                continue;
            }
            let plain: String = name.text.split_whitespace().collect();
            match taken.iter().find(|(known, other, _)| *known == plain && *other != at) {
                Some((_, other, first)) => {
                    let (one, two) = (&flow.model.jobs[*other].id.text, &job.id.text);
                    report
                        .add(
                            flow.file,
                            name.span,
                            format!(
                                "`{one}` and `{two}` both upload `{}`: the first one wins, the other fails",
                                name.text.trim()
                            ),
                        )
                        .also(flow.file, *first, "the same name")
                        .hint("put the name of the job into that of the artifact")
                        .done();
                    return;
                }
                None => taken.push((plain, at, name.span)),
            }
        }
    }
}

fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        two_jobs(flow, report);
    }
    for flow in &repository.github.flows {
        for (at, job) in flow.jobs() {
            let cells = job.matrix.as_ref().and_then(|matrix| matrix.cells()).map_or(1, |cells| cells.len());
            if cells < 2 {
                continue;
            }
            // A workflow that is called for each cell, and knows nothing of them.
            let (file, place) = match repository.github.called(job) {
                Some(called) => {
                    let Some(span) = called.jobs().find_map(|(at, _)| clash(called, at, cells)) else {
                        continue;
                    };
                    (called, span)
                }
                None => match clash(flow, at, cells) {
                    Some(span) => (flow, span),
                    None => continue,
                },
            };
            let (span, name, rare) = place;
            report
                .add(
                    file.file,
                    span,
                    format!("each of the {cells} cells of `{}` uploads `{name}`: the first one wins, the others fail", job.id.text),
                )
                .severity(if rare { Severity::Low } else { Severity::High })
                .hint("put what the cells differ in into the name, and download them with `pattern` and `merge-multiple`")
                .done();
        }
    }
}

/// Finds an upload to which several of `cells` give one name: its place, the name, and whether it runs only in a failure.
fn clash(flow: &Flow, at: usize, cells: usize) -> Option<(Span, String, bool)> {
    let job = &flow.model.jobs[at];
    // A job of a called workflow may be meant for one of them.
    if job.condition.is_some() && job.matrix.is_none() {
        return None;
    }
    flow.steps(at).find_map(|(step, facts)| {
        let name = shared(step, facts, cells)?;
        let condition = step.condition.as_ref().map_or("", |condition| &condition.text);
        // One that picks a cell, or asks for anything else that only one of them may have.
        let status = ["always()", "success()", "!cancelled()", "failure()", ""];
        let bare = condition.trim().trim_start_matches("${{").trim_end_matches("}}").trim();
        if !status.contains(&bare) || step.continue_on_error.as_ref().is_some_and(|text| text.is("true")) {
            return None;
        }
        let span = step.input("name").map_or(step.span, |name| name.span);
        Some((span, name, bare == "failure()"))
    })
}

/// Tells whether an upload fails where an artifact of its name is there already.
fn adds_nothing(step: &Step) -> bool {
    let Some(Uses::Remote { revision, .. }) = step.action().filter(|_| step.is("actions/upload-artifact"))
    else {
        return false;
    };
    // Up to version 3 an artifact could be added to. A commit is of a later one in all likelihood, but nobody knows.
    let major: String = revision.trim_start_matches('v').chars().take_while(char::is_ascii_digit).collect();
    let recent = revision.len() < 12 && major.parse::<u32>().is_ok_and(|major| major >= 4);
    let replaces = step.input("overwrite").is_some_and(|text| !text.is("false"));
    recent && !replaces && step.input("archive").is_none()
}

/// Returns a name that an upload of several cells shares.
fn shared(step: &Step, facts: &StepFacts, cells: usize) -> Option<String> {
    if !adds_nothing(step) {
        return None;
    }
    let [artifact] = &facts.uploads[..] else { return None };
    let plain = artifact.names.iter().all(|name| !name.contains('*'));
    (plain && artifact.names.len() < cells).then(|| artifact.names[0].clone())
}
