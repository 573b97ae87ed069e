//! One journal of every released format is kept, and read for ever.
//!
//! To add one: bump the format, then run this test with `KAPELL_BLESS_GOLDEN=1` and pin the new digests.

use std::{env, fs, fs::File, path::PathBuf, sync::PoisonError, time::Duration};

use kapell_core::id::Digest;
use kapell_engine::port::journal::Journal;
use kapell_store::{Expected, FORMAT, Options, Scope, Store};

use crate::common::{ALONE, Chain, append, open, rows};

/// The format, the BLAKE3 hash of the journal, and that of its export.
const KEPT: [(u32, &str, &str); 2] = [
    (
        1,
        "c26f3175e612cf16bff6bfdbdb1ecd6f66345ed7d8db543df5e22da13be3baa0",
        "1d729f809b5e72d8a0700d6d2584f694df3d786d9741c76a4bdd12fed92b33fb",
    ),
    (
        2,
        "10e7791e4dfdd8707ae21f519b1c518fd4f2de966693f45cacc8c894aa85209b",
        "1d729f809b5e72d8a0700d6d2584f694df3d786d9741c76a4bdd12fed92b33fb",
    ),
];

fn kept(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Makes the journal that is kept: several runs taking turns, folded and not, with and without summaries, bodies
/// that are empty, long, and not of one line an event.
fn make(store: &Store) -> Vec<Expected> {
    let mut chains = [1, 2, 3].map(Chain::new);
    for round in 0..4_u64 {
        for (number, chain) in chains.iter_mut().enumerate() {
            let before = *chain;
            let mut next = chain.next(1 + round % 2);
            if number > 0 {
                next.summary = Some(format!("round {round} of run {number}").into());
            }
            let bodies =
                ["[]".to_owned(), format!("[{{\"long\":\"{}\"}}]", "ä".repeat(9_000)), "odd".to_owned()];
            if let Some(body) = bodies.get(usize::try_from(round).unwrap()) {
                next.rows[0].body.clone_from(body);
                next.rows[0].actor = ["engine", "clock", "person:ada: x", "agent:3.2"][number].to_owned();
            }
            let mut hash = before.hash;
            for row in next.rows.iter_mut() {
                row.prev = hash;
                row.hash = row.seal();
                hash = row.hash;
            }
            chain.hash = hash;
            append(store, next).unwrap();
        }
        if round == 1 {
            store.fold().unwrap();
        }
    }
    chains.map(|chain| Expected { run: chain.run, n: chain.n, hash: chain.hash }).into()
}

fn export(store: &Store) -> String {
    let mut out = Vec::new();
    store.export(&[], &[], &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn kept_journals_of_all_formats_are_read_to_the_byte() {
    if env::var_os("KAPELL_BLESS_GOLDEN").is_some() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        make(&store);
        fs::create_dir_all(kept("")).unwrap();
        fs::write(kept(&format!("v{FORMAT}.jsonl")), export(&store)).unwrap();
        drop(store);
        fs::copy(dir.path().join("journal.sqlite"), kept(&format!("v{FORMAT}.sqlite"))).unwrap();
    }
    for (format, journal, lines) in KEPT {
        let bytes = fs::read(kept(&format!("v{format}.sqlite"))).unwrap();
        assert_eq!(Digest::of(&bytes).to_string(), journal);
        let text = fs::read_to_string(kept(&format!("v{format}.jsonl"))).unwrap();
        assert_eq!(Digest::of(text.as_bytes()).to_string(), lines);

        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("journal.sqlite"), bytes).unwrap();
        let alone = ALONE.read().unwrap_or_else(PoisonError::into_inner);
        let store = open(dir.path());
        drop(alone);
        store.verify(Scope::All, &[]).unwrap();
        assert_eq!(export(&store), text);
        let other = tempfile::tempdir().unwrap();
        let imported = open(other.path());
        imported.import(&mut text.as_bytes()).unwrap();
        assert_eq!(export(&imported), text);
        // It can be appended to.
        let head = store.runs().unwrap().remove(0);
        let mut chain = Chain { run: head.run, n: head.version, hash: head.hash };
        append(&store, chain.next(2)).unwrap();
        store.verify(Scope::All, &[]).unwrap();
    }
}

#[test]
fn what_is_written_today_is_what_was_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let expected = make(&store);
    store.verify(Scope::All, &expected).unwrap();
    assert_eq!(export(&store), fs::read_to_string(kept(&format!("v{FORMAT}.jsonl"))).unwrap());
    for wanted in expected {
        assert_eq!(rows(&store, wanted.run, 0).len() as u64, wanted.n.0);
    }
}

/// A store with the kept journal of format 1, changed by `sql`.
fn of_format_1(sql: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.sqlite");
    fs::copy(kept("v1.sqlite"), &path).unwrap();
    rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    dir
}

fn refused(dir: &tempfile::TempDir) -> String {
    let options = Options { busy: Duration::from_millis(50), ..Options::default() };
    Store::open_with(dir.path(), options).unwrap_err().to_string()
}

fn format_of(dir: &tempfile::TempDir) -> u32 {
    let connection = rusqlite::Connection::open(dir.path().join("journal.sqlite")).unwrap();
    connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

#[test]
fn an_old_journal_in_use_is_left_to_those_who_use_it() {
    let dir = of_format_1("");
    let lock = File::create(dir.path().join("lock")).unwrap();
    lock.lock_shared().unwrap();
    let error = refused(&dir);
    assert!(error.contains("an older kapell has it open, in format 1"), "{error}");
    assert_eq!(format_of(&dir), 1);
    lock.unlock().unwrap();
    let _alone = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    drop(open(dir.path()));
    assert_eq!(format_of(&dir), FORMAT);
}

#[test]
fn an_old_journal_with_a_broken_link_is_refused_and_left_as_it_is() {
    for sql in [
        "UPDATE decisions SET prev = zeroblob(32) WHERE pos = 5",
        "UPDATE decisions SET prev = hash WHERE pos = 1",
        "DELETE FROM decisions WHERE pos = 3",
    ] {
        let dir = of_format_1(sql);
        let before = fs::read(dir.path().join("journal.sqlite")).unwrap();
        let _alone = ALONE.read().unwrap_or_else(PoisonError::into_inner);
        let error = refused(&dir);
        assert!(error.contains("does not follow the one before it"), "{sql}: {error}");
        assert_eq!(format_of(&dir), 1);
        assert!(fs::read(dir.path().join("journal.sqlite")).unwrap() == before, "{sql}");
    }
}
