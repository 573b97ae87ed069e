//! Recomputes what the journal claims: every hash, every chain, and the tables derived from them.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use kapell_core::{
    id::{Digest, RunId},
    journal::{BrokenChain, BrokenChainKind, Row, Version},
    time::{Elapsed, Wall},
};
use kapell_engine::port::journal::{JournalError, JournalErrorKind};
use rusqlite::Connection;

use crate::{
    fault::{damaged, database, fault},
    ledger::RunRow,
    reader::{COLUMNS, RowRef, row_ref},
    schema::TABLES,
};

/// What to verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All runs, and the file itself.
    All,
    /// The chain of one run.
    Run(RunId),
}

/// A decision that the journal must still hold, as an earlier report named it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// The run.
    pub run: RunId,
    /// The number of the decision.
    pub n: Version,
    /// Its hash.
    pub hash: Digest,
}

/// What was verified and found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Decisions whose hash was recomputed.
    pub decisions: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// The head of each run's chain.
    pub heads: BTreeMap<RunId, (Version, Digest)>,
}

/// Verifies the chains of a journal within one read transaction.
pub(crate) fn verify(
    path: &Path,
    connection: &Connection,
    scope: Scope,
    expected: &[Expected],
) -> Result<Report, JournalError> {
    let mut check = Check { names: names(path, connection)?, all: scope == Scope::All, ..Check::new(path) };
    if scope == Scope::All {
        check_file(path, connection)?;
        check_schema(path, connection)?;
    }
    let only = match scope {
        Scope::All => None,
        Scope::Run(run) => Some(run),
    };
    check.wanted = expected.iter().map(|wanted| ((wanted.run, wanted.n), wanted.hash)).collect();
    check.rows(connection, only)?;
    if scope == Scope::All {
        check.index(connection)?;
    }
    let missing = check.wanted.iter().next();
    if let Some((&(run, n), _)) = missing {
        let last = check.heads.get(&run).map_or(Version(0), |(n, _)| *n);
        let what = format!("run {run} ends with decision {last}, but decision {n} was recorded");
        return Err(damaged(path, 0, what));
    }
    Ok(Report { decisions: check.decisions, bytes: check.bytes, heads: check.heads })
}

struct Check<'a> {
    path: &'a Path,
    names: HashMap<i64, RunId>,
    heads: BTreeMap<RunId, (Version, Digest)>,
    wanted: BTreeMap<(RunId, Version), Digest>,
    /// All runs are verified, and the index with them.
    all: bool,
    /// Where each decision of each run stands, to hold the index against.
    places: HashMap<(i64, i64), i64>,
    decisions: u64,
    bytes: u64,
    last: i64,
    /// The row at hand; kept, so that its texts need no new memory for each row.
    row: Row,
}

impl<'a> Check<'a> {
    fn new(path: &'a Path) -> Self {
        Self {
            path,
            names: HashMap::new(),
            heads: BTreeMap::new(),
            wanted: BTreeMap::new(),
            all: false,
            places: HashMap::new(),
            decisions: 0,
            bytes: 0,
            last: 0,
            row: empty_row(),
        }
    }

    fn rows(&mut self, connection: &Connection, only: Option<RunId>) -> Result<(), JournalError> {
        let failed = database(self.path, "reading decisions");
        let id = only.and_then(|only| self.names.iter().find(|(_, run)| **run == only).map(|(id, _)| *id));
        if only.is_some() && id.is_none() {
            return Ok(());
        }
        let mut statement = connection
            .prepare(&format!(
                "SELECT {COLUMNS}, d.pos, d.run FROM decisions d WHERE ?1 IS NULL OR d.run = ?1 ORDER BY d.pos"
            ))
            .map_err(&failed)?;
        let mut rows = statement.query([id]).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(&failed)? {
            let (pos, id): (i64, i64) = (row.get(7).map_err(&failed)?, row.get(8).map_err(&failed)?);
            let run = *self
                .names
                .get(&id)
                .ok_or_else(|| damaged(self.path, 0, format!("decision at {pos} is of no run")))?;
            if only.is_none() && pos != self.last + 1 {
                let what = format!("decision at {pos} follows one at {}: rows are missing", self.last);
                return Err(damaged(self.path, 0, what));
            }
            self.last = pos;
            let (n, hash) = self.heads.get(&run).copied().unwrap_or((Version(0), Digest::ZERO));
            self.row(&row_ref(run, hash, row).map_err(&failed)?, n, id, pos)?;
        }
        Ok(())
    }

