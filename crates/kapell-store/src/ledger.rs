//! The tables as their writer sees them: the heads of the runs, and how decisions get in.
//!
//! Only `decisions` is written when a decision is appended: one page at the end of one table, however many runs
//! take turns. The tables that find a run's decisions again (`runs`, `stretches`) are brought up to date by
//! [`Ledger::fold`], every few thousand rows or a second later. Rows after `indexed.pos` are the *tail*, which
//! readers look through one by one.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
};

use hashbrown::HashMap;
use kapell_core::{
    id::{Digest, RunId},
    journal::{BrokenChain, BrokenChainKind, Row, Version},
};
use kapell_engine::port::journal::{Append, AppendErrorKind, JournalError, Summary};
use rusqlite::{Connection, OptionalExtension, Statement, params};

use crate::fault::{damaged, database};

/// Summaries that are appended but not yet in the table `runs`.
pub(crate) type Summaries = Arc<Mutex<HashMap<RunId, Summary>>>;

/// The last decision of a run.
#[derive(Debug, Clone, Copy)]
struct Head {
    /// The run's row in `runs`; `None` while there is none.
    id: Option<i64>,
    /// When its first decision was taken, if that is known.
    created: Option<i64>,
    version: Version,
    hash: Digest,
}

/// What a writer knows of a journal. It holds inside a write transaction, after [`Ledger::catch_up`].
pub(crate) struct Ledger<'c> {
    path: &'c Path,
    connection: &'c Connection,
    heads: HashMap<RunId, Head>,
    names: HashMap<i64, RunId>,
    /// The greatest `pos` that is folded into `runs` and `stretches`.
    indexed: i64,
    /// The greatest `pos` that there is.
    last: i64,
    /// The `data_version` at which the above was true; -1 before the first look.
    seen: i64,
    /// What the rows after `indexed` say of each run that they are of.
    tail: BTreeMap<i64, Tail>,
    /// Summaries that are not yet in `runs`.
    summaries: BTreeMap<i64, Summary>,
    insert: Statement<'c>,
    insert_run: Statement<'c>,
    find_run: Statement<'c>,
    data_version: Statement<'c>,
}

