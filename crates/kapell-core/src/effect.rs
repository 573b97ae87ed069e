//! Effects: what the world must do now. They are derived from the state, never stored.

use crate::{
    event::Event,
    id::{AttemptNo, GateId, Oid, TaskId},
    landing::Probe,
    run::{Lane, Phase, Run},
    task::{StopCause, TaskState},
};

/// Something that the world must do. Its key is the run with the task, the attempt and the kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Start an attempt.
    Start {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptNo,
    },
    /// Stop an attempt and say how it ended.
    Stop {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptNo,
        /// Why.
        why: StopCause,
    },
    /// Let a child run pause with this one, or go on with it.
    Hold {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptNo,
        /// What it is to do.
        hold: Hold,
    },
    /// Run the checks of a task on its result.
    Check {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptNo,
    },
    /// Answer the merge queue.
    Probe(Probe),
    /// Move the integration ref.
    MoveRef {
        /// Where it is.
        from: Oid,
        /// Where it is to be.
        to: Oid,
    },
    /// Take a task back.
    Compensate {
        /// The task.
        task: TaskId,
        /// The try.
        attempt: AttemptNo,
    },
    /// Tell people that a decision is owed.
    Notify {
        /// The gate.
        gate: GateId,
    },
    /// Give an answer to the agent that asked.
    Deliver {
        /// The gate.
        gate: GateId,
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptNo,
    },
    /// Move the target branch.
    Merge {
        /// The branch, as a full ref name.
        target: String,
        /// Where it is.
        from: Oid,
        /// Where it is to be.
        to: Oid,
    },
}

/// What a child run does because of the phase that its parent is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hold {
    /// It goes on.
    None,
    /// It starts nothing; what runs ends by itself.
    Finish,
    /// It starts nothing, and what runs is stopped.
    Stop,
}

/// Lists all that the world owes a run. Used when a run is opened.
#[must_use]
pub fn outstanding(run: &Run) -> Vec<Effect> {
    let mut effects = Vec::new();
    for task in run.in_flight() {
        match run.state(task) {
            TaskState::Running(attempt) => {
                effects.push(Effect::Start { task, attempt: attempt.number });
                if let Some(why) = attempt.stopping {
                    effects.push(Effect::Stop { task, attempt: attempt.number, why });
                }
            }
            #[cfg(kapell_planted)]
            TaskState::Submitted(_) if crate::planted::is("check_forgotten_on_open") => {}
            TaskState::Submitted(submission) if !run.is_doubted(task) => {
                effects.push(Effect::Check { task, attempt: submission.attempt });
            }
            TaskState::Compensating { attempt, deadline } => {
                effects.push(Effect::Compensate { task, attempt: *attempt });
                if deadline.is_none() {
                    effects.push(Effect::Stop { task, attempt: *attempt, why: StopCause::Timeout });
                }
            }
            _ => {}
        }
    }
    effects.extend(children(run));
    effects.extend(run.landing().and_then(|landing| landing.asked()).map(Effect::Probe));
    let ref_move = run.ref_move();
    #[cfg(kapell_planted)]
    let ref_move =
        ref_move.filter(|_| run.reversal().is_none() || !crate::planted::is("reversal_forgotten_on_open"));
    effects.extend(ref_move.map(|(from, to)| Effect::MoveRef { from, to }));
    effects.extend(run.open_gates().map(|(gate, _)| Effect::Notify { gate }));
    if let Some(merge) = run.merge_under_way() {
        effects.push(Effect::Merge { target: merge.target.clone(), from: merge.from, to: merge.to });
    }
    effects
}

/// Lists what the world owes because of `events`, which have just been folded into `run`.
#[must_use]
pub fn react(run: &Run, events: &[Event]) -> Vec<Effect> {
    let mut effects: Vec<Effect> = events.iter().filter_map(|event| effect_of(run, event)).collect();
    #[cfg(kapell_planted)]
    if crate::planted::is("children_not_held") {
        return effects;
    }
    let holds = |event: &Event| {
        matches!(
            event,
            Event::Paused { .. } | Event::Resumed { .. } | Event::Held { .. } | Event::Released {}
        )
    };
    if events.iter().any(holds) {
        effects.extend(children(run));
    }
    effects
}

/// What has been called off or answered since, as by a later command of the same batch, is owed no longer.
fn effect_of(run: &Run, event: &Event) -> Option<Effect> {
    match event {
        Event::Started { task, attempt, .. } => {
            is_running(run, *task, *attempt).then_some(Effect::Start { task: *task, attempt: *attempt })
        }
        Event::StopRequested { task, attempt, why } => {
            let is_due = is_running(run, *task, *attempt) || is_compensating(run, *task, *attempt);
            is_due.then_some(Effect::Stop { task: *task, attempt: *attempt, why: *why })
        }
        // Already verified by the same decision if there is nothing to check.
        Event::Submitted { task, attempt, .. } => match run.state(*task) {
            TaskState::Submitted(submission) if submission.attempt == *attempt && !run.is_doubted(*task) => {
                Some(Effect::Check { task: *task, attempt: *attempt })
            }
            _ => None,
        },
        Event::ProbeAsked { probe } => {
            let asked = run.landing().and_then(|landing| landing.asked())?;
            (asked.id == probe.id).then_some(Effect::Probe(asked))
        }
        Event::LandingStarted { from, to } => {
            (run.ref_move() == Some((*from, *to))).then_some(Effect::MoveRef { from: *from, to: *to })
        }
        Event::CompensationStarted { task, attempt, .. } => compensate(run, *task, *attempt),
        #[cfg(kapell_planted)]
        Event::CompensationFailed { .. } if crate::planted::is("compensation_not_tried_again") => None,
        Event::CompensationFailed { task, attempt, again: true, .. } => {
            compensate(run, *task, attempt.next())
        }
        Event::GateOpened { gate, .. } | Event::AnswerUndone { gate, .. } => {
            run.gate(*gate).filter(|open| run.is_owed(*gate, open))?;
            Some(Effect::Notify { gate: *gate })
        }
        Event::GateAnswered { gate, .. } => {
            let (task, attempt) = run.asked_by(*gate)?;
            Some(Effect::Deliver { gate: *gate, task, attempt })
        }
        Event::MergeStarted { target, from, to } => {
            run.merge_under_way()?;
            Some(Effect::Merge { target: target.clone(), from: *from, to: *to })
        }
        _ => None,
    }
}

fn is_running(run: &Run, task: TaskId, attempt: AttemptNo) -> bool {
    matches!(run.state(task), TaskState::Running(running) if running.number == attempt)
}

fn compensate(run: &Run, task: TaskId, attempt: AttemptNo) -> Option<Effect> {
    is_compensating(run, task, attempt).then_some(Effect::Compensate { task, attempt })
}

fn is_compensating(run: &Run, task: TaskId, attempt: AttemptNo) -> bool {
    matches!(run.state(task), TaskState::Compensating { attempt: under_way, .. } if *under_way == attempt)
}

/// Lists the child runs under way, each with what it is to know of the run's phase.
fn children(run: &Run) -> Vec<Effect> {
    let hold = match run.phase() {
        Phase::Active => Hold::None,
        Phase::Paused(_) if run.stops() => Hold::Stop,
        Phase::Paused(_) => Hold::Finish,
        // A child run that is to end has been told so.
        _ => return Vec::new(),
    };
    let children = run.in_flight().filter(|task| run.lane(*task) == Lane::Child);
    let running = children.filter_map(|task| match run.state(task) {
        TaskState::Running(attempt) => Some(Effect::Hold { task, attempt: attempt.number, hold }),
        _ => None,
    });
    running.collect()
}
