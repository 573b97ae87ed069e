//! Many runs in one host.

use std::sync::atomic::Ordering;

use kapell_core::{
    budget::Amount,
    command::Command,
    event::Outputs,
    id::GateId,
    journal::Actor,
    plan::{AgentSpec, Definition, GateSpec, PlanBuilder, PlanLimits, Slot, Work},
    retry::FailureClass,
    time::Wall,
};
use kapell_engine::{
    AWAKE_MAX,
    host::{Input, Rest},
    port::agents::{AttemptKey, Ending, Failure, Report},
};

use crate::rig::{Rig, World, good, key, mission, noop, plan, run_id, script};

#[test]
fn a_thousand_runs_go_on_side_by_side() {
    let mut rig = World::new().process();
    let tasks = plan(&[("a", noop(), &[]), ("b", script("ok"), &[0]), ("c", noop(), &[1])]);
    for number in 0..1_000 {
        rig.host.create(run_id(number), mission(), tasks.clone()).unwrap();
    }
    rig.until(|rig| (0..1_000).all(|number| rig.host.rest(run_id(number)) == Rest::Over));
    assert!(rig.host.runs().all(|run| run.outcome().is_some()));
    assert_eq!(rig.world.journal.disk().rows.len(), 1_000);
}

/// Makes runs each of whose tasks waits for the quota of its provider.
fn park(rig: &mut Rig, runs: u64) {
    let mut builder = PlanBuilder::new();
    let agent = builder.agent(AgentSpec {
        name: "one".to_owned(),
        adapter: "test".to_owned(),
        provider: Some("p".to_owned()),
        slot: Slot::Agent,
        fallback: None,
        ..AgentSpec::default()
    });
    let work = Work::Prompt("hold".parse().unwrap());
    let definition = builder.define(Definition { agent: Some(agent), ..Definition::new(work) });
    builder.task("a", definition, &[]);
    let plan = std::sync::Arc::new(builder.seal(PlanLimits::default()).unwrap());
    for number in 0..runs {
        rig.host.create(run_id(number), mission(), plan.clone()).unwrap();
    }
    rig.until(|rig| rig.agents.orders.lock().unwrap().len() as u64 == runs);
    for number in 0..runs {
        let failure = Failure {
            class: FailureClass::Quota,
            message: "come back later".to_owned(),
            until: Some(Wall(100_000_000)),
        };
        let ending =
            Ending { result: Err(failure), outputs: Outputs::new(), spent: Amount::ZERO, used: None };
        let key = AttemptKey { run: run_id(number), ..key(0, 1) };
        rig.mailbox.send(Input::Agent(key, Report::Finished(ending)));
    }
    rig.until(|rig| (0..runs).all(|number| rig.host.rest(run_id(number)) == Rest::Waiting));
}

/// Returns the resident memory of this process, in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
fn parked_runs_take_little_and_wake_nobody_until_their_time_comes() {
    let mut rig = World::new().process();
    let runs = 10_000;
    park(&mut rig, runs);
    // Taken over by a process of their own, so that what the rig noted on the way does not count. The first one stays,
    // so that its memory is not used again.
    let first = rig;
    let world = first.world.copy();
    let mut rig = world.process();
    let before = resident();
    for some in 0..runs / 500 {
        let some = some * 500..(some + 1) * 500;
        some.clone().for_each(|number| rig.host.open(run_id(number)).unwrap());
        rig.until(|rig| some.clone().all(|number| rig.host.rest(run_id(number)) == Rest::Waiting));
    }
    let each = resident().saturating_sub(before) / usize::try_from(runs).unwrap();
    println!(
        "{each} bytes of resident memory for a parked run, with the row that its opening adds to this journal"
    );
    assert!(each <= 2 << 10, "{each}");
    drop(first);
    // Of most only what wakes them is kept.
    assert_eq!(rig.host.runs().count(), AWAKE_MAX);
    let appends = rig.world.journal.disk().appends;
    let reads = rig.world.clock.reads.load(Ordering::SeqCst);
    // Hours pass; the host looks at the clock, and at no run.
    for _ in 0..100 {
        rig.world.clock.pass(300_000);
        rig.step();
    }
    let reads = rig.world.clock.reads.load(Ordering::SeqCst) - reads;
    assert!(reads <= 100 * 4, "the clock was read {reads} times");
    assert_eq!(rig.world.journal.disk().appends, appends);
    rig.world.clock.set_wall(100_000_000);
    rig.until(|rig| rig.agents.orders.lock().unwrap().len() as u64 == runs);
}

