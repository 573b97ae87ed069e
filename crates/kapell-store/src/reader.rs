//! Reading: connections are opened when they are first needed, kept, and shared one caller at a time.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kapell_core::{
    id::{Digest, RunId},
    journal::{BrokenChain, BrokenChainKind, Row, Version},
    time::{Elapsed, Wall},
};
use kapell_engine::port::journal::{JournalError, JournalErrorKind, RunHead};
use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    fault::{damaged, database, fault},
    ledger::{Summaries, version},
    schema::{Access, connect},
};

/// More idle connections than this are closed.
const IDLE_MAX: usize = 4;

/// The columns of a decision, in the order in which [`row_ref`] reads them. `d` is the table.
pub(crate) const COLUMNS: &str = "d.n, d.at, d.elapsed, d.hash, d.actor, d.cause, d.body";

/// One decision, borrowed from the page that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowRef<'a> {
    /// The run that it belongs to.
    pub run: RunId,
    /// Its number in the run.
    pub n: Version,
    /// When it was taken, by the wall clock.
    pub at: Wall,
    /// When it was taken, on the run's own clock.
    pub elapsed: Elapsed,
    /// Who wished for it, as text.
    pub actor: &'a str,
    /// The kind of command that led to it.
    pub cause: &'a str,
    /// Hash of the row before.
    pub prev: Digest,
    /// Hash of this row.
    pub hash: Digest,
    /// The events: a JSON array with one event a line.
    pub body: &'a str,
}

impl RowRef<'_> {
    /// Copies the row out.
    #[must_use]
    pub fn to_row(self) -> Row {
        Row {
            run: self.run,
            n: self.n,
            at: self.at,
            elapsed: self.elapsed,
            actor: self.actor.to_owned(),
            cause: self.cause.to_owned(),
            prev: self.prev,
            hash: self.hash,
            body: self.body.to_owned(),
        }
    }
}

impl RowRef<'_> {
    /// Copies the row over `row`, whose memory is used again.
    pub fn copy_to(&self, row: &mut Row) {
        (row.run, row.n, row.at, row.elapsed) = (self.run, self.n, self.at, self.elapsed);
        (row.prev, row.hash) = (self.prev, self.hash);
        for (text, from) in
            [(&mut row.actor, self.actor), (&mut row.cause, self.cause), (&mut row.body, self.body)]
        {
            text.clear();
            text.push_str(from);
        }
    }
}

/// Reads the decision of `run` whose predecessor has the hash `prev`.
pub(crate) fn row_ref<'r>(
    run: RunId,
    prev: Digest,
    row: &'r rusqlite::Row<'_>,
) -> rusqlite::Result<RowRef<'r>> {
    let text = |column| -> rusqlite::Result<&'r str> { Ok(row.get_ref(column)?.as_str()?) };
    Ok(RowRef {
        run,
        n: version(row.get(0)?),
        at: Wall(row.get(1)?),
        elapsed: Elapsed(row.get::<_, i64>(2)?.cast_unsigned()),
        prev,
        hash: row.get(3).map(Digest)?,
        actor: text(4)?,
        cause: text(5)?,
        body: text(6)?,
    })
}

/// The reading side of a journal.
pub(crate) struct Readers {
    path: PathBuf,
    busy: Duration,
    summaries: Summaries,
    idle: Arc<Idle>,
}

/// Connections that nobody uses at the moment.
#[derive(Debug, Default)]
pub(crate) struct Idle {
    state: Mutex<(u64, Vec<Connection>)>,
}

impl Idle {
    fn state(&self) -> MutexGuard<'_, (u64, Vec<Connection>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes all connections, those in use as soon as they are given back.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.0 += 1;
        state.1.clear();
    }

    fn take(&self) -> (u64, Option<Connection>) {
        let mut state = self.state();
        (state.0, state.1.pop())
    }

    fn give_back(&self, generation: u64, connection: Connection) {
        let mut state = self.state();
        if state.0 == generation && state.1.len() < IDLE_MAX {
            state.1.push(connection);
        }
    }
}