    /// Checks a row that is to follow decision `n`.
    fn row(&mut self, row: &RowRef<'_>, n: Version, id: i64, pos: i64) -> Result<(), JournalError> {
        let broken = |broken| fault(self.path, JournalErrorKind::Broken(broken));
        row.copy_to(&mut self.row);
        self.row.check_follows(n, row.prev).map_err(broken)?;
        if let Some(expected) = self.wanted.remove(&(row.run, row.n))
            && expected != row.hash
        {
            let kind = BrokenChainKind::OtherPast { expected, found: row.hash };
            return Err(broken(BrokenChain { run: row.run, n: row.n, kind }));
        }
        self.heads.insert(row.run, (row.n, row.hash));
        if self.all {
            self.places.insert((id, row.n.0.cast_signed()), pos);
        }
        self.decisions += 1;
        self.bytes += row.body.len() as u64;
        Ok(())
    }

    /// Holds `runs`, `stretches` and `indexed` against the decisions.
    fn index(&mut self, connection: &Connection) -> Result<(), JournalError> {
        let path = self.path;
        let failed = database(path, "reading the index");
        let wrong = |what: String| damaged(path, 0, what);
        let marks: Vec<(i64, i64)> =
            collect(connection, "SELECT one, pos FROM indexed", |row| Ok((row.get(0)?, row.get(1)?)))
                .map_err(&failed)?;
        let [(1, indexed)] = marks[..] else {
            return Err(wrong("the mark of the index is wrong".to_owned()));
        };
        if indexed > self.last {
            let what = format!("the index goes up to {indexed}, the decisions only to {}", self.last);
            return Err(wrong(what));
        }
        let stretches: Vec<(i64, i64, i64, i64)> =
            collect(connection, "SELECT run, n, pos, count FROM stretches", |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
            .map_err(&failed)?;
        let mut versions = HashMap::<i64, i64>::new();
        for (run, n, pos, count) in stretches {
            for step in 0..count {
                if pos + step > indexed || self.places.remove(&(run, n + step)) != Some(pos + step) {
                    return Err(wrong(format!("the index of run number {run} is wrong at decision {n}")));
                }
            }
            let version = versions.entry(run).or_default();
            *version = (*version).max(n + count - 1);
        }
        if let Some(((run, n), _)) = self.places.iter().find(|(_, pos)| **pos <= indexed) {
            return Err(wrong(format!("decision {n} of run number {run} is not in the index")));
        }
        self.run_rows(connection, &versions)
    }

    fn run_rows(&self, connection: &Connection, versions: &HashMap<i64, i64>) -> Result<(), JournalError> {
        let failed = database(self.path, "reading the runs");
        let sql = "SELECT r.name, r.version, r.hash, r.created, r.updated, r.summary, r.mark, r.id, s.hash, \
                   s.at, f.at FROM runs r \
                   LEFT JOIN stretches t ON t.run = r.id AND t.n <= r.version AND t.n + t.count > r.version \
                   LEFT JOIN decisions s ON s.pos = t.pos + r.version - t.n \
                   LEFT JOIN stretches u ON u.run = r.id AND u.n = 1 LEFT JOIN decisions f ON f.pos = u.pos";
        type Found = (RunRow, i64, i64, Option<[u8; 32]>, Option<i64>, Option<i64>);
        let rows: Vec<Found> = collect(connection, sql, |row| {
            Ok((RunRow::read(row)?, row.get(6)?, row.get(7)?, row.get(8)?, row.get(9)?, row.get(10)?))
        })
        .map_err(&failed)?;
        for (run, mark, id, last_hash, last_at, first_at) in rows {
            let indexed = versions.get(&id).copied().unwrap_or(0);
            let good = run.mark() == mark
                && run.version == indexed
                && run.hash == last_hash.unwrap_or(Digest::ZERO.0)
                && last_at.is_none_or(|at| at == run.updated)
                && first_at.is_none_or(|at| at == run.created);
            if !good {
                return Err(damaged(self.path, 0, format!("the row of run number {id} is wrong")));
            }
        }
        Ok(())
    }
}

fn empty_row() -> Row {
    Row {
        run: RunId([0; 16]),
        n: Version(0),
        at: Wall(0),
        elapsed: Elapsed(0),
        actor: String::new(),
        cause: String::new(),
        prev: Digest::ZERO,
        hash: Digest::ZERO,
        body: String::new(),
    }
}

fn collect<T>(
    connection: &Connection,
    sql: &str,
    read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare(sql)?.query_map([], read)?.collect()
}

fn names(path: &Path, connection: &Connection) -> Result<HashMap<i64, RunId>, JournalError> {
    let failed = database(path, "reading the runs");
    let names: Vec<(i64, String)> =
        collect(connection, "SELECT id, name FROM runs NOT INDEXED", |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(&failed)?;
    names
        .into_iter()
        .map(|(id, name)| {
            let run: RunId =
                name.parse().map_err(|_| damaged(path, 0, format!("`{name}` is not the id of a run")))?;
            if run.to_string() == name {
                Ok((id, run))
            } else {
                Err(damaged(path, 0, format!("`{name}` is not how the id of a run is written")))
            }
        })
        .collect()
}

/// Lets SQLite look at its pages and indexes, and says where the first fault is.
pub(crate) fn check_file(path: &Path, connection: &Connection) -> Result<(), JournalError> {
    let failed = database(path, "checking the file");
    let found: Vec<String> =
        collect(connection, "PRAGMA integrity_check(1)", |row| row.get(0)).map_err(&failed)?;
    match found.first() {
        Some(answer) if answer != "ok" => {
            let page_size: i64 =
                connection.pragma_query_value(None, "page_size", |row| row.get(0)).map_err(&failed)?;
            let offset = page_of(answer).map_or(0, |page| (page - 1) * page_size.unsigned_abs());
            Err(damaged(path, offset, answer.replace('\n', ": ")))
        }
        _ => Ok(()),
    }
}

/// Reads the number of the page from a text such as `Tree 3 page 7 cell 2: ...`.
fn page_of(answer: &str) -> Option<u64> {
    let mut words = answer.split(|c: char| !c.is_ascii_alphanumeric());
    words.find(|word| word.eq_ignore_ascii_case("page"))?;
    words.next()?.parse().ok().filter(|page| *page > 0)
}

fn check_schema(path: &Path, connection: &Connection) -> Result<(), JournalError> {
    let failed = database(path, "reading the tables");
    let found: Vec<String> =
        collect(connection, "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid", |row| {
            row.get(0)
        })
        .map_err(&failed)?;
    if found == TABLES { Ok(()) } else { Err(damaged(path, 0, "the tables are not those of a journal")) }
}

/// Checks the rows that are not folded into the index: those that were written last.
pub(crate) fn check_tail(path: &Path, connection: &Connection) -> Result<(), JournalError> {
    let failed = database(path, "reading the end of the journal");
    let names = names(path, connection)?;
    let mut heads: HashMap<i64, [u8; 32]> =
        collect(connection, "SELECT id, hash FROM runs", |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(&failed)?
            .into_iter()
            .collect();
    let mut statement = connection
        .prepare(&format!(
            "SELECT {COLUMNS}, d.run FROM decisions d WHERE d.pos > (SELECT pos FROM indexed) ORDER BY d.pos"
        ))
        .map_err(&failed)?;
    let mut rows = statement.query([]).map_err(&failed)?;
    while let Some(row) = rows.next().map_err(&failed)? {
        let id: i64 = row.get(7).map_err(&failed)?;
        let run = *names
            .get(&id)
            .ok_or_else(|| damaged(path, 0, format!("run number {id} has decisions but no name")))?;
        let before = heads.get(&id).copied().map_or(Digest::ZERO, Digest);
        let row = row_ref(run, before, row).map_err(&failed)?.to_row();
        heads.insert(id, row.hash.0);
        if row.seal() != row.hash {
            let broken = BrokenChain { run, n: row.n, kind: BrokenChainKind::Altered };
            return Err(fault(path, JournalErrorKind::Broken(broken)));
        }
    }
    Ok(())
}
