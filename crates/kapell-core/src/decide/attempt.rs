//! How attempts end, and what their results are worth.

use super::ladder::{gave_out, park, recover, trip};
use crate::{
    budget::Amount,
    command::{Exit, Rejection, Verdict},
    event::{Event, GateKind, Outputs, PauseCause},
    id::{AttemptNo, TaskId},
    retry::{FailureClass, OUT_OF_TIME},
    run::{Phase, Run},
    task::{Attempt, Change, Recovery, StopCause, TaskState},
    time::{Elapsed, Millis, Now, Wall},
};

/// How long a compensation may take if its task has no time limit of its own. The end of a run waits for it.
pub const COMPENSATION_TIME: Millis = Millis::from_secs(3600);

/// How often a compensation is tried before a person is asked.
pub const COMPENSATION_ATTEMPTS: u32 = 3;

pub(super) fn running(run: &Run, task: TaskId, attempt: AttemptNo) -> Result<&Attempt, Rejection> {
    match &run.task(task).ok_or(Rejection::UnknownTask(task))?.state {
        TaskState::Running(running) if running.number == attempt => Ok(running),
        #[cfg(kapell_planted)]
        TaskState::Running(running) if crate::planted::is("late_result_adopted") => Ok(running),
        _ => Err(Rejection::Late { task, attempt }),
    }
}

pub(super) fn finish(
    run: &Run,
    task: TaskId,
    attempt: AttemptNo,
    exit: &Exit,
    now: Now,
) -> Result<Vec<Event>, Rejection> {
    let under_way = running(run, task, attempt)?;
    // An end that was asked for is that, whatever the attempt says of itself.
    if let Some(why) = under_way.stopping {
        let (Exit::Succeeded { spent, .. } | Exit::Failed { spent, .. }) = exit;
        return Ok(stopped(run, task, under_way, why, *spent, now));
    }
    if let Some(passed_on) = pass_on(run, task, attempt, exit) {
        return Ok(passed_on);
    }
    match exit {
        Exit::Failed { class, message, spent, until } => {
            let failure = Failure { class: *class, message, spent: *spent, until: *until };
            Ok(failed(run, task, under_way.number, failure, now))
        }
        Exit::Succeeded { change, outputs, spent } => {
            let outputs = match promised(run, task, outputs) {
                Ok(outputs) => outputs,
                Err(message) => {
                    let class = FailureClass::InvalidOutput;
                    let failure = Failure { class, message: &message, spent: *spent, until: None };
                    return Ok(failed(run, task, under_way.number, failure, now));
                }
            };
            let change = whole(run, task, change.filter(|_| run.landing().is_some()));
            #[cfg(kapell_planted)]
            if crate::planted::is("result_not_checked") && change.is_none() {
                return Ok(vec![Event::Completed { task, outputs, spent: *spent }]);
            }
            let attempt = under_way.number;
            if change.is_none() && run.plan().definition(task).accept.is_empty() {
                return Ok(vec![Event::Completed { task, outputs, spent: *spent }]);
            }
            let mut events = vec![Event::Submitted { task, attempt, change, outputs, spent: *spent }];
            if run.plan().definition(task).accept.is_empty() {
                events.push(Event::Verified { task });
            }
            Ok(events)
        }
    }
}

/// An attempt that has handed its work on has ended: the next agent goes on from what it changed. If it failed, what
/// it changed is not to be trusted, and the next agent starts anew.
fn pass_on(run: &Run, task: TaskId, attempt: AttemptNo, exit: &Exit) -> Option<Vec<Event>> {
    #[cfg(kapell_planted)]
    if crate::planted::is("handed_on_counts_as_done") {
        return None;
    }
    let handoff = run.handoff(task).filter(|handoff| handoff.attempt == attempt && !handoff.done)?;
    let Exit::Succeeded { change, spent, .. } = exit else { return None };
    let change = whole(run, task, change.filter(|_| run.landing().is_some()));
    Some(vec![Event::PassedOn { task, attempt, agent: handoff.to, change, spent: *spent }])
}

/// Returns the whole change of a task: one that goes on from what an earlier attempt passed on contains that as well, so
/// that checks see all of it. If nothing was added, it is what was passed on.
fn whole(run: &Run, task: TaskId, change: Option<Change>) -> Option<Change> {
    let before = run.handoff(task).and_then(|handoff| handoff.change);
    #[cfg(kapell_planted)]
    let before = before.filter(|_| !crate::planted::is("handed_on_work_forgotten"));
    match (before, change) {
        (Some(before), Some(change)) => Some(Change { base: before.base, ..change }),
        (before, change) => change.or(before),
    }
}

/// Computes the outputs that a task promises from those that it set.
fn promised(run: &Run, task: TaskId, set: &Outputs) -> Result<Outputs, String> {
    #[cfg(kapell_planted)]
    if crate::planted::is("promise_not_kept") {
        return Ok(set.clone());
    }
    let mut outputs = set.clone();
    for promise in &run.plan().definition(task).outputs {
        match &promise.value {
            Some(value) => {
                let value = run
                    .render(task, value)
                    .map_err(|error| format!("output `{}` cannot be computed: {error}", promise.name))?;
                outputs.insert(promise.name.clone(), value);
            }
            None if outputs.contains_key(&promise.name) => {}
            None => return Err(format!("output `{}` was promised and not set", promise.name)),
        }
    }
    Ok(outputs)
}

