//! Bytes that are not what was written: each is found, or changes nothing that can be read.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    sync::PoisonError,
    thread,
};

use kapell_core::{id::Digest, journal::Version};
use kapell_engine::port::journal::{Journal, JournalError, JournalErrorKind, RunHead};
use kapell_store::{Expected, Options, Scope, Store, hint};

use crate::common::{ALONE, Chain, append, open, run};

const PAGE: usize = 512;
const FRAME: usize = 24 + PAGE;

fn small(directory: &Path) -> Store {
    Store::open_with(directory, Options { page_size: PAGE as u32, ..Options::default() }).unwrap().0
}

/// A directory in memory where there is one: these tests open thousands of stores.
fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// The files of a small journal, and what can be read from it.
struct Sample {
    main: Vec<u8>,
    log: Vec<u8>,
    /// How many zeros stood behind the log.
    zeros: usize,
    expected: Vec<Expected>,
    readable: Readable,
}

#[derive(Debug, PartialEq)]
struct Readable {
    export: Vec<u8>,
    runs: Vec<RunHead>,
    events: Vec<String>,
}

fn readable(store: &Store) -> Result<Readable, String> {
    let mut export = Vec::new();
    store.export(&[], &[], &mut export).map_err(|error| error.to_string())?;
    let runs = store.runs().map_err(|error| error.to_string())?;
    let events = events(&store.directory().join("journal.sqlite")).map_err(|error| error.to_string())?;
    Ok(Readable { export, runs, events })
}

fn events(path: &Path) -> rusqlite::Result<Vec<String>> {
    let connection = rusqlite::Connection::open(path)?;
    let mut statement =
        connection.prepare("SELECT run, n, i, at, actor, cause, type, payload FROM events")?;
    let rows = statement.query_map([], |row| {
        let mut line = String::new();
        for column in 0..8 {
            line.push_str(&format!("{:?} ", row.get_ref(column)?));
        }
        Ok(line)
    })?;
    rows.collect()
}

impl Sample {
    /// If `closed`, all is in the main file; otherwise in the log.
    fn new(closed: bool) -> Self {
        let dir = directory();
        let store = small(dir.path());
        let mut chains = [Chain::new(1), Chain::new(2)];
        for round in 0..3 {
            let mut next = chains[0].next(2);
            next.summary = Some(format!("round {round}").into());
            append(&store, next).unwrap();
            append(&store, chains[1].next(1)).unwrap();
        }
        let store = if closed {
            drop(store);
            small(dir.path())
        } else {
            store.fold().unwrap();
            append(&store, chains[1].next(1)).unwrap();
            store
        };
        let main = fs::read(dir.path().join("journal.sqlite")).unwrap();
        let mut log = fs::read(dir.path().join("journal.sqlite-wal")).unwrap_or_default();
        assert_eq!(log.is_empty(), closed);
        // The writer has lengthened it by zeros, which say nothing wherever they are changed.
        let written = log.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let frames = written.saturating_sub(32).div_ceil(FRAME);
        let zeros = log.split_off(if closed { 0 } else { 32 + frames * FRAME }).len();
        let expected =
            chains.iter().map(|chain| Expected { run: chain.run, n: chain.n, hash: chain.hash }).collect();
        Self { main, log, zeros, expected, readable: readable(&store).unwrap() }
    }

    /// Says what is found when these are the files; `None` if all that can be read is as it was.
    fn look(&self, directory: &Path, main: &[u8], log: &[u8]) -> Option<String> {
        let path = directory.join("journal.sqlite");
        for suffix in ["-wal", "-shm", "-journal"] {
            let _ = fs::remove_file(directory.join(format!("journal.sqlite{suffix}")));
        }
        fs::write(&path, main).unwrap();
        if !log.is_empty() {
            fs::write(directory.join("journal.sqlite-wal"), log).unwrap();
        }
        let alone = ALONE.read().unwrap_or_else(PoisonError::into_inner);
        let looked = Store::open(directory);
        drop(alone);
        let (store, opened) = match looked {
            Ok(opened) => opened,
            Err(error) => return Some(error.to_string()),
        };
        if opened.torn_frames > 0 || opened.torn_bytes > 0 {
            return Some(format!("torn: {opened:?}"));
        }
        if let Err(error) = store.verify(Scope::All, &self.expected) {
            return Some(error.to_string());
        }
        match readable(&store) {
            Err(error) => Some(error),
            Ok(readable) => {
                assert_eq!(readable.runs, self.readable.runs);
                assert!(readable == self.readable, "something else can be read");
                None
            }
        }
    }

