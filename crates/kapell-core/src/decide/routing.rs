//! Who performs a task: rankings, and attempts that hand their work on.

use super::{attempt::running, ladder::substitute, refused};
use crate::{
    command::Rejection,
    event::Event,
    id::{AgentId, AttemptNo, TaskId},
    plan::Work,
    route::{Choice, HANDOFFS_MAX, PassedOver, RANKED_MAX},
    run::{Phase, Run},
    time::Now,
};

/// Takes a ranking for tasks that name skills and have not begun.
pub(super) fn route(
    run: &Run,
    tasks: &[TaskId],
    ranking: &[Choice],
    passed_over: &[PassedOver],
) -> Result<Vec<Event>, Rejection> {
    if !matches!(run.phase(), Phase::Active | Phase::Paused(_)) {
        return Err(refused(run.phase()));
    }
    if ranking.is_empty() {
        return Err(Rejection::BadRanking("is empty"));
    }
    if ranking.len() > RANKED_MAX {
        return Err(Rejection::BadRanking("is too long"));
    }
    if ranking.iter().any(|choice| run.plan().agent(choice.agent).is_none()) {
        return Err(Rejection::BadRanking("names an agent that the plan does not have"));
    }
    for &task in tasks {
        let known = run.task(task).ok_or(Rejection::UnknownTask(task))?;
        if matches!(run.plan().definition(task).work, Work::Gate(_) | Work::Workflow(_)) {
            return Err(Rejection::BadRanking("is for a task that no agent performs"));
        }
        if known.attempts > 0 || !known.state.is_startable() {
            return Err(Rejection::AlreadyBegun(task));
        }
    }
    let (tasks, ranking, passed_over) = (tasks.to_vec(), ranking.to_vec(), passed_over.to_vec());
    Ok(vec![Event::Routed { tasks, ranking, passed_over }])
}

/// Notes that another agent is to go on once this attempt has ended.
pub(super) fn hand_off(
    run: &Run,
    task: TaskId,
    attempt: AttemptNo,
    to: Option<AgentId>,
    note: &str,
    now: Now,
) -> Result<Vec<Event>, Rejection> {
    let under_way = running(run, task, attempt)?;
    let before = run.handoff(task);
    if before.is_some_and(|before| before.times >= HANDOFFS_MAX) {
        return Err(Rejection::NoHandOff("it has been handed on too often"));
    }
    if before.is_some_and(|before| before.attempt == attempt) {
        return Err(Rejection::NoHandOff("this attempt has handed it on already"));
    }
    let agent = match to {
        Some(agent) if run.plan().agent(agent).is_none() => {
            return Err(Rejection::NoHandOff("the plan has no such agent"));
        }
        Some(agent) => agent,
        None => substitute(run, task, now).ok_or(Rejection::NoHandOff("there is nobody else"))?,
    };
    if under_way.agent == Some(agent) {
        return Err(Rejection::NoHandOff("it is that agent's already"));
    }
    Ok(vec![Event::HandedOff { task, attempt, agent, note: note.to_owned() }])
}
