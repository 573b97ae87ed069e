//! Events and effects as text: what comes first is the task, then the name, then what else is known.

use kapell_core::{
    effect::Effect,
    event::{Event, PlanRef},
    id::{Oid, TaskId},
    landing::Probe,
    plan::Plan,
    run::Run,
};
use serde_json::Value;

use crate::script::oid;

pub(crate) fn time(millis: u64) -> String {
    let (minutes, seconds, rest) = (millis / 60_000, millis / 1000 % 60, millis % 1000);
    let rest = if rest == 0 { String::new() } else { format!(".{rest:03}") };
    format!("{minutes:02}:{seconds:02}{rest}")
}

fn task_name(plan: &Plan, task: TaskId) -> &str {
    if task.index() < plan.len() { plan.name(task) } else { "?" }
}

/// Commits are shown by the first digits only, but for those that all tests know.
fn commit(commit: Oid) -> String {
    match ["base", "head", "earlier"].into_iter().find(|known| oid(known) == commit) {
        Some(known) => known.to_owned(),
        None => commit.to_string()[..6].to_owned(),
    }
}

fn scalar(plan: &Plan, key: &str, value: &Value) -> String {
    match value {
        Value::Number(number) => match key {
            "until" | "latest" | "deadline" | "at" => time(number.as_u64().unwrap_or(0)),
            "with" => task_name(plan, TaskId(u32::try_from(number.as_u64().unwrap()).unwrap())).to_owned(),
            "agent" => plan.agents()[usize::try_from(number.as_u64().unwrap()).unwrap()].name.clone(),
            _ => number.to_string(),
        },
        Value::String(text) => match text.parse() {
            Ok(oid) => commit(oid),
            Err(_) if text.contains(' ') => format!("{text:?}"),
            Err(_) => text.clone(),
        },
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| scalar(plan, key, item)).collect();
            format!("[{}]", items.join(","))
        }
        other => other.to_string(),
    }
}

fn fields(plan: &Plan, prefix: &str, value: &Value, out: &mut String) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Object(inner) if !inner.is_empty() => fields(plan, &path, value, out),
            Value::Object(_) => {}
            value => out.push_str(&format!(" {path}={}", scalar(plan, key, value))),
        }
    }
}

pub(crate) fn event(run: &Run, event: &Event) -> String {
    let plan = run.plan();
    let mut line = "event  ".to_owned();
    if let Some(task) = event.task() {
        line.push_str(&format!("{} ", task_name(plan, task)));
    }
    line.push_str(event.name());
    match event {
        Event::Created { .. } => {}
        Event::PlanAdopted { revision, plan: PlanRef::Inline(plan) } => {
            line.push_str(&format!(" revision={revision} tasks={}", plan.len()));
        }
        Event::ProbeAsked { probe: asked } => line.push_str(&format!(" {}", probe(plan, asked))),
        event => {
            let json = serde_json::to_value(event).unwrap();
            let mut inner = json.as_object().unwrap().values().next().unwrap().clone();
            inner.as_object_mut().unwrap().remove("task");
            fields(plan, "", &inner, &mut line);
        }
    }
    line
}

pub(crate) fn probe(plan: &Plan, probe: &Probe) -> String {
    let entries: Vec<_> = probe.entries.iter().map(|entry| task_name(plan, entry.task)).collect();
    let again = if probe.repeat { " again" } else { "" };
    format!("{} on {}: {}{again}", probe.id, commit(probe.base), entries.join("+"))
}

pub(crate) fn effect(run: &Run, effect: &Effect) -> String {
    let name = |task: &TaskId| task_name(run.plan(), *task);
    let text = match effect {
        Effect::Start { task, attempt } => format!("start {} #{attempt}", name(task)),
        Effect::Stop { task, attempt, why } => format!("stop {} #{attempt} {why:?}", name(task)),
        Effect::Hold { task, attempt, hold } => format!("hold {} #{attempt} {hold:?}", name(task)),
        Effect::Check { task, attempt } => format!("check {} #{attempt}", name(task)),
        Effect::Probe(asked) => format!("probe {}", probe(run.plan(), asked)),
        Effect::MoveRef { from, to } => format!("move_ref {}..{}", commit(*from), commit(*to)),
        Effect::Compensate { task, attempt } => format!("compensate {} #{attempt}", name(task)),
        Effect::Notify { gate } => format!("notify gate {gate}"),
        Effect::Deliver { gate, task, attempt } => {
            format!("deliver gate {gate} to {} #{attempt}", name(task))
        }
        Effect::Merge { target, from, to } => format!("merge {target} {}..{}", commit(*from), commit(*to)),
    };
    format!("effect {text}")
}
