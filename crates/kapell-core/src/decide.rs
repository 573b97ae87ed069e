//! The decider: a command against a state gives the events that follow from it, or a reason why none do.
//!
//! Nothing here looks at the world. [`decide`] answers one command; what the new state then calls for without any
//! further wish (starting what is ready, ending what is over) is in [`crate::settle`].

use crate::{
    command::{Command, Rejection},
    event::{Event, PauseCause, PlanRef},
    id::TaskId,
    landing::Wish,
    retry::FailureClass,
    run::{Lane, Phase, Run},
    task::{StopCause, TaskState},
    time::Now,
};

mod attempt; // how attempts end
mod ladder; // what follows a failure
mod pause; // what holds a run, and lets it go on
mod people; // questions and answers
mod routing; // who performs a task

pub(crate) use self::{attempt::compensation_started, ladder::recover};
pub use self::{
    attempt::{COMPENSATION_ATTEMPTS, COMPENSATION_TIME},
    ladder::{BREAKER_FAILURES, BREAKER_REST_MAX, BREAKER_REST_MIN, CONFLICT_ATTEMPTS},
};
use self::{
    attempt::{compensated, finish, judge, running},
    ladder::{is_parked_already, park},
    people::{answer_gate, ask, undo_answer},
    routing::{hand_off, route},
};

/// Decides what follows from `command`. The state is not changed.
///
/// # Errors
///
/// Returns why the command is refused; nothing follows from it then.
pub fn decide(run: &Run, command: &Command, now: Now) -> Result<Vec<Event>, Rejection> {
    if let Command::Create { mission, plan } = command {
        return create(run, mission, plan);
    }
    if !run.is_created() {
        return Err(Rejection::NotCreated);
    }
    match command {
        Command::Create { .. } => Err(Rejection::AlreadyCreated),
        Command::Open { epoch } => Ok(vec![Event::Opened { epoch: *epoch }]),
        Command::Tick => Ok(Vec::new()),
        Command::Route { tasks, ranking, passed_over } => route(run, tasks, ranking, passed_over),
        Command::HandOff { task, attempt, to, note } => hand_off(run, *task, *attempt, *to, note, now),
        Command::Finish { task, attempt, exit } => finish(run, *task, *attempt, exit, now),
        Command::Ask { task, attempt, question, choices } => ask(run, *task, *attempt, question, choices),
        Command::ChildRests { task, attempt, rests } => {
            let is_known = running(run, *task, *attempt)?.rests.is_some() == *rests;
            let (task, attempt) = (*task, *attempt);
            Ok(match rests {
                _ if is_known || run.lane(task) != Lane::Child => Vec::new(),
                true => vec![Event::ChildRested { task, attempt }],
                false => vec![Event::ChildWentOn { task, attempt }],
            })
        }
        Command::Note { task, attempt, text } => {
            running(run, *task, *attempt)?;
            Ok(vec![Event::Noted { task: *task, attempt: *attempt, text: text.clone() }])
        }
        Command::Use { task, attempt, tokens, claimed, model } => {
            running(run, *task, *attempt)?;
            let (task, attempt, tokens, model) = (*task, *attempt, *tokens, model.clone());
            let claimed = claimed.filter(|claimed| *claimed != tokens);
            Ok(vec![Event::Used { task, attempt, tokens, claimed, model }])
        }
        Command::Throttled { task, attempt, until } => {
            running(run, *task, *attempt)?;
            // It says so at every request that it makes meanwhile.
            let parked = park(run, *task, FailureClass::RateLimited, *until, now)
                .filter(|event| !is_parked_already(run, event));
            Ok(parked.into_iter().collect())
        }
        Command::Judge { task, attempt, verdict } => judge(run, *task, *attempt, verdict, now),
        Command::Probed { probe, outcome } => {
            if !run.landing().is_some_and(|landing| landing.takes(*probe, outcome)) {
                return Err(Rejection::StaleProbe(*probe));
            }
            Ok(vec![Event::Probed { probe: *probe, outcome: outcome.clone() }])
        }
        Command::RefMoved { to } => ref_moved(run, *to),
        Command::LandingFailed { message } => {
            if run.ref_move().is_none() && !run.landing().is_some_and(crate::landing::Landing::is_asking) {
                return Err(Rejection::UnexpectedMove);
            }
            Ok(match run.phase() {
                Phase::Active | Phase::Paused(_) => {
                    vec![Event::Paused { why: PauseCause::LandingFails { message: message.clone() } }]
                }
                // A run that ends asks again when it is next opened.
                _ => Vec::new(),
            })
        }
        Command::Compensated { task, attempt, change, failure } => {
            compensated(run, *task, *attempt, *change, failure.as_deref(), now)
        }
        Command::Answer { gate, answer, by } => answer_gate(run, *gate, answer, by, now),
        Command::UndoAnswer { gate, by } => undo_answer(run, *gate, by),
        Command::Pause => pause::by_person(run),
        Command::Hold { stop } => pause::hold(run, *stop),
        Command::Release => pause::release(run),
        Command::Resume { limits } => pause::resume(run, *limits),
        Command::Cancel => match run.phase() {
            Phase::Active | Phase::Paused(_) => Ok(vec![Event::CancelRequested {}]),
            phase => Err(refused(phase)),
        },
        Command::Revise { plan, superseded } => revise(run, plan, superseded),
        Command::Reuse { task, from, at, landed, change, outputs } => {
            let state = &run.task(*task).ok_or(Rejection::UnknownTask(*task))?.state;
            if !matches!(run.phase(), Phase::Active | Phase::Paused(_)) {
                return Err(refused(run.phase()));
            }
            if !matches!(state, TaskState::Blocked { .. } | TaskState::Ready | TaskState::AwaitingClaims) {
                return Err(Rejection::AlreadyBegun(*task));
            }
            let (task, from, at) = (*task, *from, *at);
            let (landed, change, outputs) = (*landed, *change, outputs.clone());
            Ok(vec![Event::Reused { task, from, at, landed, change, outputs }])
        }
        Command::BeginMerge { target, from, to } => {
            if run.merge_under_way().is_some() {
                return Err(Rejection::Merge("a merge is under way already"));
            }
            Ok(vec![Event::MergeStarted { target: target.clone(), from: *from, to: *to }])
        }
        Command::EndMerge { moved, why } => {
            let merge = run.merge_under_way().ok_or(Rejection::Merge("no merge is under way"))?;
            let target = merge.target.clone();
            Ok(vec![match moved {
                true => Event::Merged { target, to: merge.to },
                false => Event::MergeUndone { target, to: merge.from, why: why.clone() },
            }])
        }
        Command::UndoMerge { to } => {
            let merge = run.merge().filter(|merge| merge.done && merge.from == *to);
            let merge = merge.ok_or(Rejection::Merge("there is no merge from there to take back"))?;
            Ok(vec![Event::MergeUndone { target: merge.target.clone(), to: *to, why: None }])
        }
    }
}

