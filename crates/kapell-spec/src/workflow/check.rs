//! What can only be judged once the whole file is read: names, needs, agents, and keys that do not go together.

use std::collections::{HashMap, HashSet};

use super::{Agent, Spanned, Task, Work, Workflow, expressions};
use crate::{
    codes,
    finding::{Finding, Span, is_full, report},
    suggest,
};

/// Keys that mean nothing for a task which runs no command.
const FOR_COMMANDS: &[&str] = &[
    "accept",
    "compensate",
    "workspace",
    "prepare",
    "carry",
    "cache",
    "protect",
    "reads",
    "supervise",
    "retry_lost",
    "skills",
];

pub(super) fn check(workflow: &Workflow, findings: &mut Vec<Finding>) {
    needs(workflow, findings);
    cycles(workflow, findings);
    agents(workflow, findings);
    let agents: HashMap<&str, &Agent> =
        workflow.agents.iter().map(|agent| (agent.name.value.as_str(), agent)).collect();
    for task in &workflow.tasks {
        who(workflow, task, &agents, findings);
        without_effect(task, findings);
        fits_the_run(workflow, task, findings);
    }
    takes_nothing_back(workflow, findings);
    expressions::check(workflow, findings);
}

/// How many names are looked through for one that was meant.
const CANDIDATES: usize = 2000;

fn unknown(code: &'static str, name: &Spanned<String>, message: String, known: &[&str]) -> Finding {
    let finding = Finding::error(code, name.span, message);
    let known = &known[..known.len().min(CANDIDATES)];
    match suggest::nearest(&name.value, known.iter().copied()) {
        Some(near) => {
            finding.hint(format!("did you mean `{near}`?")).fix(format!("write `{near}`"), name.span, near)
        }
        None => match suggest::hint(&name.value, known) {
            Some(hint) => finding.hint(hint),
            None => finding,
        },
    }
}

fn needs(workflow: &Workflow, findings: &mut Vec<Finding>) {
    let names: Vec<&str> = workflow.tasks.iter().map(|task| task.name.value.as_str()).collect();
    let known: HashSet<&str> = names.iter().copied().collect();
    for task in &workflow.tasks {
        let mut seen: HashMap<&str, Span> = HashMap::new();
        for need in &task.needs {
            if need.value == task.name.value {
                let message = format!("task `{}` needs itself", need.value);
                report(findings, Finding::error(codes::NEED_TWICE, need.span, message));
            } else if !known.contains(need.value.as_str()) {
                if is_full(findings) {
                    return;
                }
                let message =
                    format!("task `{}` needs `{}`, which does not exist", task.name.value, need.value);
                let others: Vec<&str> =
                    names.iter().copied().filter(|name| *name != task.name.value).collect();
                report(findings, unknown(codes::UNKNOWN_NEED, need, message, &others));
            } else if let Some(first) = seen.get(need.value.as_str()) {
                let message = format!("task `{}` names `{}` twice", task.name.value, need.value);
                findings
                    .push(Finding::error(codes::NEED_TWICE, need.span, message).also(*first, "first here"));
            }
            seen.entry(&need.value).or_insert(need.span);
        }
    }
}

/// Reports circles, one for each way into one that a walk in the order of the file finds.
fn cycles(workflow: &Workflow, findings: &mut Vec<Finding>) {
    let index: HashMap<&str, usize> =
        workflow.tasks.iter().enumerate().map(|(at, task)| (task.name.value.as_str(), at)).collect();
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; workflow.tasks.len()];
    for start in 0..workflow.tasks.len() {
        if marks[start] != Mark::New {
            continue;
        }
        marks[start] = Mark::Open;
        // Each task on the way, and which of its needs comes next.
        let mut path: Vec<(usize, usize)> = vec![(start, 0)];
        while let Some((at, next)) = path.last_mut() {
            let task = &workflow.tasks[*at];
            let Some(need) = task.needs.get(*next) else {
                marks[*at] = Mark::Done;
                path.pop();
                continue;
            };
            *next += 1;
            let Some(&to) = index.get(need.value.as_str()).filter(|to| **to != *at) else { continue };
            match marks[to] {
                Mark::New => {
                    marks[to] = Mark::Open;
                    path.push((to, 0));
                }
                Mark::Open => report(findings, cycle(workflow, &path, to)),
                Mark::Done => {}
            }
        }
    }
}

