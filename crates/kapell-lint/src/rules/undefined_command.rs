//! `undefined-command`: a slash command is named that is defined nowhere.

mod brought; // commands that somebody else is said to bring
mod others; // commands of other clients
mod readme; // commands that the README of a plugin tells people to run

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use kapell_spec::{
    claude::{
        listed,
        reference::{Names, Reference, Strength, has_fallback},
        tables::BUILT_IN_COMMANDS,
    },
    finding::Span,
    line, suggest,
    words::Words,
};
use kapell_view::audit::{AssetKind, Confidence, Scope, Severity};

use crate::{
    agents::{
        Agents, Asset, Home, Resolved, delegation,
        sessions::{What, sessions},
    },
    files::FileId,
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
};

/// See `docs/rules/undefined-command.md`.
pub(super) static RULE: Rule = Rule {
    name: "undefined-command",
    summary: "a slash command is named that is defined nowhere",
    group: Group::AgentGraph,
    anti_pattern: None,
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/undefined-command.md"),
    check,
};

/// Where a name stands, and the nearest that there is.
type Place<'a> = (FileId, &'a Reference, Option<String>);

fn check(repository: &Repository, report: &mut Report<'_>) {
    let agents = &repository.agents;
    others::check(repository, report);
    readme::check(repository, report);
    let defined = |(_, asset): (_, &Asset)| asset.home == Home::Claude;
    let has_commands = agents.of(AssetKind::Command).any(defined) || agents.of(AssetKind::Skill).any(defined);
    if !has_commands {
        return;
    }
    let families = families(agents);
    let shown: Vec<(&Asset, Vec<Reference>)> = agents
        .iter()
        .filter(|(_, from)| from.home == Home::Claude)
        .map(|(_, from)| {
            let slashed = repository.files[from.file].made(|file| Slashed::of(from, &file.text));
            let mut found = shown(agents, from, &slashed.rows);
            found.extend(of_families(&slashed.alone, &families).cloned());
            found.extend(slashed.ordered.iter().cloned());
            found.extend(similar(agents, from, &slashed.marked).cloned());
            (from, found)
        })
        .collect();
    let mut missing: BTreeMap<&str, Vec<Place<'_>>> = BTreeMap::new();
    for (from, shown) in &shown {
        for reference in from.firm(Names::Command).chain(shown) {
            let Resolved::Nothing(near) = agents.resolve(from, reference) else { continue };
            let near = near.or_else(|| turned(agents, &reference.name).map(str::to_owned));
            missing.entry(&reference.name).or_default().push((from.file, reference, near));
        }
    }
    for places in missing.values_mut() {
        places.sort_by_key(|(file, reference, _)| (*file, reference.span.start));
        places.dedup_by_key(|(file, reference, _)| (*file, reference.span.start));
    }
    unknown_skills(repository, report);
    renamed(repository, report);
    given_first(repository, report);
    let mut by_file: BTreeMap<FileId, Vec<(&str, Vec<Place<'_>>)>> = BTreeMap::new();
    // Names with too many colons are one habit.
    let mut nested: BTreeMap<&str, FileId> = BTreeMap::new();
    for (name, places) in missing {
        let Some(&(file, _, ref near)) = places.first() else { continue };
        let space = name.split_once(':').filter(|(_, local)| local.contains(':')).map(|(space, _)| space);
        let file = space.map_or(file, |space| *nested.entry(space).or_insert(file));
        // A name without a plugin may be a path, or a command of the person who reads.
        let is_meant = name.contains([':', '-', '_']) || near.is_some() || agent_like(agents, name).is_some();
        if is_meant && !brought::is_brought(repository, name) {
            by_file.entry(file).or_default().push((name, places));
        }
    }
    for names in by_file.into_values() {
        tell(repository, report, names);
    }
}

/// Commands that sessions of workflows and scripts are given: `claude -p "/audit"`.
fn given_first(repository: &Repository, report: &mut Report<'_>) {
    let agents = &repository.agents;
    let kinds = [AssetKind::Command, AssetKind::Skill];
    let own = agents.iter().filter(|(_, asset)| kinds.contains(&asset.kind) && asset.home == Home::Claude);
    let names: BTreeSet<&str> = own.map(|(_, asset)| &*asset.name).collect();
    for session in sessions(&repository.files) {
        let What::Command(name) = &session.what else { continue };
        if names.contains(&**name) || name.contains(':') || BUILT_IN_COMMANDS.contains(&&**name) {
            continue;
        }
        let near = suggest::nearest(name, names.iter().copied());
        let turned = turned(agents, name);
        // A plugin, or the person who runs it, may bring what resembles nothing here.
        let Some(near) = near.or(turned).or_else(|| name.contains('-').then_some("")) else { continue };
        let message = format!("`/{name}`, which this session is given, is not defined");
        let hint = match near {
            "" => "define it, or give a command that is there".to_owned(),
            near => format!("give `/{near}`, if that is meant"),
        };
        let draft = report.add(session.file, session.span, message).severity(Severity::High);
        draft.confidence(Confidence::Medium).hint(hint).done();
    }
}

/// Commands of a plugin's own that it names by another plugin's name, which is none that it needs: it was called so before.
fn renamed(repository: &Repository, report: &mut Report<'_>) {
    let agents = &repository.agents;
    // Where several lie together, one may mean another.
    let [plugin] = &agents.plugins[..] else { return };
    let needs = &repository.files[plugin.file].text;
    let own: BTreeSet<&str> = agents
        .iter()
        .filter(|(_, asset)| matches!(asset.kind, AssetKind::Command | AssetKind::Skill))
        .filter(|(_, asset)| asset.scope == Scope::Plugin(plugin.name.clone()))
        .map(|(_, asset)| &*asset.name)
        .collect();
    for (_, from) in agents.iter().filter(|(_, from)| from.scope == Scope::Plugin(plugin.name.clone())) {
        let text = &repository.files[from.file].text;
        for reference in from.firm(Names::Command).filter(|reference| !reference.fenced) {
            let Some((space, local)) = reference.name.split_once(':') else { continue };
            let ordered = text
                [line::start(text, reference.span.start as usize)..reference.span.start as usize]
                .trim_end_matches(['`', '/', '*'])
                .to_ascii_lowercase();
            let ordered = ["run ", "with ", "invoke ", "execute "].iter().any(|word| ordered.ends_with(word));
            let foreign =
                space != plugin.name && !needs.contains(&format!("\"{space}\"")) && !agents.owns(space);
            if ordered && foreign && own.contains(local) && !has_fallback(text, reference.span.start) {
                let message = format!(
                    "`/{}` is no command of `{}`, which has `{local}` itself",
                    reference.name, plugin.name
                );
                let hint = format!("write `/{}:{local}`", plugin.name);
                let draft = report.add(from.file, reference.span, message).hint(hint);
                draft.confidence(Confidence::Medium).done();
            }
        }
    }
}

/// How many names behind the label `Skill:` have to lead to a skill before one that leads nowhere is one, too.
const LABELLED: usize = 3;

/// Skills that a text has loaded by a name that is nearly that of one that is defined.
fn unknown_skills(repository: &Repository, report: &mut Report<'_>) {
    let agents = &repository.agents;
    let mut told: std::collections::BTreeSet<&str> = std::collections::BTreeSet::new();
    // Where a label before a name leads to a skill again and again, it does so each time.
    let labelled = |from: &Asset, reference: &Reference| {
        let before = &repository.files[from.file].text[..reference.span.start as usize];
        before.trim_end_matches('`').trim_end().to_ascii_lowercase().ends_with("skill:")
    };
    let house = || {
        let all = agents.iter().flat_map(|(_, from)| from.references.iter().map(move |named| (from, named)));
        let mut known = all.filter(|(from, named)| {
            named.names == Names::Skill
                && labelled(from, named)
                && matches!(agents.resolve(from, named), Resolved::Found(_))
        });
        known.by_ref().nth(LABELLED - 1).is_some()
    };
    for (_, from) in agents.iter().filter(|(_, from)| from.home == Home::Claude) {
        let named = from.references.iter().filter(|reference| {
            reference.names == Names::Skill && reference.strength == Strength::Strong && !reference.fenced
        });
        for reference in named {
            let Resolved::Nothing(near) = agents.resolve(from, reference) else { continue };
            if near.is_none() && !(labelled(from, reference) && house()) {
                continue;
            }
            let lone = agent_called(agents, &reference.name).is_none() && !reference.name.contains(':');
            let maybe = has_fallback(&repository.files[from.file].text, reference.span.start);
            if lone && !maybe && told.insert(&reference.name) {
                let message = format!("skill `{}` is not defined", reference.name);
                let hint = match near {
                    Some(near) => format!("name `{near}`, if that is meant"),
                    None => "define it, or drop the step".to_owned(),
                };
                report
                    .add(from.file, reference.span, message)
                    .confidence(Confidence::Medium)
                    .hint(hint)
                    .done();
            }
        }
    }
}

/// What stands behind slashes in a text and may be a command, in the ways that texts name them.
struct Slashed {
    /// In the rows of lists and tables.
    rows: Vec<listed::Row>,
    /// Behind orders to run it.
    ordered: Vec<Reference>,
    /// In marks, on lines that have something run.
    marked: Vec<Reference>,
    /// With nothing around it that makes it part of something else.
    alone: Vec<Reference>,
}

impl Slashed {
    fn of(from: &Asset, text: &str) -> Self {
        let has_marks = text.contains("`/");
        Self {
            rows: if has_marks { listed::rows(text, &from.definition) } else { Vec::new() },
            ordered: ordered(from, text).collect(),
            marked: if has_marks { marked(from, text).collect() } else { Vec::new() },
            alone: alone(text).collect(),
        }
    }
}

/// Finds the commands that the lists of a text show among others that are defined here.
fn shown(agents: &Agents, from: &Asset, rows: &[listed::Row]) -> Vec<Reference> {
    rows.iter()
        .filter(|row| {
            let found =
                |reference: &&Reference| matches!(agents.resolve(from, reference), Resolved::Found(_));
            let known = row.iter().filter(found).count();
            known > 0 && known * 2 >= row.len()
        })
        .flatten()
        .filter(|reference| reference.name.contains('-'))
        .cloned()
        .collect()
}

/// How many commands that begin alike make a family.
const FAMILY: usize = 5;

/// Finds the first parts, hyphens included, that many commands of a repository have in common: `spec-`.
fn families(agents: &Agents) -> Vec<String> {
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for kind in [AssetKind::Command, AssetKind::Skill] {
        for (_, asset) in agents.of(kind).filter(|(_, asset)| asset.home == Home::Claude) {
            let first = asset.name.split_once('-').map_or("", |(first, _)| first);
            *count.entry(first).or_default() += usize::from(!first.is_empty());
        }
    }
    let large = count.into_iter().filter(|&(_, count)| count >= FAMILY);
    large.map(|(first, _)| format!("{first}-")).collect()
}

/// Finds the names of families behind a slash, wherever in a text they stand: nothing else is called so.
fn of_families<'a>(
    alone: &'a [Reference],
    families: &'a [String],
) -> impl Iterator<Item = &'a Reference> + 'a {
    let is_of = |name: &str, family: &str| name.len() > family.len() && name.starts_with(family);
    alone.iter().filter(move |named| families.iter().any(|family| is_of(&named.name, family)))
}

