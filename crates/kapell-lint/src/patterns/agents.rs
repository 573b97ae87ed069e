//! Patterns in commands, skills, agents and hooks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use kapell_spec::{
    claude::{reference::Names, steps::Step},
    finding::Span,
    words::Words,
};
use kapell_view::{
    audit::{AssetKind, PatternKind},
    text::shorten,
};

use super::Seen;
use crate::{
    agents::{Asset, Home, Resolved},
    rule::names,
};

pub(super) fn look(seen: &mut Seen<'_>) {
    let repository = seen.repository;
    let led = |asset: &&Asset| {
        asset.home != Home::Other
            && matches!(asset.kind, AssetKind::Command | AssetKind::Skill | AssetKind::Agent)
    };
    for asset in repository.agents.iter().map(|(_, asset)| asset).filter(led) {
        plans(seen, asset);
        shares(seen, asset);
        takes_back(seen, asset);
        appends(seen, asset);
        if asset.kind != AssetKind::Agent {
            leads(seen, asset);
        }
    }
    hands_on(seen);
    hooks(seen);
}

/// Tells whether a title has a word that starts so.
fn says(title: &str, starts: &[&str]) -> bool {
    let begins = |word: &str, start: &str| {
        word.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start))
    };
    title
        .split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| starts.iter().any(|start| begins(word, start)))
}

/// Words, whole, of the titles of steps that plan.
const PLANS: &[&str] = &[
    "plan",
    "plans",
    "planning",
    "planner",
    "design",
    "spec",
    "specs",
    "specification",
    "specifications",
    "architecture",
    "decompose",
    "decomposition",
    "breakdown",
    "roadmap",
];

/// Starts of words in the titles of steps that do what was planned.
const DOES: &[&str] = &["implement", "execut", "build", "develop", "apply", "creat", "fix"];

/// Words of the titles of steps that look at what was done.
const JUDGES: &[&str] = &["review", "audit", "check", "verif", "validat", "test"];

/// Tells whether a text has one of the words, whole.
fn has_word(text: &str, words: &[&str]) -> bool {
    let mut own = text.split(|c: char| !c.is_ascii_alphanumeric());
    own.any(|word| words.iter().any(|one| one.eq_ignore_ascii_case(word)))
}

/// Returns the number that a step begins with: 4 of `4a`, 2 of `2.1`.
fn ordinal(step: &Step) -> Option<u32> {
    let end = step.number.find(|c: char| !c.is_ascii_digit()).unwrap_or(step.number.len());
    step.number[..end].parse().ok()
}

/// Tells whether a step takes up what an earlier one planned: the file that it wrote, its number, or the plan by name.
fn takes_up(text: &str, plan: &Step, step: &Step) -> bool {
    let handed = |read: &str| plan.writes.iter().any(|written| written.text == read);
    if step.reads.iter().any(|read| handed(&read.text)) {
        return true;
    }
    let own = text.get(step.span.range()).unwrap_or_default().to_ascii_lowercase();
    let words = own.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.'));
    let words = words.map(|word| word.trim_matches('.')).filter(|word| !word.is_empty());
    // Behind the last one there is nothing.
    let words: Vec<&str> = words.chain([""]).collect();
    words.windows(3).any(|three| {
        let planned =
            |word: &str| matches!(word, "plan" | "spec" | "specification" | "roadmap" | "breakdown");
        let leads =
            matches!(three[0], "the" | "approved" | "this" | "that" | "your" | "each") && planned(three[1]);
        // `The plan` is what was planned; `the plan mode` is something else.
        let ends = !matches!(three[2], "mode" | "file" | "agent" | "tool");
        let by_number = matches!(three[0], "from" | "of" | "in")
            && matches!(three[1], "step" | "phase")
            && three[2] == plan.number;
        leads && ends || by_number
    })
}

