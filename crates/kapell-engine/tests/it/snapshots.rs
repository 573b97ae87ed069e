//! When a snapshot is used, and when not; and the past.

use kapell_core::{event::FOLD_VERSION, id::Digest, journal::Version, run::Run, time::Millis};
use kapell_engine::{
    open::{load, load_at},
    port::{
        clock::Clock,
        journal::{Journal, Snapshot},
    },
};

use crate::rig::{RUN, Rig, World, mission, noop, plan};

/// A run of 200 tasks in a row that is over, and was given up.
fn long_run() -> World {
    let names: Vec<_> = (0..200).map(|number| format!("t{number}")).collect();
    let needs: Vec<Vec<u32>> =
        (0..200_u32).map(|number| number.checked_sub(1).into_iter().collect()).collect();
    let tasks: Vec<_> =
        names.iter().zip(&needs).map(|(name, needs)| (name.as_str(), noop(), needs.as_slice())).collect();
    let mut rig = Rig::with(mission(), plan(&tasks));
    rig.settle();
    rig.host.close(RUN);
    rig.world.clone()
}

fn loaded(world: &World) -> (Run, usize) {
    world.journal.disk().rows_read = 0;
    let run = load(&world.journal, RUN).unwrap();
    let read = world.journal.disk().rows_read;
    (run, read)
}

#[test]
fn a_snapshot_that_fits_spares_reading() {
    let world = long_run();
    let (run, read) = loaded(&world);
    // The decision that it holds, and that with the plan.
    assert_eq!(read, 2);
    world.journal.disk().snapshots.clear();
    let (whole, read) = loaded(&world);
    assert_eq!(read as u64, run.version().0);
    assert!(run.is_same(&whole));
}

#[test]
fn a_snapshot_that_does_not_fit_is_not_used() {
    let world = long_run();
    let good = world.journal.disk().snapshots[&RUN].clone();
    let (whole, _) = loaded(&world);
    for spoil in [
        |snapshot: &mut Snapshot| snapshot.hash = Digest::of(b"other"),
        |snapshot: &mut Snapshot| snapshot.n = Version(snapshot.n.0 - 1),
        |snapshot: &mut Snapshot| snapshot.n = Version(snapshot.n.0 + 1),
        |snapshot: &mut Snapshot| snapshot.fold = FOLD_VERSION + 1,
        |snapshot: &mut Snapshot| snapshot.bytes.truncate(snapshot.bytes.len() / 2),
        |snapshot: &mut Snapshot| snapshot.bytes.clear(),
    ] {
        let mut bad = good.clone();
        spoil(&mut bad);
        world.journal.disk().snapshots.insert(RUN, bad);
        let (run, read) = loaded(&world);
        assert!(read as u64 >= whole.version().0, "{read}");
        assert!(run.is_same(&whole));
    }
}

#[test]
fn a_short_run_leaves_no_snapshot() {
    let mut rig = Rig::with(mission(), plan(&[("a", noop(), &[])]));
    rig.settle();
    rig.host.close(RUN);
    assert!(rig.world.journal.snapshot(RUN).unwrap().is_none());
}

#[test]
fn a_run_that_had_to_be_read_whole_leaves_one_for_the_next() {
    let world = long_run();
    world.journal.disk().snapshots.clear();
    let mut rig = world.process();
    rig.host.open(RUN).unwrap();
    rig.host.close(RUN);
    assert_eq!(loaded(&world).1, 2);
}

#[test]
fn the_past_can_be_seen_decision_by_decision() {
    let world = long_run();
    let mut seen = Vec::new();
    let run = load_at(&world.journal, RUN, Version(100), |row, events, run| {
        assert_eq!(run.version(), row.n);
        assert!(!events.is_empty());
        seen.push(row.n.0);
    })
    .unwrap();
    assert_eq!(seen, (1..=100).collect::<Vec<_>>());
    assert_eq!(run.version(), Version(100));
    assert!(!load_at(&world.journal, RUN, Version(0), |_, _, _| ()).unwrap().is_created());
    let all = load_at(&world.journal, RUN, Version(u64::MAX), |_, _, _| ()).unwrap();
    assert!(all.is_same(&load(&world.journal, RUN).unwrap()));
}

#[test]
fn the_runs_own_clock_goes_on_where_it_stood() {
    let mut rig = Rig::with(mission(), plan(&[("a", crate::rig::script("hold"), &[])]));
    rig.until_said("start 0.1");
    rig.world.clock.pass(5_000);
    rig.put(kapell_core::command::Command::Pause).unwrap();
    let world = rig.world.clone();
    drop(rig);
    world.clock.pass(1_000_000);
    let mut rig = world.process();
    rig.host.open_to_ask(RUN).unwrap();
    world.clock.pass(7);
    rig.put(kapell_core::command::Command::Resume { limits: None }).unwrap();
    // The time in between, when nobody executed it, does not count.
    assert_eq!(rig.run().clock().0, 5_007);
    assert!(world.clock.boot() >= Millis(1_005_007));
}

#[test]
fn damage_is_told_and_not_worked_around() {
    let world = long_run();
    world.journal.disk().snapshots.clear();
    let body = world.journal.disk().rows[&RUN][50].body.replace("completed", "landed");
    world.journal.disk().rows.get_mut(&RUN).unwrap()[50].body = body;
    let error = world.process().host.open(RUN).unwrap_err();
    assert!(error.to_string().contains("decision 51"), "{error}");
}
