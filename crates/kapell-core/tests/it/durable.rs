//! Rows and snapshots: what is read back is the run, and what is damaged is refused.

use std::sync::Arc;

use insta::assert_snapshot;
use kapell_core::{
    effect::outstanding,
    event::{Event, FOLD_VERSION, GateKind, Outcome, PauseCause, PlanRef, decode, encode},
    id::{AttemptNo, Digest, GateId, ProbeId, RunId, TaskId},
    journal::{Row, Version},
    landing::{Blame, Probed},
    retry::FailureClass,
    run::{Damage, DamageKind, Run},
    task::{Recovery, SkipCause, StopCause},
    time::Elapsed,
};

use crate::{
    script::{oid, plan},
    story::{Story, given},
};

fn read(rows: &[Row]) -> Result<Run, Damage> {
    let mut run = Run::new(RunId([7; 16]));
    rows.iter().try_for_each(|row| run.replay(row, &mut |_| None).map(drop))?;
    Ok(run)
}

/// A run with a bit of everything in it.
fn eventful() -> Story {
    given(
        "mission base saga usd 100 deadline 30:00; agent m provider p; \
         a claims x usd 5 compensate undo; b claims x after a; c agent m retry 3 backoff 5..9; d accept check; \
         g gate ok?; e after g if always(); f after a",
    )
    .and(
        "
        00:01 ask a so? & note d half
        00:02 answer 1 yes
        00:03 done a change k=v usd 4
        00:04 probe green
        00:05 moved
        00:06 fail c quota until 00:20
        00:07 done d
        00:08 judge d doubt
        00:09 pause
        00:10 done b change
        00:11 resume usd 50
        00:12 answer 0 yes
        00:20 tick
        00:21 fail c transient
        00:22 merge begin
    ",
    )
}

#[test]
fn every_prefix_of_the_rows_is_the_run_as_it_was() {
    let story = eventful();
    let mut run = Run::new(story.run.id());
    for row in &story.rows {
        let events = run.replay(row, &mut |_| None).unwrap();
        assert_eq!(encode(&events), row.body);
        assert_eq!((run.version(), run.hash(), run.clock()), (row.n, row.hash, row.elapsed));
        assert_eq!(run.wall(), row.at);
    }
    assert!(run.is_same(&story.run));
    // With the chain checked before it is the same.
    let mut verified = Run::new(story.run.id());
    for row in &story.rows {
        verified.replay_verified(row, &mut |_| None).unwrap();
    }
    assert!(verified.is_same(&story.run));
    assert_eq!(outstanding(&verified), outstanding(&story.run));
}

#[test]
fn states_that_differ_are_not_the_same() {
    let story = eventful();
    let rows = &story.rows;
    for len in 0..rows.len() {
        assert!(!read(&rows[..len]).unwrap().is_same(&story.run), "{len}");
    }
}

#[test]
fn a_run_goes_on_where_its_rows_end() {
    let mut story = eventful();
    let mut again = read(&story.rows).unwrap();
    let at = crate::script::now("00:30");
    let command = crate::script::command(&again, "open 2");
    let batch = again.batch([(kapell_core::journal::Actor::Engine, command.clone())], at).unwrap();
    story.put(at, vec![command])[0].clone().unwrap();
    assert_eq!(batch.rows[..], story.rows[story.rows.len() - 1..]);
    assert!(again.is_same(&story.run));
}

