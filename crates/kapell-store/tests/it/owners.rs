//! One owner a run, whoever asks.

use kapell_core::{id::RunId, time::Wall};
use kapell_engine::port::journal::{Journal, OwnError, Owner};

use crate::common::{open, owner, run};

fn held(result: Result<Box<dyn kapell_engine::port::journal::Ownership>, OwnError>) -> Owner {
    match result {
        Err(OwnError::Held(owner)) => owner,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_second_owner_is_told_who_holds_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (open(dir.path()), open(dir.path()));
    let me = Owner { socket: Some("/run/kapell/1".to_owned()), ..owner(41) };
    let claim = one.own(run(1), me.clone()).unwrap();
    assert_eq!(held(one.own(run(1), owner(42))), me);
    assert_eq!(held(two.own(run(1), owner(42))), me);
    assert_eq!(one.owner(run(1)).unwrap(), Some(me.clone()));
    assert_eq!(two.owner(run(1)).unwrap(), Some(me));
    assert_eq!(two.owner(run(2)).unwrap(), None);
    let other = two.own(run(2), owner(42)).unwrap();
    drop(claim);
    assert_eq!(two.owner(run(1)).unwrap(), None);
    let later = two.own(run(1), owner(42)).unwrap();
    assert!(later.epoch() > other.epoch());
    assert_eq!(held(one.own(run(1), owner(41))), owner(42));
}

#[test]
fn closing_a_store_gives_its_runs_up_and_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (open(dir.path()), open(dir.path()));
    let claim = one.own(run(1), owner(1)).unwrap();
    let first = claim.epoch();
    drop((claim, one));
    let claim = two.own(run(1), Owner { since: Wall(0), ..owner(2) }).unwrap();
    assert!(claim.epoch() > first);
    drop((claim, two));
    let left: Vec<_> = std::fs::read_dir(dir.path().join("owners"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["mutex"]);
}

#[test]
fn a_stale_file_claims_nothing_and_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let owners = dir.path().join("owners");
    std::fs::create_dir_all(&owners).unwrap();
    // What a killed process leaves: its own process id may belong to somebody else by now.
    let pid = std::process::id();
    let text = format!(
        "{{\"generation\":1}}\n{{\"run\":\"{}\",\"epoch\":5,\"owner\":{{\"pid\":{pid},\"host\":\"here\",\"since\":1}}}}\n",
        run(1)
    );
    let stale = owners.join("1-2-3.lock");
    std::fs::write(&stale, text).unwrap();
    assert_eq!(store.owner(run(1)).unwrap(), None);
    store.own(run(1), owner(1)).unwrap();
    assert!(!stale.exists());
}

#[test]
fn ten_thousand_runs_need_no_ten_thousand_descriptors() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (open(dir.path()), open(dir.path()));
    let id = |number: u32| {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        RunId(id)
    };
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    let mut claims: Vec<_> = (0..10_000).map(|number| one.own(id(number), owner(1)).unwrap()).collect();
    // Other tests open files at the same time.
    assert!(descriptors() < before + 1_000);
    held(two.own(id(9_999), owner(2)));
    claims.truncate(10);
    two.own(id(9_999), owner(2)).unwrap();
    held(two.own(id(9), owner(2)));
    // Taking and giving up does not make the file grow for ever.
    for _ in 0..10_000 {
        drop(one.own(id(77), owner(1)).unwrap());
    }
    let size: u64 = std::fs::read_dir(dir.path().join("owners"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(size < 2_000_000, "{size}");
    held(two.own(id(9), owner(2)));
    assert_eq!(two.owner(id(77)).unwrap(), None);
}
