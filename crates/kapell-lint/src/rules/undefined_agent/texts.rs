//! Agents that other texts below `.claude` list among those that are defined: the phases of a workflow, each with who does it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use kapell_spec::{claude::reference::is_kebab, finding::Span, line, suggest};
use kapell_view::audit::{AssetKind, Confidence, Scope, Severity};

use crate::{
    agents::{Home, is_built_in},
    files::FileId,
    repository::Repository,
    rule::Report,
};

/// Where something stands, again and again.
type Places = Vec<(FileId, Span)>;

/// How many of a list have to be defined for the others to be meant as agents.
const DEFINED_MIN: usize = 3;

/// Names that such a text lists among those of at least three agents, and that are nearly that of one: with a part more, or a slip.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let agents = &repository.agents;
    let own = |(_, asset): &(_, &crate::agents::Asset)| {
        asset.home == Home::Claude && asset.scope == Scope::Repository
    };
    let names: BTreeSet<&str> =
        agents.of(AssetKind::Agent).filter(own).map(|(_, agent)| &*agent.name).collect();
    if names.len() < DEFINED_MIN {
        return;
    }
    let read: HashSet<FileId> = agents.iter().map(|(_, asset)| asset.file).collect();
    let mut missing: BTreeMap<&str, (&str, Places)> = BTreeMap::new();
    for (id, file) in repository.files.iter().filter(|(id, file)| is_text(&file.path) && !read.contains(id)) {
        for list in lists(&file.text) {
            let defined: BTreeSet<&str> =
                list.iter().map(|(name, _)| *name).filter(|name| names.contains(name)).collect();
            let all: BTreeSet<&str> = list.iter().map(|(name, _)| *name).collect();
            if defined.len() < DEFINED_MIN || defined.len() * 2 < all.len() {
                continue;
            }
            for (name, span) in list.iter().filter(|(name, _)| !names.contains(name) && !is_built_in(name)) {
                let Some(near) = near(name, &names) else { continue };
                missing.entry(name).or_insert((near, Vec::new())).1.push((id, *span));
            }
        }
    }
    for (name, (near, mut places)) in missing {
        places.sort_by_key(|(file, span)| (*file, span.start));
        let Some(((file, span), rest)) = places.split_first() else { continue };
        let message = format!("agent `{name}` is not defined");
        let mut draft = report.add(*file, *span, message).severity(Severity::Medium);
        draft = draft.confidence(Confidence::Medium).hint(format!("name `{near}`, or define it"));
        for (file, span) in rest {
            draft = draft.also(*file, *span, "named here too");
        }
        draft.done();
    }
}

/// Tells whether a path is that of a text below `.claude` that is no page about something.
fn is_text(path: &str) -> bool {
    let Some((_, below)) = path.split_once(".claude/") else { return false };
    let folders = below.rsplit_once('/').map_or("", |(folders, _)| folders);
    let about = |folder: &str| {
        matches!(
            folder.trim_start_matches('_'),
            "docs" | "doc" | "examples" | "archive" | "sessions" | "templates" | "skills"
        )
    };
    path.ends_with(".md") && !folders.is_empty() && !folders.split('/').any(about)
}

/// Finds the agent that a name means: one with the same first and last part, of which it has one more between them, or one
/// that is spelt nearly so.
fn near<'a>(name: &str, names: &BTreeSet<&'a str>) -> Option<&'a str> {
    let parts: Vec<&str> = name.split('-').collect();
    let longer = |known: &&&str| {
        let own: Vec<&str> = known.split('-').collect();
        own.len() > 1
            && own.len() + 1 == parts.len()
            && own.first() == parts.first()
            && own.last() == parts.last()
    };
    let mut found = names.iter().filter(longer);
    match (found.next(), found.next()) {
        (Some(only), None) => Some(only),
        _ => suggest::mistyped(name, names.iter().copied(), 2),
    }
}

/// Finds the names in each column of a table, and those behind `Phase 3: ` and the like, with their places.
fn lists(text: &str) -> Vec<Vec<(&str, Span)>> {
    let mut lists: Vec<Vec<(&str, Span)>> = Vec::new();
    let mut columns: BTreeMap<usize, Vec<(&str, Span)>> = BTreeMap::new();
    let mut phases: Vec<(&str, Span)> = Vec::new();
    for line in text.lines() {
        if !line.starts_with('|') {
            lists.extend(std::mem::take(&mut columns).into_values());
            phases.extend(phase(text, line));
            continue;
        }
        for (column, cell) in line.split('|').enumerate() {
            let name = cell.trim().trim_matches(['`', '*']);
            if name.contains('-') && is_kebab(name) {
                columns.entry(column).or_default().push((name, place(text, name)));
            }
        }
    }
    lists.extend(columns.into_values());
    lists.push(phases);
    lists
}

/// Finds the name behind the number of a phase or a step that a line is about: `│  Phase 3: db-developer  → migrations`.
fn phase<'a>(text: &'a str, line: &'a str) -> Option<(&'a str, Span)> {
    let rest = line.trim_start_matches(|c: char| !c.is_alphanumeric());
    let rest = ["Phase ", "Step "].iter().find_map(|word| rest.strip_prefix(word))?;
    let (number, rest) = rest.split_once(':')?;
    let counted = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let rest = rest.trim_start_matches(['*', '`', ' ']);
    let len = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).unwrap_or(rest.len());
    let name = &rest[..len];
    (counted && name.contains('-') && is_kebab(name)).then(|| (name, place(text, name)))
}

/// Returns where a part of a text stands in it.
fn place(text: &str, part: &str) -> Span {
    let at = line::offset(text, part);
    Span::new(at, at + part.len())
}
