//! A run that this process executes.

use std::collections::{HashMap, VecDeque};

use kapell_core::{
    command::{Command, Rejection},
    event::Event,
    id::{AttemptNo, GateId, RunId, TaskId},
    journal::{Actor, Version},
    run::{Phase, Run},
    time::{Elapsed, Millis, Now, Wall},
};

use crate::port::{
    clock::Clock,
    journal::{Append, AppendError, Ownership, Rows, Summary},
};

/// Called once with what became of a command, after its decision is durable.
pub type Reply = Box<dyn FnOnce(Result<(), Refusal>) + Send>;

/// Why a command had no effect.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// The decider refused it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// It could not be recorded.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// This process does not execute the run.
    #[error("run {0} is not executed by this process")]
    NotHere(RunId),
}

/// Decisions on their way to the disk, and what waits for them.
pub(crate) struct InFlight {
    pub(crate) upto: Version,
    pub(crate) rows: Rows,
    pub(crate) events: Vec<Event>,
    pub(crate) replies: Vec<(Reply, Result<(), Rejection>)>,
}

/// A question of an attempt, by the attempt's own number.
pub(crate) struct Question {
    pub(crate) number: u32,
    pub(crate) text: String,
    pub(crate) choices: Vec<String>,
}

/// What an attempt asks. People are put one question of it at a time; the others wait.
pub(crate) struct Asking {
    pub(crate) attempt: AttemptNo,
    /// The number of the question that people are put.
    pub(crate) put: u32,
    /// The gate that stands for it, once that is open.
    pub(crate) gate: Option<GateId>,
    pub(crate) waiting: VecDeque<Question>,
}

/// When a run is to be looked at again: on the boot clock, and by the time of day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Alarm {
    pub(crate) boot: Option<Millis>,
    pub(crate) wall: Option<Wall>,
}

/// A run with what this process knows about it besides its state.
pub(crate) struct Live {
    pub(crate) run: Run,
    /// Held for as long as the run is executed here.
    pub(crate) ownership: Box<dyn Ownership>,
    pub(crate) opened_at: Millis,
    pub(crate) elapsed_before: Elapsed,
    pub(crate) inbox: Vec<(Actor, Command, Option<Reply>)>,
    pub(crate) in_flight: VecDeque<InFlight>,
    pub(crate) questions: HashMap<TaskId, Asking>,
    /// The open gates that are questions, by the number that the attempt gave it.
    pub(crate) gates: HashMap<GateId, u32>,
    pub(crate) failed: Option<AppendError>,
    /// How many decisions a reader would have to fold besides the last snapshot.
    pub(crate) since_snapshot: u64,
    pub(crate) armed: Alarm,
    /// What last stood in the way of something that was asked for, for people.
    pub(crate) trouble: Option<String>,
    /// Whether a landing failed that is not tried again until the run is next opened.
    pub(crate) stuck: bool,
    /// Only commands are put to it here; whatever follows by itself is left to whoever executes it next.
    pub(crate) only_asked: bool,
}

impl Live {
    pub(crate) fn new(run: Run, ownership: Box<dyn Ownership>, clock: &dyn Clock) -> Self {
        let elapsed_before = run.clock();
        Self::resumed(run, ownership, clock.boot(), elapsed_before)
    }

    /// A run whose clock said `elapsed_before` when the boot clock said `opened_at`.
    pub(crate) fn resumed(
        run: Run,
        ownership: Box<dyn Ownership>,
        opened_at: Millis,
        elapsed_before: Elapsed,
    ) -> Self {
        Self {
            elapsed_before,
            opened_at,
            run,
            ownership,
            inbox: Vec::new(),
            in_flight: VecDeque::new(),
            questions: HashMap::new(),
            gates: HashMap::new(),
            failed: None,
            since_snapshot: 0,
            armed: Alarm::default(),
            trouble: None,
            stuck: false,
            only_asked: false,
        }
    }

    /// Returns the time as a command for this run must carry it.
    pub(crate) fn now(&self, clock: &dyn Clock) -> Now {
        Now { wall: clock.wall(), elapsed: self.elapsed(clock.boot()) }
    }

    fn elapsed(&self, boot: Millis) -> Elapsed {
        self.elapsed_before.after(Millis(boot.0.saturating_sub(self.opened_at.0)))
    }

    /// Refuses all that waits to be decided, as nothing more can be recorded.
    pub(crate) fn refuse_all(&mut self, error: &AppendError) {
        self.failed.get_or_insert_with(|| error.clone());
        let waiting = std::mem::take(&mut self.inbox).into_iter().filter_map(|(_, _, reply)| reply);
        waiting.for_each(|reply| reply(Err(error.clone().into())));
    }

    /// Returns when `at` is on the boot clock.
    pub(crate) fn boot_at(&self, at: Elapsed) -> Millis {
        Millis(self.opened_at.0.saturating_add(at.since(self.elapsed_before).0))
    }

    /// Decides all that waits, and returns what is to be appended. The outcome is kept until it is durable.
    pub(crate) fn decide(
        &mut self,
        clock: &dyn Clock,
        summary: impl FnOnce(&Run, Now) -> Option<Summary>,
    ) -> Result<Option<Append>, Rejection> {
        let (base, prev) = (self.run.version(), self.run.hash());
        let now = self.now(clock);
        let mut waiting = Vec::with_capacity(self.inbox.len());
        let commands: Vec<_> = std::mem::take(&mut self.inbox)
            .into_iter()
            .map(|(actor, command, reply)| {
                waiting.push(reply);
                (actor, command)
            })
            .collect();
        let landing_failed =
            commands.iter().any(|(_, command)| matches!(command, Command::LandingFailed { .. }));
        let batch = match self.only_asked {
            true => self.run.record(commands, now)?,
            false => self.run.batch(commands, now)?,
        };
        if landing_failed {
            // A run that ends is not paused by it. That is known only now: it may have been cancelled in the same batch.
            self.stuck = !matches!(self.run.phase(), Phase::Active | Phase::Paused(_));
        }
        let replies = waiting.into_iter().zip(batch.replies);
        let replies: Vec<_> = replies.filter_map(|(reply, result)| Some((reply?, result))).collect();
        if batch.rows.is_empty() {
            // Nothing to make durable, so nothing to wait for but what is on its way already.
            match self.in_flight.back_mut() {
                Some(last) => last.replies.extend(replies),
                None => replies.into_iter().for_each(|(reply, result)| reply(result.map_err(Refusal::from))),
            }
            return Ok(None);
        }
        self.since_snapshot += batch.rows.len() as u64;
        let rows = Rows::from(batch.rows);
        let summary = summary(&self.run, now);
        let append = Append { run: self.run.id(), base, prev, rows: rows.clone(), summary };
        self.in_flight.push_back(InFlight { upto: self.run.version(), rows, events: batch.events, replies });
        Ok(Some(append))
    }
}
