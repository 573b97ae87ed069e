//! What a later process makes of a run that another left.

use kapell_core::{
    command::{Command, Verdict},
    event::Outcome,
    id::TaskId,
    mission::Mission,
    plan::LostPolicy,
    task::Change,
};
use kapell_engine::{host::Rest, port::agents::Recovered};

use crate::children::child_of;
use crate::rig::{RUN, Rig, World, good, landing_mission, mission, noop, oid, plan, script};

/// Runs until `line` is said, and kills the process there: nothing that comes of it is recorded any more.
fn killed_at(mut rig: Rig, line: &str) -> World {
    rig.world.log.trap(line, &rig.world.journal);
    rig.until_said(line);
    let world = rig.world.clone();
    drop(rig);
    world.journal.crash();
    world.log.clear();
    world
}

fn reopened(world: &World, recovered: &[(&str, Recovered)]) -> Rig {
    let mut rig = world.process();
    rig.agents
        .recovered
        .lock()
        .unwrap()
        .extend(recovered.iter().map(|(name, recovered)| ((*name).to_owned(), recovered.clone())));
    rig.host.open(RUN).unwrap();
    rig
}

#[test]
fn an_attempt_with_a_record_is_adopted() {
    let rig = Rig::with(landing_mission(), plan(&[("a", script("hold"), &[]), ("b", script("ok"), &[0])]));
    let world = killed_at(rig, "start 0.1");
    let mut rig = reopened(&world, &[("0.1", Recovered::Ended(good()))]);
    assert_eq!(rig.settle(), Rest::Over);
    assert_eq!(rig.run().outcome(), Some(Outcome::Succeeded));
    assert!(!world.log.has("start 0.1") && !world.log.has("start 0.2"));
    assert!(world.log.place("recover 0.1") < world.log.place("capture 0.1"));
    rig.until_said("close 0.1 Kept");
}

#[test]
fn nothing_that_was_read_is_acted_on_before_it_is_durable() {
    let rig = Rig::with(landing_mission(), plan(&[("a", script("hold"), &[])]));
    let world = killed_at(rig, "start 0.1");
    let mut rig = reopened(&world, &[]);
    rig.until_said("start 0.2");
    assert!(world.log.place("settle") < world.log.place("recover 0.1"));
    let world = killed_while_it_merges();
    let mut rig = world.process();
    rig.host.open_to_ask(RUN).unwrap();
    rig.settle();
    assert!(world.log.place("settle") < world.log.place("merge"));
}

#[test]
fn an_attempt_without_a_record_is_lost_and_tried_again() {
    let rig = Rig::with(landing_mission(), plan(&[("a", script("hold"), &[])]));
    let world = killed_at(rig, "start 0.1");
    let mut rig = reopened(&world, &[]);
    rig.until_said("start 0.2");
    rig.until_said("close 0.1 Salvage");
    assert!(!world.log.has("capture 0.1"));
    assert!(rig.events().contains(&"opened".to_owned()));
}

#[test]
fn an_attempt_that_must_not_run_twice_waits_for_a_person() {
    let mut task = script("hold");
    task.retry_lost = LostPolicy::Ask;
    let world = killed_at(Rig::with(mission(), plan(&[("a", task, &[])])), "start 0.1");
    let mut rig = reopened(&world, &[]);
    assert_eq!(rig.settle(), Rest::Gates);
    assert!(!world.log.has("start 0.2"));
    let gate = rig.run().open_gates().next().unwrap().0;
    rig.put(Command::Answer { gate, answer: "retry".to_owned(), by: "ada".to_owned() }).unwrap();
    rig.until_said("start 0.2");
}

#[test]
fn what_was_asked_of_the_repository_is_asked_again() {
    for stop in ["check 0.1", "probe 0", "move ref"] {
        let world = World::new();
        let mut rig = world.process();
        let mut task = script("ok");
        task.accept = vec!["test".to_owned()];
        rig.host.create(RUN, landing_mission(), plan(&[("a", task, &[])])).unwrap();
        let world = killed_at(rig, stop);
        let mut rig = reopened(&world, &[]);
        assert_eq!(rig.settle(), Rest::Over, "{stop}");
        assert_eq!(rig.run().outcome(), Some(Outcome::Succeeded));
        assert!(world.log.has(stop) && !world.log.has("recover 0.1"), "{:#?}", world.log.lines());
        rig.until_said("sweep");
        // Its change was taken out before, so nothing holds its workspace any more.
        assert_eq!(*rig.spaces.swept.lock().unwrap(), []);
    }
}

/// A run that landed, and whose process was killed while it merged.
fn killed_while_it_merges() -> World {
    let mission = Mission { accept: vec!["check".to_owned()], ..landing_mission() };
    let mut rig = Rig::with(mission, plan(&[("a", script("ok"), &[])]));
    rig.settle();
    let target = "refs/heads/main".to_owned();
    let begin = Command::BeginMerge { target, from: oid(1), to: oid(2) };
    rig.host.put(RUN, kapell_core::journal::Actor::Engine, begin, None);
    killed_at(rig, "merge")
}