fn refused(phase: &Phase) -> Rejection {
    match phase {
        Phase::Finished(_) => Rejection::Over,
        _ => Rejection::Cancelling,
    }
}

fn create(run: &Run, mission: &crate::mission::Mission, plan: &PlanRef) -> Result<Vec<Event>, Rejection> {
    if run.is_created() {
        return Err(Rejection::AlreadyCreated);
    }
    plan.plan().ok_or(Rejection::PlanNotRead)?;
    Ok(vec![
        Event::Created { mission: Box::new(mission.clone()) },
        Event::PlanAdopted { revision: 1, plan: plan.clone() },
    ])
}

fn ref_moved(run: &Run, to: crate::id::Oid) -> Result<Vec<Event>, Rejection> {
    if let Some((task, from, commit)) = run.reversal() {
        return match run.ref_move() == Some((from, to)) && commit == to {
            true => Ok(vec![Event::Compensated { task, commit: Some(to), left: false }]),
            false => Err(Rejection::UnexpectedMove),
        };
    }
    let landing = run.landing().ok_or(Rejection::UnexpectedMove)?;
    match (run.ref_move(), landing.wish()) {
        (Some((from, intended)), Wish::Land { from: head, tips }) if intended == to && from == head => {
            Ok(tips.into_iter().map(|(task, commit)| Event::Landed { task, commit }).collect())
        }
        _ => Err(Rejection::UnexpectedMove),
    }
}

fn revise(run: &Run, plan: &PlanRef, superseded: &[TaskId]) -> Result<Vec<Event>, Rejection> {
    match run.phase() {
        Phase::Active | Phase::Paused(_) => {}
        phase => return Err(refused(phase)),
    }
    let new = plan.plan().ok_or(Rejection::PlanNotRead)?;
    let old = run.plan();
    if new.len() < old.len() {
        return Err(Rejection::BadRevision("has fewer tasks than the one in force"));
    }
    let same = |task| {
        new.name(task) == old.name(task)
            && new.definition(task) == old.definition(task)
            && new.graph().needs(task) == old.graph().needs(task)
            && new.matrix_values(task) == old.matrix_values(task)
    };
    if !old.graph().tasks().all(same) || !new.agents().starts_with(old.agents()) {
        return Err(Rejection::BadRevision("changes what is in force; it can only add, and do without"));
    }
    let mut events = vec![Event::PlanAdopted { revision: run.revision() + 1, plan: plan.clone() }];
    let distinct: std::collections::BTreeSet<TaskId> = superseded.iter().copied().collect();
    for task in distinct {
        let state = &run.task(task).ok_or(Rejection::UnknownTask(task))?.state;
        match state {
            TaskState::Running(attempt) if attempt.stopping.is_none() => {
                let (attempt, why) = (attempt.number, StopCause::Superseded);
                events.push(Event::StopRequested { task, attempt, why });
            }
            TaskState::Running(_) | TaskState::Submitted(_) | TaskState::Verified(_) => {
                return Err(Rejection::AlreadyBegun(task));
            }
            state if state.is_settled() => return Err(Rejection::AlreadyBegun(task)),
            _ => events.push(Event::Skipped { task, why: crate::task::SkipCause::Superseded }),
        }
    }
    Ok(events)
}