/// Describes the circle that the end of `path` closes by needing `to`.
fn cycle(workflow: &Workflow, path: &[(usize, usize)], to: usize) -> Finding {
    let from = path.iter().position(|(at, _)| *at == to).unwrap_or(0);
    let steps: Vec<&Spanned<String>> =
        path[from..].iter().map(|(at, next)| &workflow.tasks[*at].needs[next - 1]).collect();
    let names: Vec<&str> =
        path[from..].iter().map(|(at, _)| workflow.tasks[*at].name.value.as_str()).collect();
    let shown = if names.len() > 12 {
        format!(
            "`{}` needs ... needs `{}`",
            names[..6].join("` needs `"),
            names[names.len() - 5..].join("` needs `")
        )
    } else {
        format!("`{}`", names.join("` needs `"))
    };
    let message = format!("tasks wait for each other: {shown} needs `{}`", names[0]);
    let last = steps.last().map_or_else(Span::default, |need| need.span);
    let mut finding = Finding::error(codes::CYCLE, last, message).hint("remove one of these needs");
    for step in steps.iter().take(steps.len().saturating_sub(1)).take(4) {
        finding = finding.also(step.span, "and this one");
    }
    finding.label("this need closes the circle")
}

fn agents(workflow: &Workflow, findings: &mut Vec<Finding>) {
    let names: Vec<&str> = workflow.agents.iter().map(|agent| agent.name.value.as_str()).collect();
    let fallbacks: HashMap<&str, Option<&str>> = workflow
        .agents
        .iter()
        .map(|agent| {
            (agent.name.value.as_str(), agent.fallback.as_ref().map(|fallback| fallback.value.as_str()))
        })
        .collect();
    // Agents from which no circle is reached.
    let mut fine: HashSet<&str> = HashSet::new();
    for agent in &workflow.agents {
        let Some(fallback) = &agent.fallback else { continue };
        if !fallbacks.contains_key(fallback.value.as_str()) {
            let message = format!("agent `{}` is not defined", fallback.value);
            report(findings, unknown(codes::UNKNOWN_AGENT, fallback, message, &names));
            continue;
        }
        let mut way: Vec<&str> = vec![&agent.name.value];
        let mut passed: HashSet<&str> = way.iter().copied().collect();
        let mut at = fallback.value.as_str();
        let mut ends = false;
        while !ends && !fine.contains(at) && passed.insert(at) {
            way.push(at);
            match fallbacks.get(at).copied().flatten() {
                Some(next) => at = next,
                None => ends = true,
            }
        }
        if !ends && !fine.contains(at) {
            let message = format!("the fallbacks of agent `{at}` lead back to it");
            report(findings, Finding::error(codes::CYCLE, fallback.span, message));
        }
        // A circle is reported once; those on the way to it are not looked at again.
        fine.extend(way);
    }
}

/// Tells whether a task names what its agent must be able to do, in place of an agent.
fn has_skills(workflow: &Workflow, task: &Task) -> bool {
    let named = |skills: &Option<Vec<Spanned<String>>>| skills.as_ref().is_some_and(|some| !some.is_empty());
    let for_all = workflow.defaults.agent.is_none() && task.settings.skills.is_none();
    named(&task.settings.skills) || for_all && named(&workflow.defaults.skills)
}

