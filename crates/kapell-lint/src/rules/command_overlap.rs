//! `command-overlap`: a command and a skill answer to one slash name.

use std::collections::BTreeMap;

use kapell_view::audit::{AssetKind, Confidence, Scope, Severity};

use crate::{
    agents::{Asset, Home},
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// The rule.
pub(super) static RULE: Rule = Rule {
    name: "command-overlap",
    summary: "a command and a skill answer to one slash name",
    group: Group::AgentGraph,
    anti_pattern: None,
    focus: Focus::Conflicts,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/command-overlap.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    let called =
        |kind| repository.agents.of(kind).map(|(_, asset)| asset).filter(|asset| asset.home == Home::Claude);
    let mut commands: BTreeMap<(&str, &Scope), Vec<&Asset>> = BTreeMap::new();
    for command in called(AssetKind::Command) {
        commands.entry((&command.name, &command.scope)).or_default().push(command);
    }
    for skill in called(AssetKind::Skill) {
        for command in commands.get(&(&*skill.name, &skill.scope)).into_iter().flatten() {
            let message =
                format!("skill and command `/{}` answer to one name; only the skill is run", skill.name);
            let hint = "move what the command says into the skill, and delete the command";
            report
                .add(skill.file, skill.head(), message)
                .hint(hint)
                .also(command.file, command.head(), "the command")
                .done();
        }
    }
    for same in commands.values() {
        for (one, other) in same.iter().zip(&same[1..]) {
            let message = format!("two commands answer to `/{}`; only one of them is run", one.name);
            report
                .add(one.file, one.head(), message)
                .confidence(Confidence::Medium)
                .also(other.file, other.head(), "the other")
                .done();
        }
    }
}