/// Finds names of several parts behind a slash that stand by themselves: `(/spec-plan)`.
fn alone(text: &str) -> impl Iterator<Item = Reference> + '_ {
    memchr::memchr_iter(b'/', text.as_bytes()).map(|slash| slash + 1).filter_map(move |start| {
        let rest = &text[start..];
        let before = text.as_bytes().get(start.wrapping_sub(2));
        let starts = before.is_none_or(|before| before.is_ascii_whitespace() || b"`(\"'*|".contains(before));
        if !starts || !rest.starts_with(|c: char| c.is_ascii_lowercase()) {
            return None;
        }
        let len = rest.find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'))?;
        let name = &rest[..len];
        let ends = rest[len..].starts_with([' ', '`', ')', ',', '"', '\'', '*', '|', '\n', '\r'])
            || rest[len..].starts_with(". ")
            || rest[len..].starts_with(".\n");
        let named = ends && name.contains('-') && !name.ends_with('-');
        // What is made here is not there yet.
        let made = || {
            let line = line::around(text, start).to_ascii_lowercase();
            ["generat", "produc", "creat", "install"].iter().any(|word| line.contains(word))
        };
        (named && !made()).then(|| Reference {
            names: Names::Command,
            name: name.to_owned(),
            span: Span::new(start, start + len),
            strength: Strength::Strong,
            fenced: false,
        })
    })
}

