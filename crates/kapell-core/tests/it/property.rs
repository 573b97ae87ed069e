//! Random plans under random commands: whatever is asked, no run contradicts itself, and what must hold holds.
//!
//! The checks after every batch are in [`crate::check`].

use std::{cell::RefCell, collections::BTreeSet};

use insta::assert_snapshot;
use kapell_core::{
    command::{Command, Exit, Verdict},
    effect::{Effect, outstanding},
    event::decode,
    id::{AttemptNo, GateId, ProbeId, RunId, TaskId},
    journal::Version,
    landing::Probed,
    retry::FailureClass,
    run::{Phase, Run},
    task::Change,
    time::{Elapsed, Millis, Now, Wall},
};
use proptest::{
    prelude::*,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};

use crate::{
    script::{change, oid, tips},
    story::{Story, given},
};

/// One task: what it needs (of those before it) and one of the ways to be done.
fn task() -> impl Strategy<Value = (Vec<prop::sample::Index>, Vec<&'static str>)> {
    let options = [
        "retry 2 backoff 1..5",
        "retry 3 backoff 0..9",
        "retry 9 backoff 1..1",
        "timeout 20",
        "deadline 00:40",
        "accept check",
        "claims a",
        "claims a,b/**",
        "claims b/c",
        "compensate undo",
        "lost ask",
        "usd 3",
        "usd 7 tokens 9",
        "agent m forecast m=4+9",
        "agent n forecast m=40",
        "agent o",
        "if always()",
        "if failure()",
        "if true",
        "if nothing.there",
        "out v",
        "gate ok?",
        "workflow \"agent m; x agent m\"",
        "workflow y",
    ];
    (
        prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        prop::sample::subsequence(options.to_vec(), 0..4),
    )
}

prop_compose! {
    fn plan()(
        mission in prop::sample::subsequence(
            vec!["base", "saga", "usd 12", "tokens 30", "wall 50", "deadline 01:00", "agents 1", "jobs 2"], 0..5),
        tasks in prop::collection::vec(task(), 1..9),
    ) -> String {
        let mut text = format!("mission {}; agent m provider p fallback n; agent n provider q; agent o slot job fallback m",
            mission.join(" "));
        for (at, (needs, options)) in tasks.iter().enumerate() {
            let needs: Vec<_> = needs.iter().filter(|_| at > 0).map(|need| format!("t{}", need.index(at))).collect();
            text.push_str(&format!("; t{at}"));
            if !needs.is_empty() {
                text.push_str(&format!(" after {}", needs.join(",")));
            }
            text.push_str(&format!(" {}", options.join(" ")));
        }
        text
    }
}

/// A command as two numbers that say which and how, to be read against the state it meets.
fn command(run: &Run, which: u8, how: u8) -> Command {
    let owed = outstanding(run);
    let pick = |count: usize| usize::from(how) % count.max(1);
    let tasks = u32::try_from(run.len()).unwrap();
    let task = TaskId(u32::from(how) % (tasks + 1));
    let attempt =
        AttemptNo(run.task(task).map_or(1, |task| task.attempts).saturating_sub(u32::from(how) / 100));
    let class = FailureClass::ALL[pick(FailureClass::ALL.len())];
    match which % 32 {
        // Mostly what the world owes is done, one way or the other.
        0..16 if !owed.is_empty() => done(run, &owed[pick(owed.len())], which, how),
        16 => Command::Finish { task, attempt, exit: failed(class, Some(Wall(i64::from(how) * 100))) },
        17 => {
            let task = run.in_flight().next().unwrap_or(task);
            let attempt = AttemptNo(run.task(task).map_or(1, |task| task.attempts));
            let choices = if how < 99 { vec!["a".to_owned(), "b".to_owned()] } else { vec![] };
            Command::Ask { task, attempt, question: "so?".to_owned(), choices }
        }
        18 => Command::Note { task, attempt, text: "note".to_owned() },
        19 => Command::Judge { task, attempt, verdict: verdict(how) },
        20 => Command::Probed { probe: ProbeId(u32::from(how) % 4), outcome: Probed::Green { tips: vec![] } },
        21 if how < 80 => Command::LandingFailed { message: "disk full".to_owned() },
        21 => Command::RefMoved { to: oid("anywhere") },
        22 => Command::Compensated { task, attempt: AttemptNo(1), change: None, failure: None },
        23 if how < 120 => {
            let answered = run.gates().filter(|(_, gate)| gate.answer.is_some() || how < 20);
            let gate = answered.last().map_or(GateId(7), |(id, _)| id);
            Command::UndoAnswer { gate, by: "ada".to_owned() }
        }
        23 => answer(run, GateId(u32::from(how) % 4), how),
        24 => Command::Pause,
        25 | 26 => {
            let mut limits = *run.limits();
            limits.usd_micros = limits.usd_micros.map(|usd| usd + u64::from(how) / 16);
            limits.wall = limits.wall.map(|wall| Millis(wall.0 + u64::from(how) * 1000));
            Command::Resume { limits: (!how.is_multiple_of(3)).then_some(limits) }
        }
        27 if how < 40 => Command::Cancel,
        28 => {
            let superseded = (0..tasks).map(TaskId).filter(|task| (u32::from(how) >> (task.0 % 8)) & 1 == 1);
            let plan = kapell_core::event::PlanRef::Inline(run.plan().clone());
            Command::Revise { plan, superseded: superseded.take(2).collect() }
        }
        29 => Command::Reuse {
            task,
            from: RunId([1; 16]),
            at: Version(2),
            landed: how.is_multiple_of(2).then(|| oid("earlier")),
            change: None,
            outputs: Default::default(),
        },
        30 => match how % 4 {
            0 => Command::BeginMerge { target: "main".to_owned(), from: oid("base"), to: oid("head") },
            1 => Command::UndoMerge { to: oid("base") },
            bit => Command::EndMerge { moved: bit == 2, why: None },
        },
        31 => Command::Open { epoch: 2 },
        _ => Command::Tick,
    }
}

