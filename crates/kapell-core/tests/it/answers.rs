//! Answers that are taken back: as long as nothing has followed from them.

use insta::assert_snapshot;
use kapell_core::{id::GateId, retry::FailureClass};

use crate::story::given;

#[test]
fn an_answer_is_taken_back_as_long_as_nothing_has_followed_from_it() {
    let mut run = given(
        "slow; ship gate ok? compensate undo; bad; tell after slow,ship; other after ship,bad if failure()",
    );
    assert_snapshot!(run.when("
        00:01 unanswer 0
        00:02 answer 0 yes
        00:03 unanswer 0
        00:04 unanswer 0
        00:05 answer 0 no
        00:06 unanswer 0
        00:07 unanswer 7
    "), @r#"
    > 00:01 unanswer 0
    refused gate 0 has no answer to take back
    > 00:02 answer 0 yes
    event  gate_answered answer=yes by=ada gate=0
    event  ship completed outputs.answer=yes
    > 00:03 unanswer 0
    event  answer_undone by=ada gate=0
    effect notify gate 0
    > 00:04 unanswer 0
    refused gate 0 has no answer to take back
    > 00:05 answer 0 no
    event  gate_answered answer=no by=ada gate=0
    event  ship attempt_failed attempt=0 class=permission message="a person said no" then=give_up
    > 00:06 unanswer 0
    event  answer_undone by=ada gate=0
    effect notify gate 0
    > 00:07 unanswer 7
    refused there is no gate number 7
    "#);
    let ship = run.task("ship");
    assert_eq!((run.run.outputs(ship), run.run.last_failure(ship)), (None, None));
    assert_eq!(run.run.compensable(), []);
    // Whether another need failed is still known.
    assert_snapshot!(run.when("
        00:08 answer 0 no
        00:09 fail bad permanent
    "), @r#"
    > 00:08 answer 0 no
    event  gate_answered answer=no by=ada gate=0
    event  ship attempt_failed attempt=0 class=permission message="a person said no" then=give_up
    > 00:09 fail bad permanent
    event  bad attempt_failed attempt=1 class=permanent message="it was permanent" then=give_up
    event  other unblocked
    event  other started attempt=1
    effect start other #1
    "#);
    assert_eq!(
        run.when("00:10 unanswer 0"),
        "refused the answer to gate 0 cannot be taken back: what needs its task has gone on"
    );
}

#[test]
fn what_was_ready_by_an_answer_waits_again_without_it() {
    let mut run =
        given("mission jobs 1; slow claims x; ship gate ok?; claimer claims x after ship; plain after ship")
            .and("00:01 answer 0 yes");
    assert_snapshot!(run.stand(), @"active; slow running; ship done; claimer ready; plain ready");
    run = run.and("00:02 unanswer 0");
    assert_snapshot!(run.stand(), @"active; slow running; ship awaiting_gate; claimer blocked; plain blocked");
    run = run
        .and("00:03 answer 0 yes & pause")
        .and("00:04 done slow")
        .and("00:05 unanswer 0")
        .and("00:06 resume");
    assert_snapshot!(run.stand(), @"active; slow done; ship awaiting_gate; claimer blocked; plain blocked");
    let mut run = given("mission jobs 2; slow claims x; ship gate ok?; claimer claims x after ship")
        .and("00:01 answer 0 yes");
    assert_snapshot!(run.stand(), @"active; slow running; ship done; claimer awaiting_claims");
    run = run.and("00:02 unanswer 0");
    assert_eq!(run.run.claims().waiting_len(), 0);
    run = run.and("00:03 done slow").and("00:04 answer 0 yes");
    assert_snapshot!(run.stand(), @"active; slow done; ship done; claimer running");
    assert!(run.when("00:05 unanswer 0").starts_with("refused"));
}

#[test]
fn what_is_decided_of_a_lost_attempt_is_taken_back() {
    let mut run = given("a lost ask; b after a").and("00:01 pause").and("00:02 fail a lost");
    for answer in ["retry", "\"give up\""] {
        run = run.and(&format!("00:03 answer 0 {answer}"));
        assert_ne!(run.state("a").name(), "awaiting_gate");
        run = run.and("00:04 unanswer 0");
        assert_eq!(run.stand(), "paused Person; a awaiting_gate; b blocked");
        let failure = run.run.last_failure(run.task("a")).unwrap();
        assert_eq!(failure.class, FailureClass::Lost);
        assert_eq!(run.run.task(run.task("a")).unwrap().failures, 0);
    }
    run = run.and("00:05 answer 0 retry").and("00:06 resume");
    assert_eq!(
        run.when("00:07 unanswer 0"),
        "refused the answer to gate 0 cannot be taken back: its task has gone on"
    );
    // Of two such answers only the later is about the attempt that counts.
    run = run.and("00:08 fail a lost").and("00:09 answer 1 \"give up\" & unanswer 1");
    assert!(run.when("00:10 unanswer 0").contains("its task has gone on"));
    assert_snapshot!(run.stand(), @"active; a awaiting_gate; b blocked");
}

#[test]
fn an_accepted_change_is_doubted_again_until_it_is_being_landed() {
    let mut run = given("mission base; a accept check; first")
        .and("00:01 done first change")
        .and("00:02 done a change")
        .and("00:03 judge a doubt")
        .and("00:04 answer 0 accept");
    assert_eq!(run.state("a").name(), "verified");
    run = run.and("00:05 unanswer 0");
    assert!(run.run.is_doubted(run.task("a")));
    assert_eq!(run.run.landing().unwrap().pending().count(), 1);
    run = run.and("00:06 answer 0 accept").and("00:07 probe green").and("00:08 moved");
    assert_eq!(
        run.when("00:09 unanswer 0"),
        "refused the answer to gate 0 cannot be taken back: its change is being landed"
    );
    let mut run = given("mission base; a accept check; b")
        .and("00:01 done a change")
        .and("00:02 judge a doubt")
        .and("00:03 answer 0 reject");
    assert!(run.when("00:04 unanswer 0").contains("its task has gone on"));
}

#[test]
fn what_an_agent_was_told_and_what_is_taken_back_stay() {
    let mut run = given("a").and("00:01 ask a so?").and("00:02 answer 0 left");
    assert_eq!(
        run.when("00:03 unanswer 0"),
        "refused the answer to gate 0 cannot be taken back: the agent that asked has been told"
    );
    run = run.and("00:04 done a");
    assert_eq!(run.when("00:05 unanswer 0"), "refused the run is over");
    // A no in a saga ends what has begun.
    let mut run = given("mission saga; g gate ok?; h gate sure?; a").and("00:01 answer 0 no");
    assert_eq!(
        run.when("00:02 unanswer 0"),
        "refused the answer to gate 0 cannot be taken back: the run has begun to end"
    );
    let mut run = given("g gate ok?; a").and("00:01 answer 0 yes").and("00:02 cancel");
    assert_eq!(run.when("00:03 unanswer 0"), "refused the run is being cancelled");
    assert_eq!(run.run.follows_from(GateId(9)), None);
}

#[test]
fn a_compensation_that_is_left_stays_left() {
    let mut run = given("mission saga; a compensate undo; b compensate undo; c after a,b")
        .and("00:01 done a")
        .and("00:02 done b")
        .and("00:03 fail c permanent")
        .and("00:04 stuck b")
        .and("00:05 stuck b")
        .and("00:06 stuck b")
        .and("00:07 answer 0 skip");
    assert_eq!(run.when("00:08 unanswer 0"), "refused the run is being cancelled");
    assert_eq!(run.run.follows_from(GateId(0)), Some("what it is about is being taken back already"));
}
