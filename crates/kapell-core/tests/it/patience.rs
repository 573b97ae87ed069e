//! What is borne for how long: losses, full providers, wrong clocks, people who think, compensations that hang. And
//! child runs, which wait with their parents.

use insta::assert_snapshot;
use kapell_core::{
    command::Command,
    time::{Elapsed, Now, Wall},
};

use crate::{script::command, story::given};

#[test]
fn a_task_that_is_lost_again_and_again_is_given_up() {
    let mut run = given("mission lost 3; a; b after a");
    assert_snapshot!(run.when("
        00:01 fail a lost
        00:02 fail a lost
        00:03 fail a lost
    "), @r#"
    > 00:01 fail a lost
    event  a attempt_failed attempt=1 class=lost message="it was lost" then=again
    event  a started attempt=2
    effect start a #2
    > 00:02 fail a lost
    event  a attempt_failed attempt=2 class=lost message="it was lost" then=again
    event  a started attempt=3
    effect start a #3
    > 00:03 fail a lost
    event  a attempt_failed attempt=3 class=lost message="it was lost; given up after 3 lost attempts in a row" then=give_up
    event  b skipped why=need
    event  finished outcome=failed
    "#);
}

#[test]
fn a_loss_after_something_else_is_a_first_one() {
    let mut run = given("mission lost 2; a retry 3 backoff 1..1; b").and(
        "
        00:01 fail a lost
        00:02 fail a transient
        00:03 tick
        00:04 fail a lost
    ",
    );
    assert_eq!(run.state("a").name(), "running");
    run.when("00:05 fail a lost");
    assert_eq!(run.state("a").name(), "failed");
}

#[test]
fn a_loss_after_a_hand_off_is_a_first_one() {
    let run = given("mission lost 2; agent p; agent q; a agent p").and(
        "
        00:01 fail a lost
        00:02 handoff a q on
        00:03 done a
        00:04 fail a lost
    ",
    );
    assert_eq!(run.state("a").name(), "running");
    let run = run.and("00:05 fail a lost");
    assert_eq!(run.state("a").name(), "failed");
}

#[test]
fn a_run_that_is_paused_does_not_wake_for_a_pause_of_a_task() {
    let run = given("a retry 2 backoff 10..10; b timeout 60").and("00:01 fail a transient");
    assert_eq!(run.wake(), "elapsed 00:11");
    // What runs has its deadline all the same.
    let run = run.and("00:02 pause");
    assert_eq!(run.wake(), "elapsed 01:00");
    let run = run.and("00:30 done b");
    assert_eq!(run.wake(), "never");
    assert_eq!(run.and("00:40 resume").state("a").name(), "running");
}

#[test]
fn what_is_stopped_at_a_deadline_is_not_lost() {
    let run = given("mission lost 1 deadline 01:00; a; b").and(
        "
        01:00 tick
        01:01 fail a lost
        01:02 done b
        01:03 resume
    ",
    );
    assert_eq!(run.state("a").name(), "running");
}

#[test]
fn a_lost_task_that_asks_needs_no_bound() {
    let run = given("mission lost 1; a lost ask").and("00:01 fail a lost");
    assert_eq!(run.state("a").name(), "awaiting_gate");
}

#[test]
fn another_agent_takes_over_from_one_that_is_always_lost() {
    let run = given("mission lost 2; agent p fallback q; agent q; a agent p")
        .and("00:01 fail a lost")
        .and("00:02 fail a lost");
    assert_eq!(run.run.agent(run.task("a")).map(|agent| agent.0), Some(1));
    let run = run.and("00:03 fail a lost");
    assert_eq!(run.state("a").name(), "running", "the other agent has lost nothing yet");
}

#[test]
fn a_provider_that_only_asks_for_pauses_is_given_up() {
    let mut run = given("mission limited 60; agent p provider p; a agent p backoff 30..30; b");
    assert_snapshot!(run.when("
        00:01 fail a rate_limited
        00:31 tick
        00:32 fail a rate_limited
        01:02 tick
        01:03 fail a rate_limited
    "), @r#"
    > 00:01 fail a rate_limited
    event  a attempt_failed attempt=1 class=rate_limited message="it was rate_limited" then.retry.at=00:31
    event  provider_parked latest=00:31 provider=p until=00:31
    > 00:31 tick
    event  a woken
    event  a started agent=p attempt=2
    effect start a #2
    > 00:32 fail a rate_limited
    event  a attempt_failed attempt=2 class=rate_limited message="it was rate_limited" then.retry.at=01:02
    event  provider_parked latest=01:02 provider=p until=01:02
    > 01:02 tick
    event  a woken
    event  a started agent=p attempt=3
    effect start a #3
    > 01:03 fail a rate_limited
    event  a attempt_failed attempt=3 class=rate_limited message="it was rate_limited; given up after its provider has asked for pauses for 62 s" then=give_up
    event  provider_parked latest=01:33 provider=p until=01:33
    "#);
}

#[test]
fn a_wrong_clock_parks_for_no_longer_than_is_borne() {
    // The clock of this machine says 1970; the provider names a day of today.
    let mut run = given("mission quota 600; agent p provider p; a agent p; b agent p; c");
    let far = Command::Finish {
        task: run.task("a"),
        attempt: kapell_core::id::AttemptNo(1),
        exit: kapell_core::command::Exit::Failed {
            class: kapell_core::retry::FailureClass::Quota,
            message: "until tomorrow".to_owned(),
            spent: kapell_core::budget::Amount::ZERO,
            until: Some(Wall(1_800_000_000_000)),
        },
    };
    let at = crate::script::now("00:01");
    run.put(at, vec![far]).remove(0).unwrap();
    assert_eq!(run.state("a").name(), "parked");
    let run = run.and("00:02 fail b transient");
    assert_snapshot!(run.wake(), @"elapsed 10:01, wall 30000000:00");
    let run = run.and("10:01 tick");
    assert_eq!(run.state("a").name(), "running");
}

#[test]
fn a_clock_that_is_set_back_does_not_make_a_park_longer() {
    let mut run = given("agent p provider p; a agent p; b").and("02:00 fail a quota until 03:00");
    let back = Now { wall: Wall(-1_000_000_000), elapsed: Elapsed(179_999) };
    let tick = || command(&given("a").run, "tick");
    run.put(back, vec![tick()]).remove(0).unwrap();
    assert_eq!(run.state("a").name(), "parked");
    run.put(Now { elapsed: Elapsed(180_000), ..back }, vec![tick()]).remove(0).unwrap();
    assert_eq!(run.state("a").name(), "running");
}

#[test]
fn the_time_of_a_task_stands_still_while_it_waits_for_an_answer() {
    let run = given("a timeout 60; b").and("00:20 ask a so?");
    assert_snapshot!(run.wake(), @"never");
    let run = run.and("05:20 answer 0 yes");
    assert_snapshot!(run.wake(), @"elapsed 06:00");
    let mut run = run.and("05:59 tick");
    assert_snapshot!(run.when("06:00 tick"), @"
    event  a stop_requested attempt=1 why=timeout
    effect stop a #1 Timeout
    ");
}

#[test]
fn a_compensation_that_hangs_is_stopped_and_tried_again() {
    let mut run = given("mission saga; a timeout 30 compensate undo; b after a").and("00:01 done a");
    assert_snapshot!(run.when("
        00:02 fail b permanent
        00:31 tick
        00:32 tick
        00:33 stuck a
        00:34 undone a
    "), @r#"
    > 00:02 fail b permanent
    event  b attempt_failed attempt=1 class=permanent message="it was permanent" then=give_up
    event  compensation_begun
    event  a compensation_started attempt=1 deadline=00:32
    effect compensate a #1
    > 00:31 tick
    nothing
    > 00:32 tick
    event  a stop_requested attempt=1 why=timeout
    effect stop a #1 Timeout
    > 00:33 stuck a
    event  a compensation_failed again=true attempt=1 deadline=01:03 message="no way back"
    effect compensate a #2
    > 00:34 undone a
    event  a compensated
    event  finished outcome=compensated
    "#);
}

const PARENT: &str = "mission deadline 01:00; part workflow \"x; y after x\" timeout 600; a; last after part";

#[test]
fn at_a_deadline_a_child_run_is_paused_and_not_stopped() {
    let mut run = given(PARENT);
    assert_snapshot!(run.when("
        01:00 tick
        01:01 fail a transient
        01:02 resume
        01:03 done part
    "), @r#"
    > 01:00 tick
    event  paused why=deadline
    event  a stop_requested attempt=1 why=deadline
    effect stop a #1 Deadline
    effect hold part #1 Stop
    > 01:01 fail a transient
    event  a attempt_failed attempt=1 class=lost message="stopped, for the run's time is over" then=again
    > 01:02 resume
    event  resumed
    event  a started attempt=2
    effect start a #2
    effect hold part #1 None
    > 01:03 done part
    event  part completed
    event  last started attempt=1
    effect start last #1
    "#);
}

#[test]
fn a_child_run_pauses_and_goes_on_with_its_parent() {
    let mut run = given(PARENT);
    assert_snapshot!(run.when("
        00:10 pause
        00:11 resume
        00:12 cancel
    "), @"
    > 00:10 pause
    event  paused why=person
    effect hold part #1 Finish
    > 00:11 resume
    event  resumed
    effect hold part #1 None
    > 00:12 cancel
    event  cancel_requested
    event  part stop_requested attempt=1 why=cancelled
    event  a stop_requested attempt=1 why=cancelled
    effect stop part #1 Cancelled
    effect stop a #1 Cancelled
    ");
}

#[test]
fn what_a_parent_holds_goes_on_only_with_it() {
    let mut run = given("a; b after a");
    assert_snapshot!(run.when("
        00:01 hold
        00:02 hold stop
        00:03 resume
        00:04 done a
        00:05 release
        00:06 release
        00:07 pause
        00:08 hold
        00:09 release
        00:10 resume
        00:11 hold stop
    "), @r#"
    > 00:01 hold
    event  paused why.parent.stop=false
    > 00:02 hold stop
    event  held stop=true
    event  a stop_requested attempt=1 why=deadline
    effect stop a #1 Deadline
    > 00:03 resume
    refused the run that it is part of is paused: resume that one
    > 00:04 done a
    event  a attempt_failed attempt=1 class=lost message="stopped, for the run's time is over" then=again
    > 00:05 release
    event  resumed
    event  a started attempt=2
    effect start a #2
    > 00:06 release
    refused the run is not paused
    > 00:07 pause
    event  paused why=person
    > 00:08 hold
    event  held stop=false
    > 00:09 release
    event  released
    > 00:10 resume
    event  resumed
    > 00:11 hold stop
    event  paused why.parent.stop=true
    event  a stop_requested attempt=2 why=deadline
    effect stop a #2 Deadline
    "#);
}

#[test]
fn what_a_person_and_a_parent_hold_goes_on_once_neither_does() {
    let mut run = given("a; b after a; part workflow \"x\"");
    assert_snapshot!(run.when("
        00:01 pause
        00:02 hold
        00:03 hold
        00:04 resume
        00:05 resume
        00:06 release
        00:07 pause
        00:08 hold stop
        00:09 release
        00:10 release
        00:11 resume
    "), @"
    > 00:01 pause
    event  paused why=person
    effect hold part #1 Finish
    > 00:02 hold
    event  held stop=false
    effect hold part #1 Finish
    > 00:03 hold
    refused the run is paused already
    > 00:04 resume
    event  resumed
    event  paused why.parent.stop=false
    effect hold part #1 Finish
    > 00:05 resume
    refused the run that it is part of is paused: resume that one
    > 00:06 release
    event  resumed
    effect hold part #1 None
    > 00:07 pause
    event  paused why=person
    effect hold part #1 Finish
    > 00:08 hold stop
    event  held stop=true
    event  a stop_requested attempt=1 why=deadline
    effect stop a #1 Deadline
    effect hold part #1 Stop
    > 00:09 release
    event  released
    effect hold part #1 Finish
    > 00:10 release
    refused the run is not paused
    > 00:11 resume
    event  resumed
    effect hold part #1 None
    ");
    let mut run = given("a; part workflow \"x\"");
    assert_snapshot!(run.when("
        00:01 hold
        00:02 pause
        00:03 pause
        00:04 hold stop
        00:05 resume usd 5
        00:06 hold
        00:07 pause
        00:08 release
        00:09 resume
    "), @"
    > 00:01 hold
    event  paused why.parent.stop=false
    effect hold part #1 Finish
    > 00:02 pause
    event  paused why=person
    effect hold part #1 Finish
    > 00:03 pause
    refused the run is paused already
    > 00:04 hold stop
    event  held stop=true
    event  a stop_requested attempt=1 why=deadline
    effect stop a #1 Deadline
    effect hold part #1 Stop
    > 00:05 resume usd 5
    event  resumed limits.agents=4 limits.jobs=8 limits.usd_micros=5
    event  paused why.parent.stop=true
    effect hold part #1 Stop
    > 00:06 hold
    event  held stop=false
    effect hold part #1 Finish
    > 00:07 pause
    event  paused why=person
    effect hold part #1 Finish
    > 00:08 release
    event  released
    effect hold part #1 Finish
    > 00:09 resume
    event  resumed
    effect hold part #1 None
    ");
}

#[test]
fn what_fails_to_land_in_a_run_that_is_held_is_for_a_person_and_the_hold_lasts() {
    let mut run = given("mission base; a").and("00:01 done a change x");
    assert_snapshot!(run.when("
        00:02 hold
        00:03 unlandable
        00:04 resume
        00:05 release
    "), @r#"
    > 00:02 hold
    event  paused why.parent.stop=false
    > 00:03 unlandable
    event  paused why.landing_fails.message="disk full"
    > 00:04 resume
    event  resumed
    event  paused why.parent.stop=false
    event  probe_asked 1 on base: a
    effect probe 1 on base: a
    > 00:05 release
    event  resumed
    "#);
}

#[test]
fn while_a_child_run_rests_no_time_of_its_task_goes_by() {
    let mut run = given("mission wall 60; part timeout 100 workflow \"x\"; b timeout 5");
    assert_snapshot!(run.when("
        00:05 done b
        00:10 rests part & rests part & rests b
        05:00 tick
        05:01 pause
        06:00 goes_on part & goes_on part
    "), @"
    > 00:05 done b
    event  b completed
    > 00:10 rests part & rests part & rests b
    refused attempt 1 of task 1 is no longer under way
    event  part child_rested attempt=1
    > 05:00 tick
    nothing
    > 05:01 pause
    event  paused why=person
    effect hold part #1 Finish
    > 06:00 goes_on part & goes_on part
    event  part child_went_on attempt=1
    ");
    assert_eq!(run.run.busy().0, 10_000);
    let mut run = run.and("06:01 resume");
    assert_eq!((run.run.busy().0, run.wake().as_str()), (11_000, "elapsed 06:50"));
    assert_snapshot!(run.when("06:50 tick"), @"
    event  paused why.budget=wall
    effect hold part #1 Stop
    ");
    let run = given("part timeout 100 workflow \"x\"").and("00:10 rests part").and("06:00 goes_on part");
    assert_eq!(run.wake(), "elapsed 07:30", "what was left of its time is left");
    // A run rests that has nothing under way but what rests.
    assert!(!run.run.rests());
    let run = given("part timeout 100 workflow \"x\"; g gate ok?").and("00:01 rests part");
    assert!(run.run.rests());
    assert_eq!(run.wake(), "never");
    assert!(!given("mission base; a").run.rests());
}

#[test]
fn a_child_run_without_a_budget_of_its_own_gets_half_of_what_is_left() {
    let mut run = given(
        "mission usd 100 tokens 7; agent p; \
         one workflow \"agent q; x agent q\"; two workflow \"agent q; x agent q\" usd 10; \
         plain workflow \"x\"; a agent p usd 20",
    );
    let reserved = |name: &str| match run.state(name) {
        kapell_core::task::TaskState::Running(attempt) => {
            format!("{name} {}+{}", attempt.reserved.usd_micros, attempt.reserved.tokens)
        }
        state => format!("{name} {}", state.name()),
    };
    assert_snapshot!(["one", "two", "plain", "a"].map(reserved).join("; "), @"one 50+4; two 10+2; plain ready; a ready");
    assert_snapshot!(run.when("00:01 done one usd 30 tokens 7"), @"
    event  one completed spent.tokens=7 spent.usd_micros=30
    event  plain started attempt=1 grant.jobs=4
    event  a started agent=p attempt=1 reserved.usd_micros=20
    effect start plain #1
    effect start a #1
    ");
}

#[test]
fn a_child_run_waits_when_nothing_is_left_for_it() {
    let mut run =
        given("mission usd 10; agent p; a agent p usd 10; part after a workflow \"agent q; x agent q\"");
    assert_snapshot!(run.when("
        00:01 done a usd 10
        00:02 resume usd 30
    "), @"
    > 00:01 done a usd 10
    event  a completed spent.usd_micros=10
    event  paused why.budget=usd
    > 00:02 resume usd 30
    event  resumed limits.agents=4 limits.jobs=8 limits.usd_micros=30
    event  part started attempt=1 grant.agents=2 grant.jobs=4 reserved.usd_micros=10
    effect start part #1
    effect hold part #1 None
    ");
}

#[test]
fn a_parent_holds_what_its_child_run_may_claim() {
    let run = given(
        "part claims docs workflow \"x claims src/a; deep workflow 'y claims src/b'\"; a claims src/a; \
         b claims src/b/c.rs; c claims docs/x; d claims lib",
    );
    assert_snapshot!(run.stand(), @"active; part running; a awaiting_claims; b running; c awaiting_claims; d running");
    let run = run.and("00:01 done part");
    assert_snapshot!(run.stand(), @"active; part done; a running; b running; c running; d running");
}