/// Finds the commands that a text orders to run without marks around them: `Run /deploy-preview so that`.
fn ordered<'a>(from: &'a Asset, text: &'a str) -> impl Iterator<Item = Reference> + 'a {
    const ORDERS: &[&str] = &[
        "run /",
        "execute /",
        "invoke /",
        "use the /",
        "run the /",
        "invoke the /",
        "call the /",
        "type /",
        "run `/",
    ];
    static RUN: LazyLock<Words> = LazyLock::new(|| Words::new(ORDERS));
    let body = from.definition.body as usize;
    RUN.places(&text[body..]).filter_map(move |(number, at)| {
        let at = body + at;
        let start = at + ORDERS[number].len();
        let line = line::start(text, at);
        let before =
            text[line..at].trim_start_matches(|c: char| c.is_ascii_digit() || "-*+.)> \t".contains(c));
        let before = before.trim_end().to_ascii_lowercase();
        // An order heads its line or sentence; what somebody else may do does not.
        let before = before.trim_end_matches('*');
        let arrow = ["\u{2192}", "->", "=>"].iter().any(|arrow| before.ends_with(arrow));
        let head =
            before.is_empty() || arrow || before.ends_with(['.', ':', ';', ',']) || before.ends_with("then");
        let name: &str =
            text[start..].split(|c: char| !(c.is_ascii_lowercase() || "-_".contains(c))).next()?;
        let rest = &text[start + name.len()..];
        let ends = rest.starts_with([' ', ',', '\n', '\r', '`'])
            || rest.starts_with(". ")
            || rest.starts_with(".\n");
        let sentence = rest.split(['.', '\n']).next().unwrap_or_default().to_ascii_lowercase();
        let path = ["endpoint", "route", "script", "path", "plugin", "install"];
        let mut words = sentence.split(|c: char| !c.is_ascii_alphanumeric());
        let is_path = words.any(|word| path.contains(&word.trim_end_matches('s')));
        let fenced = from.definition.document.fence_at(u32::try_from(at).ok()?).is_some();
        let word = rest.trim_start().split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        let called = !ORDERS[number].contains(" the ") || matches!(word, "command" | "skill");
        let elsewhere =
            ["slack", "telegram", "discord", "teams"].iter().any(|place| sentence.contains(place));
        let whole = called
            && !elsewhere
            && name.contains(['-', '_'])
            && !name.starts_with(['-', '_'])
            && !name.ends_with(['-', '_']);
        let is_path = is_path && !matches!(word, "command" | "skill");
        (head && ends && whole && !is_path && !fenced).then(|| Reference {
            names: Names::Command,
            name: name.to_owned(),
            span: Span::new(start, start + name.len()),
            strength: Strength::Strong,
            fenced: false,
        })
    })
}

