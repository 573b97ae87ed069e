//! Many runs in one host.

use std::sync::atomic::Ordering;

use kapell_core::{
    budget::Amount,
    event::Outputs,
    plan::{AgentSpec, Definition, PlanBuilder, PlanLimits, Slot, Work},
    retry::FailureClass,
    time::Wall,
};
use kapell_engine::{
    host::{Input, Rest},
    port::agents::{AttemptKey, Ending, Failure, Report},
};

use crate::rig::{Rig, World, key, mission, noop, plan, run_id, script};

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
        options: Default::default(),
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
        let ending = Ending { result: Err(failure), outputs: Outputs::new(), spent: Amount::ZERO };
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
    for number in 0..runs {
        rig.host.open(run_id(number)).unwrap();
    }
    rig.until(|rig| (0..runs).all(|number| rig.host.rest(run_id(number)) == Rest::Waiting));
    let each = resident().saturating_sub(before) / usize::try_from(runs).unwrap();
    println!(
        "{each} bytes of resident memory for a parked run, with the row that its opening adds to this journal"
    );
    assert!(each < 12 << 10, "{each}");
    drop(first);
    let appends = rig.world.journal.disk().appends;
    let reads = rig.world.clock.reads.load(Ordering::SeqCst);
    // Hours pass; the host looks at the clock, and at no run.
    for _ in 0..100 {
        rig.world.clock.pass(300_000);
        rig.step();
    }
    let reads = rig.world.clock.reads.load(Ordering::SeqCst) - reads;
    assert!(reads <= 100 * 3, "the clock was read {reads} times");
    assert_eq!(rig.world.journal.disk().appends, appends);
    rig.world.clock.set_wall(100_000_000);
    rig.until(|rig| rig.agents.orders.lock().unwrap().len() as u64 == runs);
}
