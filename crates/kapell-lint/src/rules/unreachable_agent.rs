//! `unreachable-agent`: something is defined that nobody can start.

mod by_hand; // commands that only a person can start
mod by_model; // commands that only the model can start
mod graph; // steps and agents in code
mod kept; // agents that leave it to one other to start them
mod others; // agents of other clients
mod registered; // agents of a registry that nobody asks for
mod session; // agents that the agent of every session may not start
mod topics; // agents that wait for what nobody publishes

use kapell_spec::{claude::reference::Names, finding::Span};
use kapell_view::audit::{AssetKind, Confidence, Severity};

use crate::{
    agents::{Asset, Home, Resolved},
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/unreachable-agent.md`.
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
];

/// Folders of what a plugin brings that lie among its manifests, where none of it is read: only `plugin.json` belongs there.
/// Source: <https://code.claude.com/docs/en/plugins-reference> ("Plugin directory structure"), as of 2026-08.
const AMONG_MANIFESTS: &[(&str, &str)] = &[
    (".claude-plugin/agents/", "agents/ beside .claude-plugin"),
    (".claude-plugin/commands/", "commands/ beside .claude-plugin"),
    (".claude-plugin/skills/", "skills/ beside .claude-plugin"),
];

fn check(repository: &Repository, report: &mut Report<'_>) {
    denied(repository, report);
    others::check(repository, report);
    graph::check(repository, report);
    registered::check(repository, report);
    topics::check(repository, report);
    unlisted(repository, report);
    kept::check(repository, report);
    session::check(repository, report);
    flat_skills(repository, report);
    by_hand::check(repository, report);
    by_model::check(repository, report);
    among_manifests(repository, report);
    for (_, asset) in repository.agents.iter() {
        let path = &repository.files[asset.file].path;
        let definition = &asset.definition;
        if let Some((_, right)) = NEAR_MISSES.iter().find(|(wrong, _)| path.contains(wrong)) {
            if definition.front.is_some() {
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

/// Agents, commands and skills that lie among the manifests of a plugin.
fn among_manifests(repository: &Repository, report: &mut Report<'_>) {
    for (id, file) in repository.files.iter().filter(|(_, file)| file.path.contains(".claude-plugin/")) {
        let Some((_, right)) = AMONG_MANIFESTS.iter().find(|(wrong, _)| file.path.contains(wrong)) else {
            continue;
        };
        let stem = file.name().trim_end_matches(".md");
        let name = if stem == "SKILL" { file.path.rsplit('/').nth(1).unwrap_or(stem) } else { stem };
        // A manifest may name it where it lies.
        let manifests =
            repository.agents.plugins.iter().filter(|plugin| file.path.starts_with(&*plugin.root));
        let mut manifests = manifests.map(|plugin| &repository.files[plugin.file].text).peekable();
        let is_left_out = manifests.peek().is_some() && !manifests.any(|text| lists(text, name));
        let defines = file.path.ends_with(".md") && file.text.starts_with("---\n");
        if defines && is_left_out {
            let message = format!("nothing in this directory is read; `{name}` has to lie in {right}");
            report.add(id, Span::new(0, 3), message).severity(Severity::High).done();
        }
    }
}

/// Tells whether a manifest lists an agent, a command or a skill by a path that ends with its name.
fn lists(manifest: &str, name: &str) -> bool {
    manifest.match_indices(name).any(|(at, _)| {
        let (before, after) = (&manifest[..at], &manifest[at + name.len()..]);
        before.ends_with('/') && ["\"", "/", ".md"].iter().any(|end| after.starts_with(end))
    })
}

/// Skills that are a file right among the skills, or whose file is called otherwise: a skill is a directory with `SKILL.md`.
fn flat_skills(repository: &Repository, report: &mut Report<'_>) {
    for (id, file) in repository.files.iter() {
        let Some(below) = file.path.split_once(".claude/skills/").map(|(_, below)| below) else { continue };
        let (folder, name) = below.rsplit_once('/').unwrap_or(("", below));
        let flat = folder.is_empty() && name.ends_with(".md") && !name.eq_ignore_ascii_case("readme.md");
        let cased = !folder.is_empty() && name != "SKILL.md" && name.eq_ignore_ascii_case("skill.md");
        let beside = cased && repository.files.exists(&file.path.replace(name, "SKILL.md"));
        let front =
            file.text.strip_prefix("---").and_then(|text| text.split("\n---").next()).unwrap_or_default();
        let defines =
            ["name:", "description:"].iter().all(|key| front.lines().any(|line| line.starts_with(key)));
        let lost = flat || cased && !beside;
        if !lost || !defines {
            continue;
        }
        let stem = name.trim_end_matches(".md");
        let right =
            if flat { format!(".claude/skills/{stem}/SKILL.md") } else { format!("{folder}/SKILL.md") };
        let message = format!("`{name}` is not loaded: a skill is a directory with a `SKILL.md`");
        let draft = report.add(id, Span::new(0, 3), message).severity(Severity::High);
        draft.hint(format!("move it to `{right}`")).done();
    }
}

/// Agents that nobody names, where the instructions say that nothing but commands starts any.
fn unlisted(repository: &Repository, report: &mut Report<'_>) {
    let agents = &repository.agents;
    let closed = |text: &str| {
        text.split(['.', '\n', ';']).any(|sentence| {
            sentence.contains("agents")
                && ["are only", "only ever", "are exclusively", "are never started on"]
                    .iter()
                    .any(|word| sentence.contains(word))
                && [
                    "by the commands",
                    "by commands",
                    "by a command",
                    "by slash commands",
                    "by the orchestrator",
                ]
                .iter()
                .any(|word| sentence.contains(word))
        })
    };
    let memories = agents.of(AssetKind::Memory).map(|(_, memory)| memory);
    let mut saying = memories.filter(|memory| closed(repository.files[memory.file].lower()));
    let Some(memory) = saying.next() else { return };
    for (id, agent) in agents.of(AssetKind::Agent).filter(|(_, agent)| agent.home == Home::Claude) {
        if agent.scope != memory.scope {
            continue;
        }
        let named = agents.iter().any(|(other, asset)| other != id && names(repository, asset, &agent.name));
        if !named {
            let message = format!("nobody starts `{}`: no command or other text names it", agent.name);
            report
                .add(agent.file, agent.head(), message)
                .severity(Severity::Low)
                .hint("have a command start it, or drop it")
                .also(memory.file, memory.head(), "says that only commands start agents")
                .done();
        }
    }
}

/// Agents that settings forbid to start, while commands or other agents start them.
fn denied(repository: &Repository, report: &mut Report<'_>) {
    for settings in repository.agents.hooks.iter().filter(|file| file.is_settings && file.hooks.denies) {
        let text = &repository.files[settings.file].text;
        let Some(from) = text.find("\"deny\"") else { continue };
        let end = text[from..].find(']').map_or(text.len(), |len| from + len);
        for (at, open) in ["\"Agent(", "\"Task("].iter().flat_map(|open| text[from..end].match_indices(open))
        {
            let at = from + at + open.len();
            let Some(len) = text[at..end].find(")\"") else { continue };
            let name = &text[at..at + len];
            let started = repository.agents.iter().find_map(|(_, asset)| {
                let mut named = asset.firm(Names::Agent).filter(|reference| reference.name == name);
                let is_own = |id: crate::agents::AgentId| repository.agents[id].scope == asset.scope;
                named
                    .find(|reference| {
                        matches!(repository.agents.resolve(asset, reference), Resolved::Found(id) if is_own(id))
                    })
                    .filter(|_| asset.home == Home::Claude)
                    .map(|reference| (asset, reference.span))
            });
            let Some((asset, span)) = started else { continue };
            let message =
                format!("nobody can start `{name}`, which `{}` hands work to: it is denied here", asset.name);
            report
                .add(settings.file, Span::new(at, at + len), message)
                .severity(Severity::High)
                .hint("allow it, or take it out of what starts it")
                .also(asset.file, span, "started here")
                .done();
        }
    }
}

/// Tells whether the text of an asset has a name, in words or joined by hyphens.
fn names(repository: &Repository, asset: &Asset, name: &str) -> bool {
    let text = repository.files[asset.file].lower();
    let name = name.to_ascii_lowercase();
    text.contains(&name) || text.contains(&name.replace(['-', '_'], " "))
}
