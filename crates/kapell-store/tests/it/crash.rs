//! Processes that die, and processes that share.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::PoisonError,
};

use kapell_core::{id::Digest, journal::Version};
use kapell_engine::port::journal::{
    AppendErrorKind, Journal, JournalError, JournalErrorKind, OwnError, Snapshot,
};
use kapell_store::{Options, Scope, Store};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::common::{ALONE, Chain, append, open, owner, rows, run};

const DIRECTORY: &str = "KAPELL_STORE_TEST_DIRECTORY";
const NUMBER: &str = "KAPELL_STORE_TEST_NUMBER";

/// Starts the test `name` of this binary again, as another process.
fn again(name: &str, directory: &Path, number: u8) -> Child {
    started(Command::new(env::current_exe().unwrap()), name, directory, number)
}

/// The same as a process to which a file that may not grow is an error of a write, and not its end.
fn again_in_bounds(name: &str, directory: &Path) -> Child {
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(env::current_exe().unwrap());
    started(shell, name, directory, 1)
}

fn started(mut command: Command, name: &str, directory: &Path, number: u8) -> Child {
    // Until it has replaced itself, a new process holds copies of all our locks.
    let _alone = ALONE.write().unwrap_or_else(PoisonError::into_inner);
    command
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .env(NUMBER, number.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The directory and number if this process was started by [`again`].
fn other_process() -> Option<(std::path::PathBuf, u8)> {
    Some((env::var_os(DIRECTORY)?.into(), env::var(NUMBER).ok()?.parse().ok()?))
}

fn continued(store: &Store, number: u8) -> Chain {
    let mut chain = Chain::new(number);
    if let Some(head) = store.head(chain.run).unwrap() {
        (chain.n, chain.hash) = (head.version, head.hash);
    }
    chain
}

#[expect(clippy::print_stdout, reason = "the parent reads it")]
fn append_for_ever(directory: &Path, number: u8) -> ! {
    let store = open(directory);
    let _claim = store.own(run(number), owner(std::process::id())).unwrap();
    let mut chain = continued(&store, number);
    loop {
        append(&store, chain.next(1 + chain.n.0 % 3)).unwrap();
        println!("acked {} {}", chain.n, chain.hash);
    }
}

fn acked(line: &str) -> Option<(Version, Digest)> {
    let (n, hash) = line.split_once("acked ")?.1.split_once(' ')?;
    Some((Version(n.parse().ok()?), hash.parse().ok()?))
}

#[test]
fn what_was_acked_survives_kill_9() {
    if let Some((directory, number)) = other_process() {
        append_for_ever(&directory, number);
    }
    let dir = tempfile::tempdir().unwrap();
    for round in 0..25 {
        let mut child = again("crash::what_was_acked_survives_kill_9", dir.path(), 1);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let wanted = 1 + round * 7 % 23;
        let mut last = None;
        for line in lines.map_while(Result::ok).filter_map(|line| acked(&line)).take(wanted) {
            last = Some(line);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let (n, hash) = last.unwrap();
        let store = open(dir.path());
        assert_eq!(store.owner(run(1)).unwrap(), None);
        let all = rows(&store, run(1), 0);
        assert!(all.len() as u64 >= n.0);
        assert_eq!(all[usize::try_from(n.0).unwrap() - 1].hash, hash);
        store.verify(Scope::All, &[]).unwrap();
        // Sometimes nobody tidies up in between.
        if round % 3 == 0 {
            std::mem::forget(store);
        }
    }
}

#[test]
fn processes_append_side_by_side_and_own_different_runs() {
    if let Some((directory, number)) = other_process() {
        append_for_ever(&directory, number);
    }
    let dir = tempfile::tempdir().unwrap();
    let name = "crash::processes_append_side_by_side_and_own_different_runs";
    let mut children: Vec<_> = (1..=2).map(|number| again(name, dir.path(), number)).collect();
    let store = open(dir.path());
    let mut mine = Chain::new(9);
    // The pipes stay open: a child that cannot say what was acked would die of it.
    let mut pipes = Vec::new();
    for child in &mut children {
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = lines.by_ref().map_while(Result::ok).filter_map(|line| acked(&line));
        assert_eq!(told.take(20).count(), 20);
        append(&store, mine.next(2)).unwrap();
        pipes.push(lines);
    }
    for (number, child) in [1, 2].into_iter().zip(&children) {
        match store.own(run(number), owner(1)) {
            Err(OwnError::Held(holder)) => assert_eq!(holder, owner(child.id())),
            other => panic!("{other:?}"),
        }
    }
    for mut child in children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(store.own(run(1), owner(1)).is_ok());
    let report = store.verify(Scope::All, &[]).unwrap();
    assert_eq!(report.heads.len(), 3);
    for number in [1, 2, 9] {
        let chain = continued(&store, number);
        assert_eq!(rows(&store, chain.run, 0).len() as u64, chain.n.0);
    }
    drop(store);
    assert!(!dir.path().join("journal.sqlite-wal").exists());
}

#[test]
fn a_writer_that_never_ends_makes_others_give_up_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { busy: std::time::Duration::from_millis(30), ..Options::default() };
    let store = Store::open_with(dir.path(), options).unwrap().0;
    let mut chain = Chain::new(1);
    append(&store, chain.next(1)).unwrap();
    let other = rusqlite::Connection::open(dir.path().join("journal.sqlite")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let before = chain;
    match append(&store, chain.next(1)) {
        Err(AppendErrorKind::Journal(error)) => assert!(matches!(error.kind, JournalErrorKind::Busy)),
        other => panic!("{other:?}"),
    }
    // Reading goes on, and so does writing, when the other is through.
    assert_eq!(rows(&store, chain.run, 0).len(), 1);
    assert!(matches!(store.fold().unwrap_err().kind, JournalErrorKind::Busy));
    other.execute_batch("ROLLBACK").unwrap();
    chain = before;
    store.reopen(chain.run);
    append(&store, chain.next(1)).unwrap();
    store.verify(Scope::All, &[]).unwrap();
}

/// No file of this process may grow beyond so many bytes.
fn bound(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: bytes.or(maximum), maximum }).unwrap();
}

fn is_refused_by_the_system(error: &JournalError) -> bool {
    matches!(error.kind, JournalErrorKind::Io { .. } | JournalErrorKind::Full)
}

/// Appends until the disk takes no more, and goes on when it does again.
fn append_to_a_disk_that_refuses(directory: &Path) {
    let store = open(directory);
    let (mut chain, mut other) = (Chain::new(1), Chain::new(2));
    for round in 0..4 {
        append(&store, chain.next(2)).unwrap();
        append(&store, other.next(1)).unwrap();
        let log = fs::metadata(directory.join("journal.sqlite-wal")).unwrap().len();
        bound(Some(log + round * 700));
        let error = loop {
            let mut next = chain;
            match append(&store, next.next(1)) {
                Ok(()) => chain = next,
                Err(error) => break error,
            }
        };
        assert!(
            matches!(&error, AppendErrorKind::Journal(error) if is_refused_by_the_system(error)),
            "{error:?}"
        );
        // Nothing may follow what is not there, and what was acknowledged can be read.
        assert!(matches!(append(&store, { chain }.next(1)), Err(AppendErrorKind::Poisoned)));
        assert_eq!(rows(&store, chain.run, 0).len() as u64, chain.n.0);
        let large = vec![7; usize::try_from(log).unwrap() + 10_000];
        assert!(is_refused_by_the_system(&store.keep(&large).unwrap_err()));
        let snapshot = Snapshot { n: chain.n, hash: chain.hash, fold: 1, bytes: large.clone() };
        assert!(is_refused_by_the_system(&store.keep_snapshot(chain.run, snapshot.clone()).unwrap_err()));
        bound(None);
        store.reopen(chain.run);
        append(&store, chain.next(1)).unwrap();
        let digest = store.keep(&large).unwrap();
        assert_eq!(store.kept(digest).unwrap().unwrap(), large);
        store.keep_snapshot(chain.run, snapshot.clone()).unwrap();
        assert_eq!(store.snapshot(chain.run).unwrap(), Some(snapshot));
        store.verify(Scope::All, &[]).unwrap();
    }
    let left = ["artifacts", "snapshots"].map(|name| directory.join(name)).into_iter().flat_map(|path| {
        fs::read_dir(path)
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("tmp-"))
    });
    assert_eq!(left.count(), 0);
}