/// A step that plans comes before one that does what was planned, or a skill that plans names the one that does.
fn plans(seen: &mut Seen<'_>, asset: &Asset) {
    let who = who(asset);
    let steps = &asset.flow.steps;
    let text = &seen.repository.files[asset.file].text;
    let does =
        |step: &Step| says(&step.title, DOES) && !has_word(&step.title, PLANS) && !says(&step.title, JUDGES);
    let led = steps.iter().enumerate().find_map(|(at, plan)| {
        let first = ordinal(plan).filter(|_| has_word(&plan.title, PLANS) && !says(&plan.title, JUDGES))?;
        let later = steps[at + 1..].iter().filter(|step| ordinal(step).is_some_and(|next| next > first));
        let done = later.into_iter().find(|step| does(step) && takes_up(text, plan, step))?;
        Some((plan, done))
    });
    if let Some((plan, done)) = led {
        let gate = if plan.gate || plan.asks { ", after an approval" } else { "" };
        let text = format!(
            "{who} plans in step {} ({}) and acts on it in step {} ({}){gate}.",
            plan.number, plan.title, done.number, done.title
        );
        seen.add(PatternKind::PlanThenExecute, (asset.file, plan.heading), text);
        return;
    }
    if !has_word(&asset.name, &["plan", "plans", "planning", "planner", "design"])
        || says(&asset.name, JUDGES)
    {
        return;
    }
    let agents = &seen.repository.agents;
    let next = asset.references.iter().find_map(|reference| {
        let Resolved::Found(id) = agents.resolve(asset, reference) else { return None };
        says(&agents[id].name, &["execut", "implement", "build"]).then(|| (&agents[id], reference.span))
    });
    if let Some((next, span)) = next {
        let text = format!("{who} writes a plan, and {} carries it out.", self::who(next));
        seen.add(PatternKind::PlanThenExecute, (asset.file, span), text);
    }
}

/// Names an asset with its kind.
fn who(asset: &Asset) -> String {
    match asset.kind {
        AssetKind::Command => format!("The command `{}`", asset.name),
        AssetKind::Skill => format!("The skill `{}`", asset.name),
        _ => format!("The agent `{}`", asset.name),
    }
}

/// A file that several steps write to or read from.
fn shares(seen: &mut Seen<'_>, asset: &Asset) {
    // By path: the steps that write it, those that read it, and where it is first named.
    let mut users: BTreeMap<&str, (BTreeSet<&str>, BTreeSet<&str>, Span)> = BTreeMap::new();
    let unused = |span| (BTreeSet::new(), BTreeSet::new(), span);
    let acting = |step: &&Step| !step.agents.is_empty();
    for step in asset.flow.steps.iter().filter(acting) {
        for written in &step.writes {
            let entry = users.entry(&written.text).or_insert_with(|| unused(written.span));
            entry.0.insert(&step.number);
        }
        for read in &step.reads {
            let entry = users.entry(&read.text).or_insert_with(|| unused(read.span));
            entry.1.insert(&step.number);
        }
    }
    let best = users
        .iter()
        .filter(|(_, (writers, readers, _))| !writers.is_empty() && readers.len() > 1)
        .max_by_key(|(_, (writers, readers, _))| writers.len() + readers.len());
    if let Some((path, (writers, readers, span))) = best {
        let text = format!(
            "{} keeps `{path}` for its agents: written in {}, read in {}.",
            who(asset),
            numbered(writers),
            numbered(readers)
        );
        seen.add(PatternKind::Blackboard, (asset.file, *span), text);
    }
}

/// Lists steps by their numbers, `2` before `10`.
fn numbered(steps: &BTreeSet<&str>) -> String {
    let word = if steps.len() == 1 { "step" } else { "steps" };
    let mut steps: Vec<&str> = steps.iter().copied().collect();
    steps.sort_by_key(|step| {
        let part = |part: &str| part.parse().unwrap_or(u32::MAX);
        (step.split(|c: char| !c.is_ascii_digit()).map(part).collect::<Vec<u32>>(), *step)
    });
    format!("{word} {}", steps.join(", "))
}

/// A section that says how to take back what was done.
fn takes_back(seen: &mut Seen<'_>, asset: &Asset) {
    let back = |title: &str| says(title, &["rollback", "rollbacks", "compensat", "undo", "revert"]);
    let heading = asset
        .definition
        .document
        .headings
        .iter()
        .find(|heading| back(&heading.text) || heading.text.to_ascii_lowercase().contains("roll back"));
    let acts = asset.flow.steps.len() > 1;
    if let Some(heading) = heading.filter(|_| acts) {
        let text = format!("{} says how its steps are taken back: {}.", who(asset), heading.text.trim());
        seen.add(PatternKind::Saga, (asset.file, heading.span), text);
    }
}

/// An instruction to append to a log.
fn appends(seen: &mut Seen<'_>, asset: &Asset) {
    static APPENDS: LazyLock<Words> = LazyLock::new(|| Words::new(&["append", ">>"]));
    let file = &seen.repository.files[asset.file];
    let (text, body) = (&file.text, asset.definition.body as usize);
    if !APPENDS.is_in_lower(&file.lower()[body..]) {
        return;
    }
    // From one place to the next: few lines have one.
    for (_, place) in APPENDS.places(&text[body..]) {
        let start = text[..body + place].rfind('\n').map_or(body, |at| (at + 1).max(body));
        let line = text[start..].lines().next().unwrap_or_default();
        if let Some(log) = log_named(&line.to_ascii_lowercase()) {
            let span = Span::new(start, start + line.trim_end().len());
            let text = format!("{} appends what happens to `{log}`.", who(asset));
            seen.add(PatternKind::EventSourcing, (asset.file, span), text);
            return;
        }
    }
}