/// Checks who performs a task.
fn who(workflow: &Workflow, task: &Task, agents: &HashMap<&str, &Agent>, findings: &mut Vec<Finding>) {
    let names = || -> Vec<&str> {
        workflow.agents.iter().take(CANDIDATES).map(|agent| agent.name.value.as_str()).collect()
    };
    let own = task.settings.agent.as_ref();
    if let Some(agent) = own {
        let Some(found) = agents.get(agent.value.as_str()) else {
            let message = format!("agent `{}` is not defined", agent.value);
            let finding = unknown(codes::UNKNOWN_AGENT, agent, message, &names());
            let none = agents.is_empty();
            report(
                findings,
                if none {
                    finding
                        .hint(format!("define it: `agents: {{ {}: {{ use: claude-code }} }}`", agent.value))
                } else {
                    finding
                },
            );
            return;
        };
        let fits = match &task.work {
            Some(Work::Prompt(_)) | None => true,
            Some(Work::Run(_)) => found.adapter.value == "command",
            Some(Work::Scripted(_)) => found.adapter.value == "scripted",
            Some(Work::Gate(..) | Work::Workflow(_) | Work::Mcp(_) | Work::Noop) => false,
        };
        let option = match found.adapter.value.as_str() {
            "command" => "run",
            "scripted" => "script",
            _ => "",
        };
        let silent = !option.is_empty() && !found.options.iter().any(|(name, _)| name.value == option);
        if silent && matches!(task.work, Some(Work::Prompt(_))) {
            let message =
                format!("agent `{}` uses `{}` but has no `{option}`", agent.value, found.adapter.value);
            let finding = Finding::error(codes::MISSING_KEY, found.name.span, message);
            report(findings, finding.also(agent.span, "it is given a prompt here"));
        }
        if !fits {
            let message = format!("agent `{}` has nothing to do in task `{}`", agent.value, task.name.value);
            let hint = "an agent performs a `prompt`; remove `agent`, or give it a prompt";
            report(findings, Finding::error(codes::NO_EFFECT, agent.span, message).hint(hint));
        }
    } else if matches!(task.work, Some(Work::Prompt(_))) && !has_skills(workflow, task) {
        let place = task.keys.iter().find(|key| key.value == "prompt").map_or(task.name.span, |key| key.span);
        match &workflow.defaults.agent {
            None => {
                let message = format!("task `{}` has a prompt but no agent", task.name.value);
                let finding = Finding::error(codes::NO_AGENT, place, message);
                report(
                    findings,
                    match names().first() {
                        Some(name) => finding.hint(format!("name one: `agent: {name}`")),
                        None => finding.hint("define one under `agents`, and name it by `agent`"),
                    },
                );
            }
            Some(agent) if !agents.contains_key(agent.value.as_str()) => {
                let message = format!("agent `{}` is not defined", agent.value);
                let finding = unknown(codes::UNKNOWN_AGENT, agent, message, &names());
                if !findings.contains(&finding) {
                    report(findings, finding);
                }
            }
            Some(_) => {}
        }
    }
}

/// Warns of a task that sets more aside than the whole run may spend.
fn fits_the_run(workflow: &Workflow, task: &Task, findings: &mut Vec<Finding>) {
    let exceeds =
        |own: Option<u64>, whole: Option<u64>| own.zip(whole).is_some_and(|(own, whole)| own > whole);
    let (own, whole) = (&task.budget, &workflow.budget);
    if exceeds(own.usd_micros, whole.usd_micros) || exceeds(own.tokens, whole.tokens) {
        let place = task.keys.iter().find(|key| key.value == "budget").map_or(task.name.span, |key| key.span);
        let message = format!("task `{}` sets more aside than the whole run may spend", task.name.value);
        let hint = "it never starts: raise the `budget` of the run, or lower that of the task";
        report(findings, Finding::warning(codes::BUDGET_TOO_SMALL, place, message).hint(hint));
    }
}

/// Warns of the first command that would take something back in a workflow that takes nothing back.
fn takes_nothing_back(workflow: &Workflow, findings: &mut Vec<Finding>) {
    if workflow.saga {
        return;
    }
    let mut keys = workflow.tasks.iter().flat_map(|task| &task.keys);
    if let Some(key) = keys.find(|key| key.value == "compensate") {
        let message = "`compensate` has no effect: the workflow takes nothing back when it fails";
        let hint = "write `saga: true` at the outermost level of this file, or remove it";
        report(findings, Finding::warning(codes::NO_EFFECT, key.span, message).hint(hint));
    }
}

fn without_effect(task: &Task, findings: &mut Vec<Finding>) {
    let with = task.keys.iter().find(|key| key.value == "with");
    if let (Some(with), false) = (with, matches!(task.work, Some(Work::Mcp(_)) | None)) {
        let message = "`with` are the arguments of a tool, and this task calls none";
        let hint = "name the tool by `mcp: SERVER.TOOL`, or remove it";
        report(findings, Finding::error(codes::NO_EFFECT, with.span, message).hint(hint));
    }
    let (kind, keys): (_, &[&str]) = match &task.work {
        Some(Work::Gate(..)) => ("a gate", FOR_COMMANDS),
        Some(Work::Noop) => ("a task that does nothing", FOR_COMMANDS),
        Some(Work::Workflow(_)) => (
            "a nested workflow",
            &["workspace", "prepare", "carry", "cache", "reads", "supervise", "env", "outputs", "skills"],
        ),
        Some(Work::Run(_) | Work::Scripted(_)) => ("a task without a prompt", &["skills"]),
        _ => return,
    };
    for key in task.keys.iter().filter(|key| keys.contains(&key.value.as_str())) {
        let message = format!("`{}` has no effect on {kind}", key.value);
        report(findings, Finding::warning(codes::NO_EFFECT, key.span, message).hint("remove it"));
    }
}