fn failed(class: FailureClass, until: Option<Wall>) -> Exit {
    Exit::Failed { class, message: String::new(), spent: Default::default(), until }
}

fn verdict(how: u8) -> Verdict {
    match how % 4 {
        0 => Verdict::Failed { message: String::new() },
        1 => Verdict::Doubtful { question: "so?".to_owned() },
        2 => Verdict::Broken { message: String::new() },
        _ => Verdict::Passed,
    }
}

fn answer(run: &Run, gate: GateId, how: u8) -> Command {
    let choices =
        run.gates().find(|(id, _)| *id == gate).map(|(_, gate)| gate.choices.clone()).unwrap_or_default();
    // One in so many answers is none of the choices.
    let choice = choices.get(usize::from(how) % (choices.len() + usize::from(how > 230)).max(1));
    let answer = choice.cloned().unwrap_or_else(|| "so".to_owned());
    Command::Answer { gate, answer, by: "ada".to_owned() }
}

/// What the world answers to what it was asked for.
fn done(run: &Run, effect: &Effect, which: u8, how: u8) -> Command {
    let spent = kapell_core::budget::Amount { usd_micros: u64::from(how) % 5, tokens: u64::from(how) % 7 };
    match effect {
        Effect::Start { task, attempt } | Effect::Stop { task, attempt, .. } => {
            let exit = match which % 4 {
                // In some worlds nearly all fails: failures in a row tire an agent.
                _ if how >= if run.limits().jobs == 2 { 110 } else { 220 } => {
                    failed(FailureClass::Transient, None)
                }
                0 => failed(
                    FailureClass::ALL[usize::from(how) % FailureClass::ALL.len()],
                    how.is_multiple_of(2).then_some(Wall(i64::from(how) * 300)),
                ),
                which => Exit::Succeeded {
                    change: (which > 1).then(|| change(&format!("{task} {attempt}"))),
                    outputs: [("v".to_owned(), how.to_string())].into_iter().filter(|_| how < 150).collect(),
                    spent,
                },
            };
            Command::Finish { task: *task, attempt: *attempt, exit }
        }
        Effect::Check { task, attempt } => {
            Command::Judge { task: *task, attempt: *attempt, verdict: verdict(how.max(which)) }
        }
        Effect::Probe(probe) => {
            let message = String::new();
            let entries = probe.entries.len();
            let outcome = match how % 4 {
                0 if entries > 0 => Probed::Conflict { index: usize::from(how) / 4 % entries, paths: vec![] },
                1 => Probed::Red { tips: tips(probe), message },
                _ => Probed::Green { tips: tips(probe) },
            };
            Command::Probed { probe: probe.id, outcome }
        }
        Effect::MoveRef { to, .. } => Command::RefMoved { to: *to },
        Effect::Compensate { task, attempt } => {
            let failure = how.is_multiple_of(3).then(|| "no".to_owned());
            let head = run.landing().map(|landing| landing.head()).filter(|_| how.is_multiple_of(2));
            let change = head.map(|base| Change { base, ..change(&format!("back {task}")) });
            Command::Compensated { task: *task, attempt: *attempt, change, failure }
        }
        Effect::Notify { gate } => answer(run, *gate, how),
        Effect::Merge { .. } => Command::EndMerge { moved: how.is_multiple_of(2), why: None },
        Effect::Deliver { .. } | Effect::Hold { .. } => Command::Tick,
    }
}

