//! `unreachable-agent`: something is defined that nobody can start.

mod by_hand; // commands that only a person can start
mod graph; // steps and agents in code
mod others; // agents of other clients
mod session; // agents that the agent of every session may not start

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
    unlisted(repository, report);
    reserved(repository, report);
    session::check(repository, report);
    flat_skills(repository, report);
    by_hand::check(repository, report);
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

/// Words for starting an agent, in the form in which an agent says of itself who does it.
const STARTED: &[&str] = &[
    "invoked",
    "called",
    "used",
    "started",
    "spawned",
    "launched",
    "dispatched",
    "run",
    "triggered",
    "delegated to",
    "handed work",
    "assigned",
];

/// Words that stand before or behind those where nobody else may do it.
const ALONE: &[&str] = &["only", "exclusively", "solely"];

/// Words between the two that change nothing: `only ever to be started by`.
const BETWEEN: &[&str] = &["ever", "to be", "meant to be", "intended to be", "may be", "be", "is", "gets"];

/// Returns the end of the words that say that only one other may start an agent: `only ever started by`, `started only by`.
fn reserved_at(lower: &str) -> Option<usize> {
    let places = ALONE.iter().flat_map(|word| lower.match_indices(word));
    let mut ends = places.filter_map(|(at, word)| {
        let after = lower[at + word.len()..].strip_prefix(' ')?;
        let before = lower[..at].trim_end();
        // What it works on may be used by one alone.
        if ["that are", "which are", "that is", "which is"].iter().any(|words| before.ends_with(words)) {
            return None;
        }
        // `started only by`, and `exclusively by`, which says it without a verb.
        let behind = after.strip_prefix("by ").or_else(|| after.strip_prefix("from "));
        if let Some(rest) =
            behind.filter(|_| word != "only" || STARTED.iter().any(|verb| before.ends_with(verb)))
        {
            return Some(lower.len() - rest.len());
        }
        let mut rest = after;
        while let Some(next) = BETWEEN.iter().find_map(|word| rest.strip_prefix(word)?.strip_prefix(' ')) {
            rest = next;
        }
        let rest = STARTED.iter().find_map(|verb| rest.strip_prefix(verb)?.strip_prefix(' '))?;
        Some(lower.len() - rest.strip_prefix("by ").or_else(|| rest.strip_prefix("from "))?.len())
    });
    ends.next()
}

/// Words with which an agent says whose part it is, where a command with its slash follows.
const PART_OF: &[&str] = &[
    "internal helper of",
    "helper of",
    "helper for",
    "internal to",
    "called by",
    "invoked by",
    "started by",
    "spawned by",
    "launched by",
    "used by",
    "part of",
    "step of",
    "stage of",
    "phase of",
    "stage in",
    "step in",
    "only for",
    "reserved for",
    "belongs to",
    "run by",
    "dispatched by",
    "triggered by",
    "subagent of",
];

/// Words behind a command that starts the agent which says so.
const STARTS_IT: &[&str] = &[
    " starts it",
    " calls it",
    " runs it",
    " uses it",
    " invokes it",
    " launches it",
    " spawns it",
    " dispatches it",
];

/// Finds where a description goes on behind the words that say who starts an agent.
fn keeper_at(lower: &str) -> Option<usize> {
    let starts_it = || {
        memchr::memchr_iter(b'/', lower.as_bytes()).find(|&at| {
            let name = lower[at + 1..].find(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c)));
            let rest = name.map_or("", |len| lower[at + 1 + len..].trim_start_matches('`'));
            STARTS_IT.iter().any(|words| rest.starts_with(words))
        })
    };
    // `Internal step of /x; is only started by that command`.
    let reserved = reserved_at(lower).map(|at| {
        let back = ["that ", "this ", "it", "the command"]
            .iter()
            .any(|word| lower[at..].trim_start().starts_with(word));
        let named = || Some(lower.find(" /").or_else(|| lower.find("`/"))? + 1);
        if back { named().unwrap_or(at) } else { at }
    });
    reserved.or_else(starts_it).or_else(|| {
        PART_OF.iter().find_map(|words| {
            let end = lower.find(words)? + words.len();
            let rest = lower[end..].trim_start();
            let rest = rest.strip_prefix("the ").unwrap_or(rest).trim_start_matches(['`', '*']);
            rest.starts_with('/').then_some(end)
        })
    })
}

/// Agents that leave it to one other asset to start them, which never names them.
fn reserved(repository: &Repository, report: &mut Report<'_>) {
    let agents = &repository.agents;
    for (id, agent) in agents.of(AssetKind::Agent).filter(|(_, agent)| agent.home == Home::Claude) {
        let Some(description) = agent.definition.text("description") else { continue };
        let lower = description.text.to_ascii_lowercase();
        let Some(said) = keeper_at(&lower) else { continue };
        let word = lower[said..].trim_start_matches(|c: char| " `*/@\"'".contains(c));
        let word = word.strip_prefix("the ").unwrap_or(word).trim_start_matches(['`', '/']);
        let len = word.find(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c))).unwrap_or(word.len());
        let name = &word[..len];
        let mut keepers =
            agents.iter().filter(|(other, asset)| *other != id && asset.name.eq_ignore_ascii_case(name));
        let Some(keeper) = keepers.next().map(|(_, asset)| asset).filter(|_| keepers.next().is_none()) else {
            continue;
        };
        if names(repository, keeper, &agent.name) || misnames(repository, keeper, &agent.name) {
            continue;
        }
        let message =
            format!("`{}` is to be started only by `{}`, which never names it", agent.name, keeper.name);
        report
            .add(agent.file, agent.head(), message)
            .hint("have that one start it, or say in the description when it is of use")
            .also(keeper.file, keeper.head(), "the one that it waits for")
            .done();
    }
}

/// Tells whether an asset names nobody where it means this agent: that is told where the name stands.
fn misnames(repository: &Repository, keeper: &Asset, name: &str) -> bool {
    keeper.firm(Names::Agent).any(|reference| {
        matches!(repository.agents.resolve(keeper, reference), Resolved::Nothing(Some(near)) if near == name)
    })
}

/// Tells whether the text of an asset has a name, in words or joined by hyphens.
fn names(repository: &Repository, asset: &Asset, name: &str) -> bool {
    let text = repository.files[asset.file].lower();
    let name = name.to_ascii_lowercase();
    text.contains(&name) || text.contains(&name.replace(['-', '_'], " "))
}