#[test]
fn a_disk_that_takes_no_more_costs_nothing_that_was_acked() {
    if let Some((directory, _)) = other_process() {
        return append_to_a_disk_that_refuses(&directory);
    }
    let dir = tempfile::tempdir().unwrap();
    let name = "crash::a_disk_that_takes_no_more_costs_nothing_that_was_acked";
    let output = again_in_bounds(name, dir.path()).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let store = open(dir.path());
    let report = store.verify(Scope::All, &[]).unwrap();
    assert!(report.decisions >= 16, "{report:?}");
}

#[test]
fn a_lock_that_somebody_keeps_is_waited_for_and_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { busy: std::time::Duration::from_millis(30), ..Options::default() };
    let store = Store::open_with(dir.path(), options).unwrap().0;
    let is_busy = |error: &JournalError| matches!(error.kind, JournalErrorKind::Busy);
    store.own(run(1), owner(1)).unwrap();
    let mutex = fs::File::open(dir.path().join("owners/mutex")).unwrap();
    mutex.lock().unwrap();
    match store.own(run(2), owner(1)) {
        Err(OwnError::Journal(error)) => assert!(is_busy(&error), "{error}"),
        other => panic!("{other:?}"),
    }
    assert!(is_busy(&store.owner(run(2)).unwrap_err()));
    drop(mutex);
    store.own(run(2), owner(1)).unwrap();
    drop(store);
    let lock = fs::File::open(dir.path().join("lock")).unwrap();
    lock.lock().unwrap();
    let error = Store::open_with(dir.path(), options).unwrap_err();
    assert!(is_busy(&error), "{error}");
    drop(lock);
    open(dir.path());
}

