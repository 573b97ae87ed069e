//! `unreadable-file`: a file that orchestrates cannot be read to its end.

use kapell_spec::finding::Span;
use kapell_view::audit::{Confidence, Severity};

use crate::{
    files::FileId,
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/unreadable-file.md`.
pub(super) static RULE: Rule = Rule {
    name: "unreadable-file",
    summary: "a workflow, action or file of settings cannot be read to its end",
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
    for hooks in &repository.agents.hooks {
        // The reader of YAML takes less than all of JSON, such as some tabs.
        let is_json =
            || serde_json::from_str::<serde::de::IgnoredAny>(&repository.files[hooks.file].text).is_ok();
        if let Some((span, why)) = hooks.broken.as_ref().filter(|_| !is_json()) {
            tell(report, hooks.file, *span, why, None);
        }
    }
}

fn tell(report: &mut Report<'_>, file: FileId, span: Span, why: &str, hint: Option<&str>) {
    let draft = report.add(file, span, format!("from here on nothing is read: {why}"));
    match hint {
        Some(hint) => draft.hint(hint).done(),
        None => draft.done(),
    }
}
