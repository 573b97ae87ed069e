//! `command-overlap`: a command and a skill answer to one slash name.

mod others; // under another name, and of other clients
mod short; // too short to be compared by their shingles

use std::collections::{BTreeMap, BTreeSet};

use kapell_view::audit::{AssetKind, Confidence, Scope, Severity};

use crate::{
    agents::{
        AgentId, Asset, Home,
        alike::{ALIKE, Pair},
        delegation,
    },
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/command-overlap.md`.
pub(super) static RULE: Rule = Rule {
    name: "command-overlap",
    summary: "a command and a skill answer to one slash name, or two commands are copies of each other",
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
    // Those of a directory below have its name before theirs: `/git:review` is not `/team:review`.
    for command in called(AssetKind::Command).filter(|command| !is_below(repository, command)) {
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
    tell_copies(repository, report);
    tell_doubles(repository, report);
    short::check(repository, report);
    others::tell_repeated(repository, report);
    others::tell_namesakes(repository, report);
}

/// How many sentences a short command and the agent of its name must share.
const SENTENCES_MIN: usize = 2;

/// A command and an agent that have one name and mostly the same sentences, while the command starts nobody. Texts that
/// are long enough to be compared by their shingles are told of by those.
fn tell_doubles(repository: &Repository, report: &mut Report<'_>) {
    let claude = |kind| repository.agents.of(kind).filter(|(_, asset)| asset.home == Home::Claude);
    let body = |asset: &Asset| &repository.files[asset.file].lower()[asset.definition.body as usize..];
    let agents: BTreeMap<(&str, &Scope), &Asset> =
        claude(AssetKind::Agent).map(|(_, agent)| ((&*agent.name, &agent.scope), agent)).collect();
    for (_, command) in claude(AssetKind::Command) {
        let Some(agent) = agents.get(&(&*command.name, &command.scope)) else { continue };
        let [one, other] = [command, agent].map(|asset| sentences(body(asset)).collect::<BTreeSet<_>>());
        let both = one.intersection(&other).count();
        let starts = ["agent", "task tool", "delegate"].iter().any(|word| body(command).contains(word));
        let likeness = command.sketch(&repository.files).likeness(agent.sketch(&repository.files));
        if starts || likeness >= ALIKE || both < SENTENCES_MIN || both * 2 <= one.len().max(other.len()) {
            continue;
        }
        let message = format!(
            "`{}` and the agent `{}` do the same, mostly in the same sentences",
            delegation::called(command),
            agent.name
        );
        report
            .add(command.file, command.head(), message)
            .severity(Severity::Low)
            .confidence(Confidence::Medium)
            .hint("keep the text in the agent, and let the command start it")
            .also(agent.file, agent.head(), "the agent")
            .done();
    }
}

/// Returns the sentences of a text that are more than a word or two.
fn sentences(text: &str) -> impl Iterator<Item = &str> {
    let parts = text.split('\n').flat_map(|line| line.split(". "));
    parts
        .map(|part| part.trim_matches(|c: char| !c.is_alphanumeric()))
        .filter(|part| memchr::memchr(b' ', part.as_bytes()).is_some())
}

/// Tells whether a command lies in a directory below that for commands.
fn is_below(repository: &Repository, command: &Asset) -> bool {
    let path = &repository.files[command.file].path;
    path.rsplit_once("commands/").is_some_and(|(_, below)| below.contains('/'))
}

/// Commands of one scope that have other names and the same text.
fn tell_copies(repository: &Repository, report: &mut Report<'_>) {
    let agents = &repository.agents;
    // What is called comes first, and an agent that it repeats behind it.
    let rank = |id: &AgentId| {
        let kind = agents[*id].kind;
        (kind != AssetKind::Command, kind == AssetKind::Agent, *id)
    };
    let ranked = |pair: &Pair| {
        let mut ids = [pair.one, pair.other];
        ids.sort_by_key(rank);
        Pair { one: ids[0], other: ids[1], ..*pair }
    };
    let mut alike: Vec<Pair> = agents.alike(&repository.files).iter().map(ranked).collect();
    let place = |pair: &Pair| (&agents[pair.one].scope, agents[pair.one].home);
    alike.sort_by_key(|pair| (place(pair), rank(&pair.one), rank(&pair.other)));
    let mut told = BTreeSet::new();
    for pair in alike {
        let (one, other) = (&agents[pair.one], &agents[pair.other]);
        let is_agent = |asset: &Asset| asset.kind == AssetKind::Agent;
        // Two agents are looked at by themselves, and of one name only one is run.
        if is_agent(one) || !is_agent(other) && one.name == other.name {
            continue;
        }
        // What several clients have is told of once.
        let names = BTreeSet::from([&one.name, &other.name]);
        if !told.insert((place(&pair), names)) {
            continue;
        }
        let message = format!(
            "`{}` and `{}` are alike to {:.0} %",
            delegation::called(one),
            delegation::called(other),
            pair.likeness * 100.0
        );
        let hint = if is_agent(other) {
            "keep the text in the agent, and let the command start it"
        } else {
            "keep one, or let one take what differs as an argument"
        };
        report
            .add(one.file, one.head(), message)
            .severity(Severity::Low)
            .confidence(Confidence::Medium)
            .hint(hint)
            .also(other.file, other.head(), "the other")
            .done();
    }
}