fn stopped(
    run: &Run,
    task: TaskId,
    attempt: &Attempt,
    why: StopCause,
    spent: Amount,
    now: Now,
) -> Vec<Event> {
    let number = attempt.number;
    let fail = |class, message: &str, then| {
        vec![Event::AttemptFailed { task, attempt: number, class, message: message.to_owned(), spent, then }]
    };
    match why {
        StopCause::Timeout => {
            let limit = run.plan().definition(task).timeout.unwrap_or_default();
            let message = format!("took longer than {} s", limit.as_secs_f64());
            let class = FailureClass::Timeout;
            failed(run, task, number, Failure { class, message: &message, spent, until: None }, now)
        }
        StopCause::Cancelled => fail(FailureClass::Permanent, "cancelled", Recovery::Cancel),
        #[cfg(kapell_planted)]
        StopCause::Superseded if crate::planted::is("superseded_task_goes_on") => {
            fail(FailureClass::Lost, "stopped", Recovery::Again)
        }
        StopCause::Superseded => fail(FailureClass::Permanent, "superseded by a later plan", Recovery::Drop),
        // It is not the attempt's fault, and the task goes on when the run is resumed.
        StopCause::Deadline => {
            let (class, message) = (FailureClass::Lost, OUT_OF_TIME);
            failed(run, task, number, Failure { class, message, spent, until: None }, now)
        }
    }
}

/// What an attempt's failure is known by.
struct Failure<'a> {
    class: FailureClass,
    message: &'a str,
    spent: Amount,
    /// When its provider works again, if it said so.
    until: Option<Wall>,
}

/// A failed attempt, what follows from it, and what it says about its agent and provider.
fn failed(run: &Run, task: TaskId, attempt: AttemptNo, failure: Failure<'_>, now: Now) -> Vec<Event> {
    let Failure { class, message, spent, until } = failure;
    let then = recover(run, task, class, until, now);
    let message = &match gave_out(run, task, class, now) {
        Some(why) if then == Recovery::GiveUp => format!("{message}; {why}"),
        _ => message.to_owned(),
    };
    let mut events =
        vec![Event::AttemptFailed { task, attempt, class, message: message.to_owned(), spent, then }];
    if let Recovery::Ask { gate } = then {
        events.push(Event::GateOpened {
            gate,
            task,
            kind: GateKind::Lost,
            question: format!(
                "attempt {attempt} of `{}` was lost and may have done its work: try again?",
                run.plan().name(task)
            ),
            choices: vec!["retry".to_owned(), "give up".to_owned()],
        });
    }
    if class == FailureClass::Budget
        && then == Recovery::Again
        && *run.phase() == Phase::Active
        && let Some(exceeded) = run.ledger().scarcest()
    {
        events.push(Event::Paused { why: PauseCause::Budget(exceeded) });
    }
    // What becomes of a result later on says nothing about who gave it.
    let agent = run.agent(task).filter(|_| matches!(run.state(task), TaskState::Running(_)));
    let Some(agent) = agent else { return events };
    if let FailureClass::Quota | FailureClass::RateLimited = class {
        events.extend(park(run, task, class, until, now));
    }
    events.extend(trip(run, agent, class, now));
    events
}

pub(super) fn judge(
    run: &Run,
    task: TaskId,
    attempt: AttemptNo,
    verdict: &Verdict,
    now: Now,
) -> Result<Vec<Event>, Rejection> {
    match &run.task(task).ok_or(Rejection::UnknownTask(task))?.state {
        TaskState::Submitted(submission) if submission.attempt == attempt && !run.is_doubted(task) => {}
        _ => return Err(Rejection::Late { task, attempt }),
    }
    let fail = |class, message| {
        let failure = Failure { class, message, spent: Amount::ZERO, until: None };
        failed(run, task, attempt, failure, now)
    };
    Ok(match verdict {
        Verdict::Passed => vec![Event::Verified { task }],
        Verdict::Failed { message } => fail(FailureClass::Verification, message),
        Verdict::Broken { message } => fail(FailureClass::Transient, message),
        Verdict::Doubtful { question } => vec![Event::GateOpened {
            gate: run.next_gate(),
            task,
            kind: GateKind::Protect,
            question: question.clone(),
            choices: vec!["accept".to_owned(), "reject".to_owned()],
        }],
    })
}

pub(super) fn compensated(
    run: &Run,
    task: TaskId,
    attempt: AttemptNo,
    change: Option<Change>,
    failure: Option<&str>,
    now: Now,
) -> Result<Vec<Event>, Rejection> {
    match &run.task(task).ok_or(Rejection::UnknownTask(task))?.state {
        TaskState::Compensating { attempt: under_way, .. } if *under_way == attempt => {}
        _ => return Err(Rejection::Late { task, attempt }),
    }
    let head = run.landing().map(crate::landing::Landing::head);
    let change = change.filter(|_| head.is_some());
    #[cfg(kapell_planted)]
    let change = change.filter(|_| !crate::planted::is("compensation_change_dropped"));
    let astray = change.is_some_and(|change| Some(change.base) != head);
    let failure = failure.or(astray.then_some("it did not start from what has landed"));
    Ok(vec![match (failure, change) {
        (None, None) => Event::Compensated { task, commit: None, left: false },
        (None, Some(change)) => Event::CompensationSubmitted { task, attempt, change },
        (Some(message), _) => {
            let again = !attempt.0.is_multiple_of(COMPENSATION_ATTEMPTS);
            let deadline = Some(compensation_deadline(run, task, now)).filter(|_| again);
            Event::CompensationFailed { task, attempt, message: message.to_owned(), again, deadline }
        }
    }])
}

/// The first or next try at taking `task` back, from now.
pub(crate) fn compensation_started(run: &Run, task: TaskId, attempt: AttemptNo, now: Now) -> Event {
    Event::CompensationStarted { task, attempt, deadline: Some(compensation_deadline(run, task, now)) }
}

pub(super) fn compensation_deadline(run: &Run, task: TaskId, now: Now) -> Elapsed {
    now.elapsed.after(run.plan().definition(task).timeout.unwrap_or(COMPENSATION_TIME))
}
