//! Processes that die, and processes that share.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::PoisonError,
};

use kapell_core::{id::Digest, journal::Version};
use kapell_engine::port::journal::{AppendErrorKind, Journal, JournalErrorKind, OwnError};
use kapell_store::{Options, Scope, Store};

use crate::common::{ALONE, Chain, append, open, owner, rows, run};

const DIRECTORY: &str = "KAPELL_STORE_TEST_DIRECTORY";
const NUMBER: &str = "KAPELL_STORE_TEST_NUMBER";

/// Starts the test `name` of this binary again, as another process.
fn again(name: &str, directory: &Path, number: u8) -> Child {
    // Until it has replaced itself, a new process holds copies of all our locks.
    let _alone = ALONE.write().unwrap_or_else(PoisonError::into_inner);
    Command::new(env::current_exe().unwrap())
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
