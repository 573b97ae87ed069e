//! `undefined-agent`: an agent is named that is defined nowhere it could be loaded from.

mod asked; // agents that code asks its own registry for
mod by_number; // agents that a numbered list goes through
mod graph; // steps and agents in code
mod handed; // tables of agents that hand on to each other
mod opencode; // agents that commands of opencode are given to
mod permissions; // agents that settings name
mod prompts; // agents whose prompts lie in a folder
mod session; // agents that code gives to a session
mod texts; // agents that other texts list
mod warned; // names that a sentence warns against

use std::collections::{BTreeMap, BTreeSet};

use kapell_spec::{
    claude::{
        hooks,
        reference::{Names, Reference, Strength, has_fallback, is_snake},
    },
    suggest,
};
use kapell_view::audit::{AssetKind, Confidence, FixClass, Scope, Severity};

use crate::{
    agents::{
        Asset, Home, Resolved,
        clients::Client,
        delegation, is_built_in,
        sessions::{What, sessions},
    },
    files::FileId,
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// See `docs/rules/undefined-agent.md`.
pub(super) static RULE: Rule = Rule {
    name: "undefined-agent",
    summary: "an agent is named that is defined nowhere it could be loaded from",
    group: Group::AgentGraph,
    anti_pattern: Some(AntiPattern::Hardcoded),
    focus: Focus::Resilience,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Quick,
    page: include_str!("../../docs/rules/undefined-agent.md"),
    check,
};

struct Missing<'a> {
    file: FileId,
    reference: &'a Reference,
    resolved: Resolved,
    from: &'a Asset,
}

fn check(repository: &Repository, report: &mut Report<'_>) {
    let agents = &repository.agents;
    scripts(repository, report);
    session::check(repository, report);
    permissions::check(repository, report);
    opencode::check(repository, report);
    of_others(repository, report);
    graph::check(repository, report);
    asked::check(repository, report);
    prompts::check(repository, report);
    handed::check(repository, report);
    by_number::check(repository, report);
    main_agent(repository, report);
    started(repository, report);
    texts::check(repository, report);
    let mut missing: BTreeMap<(&Scope, &str), Vec<Missing<'_>>> = BTreeMap::new();
    for (_, from) in agents.iter().filter(|(_, from)| from.home != Home::Other) {
        for reference in from.firm(Names::Agent) {
            // Words about a neighbour in a collection of agents hand over no work.
            let beside = from.home == Home::Library && from.kind == AssetKind::Agent;
            if beside && reference.strength < Strength::Certain {
                continue;
            }
            let resolved = agents.resolve(from, reference);
            // Instructions speak of the agents of a plugin that is kept here without its name before theirs.
            let spoken = from.kind == AssetKind::Memory && reference.strength < Strength::Certain;
            let lost = match resolved {
                Resolved::Nothing(_) => true,
                Resolved::Elsewhere(_) => !spoken,
                _ => false,
            } && is_called_so(repository, &reference.name);
            let text = &repository.files[from.file].text;
            if !lost
                || agents.by_file(from, &reference.name).is_some()
                || has_fallback(text, reference.span.start)
                || warned::is_warned(text, reference.span)
            {
                continue;
            }
            let missed = Missing { file: from.file, reference, resolved, from };
            missing.entry((&from.scope, &reference.name)).or_default().push(missed);
        }
    }
    let has_agents = agents.of(AssetKind::Agent).any(|(_, agent)| agent.home != Home::Other);
    if has_agents {
        missing.into_values().for_each(|places| tell(repository, report, &places));
        return;
    }
    let others = agents.of(AssetKind::Agent).next().is_some();
    // Where no agent is defined at all, all of them come from one other place, or from none.
    let mut started: Vec<Missing<'_>> = Vec::new();
    for places in missing.into_values() {
        let certain = places.iter().any(|place| place.reference.strength == Strength::Certain);
        if places[0].reference.name.contains("::") {
            tell(repository, report, &places);
        } else if certain {
            started.extend(places);
        } else {
            let name = &places[0].reference.name;
            let draft = report.add(
                places[0].file,
                places[0].reference.span,
                format!("agent `{name}` is not defined"),
            );
            // Where another client has agents, one of theirs is meant.
            let (severity, sure) = if others {
                (Severity::Medium, Confidence::Medium)
            } else {
                (Severity::Low, Confidence::Low)
            };
            draft.severity(severity).confidence(sure).done();
        }
    }
    tell_of_none(report, &started);
}

