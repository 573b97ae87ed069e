//! A batch of commands against a run: decided, folded in, and sealed as rows of the journal.

use crate::{
    command::{Command, Rejection},
    decide::decide,
    event::{Event, encode},
    id::Digest,
    journal::{Actor, Row},
    run::Run,
    settle::next_events,
    time::Now,
};

/// What became of a batch of commands.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The decisions, to be appended together. The state holds them already; nothing may leave the process
    /// before they are durable.
    pub rows: Vec<Row>,
    /// All events of the decisions, in order.
    pub events: Vec<Event>,
    /// For each command whether it was refused.
    pub replies: Vec<Result<(), Rejection>>,
}

/// A decision that is being taken: who wished for it, why, and what follows.
type Open = (Actor, &'static str, Vec<Event>);

impl Run {
    /// Decides `commands` one after the other, then whatever the state calls for by itself, and folds all of it in.
    ///
    /// # Errors
    ///
    /// Fails with [`Rejection::Bug`] if an event cannot follow. The state is not to be used after that.
    pub fn batch(
        &mut self,
        commands: impl IntoIterator<Item = (Actor, Command)>,
        now: Now,
    ) -> Result<Batch, Rejection> {
        let mut batch = Batch::default();
        let mut open = self.decide_each(&mut batch, commands, now)?;
        // What follows by itself belongs to the last decision.
        let (actor, cause, mut events) = open.take().unwrap_or((Actor::Engine, "settle", Vec::new()));
        loop {
            let next = next_events(self, now);
            if next.is_empty() {
                break;
            }
            self.fold_all(&next, now)?;
            events.extend(next);
        }
        self.settled_at = now;
        open = Some((actor, cause, events));
        self.close(&mut batch, &mut open, now);
        Ok(batch)
    }

    /// Decides `commands` and nothing else: for a process that puts a command to a run without executing it. What
    /// follows by itself is decided by whoever executes the run next.
    ///
    /// # Errors
    ///
    /// As [`Run::batch`].
    pub fn record(
        &mut self,
        commands: impl IntoIterator<Item = (Actor, Command)>,
        now: Now,
    ) -> Result<Batch, Rejection> {
        let mut batch = Batch::default();
        let mut open = self.decide_each(&mut batch, commands, now)?;
        self.close(&mut batch, &mut open, now);
        Ok(batch)
    }

    /// Decides each command; the last decision stays open, so that more can be added to it.
    fn decide_each(
        &mut self,
        batch: &mut Batch,
        commands: impl IntoIterator<Item = (Actor, Command)>,
        now: Now,
    ) -> Result<Option<Open>, Rejection> {
        let mut open = None;
        for (actor, command) in commands {
            self.close(batch, &mut open, now);
            match decide(self, &command, now) {
                Ok(events) => {
                    self.fold_all(&events, now)?;
                    batch.replies.push(Ok(()));
                    open = Some((actor, command.name(), events));
                }
                Err(rejection) => batch.replies.push(Err(rejection)),
            }
        }
        Ok(open)
    }

    fn fold_all(&mut self, events: &[Event], now: Now) -> Result<(), Rejection> {
        if !events.is_empty() {
            self.pass_time(now.elapsed, now.wall);
        }
        events
            .iter()
            .try_for_each(|event| self.evolve(event).map_err(|error| Rejection::Bug(error.to_string())))
    }

    fn close(&mut self, batch: &mut Batch, open: &mut Option<Open>, now: Now) {
        let Some((actor, cause, events)) = open.take().filter(|(_, _, events)| !events.is_empty()) else {
            return;
        };
        let mut row = Row {
            run: self.id,
            n: self.version.next(),
            at: now.wall,
            elapsed: self.clock,
            actor: actor.to_string(),
            cause: cause.to_owned(),
            prev: self.hash,
            hash: Digest::ZERO,
            body: encode(&events),
        };
        #[cfg(kapell_planted)]
        match () {
            () if crate::planted::is("chain_not_linked") => row.prev = Digest::ZERO,
            () if crate::planted::is("version_skipped") && events.len() > 3 => row.n = row.n.next(),
            () => {}
        }
        row.hash = row.seal();
        self.version = row.n;
        self.hash = row.hash;
        batch.rows.push(row);
        batch.events.extend(events);
    }
}
