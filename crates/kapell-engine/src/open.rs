//! Reading a run from the journal: from its snapshot if that fits, else from its first decision.

use std::sync::Arc;

use kapell_core::{
    event::{Event, decode},
    id::{Digest, RunId},
    journal::{Row, Version},
    plan::Plan,
    run::{Damage, Run},
};

use crate::port::{
    journal::{Journal, JournalError, OwnError},
    workspaces::WorkspaceError,
};

/// Why a run cannot be made or taken over.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no such run.
    #[error("there is no run {0}")]
    NoSuchRun(RunId),
    /// Somebody else executes it, or that cannot be found out.
    #[error(transparent)]
    Own(#[from] OwnError),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// What the journal holds cannot have happened.
    #[error(transparent)]
    Damage(#[from] Damage),
    /// Its base cannot be held.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// Its plan cannot be written down.
    #[error("the plan cannot be written: {0}")]
    Plan(String),
}

/// Reads a plan that is kept as an artifact.
pub fn kept_plan(journal: &dyn Journal, digest: Digest) -> Option<Arc<Plan>> {
    let text = journal.kept(digest).ok().flatten()?;
    // Checked as a whole it is text in less time than name by name.
    serde_json::from_str(str::from_utf8(&text).ok()?).ok().map(Arc::new)
}

/// Reads the state of a run as it is now.
///
/// # Errors
///
/// Fails if the journal cannot be read, or what it holds is damaged.
pub fn load(journal: &dyn Journal, id: RunId) -> Result<Run, OpenError> {
    Ok(load_counted(journal, id)?.0)
}

/// Reads the state of a run, and tells how many decisions had to be folded besides its snapshot.
pub(crate) fn load_counted(journal: &dyn Journal, id: RunId) -> Result<(Run, u64), OpenError> {
    let mut run = from_snapshot(journal, id)?.unwrap_or_else(|| Run::new(id));
    let after = run.version();
    fold(journal, &mut run, after, |_, _, _| true)?;
    let folded = run.version().0 - after.0;
    Ok((run, folded))
}

/// Reads the state of a run as it was after decision `at`, telling `see` of each decision on the way.
///
/// # Errors
///
/// Fails if the journal cannot be read, or what it holds is damaged.
pub fn load_at(
    journal: &dyn Journal,
    id: RunId,
    at: Version,
    mut see: impl FnMut(&Row, &[Event], &Run),
) -> Result<Run, OpenError> {
    let mut run = Run::new(id);
    if at > Version(0) {
        fold(journal, &mut run, Version(0), |row, events, run| {
            see(row, events, run);
            row.n < at
        })?;
    }
    Ok(run)
}

fn fold(
    journal: &dyn Journal,
    run: &mut Run,
    after: Version,
    mut more: impl FnMut(&Row, &[Event], &Run) -> bool,
) -> Result<(), OpenError> {
    let mut damage = None;
    journal.read(
        run.id(),
        after,
        &mut |row| match run.replay(row, &mut |digest| kept_plan(journal, digest)) {
            Ok(events) => more(row, &events, run),
            Err(found) => {
                damage = Some(found);
                false
            }
        },
    )?;
    damage.map_or(Ok(()), |damage| Err(damage.into()))
}

/// Takes the snapshot if it is the state after a decision that the journal really holds.
fn from_snapshot(journal: &dyn Journal, id: RunId) -> Result<Option<Run>, OpenError> {
    let Some(snapshot) = journal.snapshot(id)? else { return Ok(None) };
    let Some(plan_at) = Run::plan_of_snapshot(&snapshot.bytes) else { return Ok(None) };
    let row_at = |n: Version| -> Result<Option<Row>, OpenError> {
        let mut found = None;
        journal.read(id, Version(n.0.saturating_sub(1)), &mut |row| {
            found = Some(row.clone());
            false
        })?;
        Ok(found.filter(|row| row.n == n))
    };
    if row_at(snapshot.n)?.is_none_or(|row| row.hash != snapshot.hash) {
        return Ok(None);
    }
    let Some(row) = row_at(plan_at)? else { return Ok(None) };
    let events = decode(&row.body).unwrap_or_default();
    let plan = events.iter().rev().find_map(|event| match event {
        Event::PlanAdopted { plan: kapell_core::event::PlanRef::Kept { digest, .. }, .. } => {
            kept_plan(journal, *digest)
        }
        Event::PlanAdopted { plan, .. } => plan.plan().cloned(),
        _ => None,
    });
    Ok(plan
        .and_then(|plan| Run::from_snapshot(snapshot.fold, &snapshot.bytes, snapshot.n, snapshot.hash, plan)))
}