/// Tells whether a name may be that of an agent here: one with underscores is a function, unless agents are called so.
fn is_called_so(repository: &Repository, name: &str) -> bool {
    !is_snake(name) || repository.agents.of(AssetKind::Agent).any(|(_, agent)| is_snake(&agent.name))
}

/// Agents that those of another client name, and that neither it nor anybody else has. Where it has no agent here, or plugins
/// may bring some, they may be anywhere.
fn of_others(repository: &Repository, report: &mut Report<'_>) {
    let agents = &repository.agents;
    let has = |client: Client| agents.of(AssetKind::Agent).any(|(_, agent)| agent.client == client);
    let mut missing: BTreeMap<(Client, &str), Vec<Missing<'_>>> = BTreeMap::new();
    for (_, from) in agents.iter().filter(|(_, from)| from.client != Client::Claude) {
        if !has(from.client)
            || from.client == Client::Opencode && opencode::may_be_elsewhere(&repository.files)
        {
            continue;
        }
        // Whom a command of opencode is given to is looked up by itself.
        for reference in from.firm(Names::Agent) {
            let resolved = agents.resolve(from, reference);
            let text = &repository.files[from.file].text;
            if matches!(resolved, Resolved::Nothing(_))
                && is_called_so(repository, &reference.name)
                && agents.by_file(from, &reference.name).is_none()
                && !has_fallback(text, reference.span.start)
            {
                let missed = Missing { file: from.file, reference, resolved, from };
                missing.entry((from.client, &reference.name)).or_default().push(missed);
            }
        }
    }
    missing.into_values().for_each(|places| tell(repository, report, &places));
}

/// The agent that settings have every session run as.
fn main_agent(repository: &Repository, report: &mut Report<'_>) {
    let names: BTreeSet<&str> =
        repository.agents.of(AssetKind::Agent).map(|(_, agent)| &*agent.name).collect();
    for settings in repository.agents.hooks.iter().filter(|file| file.is_settings && !names.is_empty()) {
        let file = &repository.files[settings.file];
        let (Some(root), _) = hooks::json(&file.text) else { continue };
        let Some(named) = root.get("agent").filter(|_| file.path.ends_with(".json")).and_then(hooks::scalar)
        else {
            continue;
        };
        if names.contains(&*named.text) || is_built_in(&named.text) || named.text.contains(':') {
            continue;
        }
        let message = format!("agent `{}`, which every session is to run as, is not defined", named.text);
        let near = suggest::nearest(&named.text, names.iter().copied());
        let hint = near.map_or_else(
            || "define it, or drop `agent`".to_owned(),
            |near| format!("name `{near}`, if that is meant"),
        );
        report.add(settings.file, named.span, message).hint(hint).done();
    }
}

/// The agents that sessions of workflows and scripts are to run as: `claude --agent x`.
fn started(repository: &Repository, report: &mut Report<'_>) {
    let agents = repository.agents.of(AssetKind::Agent).filter(|(_, agent)| agent.home == Home::Claude);
    let names: BTreeSet<&str> = agents.map(|(_, agent)| &*agent.name).collect();
    if names.is_empty() {
        return;
    }
    for session in sessions(&repository.files) {
        let What::Agent(name) = &session.what else { continue };
        if names.contains(&**name) || is_built_in(name) || name.contains(':') {
            continue;
        }
        let near = suggest::nearest(name, names.iter().copied());
        let hint = near.map_or_else(
            || "define it, or drop `--agent`".to_owned(),
            |near| format!("name `{near}`, if that is meant"),
        );
        let message = format!("agent `{name}`, which this session is to run as, is not defined");
        report.add(session.file, session.span, message).hint(hint).done();
    }
}