impl Readers {
    pub(crate) fn new(path: PathBuf, busy: Duration, summaries: Summaries, first: Connection) -> Self {
        let idle = Arc::new(Idle::default());
        idle.give_back(0, first);
        Self { path, busy, summaries, idle }
    }

    pub(crate) fn idle(&self) -> Arc<Idle> {
        Arc::clone(&self.idle)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `look` in one read transaction: it sees the journal as it is at one moment.
    pub(crate) fn with<T>(
        &self,
        look: impl FnOnce(&Connection) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let (generation, idle) = self.idle.take();
        let connection = match idle {
            Some(connection) => connection,
            None => connect(&self.path, Access::Read, self.busy)?,
        };
        let failed = database(&self.path, "reading the journal");
        connection.execute_batch("BEGIN").map_err(&failed)?;
        let seen = look(&connection);
        // After an error the connection is closed: its cache may hold what made the error.
        if seen.is_ok() && connection.execute_batch("COMMIT").is_ok() {
            self.idle.give_back(generation, connection);
        }
        seen
    }

    /// Returns how many decisions are not folded into the index.
    pub(crate) fn tail(&self) -> Result<u64, JournalError> {
        self.with(|connection| {
            let sql = "SELECT coalesce(max(pos) - (SELECT pos FROM indexed), 0) FROM decisions";
            let tail: i64 = connection
                .query_row(sql, [], |row| row.get(0))
                .map_err(database(&self.path, "reading the end of the journal"))?;
            Ok(tail.max(0).unsigned_abs())
        })
    }

    /// Visits the decisions of `run` after `after`, checking that none is missing.
    ///
    /// Decision `after` is read, too: the next one follows its hash.
    pub(crate) fn read(
        &self,
        run: RunId,
        after: Version,
        visit: &mut dyn FnMut(RowRef<'_>) -> bool,
    ) -> Result<(), JournalError> {
        self.with(|connection| {
            let failed = database(&self.path, "reading decisions");
            let id: Option<i64> = connection
                .query_row("SELECT id FROM runs WHERE name = ?1", [run.to_string()], |row| row.get(0))
                .optional()
                .map_err(&failed)?;
            let Some(id) = id else { return Ok(()) };
            let mut walk = Walk::after(after, run, &self.path);
            let after = walk.n.0.cast_signed();
            let indexed = format!(
                "SELECT {COLUMNS} FROM stretches s CROSS JOIN decisions d ON d.pos \
                 BETWEEN s.pos + max(0, ?2 + 1 - s.n) AND s.pos + s.count - 1 WHERE s.run = ?1 AND s.n >= \
                 coalesce((SELECT max(n) FROM stretches WHERE run = ?1 AND n <= ?2 + 1), 0) \
                 AND d.run = ?1"
            );
            if walk.rows(connection, &indexed, params![id, after], visit)? {
                let tail = format!(
                    "SELECT {COLUMNS} FROM decisions d WHERE d.pos > (SELECT pos FROM indexed) \
                     AND d.run = ?1 AND d.n > ?2 ORDER BY d.pos"
                );
                walk.rows(connection, &tail, params![id, after], visit)?;
            }
            Ok(())
        })
    }

    /// Returns what is known of `run`.
    pub(crate) fn head(&self, run: RunId) -> Result<Option<RunHead>, JournalError> {
        self.with(|connection| {
            let failed = database(&self.path, "reading the runs");
            let found = connection
                .query_row(
                    "SELECT name, version, hash, created, updated, summary, id FROM runs WHERE name = ?1",
                    [run.to_string()],
                    |row| Ok((run_head(run, row)?, row.get::<_, i64>(6)?)),
                )
                .optional()
                .map_err(&failed)?;
            let Some((mut head, id)) = found else { return Ok(None) };
            let tail = connection
                .query_row(
                    "SELECT n, hash, at FROM decisions WHERE pos > (SELECT pos FROM indexed) AND run = ?1 \
                     ORDER BY pos DESC LIMIT 1",
                    [id],
                    |row| Ok((version(row.get(0)?), Digest(row.get(1)?), Wall(row.get(2)?))),
                )
                .optional()
                .map_err(&failed)?;
            if let Some(tail) = tail {
                (head.version, head.hash, head.updated) = tail;
            }
            self.newest_summary(&mut head);
            Ok(Some(head))
        })
    }

    /// Lists all runs, the newest first.
    pub(crate) fn runs(&self) -> Result<Vec<RunHead>, JournalError> {
        self.with(|connection| {
            let failed = database(&self.path, "reading the runs");
            let mut statement = connection
                .prepare("SELECT run, n, hash, at FROM decisions WHERE pos > (SELECT pos FROM indexed) ORDER BY pos")
                .map_err(&failed)?;
            let tail = statement
                .query_map([], |row| {
                    let head = (version(row.get(1)?), Digest(row.get(2)?), Wall(row.get(3)?));
                    Ok((row.get::<_, i64>(0)?, head))
                })
                .and_then(Iterator::collect::<rusqlite::Result<HashMap<_, _>>>)
                .map_err(&failed)?;
            let mut statement = connection
                .prepare(
                    "SELECT name, version, hash, created, updated, summary, id FROM runs \
                     ORDER BY created DESC, id DESC",
                )
                .map_err(&failed)?;
            let mut rows = statement.query([]).map_err(&failed)?;
            let mut runs = Vec::new();
            while let Some(row) = rows.next().map_err(&failed)? {
                let name: String = row.get(0).map_err(&failed)?;
                let run = name
                    .parse()
                    .map_err(|_| damaged(&self.path, 0, format!("`{name}` is not the id of a run")))?;
                let mut head = run_head(run, row).map_err(&failed)?;
                if let Some(tail) = tail.get(&row.get(6).map_err(&failed)?) {
                    (head.version, head.hash, head.updated) = *tail;
                }
                self.newest_summary(&mut head);
                runs.push(head);
            }
            Ok(runs)
        })
    }

    fn newest_summary(&self, head: &mut RunHead) {
        let pending = self.summaries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(summary) = pending.get(&head.run) {
            head.summary = Some(summary.text());
        }
    }
}

fn run_head(run: RunId, row: &rusqlite::Row<'_>) -> rusqlite::Result<RunHead> {
    Ok(RunHead {
        run,
        version: version(row.get(1)?),
        hash: Digest(row.get(2)?),
        created: Wall(row.get(3)?),
        updated: Wall(row.get(4)?),
        summary: row.get(5)?,
    })
}

/// A walk along the chain of one run.
struct Walk<'a> {
    run: RunId,
    /// The number of the last decision seen, and its hash; `None` if the next one is not to be visited, but followed.
    n: Version,
    hash: Option<Digest>,
    path: &'a Path,
}

impl<'a> Walk<'a> {
    fn after(after: Version, run: RunId, path: &'a Path) -> Self {
        match after {
            Version(0) => Self { run, n: after, hash: Some(Digest::ZERO), path },
            Version(after) => Self { run, n: Version(after - 1), hash: None, path },
        }
    }

    /// Visits the rows of one statement. Returns whether the walk goes on.
    fn rows(
        &mut self,
        connection: &Connection,
        sql: &str,
        params: impl rusqlite::Params,
        visit: &mut dyn FnMut(RowRef<'_>) -> bool,
    ) -> Result<bool, JournalError> {
        let failed = database(self.path, "reading decisions");
        let mut statement = connection.prepare(sql).map_err(&failed)?;
        let mut rows = statement.query(params).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(&failed)? {
            let row = row_ref(self.run, self.hash.unwrap_or(Digest::ZERO), row).map_err(&failed)?;
            let is_followed = self.hash.is_none();
            self.step(&row).map_err(|broken| fault(self.path, JournalErrorKind::Broken(broken)))?;
            if !is_followed && !visit(row) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn step(&mut self, row: &RowRef<'_>) -> Result<(), BrokenChain> {
        if row.n != self.n.next() {
            let kind = BrokenChainKind::Gap { expected: self.n.next() };
            return Err(BrokenChain { run: self.run, n: row.n, kind });
        }
        (self.n, self.hash) = (row.n, Some(row.hash));
        Ok(())
    }
}