    /// Looks at each of `cases` on two threads; returns how many were found.
    fn each(&self, cases: usize, files: impl Fn(usize) -> (Vec<u8>, Vec<u8>) + Sync) -> usize {
        thread::scope(|scope| {
            let halves = [0, 1].map(|half| {
                let files = &files;
                scope.spawn(move || {
                    let dir = directory();
                    let cases = (half..cases).step_by(2);
                    cases
                        .filter(|case| {
                            let (main, log) = files(*case);
                            self.look(dir.path(), &main, &log).is_some()
                        })
                        .count()
                })
            });
            halves.into_iter().map(|half| half.join().unwrap()).sum()
        })
    }
}

fn flip(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1 << (at * 5 % 8);
    bytes
}

#[test]
fn the_whole_journal_has_nothing_to_be_found() {
    for closed in [true, false] {
        let sample = Sample::new(closed);
        let dir = directory();
        assert_eq!(sample.look(dir.path(), &sample.main, &sample.log), None);
        if !closed {
            assert!(sample.zeros > 1000);
            for zeros in [1, 20, 32, FRAME, sample.zeros] {
                let log = [&sample.log[..], &vec![0; zeros]].concat();
                assert_eq!(sample.look(dir.path(), &sample.main, &log), None);
            }
        }
    }
}

#[test]
fn every_flipped_byte_of_the_main_file_is_found_or_changes_nothing() {
    let sample = Sample::new(true);
    let found = sample.each(sample.main.len(), |at| (flip(&sample.main, at), Vec::new()));
    assert!(found > sample.main.len() / 3, "{found} of {}", sample.main.len());
}

#[test]
fn every_flipped_byte_of_the_log_is_found() {
    let sample = Sample::new(false);
    let found = sample.each(sample.log.len(), |at| (sample.main.clone(), flip(&sample.log, at)));
    // The sequence number of the log's checkpoint is covered by its checksum, too: not one byte is free.
    assert_eq!(found, sample.log.len());
}

#[test]
fn every_truncation_is_found() {
    let sample = Sample::new(true);
    let found = sample.each(sample.main.len(), |at| (sample.main[..at].to_vec(), Vec::new()));
    assert_eq!(found, sample.main.len());
    // A log that ends early is what a crash leaves; only who knows the head can tell that more was there.
    let sample = Sample::new(false);
    let found = sample.each(sample.log.len(), |at| (sample.main.clone(), sample.log[..at].to_vec()));
    assert_eq!(found, sample.log.len());
}

#[test]
fn damage_in_the_middle_of_the_log_is_refused_with_its_place() {
    let sample = Sample::new(false);
    let frames = (sample.log.len() - 32) / FRAME;
    let dir = directory();
    for frame in 0..frames - 6 {
        let at = 32 + frame * FRAME;
        fs::write(dir.path().join("journal.sqlite"), &sample.main).unwrap();
        fs::write(dir.path().join("journal.sqlite-wal"), flip(&sample.log, at + 100)).unwrap();
        let error = Store::open(dir.path()).unwrap_err();
        match &error.kind {
            JournalErrorKind::Damaged { offset, .. } => assert_eq!(*offset, at as u64),
            other => panic!("{other:?}"),
        }
        assert!(error.path.ends_with("journal.sqlite-wal"));
        assert!(hint(&error.kind).is_some());
        // Refused is not changed.
        let log = fs::read(dir.path().join("journal.sqlite-wal")).unwrap();
        assert_eq!(log, flip(&sample.log, at + 100));
    }
}