#[test]
fn a_merge_that_a_crash_cut_short_is_finished() {
    let world = killed_while_it_merges();
    let mut rig = reopened(&world, &[]);
    assert_eq!(rig.settle(), Rest::Over);
    assert!(rig.run().merge().unwrap().done);
    assert_eq!(world.log.count("merge"), 1);
    // What landed has passed its checks already.
    rig.until_said("passed check");
}

#[test]
fn whoever_only_asks_finishes_a_merge_too() {
    let world = killed_while_it_merges();
    let mut rig = world.process();
    rig.host.open_to_ask(RUN).unwrap();
    assert_eq!(rig.settle(), Rest::Over);
    assert!(rig.run().merge().unwrap().done);
}

#[test]
fn a_compensation_is_adopted_or_done_again() {
    let mut saga = mission();
    saga.saga = true;
    let within = plan(&[("x", script("ok"), &[])]);
    let cases = [true, false]
        .into_iter()
        .flat_map(|record| [(record, script("ok")), (record, child_of(within.clone()))]);
    for (record, mut task) in cases {
        task.compensate = Some("hold".to_owned());
        let plan = plan(&[("a", task, &[]), ("b", script("refuse"), &[0])]);
        let world = killed_at(Rig::with(saga.clone(), plan), "start -0.1");
        let recovered = [("-0.1", Recovered::Ended(good()))];
        let mut rig = reopened(&world, if record { &recovered } else { &[] });
        match record {
            true => {
                assert_eq!(rig.settle(), Rest::Over);
                assert_eq!(rig.run().outcome(), Some(Outcome::Compensated));
            }
            false => rig.until_said("start -0.2"),
        }
    }
}

#[test]
fn a_change_of_a_lost_check_is_the_same_change() {
    // Captured, and killed before the end was recorded: taken again.
    let rig = Rig::with(landing_mission(), plan(&[("a", script("ok"), &[])]));
    rig.world.journal.disk().slow = true;
    // Made, and then held back from here on.
    let mut rig = rig;
    rig.step();
    rig.world.journal.let_one_through();
    rig.until_said("capture 0.1");
    let world = rig.world.clone();
    drop(rig);
    world.journal.disk().slow = false;
    let mut rig = reopened(&world, &[("0.1", Recovered::Ended(good()))]);
    let change = Change { commit: oid(77), tree: oid(78), base: oid(1) };
    *rig.spaces.change.lock().unwrap() = Box::new(move |_| Ok(Some(change)));
    *rig.spaces.check.lock().unwrap() = Box::new(|_| Verdict::Passed);
    assert_eq!(rig.settle(), Rest::Over);
    assert_eq!(world.log.count("start 0.1"), 1);
    assert!(rig.state(0).starts_with("Landed"));
}

#[test]
fn noops_need_nobody() {
    let world = World::new();
    world.journal.disk().slow = true;
    let mut rig = world.process();
    rig.host.create(RUN, mission(), plan(&[("a", noop(), &[]), ("b", noop(), &[0])])).unwrap();
    rig.step();
    world.journal.let_one_through();
    drop(rig);
    world.journal.disk().slow = false;
    let mut rig = reopened(&world, &[]);
    assert_eq!(rig.settle(), Rest::Over);
    assert_eq!(rig.run().outcome(), Some(Outcome::Succeeded));
    assert!(!world.log.lines().iter().any(|line| line.starts_with("recover")));
}

#[test]
fn a_run_that_is_over_is_opened_without_a_record() {
    let mut rig = Rig::with(mission(), plan(&[("a", script("ok"), &[])]));
    rig.settle();
    let (world, version) = (rig.world.clone(), rig.run().version());
    drop(rig);
    let mut rig = reopened(&world, &[]);
    assert_eq!(rig.settle(), Rest::Over);
    assert_eq!(rig.run().version(), version);
}

#[test]
fn a_run_that_is_only_asked_records_the_answer_and_starts_nothing() {
    let plan = plan(&[("a", script("hold"), &[]), ("b", script("ok"), &[0])]);
    let world = killed_at(Rig::with(mission(), plan), "start 0.1");
    let mut rig = world.process();
    rig.host.open_to_ask(RUN).unwrap();
    rig.put(Command::Pause).unwrap();
    assert_eq!(rig.events(), ["paused"]);
    for _ in 0..5 {
        rig.step();
    }
    assert!(!world.log.lines().iter().any(|line| !line.starts_with("durable")), "{:?}", world.log.lines());
    assert!(rig.put(Command::Pause).is_err());
    drop(rig);
    // Whoever executes it next finds it paused.
    let mut rig = reopened(&world, &[("0.1", Recovered::Ended(good()))]);
    assert_eq!(rig.settle(), Rest::Paused);
    assert_eq!(format!("{:?}", rig.run().state(TaskId(1))), "Ready");
}
