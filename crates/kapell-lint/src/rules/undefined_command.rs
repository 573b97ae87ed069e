//! `undefined-command`: a slash command is named that is defined nowhere.

use std::collections::BTreeMap;

use kapell_spec::{
    claude::reference::{Names, Reference},
    finding::Span,
};
use kapell_view::audit::{AssetKind, Confidence, Severity};

use crate::{
    agents::{Home, Resolved},
    files::FileId,
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// The rule.
pub(super) static RULE: Rule = Rule {
    name: "undefined-command",
    summary: "a slash command is named that is defined nowhere",
    group: Group::AgentGraph,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/undefined-command.md"),
    check,
};

/// Where a name stands, and the nearest that there is.
type Place<'a> = (FileId, &'a Reference, Option<String>);

fn check(repository: &Repository, report: &mut Report<'_>) {
    let agents = &repository.agents;
    let defined = |(_, asset): (_, &crate::agents::Asset)| asset.home == Home::Claude;
    let has_commands = agents.of(AssetKind::Command).any(defined) || agents.of(AssetKind::Skill).any(defined);
    if !has_commands {
        return;
    }
    let mut missing: BTreeMap<&str, Vec<Place<'_>>> = BTreeMap::new();
    for (_, from) in agents.iter().filter(|(_, from)| from.home == Home::Claude) {
        for reference in from.firm(Names::Command) {
            let Resolved::Nothing(near) = agents.resolve(from, reference) else { continue };
            missing.entry(&reference.name).or_default().push((from.file, reference, near));
        }
    }
    let mut by_file: BTreeMap<FileId, Vec<(&str, Vec<Place<'_>>)>> = BTreeMap::new();
    for (name, places) in missing {
        let Some((file, _, near)) = places.first() else { continue };
        // A name without a plugin may be a path, or a command of the person who reads.
        if name.contains(':') || near.is_some() || name.contains('-') {
            by_file.entry(*file).or_default().push((name, places));
        }
    }
    for names in by_file.into_values() {
        tell(report, names);
    }
}

/// Reports the names that one file is the first to use.
fn tell(report: &mut Report<'_>, mut names: Vec<(&str, Vec<Place<'_>>)>) {
    names.sort_by_key(|(_, places)| places[0].1.span.start);
    let scoped = names.iter().any(|(name, _)| name.contains(':'));
    let (file, first, _) = names[0].1[0];
    let span = Span::new(first.span.start as usize - 1, first.span.end as usize);
    let shown: Vec<String> = names.iter().map(|(name, _)| format!("`/{name}`")).collect();
    let message = match &shown[..] {
        [one] => format!("command {one} is not defined"),
        [most @ .., last] => format!("commands {} and {last} are not defined", most.join(", ")),
        [] => return,
    };
    let mut draft = report.add(file, span, message);
    if !scoped {
        draft = draft.confidence(Confidence::Medium);
    }
    let nearest = |(name, places): &(&str, Vec<Place<'_>>)| {
        let near = places[0].2.as_ref()?;
        let space = name.rsplit_once(':').map_or(String::new(), |(space, _)| format!("{space}:"));
        Some(format!("`/{space}{near}`"))
    };
    let near: Vec<String> = names.iter().filter_map(nearest).collect();
    if !near.is_empty() {
        let are = if near.len() == 1 { "the nearest name is" } else { "the nearest names are" };
        draft = draft.hint(format!("{are} {}", near.join(", ")));
    }
    for (at, (name, places)) in names.iter().enumerate() {
        for (file, reference, _) in &places[usize::from(at == 0)..] {
            draft = draft.also(*file, reference.span, format!("`/{name}` is named here"));
        }
    }
    draft.done();
}
