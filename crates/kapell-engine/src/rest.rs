//! What a run waits for, with the child runs that it waits for.

use kapell_core::{
    event::PauseCause,
    id::RunId,
    plan::Work,
    run::{Phase, Run},
    task::TaskState,
};

use crate::{host::Host, live::Live};

/// Why a run is at rest: nothing happens until somebody or some time lets it go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Something is under way.
    Busy,
    /// Attempts are under way, and all of them wait for the answers of people. They are lost if the host goes away.
    Asking,
    /// It waits for a point in time at which it goes on.
    Waiting,
    /// It waits for people, and nothing of it runs.
    Gates,
    /// It is paused, or a child run that it waits for is, and nothing is under way any more.
    Paused,
    /// It is over.
    Over,
}

/// What the tasks of a run that the world owes something wait for.
#[derive(Default)]
struct InFlight {
    busy: bool,
    asking: bool,
    waiting: bool,
    gates: bool,
    paused: bool,
}

impl Host {
    /// Tells what a run waits for.
    #[must_use]
    pub fn rest(&self, id: RunId) -> Rest {
        match (self.live.get(&id), self.asleep.get(&id)) {
            (Some(live), _) => self.rest_of(live),
            (None, Some(asleep)) => asleep.rest,
            (None, None) => Rest::Over,
        }
    }

    fn rest_of(&self, live: &Live) -> Rest {
        let run = &live.run;
        let unfinished = !live.in_flight.is_empty() || !live.inbox.is_empty();
        // A landing that failed is not under way, though it is still wished for.
        let landing_failed = live.stuck
            || matches!(run.phase(), Phase::Paused(PauseCause::LandingFails { .. }))
            || run.outcome().is_some();
        let asked = run.landing().is_some_and(|landing| landing.is_asking());
        // What is under way in a run that is only asked is somebody else's.
        let in_flight = if live.only_asked { InFlight::default() } else { self.in_flight(run) };
        let landing = (asked || run.ref_move().is_some()) && !landing_failed && !live.only_asked;
        let busy = unfinished || in_flight.busy || landing || run.merge_under_way().is_some();
        // At its deadline, or at the end of its time budget, a run is paused: nothing to wait for.
        let relief = run.next_relief();
        match () {
            () if live.failed.is_some() => Rest::Over,
            () if busy => Rest::Busy,
            () if run.outcome().is_some() => Rest::Over,
            () if in_flight.asking => Rest::Asking,
            () if live.stuck || matches!(run.phase(), Phase::Paused(_)) => Rest::Paused,
            () if relief.elapsed.is_some() || relief.wall.is_some() || in_flight.waiting => Rest::Waiting,
            () if run.open_gates().next().is_some() || in_flight.gates => Rest::Gates,
            () if in_flight.paused => Rest::Paused,
            () => Rest::Waiting,
        }
    }

    fn in_flight(&self, run: &Run) -> InFlight {
        let mut all = InFlight::default();
        for task in run.in_flight() {
            match run.state(task) {
                TaskState::Running(attempt) => match run.plan().definition(task).work {
                    Work::Workflow(_) => match self.rest(run.id().child(task, attempt.number)) {
                        // One that is over is about to tell its parent.
                        Rest::Busy | Rest::Over => all.busy = true,
                        Rest::Asking => all.asking = true,
                        Rest::Waiting => all.waiting = true,
                        Rest::Gates => all.gates = true,
                        Rest::Paused => all.paused = true,
                    },
                    _ if attempt.question.is_some() => all.asking = true,
                    _ => all.busy = true,
                },
                _ if run.is_doubted(task) => {}
                _ => all.busy = true,
            }
            if all.busy {
                break;
            }
        }
        all
    }

    /// Returns the run because of which `id` is paused: itself, or the child run that it waits for.
    #[must_use]
    pub fn paused(&self, id: RunId) -> Option<&Run> {
        let run = self.run(id)?;
        if matches!(run.phase(), Phase::Paused(_)) {
            return Some(run);
        }
        run.in_flight().find_map(|task| match run.state(task) {
            TaskState::Running(attempt) => self.paused(run.id().child(task, attempt.number)),
            _ => None,
        })
    }
}
