//! `no-plan-list`: a command of many steps keeps no list of what is done.

use std::collections::BTreeSet;

use kapell_spec::claude::steps::Step;
use kapell_view::audit::{AssetKind, Confidence, Severity};

use crate::{
    agents::Home,
    repository::{Depth, Repository},
    rule::{AntiPattern, Focus, Group, Report, Rule},
};

/// See `docs/rules/no-plan-list.md`.
pub(super) static RULE: Rule = Rule {
    name: "no-plan-list",
    summary: "a command of many steps keeps no list of what is done",
    group: Group::AgentFlow,
    anti_pattern: Some(AntiPattern::Context),
    focus: Focus::State,
    severity: Severity::Low,
    confidence: Confidence::Medium,
    depth: Depth::Standard,
    page: include_str!("../../docs/rules/no-plan-list.md"),
    check,
};

/// From how many steps on a command is long though most of them start no agent.
const LONG: usize = 8;

fn check(repository: &Repository, report: &mut Report<'_>) {
    let agents = repository.agents.of(AssetKind::Agent).filter(|(_, agent)| agent.home == Home::Claude);
    let agents: BTreeSet<&str> = agents.map(|(_, agent)| &*agent.name).collect();
    let kinds = [AssetKind::Command, AssetKind::Skill];
    for (_, asset) in repository
        .agents
        .iter()
        .filter(|(_, asset)| kinds.contains(&asset.kind) && asset.home == Home::Claude)
    {
        // An agent that is defined here is one also where its bare name heads a sentence.
        let marks = asset.definition.document.marks.iter().filter(|mark| mark.code);
        let named: Vec<u32> =
            marks.filter(|mark| agents.contains(mark.text.trim())).map(|mark| mark.span.start).collect();
        let text = &repository.files[asset.file].text;
        let starts = |step: &&Step| {
            let holds = |at: &u32| step.span.start <= *at && *at < step.span.end;
            !step.agents.is_empty() || named.iter().any(holds) || nameless(&text[step.span.range()])
        };
        let starts = asset.flow.steps.iter().filter(starts).count();
        // Few agents among many other steps are lost as easily.
        if starts < 5 && !(starts >= 3 && asset.flow.steps.len() >= LONG) {
            continue;
        }
        let lower = repository.files[asset.file].lower();
        let keeps = [
            "todo",
            "task list",
            "taskcreate",
            "state.json",
            "checklist",
            "progress",
            "[ ]",
            "status file",
            "plan file",
            ".output}",
        ];
        if keeps.iter().any(|word| lower.contains(word)) {
            continue;
        }
        let message =
            format!("`/{}` starts agents in {starts} steps and keeps no list of what is done", asset.name);
        let hint = "have it write the steps to a list first, so that an interrupted run can go on";
        report.add(asset.file, asset.flow.steps[0].heading, message).hint(hint).done();
    }
}

/// Tells whether a step is the work of an agent without a name: `Step 2: a subagent makes an outline`.
fn nameless(step: &str) -> bool {
    let first = step.trim_start().lines().next().unwrap_or_default().to_ascii_lowercase();
    [": a subagent ", ". a subagent ", ": one subagent ", ". one subagent "]
        .iter()
        .any(|words| first.contains(words))
}
