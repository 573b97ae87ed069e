//! The way of changes into the integration ref, by commands.

use insta::assert_snapshot;

use crate::story::given;

#[test]
fn changes_that_are_green_together_land_together() {
    let mut run = given("mission base; a; b; c after a").and("00:01 done a change");
    // What comes while a batch is tried waits for the next.
    assert_snapshot!(run.when("
        00:02 done b change
        00:03 probe green
        00:04 moved
        00:05 probe green
        00:06 moved
        00:07 done c
    "), @"
    > 00:02 done b change
    event  b submitted attempt=1 change.base=base change.commit=5223fd change.tree=3858e7
    event  b verified
    > 00:03 probe green
    event  probed outcome.green.tips=[eac220] probe=0
    event  landing_started from=base to=eac220
    effect move_ref base..eac220
    > 00:04 moved
    event  a landed commit=eac220
    event  probe_asked 1 on eac220: b
    event  c started attempt=1
    effect probe 1 on eac220: b
    effect start c #1
    > 00:05 probe green
    event  probed outcome.green.tips=[c01120] probe=1
    event  landing_started from=eac220 to=c01120
    effect move_ref eac220..c01120
    > 00:06 moved
    event  b landed commit=c01120
    > 00:07 done c
    event  c completed
    event  finished outcome=succeeded
    ");
    assert_snapshot!(run.stand(), @"finished Succeeded; a landed; b landed; c done");
}

#[test]
fn answers_that_were_not_asked_for_are_refused() {
    let mut run = given("mission base; a; b").and("00:01 done a change");
    assert_snapshot!(run.when("
        00:02 moved
        00:03 probe conflict 1
        00:04 probe green & probe green
        00:05 probe green
        00:05 astray
        00:06 moved
        00:07 moved
    "), @"
    > 00:02 moved
    refused the integration ref was not about to move there
    > 00:03 probe conflict 1
    refused probe 0 is not out
    > 00:04 probe green & probe green
    refused probe 0 is not out
    event  probed outcome.green.tips=[eac220] probe=0
    event  landing_started from=base to=eac220
    effect move_ref base..eac220
    > 00:05 probe green
    refused probe 99 is not out
    > 00:05 astray
    refused the integration ref was not about to move there
    > 00:06 moved
    event  a landed commit=eac220
    > 00:07 moved
    refused the integration ref was not about to move there
    ");
    assert_snapshot!(given("a").when("00:01 probe green & moved"), @"
    refused probe 99 is not out
    refused the integration ref was not about to move there
    ");
}

#[test]
fn an_answer_about_another_number_of_changes_is_refused() {
    use kapell_core::{command::Command, id::ProbeId, landing::Probed};
    let mut run = given("mission base; a").and("00:01 done a change");
    for outcome in [
        Probed::Green { tips: vec![] },
        Probed::Red { tips: vec![crate::script::oid("x"); 2], message: String::new() },
    ] {
        let replies = run.put(run.at, vec![Command::Probed { probe: ProbeId(0), outcome }]);
        assert_eq!(replies[0].as_ref().unwrap_err().to_string(), "probe 0 is not out");
    }
}

#[test]
fn a_change_that_is_red_alone_goes_back_to_its_task() {
    let mut run = given("mission base; a retry 2; b").and("00:01 done a change & done b change");
    assert_snapshot!(run.when("
        00:02 probe red
        00:03 probe red
        00:04 probe red
        00:05 probe green
        00:06 probe green
        00:07 moved
    "), @"
    > 00:02 probe red
    event  probed outcome.red.message=red outcome.red.tips=[eac220,c01120] probe=0
    event  probe_asked 1 on base: a
    effect probe 1 on base: a
    > 00:03 probe red
    event  probed outcome.red.message=red outcome.red.tips=[eac220] probe=1
    event  probe_asked 2 on base: a again
    effect probe 2 on base: a again
    > 00:04 probe red
    event  probed outcome.red.message=red outcome.red.tips=[eac220] probe=2
    event  probe_asked 3 on base: 
    effect probe 3 on base: 
    > 00:05 probe green
    event  probed outcome.green.tips=[] probe=3
    event  a sent_back blame=alone
    event  a attempt_failed attempt=1 class=verification message=red then=again
    event  probe_asked 4 on base: b
    event  a started attempt=2
    effect probe 4 on base: b
    effect start a #2
    > 00:06 probe green
    event  probed outcome.green.tips=[251ee5] probe=4
    event  landing_started from=base to=251ee5
    effect move_ref base..251ee5
    > 00:07 moved
    event  b landed commit=251ee5
    ");
    assert_snapshot!(run.when("
        00:08 done a change
        00:09 probe red
        00:10 probe red
    "), @"
    > 00:08 done a change
    event  a submitted attempt=2 change.base=base change.commit=a1aa42 change.tree=e8a2b0
    event  a verified
    event  probe_asked 5 on 251ee5: a
    effect probe 5 on 251ee5: a
    > 00:09 probe red
    event  probed outcome.red.message=red outcome.red.tips=[11b994] probe=5
    event  probe_asked 6 on base: a
    effect probe 6 on base: a
    > 00:10 probe red
    event  probed outcome.red.message=red outcome.red.tips=[e929e4] probe=6
    event  a sent_back blame=alone
    event  a attempt_failed attempt=2 class=verification message=red then=give_up
    event  finished outcome=failed
    ");
    assert_snapshot!(run.stand(), @"finished Failed; a failed; b landed");
}

#[test]
fn a_change_that_fails_only_with_another_names_it() {
    let mut run = given("mission base; a; b; c").and("00:01 done a change & done b change & done c change");
    // a+b+c red; a green alone; a+b red; b alone green; again red; with a: that is its partner.
    assert_snapshot!(run.when("
        00:02 probe red
        00:03 probe green
        00:03 moved
        00:04 probe red
        00:05 probe green
        00:06 probe red
    "), @r#"
    > 00:02 probe red
    event  probed outcome.red.message=red outcome.red.tips=[eac220,c01120,1e9a25] probe=0
    event  probe_asked 1 on base: a
    effect probe 1 on base: a
    > 00:03 probe green
    event  probed outcome.green.tips=[eac220] probe=1
    event  landing_started from=base to=eac220
    effect move_ref base..eac220
    > 00:03 moved
    event  a landed commit=eac220
    event  probe_asked 2 on base: a+b
    effect probe 2 on base: a+b
    > 00:04 probe red
    event  probed outcome.red.message=red outcome.red.tips=[eac220,c01120] probe=2
    event  probe_asked 3 on base: b
    effect probe 3 on base: b
    > 00:05 probe green
    event  probed outcome.green.tips=[251ee5] probe=3
    event  probe_asked 4 on base: a+b again
    effect probe 4 on base: a+b again
    > 00:06 probe red
    event  probed outcome.red.message=red outcome.red.tips=[eac220,c01120] probe=4
    event  b sent_back blame.with=a
    event  b attempt_failed attempt=1 class=conflict message="fails only together with `a`, which landed first: red" then=again
    event  probe_asked 5 on eac220: c
    event  b started attempt=2
    effect probe 5 on eac220: c
    effect start b #2
    "#);
    assert_snapshot!(run.stand(), @"active; a landed; b running; c verified");
}

#[test]
fn a_conflict_with_what_has_landed_goes_back_and_is_tried_at_least_three_times() {
    let mut run = given("mission base; a; b").and("00:01 done a change & done b change");
    assert_snapshot!(run.when("
        00:02 probe conflict 1
        00:03 probe green
        00:04 moved
        00:05 probe conflict 0
    "), @r#"
    > 00:02 probe conflict 1
    event  probed outcome.conflict.index=1 outcome.conflict.paths=[lib.rs] probe=0
    event  probe_asked 1 on base: a
    effect probe 1 on base: a
    > 00:03 probe green
    event  probed outcome.green.tips=[eac220] probe=1
    event  landing_started from=base to=eac220
    effect move_ref base..eac220
    > 00:04 moved
    event  a landed commit=eac220
    event  probe_asked 2 on eac220: b
    effect probe 2 on eac220: b
    > 00:05 probe conflict 0
    event  probed outcome.conflict.index=0 outcome.conflict.paths=[lib.rs] probe=2
    event  b sent_back blame.conflict=[lib.rs]
    event  b attempt_failed attempt=1 class=conflict message="conflicts with what has landed in lib.rs" then=again
    event  b started attempt=2
    effect start b #2
    "#);
    assert_snapshot!(run.when("
        00:06 done b change
        00:07 probe conflict 0
        00:08 done b change
        00:09 probe conflict 0
    "), @r#"
    > 00:06 done b change
    event  b submitted attempt=2 change.base=base change.commit=eb1d10 change.tree=9a90e8
    event  b verified
    event  probe_asked 3 on eac220: b
    effect probe 3 on eac220: b
    > 00:07 probe conflict 0
    event  probed outcome.conflict.index=0 outcome.conflict.paths=[lib.rs] probe=3
    event  b sent_back blame.conflict=[lib.rs]
    event  b attempt_failed attempt=2 class=conflict message="conflicts with what has landed in lib.rs" then=again
    event  b started attempt=3
    effect start b #3
    > 00:08 done b change
    event  b submitted attempt=3 change.base=base change.commit=2570bf change.tree=cfa762
    event  b verified
    event  probe_asked 4 on eac220: b
    effect probe 4 on eac220: b
    > 00:09 probe conflict 0
    event  probed outcome.conflict.index=0 outcome.conflict.paths=[lib.rs] probe=4
    event  b sent_back blame.conflict=[lib.rs]
    event  b attempt_failed attempt=3 class=conflict message="conflicts with what has landed in lib.rs" then=give_up
    event  finished outcome=failed
    "#);
}

#[test]
fn a_flaky_check_blames_nobody() {
    let mut run = given("mission base; a").and("00:01 done a change");
    assert_snapshot!(run.when("
        00:02 probe red
        00:03 probe green
        00:04 moved
    "), @"
    > 00:02 probe red
    event  probed outcome.red.message=red outcome.red.tips=[eac220] probe=0
    event  probe_asked 1 on base: a again
    effect probe 1 on base: a again
    > 00:03 probe green
    event  probed outcome.green.tips=[eac220] probe=1
    event  landing_started from=base to=eac220
    effect move_ref base..eac220
    > 00:04 moved
    event  a landed commit=eac220
    event  finished outcome=succeeded
    ");
    assert_eq!(run.run.landing().unwrap().flaky(), 1);
}

#[test]
fn a_red_base_pauses_the_run_and_a_resume_tries_all_again() {
    let mut run = given("mission base; a; b").and("00:01 done a change");
    assert_snapshot!(run.when("
        00:02 probe red
        00:03 probe red
        00:04 probe red
        00:05 done b change
    "), @"
    > 00:02 probe red
    event  probed outcome.red.message=red outcome.red.tips=[eac220] probe=0
    event  probe_asked 1 on base: a again
    effect probe 1 on base: a again
    > 00:03 probe red
    event  probed outcome.red.message=red outcome.red.tips=[eac220] probe=1
    event  probe_asked 2 on base: 
    effect probe 2 on base: 
    > 00:04 probe red
    event  probed outcome.red.message=red outcome.red.tips=[] probe=2
    event  paused why.base_is_red.message=red
    > 00:05 done b change
    event  b submitted attempt=1 change.base=base change.commit=5223fd change.tree=3858e7
    event  b verified
    ");
    assert_eq!(run.wake(), "never");
    assert_snapshot!(run.when("
        00:06 resume
        00:07 probe green
        00:08 moved
    "), @"
    > 00:06 resume
    event  resumed
    event  probe_asked 3 on base: a+b again
    effect probe 3 on base: a+b again
    > 00:07 probe green
    event  probed outcome.green.tips=[eac220,c01120] probe=3
    event  landing_started from=base to=c01120
    effect move_ref base..c01120
    > 00:08 moved
    event  a landed commit=eac220
    event  b landed commit=c01120
    event  finished outcome=succeeded
    ");
}

#[test]
fn another_agent_takes_over_a_change_that_was_sent_back_too_often() {
    let mut run = given("mission base; agent m fallback n; agent n; a agent m").and("00:01 done a change");
    assert_snapshot!(run.when("
        00:02 probe red
        00:03 probe red
        00:04 probe green
    "), @"
    > 00:02 probe red
    event  probed outcome.red.message=red outcome.red.tips=[eac220] probe=0
    event  probe_asked 1 on base: a again
    effect probe 1 on base: a again
    > 00:03 probe red
    event  probed outcome.red.message=red outcome.red.tips=[eac220] probe=1
    event  probe_asked 2 on base: 
    effect probe 2 on base: 
    > 00:04 probe green
    event  probed outcome.green.tips=[] probe=2
    event  a sent_back blame=alone
    event  a attempt_failed attempt=1 class=verification message=red then.substitute.agent=n
    event  a started agent=n attempt=2
    effect start a #2
    ");
}

#[test]
fn outside_a_repository_nothing_lands() {
    let mut run = given("a; b after a");
    assert_snapshot!(run.when("00:01 done a change"), @"
    event  a completed
    event  b started attempt=1
    effect start b #1
    ");
}

#[test]
fn what_cannot_be_probed_or_moved_pauses_the_run_and_is_asked_for_again() {
    let mut run = given("mission base; a").and("00:01 done a change");
    assert_snapshot!(run.when("
        00:02 unlandable
        00:03 resume
        00:04 probe green
        00:05 unlandable
        00:06 resume
        00:07 moved
        00:08 unlandable
    "), @r#"
    > 00:02 unlandable
    event  paused why.landing_fails.message="disk full"
    > 00:03 resume
    event  resumed
    event  probe_asked 1 on base: a
    effect probe 1 on base: a
    > 00:04 probe green
    event  probed outcome.green.tips=[eac220] probe=1
    event  landing_started from=base to=eac220
    effect move_ref base..eac220
    > 00:05 unlandable
    event  paused why.landing_fails.message="disk full"
    > 00:06 resume
    event  resumed
    event  landing_started from=base to=eac220
    effect move_ref base..eac220
    > 00:07 moved
    event  a landed commit=eac220
    event  finished outcome=succeeded
    > 00:08 unlandable
    refused the integration ref was not about to move there
    "#);
    // Of two pauses at once the one that asks again holds.
    let mut run = given("mission base; a").and("00:01 done a change & pause");
    assert_snapshot!(run.when("
        00:02 unlandable
        00:03 resume
        00:04 cancel
        00:05 unlandable
    "), @r#"
    > 00:02 unlandable
    event  paused why.landing_fails.message="disk full"
    > 00:03 resume
    event  resumed
    event  probe_asked 1 on base: a
    effect probe 1 on base: a
    > 00:04 cancel
    event  cancel_requested
    event  a cancelled
    event  finished outcome=cancelled
    > 00:05 unlandable
    refused the integration ref was not about to move there
    "#);
    let mut run = given("mission base; a").and("00:01 done a change").and("00:02 probe green");
    assert_snapshot!(run.when("
        00:03 cancel
        00:04 unlandable
        00:05 moved
    "), @"
    > 00:03 cancel
    event  cancel_requested
    > 00:04 unlandable
    nothing
    > 00:05 moved
    event  a landed commit=eac220
    event  finished outcome=cancelled
    ");
}

/// The ref may have moved though it was said that it could not: what is intended stays so, whatever comes of the run.
#[test]
fn a_move_that_failed_is_made_again_before_a_failed_saga_is_taken_back() {
    let mut run = given("mission base saga; a; b").and("00:01 done a change").and("00:02 probe green");
    assert_snapshot!(run.when("
        00:03 unlandable
        00:04 fail b permanent
        00:05 resume
        00:06 moved
    "), @r#"
    > 00:03 unlandable
    event  paused why.landing_fails.message="disk full"
    > 00:04 fail b permanent
    event  b attempt_failed attempt=1 class=permanent message="it was permanent" then=give_up
    > 00:05 resume
    event  resumed
    event  landing_started from=base to=eac220
    effect move_ref base..eac220
    > 00:06 moved
    event  a landed commit=eac220
    event  finished outcome=failed
    "#);
}

/// Without what landed before it, a change that is red with it may not even merge: then it belongs to the last of that.
#[test]
fn a_change_that_cannot_be_tried_alone_is_blamed_with_what_landed_last() {
    let mut run = given("mission base; a; b").and("00:01 done a change & done b change");
    assert_snapshot!(run.when("
        00:02 probe red
        00:03 probe green
        00:04 moved
        00:05 probe conflict 0
    "), @r#"
    > 00:02 probe red
    event  probed outcome.red.message=red outcome.red.tips=[eac220,c01120] probe=0
    event  probe_asked 1 on base: a
    effect probe 1 on base: a
    > 00:03 probe green
    event  probed outcome.green.tips=[eac220] probe=1
    event  landing_started from=base to=eac220
    effect move_ref base..eac220
    > 00:04 moved
    event  a landed commit=eac220
    event  probe_asked 2 on base: b
    effect probe 2 on base: b
    > 00:05 probe conflict 0
    event  probed outcome.conflict.index=0 outcome.conflict.paths=[lib.rs] probe=2
    event  b sent_back blame.with=a
    event  b attempt_failed attempt=1 class=conflict message="fails only together with `a`, which landed first: red" then=again
    event  b started attempt=2
    effect start b #2
    "#);
    assert_snapshot!(run.stand(), @"active; a landed; b running");
}

#[test]
fn a_move_to_anywhere_else_is_refused() {
    use kapell_core::command::{Command, Rejection};
    let mut run = given("mission base; a").and(
        "
        00:01 done a change
        00:02 probe green
    ",
    );
    let elsewhere = Command::RefMoved { to: crate::script::oid("elsewhere") };
    assert_eq!(run.put(run.at, vec![elsewhere]), [Err(Rejection::UnexpectedMove)]);
    assert_eq!(run.stand(), "active; a verified");
    run.when("00:03 moved");
    assert_eq!(run.stand(), "finished Succeeded; a landed");
}

#[test]
fn two_tasks_whose_changes_are_one_commit_land_by_one_move() {
    use kapell_core::{
        command::{Command, Exit},
        event::Outputs,
        id::{AttemptNo, TaskId},
        landing::Probed,
    };
    let mut run = given("mission base; a; b; c after a,b");
    let same = Some(crate::script::change("same"));
    let done = |task| Command::Finish {
        task: TaskId(task),
        attempt: AttemptNo(1),
        exit: Exit::Succeeded { change: same, outputs: Outputs::new(), spent: Default::default() },
    };
    run.put(run.at, vec![done(0), done(1)]);
    let asked = run.run.landing().unwrap().asked().unwrap();
    // Joined to the first the second adds nothing, not even a commit.
    let tips = vec![crate::script::oid("same"); asked.entries.len()];
    run.put(run.at, vec![Command::Probed { probe: asked.id, outcome: Probed::Green { tips } }]);
    assert_eq!(asked.entries.len(), 2);
    assert_snapshot!(run.when("00:02 moved"), @"
    event  a landed commit=83fe82
    event  b landed commit=83fe82
    event  c started attempt=1
    effect start c #1
    ");
}