#[test]
fn an_open_reader_does_not_hold_a_writer_up() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut chain = Chain::new(1);
    append(&store, chain.next(5)).unwrap();
    let mut seen = 0;
    store
        .read(chain.run, Version(0), &mut |_| {
            seen += 1;
            append(&store, chain.next(1)).unwrap();
            true
        })
        .unwrap();
    // It sees the journal as it was when it began.
    assert_eq!(seen, 5);
    assert_eq!(rows(&store, chain.run, 0).len(), 10);
}

#[test]
fn what_unfinished_writes_left_is_swept_by_the_next_who_is_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.keep(b"x").unwrap();
    let left = dir.path().join("artifacts").join("tmp-1-1");
    fs::write(&left, "half").unwrap();
    drop(open(dir.path()));
    assert!(left.exists());
    drop(store);
    drop(open(dir.path()));
    assert!(!left.exists());
}

#[test]
fn a_long_tail_that_a_crash_has_left_is_folded_on_opening() {
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut chain = Chain::new(1);
    append(&store, chain.next(600)).unwrap();
    // What is on the disk now is what a crash would leave.
    for name in ["journal.sqlite", "journal.sqlite-wal"] {
        fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
    }
    let alone = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    let other = open(copy.path());
    drop(alone);
    let sqlite = rusqlite::Connection::open(copy.path().join("journal.sqlite")).unwrap();
    let indexed: i64 = sqlite.query_row("SELECT pos FROM indexed", [], |row| row.get(0)).unwrap();
    assert_eq!(indexed, 600);
    other.verify(Scope::All, &[]).unwrap();
}
