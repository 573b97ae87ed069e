//! The tables of a journal, the marks that say it is one, and how a connection to it is set up.
//!
//! The layout is described for people in `docs/journal-format.md`.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path, thread, time::Duration};

use kapell_engine::port::journal::{JournalError, JournalErrorKind};
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use crate::{
    fault::{self, damaged, database, fault},
    wal,
};

/// The format that this program writes, kept in `PRAGMA user_version`.
pub const FORMAT: u32 = 2;

/// The mark of a kapell journal, kept in `PRAGMA application_id`: the letters `kapl`.
pub(crate) const APPLICATION: i32 = 0x6b61_706c;

/// How often a connection asks for a lock that another process holds: in steps of 0.2 ms, 1 ms, then 5 ms.
///
/// SQLite's own handler waits up to 100 ms a step, which a commit of another process is long through with.
fn wait_for_lock(polls: i32, limit: Duration) -> bool {
    let (step, passed) = match u32::try_from(polls).unwrap_or(0) {
        polls @ 0..50 => (Duration::from_micros(200), Duration::from_micros(200) * polls),
        polls @ 50..250 => (Duration::from_millis(1), Duration::from_millis(u64::from(polls - 40))),
        polls => (Duration::from_millis(5), Duration::from_millis(u64::from(polls - 250) * 5 + 210)),
    };
    if passed < limit {
        thread::sleep(step);
    }
    passed < limit
}

/// Everything that `sqlite_schema` of format 2 holds, statement by statement, as written.
pub(crate) const TABLES: [&str; 5] = [
    // One row is one run. `version`, `hash`, `updated` and `summary` are what it was at `indexed.pos`, and `mark`
    // is a checksum of the row, because no chain covers the summary.
    "CREATE TABLE runs(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, version INTEGER NOT NULL, \
     hash BLOB NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL, summary TEXT, mark INTEGER NOT NULL) STRICT",
    // One row is one decision. `body` is last, so that a scan of the others need not touch overflow pages. The hash
    // of the row before is part of what `hash` is of, and stands in that row only.
    "CREATE TABLE decisions(pos INTEGER PRIMARY KEY, run INTEGER NOT NULL, n INTEGER NOT NULL, \
     at INTEGER NOT NULL, elapsed INTEGER NOT NULL, actor TEXT NOT NULL, cause TEXT NOT NULL, \
     hash BLOB NOT NULL, body TEXT NOT NULL) STRICT",
    // One row says: decisions n .. n+count-1 of `run` stand at pos .. pos+count-1.
    "CREATE TABLE stretches(run INTEGER NOT NULL, n INTEGER NOT NULL, pos INTEGER NOT NULL, \
     count INTEGER NOT NULL, PRIMARY KEY(run, n)) STRICT, WITHOUT ROWID",
    // Its one row says up to which `pos` the tables `runs` and `stretches` go.
    "CREATE TABLE indexed(one INTEGER PRIMARY KEY CHECK(one = 1), pos INTEGER NOT NULL) STRICT",
    "CREATE VIEW events AS SELECT d.pos, r.name AS run, d.n, e.key AS i, \
     strftime('%Y-%m-%dT%H:%M:%fZ', d.at / 1000.0, 'unixepoch') AS at, d.elapsed, d.actor, d.cause, \
     t.key AS type, t.value AS payload \
     FROM decisions d JOIN runs r ON r.id = d.run, json_each(d.body) e, \
     json_each(CASE e.type WHEN 'object' THEN e.value ELSE json_object(e.atom, NULL) END) t",
];

/// Writes a new, empty journal to `path`, which must not exist, durable when this returns.
pub(crate) fn create(path: &Path, page_size: u32) -> Result<(), JournalError> {
    let failed = database(path, "creating the journal");
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags).map_err(&failed)?;
    let mut script = format!("PRAGMA page_size={page_size}; PRAGMA synchronous=FULL; BEGIN IMMEDIATE;\n");
    for table in TABLES {
        script.push_str(table);
        script.push_str(";\n");
    }
    script.push_str("INSERT INTO indexed(one, pos) VALUES(1, 0);\n");
    script.push_str(&format!("PRAGMA application_id={APPLICATION}; PRAGMA user_version={FORMAT}; COMMIT;"));
    connection.execute_batch(&script).map_err(&failed)?;
    // The mark of write-ahead mode is written the old way, and nothing goes through the log after it.
    let mode: String =
        connection.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0)).map_err(&failed)?;
    connection.close().map_err(|(_, error)| failed(error))?;
    // SQLite does not say whether its work on closing succeeded.
    let failed = fault::io(path, "creating the journal");
    if mode != "wal" {
        return Err(failed(io::Error::other("write-ahead mode cannot be had here")));
    }
    if wal::path_of(path).exists() {
        return Err(failed(io::Error::other("its write-ahead log is still there")));
    }
    let file = File::open(path).map_err(&failed)?;
    check_new(&file).and_then(|()| file.sync_all()).map_err(failed)
}