/// Finds the command whose name has the same words in another order: `test-xcode` for `xcode-test`.
fn turned<'a>(agents: &'a Agents, name: &str) -> Option<&'a str> {
    let words = |name: &str| {
        let mut words: Vec<String> = name.split(['-', '_']).map(str::to_owned).collect();
        words.sort_unstable();
        words
    };
    let wanted = words(name);
    let kinds = [AssetKind::Command, AssetKind::Skill];
    let mut all =
        agents.iter().filter(|(_, asset)| kinds.contains(&asset.kind) && asset.home == Home::Claude);
    all.find(|(_, asset)| *asset.name != *name && words(&asset.name) == wanted).map(|(_, asset)| &*asset.name)
}

/// Words of a line that has somebody run a command.
const RUN: &[&str] = &["run ", "call ", "use ", "invoke ", "execute ", "start ", "type "];

/// Finds names in marks, wherever they stand behind an order: texts that are shown to somebody hold them, too.
fn marked<'a>(from: &Asset, text: &'a str) -> impl Iterator<Item = Reference> + 'a {
    let body = from.definition.body as usize;
    memchr::memmem::find_iter(&text.as_bytes()[body..], "`/").filter_map(move |at| {
        let start = body + at + "`/".len();
        let rest = &text[start..];
        let len = rest.find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c)))?;
        let name = &rest[..len];
        let before = text[line::start(text, start)..start].to_ascii_lowercase();
        let told = rest[len..].starts_with(['`', ' ']) && RUN.iter().any(|word| before.contains(word));
        (told && name.contains(['-', '_'])).then(|| Reference {
            names: Names::Command,
            name: name.to_owned(),
            span: Span::new(start, start + len),
            strength: Strength::Strong,
            fenced: false,
        })
    })
}

