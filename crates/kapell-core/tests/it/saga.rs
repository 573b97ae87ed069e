//! What compensations change in a repository.

use insta::assert_snapshot;
use kapell_core::{
    event::{Event, decode, encode},
    id::AttemptNo,
    journal::Row,
    run::Run,
};

use crate::story::{Story, given};

/// One change has landed, one task failed, and the change is being taken back.
fn taking_back(mission: &str) -> Story {
    given(mission).and(
        "
        00:01 done a change
        00:02 probe green
        00:03 moved
        00:04 fail b permanent
    ",
    )
}

#[test]
fn what_a_compensation_changes_lands_before_the_next_one_begins() {
    let mut run = given("mission saga base; a compensate undo-a; b after a compensate undo-b; c after b")
        .and(
            "
        00:01 done a change
        00:02 probe green
        00:03 moved
        00:04 done b change
        00:05 probe green
        00:06 moved
    ",
        );
    let landed = run.run.landing().unwrap().head();
    assert_eq!(run.run.still_landed().count(), 0, "nothing is taken back yet");
    assert_snapshot!(run.when("
        00:07 fail c permanent
        00:08 undone b change
        00:09 astray
        00:10 undone b change
        00:11 moved
        00:12 undone a
    "), @r#"
    > 00:07 fail c permanent
    event  c attempt_failed attempt=1 class=permanent message="it was permanent" then=give_up
    event  compensation_begun
    event  b compensation_started attempt=1 deadline=60:07
    effect compensate b #1
    > 00:08 undone b change
    event  b compensation_submitted attempt=1 change.base=c01120 change.commit=15fc33 change.tree=f47ca4
    event  landing_started from=c01120 to=15fc33
    effect move_ref c01120..15fc33
    > 00:09 astray
    refused the integration ref was not about to move there
    > 00:10 undone b change
    refused attempt 9 of task 1 is no longer under way
    > 00:11 moved
    event  b compensated commit=15fc33
    event  a compensation_started attempt=1 deadline=60:11
    effect compensate a #1
    > 00:12 undone a
    event  a compensated
    event  finished outcome=compensated
    "#);
    assert_snapshot!(run.stand(), @"finished Compensated; a compensated; b compensated; c failed");
    let landing = run.run.landing().unwrap();
    assert!(landing.is_unchecked() && landing.head() != landed);
    let name = |task| run.run.plan().name(task).to_owned();
    assert_eq!(
        run.run.reversed().map(|(task, commit)| (name(task), commit)).collect::<Vec<_>>(),
        [("b".to_owned(), landing.head())]
    );
    assert_eq!(run.run.still_landed().map(name).collect::<Vec<_>>(), ["a"]);
}

#[test]
fn a_compensation_that_started_elsewhere_is_tried_again() {
    let mut run = taking_back("mission saga base; a compensate undo-a; b after a");
    assert_snapshot!(run.when("00:05 undone a change astray"), @r#"
    event  a compensation_failed again=true attempt=1 deadline=60:05 message="it did not start from what has landed"
    effect compensate a #2
    "#);
}

#[test]
fn no_journal_takes_a_compensation_that_started_elsewhere_or_is_not_under_way() {
    let run = taking_back("mission saga base; a compensate undo-a; b after a").and("00:05 undone a change");
    let (last, before) = run.rows.split_last().unwrap();
    let is_taken = |forge: fn(&mut Event)| {
        let mut submitted = decode(&last.body).unwrap();
        submitted.retain(|event| matches!(event, Event::CompensationSubmitted { .. }));
        forge(&mut submitted[0]);
        let mut copy = Run::new(run.run.id());
        before.iter().for_each(|row| drop(copy.replay(row, &mut |_| None).unwrap()));
        copy.replay_verified(&Row { body: encode(&submitted), ..last.clone() }, &mut |_| None).is_ok()
    };
    assert!(is_taken(|_| {}), "as it was, it follows");
    assert!(!is_taken(|event| {
        let Event::CompensationSubmitted { change, .. } = event else { panic!("{event:?}") };
        change.base = change.commit;
    }));
    assert!(!is_taken(|event| {
        let Event::CompensationSubmitted { attempt, .. } = event else { panic!("{event:?}") };
        *attempt = AttemptNo(2);
    }));
}

#[test]
fn a_ref_that_cannot_be_moved_back_is_moved_when_the_run_is_opened_again() {
    let mut run = taking_back("mission saga base; a compensate undo-a; b after a");
    assert_snapshot!(run.when("
        00:05 undone a change
        00:06 unlandable
        00:07 cancel
        00:08 open 2
        00:09 moved
    "), @"
    > 00:05 undone a change
    event  a compensation_submitted attempt=1 change.base=eac220 change.commit=702580 change.tree=5dd12d
    event  landing_started from=eac220 to=702580
    effect move_ref eac220..702580
    > 00:06 unlandable
    nothing
    > 00:07 cancel
    refused the run is being cancelled
    > 00:08 open 2
    event  opened epoch=2
    > 00:09 moved
    event  a compensated commit=702580
    event  finished outcome=compensated
    ");
}

#[test]
fn outside_a_repository_a_compensation_changes_nothing_that_lands() {
    let mut run = given("mission saga; a compensate undo-a; b after a").and("00:01 done a");
    assert_snapshot!(run.when("
        00:02 fail b permanent
        00:03 undone a change
    "), @r#"
    > 00:02 fail b permanent
    event  b attempt_failed attempt=1 class=permanent message="it was permanent" then=give_up
    event  compensation_begun
    event  a compensation_started attempt=1 deadline=60:02
    effect compensate a #1
    > 00:03 undone a change
    event  a compensated
    event  finished outcome=compensated
    "#);
}
