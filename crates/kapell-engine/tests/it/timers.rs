//! Backoff, timeouts, times of day: all by a clock that only the test moves.

use kapell_core::{
    budget::Amount,
    event::Outputs,
    mission::Mission,
    plan::{AgentSpec, Definition, PlanBuilder, PlanLimits, Slot, Work},
    retry::FailureClass,
    time::{Millis, Wall},
};
use kapell_engine::{
    host::Rest,
    port::agents::{Ending, Failure},
};

use crate::rig::{Rig, bad, good, mission, plan, script};

fn quiet(rig: &mut Rig) -> usize {
    for _ in 0..5 {
        rig.step();
    }
    rig.events().len()
}

#[test]
fn a_failed_attempt_is_tried_again_after_its_backoff_and_not_before() {
    let mut task = script("hold");
    task.retry.attempts = 2;
    let mut rig = Rig::with(mission(), plan(&[("a", task, &[])]));
    rig.until_said("start 0.1");
    rig.finish(0, 1, bad(FailureClass::Transient, "no luck"));
    rig.until(|rig| rig.state(0).starts_with("BackingOff"));
    assert_eq!(rig.settle(), Rest::Waiting);
    let wake = rig.run().next_wake().elapsed.unwrap();
    rig.world.clock.pass(wake.0 - 1);
    quiet(&mut rig);
    assert!(!rig.world.log.has("start 0.2"));
    rig.world.clock.pass(1);
    rig.until_said("start 0.2");
    rig.finish(0, 2, good());
    assert_eq!(rig.settle(), Rest::Over);
}

#[test]
fn a_jump_of_the_wall_clock_moves_no_backoff() {
    let mut task = script("hold");
    task.retry.attempts = 2;
    let mut rig = Rig::with(mission(), plan(&[("a", task, &[])]));
    rig.until_said("start 0.1");
    rig.finish(0, 1, bad(FailureClass::Transient, "no luck"));
    rig.settle();
    for wall in [i64::MAX / 2, -5, 0] {
        rig.world.clock.set_wall(wall);
        quiet(&mut rig);
        assert!(!rig.world.log.has("start 0.2"));
    }
}

#[test]
fn an_attempt_is_stopped_when_its_time_is_up() {
    let mut task = script("hold");
    task.timeout = Some(Millis::from_secs(5));
    let mut rig = Rig::with(mission(), plan(&[("a", task, &[])]));
    rig.until_said("start 0.1");
    rig.world.clock.pass(4_999);
    quiet(&mut rig);
    assert!(!rig.world.log.has("stop 0.1"));
    rig.world.clock.pass(1);
    rig.until_said("stop 0.1");
    rig.until(|rig| rig.state(0).starts_with("Failed"));
    assert_eq!(rig.state(0), "Failed { class: Timeout }");
}

fn prompt(provider: &str) -> std::sync::Arc<kapell_core::plan::Plan> {
    let mut builder = PlanBuilder::new();
    let agent = builder.agent(AgentSpec {
        name: "one".to_owned(),
        adapter: "test".to_owned(),
        provider: Some(provider.to_owned()),
        slot: Slot::Agent,
        fallback: None,
        ..AgentSpec::default()
    });
    let definition =
        Definition { agent: Some(agent), ..Definition::new(Work::Prompt("hold".parse().unwrap())) };
    let definition = builder.define(definition);
    builder.task("a", definition, &[]);
    std::sync::Arc::new(builder.seal(PlanLimits::default()).unwrap())
}

fn no_quota_until(until: i64) -> Ending {
    let failure = Failure {
        class: FailureClass::Quota,
        message: "come back later".to_owned(),
        until: Some(Wall(until)),
    };
    Ending { result: Err(failure), outputs: Outputs::new(), spent: Amount::ZERO, used: None }
}

#[test]
fn a_parked_task_wakes_at_its_time_of_day_however_the_clock_gets_there() {
    let mut rig = Rig::with(mission(), prompt("p"));
    rig.until_said("start 0.1");
    rig.finish(0, 1, no_quota_until(9_000_000));
    rig.until(|rig| rig.state(0).starts_with("Parked"));
    assert_eq!(rig.settle(), Rest::Waiting);
    rig.world.clock.pass(1_000_000);
    quiet(&mut rig);
    assert!(!rig.world.log.has("start 0.2"));
    // A jump, as after the machine slept or somebody set the clock.
    rig.world.clock.set_wall(9_000_000);
    rig.until_said("start 0.2");
}

#[test]
fn at_the_deadline_everything_is_stopped_and_the_run_pauses() {
    let mission = Mission { deadline: Some(Wall(1_010_000)), ..mission() };
    let mut rig = Rig::with(mission, plan(&[("a", script("hold"), &[])]));
    rig.until_said("start 0.1");
    rig.world.clock.pass(10_000);
    rig.until_said("stop 0.1");
    assert_eq!(rig.settle(), Rest::Paused);
}
