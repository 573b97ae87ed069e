//! `undefined-agent`: an agent is named that is defined nowhere it could be loaded from.

use std::collections::BTreeMap;

use kapell_spec::claude::reference::{Names, Reference, Strength, has_fallback};
use kapell_view::audit::{AssetKind, Confidence, FixClass, Scope, Severity};

use crate::{
    agents::{Asset, Home, Resolved},
    files::FileId,
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// The rule.
pub(super) static RULE: Rule = Rule {
    name: "undefined-agent",
    summary: "an agent is named that is defined nowhere it could be loaded from",
    group: Group::AgentGraph,
    anti_pattern: Some(AntiPattern::Hardcoded),
    focus: Focus::Resilience,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/undefined-agent.md"),
    check,
};

struct Missing<'a> {
    file: FileId,
    reference: &'a Reference,
    resolved: Resolved,
    from: &'a Asset,
}

fn check(repository: &Repository, report: &mut Report<'_>) {
    let agents = &repository.agents;
    let mut missing: BTreeMap<(&Scope, &str), Vec<Missing<'_>>> = BTreeMap::new();
    for (_, from) in agents.iter().filter(|(_, from)| from.home != Home::Other) {
        for reference in from.firm(Names::Agent) {
            // Words about a neighbour in a collection hand over no work.
            if from.home == Home::Library && reference.strength < Strength::Certain {
                continue;
            }
            let resolved = agents.resolve(from, reference);
            let lost = matches!(resolved, Resolved::Nothing(_) | Resolved::Elsewhere(_));
            let text = &repository.files[from.file].text;
            if !lost
                || agents.by_file(from, &reference.name).is_some()
                || has_fallback(text, reference.span.start)
            {
                continue;
            }
            let missed = Missing { file: from.file, reference, resolved, from };
            missing.entry((&from.scope, &reference.name)).or_default().push(missed);
        }
    }
    let has_agents = agents.of(AssetKind::Agent).any(|(_, agent)| agent.home != Home::Other);
    for places in missing.into_values() {
        tell(repository, report, &places, has_agents);
    }
}

fn tell(repository: &Repository, report: &mut Report<'_>, places: &[Missing<'_>], has_agents: bool) {
    let Some(first) = places.first() else { return };
    let name = &first.reference.name;
    let certain = places.iter().any(|place| place.reference.strength == Strength::Certain);
    let (message, hint) = match (&first.resolved, &first.from.scope) {
        (Resolved::Elsewhere(id), Scope::Plugin(plugin)) => {
            let owner = match &repository.agents[*id].scope {
                Scope::Plugin(owner) => format!("plugin `{owner}`"),
                _ => "another place".to_owned(),
            };
            (
                format!("agent `{name}` belongs to {owner}, which plugin `{plugin}` does not depend on"),
                "add it to `dependencies` in plugin.json, or say which agent to use where it is not installed".to_owned(),
            )
        }
        (Resolved::Nothing(Some(near)), _) if name.contains("::") => {
            (format!("agent `{name}` has two colons; it is called `{near}`"), format!("write `{near}`"))
        }
        (Resolved::Nothing(Some(near)), _) => {
            (format!("agent `{name}` is not defined"), format!("the nearest name is `{near}`"))
        }
        _ => (
            format!("agent `{name}` is not defined"),
            "define it, or name an agent that is always there, such as `general-purpose`".to_owned(),
        ),
    };
    let mut draft = report.add(first.file, first.reference.span, message).hint(hint);
    if !certain || matches!(first.resolved, Resolved::Elsewhere(_)) {
        draft = draft.severity(Severity::Medium).confidence(Confidence::Medium);
    }
    // Where no agent is defined at all, they come from somewhere else.
    if !has_agents && !name.contains("::") {
        draft = draft.severity(Severity::Low).confidence(Confidence::Low);
    }
    for place in &places[1..] {
        draft = draft.also(place.file, place.reference.span, "named here too");
    }
    if let Resolved::Nothing(Some(near)) = &first.resolved {
        let class = if name.contains("::") { FixClass::Safe } else { FixClass::Review };
        let edits = places.iter().map(|place| (place.file, place.reference.span, near.clone()));
        draft = draft.fix(format!("name `{near}` instead of `{name}`"), class, edits);
    }
    draft.done();
}
