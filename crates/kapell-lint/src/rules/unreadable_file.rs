//! `unreadable-file`: a file that orchestrates cannot be read to its end.

use kapell_spec::finding::Span;
use kapell_view::audit::{Confidence, Severity};

use crate::{
    files::{Broken, FileId},
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/unreadable-file.md`.
pub(super) static RULE: Rule = Rule {
    name: "unreadable-file",
    summary: "a workflow, action, manifest or file of settings cannot be read to its end",
    group: Group::Reading,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/unreadable-file.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    let github = &repository.github;
    let flows = github.flows.iter().map(|flow| (flow.file, flow.model.complete, &flow.notes[..]));
    let actions =
        github.actions.values().map(|action| (action.file, action.model.complete, &action.notes[..]));
    for (file, complete, notes) in flows.chain(actions) {
        if let Some(error) = notes.iter().find(|note| !complete && note.is_error()) {
            tell(report, file, error.span, &error.message, error.hint.as_deref());
        }
    }
    let systems = repository.systems.broken.iter().map(|broken| (broken, Severity::Medium));
    // Nothing at all is taken from JSON or TOML that is none.
    let agents = repository.agents.broken.iter().map(|broken| (broken, Severity::High));
    for (Broken { file, span, why }, severity) in agents.chain(systems) {
        report.add(*file, *span, format!("from here on nothing is read: {why}")).severity(severity).done();
    }
}

fn tell(report: &mut Report<'_>, file: FileId, span: Span, why: &str, hint: Option<&str>) {
    let draft = report.add(file, span, format!("from here on nothing is read: {why}"));
    match hint {
        Some(hint) => draft.hint(hint).done(),
        None => draft.done(),
    }
}
