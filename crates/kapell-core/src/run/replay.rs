//! Reading a run back from its rows, and the snapshot of its state.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use serde::{
    Deserializer as _,
    de::{IgnoredAny, MapAccess, Visitor},
};

use crate::{
    event::{DecodeError, Event, FOLD_VERSION, PlanRef, decode},
    id::{Digest, RunId},
    journal::{BrokenChain, Row, Version},
    plan::Plan,
    run::{Run, fold::IllegalEvent, index::same},
    time::Now,
};

/// Finds a plan that an event names by its digest. `None` if it is not there.
pub type PlanSource<'a> = &'a mut dyn FnMut(Digest) -> Option<Arc<Plan>>;

/// A row that cannot be folded in. Nothing after it can be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("decision {n} of run {run} is damaged: {kind}")]
pub struct Damage {
    /// The run.
    pub run: RunId,
    /// The row.
    pub n: Version,
    /// What is wrong with it.
    pub kind: DamageKind,
}

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DamageKind {
    /// It belongs to another run.
    #[error("it belongs to run {0}")]
    OtherRun(RunId),
    /// It does not continue the chain.
    #[error("{}", .0.kind)]
    Broken(BrokenChain),
    /// Its body cannot be read.
    #[error(transparent)]
    Body(#[from] DecodeError),
    /// The plan that it names is gone.
    #[error("the plan {0} is missing")]
    PlanMissing(Digest),
    /// One of its events cannot follow.
    #[error(transparent)]
    Event(IllegalEvent),
}

impl Run {
    /// Folds in the next row of the journal, its place in the chain and its hash checked.
    ///
    /// # Errors
    ///
    /// Fails if the row is not the next one, is altered, or holds events that cannot follow. The state is not to be
    /// used after that.
    pub fn replay(&mut self, row: &Row, plans: PlanSource<'_>) -> Result<Vec<Event>, Damage> {
        self.check_run(row)?;
        row.check_follows(self.version, self.hash)
            .map_err(|broken| self.damage(row, DamageKind::Broken(broken)))?;
        self.fold_row(row, plans)
    }

    /// Folds in the next row of a journal whose chain has been checked before: number and link only.
    ///
    /// # Errors
    ///
    /// As [`Run::replay`], but an altered row is found only if its events cannot follow.
    pub fn replay_verified(&mut self, row: &Row, plans: PlanSource<'_>) -> Result<Vec<Event>, Damage> {
        self.check_run(row)?;
        row.check_place(self.version, self.hash)
            .map_err(|broken| self.damage(row, DamageKind::Broken(broken)))?;
        self.fold_row(row, plans)
    }

    fn check_run(&self, row: &Row) -> Result<(), Damage> {
        match row.run == self.id {
            true => Ok(()),
            false => Err(self.damage(row, DamageKind::OtherRun(row.run))),
        }
    }

    fn fold_row(&mut self, row: &Row, plans: PlanSource<'_>) -> Result<Vec<Event>, Damage> {
        let mut events = decode(&row.body).map_err(|error| self.damage(row, error.into()))?;
        #[cfg(kapell_planted)]
        let elapsed = if crate::planted::is("replay_forgets_time") { self.clock } else { row.elapsed };
        #[cfg(not(kapell_planted))]
        let elapsed = row.elapsed;
        self.pass_time(elapsed, row.at);
        for event in &mut events {
            if let Event::PlanAdopted { plan: PlanRef::Kept { digest, plan }, .. } = event {
                *plan = plans(*digest);
                if plan.is_none() {
                    return Err(self.damage(row, DamageKind::PlanMissing(*digest)));
                }
            }
            self.evolve(event).map_err(|error| self.damage(row, DamageKind::Event(error)))?;
        }
        self.version = row.n;
        self.hash = row.hash;
        Ok(events)
    }

    fn damage(&self, row: &Row, kind: DamageKind) -> Damage {
        Damage { run: self.id, n: row.n, kind }
    }

    /// Writes the state as a snapshot. It holds no plan: that is in the row [`Run::plan_at`].
    #[must_use]
    pub fn to_snapshot(&self) -> (u32, Vec<u8>) {
        (FOLD_VERSION, serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads a snapshot, which is only a cache: `None` if it is not exactly the state after decision `n` with
    /// `hash`, made by this version of the fold.
    #[must_use]
    pub fn from_snapshot(fold: u32, bytes: &[u8], n: Version, hash: Digest, plan: Arc<Plan>) -> Option<Self> {
        if fold != FOLD_VERSION {
            return None;
        }
        // Checked as a whole it is text in less time than string by string.
        let mut run: Self = serde_json::from_str(str::from_utf8(bytes).ok()?).ok()?;
        if (run.version, run.hash) != (n, hash) || run.tasks.len() != plan.len() {
            return None;
        }
        run.plan = plan;
        run.reindex();
        Some(run)
    }

    /// Returns which decision adopted the plan of a snapshot, so that it can be read. That stands near the beginning, and
    /// what follows is not looked at.
    #[must_use]
    pub fn plan_of_snapshot(bytes: &[u8]) -> Option<Version> {
        let mut found = None;
        // To leave off before the end is an error to the reader, and meant.
        let _ = serde_json::Deserializer::from_slice(bytes).deserialize_map(PlanAt(&mut found));
        found
    }

    /// Tells whether two states are the same in all that they hold and all that they answer.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let bare = |run: &Self| Self { index: OnceLock::new(), settled_at: Now::default(), ..run.clone() };
        same(self.index(), other.index()) && bare(self) == bare(other)
    }
}

/// Looks for the field `plan_at` of a snapshot, and no further.
struct PlanAt<'a>(&'a mut Option<Version>);

impl<'de> Visitor<'de> for PlanAt<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the state of a run")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(name) = fields.next_key::<&str>()? {
            if name == "plan_at" {
                *self.0 = Some(fields.next_value()?);
                return Ok(());
            }
            fields.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}
