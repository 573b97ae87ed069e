//! `delegation-depth`: a chain of agents is longer than agents may start agents.

use kapell_spec::claude::tables::SPAWN_DEPTH;
use kapell_view::audit::{Confidence, Severity};

use crate::{
    agents::clients::Client,
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
    for edge in &chain[..SPAWN_DEPTH] {
        draft =
            draft.also(edge.file, edge.span, format!("hands on to `{}`", repository.agents[edge.to].name));
    }
    draft.done();
}
