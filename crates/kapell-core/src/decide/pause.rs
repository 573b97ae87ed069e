//! Pausing and going on: a run is held by a reason of its own, by the run that it is part of, or by both.

use super::refused;
use crate::{
    budget::Limits,
    command::Rejection,
    event::{Event, PauseCause},
    run::{Phase, Run},
};

/// A person pauses the run, also one that only its parent holds: it stays paused then when that goes on.
pub(super) fn by_person(run: &Run) -> Result<Vec<Event>, Rejection> {
    match run.phase() {
        Phase::Active | Phase::Paused(PauseCause::Parent { .. }) => {
            Ok(vec![Event::Paused { why: PauseCause::Person }])
        }
        Phase::Paused(_) => Err(Rejection::AlreadyPaused),
        phase => Err(refused(phase)),
    }
}

/// The run that this one is part of pauses, or pauses in another way.
pub(super) fn hold(run: &Run, stop: bool) -> Result<Vec<Event>, Rejection> {
    match run.phase() {
        Phase::Active => Ok(vec![Event::Paused { why: PauseCause::Parent { stop } }]),
        Phase::Paused(_) if run.held() == Some(stop) => Err(Rejection::AlreadyPaused),
        #[cfg(kapell_planted)]
        Phase::Paused(_) if crate::planted::is("hold_of_paused_child_refused") => {
            Err(Rejection::AlreadyPaused)
        }
        Phase::Paused(_) => Ok(vec![Event::Held { stop }]),
        phase => Err(refused(phase)),
    }
}

/// The run that this one is part of goes on. What else this one is paused for holds it still.
pub(super) fn release(run: &Run) -> Result<Vec<Event>, Rejection> {
    match run.phase() {
        Phase::Paused(PauseCause::Parent { .. }) => Ok(vec![Event::Resumed { limits: None }]),
        Phase::Paused(_) if run.held().is_some() => Ok(vec![Event::Released {}]),
        Phase::Active | Phase::Paused(_) => Err(Rejection::NotPaused),
        phase => Err(refused(phase)),
    }
}

/// A person lets the run go on. If the run that it is part of is paused, it goes on with that.
pub(super) fn resume(run: &Run, limits: Option<Limits>) -> Result<Vec<Event>, Rejection> {
    let why = match run.phase() {
        Phase::Paused(PauseCause::Parent { .. }) => return Err(Rejection::ParentPaused),
        Phase::Paused(why) => why,
        Phase::Active => return Err(Rejection::NotPaused),
        phase => return Err(refused(phase)),
    };
    let mut events = vec![Event::Resumed { limits }];
    // The move of the ref stays intended: it may have been made all the same.
    if let (PauseCause::LandingFails { .. }, Some((from, to))) = (why, run.ref_move()) {
        events.push(Event::LandingStarted { from, to });
    }
    let held = run.held();
    #[cfg(kapell_planted)]
    let held = held.filter(|_| !crate::planted::is("resumed_while_parent_paused"));
    events.extend(held.map(|stop| Event::Paused { why: PauseCause::Parent { stop } }));
    Ok(events)
}
