//! `agent-overlap`: two agents of one scope do the same job.

use kapell_view::audit::{AssetKind, Confidence, Severity};

use crate::{
    agents::{Asset, Home, similar},
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// The rule.
pub(super) static RULE: Rule = Rule {
    name: "agent-overlap",
    summary: "two agents of one scope do the same job",
    group: Group::AgentGraph,
    anti_pattern: None,
    focus: Focus::Conflicts,
    severity: Severity::Medium,
    confidence: Confidence::Medium,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/agent-overlap.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    let agents: Vec<&Asset> = repository
        .agents
        .of(AssetKind::Agent)
        .map(|(_, agent)| agent)
        .filter(|agent| agent.home == Home::Claude && agent.definition.front.is_some())
        .collect();
    let shingles: Vec<similar::Sketch> =
        agents.iter().map(|agent| similar::Sketch::of(&repository.files[agent.file].text)).collect();
    for (at, one) in agents.iter().enumerate() {
        for (other_at, other) in
            agents.iter().enumerate().skip(at + 1).filter(|(_, other)| other.scope == one.scope)
        {
            let why = if one.name == other.name {
                Some((Severity::High, "have one name; which of them is loaded is left to chance".to_owned()))
            } else if base(&one.name) == base(&other.name) {
                Some((Severity::Medium, "have names that mean the same".to_owned()))
            } else {
                let alike = shingles[at].likeness(&shingles[other_at]);
                (alike >= 0.8).then(|| (Severity::Medium, format!("are alike to {:.0} %", alike * 100.0)))
            };
            let Some((severity, why)) = why else { continue };
            let message = format!("agents `{}` and `{}` {why}", one.name, other.name);
            let hint = "keep one, or say in both descriptions when the other is meant";
            report
                .add(one.file, one.head(), message)
                .severity(severity)
                .hint(hint)
                .also(other.file, other.head(), "the other")
                .done();
        }
    }
}

/// A name without the word that says only that it is an agent.
fn base(name: &str) -> &str {
    name.strip_suffix("-agent").unwrap_or(name)
}
