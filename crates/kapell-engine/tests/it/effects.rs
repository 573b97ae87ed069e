//! What is asked of agents and workspaces, and what comes of their failures.

use std::sync::{
    Arc, Condvar, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use kapell_core::{
    command::{Command, Verdict},
    event::{Outcome, PauseCause},
    journal::Actor,
    landing::Probed,
    mission::Mission,
    plan::WorkspaceKind,
    retry::FailureClass,
    run::Phase,
    task::Change,
    time::Millis,
};
use kapell_engine::{
    host::Rest,
    port::{agents::Job, workspaces::Merged},
};

use crate::rig::{RUN, Rig, good, landing_mission, mission, oid, plan, script, tips, trouble};

fn landing(text: &str) -> Rig {
    Rig::with(landing_mission(), plan(&[("a", script(text), &[])]))
}

#[test]
fn an_order_says_all_that_an_agent_needs() {
    let mut task = script("hold");
    task.env = vec![kapell_core::plan::Variable {
        name: "WHO".to_owned(),
        value: "${{ inputs.who }}".parse().unwrap(),
    }];
    task.timeout = Some(Millis(5));
    let mut mission = mission();
    mission.inputs.insert("who".to_owned(), "ada".to_owned());
    let mut rig = Rig::with(mission, plan(&[("a", task, &[])]));
    rig.until_said("start 0.1");
    let order = rig.agents.orders.lock().unwrap()[0].clone();
    assert_eq!((order.name.as_str(), order.job), ("a", Job::Script("hold".to_owned())));
    let env: Vec<_> = order.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(env, ["WHO=ada", "SPACE=1"]);
    assert_eq!((order.timeout, order.dir.to_str()), (Some(Millis(5)), Some("/nowhere")));
}

#[test]
fn an_attempt_that_cannot_start_has_failed() {
    for (text, open, message) in [
        ("refuse", Ok(()), "nobody there"),
        ("panic", Ok(()), "starting it failed: a bug"),
        ("ok", Err(trouble(FailureClass::Permanent, "no such commit")), "no such commit"),
    ] {
        let mut rig = landing(text);
        *rig.spaces.open.lock().unwrap() = Arc::new(move |_| open.clone());
        assert_eq!(rig.settle(), Rest::Over);
        assert_eq!(rig.run().last_failure(kapell_core::id::TaskId(0)).unwrap().message, message);
        rig.until_said("close 0.1 Salvage");
    }
}

#[test]
fn agents_hear_of_a_run_that_is_over_or_given_up() {
    let mut rig = Rig::with(mission(), plan(&[("a", script("ok"), &[]), ("b", script("hold"), &[0])]));
    rig.until_said("start 1.1");
    assert_eq!(*rig.agents.let_go.lock().unwrap(), []);
    rig.finish(1, 1, good());
    assert_eq!(rig.settle(), Rest::Over);
    assert_eq!(*rig.agents.let_go.lock().unwrap(), [RUN]);
    let mut rig = Rig::with(mission(), plan(&[("a", script("hold"), &[])]));
    rig.until_said("start 0.1");
    rig.host.close(RUN);
    assert_eq!(*rig.agents.let_go.lock().unwrap(), [RUN]);
}

#[test]
fn an_expression_that_cannot_be_computed_starts_nothing() {
    let mut task = script("ok");
    task.env = vec![kapell_core::plan::Variable {
        name: "X".to_owned(),
        value: "${{ fromJSON('{') }}".parse().unwrap(),
    }];
    let mut rig = Rig::with(mission(), plan(&[("a", task, &[])]));
    assert_eq!(rig.settle(), Rest::Over);
    assert_eq!(rig.state(0), "Failed { class: Permanent }");
    assert!(!rig.world.log.has("open 0.1"));
}

/// Something that waits until the test lets it go on.
#[derive(Clone, Default)]
struct Barrier(Arc<(Mutex<bool>, Condvar)>);

impl Barrier {
    fn wait(&self) {
        let mut open = self.0.0.lock().unwrap();
        while !*open {
            open = self.0.1.wait(open).unwrap();
        }
    }

    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

#[test]
fn an_attempt_that_is_stopped_while_its_workspace_is_made_never_starts() {
    let barrier = Barrier::default();
    let world = crate::rig::World::new();
    let mut rig = world.process();
    let waits = barrier.clone();
    *rig.spaces.open.lock().unwrap() = Arc::new(move |_| {
        waits.wait();
        Ok(())
    });
    rig.host.create(RUN, landing_mission(), plan(&[("a", script("hold"), &[])])).unwrap();
    rig.until_said("open 0.1");
    rig.host.put(RUN, kapell_core::journal::Actor::Engine, Command::Cancel, None);
    rig.until_said("stop 0.1");
    barrier.open();
    assert_eq!(rig.settle(), Rest::Over);
    assert_eq!(rig.run().outcome(), Some(Outcome::Cancelled));
    assert!(!world.log.has("start 0.1"));
}

#[test]
fn starts_that_wait_for_a_workspace_keep_nobody_from_ending() {
    // Two workers, three starts that wait until the first attempt has given its workspace back.
    let world = crate::rig::World::new();
    let mut rig = world.process();
    let barrier = Barrier::default();
    let waits = barrier.clone();
    *rig.spaces.open.lock().unwrap() = Arc::new(move |request| {
        if request.key.task.0 > 0 {
            waits.wait();
        }
        Ok(())
    });
    let tasks: Vec<_> =
        ["a", "b", "c", "d"].iter().map(|name| (*name, script("hold"), [].as_slice())).collect();
    rig.host.create(RUN, landing_mission(), plan(&tasks)).unwrap();
    rig.until_said("start 0.1");
    rig.until(|rig| rig.world.log.lines().iter().filter(|line| line.starts_with("open")).count() >= 3);
    rig.finish(0, 1, good());
    rig.until_said("close 0.1 Kept");
    barrier.open();
    rig.until_said("start 3.1");
    for task in 1..4 {
        rig.finish(task, 1, good());
    }
    assert_eq!(rig.settle(), Rest::Over);
}

#[test]
fn checks_decide_over_a_result() {
    for (verdict, state) in [
        (Verdict::Passed, "Landed"),
        (Verdict::Failed { message: "red".to_owned() }, "Failed { class: Verification }"),
        (Verdict::Broken { message: "no shell".to_owned() }, "Failed { class: Transient }"),
    ] {
        let mut task = script("ok");
        task.accept = vec!["test".to_owned()];
        let mut rig = Rig::with(landing_mission(), plan(&[("a", task, &[])]));
        *rig.spaces.check.lock().unwrap() = Box::new(move |check| {
            assert_eq!(check.commands[0].text, "test");
            verdict.clone()
        });
        assert_eq!(rig.settle(), Rest::Over);
        assert!(rig.state(0).starts_with(state), "{}", rig.state(0));
    }
}

#[test]
fn a_check_that_panics_is_a_broken_one() {
    let mut task = script("ok");
    task.accept = vec!["test".to_owned()];
    let mut rig = Rig::with(landing_mission(), plan(&[("a", task, &[]), ("b", script("ok"), &[])]));
    *rig.spaces.check.lock().unwrap() = Box::new(|_| panic!("a check that panics"));
    assert_eq!(rig.settle(), Rest::Over);
    assert_eq!(rig.state(0), "Failed { class: Transient }");
    assert!(rig.state(1).starts_with("Landed"));
}

#[test]
fn a_workspace_of_which_nothing_can_be_taken_fails_the_attempt() {
    let mut rig = landing("ok");
    *rig.spaces.change.lock().unwrap() =
        Box::new(|_| Err(trouble(FailureClass::InvalidOutput, "the workspace is gone")));
    assert_eq!(rig.settle(), Rest::Over);
    assert_eq!(rig.state(0), "Failed { class: InvalidOutput }");
    rig.until_said("close 0.1 Salvage");
}

#[test]
fn a_repository_that_fails_for_a_moment_is_tried_again() {
    let mut rig = landing("ok");
    let tries = Arc::new(AtomicUsize::new(0));
    let count = tries.clone();
    *rig.spaces.probe.lock().unwrap() = Box::new(move |trial| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Err(trouble(FailureClass::Transient, "busy")),
        _ => Ok(Probed::Green { tips: tips(trial) }),
    });
    assert_eq!(rig.settle(), Rest::Over);
    assert_eq!(tries.load(Ordering::SeqCst), 2);
    assert_eq!(rig.run().outcome(), Some(Outcome::Succeeded));
}

#[test]
fn a_landing_that_cannot_be_made_pauses_the_run_until_it_is_resumed() {
    for probes in [true, false] {
        let mut rig = landing("ok");
        let refuse = || trouble(FailureClass::Permanent, "somebody has moved the ref");
        match probes {
            true => *rig.spaces.probe.lock().unwrap() = Box::new(move |_| Err(refuse())),
            false => *rig.spaces.moved.lock().unwrap() = Box::new(move |_| Err(refuse())),
        }
        assert_eq!(rig.settle(), Rest::Paused);
        let why = PauseCause::LandingFails { message: "somebody has moved the ref".to_owned() };
        assert_eq!(*rig.run().phase(), Phase::Paused(why));
        assert_eq!(rig.host.trouble(RUN), Some("somebody has moved the ref"));
        *rig.spaces.probe.lock().unwrap() = Box::new(|trial| Ok(Probed::Green { tips: tips(trial) }));
        *rig.spaces.moved.lock().unwrap() = Box::new(|_| Ok(()));
        rig.put(Command::Resume { limits: None }).unwrap();
        assert_eq!(rig.settle(), Rest::Over);
        assert_eq!(rig.run().outcome(), Some(Outcome::Succeeded));
    }
}

#[test]
fn a_landing_that_cannot_be_made_keeps_no_cancelled_run_waiting() {
    let mut rig = Rig::with(landing_mission(), plan(&[("a", script("ok"), &[]), ("b", script("deaf"), &[])]));
    let barrier = Barrier::default();
    let waits = barrier.clone();
    *rig.spaces.moved.lock().unwrap() = Box::new(move |_| {
        waits.wait();
        Err(trouble(FailureClass::Permanent, "the disk is full"))
    });
    rig.until_said("move ref");
    rig.put(Command::Cancel).unwrap();
    barrier.open();
    rig.finish(1, 1, good());
    let rest = rig.settle();
    assert!(matches!(rest, Rest::Paused | Rest::Over), "{rest:?}");
    assert_eq!(rig.host.trouble(RUN), Some("the disk is full"));
}

#[test]
fn a_landing_that_fails_in_the_moment_of_a_cancel_keeps_no_run_waiting() {
    let mut rig = landing("ok");
    let barrier = Barrier::default();
    let waits = barrier.clone();
    *rig.spaces.moved.lock().unwrap() = Box::new(move |_| {
        waits.wait();
        Ok(())
    });
    rig.until_said("move ref");
    // Both are decided in one batch.
    for command in [Command::Cancel, Command::LandingFailed { message: "the disk is full".to_owned() }] {
        rig.host.put(RUN, Actor::Engine, command, None);
    }
    let rest = rig.settle();
    assert!(matches!(rest, Rest::Paused | Rest::Over), "{rest:?}");
    barrier.open();
}

#[test]
fn long_messages_are_cut_before_they_are_recorded() {
    let mut task = script("ok");
    task.accept = vec!["test".to_owned()];
    let mut rig = Rig::with(landing_mission(), plan(&[("a", task, &[])]));
    *rig.spaces.check.lock().unwrap() =
        Box::new(|_| Verdict::Failed { message: format!("begin {} end", "é".repeat(1 << 20)) });
    assert_eq!(rig.settle(), Rest::Over);
    let message = &rig.run().last_failure(kapell_core::id::TaskId(0)).unwrap().message;
    assert!(message.len() < 5_000, "{}", message.len());
    assert!(message.starts_with("begin") && message.ends_with("end") && message.contains("bytes left out"));
}

#[test]
fn a_conflict_in_many_files_names_some_of_them() {
    let mut rig = landing("ok");
    *rig.spaces.probe.lock().unwrap() = Box::new(|_| {
        Ok(Probed::Conflict { index: 0, paths: (0..10_000).map(|number| format!("f{number}")).collect() })
    });
    rig.until(|rig| rig.run().last_failure(kapell_core::id::TaskId(0)).is_some());
    let message = &rig.run().last_failure(kapell_core::id::TaskId(0)).unwrap().message;
    assert!(message.ends_with("f49, and 9950 more"), "{message}");
    rig.settle();
}

fn merge(rig: &mut Rig) {
    let target = "refs/heads/main".to_owned();
    rig.put(Command::BeginMerge { target, from: oid(1), to: oid(2) }).unwrap();
    rig.settle();
}

#[test]
fn why_a_merge_was_not_made_is_told() {
    let mut rig = landing("ok");
    rig.settle();
    *rig.spaces.merge.lock().unwrap() =
        Box::new(|_| Err(trouble(FailureClass::Transient, "a working tree is in the way")));
    merge(&mut rig);
    assert_eq!(rig.host.trouble(RUN), Some("a working tree is in the way"));
    assert!(rig.events().contains(&"trouble a working tree is in the way".to_owned()));
    assert!(rig.run().merge_under_way().is_none());
    *rig.spaces.merge.lock().unwrap() = Box::new(|_| Ok(Merged::Elsewhere));
    merge(&mut rig);
    assert_eq!(rig.host.trouble(RUN), Some("refs/heads/main is no longer where it was"));
    *rig.spaces.merge.lock().unwrap() = Box::new(|_| Ok(Merged::TreeBehind("one is behind".to_owned())));
    merge(&mut rig);
    assert_eq!(rig.host.trouble(RUN), Some("one is behind"));
    assert!(rig.run().merge().unwrap().done, "the branch has moved all the same");
    *rig.spaces.merge.lock().unwrap() = Box::new(|_| Ok(Merged::Whole));
    merge(&mut rig);
    assert!(rig.run().merge().unwrap().done);
}

#[test]
fn compensations_run_backwards_and_give_their_workspaces_back() {
    let back = |text: &str, undo: &str| {
        let mut task = script(text);
        task.compensate = Some(undo.to_owned());
        task.workspace = Some(WorkspaceKind::None);
        task
    };
    let mut saga = mission();
    saga.saga = true;
    let plan =
        plan(&[("a", back("ok", "ok"), &[]), ("b", back("ok", "hold"), &[0]), ("c", script("refuse"), &[1])]);
    let mut rig = Rig::with(saga, plan);
    rig.until_said("start -1.1");
    let key = |attempt| kapell_engine::port::agents::AttemptKey {
        compensates: true,
        ..crate::rig::key(1, attempt)
    };
    let end = |rig: &Rig, attempt, ending| {
        let report = kapell_engine::port::agents::Report::Finished(ending);
        rig.mailbox.send(kapell_engine::host::Input::Agent(key(attempt), report));
    };
    end(&rig, 1, crate::rig::bad(FailureClass::Transient, "not yet"));
    rig.until_said("start -1.2");
    end(&rig, 2, good());
    assert_eq!(rig.settle(), Rest::Over);
    assert_eq!(rig.run().outcome(), Some(Outcome::Compensated));
    assert!(rig.world.log.place("start -1.2") < rig.world.log.place("start -0.1"));
    // Outside a repository tasks with a directory of their own: none of the workspaces is left open.
    for closed in
        ["close -1.1 Kept", "close -1.2 Kept", "close -0.1 Kept", "close 0.1 Kept", "close 1.1 Kept"]
    {
        rig.until_said(closed);
    }
}

#[test]
fn what_a_compensation_changes_is_captured_and_moves_the_ref() {
    let mut task = script("ok");
    task.compensate = Some("ok".to_owned());
    let plan = plan(&[("a", task.clone(), &[]), ("b", task, &[0]), ("c", script("refuse"), &[1])]);
    let saga = Mission { saga: true, ..landing_mission() };
    let mut rig = Rig::with(saga, plan);
    // The world: where the ref is, and what compensations have changed there.
    let head = Arc::new(Mutex::new(oid(1)));
    let (at, moved) = (head.clone(), head.clone());
    *rig.spaces.moved.lock().unwrap() = Box::new(move |(from, to)| {
        let mut head = moved.lock().unwrap();
        assert_eq!(*head, *from);
        *head = *to;
        Ok(())
    });
    *rig.spaces.change.lock().unwrap() = Box::new(move |key| {
        let commit = oid(1000 + u64::from(key.task.0) + if key.compensates { 100 } else { 0 });
        Ok(Some(Change { commit, tree: commit, base: *at.lock().unwrap() }))
    });
    assert_eq!(rig.settle(), Rest::Over);
    assert_eq!(rig.run().outcome(), Some(Outcome::Compensated));
    assert_eq!(rig.run().reversed().map(|(_, commit)| commit).collect::<Vec<_>>(), [oid(1100), oid(1101)]);
    assert_eq!((*head.lock().unwrap(), rig.run().landing().unwrap().head()), (oid(1100), oid(1100)));
    assert_eq!(rig.run().still_landed().count(), 0);
    for closed in ["close -1.1 Kept", "close -0.1 Kept"] {
        rig.until_said(closed);
        assert_eq!(rig.world.log.count(closed), 1);
    }
    // Each is told what it is to take back, as git takes it.
    let orders = rig.agents.orders.lock().unwrap();
    let told = |task| {
        let order = orders.iter().find(|order| order.key.compensates && order.key.task.0 == task);
        order.unwrap().env.iter().find(|(name, _)| name == "KAPELL_CHANGE").unwrap().1.clone()
    };
    assert_eq!(told(0), format!("{}..{}", oid(1), oid(1000)));
}

#[test]
fn going_away_ends_agents_first_and_does_not_begin_what_waits() {
    let world = crate::rig::World::new();
    let mut rig = world.process();
    let barrier = Barrier::default();
    let waits = barrier.clone();
    *rig.spaces.open.lock().unwrap() = Arc::new(move |_| {
        waits.wait();
        Ok(())
    });
    let tasks: Vec<_> =
        ["a", "b", "c", "d"].iter().map(|name| (*name, script("ok"), [].as_slice())).collect();
    rig.host.create(RUN, landing_mission(), plan(&tasks)).unwrap();
    rig.until(|rig| rig.world.log.has("open 0.1"));
    let dropped = std::thread::spawn(move || drop(rig));
    while !world.log.has("close agents") {
        std::thread::yield_now();
    }
    barrier.open();
    dropped.join().unwrap();
    let opened = world.log.lines().iter().filter(|line| line.starts_with("open")).count();
    assert!(opened <= 2, "{:#?}", world.log.lines());
    // Nobody owns it any more.
    world.process().host.open(RUN).unwrap();
}
