//! Gates and questions; pause, resume, cancel; sagas; revisions; merges.

use insta::assert_snapshot;
use kapell_core::{
    id::{AttemptNo, GateId},
    run::Phase,
};

use crate::story::given;

#[test]
fn a_gate_lets_pass_or_fails() {
    let mut run =
        given("build; ship after build gate \"Publish ${{ tasks.build.outputs.v }}?\"; tell after ship")
            .and("00:01 open 1");
    assert_snapshot!(run.when("00:10 done build v=7"), @r#"
    event  build completed outputs.v=7
    event  ship gate_opened choices=[yes,no] gate=0 kind=task question="Publish 7?"
    effect notify gate 0
    "#);
    assert_eq!(run.wake(), "never");
    assert_snapshot!(run.when("
        00:11 answer 1 yes
        00:12 answer 0 maybe
        00:13 answer 0 yes
        00:14 answer 0 no
    "), @"
    > 00:11 answer 1 yes
    refused there is no gate number 1
    > 00:12 answer 0 maybe
    refused the answer must be one of: yes, no
    > 00:13 answer 0 yes
    event  gate_answered answer=yes by=ada gate=0
    event  ship completed outputs.answer=yes
    event  tell started attempt=1
    effect start tell #1
    > 00:14 answer 0 no
    refused gate 0 is answered already
    ");
    assert_eq!(run.run.outputs(run.task("ship")).unwrap()["answer"], "yes");
    let mut run = given("ship gate ok?; tell after ship");
    assert_snapshot!(run.when("00:01 answer 0 no"), @r#"
    event  gate_answered answer=no by=ada gate=0
    event  ship attempt_failed attempt=0 class=permission message="a person said no" then=give_up
    event  tell skipped why=need
    event  finished outcome=failed
    "#);
}

#[test]
fn no_stops_where_yes_and_no_are_all_the_choices() {
    for choices in ["yes,no", "no,yes"] {
        let mut run = given(&format!("ship gate ok? choices {choices}; tell after ship"));
        let told = run.when("00:01 answer 0 no");
        assert!(told.contains("a person said no") && told.contains("tell skipped"), "{choices}: {told}");
    }
    let mut run = given("ship gate ok? choices yes,no,later; tell after ship");
    let told = run.when("00:01 answer 0 no");
    assert!(told.contains("ship completed outputs.answer=no") && told.contains("tell started"), "{told}");
}

#[test]
fn a_gate_with_choices_gives_the_answer_on() {
    let mut run = given(
        "where gate \"Where to?\" choices no,stage,live; go after where if \"tasks.where.outputs.answer == 'no'\"",
    );
    assert_snapshot!(run.when("
        00:01 answer 0 yes
        00:02 answer 0 no
    "), @"
    > 00:01 answer 0 yes
    refused the answer must be one of: no, stage, live
    > 00:02 answer 0 no
    event  gate_answered answer=no by=ada gate=0
    event  where completed outputs.answer=no
    event  go unblocked
    event  go started attempt=1
    effect start go #1
    ");
}

#[test]
fn a_question_of_an_agent_is_delivered_once_answered() {
    let mut run = given("a; b");
    assert_snapshot!(run.when("
        00:01 ask a \"Which one?\" of left,right
        00:02 ask a again?
        00:03 answer 0 up
        00:04 answer 0 left
        00:05 ask a \"Anything else?\"
        00:06 done a
        00:07 answer 1 no
    "), @r#"
    > 00:01 ask a "Which one?" of left,right
    event  a gate_opened choices=[left,right] gate=0 kind=question question="Which one?"
    effect notify gate 0
    > 00:02 ask a again?
    refused the agent has an open question already
    > 00:03 answer 0 up
    refused the answer must be one of: left, right
    > 00:04 answer 0 left
    event  gate_answered answer=left by=ada gate=0
    effect deliver gate 0 to a #1
    > 00:05 ask a "Anything else?"
    event  a gate_opened choices=[] gate=1 kind=question question="Anything else?"
    effect notify gate 1
    > 00:06 done a
    event  a completed
    > 00:07 answer 1 no
    refused nothing waits for gate 1 any more
    "#);
    // The question that nobody needs answered any more is no longer owed.
    assert_eq!(run.run.open_gates().count(), 0);
    assert_eq!(run.run.gates().count(), 2);
}

#[test]
fn an_answer_is_not_delivered_to_another_attempt() {
    let mut run = given("a retry 2 backoff 1..1").and(
        "
        00:01 ask a one?
        00:02 fail a transient
        00:04 tick
        00:05 ask a two?
    ",
    );
    assert_eq!(run.run.asked_by(GateId(0)), None);
    assert_eq!(run.run.asked_by(GateId(1)), Some((run.task("a"), AttemptNo(2))));
    assert_snapshot!(run.when("
        00:06 answer 0 x
        00:07 answer 1 y
    "), @"
    > 00:06 answer 0 x
    refused nothing waits for gate 0 any more
    > 00:07 answer 1 y
    event  gate_answered answer=y by=ada gate=1
    effect deliver gate 1 to a #2
    ");
}

#[test]
fn a_change_that_touches_its_checks_waits_for_a_person() {
    let mut run = given("mission base; a accept check; b after a").and("00:01 done a change");
    assert_snapshot!(run.when("
        00:02 judge a doubt
        00:03 judge a pass
        00:04 answer 0 accept
    "), @r#"
    > 00:02 judge a doubt
    event  a gate_opened choices=[accept,reject] gate=0 kind=protect question="it touched its test: accept?"
    effect notify gate 0
    > 00:03 judge a pass
    refused attempt 1 of task 0 is no longer under way
    > 00:04 answer 0 accept
    event  gate_answered answer=accept by=ada gate=0
    event  a verified
    event  probe_asked 0 on base: a
    effect probe 0 on base: a
    "#);
    let mut run = given("a accept check").and("00:01 done a & open 2").and("00:02 judge a doubt");
    assert!(run.run.is_doubted(run.task("a")));
    assert_snapshot!(run.when("00:03 answer 0 reject"), @r#"
    event  gate_answered answer=reject by=ada gate=0
    event  a attempt_failed attempt=1 class=permission message="a person rejected the change" then=give_up
    event  finished outcome=failed
    "#);
    assert!(!run.run.is_doubted(run.task("a")));
}

#[test]
fn nothing_starts_while_a_run_is_paused() {
    let mut run =
        given("a; b after a; c retry 2 backoff 5..5; d timeout 20; e if always() after a").and("00:01 pause");
    assert_snapshot!(run.when("
        00:02 pause
        00:03 done a
        00:04 fail c transient
        00:10 tick
        00:20 tick
        00:21 fail d timeout
    "), @r#"
    > 00:02 pause
    refused the run is paused already
    > 00:03 done a
    event  a completed
    > 00:04 fail c transient
    event  c attempt_failed attempt=1 class=transient message="it was transient" then.retry.at=00:09
    > 00:10 tick
    nothing
    > 00:20 tick
    event  d stop_requested attempt=1 why=timeout
    effect stop d #1 Timeout
    > 00:21 fail d timeout
    event  d attempt_failed attempt=1 class=timeout message="took longer than 20 s" then=give_up
    "#);
    assert_snapshot!(run.stand(), @"paused Person; a done; b ready; c backing_off; d failed; e blocked");
    assert_eq!(run.wake(), "never");
    assert_snapshot!(run.when("
        00:30 resume
        00:31 resume
    "), @"
    > 00:30 resume
    event  resumed
    event  e unblocked
    event  c woken
    event  b started attempt=1
    event  c started attempt=2
    event  e started attempt=1
    effect start b #1
    effect start c #2
    effect start e #1
    > 00:31 resume
    refused the run is not paused
    ");
}

#[test]
fn a_pause_lets_gates_be_answered_and_changes_land() {
    let mut run = given("mission base; a; g gate ok?; b after g").and(
        "
        00:01 done a change
        00:02 pause
        00:03 answer 0 yes
    ",
    );
    assert_snapshot!(run.when("
        00:04 probe green
        00:05 moved
    "), @"
    > 00:04 probe green
    event  probed outcome.green.tips=[eac220] probe=0
    event  landing_started from=base to=eac220
    effect move_ref base..eac220
    > 00:05 moved
    event  a landed commit=eac220
    ");
    assert_snapshot!(run.stand(), @"paused Person; a landed; g done; b ready");
}

#[test]
fn a_cancel_stops_what_runs_and_ends_what_has_begun() {
    let mut run = given(
        "mission base agents 9; agent p provider p; \
         run1 claims x; waits claims x; back retry 2 backoff 60..60; gate gate ok?; \
         parked agent p; sub accept check; ver; doubt accept check; asks; blocked after run1",
    )
    .and(
        "
        00:01 fail back transient
        00:01 fail parked quota until 09:00
        00:01 done sub
        00:01 done ver change
        00:01 done doubt
        00:01 judge doubt doubt
        00:01 ask asks why?
    ",
    );
    assert_snapshot!(run.stand(), @"active; run1 running; waits awaiting_claims; back backing_off; gate awaiting_gate; parked parked; sub submitted; ver verified; doubt submitted; asks running; blocked blocked");
    assert_snapshot!(run.when("00:02 cancel"), @"
    event  cancel_requested
    event  run1 stop_requested attempt=1 why=cancelled
    event  asks stop_requested attempt=1 why=cancelled
    event  waits cancelled
    event  back cancelled
    event  gate cancelled
    event  parked cancelled
    event  sub cancelled
    event  ver cancelled
    event  doubt cancelled
    effect stop run1 #1 Cancelled
    effect stop asks #1 Cancelled
    ");
    assert_eq!(run.wake(), "never");
    assert_snapshot!(run.when("
        00:03 cancel
        00:03 pause
        00:03 resume
        00:03 answer 0 yes
        00:03 judge sub pass
        00:03 probe green
        00:03 reuse blocked
        00:03 revise \"a\"
        00:04 done run1
        00:05 fail asks permanent
    "), @r#"
    > 00:03 cancel
    refused the run is being cancelled
    > 00:03 pause
    refused the run is being cancelled
    > 00:03 resume
    refused the run is being cancelled
    > 00:03 answer 0 yes
    refused nothing waits for gate 0 any more
    > 00:03 judge sub pass
    refused attempt 1 of task 5 is no longer under way
    > 00:03 probe green
    refused probe 99 is not out
    > 00:03 reuse blocked
    refused the run is being cancelled
    > 00:03 revise "a"
    refused the run is being cancelled
    > 00:04 done run1
    event  run1 attempt_failed attempt=1 class=permanent message=cancelled then=cancel
    > 00:05 fail asks permanent
    event  asks attempt_failed attempt=1 class=permanent message=cancelled then=cancel
    event  finished outcome=cancelled
    "#);
    assert_snapshot!(run.stand(), @"finished Cancelled; run1 cancelled; waits cancelled; back cancelled; gate cancelled; parked cancelled; sub cancelled; ver cancelled; doubt cancelled; asks cancelled; blocked blocked");
    assert_snapshot!(run.when("
        00:06 cancel
        00:06 pause
        00:06 resume
        00:06 answer 0 yes
        00:06 reuse blocked
        00:06 done run1
        00:06 revise \"a\"
    "), @r#"
    > 00:06 cancel
    refused the run is over
    > 00:06 pause
    refused the run is over
    > 00:06 resume
    refused the run is over
    > 00:06 answer 0 yes
    refused the run is over
    > 00:06 reuse blocked
    refused the run is over
    > 00:06 done run1
    refused attempt 1 of task 0 is no longer under way
    > 00:06 revise "a"
    refused the run is over
    "#);
}

#[test]
fn a_result_that_comes_with_the_cancel_still_counts() {
    let mut run = given("a; b");
    assert_snapshot!(run.when("00:01 cancel & done a & fail b transient"), @r#"
    event  cancel_requested
    event  a completed
    event  b attempt_failed attempt=1 class=transient message="it was transient" then=cancel
    event  finished outcome=cancelled
    "#);
    assert_snapshot!(run.stand(), @"finished Cancelled; a done; b cancelled");
}

#[test]
fn a_cancel_waits_for_the_ref_that_is_moving() {
    let mut run = given("mission base; a; b; c retry 2 backoff 60..60").and(
        "
        00:01 done a change & done b change & fail c transient
        00:02 probe red
        00:03 probe green
    ",
    );
    assert_snapshot!(run.when("
        00:04 cancel
        00:05 moved
    "), @"
    > 00:04 cancel
    event  cancel_requested
    event  c cancelled
    > 00:05 moved
    event  a landed commit=eac220
    event  b cancelled
    event  finished outcome=cancelled
    ");
    assert_snapshot!(run.stand(), @"finished Cancelled; a landed; b cancelled; c cancelled");
}

#[test]
fn a_cancelled_run_can_be_paused_before() {
    let mut run = given("a; b after a").and("00:01 pause");
    assert_snapshot!(run.when("
        00:02 cancel
        00:03 done a
    "), @"
    > 00:02 cancel
    event  cancel_requested
    event  a stop_requested attempt=1 why=cancelled
    effect stop a #1 Cancelled
    > 00:03 done a
    event  a attempt_failed attempt=1 class=permanent message=cancelled then=cancel
    event  finished outcome=cancelled
    ");
}

#[test]
fn a_saga_takes_back_in_reverse_order_of_completion() {
    let mut run = given("mission saga; a compensate undo-a; b compensate undo-b; c; d compensate undo-d; e after d compensate undo-e").and("
        00:01 done b
        00:02 done a
        00:03 done c
    ");
    assert_snapshot!(run.when("
        00:04 fail d permanent
        00:05 undone b
        00:06 undone a
        00:07 undone b
    "), @r#"
    > 00:04 fail d permanent
    event  d attempt_failed attempt=1 class=permanent message="it was permanent" then=give_up
    event  compensation_begun
    event  a compensation_started attempt=1 deadline=60:04
    effect compensate a #1
    > 00:05 undone b
    refused attempt 9 of task 1 is no longer under way
    > 00:06 undone a
    event  a compensated
    event  b compensation_started attempt=1 deadline=60:06
    effect compensate b #1
    > 00:07 undone b
    event  b compensated
    event  finished outcome=compensated
    "#);
    assert_snapshot!(run.stand(), @"finished Compensated; a compensated; b compensated; c done; d failed; e blocked");
}

#[test]
fn a_doomed_saga_lets_what_runs_end_and_takes_that_back_too() {
    let mut run = given("mission saga base; a compensate undo-a; b; c compensate undo-c; d after a; g gate ok?; v; t timeout 30")
        .and("00:01 done v change");
    assert_snapshot!(run.when("
        00:02 fail b permanent
        00:03 done a
        00:04 fail c transient
        00:05 answer 0 yes
        00:30 tick
        00:31 fail t transient
        00:32 pause
        00:33 undone a
    "), @r#"
    > 00:02 fail b permanent
    event  b attempt_failed attempt=1 class=permanent message="it was permanent" then=give_up
    event  g cancelled
    event  v cancelled
    > 00:03 done a
    event  a completed
    > 00:04 fail c transient
    event  c attempt_failed attempt=1 class=transient message="it was transient" then=cancel
    > 00:05 answer 0 yes
    refused nothing waits for gate 0 any more
    > 00:30 tick
    event  t stop_requested attempt=1 why=timeout
    effect stop t #1 Timeout
    > 00:31 fail t transient
    event  t attempt_failed attempt=1 class=timeout message="took longer than 30 s" then=cancel
    event  compensation_begun
    event  a compensation_started attempt=1 deadline=60:31
    effect compensate a #1
    > 00:32 pause
    refused the run is being cancelled
    > 00:33 undone a
    event  a compensated
    event  finished outcome=compensated
    "#);
}

#[test]
fn a_saga_without_anything_to_take_back_has_failed() {
    let mut run = given("mission saga; a; b after a compensate undo-b");
    assert_snapshot!(run.when("00:01 fail a permanent"), @r#"
    event  a attempt_failed attempt=1 class=permanent message="it was permanent" then=give_up
    event  finished outcome=failed
    "#);
}

#[test]
fn a_saga_waits_for_the_ref_that_is_moving() {
    let mut run = given("mission saga base; a compensate undo-a; b").and(
        "
        00:01 done a change
        00:02 probe green
    ",
    );
    assert_snapshot!(run.when("
        00:03 fail b permanent
        00:04 moved
        00:05 undone a
    "), @r#"
    > 00:03 fail b permanent
    event  b attempt_failed attempt=1 class=permanent message="it was permanent" then=give_up
    > 00:04 moved
    event  a landed commit=eac220
    event  compensation_begun
    event  a compensation_started attempt=1 deadline=60:04
    effect compensate a #1
    > 00:05 undone a
    event  a compensated
    event  finished outcome=compensated
    "#);
}

#[test]
fn a_gate_that_says_no_dooms_a_saga() {
    let mut run = given("mission saga; a compensate undo-a; g after a gate ok?").and("00:01 done a");
    assert_snapshot!(run.when("00:02 answer 0 no"), @r#"
    event  gate_answered answer=no by=ada gate=0
    event  g attempt_failed attempt=0 class=permission message="a person said no" then=give_up
    event  compensation_begun
    event  a compensation_started attempt=1 deadline=60:02
    effect compensate a #1
    "#);
}

#[test]
fn a_cancelled_saga_takes_back() {
    let mut run = given("mission saga; a compensate undo-a; b").and("00:01 done a");
    assert_snapshot!(run.when("
        00:02 cancel
        00:03 fail b permanent
        00:04 cancel
        00:05 undone a
    "), @"
    > 00:02 cancel
    event  cancel_requested
    event  b stop_requested attempt=1 why=cancelled
    effect stop b #1 Cancelled
    > 00:03 fail b permanent
    event  b attempt_failed attempt=1 class=permanent message=cancelled then=cancel
    event  compensation_begun
    event  a compensation_started attempt=1 deadline=60:03
    effect compensate a #1
    > 00:04 cancel
    refused the run is being cancelled
    > 00:05 undone a
    event  a compensated
    event  finished outcome=compensated
    ");
}

#[test]
fn a_compensation_is_tried_three_times_and_then_asks() {
    let mut run = given("mission saga; a compensate undo-a; b compensate undo-b; c").and(
        "
        00:01 done a
        00:02 done b
        00:03 fail c permanent
    ",
    );
    assert_snapshot!(run.when("
        00:04 stuck b
        00:05 stuck b
        00:06 stuck b
        00:07 answer 0 retry
        00:08 stuck b
        00:09 stuck b
        00:10 stuck b
        00:11 answer 1 skip
        00:12 undone a
    "), @r#"
    > 00:04 stuck b
    event  b compensation_failed again=true attempt=1 deadline=60:04 message="no way back"
    effect compensate b #2
    > 00:05 stuck b
    event  b compensation_failed again=true attempt=2 deadline=60:05 message="no way back"
    effect compensate b #3
    > 00:06 stuck b
    event  b compensation_failed again=false attempt=3 message="no way back"
    event  b gate_opened choices=[retry,skip] gate=0 kind=compensation question="`b` could not be taken back: try again, or leave it as it is?"
    effect notify gate 0
    > 00:07 answer 0 retry
    event  gate_answered answer=retry by=ada gate=0
    event  b compensation_started attempt=4 deadline=60:07
    effect compensate b #4
    > 00:08 stuck b
    event  b compensation_failed again=true attempt=4 deadline=60:08 message="no way back"
    effect compensate b #5
    > 00:09 stuck b
    event  b compensation_failed again=true attempt=5 deadline=60:09 message="no way back"
    effect compensate b #6
    > 00:10 stuck b
    event  b compensation_failed again=false attempt=6 message="no way back"
    event  b gate_opened choices=[retry,skip] gate=1 kind=compensation question="`b` could not be taken back: try again, or leave it as it is?"
    effect notify gate 1
    > 00:11 answer 1 skip
    event  gate_answered answer=skip by=ada gate=1
    event  b compensated left=true
    event  a compensation_started attempt=1 deadline=60:11
    effect compensate a #1
    > 00:12 undone a
    event  a compensated
    event  finished outcome=compensated
    "#);
}

#[test]
fn a_plan_is_revised_while_it_runs() {
    let mut run = given("a; b after a; c claims x; d claims x; e retry 2 backoff 60..60; g gate ok?; h").and(
        "
        00:01 fail e transient
        00:01 done h
    ",
    );
    assert_snapshot!(run.stand(), @"active; a running; b blocked; c running; d awaiting_claims; e backing_off; g awaiting_gate; h done");
    let new = "a; b after a; c claims x; d claims x; e retry 2 backoff 60..60; g gate ok?; h; n after h; m after b; l";
    assert_snapshot!(run.when(&format!("00:02 revise \"{new}\" drop b,c,d,e,g,b")), @"
    event  plan_adopted revision=2 tasks=10
    event  b skipped why=superseded
    event  c stop_requested attempt=1 why=superseded
    event  d skipped why=superseded
    event  e skipped why=superseded
    event  g skipped why=superseded
    event  m skipped why=need
    event  n started attempt=1
    event  l started attempt=1
    effect stop c #1 Superseded
    effect start n #1
    effect start l #1
    ");
    assert_snapshot!(run.when("
        00:03 done c
        00:04 answer 0 yes
    "), @r#"
    > 00:03 done c
    event  c attempt_failed attempt=1 class=permanent message="superseded by a later plan" then=drop
    > 00:04 answer 0 yes
    refused nothing waits for gate 0 any more
    "#);
    assert_eq!(run.run.revision(), 2);
    assert_eq!(run.run.plan_at().0, run.rows.iter().find(|row| row.cause == "revise").unwrap().n.0);
}

#[test]
fn a_revision_that_changes_what_is_in_force_is_refused() {
    let mut run = given("agent m; a agent m accept check; b after a; c").and(
        "
        00:01 done a
        00:01 done c
    ",
    );
    assert_snapshot!(run.when("
        00:02 revise \"agent m; a agent m accept check\"
        00:02 revise \"agent m; a agent m accept check; b; c\"
        00:02 revise \"agent m; a agent m; b after a; c\"
        00:02 revise \"agent m; a agent m accept check; x after a; c\"
        00:02 revise \"agent o; agent m; a agent m accept check; b after a; c\"
        00:02 revise \"agent m; a agent m accept check; b after a; c\" drop a
        00:02 revise \"agent m; a agent m accept check; b after a; c\" drop c
        00:02 revise \"agent m; a agent m accept check; b after a; c\" drop nobody
        00:02 revise \"agent m; agent o; a agent m accept check; b after a; c; d after c if false\"
    "), @r#"
    > 00:02 revise "agent m; a agent m accept check"
    refused the revised plan has fewer tasks than the one in force
    > 00:02 revise "agent m; a agent m accept check; b; c"
    refused the revised plan changes what is in force; it can only add, and do without
    > 00:02 revise "agent m; a agent m; b after a; c"
    refused the revised plan changes what is in force; it can only add, and do without
    > 00:02 revise "agent m; a agent m accept check; x after a; c"
    refused the revised plan changes what is in force; it can only add, and do without
    > 00:02 revise "agent o; agent m; a agent m accept check; b after a; c"
    refused the revised plan changes what is in force; it can only add, and do without
    > 00:02 revise "agent m; a agent m accept check; b after a; c" drop a
    refused task 0 has begun already
    > 00:02 revise "agent m; a agent m accept check; b after a; c" drop c
    refused task 2 has begun already
    > 00:02 revise "agent m; a agent m accept check; b after a; c" drop nobody
    refused there is no task number 99
    > 00:02 revise "agent m; agent o; a agent m accept check; b after a; c; d after c if false"
    event  plan_adopted revision=2 tasks=4
    event  d skipped why=condition
    "#);
}

#[test]
fn a_revision_of_a_paused_run_waits_with_it() {
    let mut run = given("a").and("00:01 pause");
    assert_snapshot!(run.when("
        00:02 revise \"a; b; c if true\"
        00:03 resume
    "), @r#"
    > 00:02 revise "a; b; c if true"
    event  plan_adopted revision=2 tasks=3
    > 00:03 resume
    event  resumed
    event  c unblocked
    event  b started attempt=1
    event  c started attempt=1
    effect start b #1
    effect start c #1
    "#);
}

#[test]
fn new_tasks_see_how_old_ones_ended() {
    let mut run = given("a; b; z").and("00:01 fail a permanent & done b");
    assert_snapshot!(run.when("00:02 revise \"a; b; z; c after a; d after b; e after a,b if always(); f after a,z\""), @"
    event  plan_adopted revision=2 tasks=7
    event  c skipped why=need
    event  e unblocked
    event  d started attempt=1
    event  e started attempt=1
    effect start d #1
    effect start e #1
    ");
    assert_snapshot!(run.when("00:03 done z"), @"
    event  z completed
    event  f skipped why=need
    ");
}

#[test]
fn a_merge_is_begun_ended_and_taken_back() {
    let mut run = given("mission base; a").and(
        "
        00:01 done a change
        00:02 probe green
        00:03 moved
    ",
    );
    assert_eq!(run.stand(), "finished Succeeded; a landed");
    assert_snapshot!(run.when("
        00:03 merge moved
        00:03 merge undo base
        00:04 merge begin
        00:05 merge begin
        00:05 merge undo base
        00:06 merge moved
        00:07 merge moved
        00:08 merge undo head
        00:09 merge undo base
        00:10 merge undo base
        00:11 merge begin
        00:12 merge failed
        00:13 merge failed
    "), @r#"
    > 00:03 merge moved
    refused no merge is under way
    > 00:03 merge undo base
    refused there is no merge from there to take back
    > 00:04 merge begin
    event  merge_started from=base target=refs/heads/main to=eac220
    effect merge refs/heads/main base..eac220
    > 00:05 merge begin
    refused a merge is under way already
    > 00:05 merge undo base
    refused there is no merge from there to take back
    > 00:06 merge moved
    event  merged target=refs/heads/main to=eac220
    > 00:07 merge moved
    refused no merge is under way
    > 00:08 merge undo head
    refused there is no merge from there to take back
    > 00:09 merge undo base
    event  merge_undone target=refs/heads/main to=base
    > 00:10 merge undo base
    refused there is no merge from there to take back
    > 00:11 merge begin
    event  merge_started from=base target=refs/heads/main to=eac220
    effect merge refs/heads/main base..eac220
    > 00:12 merge failed
    event  merge_undone target=refs/heads/main to=base why="it moved"
    > 00:13 merge failed
    refused no merge is under way
    "#);
    assert_eq!(run.run.merge(), None);
}

#[test]
fn a_merge_that_does_not_happen_leaves_the_one_before() {
    let mut run = given("mission base; a").and("00:01 merge begin").and("00:02 merge moved");
    let before = run.run.merge().cloned();
    let said = run.when(
        "
        00:03 merge begin
        00:04 merge failed
        00:05 merge begin
        00:06 merge failed
        00:07 merge undo base
    ",
    );
    assert!(before.is_some_and(|merge| merge.done) && !said.contains("refused"), "{said}");
    assert_eq!(run.run.merge(), None);
}

#[test]
fn a_run_is_made_once() {
    let mut story = crate::story::Story::bare();
    assert_snapshot!(story.when("
        00:00 tick
        00:00 cancel
        00:00 open 1
    "), @"
    > 00:00 tick
    refused the run does not exist yet
    > 00:00 cancel
    refused the run does not exist yet
    > 00:00 open 1
    refused the run does not exist yet
    ");
    assert_eq!(story.rows.len(), 0);
    assert!(!story.run.is_created());
    use kapell_core::{
        command::{Command, Rejection},
        event::PlanRef,
        id::Digest,
        mission::Mission,
    };
    let digest = Digest::of(b"plan");
    let create = |plan| Command::Create { mission: Box::new(Mission::default()), plan };
    let replies = story.put(
        Default::default(),
        vec![
            create(PlanRef::Kept { digest, plan: None }),
            create(crate::script::plan_ref("a")),
            create(crate::script::plan_ref("a")),
            Command::Revise { plan: PlanRef::Kept { digest, plan: None }, superseded: vec![] },
        ],
    );
    assert_eq!(
        replies,
        [Err(Rejection::PlanNotRead), Ok(()), Err(Rejection::AlreadyCreated), Err(Rejection::PlanNotRead)]
    );
    assert_eq!(*story.run.phase(), Phase::Active);
}

#[test]
fn gates_are_opened_by_urgency_and_then_in_the_order_of_the_plan() {
    let run = given("g1 gate one? usd 5; g2 gate two?; g3 gate three?; x after g3");
    let order: Vec<_> = run.run.gates().map(|(_, gate)| gate.question.as_str()).collect();
    assert_eq!(order, ["three?", "one?", "two?"]);
}