#[test]
fn a_torn_tail_is_cut_off_and_counted() {
    let sample = Sample::new(false);
    let dir = directory();
    let whole = sample.log.len();
    // The number of its page is the least by which a frame is known to have been begun.
    for cut in [1, 100, FRAME - 4] {
        fs::write(dir.path().join("journal.sqlite"), &sample.main).unwrap();
        fs::write(dir.path().join("journal.sqlite-wal"), &sample.log[..whole - cut]).unwrap();
        let alone = ALONE.read().unwrap_or_else(PoisonError::into_inner);
        let (store, opened) = Store::open(dir.path()).unwrap();
        drop(alone);
        assert!(opened.torn_frames >= 1, "{opened:?}");
        assert!(opened.torn_bytes >= (FRAME - cut) as u64, "{opened:?}");
        store.verify(Scope::All, &[]).unwrap();
        let head = store.head(run(2)).unwrap().unwrap();
        assert_eq!(head.version, Version(3));
        let missing = store.verify(Scope::All, &sample.expected).unwrap_err().to_string();
        assert!(missing.contains("ends with decision 3, but decision 4 was recorded"), "{missing}");
    }
}

#[test]
fn another_past_than_the_expected_one_is_found() {
    let dir = directory();
    let store = open(dir.path());
    let mut chain = Chain::new(1);
    append(&store, chain.next(3)).unwrap();
    let expected = Expected { run: chain.run, n: Version(2), hash: Digest::of(b"other") };
    let error = store.verify(Scope::Run(chain.run), &[expected]).unwrap_err();
    assert!(matches!(error.kind, JournalErrorKind::Broken(_)), "{error}");
    let good = Expected { run: chain.run, n: chain.n, hash: chain.hash };
    let report = store.verify(Scope::Run(chain.run), &[good]).unwrap();
    assert_eq!((report.decisions, report.heads.len()), (3, 1));
    assert_eq!(store.verify(Scope::Run(run(5)), &[]).unwrap().decisions, 0);
    store.check().unwrap();
}

fn refused(directory: &Path) -> JournalError {
    let options = Options { busy: std::time::Duration::from_millis(50), ..Options::default() };
    Store::open_with(directory, options).unwrap_err()
}

#[test]
fn what_is_no_journal_is_refused_in_words() {
    let dir = directory();
    let path = dir.path().join("journal.sqlite");
    let mut cases = Vec::new();

    fs::write(&path, "").unwrap();
    cases.push(("the journal is empty", refused(dir.path())));
    fs::write(&path, "this is a letter to my aunt\n".repeat(200)).unwrap();
    cases.push(("file is not a database", refused(dir.path())));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    cases.push(("it is not a regular file", refused(dir.path())));
    fs::remove_dir(&path).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    cases.push(("it is not a regular file", refused(dir.path())));
    fs::remove_file(&path).unwrap();
    symlink("/nowhere", &path).unwrap();
    cases.push(("it is not a regular file", refused(dir.path())));
    fs::remove_file(&path).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE t(x); PRAGMA journal_mode=WAL;").unwrap();
    drop(other);
    cases.push(("this is not a kapell journal", refused(dir.path())));
    fs::remove_file(&path).unwrap();
    fs::write(dir.path().join("journal.sqlite-wal"), "x").unwrap();
    cases.push(("the journal that it belongs to is gone", refused(dir.path())));
    fs::remove_file(dir.path().join("journal.sqlite-wal")).unwrap();

    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    cases.push(("opening the store", refused(&file)));
    for (what, error) in cases {
        assert!(error.to_string().contains(what), "{what}: {error}");
        assert!(error.path.starts_with(dir.path().to_str().unwrap()), "{error}");
    }
}

