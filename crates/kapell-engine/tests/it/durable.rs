//! Nothing leaves before it is recorded.

use std::sync::{Arc, Mutex};

use kapell_core::{command::Command, event::Outcome, journal::Actor};
use kapell_engine::{host::Rest, port::journal::AppendErrorKind};

use crate::rig::{RUN, Rig, World, good, landing_mission, mission, noop, plan, script};

#[test]
fn each_effect_comes_after_the_record_of_its_decision() {
    let plan = plan(&[("a", script("ok"), &[]), ("b", script("ok"), &[0])]);
    let mut rig = Rig::with(landing_mission(), plan);
    assert_eq!(rig.settle(), Rest::Over);
    assert_eq!(rig.run().outcome(), Some(Outcome::Succeeded));
    let log = &rig.world.log;
    let order = [
        "begin 01",
        "durable 1",
        "open 0.1",
        "start 0.1",
        "capture 0.1",
        "durable 2",
        "probe 0",
        "durable 3",
        "move ref",
        "durable 4",
        "open 1.1",
        "start 1.1",
        "capture 1.1",
        "durable 5",
        "probe 1",
        "durable 6",
    ];
    let places: Vec<_> = order.iter().map(|line| log.place(line)).collect();
    assert!(places.is_sorted(), "{:#?}", log.lines());
}

#[test]
fn while_the_disk_is_slow_nothing_leaves_and_nobody_is_answered() {
    let world = World::new();
    world.journal.disk().slow = true;
    let mut rig = world.process();
    rig.host.create(RUN, mission(), plan(&[("a", script("hold"), &[])])).unwrap();
    let answers = Arc::new(Mutex::new(Vec::new()));
    for command in [Command::Pause, Command::Pause] {
        let answers = answers.clone();
        let reply = Box::new(move |result: Result<(), _>| answers.lock().unwrap().push(result.is_ok()));
        rig.host.put(RUN, Actor::Person("ada".to_owned()), command, Some(reply));
        // Decided on top of what is still on its way.
        rig.step();
    }
    for _ in 0..5 {
        rig.step();
    }
    assert_eq!(world.log.lines(), Vec::<String>::new());
    assert!(rig.events().is_empty() && answers.lock().unwrap().is_empty());
    assert_eq!(rig.host.rest(RUN), Rest::Busy);
    // A refusal waits for what it was based on.
    world.journal.let_one_through();
    rig.until(|rig| !rig.events().is_empty());
    while world.journal.let_one_through() {
        rig.step();
    }
    rig.until(|_| answers.lock().unwrap().len() == 2);
    assert_eq!(*answers.lock().unwrap(), [true, false]);
}

#[test]
fn what_comes_together_is_recorded_together() {
    let tasks: Vec<_> = (0..50).map(|number| format!("t{number}")).collect();
    let tasks: Vec<_> = tasks.iter().map(|name| (name.as_str(), noop(), [].as_slice())).collect();
    let mut rig = Rig::with(
        kapell_core::mission::Mission {
            limits: kapell_core::budget::Limits { jobs: 50, ..Default::default() },
            ..mission()
        },
        plan(&tasks),
    );
    assert_eq!(rig.settle(), Rest::Over);
    // One append to make it and start all, one that all are done.
    assert_eq!(rig.world.journal.disk().appends, 2);
    let rows = rig.world.journal.disk().rows[&RUN].clone();
    let causes: Vec<_> = rows.iter().map(|row| row.cause.as_str()).collect();
    assert_eq!(causes, [["create"].as_slice(), &["finish"; 50]].concat());
}

#[test]
fn after_a_failed_append_nothing_happens_until_it_is_opened_again() {
    let world = World::new();
    let mut rig = world.process();
    rig.host.create(RUN, mission(), plan(&[("a", script("hold"), &[]), ("b", script("ok"), &[0])])).unwrap();
    rig.until_said("start 0.1");
    world.journal.disk().full_after = Some(0);
    rig.finish(0, 1, good());
    rig.until(|rig| rig.host.failure(RUN).is_some());
    assert!(matches!(rig.host.failure(RUN).unwrap().kind, AppendErrorKind::Journal(_)));
    assert_eq!(rig.host.rest(RUN), Rest::Over);
    let refused = rig.put(Command::Cancel).unwrap_err();
    assert_eq!(refused.to_string(), format!("failed to append 1 decision(s) to run {RUN}"));
    assert!(!world.log.has("start 1.1") && !world.log.has("stop 0.1"));
    // Given up, it can be opened again, even by the same process.
    world.journal.disk().full_after = None;
    rig.host.close(RUN);
    rig.agents
        .recovered
        .lock()
        .unwrap()
        .insert("0.1".to_owned(), kapell_engine::port::agents::Recovered::Ended(good()));
    rig.host.open(RUN).unwrap();
    assert_eq!(rig.settle(), Rest::Over);
    assert_eq!(rig.run().outcome(), Some(Outcome::Succeeded));
    assert_eq!(world.log.count("start 0.1"), 1);
    assert_eq!(world.log.count("start 1.1"), 1);
}

#[test]
fn every_command_that_waits_for_a_failed_append_is_told() {
    let world = World::new();
    world.journal.disk().slow = true;
    world.journal.disk().full_after = Some(1);
    let mut rig = world.process();
    rig.host.create(RUN, mission(), plan(&[("a", script("hold"), &[])])).unwrap();
    let answers = Arc::new(Mutex::new(Vec::new()));
    for command in [Command::Pause, Command::Resume { limits: None }, Command::Cancel] {
        rig.step();
        let answers = answers.clone();
        let reply = Box::new(move |result: Result<(), _>| answers.lock().unwrap().push(result.is_ok()));
        rig.host.put(RUN, Actor::Person("ada".to_owned()), command, Some(reply));
    }
    rig.step();
    while world.journal.let_one_through() {
        rig.step();
    }
    rig.until(|_| answers.lock().unwrap().len() == 3);
    assert_eq!(*answers.lock().unwrap(), [false; 3]);
    assert!(world.log.lines().iter().filter(|line| line.starts_with("not durable")).count() == 3);
    assert!(!world.log.has("stop 0.1"));
}

#[test]
fn a_run_that_is_not_here_and_one_that_is_held_are_refused() {
    let mut rig = Rig::with(mission(), plan(&[("a", script("hold"), &[])]));
    let mut other = rig.world.process();
    let held = other.host.open(RUN).unwrap_err();
    assert_eq!(held.to_string(), "process 1 on here executes it");
    assert_eq!(
        other.put(Command::Pause).unwrap_err().to_string(),
        format!("run {RUN} is not executed by this process")
    );
    assert!(other.host.open(crate::rig::run_id(1)).unwrap_err().to_string().starts_with("there is no run"));
    rig.step();
    drop(rig);
    other.host.open(RUN).unwrap();
}
