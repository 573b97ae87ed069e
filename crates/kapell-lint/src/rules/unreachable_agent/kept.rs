//! Agents that leave it to one other to start them: a command, a skill or an agent.

use std::sync::LazyLock;

use kapell_spec::{
    claude::reference::{Names, Reference, Strength},
    words::Words,
};
use kapell_view::audit::AssetKind;

use super::names;
use crate::{
    agents::{Asset, Home, Resolved},
    files::FileId,
    repository::Repository,
    rule::Report,
};

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
    static WORDS: LazyLock<Words> = LazyLock::new(|| Words::new(ALONE));
    if !WORDS.is_in_lower(lower) {
        return None;
    }
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
const STARTS: &[&str] =
    &[" starts", " calls", " runs", " uses", " invokes", " launches", " spawns", " dispatches", " triggers"];

/// What it starts, in the agent's own words.
const ITSELF: &[&str] = &[" it", " this agent", " this subagent", " this one", " me"];

/// Tells whether the words behind a command say that it starts the agent which says so: ` command launches this agent`.
fn starts_it(rest: &str) -> bool {
    let rest = rest.trim_start_matches(['`', '*']);
    let rest = [" command", " skill"].iter().find_map(|word| rest.strip_prefix(word)).unwrap_or(rest);
    let rest = STARTS.iter().find_map(|verb| rest.strip_prefix(verb));
    let rest = rest.and_then(|rest| ITSELF.iter().find_map(|word| rest.strip_prefix(word)));
    rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
}

/// Finds where a description goes on behind the words that say who starts an agent.
fn keeper_at(lower: &str) -> Option<usize> {
    let starter = || {
        memchr::memchr_iter(b'/', lower.as_bytes()).find(|&at| {
            let len = lower[at + 1..].find(|c: char| !(c.is_ascii_alphanumeric() || "-_:".contains(c)));
            len.is_some_and(|len| starts_it(&lower[at + 1 + len..]))
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
    // The other words are followed by a command with its slash, which most descriptions lack.
    if reserved.is_some() || !lower.contains('/') {
        return reserved;
    }
    static PART: LazyLock<Words> = LazyLock::new(|| Words::new(PART_OF));
    starter().or_else(|| {
        let parts = if PART.is_in_lower(lower) { PART_OF } else { &[] };
        parts.iter().find_map(|words| {
            let end = lower.find(words)? + words.len();
            let rest = lower[end..].trim_start();
            let rest = rest.strip_prefix("the ").unwrap_or(rest).trim_start_matches(['`', '*']);
            rest.starts_with('/').then_some(end)
        })
    })
}

/// Agents that leave it to one other asset to start them, which never names them.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let agents = &repository.agents;
    for (id, agent) in agents.of(AssetKind::Agent).filter(|(_, agent)| agent.home == Home::Claude) {
        let Some(description) = agent.definition.text("description") else { continue };
        let lower = description.text.to_ascii_lowercase();
        let Some(said) = keeper_at(&lower) else { continue };
        let word = lower[said..].trim_start_matches(|c: char| " `*/@\"'".contains(c));
        let word = word.strip_prefix("the ").unwrap_or(word).trim_start_matches(['`', '/']);
        let len = word.find(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c))).unwrap_or(word.len());
        let name = &word[..len];
        let alone = CLOSED.iter().any(|word| lower.contains(word));
        if let Some(command) = missing_command(repository, agent, &lower[said..]).filter(|_| alone) {
            let nobody =
                !agents.iter().any(|(other, asset)| other != id && names(repository, asset, &agent.name));
            if nobody {
                let message = format!(
                    "nobody starts `{}`: `/{command}`, to which it leaves that, is not defined",
                    agent.name
                );
                let hint = "define the command, or say in the description when the agent is of use";
                report.add(agent.file, agent.head(), message).hint(hint).done();
            }
            continue;
        }
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

/// Words with which an agent says that nobody else is to start it.
const CLOSED: &[&str] = &[
    "only",
    "exclusively",
    "solely",
    "internal",
    "not invoke",
    "not call",
    "not be ",
    "not to be ",
    "not use directly",
    "n't invoke",
];

/// Returns the command that a text begins with, where nothing has its name, here or with its client.
fn missing_command(repository: &Repository, agent: &Asset, lower: &str) -> Option<String> {
    let rest = lower.trim_start_matches(|c: char| " `*\"'".contains(c));
    let rest = rest.strip_prefix("the ").unwrap_or(rest).trim_start_matches('`').strip_prefix('/')?;
    let len = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-_:".contains(c))).unwrap_or(rest.len());
    let name = rest[..len].trim_end_matches([':', '-', '_']);
    let reference = Reference {
        names: Names::Command,
        name: name.to_owned(),
        span: agent.head(),
        strength: Strength::Strong,
        fenced: false,
    };
    let nothing = matches!(repository.agents.resolve(agent, &reference), Resolved::Nothing(_));
    let local = name.rsplit(':').next().unwrap_or(name);
    let stem = |id: FileId| repository.files[id].name().split('.').next().unwrap_or_default();
    let other = repository.agents.iter().any(|(_, asset)| asset.name.eq_ignore_ascii_case(local))
        || repository.agents.scripts.iter().any(|(id, _)| stem(*id).eq_ignore_ascii_case(local));
    // A path has more slashes.
    (!name.is_empty() && nothing && !other && !rest[len..].starts_with('/')).then(|| name.to_owned())
}

/// Tells whether an asset names nobody where it means this agent: that is told where the name stands.
fn misnames(repository: &Repository, keeper: &Asset, name: &str) -> bool {
    keeper.firm(Names::Agent).any(|reference| {
        matches!(repository.agents.resolve(keeper, reference), Resolved::Nothing(Some(near)) if near == name)
    })
}
