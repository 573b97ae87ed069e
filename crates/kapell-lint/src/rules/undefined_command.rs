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
    for (name, places) in missing {
        let scoped = name.contains(':');
        let Some((file, reference, near)) = places.first() else { continue };
        // A name without a plugin may be a path, or a command of the person who reads.
        if !scoped && near.is_none() && !name.contains('-') {
            continue;
        }
        let span = Span::new(reference.span.start as usize - 1, reference.span.end as usize);
        let mut draft = report.add(*file, span, format!("command `/{name}` is not defined"));
        if !scoped {
            draft = draft.confidence(Confidence::Medium);
        }
        if let Some(near) = near {
            let space = name.rsplit_once(':').map_or(String::new(), |(space, _)| format!("{space}:"));
            draft = draft.hint(format!("the nearest name is `/{space}{near}`"));
        }
        for (file, reference, _) in &places[1..] {
            draft = draft.also(*file, reference.span, "named here too");
        }
        draft.done();
    }
}
