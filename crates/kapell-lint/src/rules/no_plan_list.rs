//! `no-plan-list`: a command of many steps keeps no list of what is done.

use std::{collections::BTreeSet, sync::LazyLock};

use kapell_spec::{claude::steps::Step, finding::Span, line, words::Words};
use kapell_view::audit::{AssetKind, Confidence, Severity};

use crate::{
    agents::{Asset, Home, clients::Client},
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

/// And from how many on though none of them does.
const VERY_LONG: usize = 10;

/// Words with which steps are gone through again.
static ROUNDS: LazyLock<Words> = LazyLock::new(|| {
    Words::new(&[
        "back to phase",
        "back to step",
        "back to stage",
        "return to phase",
        "return to step",
        "repeat phase",
        "repeat step",
        "repeat stage",
        "repeat from",
        "until phase",
        "until step",
        "until stage",
        " rounds",
    ])
});

/// Words of a command that lasts so long that a session forgets on its way.
static LASTS: LazyLock<Words> = LazyLock::new(|| {
    Words::new(&[
        "a few hours",
        "several hours",
        "two hours",
        "three hours",
        "some hours",
        "many hours",
        "takes hours",
        "for hours",
        "runs overnight",
        "context compaction",
        "session is compacted",
        "context is compacted",
        "whole day",
    ])
});

/// From how many steps on it gets lost which of them are done, if some are gone through again.
const ROUND_STEPS_MIN: usize = 7;

/// Words with which a step takes something of a plan, or strikes it off.
static TAKES: LazyLock<Words> = LazyLock::new(|| {
    Words::new(&[
        "item of the plan",
        "items of the plan",
        "step of the plan",
        "task of the plan",
        "entry of the plan",
        "item from the plan",
        "item in the plan",
        "of the plan is open",
        "off the plan",
        "in the plan as done",
        "of the plan as done",
    ])
});

/// Words with which a plan is made, or comes from elsewhere.
static MADE: LazyLock<Words> = LazyLock::new(|| {
    Words::new(&[
        "a plan",
        "plan.md",
        "plan.json",
        "plan.txt",
        "the plan in ",
        "the plan under",
        "the plan from",
        "the plan at",
        "write the plan",
        "make the plan",
        "draft the plan",
        "plan mode",
        "plan of ",
        "-plan",
        "_plan",
        "plan/",
        "plans/",
        "todo",
        "plan:",
    ])
});

/// Items of a plan that steps take up and strike off, and that none of them writes down.
fn unwritten(repository: &Repository, report: &mut Report<'_>, asset: &Asset) -> bool {
    let (text, lower) = (&repository.files[asset.file].text, repository.files[asset.file].lower());
    let body = asset.definition.body as usize;
    let mut places = TAKES.places(&text[body..]).map(|(_, at)| body + at);
    let Some(first) = places.next().filter(|_| asset.flow.steps.len() >= 3) else { return false };
    let Some(again) = places.next().filter(|_| !MADE.is_in_lower(lower)) else { return false };
    let message = format!("`/{}` takes the items of a plan, and no step writes one", asset.name);
    let line = |at: usize| Span::new(line::start(text, at), line::end(text, at));
    let draft = report.add(asset.file, line(first), message).also(asset.file, line(again), "here, too");
    draft.hint("have an earlier step write the items to a list").done();
    true
}

fn check(repository: &Repository, report: &mut Report<'_>) {
    let agents = repository.agents.of(AssetKind::Agent).filter(|(_, agent)| agent.is_read());
    let agents: BTreeSet<&str> = agents.map(|(_, agent)| &*agent.name).collect();
    let kinds = [AssetKind::Command, AssetKind::Skill, AssetKind::Agent];
    for (_, asset) in repository.agents.iter().filter(|(_, asset)| {
        kinds.contains(&asset.kind) && (asset.home == Home::Claude || asset.client != Client::Claude)
    }) {
        let is_agent = asset.kind == AssetKind::Agent;
        if !is_agent && unwritten(repository, report, asset) {
            continue;
        }
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
        let count = asset.flow.steps.len();
        let long = count >= LONG && !is_agent;
        if (starts < 5 || is_agent) && !long && count < ROUND_STEPS_MIN {
            continue;
        }
        let lower = repository.files[asset.file].lower();
        let rounds = count >= ROUND_STEPS_MIN && (starts >= 2 || !is_agent) && ROUNDS.is_in_lower(lower);
        // A long way with a stop at which a person is waited for, behind which something leaves the house.
        let many = starts >= 1 || count >= VERY_LONG;
        let stops = many && long && WAITS.is_in_lower(lower) && LEAVES.is_in_lower(lower);
        // One that says itself that it outlasts what a session remembers.
        let lasts = long && LASTS.is_in_lower(lower);
        if (starts < 3 || is_agent) && !stops && !rounds && !lasts {
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
            _ if rounds && (starts < 5 || is_agent) => {
                format!(
                    "`{}` has {count} steps, goes back among them, and keeps no list of what is done",
                    asset.name
                )
            }
            0..3 if !stops => {
                format!("`/{}` has {count} steps, takes hours, and keeps no list of what is done", asset.name)
            }
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
        let at = if is_agent { asset.head() } else { asset.flow.steps[0].heading };
        report.add(asset.file, at, message).hint(hint).done();
    }
}

/// Tells whether a step is the work of an agent without a name: `Step 2: a subagent makes an outline`.
fn nameless(step: &str) -> bool {
    let first = step.trim_start().lines().next().unwrap_or_default().to_ascii_lowercase();
    [": a subagent ", ". a subagent ", ": one subagent ", ". one subagent "]
        .iter()
        .any(|words| first.contains(words))
}
