//! Appending, reading back, and what is refused.

use std::sync::{Arc, Mutex};

use kapell_core::{
    id::Digest,
    journal::{BrokenChainKind, Version},
    time::Wall,
};
use kapell_engine::port::journal::{AppendErrorKind, Journal, Snapshot};
use kapell_store::{Opened, Scope, Store};

use crate::common::{Chain, append, open, owner, queue, rows, run};

#[test]
fn what_is_appended_is_read_back_by_this_and_the_next_store() {
    let dir = tempfile::tempdir().unwrap();
    let (store, opened) = Store::open(dir.path()).unwrap();
    assert_eq!(opened, Opened { created: true, ..Opened::default() });
    let mut chain = Chain::new(1);
    let first = chain.next(3);
    let second = chain.next(2);
    append(&store, first.clone()).unwrap();
    append(&store, second.clone()).unwrap();
    let all: Vec<_> = first.rows.iter().chain(second.rows.iter()).cloned().collect();
    assert_eq!(rows(&store, chain.run, 0), all);
    assert_eq!(rows(&store, chain.run, 4), all[4..]);
    assert_eq!(rows(&store, run(9), 0), []);
    drop(store);
    let (store, opened) = Store::open(dir.path()).unwrap();
    assert_eq!(opened, Opened::default());
    assert_eq!(rows(&store, chain.run, 0), all);
    assert_eq!(rows(&store, chain.run, 2), all[2..]);
    let head = store.head(chain.run).unwrap().unwrap();
    assert_eq!((head.version, head.hash), (chain.n, chain.hash));
    assert_eq!((head.created, head.updated), (all[0].at, all[4].at));
    assert_eq!(store.head(run(9)).unwrap(), None);
    assert_eq!(store.verify(Scope::All, &[]).unwrap().decisions, 5);
}

#[test]
fn acks_come_in_the_order_of_the_appends() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut chains: Vec<_> = (0..10).map(Chain::new).collect();
    for number in 0..200 {
        let order = Arc::clone(&order);
        let next = chains[number % 10].next(1 + number as u64 % 3);
        store.append(
            next,
            Box::new(move |outcome| {
                outcome.unwrap();
                order.lock().unwrap().push(number);
            }),
        );
    }
    drop(store);
    assert_eq!(*order.lock().unwrap(), (0..200).collect::<Vec<_>>());
    let store = open(dir.path());
    for chain in chains {
        assert_eq!(rows(&store, chain.run, 0).len() as u64, chain.n.0);
    }
    store.verify(Scope::All, &[]).unwrap();
}

#[test]
fn an_append_on_another_version_is_refused_and_poisons_the_run_until_it_is_owned_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut chain = Chain::new(1);
    append(&store, chain.next(2)).unwrap();
    let there = chain;
    let mut wrong = Chain { n: Version(1), ..there };
    let refused = append(&store, wrong.next(1)).unwrap_err();
    assert!(
        matches!(refused, AppendErrorKind::Conflict { expected: Version(1), found: Version(2) }),
        "{refused:?}"
    );
    // Even what would fit is refused now.
    let next = chain.next(1);
    assert!(matches!(append(&store, next.clone()), Err(AppendErrorKind::Poisoned)));
    // Other runs go on.
    append(&store, Chain::new(2).next(1)).unwrap();
    let held = store.own(there.run, owner(1)).unwrap();
    append(&store, next).unwrap();
    drop(held);
    assert_eq!(rows(&store, there.run, 0).len(), 3);
}

#[test]
fn queued_appends_behind_a_failed_one_fail_and_those_behind_a_reopen_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut good = Chain::new(1);
    let mut wrong = Chain { n: Version(7), ..good };
    let answers: Vec<_> =
        [wrong.next(1), wrong.next(1), good.next(1)].map(|append| queue(&store, append)).into();
    store.reopen(good.run);
    good = Chain::new(1);
    let last = queue(&store, good.next(1));
    let kinds: Vec<_> = answers.iter().map(|answer| answer.recv().unwrap().unwrap_err().kind).collect();
    assert!(matches!(
        kinds[..],
        [AppendErrorKind::Conflict { .. }, AppendErrorKind::Poisoned, AppendErrorKind::Poisoned]
    ));
    last.recv().unwrap().unwrap();
}

#[test]
fn rows_that_are_no_chain_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut chain = Chain::new(1);
    append(&store, chain.next(1)).unwrap();

    let mut altered = chain;
    let mut altered = altered.next(2);
    altered.rows[1].body.push(' ');
    let mut foreign = chain;
    let mut foreign = foreign.next(1);
    foreign.rows[0].run = run(2);
    let mut past = Chain { hash: Digest::of(b"another past"), ..chain };
    let past = past.next(1);
    let mut gap = chain;
    let mut gap = gap.next(3);
    gap.rows.remove(1);
    for (case, is) in [
        (altered, BrokenChainKind::Altered),
        (foreign, BrokenChainKind::Altered),
        (past.clone(), BrokenChainKind::OtherPast { expected: chain.hash, found: past.prev }),
        (gap, BrokenChainKind::Gap { expected: Version(3) }),
    ] {
        match append(&store, case) {
            Err(AppendErrorKind::Broken(broken)) => assert_eq!(broken.kind, is),
            other => panic!("{other:?}"),
        }
        store.reopen(chain.run);
    }
    append(&store, chain.next(1)).unwrap();
    store.verify(Scope::All, &[]).unwrap();
}

