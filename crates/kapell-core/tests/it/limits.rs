//! Claims, slots and budgets: what must be free before an attempt starts.

use insta::assert_snapshot;

use crate::story::given;

#[test]
fn overlapping_claims_wait_and_are_granted_in_order() {
    let mut run = given("a claims src/a; b claims src/**; c claims src/c; d claims docs");
    assert_snapshot!(run.stand(), @"active; a running; b awaiting_claims; c awaiting_claims; d running");
    // The wide claim was asked for first, so `c` does not overtake it though nobody holds src/c.
    assert_snapshot!(run.when("
        00:01 done a
        00:02 done b
    "), @"
    > 00:01 done a
    event  a completed
    event  b started attempt=1
    effect start b #1
    > 00:02 done b
    event  b completed
    event  c started attempt=1
    effect start c #1
    ");
}

#[test]
fn claims_are_all_or_none() {
    let mut run = given("a claims x; b claims x,y; c claims y");
    assert_snapshot!(run.stand(), @"active; a running; b awaiting_claims; c awaiting_claims");
    assert_snapshot!(run.when("00:01 done a"), @"
    event  a completed
    event  b started attempt=1
    effect start b #1
    ");
}

#[test]
fn claims_are_held_until_the_change_has_landed() {
    let mut run = given("mission base; a claims x accept check; b claims x");
    assert_snapshot!(run.when("
        00:01 done a change
        00:02 judge a pass
        00:03 probe green
        00:04 moved
    "), @"
    > 00:01 done a change
    event  a submitted attempt=1 change.base=base change.commit=ef31cd change.tree=36ae98
    effect check a #1
    > 00:02 judge a pass
    event  a verified
    event  probe_asked 0 on base: a
    effect probe 0 on base: a
    > 00:03 probe green
    event  probed outcome.green.tips=[eac220] probe=0
    event  landing_started from=base to=eac220
    effect move_ref base..eac220
    > 00:04 moved
    event  a landed commit=eac220
    event  b started attempt=1
    effect start b #1
    ");
}

#[test]
fn claims_are_released_by_failure_parking_and_gates_and_taken_again() {
    for (plan, fail) in [
        ("a claims x retry 2 backoff 60..60", "fail a transient"),
        ("a claims x", "fail a permanent"),
        ("a claims x lost ask", "fail a lost"),
        ("agent p provider p; a claims x agent p", "fail a quota until 05:00"),
    ] {
        let mut run = given(&format!("{plan}; b claims x"));
        assert_eq!(run.state("b").name(), "awaiting_claims", "{plan}");
        run.when(&format!("00:01 {fail}"));
        assert_eq!(run.state("b").name(), "running", "{plan}");
        // Whoever wants it again asks again.
        if run.state("a").name() == "awaiting_gate" {
            run.when("00:02 answer 0 retry");
        }
        run.when("06:00 tick");
        let expected = if run.state("a").is_settled() { "failed" } else { "awaiting_claims" };
        assert_eq!(run.state("a").name(), expected, "{plan}");
        run.when("06:01 done b");
        let expected = if run.state("a").is_settled() { "failed" } else { "running" };
        assert_eq!(run.state("a").name(), expected, "{plan}");
    }
}

#[test]
fn claims_that_cannot_be_told_overlap_with_everything() {
    let run = given("a claims \"${{ nothing.there }}\"; b claims docs; c claims src/[ab]; d");
    assert_snapshot!(run.stand(), @"active; a running; b awaiting_claims; c awaiting_claims; d running");
}

#[test]
fn claims_can_be_computed() {
    let run = given("mission input x=docs; a claims \"${{ inputs.x }}/**\"; b claims docs/b; c claims src");
    assert_snapshot!(run.stand(), @"active; a running; b awaiting_claims; c running");
}

#[test]
fn an_agent_that_rests_wakes_who_waits_for_claims() {
    let mut run = given("mission agents 9; agent a provider p; hold claims x; t agent a claims x; q agent a")
        .and("00:01 fail q quota until 01:00");
    assert_eq!(run.state("t").name(), "awaiting_claims");
    assert_snapshot!(run.when("00:02 done hold"), @"event  hold completed");
    assert_snapshot!(run.wake(), @"elapsed 01:00, wall 01:00");
    assert_snapshot!(run.when("01:00 tick"), @"
    event  q woken
    event  t started agent=a attempt=1
    event  q started agent=a attempt=2
    effect start t #1
    effect start q #2
    ");
}

#[test]
fn a_pause_that_a_provider_asks_for_holds_for_all_its_agents_at_once() {
    let mut run = given(
        "mission agents 9; agent a provider p; agent b provider q; x; t agent a; u agent a after x; v agent b after x",
    );
    assert_snapshot!(run.when("00:01 throttled t until 01:00"), @"event  provider_parked latest=01:00 provider=p until=01:00");
    // It says so again and again while it waits.
    assert_snapshot!(run.when("00:02 throttled t until 00:50"), @"nothing");
    assert_snapshot!(run.when("00:03 done x"), @"
    event  x completed
    event  v started agent=b attempt=1
    effect start v #1
    ");
    assert_snapshot!(run.when("00:04 done t"), @"event  t completed");
    assert_snapshot!(run.when("01:00 tick"), @"
    event  u started agent=a attempt=1
    effect start u #1
    ");
}

#[test]
fn slots_are_counted_by_kind() {
    let run = given(
        "mission agents 2 jobs 1; agent a; agent j slot job; agent w slot none; \
         a1 agent a; a2 agent a; a3 agent a; j1 agent j; j2; j3; w1 agent w; w2 agent w",
    );
    assert_snapshot!(run.stand(), @"active; a1 running; a2 running; a3 ready; j1 running; j2 ready; j3 ready; w1 running; w2 running");
}

#[test]
fn without_any_slots_one_runs_at_a_time() {
    let mut run = given("mission agents 0 jobs 0; agent a; a1 agent a; a2 agent a; j1; j2");
    assert_snapshot!(run.stand(), @"active; a1 running; a2 ready; j1 ready; j2 ready");
    assert_snapshot!(run.when("
        00:01 done a1
        00:01 done j1
    "), @"
    > 00:01 done a1
    event  a1 completed
    event  a2 started agent=a attempt=1
    effect start a2 #1
    > 00:01 done j1
    refused attempt 0 of task 2 is no longer under way
    ");
}

#[test]
fn money_is_reserved_before_and_settled_after() {
    let mut run =
        given("mission usd 10 tokens 100; a usd 6 tokens 50; b usd 6; c usd 4 tokens 50; d tokens 1");
    assert_snapshot!(run.stand(), @"active; a running; b ready; c running; d ready");
    assert_eq!(run.run.ledger().reserved().usd_micros, 10);
    assert_snapshot!(run.when("00:01 done a usd 1 tokens 3"), @"
    event  a completed spent.tokens=3 spent.usd_micros=1
    event  d started attempt=1 reserved.tokens=1
    effect start d #1
    ");
    let ledger = run.run.ledger();
    assert_eq!((ledger.spent().usd_micros, ledger.spent().tokens), (1, 3));
    assert_eq!(run.stand(), "active; a done; b ready; c running; d running");
    assert_snapshot!(run.when("00:02 fail c permanent usd 3"), @r#"
    event  c attempt_failed attempt=1 class=permanent message="it was permanent" spent.usd_micros=3 then=give_up
    event  b started attempt=1 reserved.usd_micros=6
    effect start b #1
    "#);
}

#[test]
fn an_attempt_that_its_run_has_no_money_for_pauses_the_run_and_goes_on_with_more() {
    let mut run = given("mission usd 10; a; b; c after a");
    assert_snapshot!(run.when("
        00:01 fail a budget usd 4
        00:02 fail b budget usd 1
        00:03 resume usd 20
    "), @r#"
    > 00:01 fail a budget usd 4
    event  a attempt_failed attempt=1 class=budget message="it was budget" spent.usd_micros=4 then=again
    event  paused why.budget=usd
    > 00:02 fail b budget usd 1
    event  b attempt_failed attempt=1 class=budget message="it was budget" spent.usd_micros=1 then=again
    > 00:03 resume usd 20
    event  resumed limits.agents=4 limits.jobs=8 limits.usd_micros=20
    event  a started attempt=2
    event  b started attempt=2
    effect start a #2
    effect start b #2
    "#);
    // It is no fault of theirs.
    assert_eq!(run.run.task(run.task("a")).unwrap().failures, 0);
    // Where nothing is limited nobody can give more.
    assert_snapshot!(given("a").when("00:01 fail a budget"), @r#"
    event  a attempt_failed attempt=1 class=budget message="it was budget" then=give_up
    event  finished outcome=failed
    "#);
}

#[test]
fn a_run_that_only_a_higher_budget_helps_pauses_and_goes_on_with_more() {
    let mut run = given("mission usd 10; a usd 6; b usd 6");
    assert_snapshot!(run.when("
        00:01 done a usd 6
        00:02 resume
        00:03 resume usd 11
        00:04 resume usd 12
    "), @"
    > 00:01 done a usd 6
    event  a completed spent.usd_micros=6
    event  paused why.budget=usd
    > 00:02 resume
    event  resumed
    event  paused why.budget=usd
    > 00:03 resume usd 11
    event  resumed limits.agents=4 limits.jobs=8 limits.usd_micros=11
    event  paused why.budget=usd
    > 00:04 resume usd 12
    event  resumed limits.agents=4 limits.jobs=8 limits.usd_micros=12
    event  b started attempt=1 reserved.usd_micros=6
    effect start b #1
    ");
    assert_eq!(run.run.limits().usd_micros, Some(12));
}

#[test]
fn an_overrun_is_recorded_and_nothing_paid_starts_any_more() {
    let mut run =
        given("mission usd 10 agents 1; agent m; a agent m usd 5; b agent m usd 1; free agent m; c");
    assert_snapshot!(run.when("00:01 done a usd 13"), @"event  a completed spent.usd_micros=13");
    assert_eq!(run.run.ledger().overrun().usd_micros, 3);
    assert_snapshot!(run.when("00:02 done c"), @"
    event  c completed
    event  paused why.budget=usd
    ");
    assert_snapshot!(run.when("00:03 resume usd 20"), @"
    event  resumed limits.agents=1 limits.jobs=8 limits.usd_micros=20
    event  b started agent=m attempt=1 reserved.usd_micros=1
    effect start b #1
    ");
}

#[test]
fn a_budget_is_no_reason_to_pause_while_something_else_can_go_on() {
    // One waits for its backoff, one for its provider, one for a person.
    for (plan, before, then) in [
        ("a retry 2 backoff 9..9", "00:01 fail a transient", "00:10 tick"),
        ("agent m provider p; a agent m", "00:01 fail a quota until 00:10", "00:10 tick"),
        ("g gate ok?", "00:01 open 2", "00:10 answer 0 yes"),
        ("agent m; w agent m; a agent m after w", "00:01 fail w rate_limited", "00:10 tick"),
    ] {
        let mut run = given(&format!("mission usd 10; {plan}; dear usd 11"));
        run.when(before);
        assert_eq!(*run.run.phase(), kapell_core::run::Phase::Active, "{plan}");
        run.when(then);
    }
}

#[test]
fn the_time_budget_counts_only_while_something_is_under_way() {
    let mut run = given("mission wall 60; a retry 2 backoff 100..100; b after a");
    assert_snapshot!(run.wake(), @"elapsed 01:00");
    assert_snapshot!(run.when("
        00:20 fail a transient
        02:00 tick
    "), @r#"
    > 00:20 fail a transient
    event  a attempt_failed attempt=1 class=transient message="it was transient" then.retry.at=02:00
    > 02:00 tick
    event  a woken
    event  a started attempt=2
    effect start a #2
    "#);
    assert_eq!(run.run.busy().0, 20_000);
    assert_snapshot!(run.wake(), @"elapsed 02:40");
    assert_snapshot!(run.when("
        02:39.999 tick
        02:40 tick
        02:41 done a
    "), @r#"
    > 02:39.999 tick
    nothing
    > 02:40 tick
    event  paused why.budget=wall
    event  a stop_requested attempt=2 why=deadline
    effect stop a #2 Deadline
    > 02:41 done a
    event  a attempt_failed attempt=2 class=lost message="stopped, for the run's time is over" then=again
    "#);
    assert_snapshot!(run.when("
        03:00 resume
        03:01 resume wall 100
    "), @"
    > 03:00 resume
    event  resumed
    event  paused why.budget=wall
    > 03:01 resume wall 100
    event  resumed limits.agents=4 limits.jobs=8 limits.wall=100000
    event  a started attempt=3
    effect start a #3
    ");
    assert_snapshot!(run.wake(), @"elapsed 03:40");
}

#[test]
fn waiting_for_a_person_uses_up_no_time() {
    let mut run = given("mission wall 60; a accept check").and(
        "
        00:10 ask a \"which?\"
        05:00 answer 0 this
        05:10 done a
        05:20 judge a doubt
        09:00 answer 1 reject
    ",
    );
    assert_eq!(run.run.busy().0, 30_000);
    assert_eq!(run.wake(), "never");
    assert_snapshot!(run.stand(), @"finished Failed; a failed");
    run.when("09:01 tick");
}

#[test]
fn waiting_for_a_person_because_nothing_lands_uses_up_no_time() {
    let run = given("mission base wall 60; a").and("00:10 done a change x").and("00:20 unlandable");
    assert_eq!((run.run.busy().0, run.wake().as_str(), run.run.rests()), (20_000, "never", true));
    let run = run.and("10:20 resume");
    assert_eq!((run.run.busy().0, run.wake().as_str(), run.run.rests()), (20_000, "elapsed 11:00", false));
}

#[test]
fn a_deadline_stops_what_runs_and_a_resume_goes_on_without_it() {
    let mut run = given("mission deadline 01:00; a; b after a; deploy lost ask; t timeout 120");
    assert_snapshot!(run.wake(), @"elapsed 02:00, wall 01:00");
    assert_snapshot!(run.when("
        00:59 tick
        01:00 tick
        01:01 done a
        01:02 fail deploy transient
        01:03 done t
    "), @r#"
    > 00:59 tick
    nothing
    > 01:00 tick
    event  paused why=deadline
    event  a stop_requested attempt=1 why=deadline
    event  deploy stop_requested attempt=1 why=deadline
    event  t stop_requested attempt=1 why=deadline
    effect stop a #1 Deadline
    effect stop deploy #1 Deadline
    effect stop t #1 Deadline
    > 01:01 done a
    event  a attempt_failed attempt=1 class=lost message="stopped, for the run's time is over" then=again
    > 01:02 fail deploy transient
    event  deploy attempt_failed attempt=1 class=lost message="stopped, for the run's time is over" then.ask.gate=0
    event  deploy gate_opened choices=[retry,"give up"] gate=0 kind=lost question="attempt 1 of `deploy` was lost and may have done its work: try again?"
    effect notify gate 0
    > 01:03 done t
    event  t attempt_failed attempt=1 class=lost message="stopped, for the run's time is over" then=again
    "#);
    assert_snapshot!(run.stand(), @"paused Deadline; a ready; b blocked; deploy awaiting_gate; t ready");
    assert_snapshot!(run.when("
        02:00 resume
        02:01 done a
    "), @"
    > 02:00 resume
    event  resumed
    event  a started attempt=2
    event  t started attempt=2 deadline=04:00
    effect start a #2
    effect start t #2
    > 02:01 done a
    event  a completed
    event  b started attempt=1
    effect start b #1
    ");
}

#[test]
fn a_child_run_is_granted_a_share_of_the_slots() {
    let mut run = given(
        "mission agents 4 jobs 8; agent m; \
         w1 workflow \"agent m; x agent m\"; w2 workflow \"y\"; w3 workflow \"agent m; z agent m\"; \
         a1 agent m; j1",
    );
    assert_snapshot!(run.when("00:01 open 2"), @"event  opened epoch=2");
    assert_snapshot!(run.stand(), @"active; w1 running; w2 running; w3 ready; a1 running; j1 ready");
    let text: Vec<_> = run.rows[0].body.lines().filter(|line| line.contains("grant")).collect();
    assert_snapshot!(text.join("\n"), @r#"
    {"started":{"task":0,"attempt":1,"grant":{"agents":2,"jobs":4}}},
    {"started":{"task":1,"attempt":1,"grant":{"jobs":4}}},
    "#);
    assert_snapshot!(run.when("00:02 done w1"), @"
    event  w1 completed
    event  w3 started attempt=1 grant.agents=2 grant.jobs=4
    effect start w3 #1
    ");
}

#[test]
fn one_agent_slot_is_used_once_over_the_tree_of_runs() {
    let mut run = given("mission agents 1 jobs 1; agent m; w workflow \"agent m; x agent m\"; a agent m; j");
    assert_snapshot!(run.stand(), @"active; w running; a ready; j ready");
    let running = run.stand().matches("running").count();
    assert_eq!(running, 1, "the child has the only agent slot and the only job slot, or the others have");
    let first = ["w", "a"].into_iter().find(|task| run.state(task).name() == "running").unwrap();
    assert_snapshot!(run.when(&format!("00:01 done {first}")), @"
    event  w completed
    event  a started agent=m attempt=1
    event  j started attempt=1
    effect start a #1
    effect start j #1
    ");
}

#[test]
fn what_a_child_run_may_spend_is_reserved_in_its_parent() {
    let mut run = given("mission usd 10; w workflow \"x\" usd 8; a usd 3");
    assert_eq!(run.run.ledger().reserved().usd_micros, 8);
    assert_eq!(run.state("a").name(), "ready");
    assert_snapshot!(run.when("00:09 done w usd 5 \"x.out=1\""), @"
    event  w completed outputs.x.out=1 spent.usd_micros=5
    event  a started attempt=1 reserved.usd_micros=3
    effect start a #1
    ");
    assert_eq!(run.run.ledger().spent().usd_micros, 5);
}

#[test]
fn no_more_than_a_bounded_number_of_tasks_wait_for_claims() {
    let plan: String = (0..300).map(|task| format!("t{task} claims one; ")).collect();
    let mut run = given(&plan);
    let mut seen = vec![];
    for done in 0..50 {
        seen.push((run.run.claims().waiting_len(), run.run.counts().of("ready")));
        run.when(&format!("00:01 done t{done}"));
    }
    assert_eq!((seen[0], seen[1], seen[42], seen[43]), ((256, 43), (256, 42), (256, 1), (256, 0)));
    assert_eq!(seen[44], (255, 0));
}

#[test]
fn the_first_thing_to_come_is_the_one_to_wake_for() {
    let run = given(
        "mission jobs 9; a retry 2 backoff 30..30; b retry 2 backoff 10..10; c timeout 50; d timeout 40; \
         x after a deadline 08:00; y after a deadline 07:00",
    )
    .and("00:01 fail a transient & fail b transient");
    assert_eq!(run.wake(), "elapsed 00:11, wall 07:00");
    let run = run.and("00:11 tick").and("00:12 done b");
    assert_eq!(run.wake(), "elapsed 00:31, wall 07:00");
    let run = run.and("00:31 tick");
    assert_eq!(run.wake(), "elapsed 00:40, wall 07:00");
    let run = run.and("00:32 done a").and("00:33 done y");
    assert_eq!(run.wake(), "elapsed 00:40");

    let run = given("mission agents 9; agent p provider p; agent q provider q; a agent p; b agent q").and(
        "
        00:01 fail a quota until 03:00
        00:01 fail b quota until 02:00
    ",
    );
    assert_eq!(run.wake(), "elapsed 02:00, wall 02:00");
    let run = run.and("02:00 tick");
    assert_eq!(run.state("b").name(), "running");
    assert_eq!(run.wake(), "elapsed 03:00, wall 03:00");
}

#[test]
fn a_child_run_alone_gets_half_but_never_nothing() {
    for (limits, grant) in [
        ("agents 5 jobs 7", (2, 3)),
        ("agents 1 jobs 1", (1, 1)),
        ("agents 0 jobs 0", (1, 1)),
        ("agents 2 jobs 2", (1, 1)),
    ] {
        let run = given(&format!("mission {limits}; w workflow \"agent m; x agent m\""));
        let kapell_core::task::TaskState::Running(attempt) = run.state("w") else { panic!("it runs") };
        assert_eq!((attempt.slots.agents, attempt.slots.jobs), grant, "{limits}");
    }
}

#[test]
fn a_budget_is_no_reason_to_pause_while_a_change_is_about_to_land() {
    let mut run = given("mission base usd 10; a usd 5; dear usd 11").and("00:01 done a change");
    assert_eq!(run.stand(), "active; a verified; dear ready");
    run.when("00:02 probe green");
    assert_eq!(run.stand(), "active; a verified; dear ready");
    run.when("00:03 moved");
    assert_eq!(run.stand(), "paused Budget(Usd); a landed; dear ready");
}

#[test]
fn slots_without_end_are_not_counted_beyond_the_last_number() {
    let run = given("mission jobs 4294967295; a workflow x; b workflow x; c workflow x");
    assert_eq!(run.stand(), "active; a running; b running; c ready");
    let run = run.and("00:01 done a");
    assert_eq!(run.stand(), "active; a done; b running; c running");
}

#[test]
fn a_child_run_that_cannot_be_paid_for_does_not_stand_in_the_way_of_one_that_can() {
    // Both take a share of the tokens; the first asks for more money than there is.
    let run = given(
        "mission usd 60 tokens 1000; a workflow \"agent m; x agent m\" usd 100; \
         b workflow \"agent m; x agent m\"",
    );
    assert_eq!(run.stand(), "active; a ready; b running");
}
