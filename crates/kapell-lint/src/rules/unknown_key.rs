//! `unknown-key`: a key that the format does not have, as far as its table knows.

use std::collections::HashMap;

use kapell_spec::{
    claude::{definition::Named, tables},
    codes,
    finding::Span,
    github, suggest,
};
use kapell_view::audit::{AssetKind, Confidence, Severity};

use crate::{
    agents::{Asset, Home},
    files::FileId,
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/unknown-key.md`.
pub(super) static RULE: Rule = Rule {
    name: "unknown-key",
    summary: "a key that the format does not have, as far as is known",
    group: Group::Reading,
    anti_pattern: None,
    focus: Focus::State,
    // Formats grow every month: never more than a note.
    severity: Severity::Info,
    confidence: Confidence::Medium,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/unknown-key.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    let github = &repository.github;
    let flows = github.flows.iter().map(|flow| (flow.file, &flow.notes[..]));
    let actions = github.actions.values().map(|action| (action.file, &action.notes[..]));
    for (file, notes) in flows.chain(actions) {
        for note in notes.iter().filter(|note| note.code == codes::UNKNOWN_KEY) {
            tell(report, file, note.span, &format!("{} (keys as of {})", note.message, github::AS_OF), None);
        }
    }
    // What one author invents stands in many files.
    let mut nearest: HashMap<(&str, &str), Option<&str>> = HashMap::new();
    let read = |asset: &Asset| asset.home == Home::Claude;
    for (_, asset) in repository.agents.iter().filter(|(_, asset)| read(asset)) {
        let (known, what) = match asset.kind {
            AssetKind::Agent => (tables::AGENT_KEYS, "agents"),
            AssetKind::Command | AssetKind::Skill => (tables::SKILL_KEYS, "commands and skills"),
            _ => continue,
        };
        for key in keys(asset).filter(|key| !known.contains(&&*key.text)) {
            let message =
                format!("`{}` is no key of {what} that is known (keys as of {})", key.text, tables::AS_OF);
            let near = nearest
                .entry((&key.text, what))
                .or_insert_with(|| suggest::nearest(&key.text, known.iter().copied()));
            tell(report, asset.file, key.span, &message, *near);
        }
    }
}

fn keys(asset: &Asset) -> impl Iterator<Item = &Named> {
    asset
        .definition
        .front
        .iter()
        .filter(|front| front.readable)
        .flat_map(|front| &front.fields)
        .map(|field| &field.key)
}

fn tell(report: &mut Report<'_>, file: FileId, span: Span, message: &str, near: Option<&str>) {
    let draft = report.add(file, span, message);
    match near {
        Some(near) => draft.hint(format!("write `{near}`, if that is meant")).done(),
        None => draft.done(),
    }
}