/// Looks whether a journal that was just made says that it is in write-ahead mode.
///
/// If a sync fails in between, SQLite takes that mark back while it closes, and says nothing.
fn check_new(file: &File) -> io::Result<()> {
    let mut header = [0; 20];
    file.read_exact_at(&mut header, 0)?;
    match header[18..] {
        [2, 2] => Ok(()),
        _ => Err(io::Error::other("the mark of write-ahead mode was not kept")),
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Reading only.
    Read,
    /// Appending.
    Write,
}

/// Opens a connection to the journal at `path`, which must exist.
pub(crate) fn connect(path: &Path, access: Access, busy: Duration) -> Result<Connection, JournalError> {
    let failed = database(path, "opening the journal");
    // Readers, too, need the right to write: they share the index of the write-ahead log.
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let mut connection = Connection::open_with_flags(path, flags).map_err(&failed)?;
    // SQLite falls back to reading only, and keeps to it for all connections of the process.
    if connection.is_readonly("main").map_err(&failed)? {
        let error = io::Error::from(io::ErrorKind::ReadOnlyFilesystem);
        return Err(fault::io(path, "opening the journal")(error));
    }
    connection.busy_handler(Some(move |polls| wait_for_lock(polls, busy))).map_err(&failed)?;
    // Checkpoints are made by the writer after its acks, not by whoever commits.
    connection
        .execute_batch(match access {
            Access::Write => {
                "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; PRAGMA journal_size_limit=18874368;"
            }
            Access::Read => "PRAGMA query_only=1;",
        })
        .map_err(&failed)?;
    Ok(connection)
}

/// Checks that what a connection is to is a journal of a format that this program knows, and returns the format.
pub(crate) fn check_marks(connection: &Connection, path: &Path) -> Result<u32, JournalError> {
    let failed = database(path, "reading the journal's header");
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let application = number("application_id").map_err(&failed)?;
    if application != i64::from(APPLICATION) {
        return Err(damaged(path, 68, "this is not a kapell journal"));
    }
    let found = number("user_version").map_err(&failed)?;
    let found = u32::try_from(found).unwrap_or(u32::MAX);
    if found > FORMAT {
        return Err(fault(path, JournalErrorKind::FormatTooNew { found, known: FORMAT }));
    }
    if found == 0 {
        return Err(damaged(path, 60, "the format version is missing"));
    }
    let mode: String =
        connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).map_err(&failed)?;
    if mode != "wal" {
        return Err(damaged(path, 18, "the journal is not in write-ahead mode"));
    }
    Ok(found)
}

/// Brings a journal of format 1 to this one, in one transaction that is durable when this returns.
///
/// Format 1 kept the hash of the row before in each row, too. That it is that hash is checked before it is dropped:
/// it is what a changed row would be found by.
pub(crate) fn upgrade(path: &Path, busy: Duration) -> Result<(), JournalError> {
    let failed = database(path, UPGRADING);
    let connection = connect(path, Access::Write, busy)?;
    // Dropping the connection rolls back.
    connection.execute_batch("BEGIN IMMEDIATE").map_err(&failed)?;
    let broken: Option<(i64, i64)> = connection
        .query_row(
            "SELECT pos, n FROM (SELECT pos, n, prev, lag(hash, 1, zeroblob(32)) OVER (PARTITION BY run ORDER BY n) \
             AS before FROM decisions) WHERE prev IS NOT before LIMIT 1",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()
        .map_err(&failed)?;
    if let Some((pos, n)) = broken {
        let what = format!("decision {n} of its run, at {pos}, does not follow the one before it");
        return Err(damaged(path, 0, what));
    }
    connection
        .execute_batch(&format!(
            "ALTER TABLE decisions DROP COLUMN prev; PRAGMA user_version={FORMAT}; COMMIT; \
             PRAGMA wal_checkpoint(TRUNCATE);"
        ))
        .map_err(failed)
}

/// Refuses a journal that would have to be brought to another format while somebody uses it in its own.
pub(crate) fn in_use(path: &Path, found: u32) -> JournalError {
    let message = format!("an older kapell has it open, in format {found}: wait until that has ended");
    fault(path, JournalErrorKind::Database { what: UPGRADING, message })
}

const UPGRADING: &str = "bringing the journal to the format of this program";

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::*;

    #[test]
    fn a_new_journal_without_its_mark_is_not_taken_into_use() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        create(&path, 4096).unwrap();
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        check_new(&file).unwrap();
        // What SQLite leaves behind after a sync that failed: the marks of a rollback journal.
        for place in [18, 19] {
            file.write_all_at(&[1], place).unwrap();
            let error = check_new(&file).unwrap_err();
            assert_eq!(error.to_string(), "the mark of write-ahead mode was not kept");
            file.write_all_at(&[2], place).unwrap();
        }
        check_new(&file).unwrap();
        file.set_len(19).unwrap();
        assert_eq!(check_new(&file).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_journal_without_its_mark_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        create(&path, 4096).unwrap();
        let connection = connect(&path, Access::Write, Duration::ZERO).unwrap();
        check_marks(&connection, &path).unwrap();
        drop(connection);
        let plain = Connection::open(&path).unwrap();
        let mode: String = plain.query_row("PRAGMA journal_mode=DELETE", [], |row| row.get(0)).unwrap();
        assert_eq!(mode, "delete");
        let error = check_marks(&plain, &path).unwrap_err().to_string();
        assert!(error.ends_with("damaged at byte 18: the journal is not in write-ahead mode"), "{error}");
    }
}
