//! `delegation-cycle`: agents hand work to each other in a circle.

mod calls; // functions that call each other for as long as a model says so

use kapell_view::audit::{Confidence, Severity};

use crate::{
    agents::delegation,
    code::graphs,
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// See `docs/rules/delegation-cycle.md`.
pub(super) static RULE: Rule = Rule {
    name: "delegation-cycle",
    summary: "agents hand work to each other in a circle",
    group: Group::AgentGraph,
    anti_pattern: Some(AntiPattern::Circular),
    focus: Focus::Resilience,
    severity: Severity::Medium,
    confidence: Confidence::High,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/delegation-cycle.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    endless(repository, report);
    calls::check(repository, report);
    let graph = repository.agents.handovers(&repository.files);
    for circle in graph.circles() {
        let Some(first) = circle.first() else { continue };
        let names: Vec<String> = circle
            .iter()
            .map(|edge| format!("`{}`", delegation::called(&repository.agents[edge.from])))
            .collect();
        // Agents start each other until one is too deep to start the next, and then the work is not done.
        let (who, severity) = if circle.iter().all(|edge| edge.in_session) {
            ("commands", Severity::Medium)
        } else {
            ("agents", Severity::High)
        };
        let message = format!("{who} hand work to each other in a circle: {}", names.join(" -> "));
        let hint = "say who decides and how often the work may come back";
        let mut draft = report.add(first.file, first.span, message).severity(severity).hint(hint);
        for edge in &circle[1..] {
            draft = draft.also(
                edge.file,
                edge.span,
                format!("hands on to `{}`", repository.agents[edge.to].name),
            );
        }
        draft.done();
    }
}

/// Rounds of a graph in code that a run never leaves.
fn endless(repository: &Repository, report: &mut Report<'_>) {
    for unit in repository.code.iter() {
        for graph in graphs::of(unit) {
            let Some(round) = graph.endless() else { continue };
            let Some(first) = round.first().filter(|_| !graphs::may_go_anywhere(&repository.code, &graph))
            else {
                continue;
            };
            let names: Vec<String> = round.iter().map(|edge| format!("`{}`", edge.from)).collect();
            let message = format!(
                "no edge leads out of this round of the graph: {}; a run goes on until it fails at the limit of steps",
                names.join(" -> ")
            );
            let mut draft = report
                .add(unit.file, unit.span(first.to_at), message)
                .severity(Severity::High)
                .hint("add a conditional edge that leads to `END`");
            for edge in &round[1..] {
                draft = draft.also(unit.file, unit.span(edge.to_at), format!("leads to `{}`", edge.to));
            }
            draft.done();
        }
    }
}
