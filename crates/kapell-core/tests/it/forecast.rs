//! What attempts are expected to cost: nothing else starts on it while they are under way, and no more than that.

use insta::assert_snapshot;
use kapell_core::{
    budget::Amount,
    event::{Event, decode},
    run::Run,
};
use proptest::prelude::*;

use crate::story::{Story, given};

/// Four tasks of one kind, by an agent of which something is known.
const FOUR: &str = "agent m; a agent m forecast m=4; b agent m forecast m=4; c agent m forecast m=4; \
                    d agent m forecast m=4";

fn held(story: &Story) -> u64 {
    story.run.ledger().held().usd_micros
}

#[test]
fn an_attempt_waits_while_others_are_expected_to_need_the_money() {
    let mut run = given(&format!("mission usd 12; {FOUR}"));
    // There is room for four, and money for three of them.
    assert_eq!(run.stand(), "active; a running; b running; c running; d ready");
    assert_eq!((held(&run), run.run.ledger().reserved()), (12, Amount::ZERO));
    // It cost more than was expected, from what others might have needed: that is no overrun, and two are enough then.
    assert_snapshot!(run.when("
        00:01 done a usd 5
        00:02 done b usd 3
        00:03 done c usd 2
        00:04 done d usd 1
    "), @"
    > 00:01 done a usd 5
    event  a completed spent.usd_micros=5
    > 00:02 done b usd 3
    event  b completed spent.usd_micros=3
    > 00:03 done c usd 2
    event  c completed spent.usd_micros=2
    event  d started agent=m attempt=1 held.usd_micros=2
    effect start d #1
    > 00:04 done d usd 1
    event  d completed spent.usd_micros=1
    event  finished outcome=succeeded
    ");
    assert_eq!((held(&run), run.run.ledger().overrun()), (0, Amount::ZERO));
}

#[test]
fn one_can_always_run_whatever_is_expected_of_it() {
    // A forecast that is wrong, or a budget that was too small from the start.
    let mut run = given(
        "mission usd 10; agent m; a agent m forecast m=400; b agent m forecast m=400; c agent m forecast m=400",
    );
    assert_eq!((run.stand().as_str(), held(&run)), ("active; a running; b ready; c ready", 10));
    assert_snapshot!(run.when("
        00:01 done a usd 4
        00:02 done b usd 6
    "), @"
    > 00:01 done a usd 4
    event  a completed spent.usd_micros=4
    event  b started agent=m attempt=1 held.usd_micros=6
    effect start b #1
    > 00:02 done b usd 6
    event  b completed spent.usd_micros=6
    event  paused why.budget=usd
    ");
}

#[test]
fn a_failed_attempt_gives_back_what_was_held_for_it() {
    let mut run = given(&format!("mission usd 4; {FOUR} retry 2"));
    assert_snapshot!(run.when("
        00:01 fail a permanent usd 1
        00:02 fail b budget usd 1
    "), @r#"
    > 00:01 fail a permanent usd 1
    event  a attempt_failed attempt=1 class=permanent message="it was permanent" spent.usd_micros=1 then=give_up
    event  b started agent=m attempt=1 held.usd_micros=3
    effect start b #1
    > 00:02 fail b budget usd 1
    event  b attempt_failed attempt=1 class=budget message="it was budget" spent.usd_micros=1 then=again
    event  paused why.budget=usd
    "#);
    assert_eq!(held(&run), 0);
}

#[test]
fn what_is_expected_to_cost_less_goes_first_and_the_others_in_the_end() {
    let run = given(
        "mission usd 10; agent m; a agent m forecast m=6; dear agent m forecast m=8; cheap agent m forecast m=2; \
         next agent m forecast m=2; free agent m",
    );
    // Of what is free nobody knows what it costs: it starts as long as something is left.
    assert_eq!(run.stand(), "active; a running; dear ready; cheap running; next running; free ready");
    assert_eq!(
        run.and("00:01 done a usd 1").stand(),
        "active; a done; dear ready; cheap running; next running; free running"
    );
    let run = given(
        "mission usd 10; agent m; a agent m forecast m=6; dear agent m forecast m=8; cheap agent m forecast m=2",
    );
    let run = run.and("00:01 done a usd 1");
    assert_eq!(run.stand(), "active; a done; dear ready; cheap running");
    assert_eq!(run.and("00:02 done cheap usd 1").stand(), "active; a done; dear running; cheap done");
}

#[test]
fn what_is_held_is_not_reserved_by_others_either() {
    let run = given(
        "mission usd 10; agent m; a agent m forecast m=6; own agent m usd 5; small usd 4; part workflow \"agent n; x agent n\"",
    );
    assert_eq!(run.stand(), "active; a running; own ready; small running; part ready");
    let run = run.and("00:01 done a usd 1");
    // A nested workflow has half of what is left then.
    assert_eq!(run.stand(), "active; a done; own running; small running; part ready");
    // What a task says itself is not expected besides.
    assert_eq!((held(&run), run.run.ledger().reserved().usd_micros), (0, 9));
}

#[test]
fn what_is_not_limited_or_not_done_by_a_model_is_not_held() {
    let run = given("agent m; a agent m forecast m=4+9");
    assert_eq!(run.run.ledger().held(), Amount::ZERO);
    let run = given(
        "mission tokens 5; agent m; agent o slot job; a agent m forecast m=4+3; b agent o forecast o=4+3; c agent m usd 1 forecast m=2+1",
    );
    assert_eq!(run.run.ledger().held(), Amount { usd_micros: 0, tokens: 4 });
    assert_eq!(run.stand(), "active; a running; b running; c running");
}

#[test]
fn who_takes_over_brings_a_forecast_of_its_own() {
    let mut run = given(
        "mission usd 10; agent m fallback n; agent n; a agent m forecast m=2,n=7; b agent m forecast m=4; c agent m forecast m=4",
    );
    assert_eq!((run.stand().as_str(), held(&run)), ("active; a running; b running; c running", 10));
    assert_snapshot!(run.when("
        00:01 fail a permanent
        00:02 done b
        00:03 done c
    "), @r#"
    > 00:01 fail a permanent
    event  a attempt_failed attempt=1 class=permanent message="it was permanent" then.substitute.agent=n
    > 00:02 done b
    event  b completed
    > 00:03 done c
    event  c completed
    event  a started agent=n attempt=2 held.usd_micros=7
    effect start a #2
    "#);
}

#[test]
fn snapshots_and_old_journals_know_it() {
    let run = given(&format!("mission usd 9; {FOUR}"));
    let (fold, bytes) = run.run.to_snapshot();
    let (version, hash, plan) = (run.run.version(), run.run.hash(), run.run.plan().clone());
    let read = Run::from_snapshot(fold, &bytes, version, hash, plan).unwrap();
    assert_eq!(read.ledger().held().usd_micros, 8);
    // As it was written before anything was held.
    let old = r#"[{"started":{"task":0,"attempt":1,"reserved":{"usd_micros":5}}}]"#;
    let Ok([Event::Started { held: Amount::ZERO, .. }]) = decode(old).as_deref() else {
        panic!("{:?}", decode(old));
    };
}

proptest! {
    /// Forecasts and costs as they may be: at every start there was room for what is set aside, or nothing was.
    #[test]
    fn what_starts_fits_beside_what_others_are_expected_to_cost(
        tasks in prop::collection::vec((0_u64..40, 0_u64..40), 1..12),
        limit in 1_u64..100,
        agents in 1_u32..5,
    ) {
        let mut text = format!("mission usd {limit} agents {agents}; agent m");
        for (at, (forecast, _)) in tasks.iter().enumerate() {
            text.push_str(&format!("; t{at} agent m forecast m={forecast}"));
        }
        let mut run = given(&text);
        let mut rounds = 0;
        while run.run.outcome().is_none() {
            let ledger = *run.run.ledger();
            let (spent, held) = (ledger.spent().usd_micros, ledger.held().usd_micros);
            let under_way: Vec<_> = run.run.in_flight().collect();
            if under_way.is_empty() {
                prop_assert!(held == 0 && spent >= limit, "paused with {spent} of {limit} spent");
                let more = run.run.limits().usd_micros.unwrap() + 1_000;
                run = run.and(&format!("00:01 resume usd {more}"));
                prop_assert!(run.run.in_flight().next().is_some());
                continue;
            }
            let expected: u64 = under_way.iter().map(|task| tasks[task.index()].0).sum();
            let alone = under_way.iter().filter(|task| tasks[task.index()].0 > 0).count() <= 1;
            prop_assert!(held <= expected);
            prop_assert!(alone || held == expected, "{under_way:?} hold {held} of {expected}");
            // The last that started did beside all that are under way still.
            let cost = tasks[under_way[0].index()].1;
            run = run.and(&format!("00:01 done t{} usd {cost}", under_way[0].index()));
            rounds += 1;
            prop_assert!(rounds <= tasks.len());
        }
        prop_assert_eq!(run.run.ledger().held(), Amount::ZERO);
        prop_assert_eq!(run.run.ledger().spent().usd_micros, tasks.iter().map(|(_, cost)| cost).sum::<u64>());
    }
}