#[test]
fn every_kind_of_damage_is_found_in_its_row() {
    let story = eventful();
    let rows = story.rows;
    let reseal = |mut row: Row| {
        row.hash = row.seal();
        row
    };
    let with_body = |at: usize, body: String| {
        let mut rows = rows.clone();
        rows[at] = reseal(Row { body, ..rows[at].clone() });
        rows.truncate(at + 1);
        rows
    };
    let cases: Vec<(&str, Vec<Row>)> = vec![
        ("one is missing", [&rows[..2], &rows[3..]].concat()),
        ("one comes twice", [&rows[..3], &rows[2..3]].concat()),
        ("the first is missing", rows[1..].to_vec()),
        ("altered", {
            let mut rows = rows.clone();
            rows[2].body = rows[2].body.replace('1', "2");
            rows
        }),
        ("another past", {
            let mut rows = rows.clone();
            rows[3] = reseal(Row { prev: Digest::of(b"x"), ..rows[3].clone() });
            rows
        }),
        ("another run", {
            let mut rows = rows.clone();
            rows[3] = reseal(Row { run: RunId([8; 16]), ..rows[3].clone() });
            rows
        }),
        ("no events", with_body(3, "what?".to_owned())),
        ("an event that cannot follow", with_body(1, encode(&[Event::Verified { task: TaskId(0) }]))),
        ("an unknown task", with_body(1, encode(&[Event::Verified { task: TaskId(77) }]))),
        ("made twice", with_body(1, rows[0].body.clone())),
        (
            "the plan is missing",
            with_body(
                0,
                encode(&[
                    decode(&rows[0].body).unwrap().remove(0),
                    Event::PlanAdopted {
                        revision: 1,
                        plan: PlanRef::Kept { digest: Digest::of(b"plan"), plan: None },
                    },
                ]),
            ),
        ),
    ];
    let mut said = vec![];
    for (name, rows) in cases {
        let damage = read(&rows).unwrap_err();
        assert!(matches!(
            damage.kind,
            DamageKind::Broken(_)
                | DamageKind::Body(_)
                | DamageKind::PlanMissing(_)
                | DamageKind::Event(_)
                | DamageKind::OtherRun(_)
        ));
        said.push(format!("{name}: {damage}"));
    }
    assert_snapshot!(said.join("\n"), @"
    one is missing: decision 4 of run 070w3ge1r70w3ge1r70w3ge1r7 is damaged: decision 3 should come here
    one comes twice: decision 3 of run 070w3ge1r70w3ge1r70w3ge1r7 is damaged: decision 4 should come here
    the first is missing: decision 2 of run 070w3ge1r70w3ge1r70w3ge1r7 is damaged: decision 1 should come here
    altered: decision 3 of run 070w3ge1r70w3ge1r70w3ge1r7 is damaged: its content does not have its hash
    another past: decision 4 of run 070w3ge1r70w3ge1r70w3ge1r7 is damaged: it follows 3ae7d805f6789a6402acb70ad4096a85a56bf6804eaf25c0493ac697548d30b5, but the row before it is 9442444220e793db8738c8318658b2e65aaa28ca430d1cba60db56c403c69a1c
    another run: decision 4 of run 070w3ge1r70w3ge1r70w3ge1r7 is damaged: it belongs to run 081040g2081040g2081040g208
    no events: decision 4 of run 070w3ge1r70w3ge1r70w3ge1r7 is damaged: event 1 cannot be read: expected value at line 1 column 1
    an event that cannot follow: decision 2 of run 070w3ge1r70w3ge1r70w3ge1r7 is damaged: task 0: Verified cannot follow Running(Attempt { number: AttemptNo(1), since: Elapsed(0), deadline: None, agent: None, reserved: Amount { usd_micros: 5, tokens: 0 }, held: Amount { usd_micros: 0, tokens: 0 }, slots: Slots { agents: 0, jobs: 1, memory_mib: 0 }, stopping: None, question: None, rests: None })
    an unknown task: decision 2 of run 070w3ge1r70w3ge1r70w3ge1r7 is damaged: there is no task 77
    made twice: decision 2 of run 070w3ge1r70w3ge1r70w3ge1r7 is damaged: created cannot happen now
    the plan is missing: decision 1 of run 070w3ge1r70w3ge1r70w3ge1r7 is damaged: the plan 29fde71e3ef298312227db745efc78ceb1c4e97c3a45f8e1f3f8680fa8a8f9ac is missing
    ");
}

#[test]
fn a_checked_chain_still_must_be_in_order() {
    let rows = eventful().rows;
    let mut run = Run::new(RunId([7; 16]));
    let mut replay = |row: &Row| run.replay_verified(row, &mut |_| None).map(drop);
    replay(&rows[0]).unwrap();
    assert!(matches!(replay(&rows[2]).unwrap_err().kind, DamageKind::Broken(_)));
    let other = Row { prev: Digest::of(b"x"), ..rows[1].clone() };
    assert!(matches!(replay(&other).unwrap_err().kind, DamageKind::Broken(_)));
    let foreign = Row { run: RunId([8; 16]), ..rows[1].clone() };
    assert_eq!(replay(&foreign).unwrap_err().kind, DamageKind::OtherRun(RunId([8; 16])));
    replay(&rows[1]).unwrap();
}

#[test]
fn a_kept_plan_is_put_in_when_its_event_is_read() {
    let (mission, plan) = plan("a; b after a");
    let plan = Arc::new(plan);
    let digest = Digest::of(b"plan");
    let mut story = Story::bare();
    let create = kapell_core::command::Command::Create {
        mission: Box::new(mission),
        plan: PlanRef::Kept { digest, plan: Some(plan.clone()) },
    };
    let batch = story.run.batch([(kapell_core::journal::Actor::Clock, create)], Default::default()).unwrap();
    assert_eq!(batch.rows[0].actor, "clock");
    assert!(!batch.rows[0].body.contains("\"b\""), "the plan is not in the row");
    let mut run = Run::new(story.run.id());
    let mut asked = vec![];
    let mut source = |digest| {
        asked.push(digest);
        Some(plan.clone())
    };
    assert_eq!(run.replay(&batch.rows[0], &mut source).unwrap(), batch.events);
    assert_eq!(asked, [digest]);
    assert!(run.is_same(&story.run));
}

#[test]
fn a_snapshot_of_anything_else_is_not_used() {
    let run = eventful().run;
    let (fold, bytes) = run.to_snapshot();
    assert_eq!(fold, FOLD_VERSION);
    let read = |fold, bytes: &[u8], n, hash, plan| Run::from_snapshot(fold, bytes, n, hash, plan);
    let (n, hash, right) = (run.version(), run.hash(), run.plan().clone());
    assert!(read(fold, &bytes, n, hash, right.clone()).unwrap().is_same(&run));
    assert!(read(fold + 1, &bytes, n, hash, right.clone()).is_none());
    assert!(read(fold - 1, &bytes, n, hash, right.clone()).is_none());
    assert!(read(fold, &bytes, n.next(), hash, right.clone()).is_none());
    assert!(read(fold, &bytes, n, Digest::ZERO, right.clone()).is_none());
    assert!(read(fold, &bytes[1..], n, hash, right.clone()).is_none());
    assert!(read(fold, b"", n, hash, right).is_none());
    let other = Arc::new(plan("a").1);
    assert!(read(fold, &bytes, n, hash, other).is_none());
    assert_eq!(Run::plan_of_snapshot(&bytes), Some(Version(1)));
    assert_eq!(Run::plan_of_snapshot(b"{}"), None);
    // What follows it is not looked at, and may be broken: then the snapshot is not used.
    let cut = &bytes[..bytes.len() - 1];
    assert_eq!(Run::plan_of_snapshot(cut), Some(Version(1)));
    assert!(read(fold, cut, n, hash, run.plan().clone()).is_none());
}

/// Puts one event behind the rows of a run, as a journal that something went wrong with would hold it.
fn follows(story: &Story, events: &[Event]) -> Result<(), String> {
    let run = &story.run;
    let mut row = Row {
        run: run.id(),
        n: run.version().next(),
        at: story.at.wall,
        elapsed: run.clock(),
        actor: "engine".to_owned(),
        cause: "test".to_owned(),
        prev: run.hash(),
        hash: Digest::ZERO,
        body: encode(events),
    };
    row.hash = row.seal();
    run.clone().replay(&row, &mut |_| None).map(drop).map_err(|damage| damage.kind.to_string())
}

/// Which events that concern the run as a whole can follow in which phase.
#[test]
fn every_phase_against_every_event_of_the_run() {
    let main = || "refs/heads/main".to_owned();
    let events = [
        Event::Opened { epoch: 9 },
        Event::Created { mission: Box::default() },
        Event::Paused { why: PauseCause::Person },
        Event::Paused { why: PauseCause::LandingFails { message: String::new() } },
        Event::Resumed { limits: None },
        Event::CancelRequested {},
        Event::CompensationBegun {},
        Event::Finished { outcome: Outcome::Failed },
        Event::MergeStarted { target: main(), from: oid("base"), to: oid("head") },
        Event::Merged { target: main(), to: oid("head") },
        Event::MergeUndone { target: main(), to: oid("base"), why: None },
        Event::ProviderParked {
            provider: "p".to_owned(),
            until: kapell_core::time::Wall(9),
            latest: Elapsed(9),
        },
        Event::BreakerOpened { agent: kapell_core::id::AgentId(0), until: Elapsed(9) },
    ];
    let saga = "mission saga; a compensate undo; b; c";
    let phases: Vec<(&str, Story)> = vec![
        ("not made", Story::bare()),
        ("active", given("a")),
        ("paused", given("a").and("00:01 pause")),
        ("cancelling", given("a").and("00:01 cancel")),
        ("compensating", given(saga).and("00:01 done a").and("00:02 done c").and("00:03 fail b permanent")),
        ("finished", given("a").and("00:01 done a")),
        ("merging", given("a").and("00:01 merge begin")),
        ("merged", given("a").and("00:01 merge begin").and("00:02 merge moved")),
    ];
    let mut text = vec![];
    for (name, story) in &phases {
        let legal = events.iter().filter(|event| follows(story, &[(*event).clone()]).is_ok());
        let legal: Vec<_> = legal.map(Event::name).collect();
        text.push(format!("{name}: {}", legal.join(", ")));
    }
    assert_snapshot!(text.join("\n"), @"
    not made: created
    active: opened, paused, paused, cancel_requested, compensation_begun, finished, merge_started, provider_parked, breaker_opened
    paused: opened, paused, resumed, cancel_requested, merge_started, provider_parked, breaker_opened
    cancelling: opened, compensation_begun, finished, merge_started, provider_parked, breaker_opened
    compensating: opened, finished, merge_started, provider_parked, breaker_opened
    finished: opened, merge_started
    merging: opened, paused, paused, cancel_requested, compensation_begun, finished, merged, merge_undone, provider_parked, breaker_opened
    merged: opened, paused, paused, cancel_requested, compensation_begun, finished, merge_started, merge_undone, provider_parked, breaker_opened
    ");
}

/// What the table of tasks alone would let pass.
#[test]
fn events_that_fit_no_attempt_or_no_queue_are_refused() {
    let running = || given("mission base; a; g gate ok?; p");
    let paused = || running().and("00:01 done a").and("00:02 fail p lost").and("00:03 pause");
    let probing = || running().and("00:01 done a change");
    let moving = || probing().and("00:02 probe green");
    let stuck = || {
        given("mission saga; a compensate undo; b")
            .and("00:01 done a")
            .and("00:02 fail b permanent")
            .and("00:03 stuck a")
    };
    let (task, attempt) = (TaskId(0), AttemptNo(2));
    let failed = |then| Event::AttemptFailed {
        task,
        attempt,
        class: FailureClass::Transient,
        message: String::new(),
        spent: Default::default(),
        then,
    };
    let started = |task, attempt| Event::Started {
        task,
        attempt,
        agent: None,
        deadline: None,
        reserved: Default::default(),
        held: Default::default(),
        grant: None,
    };
    let gate = |gate, kind| Event::GateOpened { gate, task, kind, question: String::new(), choices: vec![] };
    let green = |tips: usize| Probed::Green { tips: vec![oid("x"); tips] };
    let asked = probing().run.landing().unwrap().asked().unwrap();
    let cases: Vec<(Story, Event)> = vec![
        (running(), failed(Recovery::GiveUp)),
        (running(), Event::StopRequested { task, attempt, why: StopCause::Timeout }),
        (
            running(),
            Event::Submitted {
                task,
                attempt,
                change: None,
                outputs: Default::default(),
                spent: Default::default(),
            },
        ),
        (running(), started(TaskId(1), AttemptNo(1))),
        (paused(), started(TaskId(2), AttemptNo(3))),
        (running(), gate(GateId(7), GateKind::Question)),
        (running(), gate(GateId(1), GateKind::Protect)),
        (running(), gate(GateId(1), GateKind::Lost)),
        (running(), Event::GateAnswered { gate: GateId(7), answer: String::new(), by: String::new() }),
        (running(), Event::AnswerUndone { gate: GateId(0), by: String::new() }),
        (running(), Event::AnswerUndone { gate: GateId(7), by: String::new() }),
        (
            running().and("00:01 answer 0 yes").and("00:02 cancel"),
            Event::AnswerUndone { gate: GateId(0), by: String::new() },
        ),
        (running(), Event::PlanAdopted { revision: 2, plan: crate::script::plan_ref("a") }),
        (running(), Event::PlanAdopted { revision: 1, plan: crate::script::plan_ref("a; g gate ok?; p") }),
        (running(), Event::ProbeAsked { probe: asked.clone() }),
        (probing(), Event::ProbeAsked { probe: asked }),
        (probing(), Event::Probed { probe: ProbeId(7), outcome: green(1) }),
        (probing(), Event::Probed { probe: ProbeId(0), outcome: green(0) }),
        (
            probing(),
            Event::Probed { probe: ProbeId(0), outcome: Probed::Conflict { index: 1, paths: vec![] } },
        ),
        (probing(), Event::LandingStarted { from: oid("base"), to: oid("x") }),
        (probing(), Event::Landed { task, commit: oid("x") }),
        (probing(), Event::SentBack { task, blame: Blame::Alone }),
        (moving(), Event::LandingStarted { from: oid("base"), to: oid("x") }),
        (moving(), Event::Landed { task, commit: oid("x") }),
        (moving(), Event::Landed { task: TaskId(2), commit: moving().run.ref_move().unwrap().1 }),
        (given("a"), Event::LandingStarted { from: oid("base"), to: oid("x") }),
        (given("a"), Event::SentBack { task, blame: Blame::Alone }),
        (
            stuck(),
            Event::CompensationFailed {
                task,
                attempt: AttemptNo(1),
                message: String::new(),
                again: true,
                deadline: None,
            },
        ),
        (stuck(), Event::CompensationStarted { task, attempt: AttemptNo(1), deadline: None }),
        (running(), Event::ChildRested { task, attempt: AttemptNo(1) }),
        (running(), Event::ChildWentOn { task, attempt: AttemptNo(1) }),
        (running(), Event::Held { stop: true }),
        (paused(), Event::Released {}),
        (paused(), Event::Paused { why: PauseCause::Parent { stop: true } }),
        (stuck(), Event::Skipped { task, why: SkipCause::Superseded }),
    ];
    let mut said = vec![];
    for (story, event) in cases {
        let error = follows(&story, std::slice::from_ref(&event)).expect_err(event.name());
        said.push(error.chars().take(90).collect::<String>());
    }
    assert_snapshot!(said.join("\n"), @"
    attempt_failed cannot happen now
    stop_requested cannot happen now
    submitted cannot happen now
    started cannot happen now
    started cannot happen now
    gate_opened cannot happen now
    gate_opened cannot happen now
    gate_opened cannot happen now
    gate_answered cannot happen now
    answer_undone cannot happen now
    answer_undone cannot happen now
    answer_undone cannot happen now
    plan_adopted cannot happen now
    plan_adopted cannot happen now
    probe_asked cannot happen now
    probe_asked cannot happen now
    probed cannot happen now
    probed cannot happen now
    probed cannot happen now
    landing_started cannot happen now
    landed cannot happen now
    sent_back cannot happen now
    landing_started cannot happen now
    landed cannot happen now
    landed cannot happen now
    landing_started cannot happen now
    sent_back cannot happen now
    compensation_failed cannot happen now
    task 0: CompensationStarted(AttemptNo(1), None) cannot follow Compensating { attempt: Atte
    child_rested cannot happen now
    child_went_on cannot happen now
    held cannot happen now
    released cannot happen now
    paused cannot happen now
    task 0: Skipped(Superseded) cannot follow Compensating { attempt: AttemptNo(2), deadline:
    ");
    // The same with the right numbers goes through.
    assert_eq!(
        follows(&running(), &[Event::StopRequested { task, attempt: AttemptNo(1), why: StopCause::Timeout }]),
        Ok(())
    );
    assert_eq!(follows(&probing(), &[Event::Probed { probe: ProbeId(0), outcome: green(1) }]), Ok(()));
    let to = moving().run.ref_move().unwrap().1;
    assert_eq!(follows(&moving(), &[Event::Landed { task, commit: to }]), Ok(()));
    let again =
        Event::CompensationFailed { task, attempt, message: String::new(), again: false, deadline: None };
    assert_eq!(follows(&stuck(), &[again]), Ok(()));
    assert_eq!(follows(&running(), &[gate(GateId(1), GateKind::Question)]), Ok(()));
}
