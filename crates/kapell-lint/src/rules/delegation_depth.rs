//! `delegation-depth`: a chain of agents is longer than agents may start agents.

use kapell_spec::claude::tables::SPAWN_DEPTH;
use kapell_view::audit::{Confidence, Severity};

use crate::{
    agents::{clients::Client, delegation::Handover},
    code::crews,
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// See `docs/rules/delegation-depth.md`.
pub(super) static RULE: Rule = Rule {
    name: "delegation-depth",
    summary: "a chain of agents is longer than agents may start agents",
    group: Group::AgentGraph,
    anti_pattern: Some(AntiPattern::Coupling),
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::Medium,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/delegation-depth.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    in_code(repository, report);
    let graph = repository.agents.handovers(&repository.files);
    let Some(chain) = graph.longest().filter(|chain| chain.len() > SPAWN_DEPTH) else { return };
    let Some(last) = chain.get(SPAWN_DEPTH) else { return };
    let names: Vec<String> =
        chain.iter().map(|edge| format!("`{}`", repository.agents[edge.to].name)).collect();
    // Only Claude Code has a bound of its own; with the others each layer costs a retelling all the same.
    let why = match repository.agents[last.from].client {
        Client::Claude => format!("goes beyond the {SPAWN_DEPTH} that may start each other"),
        _ => format!("is longer than {SPAWN_DEPTH}, and each retells the task to the next"),
    };
    let message = format!("a chain of {} agents {why}: {}", chain.len(), names.join(" -> "));
    let hint = "let the session that starts the first one start the later ones too";
    let mut draft = report.add(last.file, last.span, message).hint(hint);
    // Where each may start the next one by its own tools, the last one is simply not started.
    let granted = |edge: &Handover| {
        let tools = repository.agents[edge.from].definition.items("tools");
        tools.iter().any(|tool| matches!(tool.text.split('(').next(), Some("Agent" | "Task")))
    };
    if repository.agents[last.from].client == Client::Claude && chain.iter().skip(1).all(granted) {
        draft = draft.severity(Severity::High);
    }
    for edge in &chain[..SPAWN_DEPTH] {
        draft =
            draft.also(edge.file, edge.span, format!("hands on to `{}`", repository.agents[edge.to].name));
    }
    draft.done();
}

/// Agents of code that are tools of each other.
fn in_code(repository: &Repository, report: &mut Report<'_>) {
    let members = crews::members(&repository.code);
    let chain = crews::longest(&crews::held(&members), members.len());
    let Some(last) = chain.get(SPAWN_DEPTH) else { return };
    let first = chain.first().map(|hold| members[hold.from].name);
    let names = first.into_iter().chain(chain.iter().map(|hold| members[hold.to].name));
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    let message = format!(
        "{} agents are each a tool of the one before, and each retells the task: {}",
        names.len(),
        names.join(" -> ")
    );
    let unit = members[last.from].unit;
    let hint = "let one agent that sees the whole task call the others itself";
    let mut draft = report.add(unit.file, unit.span(last.at), message).hint(hint);
    for hold in &chain[..SPAWN_DEPTH] {
        let unit = members[hold.from].unit;
        draft = draft.also(unit.file, unit.span(hold.at), format!("calls `{}`", members[hold.to].name));
    }
    draft.done();
}