#[test]
fn a_newer_format_is_refused_with_both_numbers() {
    let dir = directory();
    drop(open(dir.path()));
    let pragma = |text: &str| {
        let connection = rusqlite::Connection::open(dir.path().join("journal.sqlite")).unwrap();
        connection.execute_batch(text).unwrap();
    };
    pragma("PRAGMA user_version=7");
    let error = refused(dir.path());
    assert!(matches!(error.kind, JournalErrorKind::FormatTooNew { found: 7, known: 2 }), "{error}");
    assert!(hint(&error.kind).is_some());
    pragma("PRAGMA user_version=0");
    assert!(refused(dir.path()).to_string().contains("format version is missing"));
    pragma("PRAGMA user_version=2; PRAGMA journal_mode=DELETE");
    assert!(refused(dir.path()).to_string().contains("not in write-ahead mode"));
}

#[test]
fn a_journal_that_may_not_be_written_is_refused() {
    let dir = directory();
    drop(open(dir.path()));
    let lock = dir.path().join("lock");
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    let error = refused(dir.path());
    assert!(error.to_string().contains("locking the store"), "{error}");
    fs::remove_dir(&lock).unwrap();
    // The administrator may write everything.
    if !rustix::process::geteuid().is_root() {
        fs::set_permissions(dir.path().join("journal.sqlite"), fs::Permissions::from_mode(0o000)).unwrap();
        let error = refused(dir.path());
        assert!(matches!(error.kind, JournalErrorKind::Io { .. }), "{error}");
    }
}

#[test]
fn tables_that_say_something_else_than_the_decisions_are_found() {
    let changes = [
        ("UPDATE runs SET version = 2 WHERE id = 1", "the row of run number 1"),
        ("UPDATE runs SET hash = zeroblob(32) WHERE id = 2", "the row of run number 2"),
        ("UPDATE runs SET updated = 5 WHERE id = 2", "the row of run number 2"),
        ("UPDATE runs SET created = 5 WHERE id = 2", "the row of run number 2"),
        ("UPDATE runs SET name = 'me' WHERE id = 2", "is not the id of a run"),
        ("UPDATE runs SET name = upper(name) WHERE id = 2", "is not how the id of a run is written"),
        ("DELETE FROM runs WHERE id = 2", "is of no run"),
        ("UPDATE stretches SET pos = pos + 1 WHERE run = 1 AND n = 1", "the index of run number 1"),
        ("DELETE FROM stretches WHERE run = 2 AND n = 2", "is not in the index"),
        ("INSERT INTO stretches VALUES(3, 1, 2, 1)", "the index of run number 3"),
        ("UPDATE indexed SET pos = 99", "the index goes up to 99"),
        ("DELETE FROM indexed", "the mark of the index"),
        ("DELETE FROM decisions WHERE pos = 4", "rows are missing"),
        ("DELETE FROM decisions WHERE pos = 9", "the index goes up to 9"),
        ("UPDATE decisions SET body = body || ' ' WHERE pos = 5", "its content does not have its hash"),
        ("UPDATE decisions SET at = at + 1 WHERE pos = 5", "its content does not have its hash"),
        ("UPDATE decisions SET run = 2 WHERE pos = 1", "its content does not have its hash"),
        ("UPDATE runs SET summary = 'done' WHERE id = 1", "the row of run number 1"),
        ("UPDATE decisions SET hash = x'00' WHERE pos = 1", ""),
        ("CREATE TABLE extra(x)", "the tables are not those of a journal"),
        ("DROP VIEW events", "the tables are not those of a journal"),
    ];
    let sample = Sample::new(true);
    for (change, what) in changes {
        let dir = directory();
        let path = dir.path().join("journal.sqlite");
        fs::write(&path, &sample.main).unwrap();
        rusqlite::Connection::open(&path).unwrap().execute_batch(change).unwrap();
        let store = open(dir.path());
        let error = store.verify(Scope::All, &[]).expect_err(change).to_string();
        assert!(error.contains(what), "{change}: {error}");
    }
}