/// Agents that scripts of dynamic workflows start.
fn scripts(repository: &Repository, report: &mut Report<'_>) {
    let names: BTreeSet<&str> =
        repository.agents.of(AssetKind::Agent).map(|(_, agent)| &*agent.name).collect();
    for (file, script) in repository.scripts().iter().filter(|_| !names.is_empty()) {
        for started in &script.started {
            // A plugin's name before a colon says where an agent comes from.
            let (space, local) = started.name.split_once(':').unwrap_or(("", &started.name));
            let outside = !space.is_empty() && repository.agents.plugin(space).is_none();
            if names.contains(local) || is_built_in(&started.name) || outside || local.contains(':') {
                continue;
            }
            let message = format!("agent `{}` is not defined", started.name);
            let draft = report.add(*file, started.span, message);
            match suggest::nearest(local, names.iter().copied()) {
                Some(near) if !space.is_empty() => {
                    draft.hint(format!("name `{space}:{near}`, if that is meant")).done();
                }
                Some(near) => draft.hint(format!("name `{near}`, if that is meant")).done(),
                None => draft
                    .hint("define it, or name an agent that is always there, such as `general-purpose`")
                    .done(),
            }
        }
    }
}

/// Commands start agents, and nothing here defines any: one finding for all of them.
fn tell_of_none(report: &mut Report<'_>, started: &[Missing<'_>]) {
    let Some((first, rest)) = started.split_first() else { return };
    let names: BTreeSet<&str> = started.iter().map(|place| &*place.reference.name).collect();
    let shown: Vec<String> = names.iter().take(4).map(|name| format!("`{name}`")).collect();
    let more = if names.len() > 4 { format!(" and {} more", names.len() - 4) } else { String::new() };
    let are = if names.len() == 1 { "is" } else { "are" };
    let message = format!("no agent is defined here, and {}{more} {are} started", shown.join(", "));
    let mut draft = report
        .add(first.file, first.reference.span, message)
        .severity(Severity::Low)
        .confidence(Confidence::Medium)
        .hint("define them, say where they come from, or start `general-purpose`");
    for place in rest {
        draft = draft.also(place.file, place.reference.span, "started here");
    }
    draft.done();
}

fn tell(repository: &Repository, report: &mut Report<'_>, places: &[Missing<'_>]) {
    let Some(first) = places.first() else { return };
    let name = &first.reference.name;
    let certain = places.iter().any(|place| place.reference.strength == Strength::Certain);
    let (message, hint) = match (&first.resolved, &first.from.scope) {
        (Resolved::Elsewhere(id), Scope::Plugin(plugin)) => {
            let owner = match &repository.agents[*id].scope {
                Scope::Plugin(owner) => format!("plugin `{owner}`"),
                _ => "another place".to_owned(),
            };
            (
                format!("agent `{name}` belongs to {owner}, which plugin `{plugin}` does not depend on"),
                "add it to `dependencies` in plugin.json, or say which agent to use where it is not installed".to_owned(),
            )
        }
        (Resolved::Nothing(Some(near)), _) if name.contains("::") => {
            (format!("agent `{name}` has two colons; it is called `{near}`"), format!("write `{near}`"))
        }
        (Resolved::Nothing(Some(near)), _) => {
            (format!("agent `{name}` is not defined"), format!("name `{near}`, or define it"))
        }
        _ => (
            format!("agent `{name}` is not defined"),
            "define it, or name an agent that is always there, such as `general-purpose`".to_owned(),
        ),
    };
    let mut draft = report.add(first.file, first.reference.span, message).hint(hint);
    if !certain || matches!(first.resolved, Resolved::Elsewhere(_)) {
        draft = draft.confidence(Confidence::Medium);
        // That one of nearly that name is there says that one is meant to be.
        let meant = name.contains(['-', '_']) && places.iter().any(|place| !place.reference.fenced);
        // So does an order to hand work to it.
        let text = &repository.files[first.file].text;
        let ordered = matches!(first.resolved, Resolved::Nothing(_))
            && first.from.home == Home::Claude
            && delegation::hands_on(text, first.reference);
        if !meant || !(ordered || matches!(first.resolved, Resolved::Nothing(Some(_)))) {
            draft = draft.severity(Severity::Medium);
        }
    }
    for place in &places[1..] {
        draft = draft.also(place.file, place.reference.span, "named here too");
    }
    if let Resolved::Nothing(Some(near)) = &first.resolved {
        let class = if name.contains("::") { FixClass::Safe } else { FixClass::Review };
        let edits = places.iter().map(|place| (place.file, place.reference.span, near.clone()));
        draft = draft.fix(format!("name `{near}` instead of `{name}`"), class, edits);
    }
    draft.done();
}