/// Finds the name of a log that events are kept in.
fn log_named(line: &str) -> Option<&str> {
    let breaks = |c: char| c.is_whitespace() || "`\"'(),;|<>".contains(c);
    let mut words = line.split(breaks).map(|word| word.trim_end_matches(['.', ':']));
    words.find(|word| word.len() > 5 && [".jsonl", ".ndjson", ".log"].iter().any(|end| word.ends_with(end)))
}

/// A command or a skill that starts several agents; those who only read apart from those who change.
fn leads(seen: &mut Seen<'_>, asset: &Asset) {
    let agents = &seen.repository.agents;
    let mut started: BTreeMap<&str, Option<&Asset>> = BTreeMap::new();
    let mut first = None;
    for reference in asset.firm(Names::Agent) {
        let agent = match agents.resolve(asset, reference) {
            Resolved::Found(id) => Some(&agents[id]),
            Resolved::BuiltIn => None,
            _ => continue,
        };
        first.get_or_insert(reference.span);
        started.insert(agent.map_or(reference.name.as_str(), |agent| agent.name.as_str()), agent);
    }
    let Some(span) = first.filter(|_| started.len() > 1) else { return };
    let text = format!("{} leads {}.", who(asset), names(started.keys().copied()));
    seen.add(PatternKind::CentralOrchestration, (asset.file, span), text);
    let of = |fits: fn(&Asset) -> bool| -> Vec<&str> {
        started.values().flatten().filter(|agent| fits(agent)).map(|agent| agent.name.as_str()).collect()
    };
    let (readers, writers) = (of(only_reads), of(may_write));
    if !readers.is_empty() && !writers.is_empty() {
        let (readers, writers) = (names(readers), names(writers));
        let text = format!("{} has {readers} look and {writers} change.", who(asset));
        seen.add(PatternKind::Cqrs, (asset.file, span), text);
    }
}

fn has_tool(agent: &Asset, tools: &[&str]) -> bool {
    let name = |tool: &str| tool.split('(').next().unwrap_or_default().to_owned();
    agent.definition.items("tools").iter().any(|tool| tools.contains(&name(&tool.text).as_str()))
}

const WRITERS: &[&str] = &["Write", "Edit", "MultiEdit", "NotebookEdit", "*"];

/// Tells whether an agent has tools, and none that changes a file.
fn only_reads(agent: &Asset) -> bool {
    !agent.definition.items("tools").is_empty() && !has_tool(agent, WRITERS) && !has_tool(agent, &["Bash"])
}

/// Tells whether an agent can change files: by its tools, or because it has all of them.
fn may_write(agent: &Asset) -> bool {
    agent.definition.field("tools").is_none() || has_tool(agent, WRITERS)
}

/// Agents that hand work on to several others.
fn hands_on(seen: &mut Seen<'_>) {
    let repository = seen.repository;
    let graph = repository.agents.handovers(&repository.files);
    for (from, asset) in repository.agents.of(AssetKind::Agent) {
        let handovers = graph.of(from);
        let others = handovers.iter().map(|edge| &repository.agents[edge.to]);
        let others = others.filter(|other| other.kind == AssetKind::Agent);
        let to: BTreeSet<&str> = others.map(|other| other.name.as_str()).collect();
        if let Some(first) = handovers.first().filter(|_| to.len() > 1) {
            let text = format!("{} hands parts of its work to {}.", who(asset), names(to));
            seen.add(PatternKind::HierarchicalDecomposition, (first.file, first.span), text);
        }
    }
}

/// Hooks that react to what an agent did, and those that keep a log of it.
fn hooks(seen: &mut Seen<'_>) {
    const REACTS: &[&str] = &["PostToolUse", "Stop", "SubagentStop", "TaskCompleted", "TeammateIdle"];
    let repository = seen.repository;
    for file in &repository.agents.hooks {
        for hook in &file.hooks.hooks {
            let what = hook.text.as_ref().map_or("", |text| &text.text);
            let (event, path) = (&hook.event.text, &repository.files[file.file].path);
            let lower = what.to_ascii_lowercase();
            if let Some(log) = log_named(&lower).filter(|_| lower.contains(">>") || lower.contains("tee -a"))
            {
                let text = format!("`{path}` appends every {event} to `{log}`.");
                seen.add(PatternKind::EventSourcing, (file.file, hook.span), text);
            } else if REACTS.contains(&event.as_str()) && !what.is_empty() {
                let shown = shorten(what.lines().next().unwrap_or_default(), 60);
                let text = format!("`{path}` reacts to {event} with `{shown}`.");
                seen.add(PatternKind::Choreography, (file.file, hook.span), text);
            }
        }
    }
}