#[test]
fn a_run_whose_attempt_ended_with_an_open_question_can_sleep() {
    let mut rig = World::new().process();
    let question = || GateSpec { question: "so?".parse().unwrap(), choices: Vec::new() };
    let gate = || Definition::new(Work::Gate(question()));
    let waits = plan(&[("g", gate(), &[])]);
    for number in 0..AWAKE_MAX as u64 {
        rig.host.create(run_id(number), mission(), waits.clone()).unwrap();
    }
    rig.until(|rig| (0..AWAKE_MAX as u64).all(|number| rig.host.rest(run_id(number)) == Rest::Gates));
    let run = run_id(AWAKE_MAX as u64);
    let asks = plan(&[("a", script("hold"), &[]), ("g", gate(), &[0])]);
    rig.host.create(run, mission(), asks).unwrap();
    rig.until_said("start 0.1");
    let key = AttemptKey { run, ..key(0, 1) };
    let asked = Report::Question { question: 1, text: "left or right?".to_owned(), choices: Vec::new() };
    for report in [asked, Report::Finished(good())] {
        rig.host.mailbox().send(Input::Agent(key, report));
        rig.until(|rig| !matches!(rig.host.rest(run), Rest::Busy));
    }
    rig.until(|rig| rig.host.run(run).is_none());
    assert_eq!(rig.host.rest(run), Rest::Gates);
}

#[test]
fn a_run_that_sleeps_takes_commands_and_its_clock_goes_on() {
    let mut rig = World::new().process();
    let runs = AWAKE_MAX as u64 + 50;
    let question = GateSpec { question: "so?".parse().unwrap(), choices: Vec::new() };
    let mut late = script("ok");
    late.retry.attempts = 2;
    let tasks = plan(&[("g", Definition::new(Work::Gate(question)), &[]), ("a", late, &[0])]);
    for number in 0..runs {
        rig.host.create(run_id(number), mission(), tasks.clone()).unwrap();
    }
    rig.until(|rig| (0..runs).all(|number| rig.host.rest(run_id(number)) == Rest::Gates));
    let asleep: Vec<u64> = (0..runs).filter(|number| rig.host.run(run_id(*number)).is_none()).collect();
    assert_eq!(asleep.len(), 50);
    rig.world.clock.pass(60_000);
    for number in asleep {
        let run = run_id(number);
        let answer = Command::Answer { gate: GateId(0), answer: "yes".to_owned(), by: "ada".to_owned() };
        let (said, told) = std::sync::mpsc::channel();
        let reply =
            Box::new(move |result: Result<(), kapell_engine::Refusal>| said.send(result.is_ok()).unwrap());
        rig.host.put(run, Actor::Person("ada".to_owned()), answer, Some(reply));
        rig.until(|rig| rig.host.rest(run) == Rest::Over);
        assert!(told.recv().unwrap());
        assert!(rig.host.run(run).unwrap().clock().0 >= 60_000, "{:?}", rig.host.run(run).unwrap().clock());
    }
}

#[test]
fn a_run_that_sleeps_and_can_no_longer_be_read_is_over_for_this_process() {
    let mut rig = World::new().process();
    let question = GateSpec { question: "so?".parse().unwrap(), choices: Vec::new() };
    let tasks = plan(&[("g", Definition::new(Work::Gate(question)), &[])]);
    let runs = AWAKE_MAX as u64 + 1;
    for number in 0..runs {
        rig.host.create(run_id(number), mission(), tasks.clone()).unwrap();
    }
    rig.until(|rig| (0..runs).all(|number| rig.host.rest(run_id(number)) == Rest::Gates));
    let asleep = (0..runs).map(run_id).find(|run| rig.host.run(*run).is_none()).unwrap();
    rig.world.journal.disk().unreadable = true;
    for _ in 0..2 {
        let (said, told) = std::sync::mpsc::channel();
        let reply = Box::new(move |result: Result<(), kapell_engine::Refusal>| said.send(result).unwrap());
        rig.host.put(asleep, Actor::Person("ada".to_owned()), Command::Pause, Some(reply));
        let refused = told.recv().unwrap().unwrap_err();
        let why = std::error::Error::source(&refused).unwrap().to_string();
        assert_eq!(why, "memory: damaged at byte 4096: a page is gone");
        assert_eq!(rig.host.rest(asleep), Rest::Over);
        assert!(rig.host.failure(asleep).is_some());
        // It is not tried again: what is in memory of it may be older than what the journal holds by then.
        rig.world.journal.disk().unreadable = false;
    }
    // Others go on, and given up it can be opened anew.
    rig.host.close(asleep);
    rig.host.open(asleep).unwrap();
    rig.until(|rig| rig.host.rest(asleep) == Rest::Gates);
}
