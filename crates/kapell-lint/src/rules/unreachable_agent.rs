//! `unreachable-agent`: something is defined that nobody can start.

use kapell_view::audit::{AssetKind, Confidence, Severity};

use crate::{
    agents::Home,
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// The rule.
pub(super) static RULE: Rule = Rule {
    name: "unreachable-agent",
    summary: "an agent or skill is defined where, or so that, nobody can start it",
    group: Group::AgentGraph,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/unreachable-agent.md"),
    check,
};

/// Directories that look like those that are read.
const NEAR_MISSES: &[(&str, &str)] = &[
    (".claude/agent/", ".claude/agents/"),
    (".claude/subagents/", ".claude/agents/"),
    (".claude/sub-agents/", ".claude/agents/"),
    (".claude/command/", ".claude/commands/"),
    (".claude/skill/", ".claude/skills/"),
    (".claude-plugin/agents/", "agents/ beside .claude-plugin"),
    (".claude-plugin/commands/", "commands/ beside .claude-plugin"),
    (".claude-plugin/skills/", "skills/ beside .claude-plugin"),
];

fn check(repository: &Repository, report: &mut Report<'_>) {
    for (_, asset) in repository.agents.iter() {
        let path = &repository.files[asset.file].path;
        let definition = &asset.definition;
        if let Some((_, right)) = NEAR_MISSES.iter().find(|(wrong, _)| path.contains(wrong)) {
            // A manifest may name it where it lies.
            let beside = path.contains(".claude-plugin/");
            let manifests = repository.agents.plugins.iter().filter(|plugin| path.starts_with(&*plugin.root));
            let mut manifests = manifests.map(|plugin| &repository.files[plugin.file].text).peekable();
            let is_left_out =
                manifests.peek().is_some() && !manifests.any(|text| text.contains(&*asset.name));
            if definition.front.is_some() && (!beside || is_left_out) {
                let message =
                    format!("nothing in this directory is read; `{}` has to lie in {right}", asset.name);
                report.add(asset.file, asset.head(), message).done();
            }
            continue;
        }
        if !matches!(asset.kind, AssetKind::Skill | AssetKind::Command) || asset.home != Home::Claude {
            continue;
        }
        let off = definition.is_on("disable-model-invocation") == Some(true);
        if off && definition.is_on("user-invocable") == Some(false) {
            let Some(field) = definition.field("user-invocable") else { continue };
            let message = format!("neither a person nor a model can start `{}`", asset.name);
            let hint = "drop `disable-model-invocation` or `user-invocable: false`";
            report.add(asset.file, field.key.span, message).hint(hint).done();
        }
    }
}
