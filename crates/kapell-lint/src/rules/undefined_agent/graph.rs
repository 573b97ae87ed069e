//! Names of steps and agents in code that nothing there has: edges of a graph, handoffs of a swarm, agents of a crew.

use std::collections::BTreeSet;

use kapell_spec::{finding::Span, suggest};

use crate::{
    code::{
        Id, Language, Unit, crews,
        graphs::{self, LostAnswer},
        modules::Modules,
        unit::unquoted,
    },
    files::{File, FileId},
    repository::Repository,
    rule::Report,
};

pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    let modules = Modules::new(&repository.code);
    for unit in repository.code.iter() {
        for graph in graphs::of(unit) {
            for (name, at) in graph.undefined() {
                let what = format!("this graph has no node `{name}`: it fails when it is compiled");
                tell(report, (unit.file, unit.span(at)), what, name, graph.nodes.keys().copied());
            }
        }
        handoffs(unit, report);
        for graph in graphs::of(unit) {
            for LostAnswer { unit: other, at, name } in graph.lost_answers(&modules) {
                let what = format!(
                    "this answers `{name}`, and the graph has nothing of that name: the run fails then"
                );
                tell(report, (other.file, other.span(at)), what, name, graph.nodes.keys().copied());
            }
        }
    }
    registered(repository, report);
    in_settings(repository, report);
}

pub(super) fn tell<'a>(
    report: &mut Report<'_>,
    (file, span): (FileId, Span),
    message: String,
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) {
    let hint = suggest::akin(name, known.clone()).map_or_else(
        || format!("name one that is there: {}", known.take(6).collect::<Vec<_>>().join(", ")),
        |near| format!("did you mean `{near}`?"),
    );
    report.add(file, span, message).hint(hint).done();
}

/// Handoffs of AutoGen's swarms, which go by name.
fn handoffs(unit: &Unit, report: &mut Report<'_>) {
    let text = unit.whole();
    if unit.language != Language::Python || !text.contains("Swarm(") || !text.contains("autogen_agentchat") {
        return;
    }
    let makes = |call: &Id| unit.callee_name(*call).ends_with("Agent");
    let named = |call: Id| {
        let name = unit.keyword(call, "name").or_else(|| unit.args(call).first().map(|arg| arg.value))?;
        (unit.kind(name) == "string").then(|| unquoted(unit.text(name)))
    };
    let makers: Vec<Id> = unit.calls().filter(makes).collect();
    let Some(names) = makers.iter().map(|&call| named(call)).collect::<Option<BTreeSet<&str>>>() else {
        return;
    };
    // Those that the swarm is given may be made elsewhere.
    let imported = unit.calls().filter(|&call| unit.callee_name(call) == "Swarm").any(|call| {
        let given = unit.args(call).first().map(|arg| arg.value);
        given.is_none_or(|given| {
            unit.kind(given) != "list"
                || unit.syntax.children(given).any(|id| {
                    let mark = matches!(unit.kind(id), "[" | "]" | "," | "comment");
                    let known = unit.kind(id) == "identifier" && unit.values(id, unit.text(id)).len() == 1;
                    !(mark || known)
                })
        })
    });
    if imported {
        return;
    }
    for list in makers.iter().filter_map(|&call| unit.keyword(call, "handoffs")) {
        let given = unit.syntax.children(list).filter(|&id| unit.kind(id) == "string");
        for id in given {
            let name = unquoted(unit.text(id));
            if name != "user" && !names.contains(name) {
                let what = format!("this swarm has no agent `{name}`: the handoff to it fails");
                tell(report, (unit.file, unit.span(id)), what, name, names.iter().copied());
            }
        }
    }
}

/// Agents that code asks Mastra for by the key it gave them.
fn registered(repository: &Repository, report: &mut Report<'_>) {
    let asks = |unit: &&Unit| unit.whole().contains(".getAgent(");
    let mut asking = repository.code.iter().filter(asks).peekable();
    if asking.peek().is_none() {
        return;
    }
    let made: Vec<(&Unit, Id)> = repository
        .code
        .iter()
        .filter(|unit| unit.whole().contains("new Mastra("))
        .flat_map(|unit| {
            unit.calls().filter(|&call| unit.callee_name(call) == "Mastra").map(move |call| (unit, call))
        })
        .collect();
    let [(home, call)] = made[..] else { return };
    let Some(object) = crews::given(home, call, "agents").and_then(|id| home.value(id)) else { return };
    let mut keys = BTreeSet::new();
    for part in home.syntax.children(object) {
        match home.kind(part) {
            "{" | "}" | "," | "comment" => {}
            "shorthand_property_identifier" => drop(keys.insert(home.text(part))),
            "pair" => keys.extend(home.syntax.child(part, "key").map(|key| unquoted(home.text(key)))),
            _ => return,
        }
    }
    if keys.is_empty() || home.kind(object) != "object" {
        return;
    }
    for unit in asking {
        for call in unit.calls().filter(|&call| unit.callee_name(call) == "getAgent") {
            let Some(first) = unit.args(call).first().map(|arg| arg.value) else { continue };
            let name = unquoted(unit.text(first));
            // Others have agents, too.
            let object = unit.callee(call).and_then(|callee| unit.syntax.child(callee, "object"));
            let of_mastra =
                object.is_some_and(|object| unit.text(object).to_ascii_lowercase().ends_with("mastra"));
            if of_mastra && unit.kind(first) == "string" && !keys.contains(name) {
                let what =
                    format!("`new Mastra` is given no agent `{name}`: this call fails when it is reached");
                tell(report, (unit.file, unit.span(first)), what, name, keys.iter().copied());
            }
        }
    }
}

/// Agents of CrewAI that tasks name, in settings beside those of the agents.
fn in_settings(repository: &Repository, report: &mut Report<'_>) {
    for (id, tasks) in repository.files.iter().filter(|(_, file)| file.name() == "tasks.yaml") {
        let folder = tasks.path.strip_suffix("tasks.yaml").unwrap_or_default();
        let agents = repository.files.find(&format!("{folder}agents.yaml")).map(|id| &repository.files[id]);
        let Some(agents) = agents.filter(|agents| is_crew(agents)) else { continue };
        let known: BTreeSet<&str> = keys(&agents.text).collect();
        let mut at = 0;
        for line in tasks.text.split_inclusive('\n') {
            let start = at;
            at += line.len();
            let Some(name) = line.trim().strip_prefix("agent:").map(|name| unquoted(name.trim())) else {
                continue;
            };
            let plain = name.chars().all(|c| c.is_alphanumeric() || "_-".contains(c)) && !name.is_empty();
            if !plain || !line.starts_with(' ') || known.contains(name) {
                continue;
            }
            let method = format!("def {name}(");
            if repository.code.iter().any(|unit| unit.whole().contains(&*method)) {
                continue;
            }
            let from = start + line.find(name).unwrap_or_default();
            let what = format!("`agents.yaml` has no agent `{name}`, which this task is given to");
            tell(report, (id, Span::new(from, from + name.len())), what, name, known.iter().copied());
        }
    }
}

/// Tells whether a file is one of CrewAI's, by what each agent has.
fn is_crew(file: &File) -> bool {
    ["role:", "goal:", "backstory:"].iter().all(|key| file.text.contains(key))
}

/// Returns the keys at the top of settings.
fn keys(text: &str) -> impl Iterator<Item = &str> + Clone {
    text.lines().filter_map(|line| {
        let key = line.split_once(':')?.0;
        let plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || "_-\"'".contains(c));
        plain.then(|| unquoted(key))
    })
}
