//! `no-plan-list`: a command of many steps keeps no list of what is done.

use std::{collections::BTreeSet, sync::LazyLock};

use kapell_spec::{claude::steps::Step, words::Words};
use kapell_view::audit::{AssetKind, Confidence, Severity};

use crate::{
    agents::{Home, clients::Client},
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

/// Words with which a command stops until a person has answered.
static WAITS: LazyLock<Words> = LazyLock::new(|| {
    Words::new(&[
        "only after my",
        "after my yes",
        "wait for my",
        "wait for the user",
        "wait for approval",
        "wait for confirmation",
        "wait until i ",
        "until i say",
        "until i have",
        "until the user",
        "ask me ",
        "ask the user",
        "get approval",
        "for approval",
        "confirm with",
    ])
});

/// Words with which something leaves the house.
static LEAVES: LazyLock<Words> = LazyLock::new(|| {
    Words::new(&[
        "git push",
        "push,",
        "push and",
        "push the",
        "pull request",
        "gh pr create",
        "merge request",
        "deploy",
        "publish",
    ])
});

/// From how many steps on a command is long though most of them start no agent.
const LONG: usize = 8;

fn check(repository: &Repository, report: &mut Report<'_>) {
    let agents = repository.agents.of(AssetKind::Agent).filter(|(_, agent)| agent.is_read());
    let agents: BTreeSet<&str> = agents.map(|(_, agent)| &*agent.name).collect();
    let kinds = [AssetKind::Command, AssetKind::Skill];
    for (_, asset) in repository.agents.iter().filter(|(_, asset)| {
        kinds.contains(&asset.kind) && (asset.home == Home::Claude || asset.client != Client::Claude)
    }) {
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
        let long = asset.flow.steps.len() >= LONG;
        if starts < 5 && !long {
            continue;
        }
        let lower = repository.files[asset.file].lower();
        // A long way with a stop at which a person is waited for, behind which something leaves the house.
        let stops = starts >= 1 && long && WAITS.is_in_lower(lower) && LEAVES.is_in_lower(lower);
        if starts < 3 && !stops {
            continue;
        }
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
        let message = match starts {
            0..3 => format!(
                "`/{}` has {} steps, waits for a person among them, and keeps no list of what is done",
                asset.name,
                asset.flow.steps.len()
            ),
            _ => {
                format!("`/{}` starts agents in {starts} steps and keeps no list of what is done", asset.name)
            }
        };
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