#[test]
fn listings_show_the_newest_first_with_their_summaries() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut chains = [Chain::new(1), Chain::new(2), Chain::new(3)];
    for (number, chain) in chains.iter_mut().enumerate() {
        let mut next = chain.next(1);
        next.rows[0].at = Wall(number as i64 * 10);
        next.rows[0].hash = next.rows[0].seal();
        chain.hash = next.rows[0].hash;
        next.summary = Some(format!("run {number}").into());
        append(&store, next).unwrap();
    }
    append(&store, chains[0].next(1)).unwrap();
    let list = |store: &Store| -> Vec<_> {
        let runs = store.runs().unwrap();
        runs.into_iter().map(|head| (head.run, head.version.0, head.summary.unwrap())).collect()
    };
    let expected = vec![
        (run(3), 1, "run 2".to_owned()),
        (run(2), 1, "run 1".to_owned()),
        (run(1), 2, "run 0".to_owned()),
    ];
    assert_eq!(list(&store), expected);
    // Another store sees what is folded.
    store.fold().unwrap();
    assert_eq!(list(&open(dir.path())), expected);
    store.verify(Scope::All, &[]).unwrap();
}

#[test]
fn two_stores_that_take_turns_see_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (open(dir.path()), open(dir.path()));
    let mut chains = [Chain::new(1), Chain::new(2), Chain::new(3)];
    for round in 0..30 {
        let store = if round % 2 == 0 { &one } else { &two };
        for chain in &mut chains {
            append(store, chain.next(1)).unwrap();
        }
        if round % 7 == 0 {
            store.fold().unwrap();
        }
    }
    let mut late = Chain::new(1);
    assert!(matches!(append(&two, late.next(1)), Err(AppendErrorKind::Conflict { .. })));
    drop(one);
    for chain in chains {
        assert_eq!(rows(&two, chain.run, 0).len(), 30);
        assert_eq!(two.head(chain.run).unwrap().unwrap().hash, chain.hash);
    }
    two.verify(Scope::All, &[]).unwrap();
}

#[test]
fn more_rows_than_the_tail_may_have_are_folded_and_found() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut chains = [Chain::new(1), Chain::new(2)];
    for _ in 0..30 {
        append(&store, chains[0].next(200)).unwrap();
        append(&store, chains[1].next(3)).unwrap();
    }
    for chain in chains {
        for after in [0, 1, 63, chain.n.0 - 1, chain.n.0, chain.n.0 + 5] {
            let found: Vec<_> = rows(&store, chain.run, after).iter().map(|row| row.n.0).collect();
            assert_eq!(found, (after + 1..=chain.n.0).collect::<Vec<_>>());
        }
    }
    let mut seen = 0;
    store
        .read_ref(chains[0].run, Version(10), &mut |row| {
            assert_eq!(row.n.0, 11 + seen);
            seen += 1;
            seen < 5
        })
        .unwrap();
    assert_eq!(seen, 5);
    store.verify(Scope::All, &[]).unwrap();
}

#[test]
fn a_snapshot_is_kept_replaced_and_ignored_when_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert_eq!(store.snapshot(run(1)).unwrap(), None);
    let snapshot =
        |n| Snapshot { n: Version(n), hash: Digest::of(b"x"), fold: 3, bytes: vec![n as u8; n as usize] };
    store.keep_snapshot(run(1), snapshot(5)).unwrap();
    store.keep_snapshot(run(1), snapshot(70)).unwrap();
    assert_eq!(store.snapshot(run(1)).unwrap(), Some(snapshot(70)));
    assert_eq!(store.snapshot(run(2)).unwrap(), None);
    let file = dir.path().join("snapshots").join(run(1).to_string());
    let good = std::fs::read(&file).unwrap();
    for at in 0..good.len() {
        let mut flipped = good.clone();
        flipped[at] ^= 1 << (at % 8);
        std::fs::write(&file, &flipped).unwrap();
        assert_eq!(store.snapshot(run(1)).unwrap(), None, "byte {at}");
        std::fs::write(&file, &good[..at]).unwrap();
        assert_eq!(store.snapshot(run(1)).unwrap(), None, "length {at}");
    }
}

#[test]
fn artifacts_are_kept_once_listed_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let digest = store.keep(b"a plan").unwrap();
    assert_eq!(digest, Digest::of(b"a plan"));
    assert_eq!(store.keep(b"a plan").unwrap(), digest);
    let empty = store.keep(b"").unwrap();
    assert_eq!(store.kept(digest).unwrap().as_deref(), Some(&b"a plan"[..]));
    assert_eq!(store.kept(empty).unwrap().as_deref(), Some(&b""[..]));
    assert_eq!(store.kept(Digest::ZERO).unwrap(), None);
    let mut sizes: Vec<_> = store.artifacts().unwrap().iter().map(|artifact| artifact.bytes).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [0, 6]);

    std::fs::write(store.artifact_path(digest), b"A plan").unwrap();
    let error = store.kept(digest).unwrap_err();
    assert!(error.to_string().contains("does not have its hash"), "{error}");
    // Keeping it again mends it, in a store that has not seen it whole.
    let other = open(dir.path());
    other.keep(b"a plan").unwrap();
    assert_eq!(store.kept(digest).unwrap().as_deref(), Some(&b"a plan"[..]));
    assert!(store.remove_artifact(digest).unwrap());
    assert!(!store.remove_artifact(digest).unwrap());
    assert_eq!(store.kept(digest).unwrap(), None);
}
