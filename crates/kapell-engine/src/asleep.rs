//! Runs at rest whose state is not kept in memory: of very many that wait for a time or a person, only what wakes them.

use kapell_core::{
    id::RunId,
    time::{Elapsed, Millis},
};

use crate::{
    host::{Host, SNAPSHOT_WORTH},
    live::{Alarm, Live},
    open::{OpenError, load_counted},
    port::journal::{AppendError, AppendErrorKind, JournalError, JournalErrorKind, Ownership},
    rest::Rest,
};

/// How many runs are kept in memory though they are at rest. One more is put to sleep.
///
/// So many cost less than a megabyte, and a session of one person hardly ever has as many.
pub const AWAKE_MAX: usize = 64;

/// What is kept of a run that sleeps: who owns it, its clock, and what wakes it.
pub(crate) struct Asleep {
    ownership: Box<dyn Ownership>,
    opened_at: Millis,
    elapsed_before: Elapsed,
    pub(crate) armed: Alarm,
    pub(crate) rest: Rest,
    /// Why it could not be woken.
    pub(crate) failed: Option<Box<AppendError>>,
}

impl Host {
    /// Forgets the state of a run that waits, if there are too many of them to keep.
    pub(crate) fn put_to_sleep(&mut self, id: RunId) {
        if self.live.len() <= AWAKE_MAX || !self.live.get(&id).is_some_and(|live| is_idle(live)) {
            return;
        }
        let rest = self.rest(id);
        if !matches!(rest, Rest::Waiting | Rest::Gates | Rest::Paused) {
            return;
        }
        let Some(live) = self.live.remove(&id) else { return };
        // What is shorter is read again as quickly as a snapshot.
        if live.since_snapshot >= SNAPSHOT_WORTH {
            self.keep_snapshot(&live);
        }
        let Live { ownership, opened_at, elapsed_before, armed, .. } = *live;
        let asleep = Asleep { ownership, opened_at, elapsed_before, armed, rest, failed: None };
        self.asleep.insert(id, asleep);
    }

    /// Reads the state of a run again that was put to sleep, as when something is to be asked of it. Its clock has gone
    /// on meanwhile.
    ///
    /// # Errors
    ///
    /// Fails if the journal cannot be read. Nothing more can be asked of the run then.
    pub fn wake(&mut self, id: RunId) -> Result<(), AppendError> {
        let Some(asleep) = self.asleep.get_mut(&id) else { return Ok(()) };
        if let Some(failed) = &asleep.failed {
            return Err((**failed).clone());
        }
        match load_counted(&*self.journal, id) {
            Ok((run, folded)) => {
                let Some(asleep) = self.asleep.remove(&id) else { return Ok(()) };
                let live = Live {
                    since_snapshot: folded,
                    armed: asleep.armed,
                    ..Live::resumed(run, asleep.ownership, asleep.opened_at, asleep.elapsed_before)
                };
                self.live.insert(id, Box::new(live));
                Ok(())
            }
            Err(error) => {
                let failed =
                    AppendError { run: id, rows: 0, kind: AppendErrorKind::Journal(unreadable(error)) };
                (asleep.rest, asleep.failed) = (Rest::Over, Some(Box::new(failed.clone())));
                Err(failed)
            }
        }
    }
}

fn unreadable(error: OpenError) -> JournalError {
    match error {
        OpenError::Journal(error) => error,
        error => {
            let kind = JournalErrorKind::Database { what: "reading a run again", message: error.to_string() };
            JournalError { path: "journal".to_owned(), kind }
        }
    }
}

/// Tells whether nothing is known of a run that is not in the journal, and nothing is under way.
fn is_idle(live: &Live) -> bool {
    let run = &live.run;
    live.in_flight.is_empty()
        && live.inbox.is_empty()
        && live.questions.is_empty()
        && live.gates.is_empty()
        && live.failed.is_none()
        && live.trouble.is_none()
        && !live.stuck
        && !live.only_asked
        && run.in_flight().next().is_none()
        && run.mission().parent.is_none()
        && run.landing().is_none_or(|landing| landing.is_idle())
        && run.ref_move().is_none()
        && run.merge_under_way().is_none()
}