impl<'c> Ledger<'c> {
    pub(crate) fn new(connection: &'c Connection, path: &'c Path) -> Result<Self, JournalError> {
        let failed = database(path, "preparing the journal");
        let insert = connection
            .prepare(
                "INSERT INTO decisions(pos, run, n, at, elapsed, actor, cause, hash, body) \
                 VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )
            .map_err(&failed)?;
        let insert_run = connection
            .prepare(
                "INSERT INTO runs(name, version, hash, created, updated, mark) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
            )
            .map_err(&failed)?;
        let find_run = connection
            .prepare("SELECT id, created, version, hash FROM runs WHERE name = ?1")
            .map_err(&failed)?;
        let data_version = connection.prepare("PRAGMA data_version").map_err(&failed)?;
        Ok(Self {
            path,
            connection,
            heads: HashMap::new(),
            names: HashMap::new(),
            indexed: 0,
            last: 0,
            seen: -1,
            tail: BTreeMap::new(),
            summaries: BTreeMap::new(),
            insert,
            insert_run,
            find_run,
            data_version,
        })
    }

    /// Returns how many rows are not folded yet.
    pub(crate) fn tail(&self) -> u64 {
        self.last.abs_diff(self.indexed)
    }

    /// Returns whether there is anything to fold.
    pub(crate) fn is_folded(&self) -> bool {
        self.tail() == 0 && self.summaries.is_empty()
    }

    /// Forgets what was believed, because a transaction was rolled back.
    pub(crate) fn forget(&mut self) {
        self.heads.clear();
        self.names.clear();
        self.seen = -1;
    }

    /// Learns what other connections have written since the last look.
    pub(crate) fn catch_up(&mut self) -> Result<(), JournalError> {
        let failed = database(self.path, "reading the end of the journal");
        let version: i64 = self.data_version.query_row([], |row| row.get(0)).map_err(&failed)?;
        if version == self.seen {
            return Ok(());
        }
        let indexed =
            self.connection.query_row("SELECT pos FROM indexed", [], |row| row.get(0)).map_err(&failed)?;
        if self.seen == -1 {
            (self.indexed, self.last) = (indexed, indexed);
            self.tail.clear();
        } else if indexed != self.indexed {
            // Somebody else has folded: what is known of the rows after that is put together anew.
            (self.indexed, self.last) = (indexed, self.last.min(indexed));
            self.tail.clear();
        }
        self.read_tail()?;
        self.seen = version;
        Ok(())
    }

    fn read_tail(&mut self) -> Result<(), JournalError> {
        let failed = database(self.path, "reading the end of the journal");
        let mut statement = self
            .connection
            .prepare("SELECT pos, run, n, at, hash FROM decisions WHERE pos > ?1 ORDER BY pos")
            .map_err(&failed)?;
        let mut rows = statement.query([self.last]).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(&failed)? {
            let id: i64 = row.get(1).map_err(&failed)?;
            let (n, at, hash) =
                (row.get(2).map_err(&failed)?, row.get(3).map_err(&failed)?, row.get(4).map_err(&failed)?);
            self.last = row.get(0).map_err(&failed)?;
            if self.last > self.indexed {
                self.tail.entry(id).or_default().add(self.last, n, at, hash);
            }
            let run = match self.names.get(&id) {
                Some(run) => *run,
                None => self.name(id)?,
            };
            let created = self.heads.get(&run).and_then(|head| head.created);
            self.heads.insert(run, Head { id: Some(id), created, version: version(n), hash: Digest(hash) });
        }
        Ok(())
    }

    fn name(&mut self, id: i64) -> Result<RunId, JournalError> {
        let failed = database(self.path, "reading the runs");
        let name: Option<String> = self
            .connection
            .query_row("SELECT name FROM runs WHERE id = ?1", [id], |row| row.get(0))
            .optional()
            .map_err(&failed)?;
        let run = name
            .and_then(|name| name.parse().ok())
            .ok_or_else(|| damaged(self.path, 0, format!("run number {id} has decisions but no name")))?;
        self.names.insert(id, run);
        Ok(run)
    }

    fn head(&mut self, run: RunId) -> Result<Head, JournalError> {
        if let Some(head) = self.heads.get(&run) {
            return Ok(*head);
        }
        let failed = database(self.path, "reading the runs");
        let found = self
            .find_run
            .query_row([run.to_string()], |row| {
                let (version, hash) = (version(row.get(2)?), Digest(row.get(3)?));
                Ok(Head { id: Some(row.get(0)?), created: Some(row.get(1)?), version, hash })
            })
            .optional()
            .map_err(&failed)?;
        let none = Head { id: None, created: None, version: Version(0), hash: Digest::ZERO };
        let head = found.unwrap_or(none);
        self.heads.insert(run, head);
        if let Some(id) = head.id {
            self.names.insert(id, run);
        }
        Ok(head)
    }

    /// Checks that `append` continues what is there, and inserts its rows.
    ///
    /// That the rows are chained among themselves has been checked by whoever queued them.
    /// On [`AppendErrorKind::Journal`] the transaction must be rolled back; after any other error nothing was
    /// inserted.
    pub(crate) fn append(&mut self, append: &Append) -> Result<(), AppendErrorKind> {
        let head = self.head(append.run).map_err(AppendErrorKind::Journal)?;
        if head.version != append.base {
            return Err(AppendErrorKind::Conflict { expected: append.base, found: head.version });
        }
        if head.hash != append.prev {
            let kind = BrokenChainKind::OtherPast { expected: head.hash, found: append.prev };
            return Err(AppendErrorKind::Broken(BrokenChain {
                run: append.run,
                n: append.base.next(),
                kind,
            }));
        }
        self.insert_rows(append, head).map_err(AppendErrorKind::Journal)
    }

    fn insert_rows(&mut self, append: &Append, head: Head) -> Result<(), JournalError> {
        let Some((first, last)) = append.rows.first().zip(append.rows.last()) else { return Ok(()) };
        let (id, created) = match head.id {
            Some(id) => (id, head.created),
            None => (self.insert_run(first)?, Some(first.at.0)),
        };
        let failed = database(self.path, "appending a decision");
        let tail = self.tail.entry(id).or_default();
        for row in append.rows.iter() {
            self.last += 1;
            tail.add(self.last, row.n.0.cast_signed(), row.at.0, row.hash.0);
            self.insert
                .execute(params![
                    self.last,
                    id,
                    row.n.0.cast_signed(),
                    row.at.0,
                    row.elapsed.0.cast_signed(),
                    row.actor,
                    row.cause,
                    row.hash.0,
                    row.body,
                ])
                .map_err(&failed)?;
        }
        self.heads.insert(append.run, Head { id: Some(id), created, version: last.n, hash: last.hash });
        if let Some(summary) = &append.summary {
            self.summaries.insert(id, summary.clone());
        }
        Ok(())
    }

    fn insert_run(&mut self, first: &Row) -> Result<i64, JournalError> {
        let row = RunRow {
            name: first.run.to_string(),
            version: 0,
            hash: Digest::ZERO.0,
            created: first.at.0,
            updated: first.at.0,
            summary: None,
        };
        self.insert_run
            .execute(params![row.name, row.version, row.hash, row.created, row.updated, row.mark()])
            .map_err(database(self.path, "adding a run"))?;
        let id = self.connection.last_insert_rowid();
        self.names.insert(id, first.run);
        Ok(id)
    }

    /// Brings `runs` and `stretches` up to the last row. To be called inside a write transaction.
    pub(crate) fn fold(&mut self) -> Result<(), JournalError> {
        let failed = database(self.path, "indexing the journal");
        for run in self.summaries.keys() {
            self.tail.entry(*run).or_default();
        }
        let mut tail = std::mem::take(&mut self.tail);
        self.fold_rows(&mut tail).map_err(&failed)?;
        self.indexed = self.last;
        Ok(())
    }

    /// Forgets the summaries, once the transaction that folded them is durable.
    pub(crate) fn folded(&mut self) {
        self.summaries.clear();
    }

    /// Returns the row of a run as far as it is known without looking: all but its summary.
    fn known(&self, id: i64) -> Option<RunRow> {
        let run = self.names.get(&id)?;
        let head = self.heads.get(run)?;
        let created = head.created?;
        let (version, hash) = (head.version.0.cast_signed(), head.hash.0);
        Some(RunRow { name: run.to_string(), version, hash, created, updated: created, summary: None })
    }

    fn fold_rows(&self, runs: &mut BTreeMap<i64, Tail>) -> rusqlite::Result<()> {
        let mut find = self
            .connection
            .prepare("SELECT name, version, hash, created, updated, summary FROM runs WHERE id = ?1")?;
        let mut update = self.connection.prepare(
            "UPDATE runs SET version = ?2, hash = ?3, updated = ?4, summary = ?5, mark = ?6 WHERE id = ?1",
        )?;
        let mut before = self
            .connection
            .prepare("SELECT n, pos, count FROM stretches WHERE run = ?1 ORDER BY n DESC LIMIT 1")?;
        let mut write = self.connection.prepare(
            "INSERT INTO stretches(run, n, pos, count) VALUES(?1, ?2, ?3, ?4) \
             ON CONFLICT DO UPDATE SET count = excluded.count",
        )?;
        for (&run, tail) in runs {
            let summary = self.summaries.get(&run).map(Summary::text);
            let mut row = match (&summary, self.known(run)) {
                (Some(_), Some(known)) if tail.version > 0 => known,
                _ => find.query_row([run], RunRow::read)?,
            };
            if tail.version > 0 {
                (row.version, row.hash, row.updated) = (tail.version, tail.hash, tail.updated);
            }
            row.summary = summary.or(row.summary);
            update.execute(params![run, row.version, row.hash, row.updated, row.summary, row.mark()])?;
            // Only one that goes on where the index ends can go on from a stretch that is there.
            let first = tail.stretches.first_mut().filter(|first| first.pos == self.indexed + 1);
            if let Some(first) = first {
                let before = before
                    .query_row([run], |row| {
                        Ok(Stretch { n: row.get(0)?, pos: row.get(1)?, count: row.get(2)? })
                    })
                    .optional()?;
                if let Some(before) = before.filter(|before| before.ends_before(first.n, first.pos)) {
                    *first = Stretch { count: before.count + first.count, ..before };
                }
            }
            for stretch in &tail.stretches {
                write.execute(params![run, stretch.n, stretch.pos, stretch.count])?;
            }
        }
        self.connection.execute("UPDATE indexed SET pos = ?1", [self.last])?;
        Ok(())
    }
}

/// A row of the table `runs`, without its id.
pub(crate) struct RunRow {
    pub(crate) name: String,
    pub(crate) version: i64,
    pub(crate) hash: [u8; 32],
    pub(crate) created: i64,
    pub(crate) updated: i64,
    pub(crate) summary: Option<String>,
}

impl RunRow {
    /// Reads the first six columns in the order of the fields.
    pub(crate) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            name: row.get(0)?,
            version: row.get(1)?,
            hash: row.get(2)?,
            created: row.get(3)?,
            updated: row.get(4)?,
            summary: row.get(5)?,
        })
    }

    /// Computes the checksum of the row: the first 8 bytes of the BLAKE3 hash of its columns, little-endian.
    pub(crate) fn mark(&self) -> i64 {
        let mut hasher = blake3::Hasher::new();
        for number in [self.version, self.created, self.updated] {
            hasher.update(&number.to_le_bytes());
        }
        hasher.update(&self.hash).update(self.name.as_bytes()).update(&[u8::from(self.summary.is_some())]);
        hasher.update(self.summary.as_deref().unwrap_or_default().as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        i64::from_le_bytes(first)
    }
}

/// What the tail holds of one run.
#[derive(Default)]
struct Tail {
    version: i64,
    updated: i64,
    hash: [u8; 32],
    stretches: Vec<Stretch>,
}

impl Tail {
    /// Adds the next decision.
    fn add(&mut self, pos: i64, n: i64, at: i64, hash: [u8; 32]) {
        (self.version, self.updated, self.hash) = (n, at, hash);
        match self.stretches.last_mut() {
            Some(stretch) if stretch.ends_before(n, pos) => stretch.count += 1,
            _ => self.stretches.push(Stretch { n, pos, count: 1 }),
        }
    }
}

struct Stretch {
    n: i64,
    pos: i64,
    count: i64,
}

impl Stretch {
    fn ends_before(&self, n: i64, pos: i64) -> bool {
        self.n + self.count == n && self.pos + self.count == pos
    }
}

/// Reads a version as SQLite keeps it. A negative one is none that was written, and conflicts with every other.
pub(crate) fn version(n: i64) -> Version {
    Version(n.cast_unsigned())
}