/// Finds those of them that are the names of commands but for the order of their words, or a slip.
fn similar<'a>(
    agents: &Agents,
    from: &Asset,
    marked: &'a [Reference],
) -> impl Iterator<Item = &'a Reference> {
    marked.iter().filter(|reference| match agents.resolve(from, reference) {
        Resolved::Nothing(near) => near.is_some() || turned(agents, &reference.name).is_some(),
        _ => false,
    })
}

/// Finds the agent that a command is called like, or nearly so: it is started in another way.
fn agent_like<'a>(agents: &'a Agents, name: &str) -> Option<&'a str> {
    let local = name.rsplit(':').next().unwrap_or(name);
    agent_called(agents, name).or_else(|| {
        let all = agents.of(AssetKind::Agent).filter(|(_, agent)| agent.home == Home::Claude);
        suggest::nearest(local, all.map(|(_, agent)| &*agent.name))
    })
}

/// Finds the only command that has a part of its name in common with another one.
fn command_akin<'a>(agents: &'a Agents, name: &str) -> Option<&'a str> {
    let commands = agents.of(AssetKind::Command).filter(|(_, command)| command.home == Home::Claude);
    suggest::akin(name, commands.map(|(_, command)| &*command.name))
}

/// Finds the agent that has just the name of a command, what stands before its colon aside.
fn agent_called<'a>(agents: &'a Agents, name: &str) -> Option<&'a str> {
    let local = name.rsplit(':').next().unwrap_or(name);
    let mut all = agents.of(AssetKind::Agent).filter(|(_, agent)| agent.home == Home::Claude);
    all.find(|(_, agent)| agent.name == local).map(|(_, agent)| &*agent.name)
}

/// Reports the names that one file is the first to use.
fn tell(repository: &Repository, report: &mut Report<'_>, mut names: Vec<(&str, Vec<Place<'_>>)>) {
    let agents = &repository.agents;
    names.sort_by_key(|(_, places)| (places[0].0, places[0].1.span.start));
    let scoped = names.iter().any(|(name, _)| name.contains(':'));
    let (file, first, _) = names[0].1[0];
    let span = Span::new(first.span.start as usize - 1, first.span.end as usize);
    let shown: Vec<String> = names.iter().map(|(name, _)| format!("`/{name}`")).collect();
    let message = match &shown[..] {
        [one] => format!("command {one} is not defined"),
        [first, second, third, rest @ ..] if rest.len() > 1 => {
            format!("commands {first}, {second}, {third} and {} more are not defined", rest.len())
        }
        [most @ .., last] => format!("commands {} and {last} are not defined", most.join(", ")),
        [] => return,
    };
    let mut draft = report.add(file, span, message);
    if !scoped {
        draft = draft.confidence(Confidence::Medium);
    }
    // What is to be run, and is there under nearly that name, or in a folder of others, was meant to be.
    let ordered = names.iter().flat_map(|(_, places)| places).any(|(file, reference, near)| {
        let text = &repository.files[*file].text;
        (near.is_some() || scoped) && delegation::is_run(text, reference.span.start as usize)
    });
    if ordered {
        draft = draft.severity(Severity::High);
    }
    let nearest = |(name, places): &(&str, Vec<Place<'_>>)| {
        let near = places[0].2.as_ref()?;
        let space = name.split_once(':').map_or(String::new(), |(space, _)| format!("{space}:"));
        Some(format!("`/{space}{near}`"))
    };
    let near: Vec<String> = names.iter().filter_map(nearest).take(3).collect();
    if let Some(agent) = names.iter().find_map(|(name, _)| agent_called(agents, name)) {
        draft = draft.hint(format!("name the agent `{agent}` without a slash, which starts no agent"));
    } else if !near.is_empty() {
        draft = draft.hint(format!("name {}, if that is meant", near.join(" or ")));
    } else if let Some(agent) = names.iter().find_map(|(name, _)| agent_like(agents, name)) {
        draft = draft.hint(format!("name the agent `{agent}`, if that is meant: no slash starts an agent"));
    } else if let [(name, _)] = &names[..]
        && let Some(near) = command_akin(agents, name)
    {
        draft = draft.hint(format!("define it, or name `/{near}`, if that is meant"));
    } else {
        draft = draft.hint("define it, or say where it comes from");
    }
    for (at, (name, places)) in names.iter().enumerate() {
        for (file, reference, _) in &places[usize::from(at == 0)..] {
            draft = draft.also(*file, reference.span, format!("`/{name}` is named here"));
        }
    }
    draft.done();
}
