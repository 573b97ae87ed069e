//! What follows a failure: retries, parking, substitution, rest; timeouts and lost attempts.

use insta::assert_snapshot;
use kapell_core::{
    retry::{FailureClass, Retry},
    time::Millis,
};

use crate::story::given;

#[test]
fn a_failed_attempt_is_retried_after_its_backoff() {
    let mut run = given("build retry 2 backoff 10..60; test after build");
    assert_snapshot!(run.when("00:10 fail build transient"), @r#"event  build attempt_failed attempt=1 class=transient message="it was transient" then.retry.at=00:38.910"#);
    assert_snapshot!(run.wake(), @"elapsed 00:38.910");
    assert_snapshot!(run.when("
        00:20 tick
        01:00 tick
        01:10 fail build transient
    "), @r#"
    > 00:20 tick
    nothing
    > 01:00 tick
    event  build woken
    event  build started attempt=2
    effect start build #2
    > 01:10 fail build transient
    event  build attempt_failed attempt=2 class=transient message="it was transient" then=give_up
    event  test skipped why=need
    event  finished outcome=failed
    "#);
    assert_eq!(run.run.task(run.task("build")).unwrap().attempts, 2);
    assert_eq!(run.run.task(run.task("build")).unwrap().failures, 2);
}

#[test]
fn the_pause_is_drawn_from_the_seed_the_task_and_the_attempt() {
    let retry = Retry { attempts: 9, backoff_min: Millis(10_000), backoff_max: Millis(60_000) };
    let mut run = given("mission seed 5; other; build retry 9 backoff 10..60");
    run.when("00:00 fail build transient");
    let task = run.task("build");
    let pause = retry.pause(5, task, kapell_core::id::AttemptNo(1));
    assert_eq!(run.run.next_wake().elapsed.unwrap().0, pause.0);
}

/// Each class with what follows from it, first with attempts left and then without.
#[test]
fn each_class_of_failure_leads_to_its_recovery() {
    let mut text = String::new();
    for class in FailureClass::ALL {
        let name = serde_json::to_value(class).unwrap();
        let name = name.as_str().unwrap();
        for retry in [2, 1] {
            for plan in ["build", "agent a fallback b; agent b; build agent a"] {
                let mut run = given(&format!("{plan} retry {retry} backoff 7..7"));
                let said = run.when(&format!("00:10 fail build {name}"));
                let then = said.lines().next().unwrap().split("then").nth(1).unwrap();
                let tally = run.run.task(run.task("build")).unwrap();
                let who = if plan == "build" { "nobody" } else { "a, then b" };
                text.push_str(&format!(
                    "{name} of {retry} by {who}: then{then}; counted {}; {}\n",
                    tally.failures,
                    run.state("build").name()
                ));
            }
        }
    }
    assert_snapshot!(text, @"
    transient of 2 by nobody: then.retry.at=00:17; counted 1; backing_off
    transient of 2 by a, then b: then.retry.at=00:17; counted 1; backing_off
    transient of 1 by nobody: then=give_up; counted 1; failed
    transient of 1 by a, then b: then.substitute.agent=b; counted 0; running
    rate_limited of 2 by nobody: then.retry.at=00:17; counted 0; backing_off
    rate_limited of 2 by a, then b: then.retry.at=00:17; counted 0; backing_off
    rate_limited of 1 by nobody: then.retry.at=00:17; counted 0; backing_off
    rate_limited of 1 by a, then b: then.retry.at=00:17; counted 0; backing_off
    quota of 2 by nobody: then.retry.at=00:17; counted 0; backing_off
    quota of 2 by a, then b: then.retry.at=00:17; counted 0; backing_off
    quota of 1 by nobody: then.retry.at=00:17; counted 0; backing_off
    quota of 1 by a, then b: then.retry.at=00:17; counted 0; backing_off
    timeout of 2 by nobody: then.retry.at=00:17; counted 1; backing_off
    timeout of 2 by a, then b: then.retry.at=00:17; counted 1; backing_off
    timeout of 1 by nobody: then=give_up; counted 1; failed
    timeout of 1 by a, then b: then.substitute.agent=b; counted 0; running
    invalid_output of 2 by nobody: then.retry.at=00:17; counted 1; backing_off
    invalid_output of 2 by a, then b: then.retry.at=00:17; counted 1; backing_off
    invalid_output of 1 by nobody: then=give_up; counted 1; failed
    invalid_output of 1 by a, then b: then.substitute.agent=b; counted 0; running
    conflict of 2 by nobody: then=again; counted 1; running
    conflict of 2 by a, then b: then=again; counted 1; running
    conflict of 1 by nobody: then=again; counted 1; running
    conflict of 1 by a, then b: then=again; counted 1; running
    verification of 2 by nobody: then.retry.at=00:17; counted 1; backing_off
    verification of 2 by a, then b: then.retry.at=00:17; counted 1; backing_off
    verification of 1 by nobody: then=give_up; counted 1; failed
    verification of 1 by a, then b: then.substitute.agent=b; counted 0; running
    permission of 2 by nobody: then=give_up; counted 1; failed
    permission of 2 by a, then b: then=give_up; counted 1; failed
    permission of 1 by nobody: then=give_up; counted 1; failed
    permission of 1 by a, then b: then=give_up; counted 1; failed
    lost of 2 by nobody: then=again; counted 0; running
    lost of 2 by a, then b: then=again; counted 0; running
    lost of 1 by nobody: then=again; counted 0; running
    lost of 1 by a, then b: then=again; counted 0; running
    budget of 2 by nobody: then=give_up; counted 0; failed
    budget of 2 by a, then b: then.substitute.agent=b; counted 0; running
    budget of 1 by nobody: then=give_up; counted 0; failed
    budget of 1 by a, then b: then.substitute.agent=b; counted 0; running
    permanent of 2 by nobody: then=give_up; counted 1; failed
    permanent of 2 by a, then b: then.substitute.agent=b; counted 0; running
    permanent of 1 by nobody: then=give_up; counted 1; failed
    permanent of 1 by a, then b: then.substitute.agent=b; counted 0; running
    ");
}

#[test]
fn an_attempt_that_takes_too_long_is_stopped_and_retried() {
    let mut run = given("build timeout 30 retry 2 backoff 5..5");
    assert_snapshot!(run.wake(), @"elapsed 00:30");
    assert_snapshot!(run.when("
        00:29.999 tick
        00:30 tick
        00:31 tick
        00:32 done build
        00:37 tick
        01:07 tick
        01:08 fail build transient
    "), @r#"
    > 00:29.999 tick
    nothing
    > 00:30 tick
    event  build stop_requested attempt=1 why=timeout
    effect stop build #1 Timeout
    > 00:31 tick
    nothing
    > 00:32 done build
    event  build attempt_failed attempt=1 class=timeout message="took longer than 30 s" then.retry.at=00:37
    > 00:37 tick
    event  build woken
    event  build started attempt=2 deadline=01:07
    effect start build #2
    > 01:07 tick
    event  build stop_requested attempt=2 why=timeout
    effect stop build #2 Timeout
    > 01:08 fail build transient
    event  build attempt_failed attempt=2 class=timeout message="took longer than 30 s" then=give_up
    event  finished outcome=failed
    "#);
}

#[test]
fn a_jump_of_the_wall_clock_moves_no_timeout() {
    use kapell_core::{
        command::Command,
        time::{Elapsed, Now, Wall},
    };
    let mut run = given("build timeout 30");
    run.put(Now { wall: Wall(1_000_000_000), elapsed: Elapsed(29_000) }, vec![Command::Tick])
        .remove(0)
        .unwrap();
    assert_eq!(run.events, []);
    run.put(Now { wall: Wall(-5), elapsed: Elapsed(30_000) }, vec![Command::Tick]).remove(0).unwrap();
    assert_eq!(run.events.len(), 1);
    // Nor does the run's own clock ever go back in the journal.
    run.put(Now { wall: Wall(0), elapsed: Elapsed(5) }, vec![Command::Open { epoch: 2 }]).remove(0).unwrap();
    assert_eq!(run.rows.last().unwrap().elapsed, Elapsed(30_000));
    assert_eq!(run.run.clock(), Elapsed(30_000));
}

#[test]
fn a_lost_attempt_is_retried_and_not_counted() {
    let mut run = given("build");
    assert_snapshot!(run.when("
        00:10 fail build lost
        00:11 fail build lost
        00:12 done build
    "), @r#"
    > 00:10 fail build lost
    event  build attempt_failed attempt=1 class=lost message="it was lost" then=again
    event  build started attempt=2
    effect start build #2
    > 00:11 fail build lost
    event  build attempt_failed attempt=2 class=lost message="it was lost" then=again
    event  build started attempt=3
    effect start build #3
    > 00:12 done build
    event  build completed
    event  finished outcome=succeeded
    "#);
}

#[test]
fn lost_work_that_must_not_be_done_twice_asks_first() {
    let mut run = given("deploy lost ask; after_it after deploy");
    assert_snapshot!(run.when("00:10 fail deploy lost"), @r#"
    event  deploy attempt_failed attempt=1 class=lost message="it was lost" then.ask.gate=0
    event  deploy gate_opened choices=[retry,"give up"] gate=0 kind=lost question="attempt 1 of `deploy` was lost and may have done its work: try again?"
    effect notify gate 0
    "#);
    assert_snapshot!(run.when("
        00:11 answer 0 perhaps
        00:12 answer 0 retry
        00:13 answer 0 retry
        00:14 fail deploy lost
        00:15 answer 1 \"give up\"
    "), @r#"
    > 00:11 answer 0 perhaps
    refused the answer must be one of: retry, give up
    > 00:12 answer 0 retry
    event  gate_answered answer=retry by=ada gate=0
    event  deploy unblocked
    event  deploy started attempt=2
    effect start deploy #2
    > 00:13 answer 0 retry
    refused gate 0 is answered already
    > 00:14 fail deploy lost
    event  deploy attempt_failed attempt=2 class=lost message="it was lost" then.ask.gate=1
    event  deploy gate_opened choices=[retry,"give up"] gate=1 kind=lost question="attempt 2 of `deploy` was lost and may have done its work: try again?"
    effect notify gate 1
    > 00:15 answer 1 "give up"
    event  gate_answered answer="give up" by=ada gate=1
    event  deploy attempt_failed attempt=2 class=permission message="a person gave the lost attempt up" then=give_up
    event  after_it skipped why=need
    event  finished outcome=failed
    "#);
}

#[test]
fn a_used_up_quota_parks_all_agents_of_its_provider() {
    let mut run = given(
        "mission agents 2; agent a provider p; agent b provider p; agent c provider q; \
         t1 agent a; t2 agent b; t3 agent a; t4 agent b; t5 agent c",
    );
    assert_snapshot!(run.stand(), @"active; t1 running; t2 running; t3 ready; t4 ready; t5 ready");
    // After the first answer nothing of that provider starts; what is in flight may get the same answer.
    assert_snapshot!(run.when("
        00:10 fail t1 quota until 05:00
        00:11 fail t2 quota until 04:00
        00:12 done t5
    "), @r#"
    > 00:10 fail t1 quota until 05:00
    event  t1 attempt_failed attempt=1 class=quota message="it was quota" then.park.latest=05:00 then.park.until=05:00
    event  provider_parked latest=05:00 provider=p until=05:00
    event  t5 started agent=c attempt=1
    effect start t5 #1
    > 00:11 fail t2 quota until 04:00
    event  t2 attempt_failed attempt=1 class=quota message="it was quota" then.park.latest=04:00 then.park.until=04:00
    event  provider_parked latest=04:00 provider=p until=04:00
    > 00:12 done t5
    event  t5 completed
    "#);
    assert_snapshot!(run.wake(), @"elapsed 04:00, wall 04:00");
    assert_snapshot!(run.when("
        04:00 tick
        05:00 tick
    "), @"
    > 04:00 tick
    event  t2 woken
    > 05:00 tick
    event  t1 woken
    event  t1 started agent=a attempt=2
    event  t2 started agent=b attempt=2
    effect start t1 #2
    effect start t2 #2
    ");
}

#[test]
fn a_quota_without_a_reset_parks_the_provider_for_the_backoff() {
    let mut run = given("mission agents 1; agent a provider p; t1 agent a backoff 30..30; t2 agent a");
    assert_snapshot!(run.when("
        00:10 fail t1 rate_limited
        00:11 tick
    "), @r#"
    > 00:10 fail t1 rate_limited
    event  t1 attempt_failed attempt=1 class=rate_limited message="it was rate_limited" then.retry.at=00:40
    event  provider_parked latest=00:40 provider=p until=00:40
    > 00:11 tick
    nothing
    "#);
    assert_snapshot!(run.wake(), @"elapsed 00:40, wall 00:40");
    assert_snapshot!(run.when("00:40 tick"), @"
    event  t1 woken
    event  t1 started agent=a attempt=2
    effect start t1 #2
    ");
}

#[test]
fn a_reset_that_is_past_makes_no_busy_loop() {
    let mut run = given("agent a provider p; t1 agent a backoff 30..30");
    assert_snapshot!(run.when("00:10 fail t1 quota until 00:05"), @r#"
    event  t1 attempt_failed attempt=1 class=quota message="it was quota" then.retry.at=00:40
    event  provider_parked latest=00:40 provider=p until=00:40
    "#);
}

#[test]
fn an_agent_rests_after_five_failures_in_a_row_and_then_tries_once() {
    let mut run = given(
        "mission agents 3; agent a; t1 agent a retry 9 backoff 1..1; t2 agent a retry 9 backoff 1..1; \
        t3 agent a retry 9 backoff 1..1; t4 agent a",
    )
    .and(
        "
        00:01 fail t1 transient
        00:01 fail t2 timeout
        00:01 fail t3 invalid_output
        00:02 tick
        00:03 fail t1 transient
    ",
    );
    assert_snapshot!(run.when("00:03 fail t2 transient"), @r#"
    event  t2 attempt_failed attempt=2 class=transient message="it was transient" then.retry.at=00:04
    event  breaker_opened agent=a until=00:33
    "#);
    assert_snapshot!(run.stand(), @"active; t1 backing_off; t2 backing_off; t3 running; t4 running");
    assert_snapshot!(run.when("
        00:04 fail t3 transient
        00:33 tick
        01:04 tick
    "), @r#"
    > 00:04 fail t3 transient
    event  t3 attempt_failed attempt=2 class=transient message="it was transient" then.retry.at=00:05
    event  breaker_opened agent=a until=01:04
    event  t1 woken
    event  t2 woken
    > 00:33 tick
    event  t3 woken
    > 01:04 tick
    nothing
    "#);
    assert_snapshot!(run.stand(), @"active; t1 ready; t2 ready; t3 ready; t4 running");
    assert_snapshot!(run.wake(), @"never");
    // Half open: a failure lets it rest longer, a success ends the row.
    let half_open = run.stand();
    assert_eq!(half_open.matches("running").count(), 1);
    let tried =
        ["t1", "t2", "t3", "t4"].into_iter().find(|task| run.state(task).name() == "running").unwrap();
    assert_snapshot!(run.when(&format!("01:05 fail {tried} transient")), @r#"
    event  t4 attempt_failed attempt=1 class=transient message="it was transient" then=give_up
    event  breaker_opened agent=a until=03:05
    "#);
    assert_snapshot!(run.wake(), @"elapsed 03:05");
    let tried = {
        run.when("03:05 tick");
        ["t1", "t2", "t3", "t4"].into_iter().find(|task| run.state(task).name() == "running").unwrap()
    };
    assert_snapshot!(run.when(&format!("03:06 done {tried}")), @"
    event  t1 completed
    event  t2 started agent=a attempt=3
    event  t3 started agent=a attempt=3
    effect start t2 #3
    effect start t3 #3
    ");
    assert_eq!(run.stand().matches("running").count(), 2);
}

#[test]
fn a_rest_is_never_longer_than_ten_minutes() {
    let mut run = given("agent a; t agent a retry 99 backoff 1..1");
    let mut rests = vec![];
    let mut at = 0;
    for _ in 0..12 {
        at += 1;
        let said = run.when(&format!("{}:{}.000 fail t transient", at / 60, at % 60));
        let rest = said
            .lines()
            .find(|line| line.contains("breaker_opened"))
            .and_then(|line| line.split("until=").nth(1));
        if let Some(rest) = rest {
            rests.push(crate::script::millis(rest) / 1000 - at);
        }
        at = run.run.next_wake().elapsed.unwrap().0 / 1000;
        run.when(&format!("{}:{} tick", at / 60, at % 60));
        if run.state("t").name() == "ready" {
            at = run.run.next_wake().elapsed.unwrap().0 / 1000;
            run.when(&format!("{}:{} tick", at / 60, at % 60));
        }
    }
    assert_eq!(rests, [30, 60, 120, 240, 480, 600, 600, 600]);
}

#[test]
fn failures_that_are_not_the_agents_own_do_not_tire_it() {
    let mut run = given("agent a; t agent a retry 99 backoff 1..1 accept check");
    for n in 0..20 {
        let class = ["lost", "conflict", "verification", "rate_limited"][n % 4];
        run.when(&format!("{n}:00 fail t {class}"));
        run.when(&format!("{n}:30 tick"));
        assert_eq!(run.run.rest(kapell_core::id::AgentId(0)), None);
    }
    // Checks that cannot run say nothing about the agent whose result they were to check.
    for n in 20..40 {
        run.when(&format!("{n}:00 done t"));
        run.when(&format!("{n}:10 judge t broken"));
        run.when(&format!("{n}:30 tick"));
        assert_eq!(run.run.rest(kapell_core::id::AgentId(0)), None);
    }
}

#[test]
fn checks_that_cannot_run_do_not_open_a_breaker_that_is_nearly_full() {
    let mut run = given(
        "mission agents 9; agent a; c agent a accept check; t1 agent a; t2 agent a; t3 agent a; t4 agent a",
    )
    .and(
        "
        00:01 done c
        00:02 fail t1 transient
        00:02 fail t2 transient
        00:02 fail t3 transient
        00:02 fail t4 transient
    ",
    );
    assert_snapshot!(run.when("00:03 judge c broken"), @r#"
    event  c attempt_failed attempt=1 class=transient message="no cargo here" then=give_up
    event  finished outcome=failed
    "#);
}

#[test]
fn stopped_attempts_do_not_tire_an_agent() {
    let mut run = given(
        "mission agents 9; agent a; t1 agent a; t2 agent a; t3 agent a; t4 agent a; t5 agent a; t6 agent a",
    );
    run.when("00:01 revise \"mission agents 9; agent a; t1 agent a; t2 agent a; t3 agent a; t4 agent a; t5 agent a; t6 agent a\" drop t1,t2,t3,t4,t5");
    for task in ["t1", "t2", "t3", "t4", "t5"] {
        run.when(&format!("00:02 done {task}"));
    }
    assert_snapshot!(run.when("00:03 fail t6 transient"), @r#"
    event  t6 attempt_failed attempt=1 class=transient message="it was transient" then=give_up
    event  finished outcome=failed
    "#);
}

#[test]
fn agents_take_over_along_the_chain_each_once() {
    let mut run =
        given("agent a fallback b; agent b fallback c; agent c fallback a; t agent a retry 2 backoff 1..1");
    assert_snapshot!(run.when("
        00:01 fail t transient
        00:02 tick
        00:03 fail t transient
        00:04 fail t permanent
        00:05 fail t transient
        00:06 tick
        00:07 fail t transient
    "), @r#"
    > 00:01 fail t transient
    event  t attempt_failed attempt=1 class=transient message="it was transient" then.retry.at=00:02
    > 00:02 tick
    event  t woken
    event  t started agent=a attempt=2
    effect start t #2
    > 00:03 fail t transient
    event  t attempt_failed attempt=2 class=transient message="it was transient" then.substitute.agent=b
    event  t started agent=b attempt=3
    effect start t #3
    > 00:04 fail t permanent
    event  t attempt_failed attempt=3 class=permanent message="it was permanent" then.substitute.agent=c
    event  t started agent=c attempt=4
    effect start t #4
    > 00:05 fail t transient
    event  t attempt_failed attempt=4 class=transient message="it was transient" then.retry.at=00:06
    > 00:06 tick
    event  t woken
    event  t started agent=c attempt=5
    effect start t #5
    > 00:07 fail t transient
    event  t attempt_failed attempt=5 class=transient message="it was transient" then=give_up
    event  finished outcome=failed
    "#);
}

#[test]
fn permission_is_not_asked_of_another_agent() {
    let mut run = given("agent a fallback b; agent b; t agent a retry 5");
    assert_snapshot!(run.when("00:01 fail t permission"), @r#"
    event  t attempt_failed attempt=1 class=permission message="it was permission" then=give_up
    event  finished outcome=failed
    "#);
}

#[test]
fn a_task_that_has_not_started_by_its_deadline_has_failed() {
    let mut run = given(
        "mission jobs 1; a; late deadline 00:30; then after late; fine after a deadline 00:30 retry 2 backoff 60..60",
    );
    assert_snapshot!(run.wake(), @"wall 00:30");
    assert_snapshot!(run.stand(), @"active; a running; late ready; then blocked; fine blocked");
    assert_snapshot!(run.when("
        00:29 tick
        00:30 tick
    "), @r#"
    > 00:29 tick
    nothing
    > 00:30 tick
    event  late attempt_failed attempt=0 class=timeout message="had not started by its deadline" then=give_up
    event  then skipped why=need
    event  fine attempt_failed attempt=0 class=timeout message="had not started by its deadline" then=give_up
    "#);
    assert_snapshot!(run.stand(), @"active; a running; late failed; then skipped; fine failed");
}