/// Plays on without faults or new wishes until the run is over, or says what stands in the way.
fn finish(story: &mut Story) {
    for round in 0..2_000 {
        if story.run.outcome().is_some() {
            return;
        }
        let owed = outstanding(&story.run);
        let at = story.at;
        let waits = |effect: &&Effect| !matches!(effect, Effect::Merge { .. } | Effect::Hold { .. });
        if let Some(effect) = owed.iter().find(waits) {
            // Good news only: succeed without a change, pass, be green, say yes.
            let command = match effect {
                Effect::Start { task, attempt } | Effect::Stop { task, attempt, .. } => {
                    let outputs = [("v".to_owned(), "1".to_owned())].into();
                    let exit = Exit::Succeeded { change: None, outputs, spent: Default::default() };
                    Command::Finish { task: *task, attempt: *attempt, exit }
                }
                Effect::Check { task, attempt } => {
                    Command::Judge { task: *task, attempt: *attempt, verdict: Verdict::Passed }
                }
                Effect::Probe(probe) => {
                    Command::Probed { probe: probe.id, outcome: Probed::Green { tips: tips(probe) } }
                }
                Effect::Compensate { task, attempt } => {
                    Command::Compensated { task: *task, attempt: *attempt, change: None, failure: None }
                }
                Effect::Notify { gate } => answer(&story.run, *gate, 0),
                other => done(&story.run, other, 0, 0),
            };
            assert_eq!(story.put(at, vec![command.clone()]), [Ok(())], "{command:?}");
        } else if let Phase::Paused(_) = story.run.phase() {
            let mut limits = *story.run.limits();
            (limits.usd_micros, limits.tokens, limits.wall) = (None, None, None);
            assert_eq!(story.put(at, vec![Command::Resume { limits: Some(limits) }]), [Ok(())]);
        } else {
            let wake = story.run.next_wake();
            let wall = wake.wall.unwrap_or(at.wall).max(at.wall);
            let elapsed = wake.elapsed.unwrap_or(at.elapsed).max(at.elapsed);
            assert!((wall, elapsed) != (at.wall, at.elapsed), "round {round}: nothing to do, and not over");
            story.put(Now { wall, elapsed }, vec![Command::Tick]).remove(0).unwrap();
        }
    }
    panic!("does not come to an end: {}", story.stand());
}

type Steps = Vec<(Vec<(u8, u8)>, u64)>;

fn steps() -> impl Strategy<Value = Steps> {
    prop::collection::vec((prop::collection::vec(any::<(u8, u8)>(), 1..4), 0_u64..9_000), 0..60)
}

/// Plays `steps` on a run of `plan` and then to its end; notes the names of what was met on the way.
fn play(plan: &str, steps: Steps, met: &mut BTreeSet<String>) {
    let mut story = given(plan);
    let mut at = Now::default();
    for (commands, passed) in steps {
        let wall = Wall(at.wall.0 + i64::try_from(passed).unwrap());
        at = Now { wall, elapsed: Elapsed(at.elapsed.0 + passed) };
        let commands = commands.iter().map(|(which, how)| command(&story.run, *which, *how)).collect();
        for rejection in story.put(at, commands).into_iter().filter_map(Result::err) {
            let name = format!("{rejection:?}");
            met.insert(name.split(['(', ' ']).next().unwrap().to_owned());
        }
    }
    finish(&mut story);
    for row in &story.rows {
        met.extend(decode(&row.body).unwrap().iter().map(|event| event.name().to_owned()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_asked_of_it_a_run_holds_together_and_ends(plan in plan(), steps in steps()) {
        play(&plan, steps, &mut BTreeSet::new());
    }
}

/// The same from a fixed seed, so that it can be said what such runs meet: every event, and every rejection but
/// those of runs and plans that are not there or not fit.
#[test]
fn random_runs_meet_every_event_and_rejection() {
    let config = ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let met = RefCell::new(BTreeSet::new());
    TestRunner::new_with_rng(config, rng)
        .run(&(plan(), steps()), |(plan, steps)| {
            play(&plan, steps, &mut met.borrow_mut());
            Ok(())
        })
        .unwrap();
    let met: Vec<_> = met.into_inner().into_iter().collect();
    assert_snapshot!(met.join(" "), @"AlreadyAnswered AlreadyAsking AlreadyBegun AlreadyPaused AnswerUsed BadAnswer Cancelling Late Merge MootGate NotAnswered NotPaused Over StaleProbe UnexpectedMove UnknownGate UnknownTask answer_undone attempt_failed breaker_opened cancel_requested cancelled claims_awaited compensated compensation_begun compensation_failed compensation_started completed created finished gate_answered gate_opened landed landing_started merge_started merge_undone merged noted opened paused plan_adopted probe_asked probed provider_parked resumed reused sent_back skipped started stop_requested submitted unblocked verified woken");
}
