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
    let mut twins: BTreeMap<&Scope, Vec<(&Asset, &Asset)>> = BTreeMap::new();
    for skill in called(AssetKind::Skill) {
        if let Some(command) = commands.get(&(&*skill.name, &skill.scope)).and_then(|same| same.first()) {
            twins.entry(&skill.scope).or_default().push((skill, command));
        }
    }
    // One habit, one finding.
    for pairs in twins.into_values() {
        let names: Vec<String> = pairs.iter().map(|(skill, _)| format!("`/{}`", skill.name)).collect();
        let message = match &names[..] {
            [one] => format!("skill and command {one} answer to one name; only the skill is run"),
            _ => format!(
                "skills and commands answer to the same names; only the skills are run: {}",
                names.join(", ")
            ),
        };
        let hint = "move what the command says into the skill, and delete the command";
        let mut draft = report.add(pairs[0].0.file, pairs[0].0.head(), message).hint(hint);
        for (at, (skill, command)) in pairs.iter().enumerate() {
            if at > 0 {
                draft = draft.also(skill.file, skill.head(), "this skill too");
            }
            draft = draft.also(command.file, command.head(), "the command");
        }
        draft.done();
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
