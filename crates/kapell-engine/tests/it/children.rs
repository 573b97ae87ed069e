//! Runs within runs.

use kapell_core::{
    command::Command,
    event::{Outcome, PauseCause},
    id::{AttemptNo, RunId, TaskId},
    mission::Mission,
    plan::{ChildSpec, Definition, Plan, Work},
    retry::FailureClass,
    run::Phase,
    time::{Millis, Wall},
};
use kapell_engine::{
    host::Rest,
    port::{
        clock::Clock,
        journal::{Journal, Owner},
    },
};

use crate::rig::{RUN, Rig, World, good, landing_mission, mission, noop, plan, script, trouble};

pub(crate) fn child_of(plan: std::sync::Arc<Plan>) -> Definition {
    let spec = ChildSpec { objective: "inner".to_owned(), plan, accept: Vec::new(), saga: false };
    Definition::new(Work::Workflow(Box::new(spec)))
}

fn child() -> RunId {
    RUN.child(TaskId(0), AttemptNo(1))
}

/// Says under which run's key what an agent was asked.
fn started(rig: &Rig) -> Vec<(RunId, u32)> {
    let orders = rig.agents.orders.lock().unwrap();
    orders.iter().map(|order| (order.key.run, order.key.task.0)).collect()
}

fn end(rig: &Rig, run: RunId, task: u32) {
    let key = kapell_engine::port::agents::AttemptKey { run, ..crate::rig::key(task, 1) };
    let report = kapell_engine::port::agents::Report::Finished(good());
    rig.mailbox.send(kapell_engine::host::Input::Agent(key, report));
}

#[test]
fn a_child_run_gives_its_outputs_and_its_change_to_its_parent() {
    let inner = plan(&[("x", script("ok answer=42"), &[])]);
    let mut rig =
        Rig::with(landing_mission(), plan(&[("w", child_of(inner), &[]), ("b", script("ok"), &[0])]));
    assert_eq!(rig.settle(), Rest::Over);
    assert_eq!(rig.run().outcome(), Some(Outcome::Succeeded));
    let outputs = rig.run().outputs(TaskId(0)).unwrap();
    assert_eq!(outputs.iter().collect::<Vec<_>>(), [(&"x.answer".to_owned(), &"42".to_owned())]);
    assert!(rig.state(0).starts_with("Landed"), "{}", rig.state(0));
    // Over, it is given up: somebody else can look at it.
    assert!(rig.host.run(child()).is_none());
    let mut other = rig.world.process();
    other.host.open(child()).unwrap();
    assert_eq!(other.host.run(child()).unwrap().outcome(), Some(Outcome::Succeeded));
}

#[test]
fn a_child_run_works_within_what_it_is_granted() {
    let inner = plan(&[("x", script("hold"), &[]), ("y", script("hold"), &[])]);
    let mut task = child_of(inner);
    task.reserve.usd_micros = 500;
    let mut mission = Mission { ..mission() };
    mission.limits.usd_micros = Some(2_000);
    mission.limits.jobs = 2;
    let mut rig = Rig::with(mission, plan(&[("w", task, &[])]));
    rig.until(|rig| !started(rig).is_empty());
    let inner = rig.host.run(child()).unwrap();
    assert_eq!((inner.limits().usd_micros, inner.limits().tokens, inner.limits().jobs), (Some(500), None, 1));
    assert_eq!(started(&rig), [(child(), 0)]);
    end(&rig, child(), 0);
    rig.until(|rig| started(rig).len() == 2);
    end(&rig, child(), 1);
    assert_eq!(rig.settle(), Rest::Over);
}

#[test]
fn a_child_run_that_fails_fails_its_task() {
    let inner = plan(&[("x", script("refuse"), &[])]);
    let mut rig = Rig::with(mission(), plan(&[("w", child_of(inner), &[])]));
    assert_eq!(rig.settle(), Rest::Over);
    assert_eq!(rig.run().outcome(), Some(Outcome::Failed));
    let why = &rig.run().last_failure(TaskId(0)).unwrap().message;
    assert_eq!(*why, format!("its run {} ended in failure: x: nobody there", child()));
}

#[test]
fn a_child_run_that_failed_is_tried_again_as_often_as_its_task_says() {
    let mut task = child_of(plan(&[("x", script("refuse"), &[])]));
    task.retry.attempts = 2;
    let mut rig = Rig::with(mission(), plan(&[("w", task, &[])]));
    rig.until(|rig| {
        rig.world.clock.pass(60_000);
        started(rig).len() == 2
    });
    assert_eq!(rig.settle(), Rest::Over);
    assert_eq!(rig.run().task(TaskId(0)).unwrap().attempts, 2);
    assert_eq!(rig.run().outcome(), Some(Outcome::Failed));
}

#[test]
fn a_child_run_that_cannot_begin_fails_as_its_repository_says() {
    for (class, attempts) in [(FailureClass::Transient, 2), (FailureClass::Permanent, 1)] {
        let mut task = child_of(plan(&[("x", script("ok"), &[])]));
        task.retry.attempts = 2;
        let world = World::new();
        let mut rig = world.process();
        *rig.spaces.begin.lock().unwrap() = Box::new(move |run| match *run == child() {
            true => Err(trouble(class, "the repository is busy")),
            false => Ok(()),
        });
        rig.host.create(RUN, landing_mission(), plan(&[("w", task, &[])])).unwrap();
        rig.until(|rig| {
            rig.world.clock.pass(60_000);
            rig.host.rest(RUN) == Rest::Over
        });
        assert_eq!(rig.run().task(TaskId(0)).unwrap().attempts, attempts, "{class}");
        let landed = rig.state(0).starts_with("Landed");
        assert_eq!(landed, class == FailureClass::Transient, "{}", rig.state(0));
    }
}

#[test]
fn a_child_run_whose_input_cannot_be_computed_is_not_made_without_it() {
    let mut task = child_of(plan(&[("x", script("ok"), &[])]));
    task.env = vec![kapell_core::plan::Variable {
        name: "X".to_owned(),
        value: "${{ fromJSON('{') }}".parse().unwrap(),
    }];
    let mut rig = Rig::with(mission(), plan(&[("w", task, &[])]));
    assert_eq!(rig.settle(), Rest::Over);
    assert_eq!(rig.state(0), "Failed { class: Permanent }");
    assert!(started(&rig).is_empty());
    assert!(rig.world.journal.head(child()).unwrap().is_none());
}

#[test]
fn cancelling_a_run_cancels_its_children() {
    let grandchild = plan(&[("y", script("hold"), &[])]);
    let inner = plan(&[("x", child_of(grandchild), &[])]);
    let mut rig = Rig::with(mission(), plan(&[("w", child_of(inner), &[])]));
    rig.until_said("start 0.1");
    rig.put(Command::Cancel).unwrap();
    assert_eq!(rig.settle(), Rest::Over);
    assert_eq!(rig.run().outcome(), Some(Outcome::Cancelled));
    assert!(rig.world.log.has("stop 0.1"));
    let mut other = rig.world.process();
    other.host.open(child()).unwrap();
    assert_eq!(other.host.run(child()).unwrap().outcome(), Some(Outcome::Cancelled));
}

#[test]
fn a_child_run_is_taken_over_again_with_its_parent() {
    let inner = plan(&[("x", noop(), &[]), ("y", script("hold"), &[0])]);
    let mut rig = Rig::with(mission(), plan(&[("w", child_of(inner), &[])]));
    rig.until_said("start 1.1");
    let world = rig.world.clone();
    drop(rig);
    let mut rig = world.process();
    rig.host.open(RUN).unwrap();
    // Lost there, it is tried again there; the parent's attempt goes on.
    rig.until_said("start 1.2");
    assert_eq!(rig.run().task(TaskId(0)).unwrap().attempts, 1);
    let key = kapell_engine::port::agents::AttemptKey { run: child(), ..crate::rig::key(1, 2) };
    let report = kapell_engine::port::agents::Report::Finished(good());
    rig.mailbox.send(kapell_engine::host::Input::Agent(key, report));
    assert_eq!(rig.settle(), Rest::Over);
    assert_eq!(rig.run().outcome(), Some(Outcome::Succeeded));
}

#[test]
fn a_child_run_that_ended_while_its_parent_was_not_told_is_adopted() {
    let inner = plan(&[("x", script("hold"), &[])]);
    let mut rig = Rig::with(mission(), plan(&[("w", child_of(inner), &[])]));
    rig.until_said("start 0.1");
    let world = rig.world.clone();
    drop(rig);
    // Somebody resumes the child alone, and it ends.
    let mut alone = world.process();
    alone
        .agents
        .recovered
        .lock()
        .unwrap()
        .insert("0.1".to_owned(), kapell_engine::port::agents::Recovered::Ended(good()));
    alone.host.open(child()).unwrap();
    alone.until(|rig| rig.host.run(child()).is_none());
    drop(alone);
    let mut rig = world.process();
    rig.host.open(RUN).unwrap();
    assert_eq!(rig.settle(), Rest::Over);
    assert_eq!(rig.run().outcome(), Some(Outcome::Succeeded));
    assert_eq!(world.log.count("start 0.1"), 1);
}

#[test]
fn when_the_journal_takes_no_more_of_a_child_its_parent_says_so() {
    let inner = plan(&[("x", script("hold"), &[])]);
    let mut rig = Rig::with(mission(), plan(&[("w", child_of(inner), &[])]));
    rig.until_said("start 0.1");
    rig.world.journal.disk().full_after = Some(0);
    end(&rig, child(), 0);
    rig.until(|rig| rig.host.failure(RUN).is_some());
    assert_eq!(rig.host.rest(RUN), Rest::Over);
    assert_eq!(rig.host.failure(RUN).unwrap().run, child());
    // Once there is room, both go on.
    let world = rig.world.clone();
    drop(rig);
    world.journal.disk().full_after = None;
    let mut rig = world.process();
    rig.host.open(RUN).unwrap();
    rig.until_said("start 0.2");
}

#[test]
fn at_a_deadline_a_child_run_is_paused_and_its_work_is_not_done_again() {
    let inner = plan(&[("x", script("ok"), &[]), ("y", script("hold"), &[0]), ("z", script("ok"), &[1])]);
    let mut mission = mission();
    mission.limits.wall = Some(kapell_core::time::Millis(1_000));
    let mut rig = Rig::with(mission, plan(&[("w", child_of(inner), &[])]));
    rig.until_said("start 1.1");
    rig.world.clock.pass(1_000);
    rig.until_said("stop 1.1");
    // What ran in it is stopped; it is not over.
    let key = kapell_engine::port::agents::AttemptKey { run: child(), ..crate::rig::key(1, 1) };
    let failure = crate::rig::bad(kapell_core::retry::FailureClass::Transient, "stopped");
    rig.mailbox
        .send(kapell_engine::host::Input::Agent(key, kapell_engine::port::agents::Report::Finished(failure)));
    assert_eq!(rig.settle(), Rest::Paused);
    assert_eq!(rig.host.paused(RUN).unwrap().id(), RUN);
    assert!(rig.state(0).starts_with("Running"), "{}", rig.state(0));
    // Another process goes on with both, with more time.
    let world = rig.world.clone();
    drop(rig);
    let mut rig = world.process();
    rig.host.open(RUN).unwrap();
    assert_eq!(rig.settle(), Rest::Paused);
    let limits = kapell_core::budget::Limits { wall: None, ..*rig.run().limits() };
    rig.put(Command::Resume { limits: Some(limits) }).unwrap();
    rig.until_said("start 1.2");
    let key = kapell_engine::port::agents::AttemptKey { run: child(), ..crate::rig::key(1, 2) };
    let report = kapell_engine::port::agents::Report::Finished(good());
    rig.mailbox.send(kapell_engine::host::Input::Agent(key, report));
    assert_eq!(rig.settle(), Rest::Over);
    assert_eq!(rig.run().outcome(), Some(Outcome::Succeeded));
    assert_eq!(rig.run().task(TaskId(0)).unwrap().attempts, 1);
    assert_eq!(world.log.count("start 0.1"), 1);
}

#[test]
fn a_paused_run_pauses_its_children_and_theirs() {
    let grandchild = plan(&[("y", script("hold"), &[]), ("z", script("hold"), &[0])]);
    let inner = plan(&[("x", child_of(grandchild), &[])]);
    let mut rig = Rig::with(mission(), plan(&[("w", child_of(inner), &[])]));
    rig.until_said("start 0.1");
    let grandchild = child().child(TaskId(0), AttemptNo(1));
    rig.put(Command::Pause).unwrap();
    let paused = |rig: &Rig, run| {
        matches!(rig.host.run(run).map(|run| run.phase()), Some(kapell_core::run::Phase::Paused(_)))
    };
    rig.until(|rig| paused(rig, grandchild));
    // What runs may end; nothing new starts.
    end(&rig, grandchild, 0);
    assert_eq!(rig.settle(), Rest::Paused);
    assert!(!rig.world.log.has("start 1.1"));
    rig.put(Command::Resume { limits: None }).unwrap();
    rig.until_said("start 1.1");
    end(&rig, grandchild, 1);
    assert_eq!(rig.settle(), Rest::Over);
    assert_eq!(rig.run().outcome(), Some(Outcome::Succeeded));
}

#[test]
fn a_child_run_that_needs_more_than_its_share_fails_its_task_and_holds_nobody_up() {
    let mut dear = script("ok");
    dear.reserve.usd_micros = 900;
    let inner = plan(&[("x", dear, &[])]);
    let mut task = child_of(inner);
    task.reserve.usd_micros = 500;
    let mut mission = mission();
    mission.limits.usd_micros = Some(2_000);
    let mut rig = Rig::with(mission, plan(&[("w", task, &[])]));
    assert_eq!(rig.settle(), Rest::Over);
    let why = &rig.run().last_failure(TaskId(0)).unwrap().message;
    let said = "of what its parent set aside for it, too little money is left in the budget";
    assert_eq!(*why, format!("its run {} ended by being cancelled: {said}", child()));
    assert_eq!(rig.run().ledger().reserved(), kapell_core::budget::Amount::ZERO);
}

#[test]
fn a_child_run_that_waits_for_a_person_lets_its_parent_wait_too() {
    let spec = kapell_core::plan::GateSpec { question: "so?".parse().unwrap(), choices: Vec::new() };
    let inner = plan(&[("g", Definition::new(Work::Gate(spec)), &[])]);
    let mut rig = Rig::with(mission(), plan(&[("w", child_of(inner), &[])]));
    assert_eq!(rig.settle(), Rest::Gates);
}

#[test]
fn a_deadline_and_a_time_budget_are_nothing_to_wait_for_where_only_a_person_can_help() {
    let spec = kapell_core::plan::GateSpec { question: "so?".parse().unwrap(), choices: Vec::new() };
    let gate = || plan(&[("g", Definition::new(Work::Gate(spec.clone())), &[])]);
    let mut bounded = mission();
    bounded.limits.wall = Some(Millis(50_000));
    let mut rig = Rig::with(bounded.clone(), plan(&[("w", child_of(gate()), &[])]));
    assert_eq!(rig.settle(), Rest::Gates);
    let end = Wall(rig.world.clock.wall().0 + 40_000);
    bounded.deadline = Some(end);
    let mut rig = Rig::with(bounded, gate());
    assert_eq!(rig.settle(), Rest::Gates);
    // It holds all the same, if somebody stays.
    assert_eq!(rig.run().next_wake().wall, Some(end));
    rig.world.clock.pass(40_000);
    rig.until(|rig| matches!(rig.run().phase(), Phase::Paused(_)));
}

fn held(world: &World) -> Box<dyn kapell_engine::port::journal::Ownership> {
    let owner = Owner { pid: 7, host: "there".to_owned(), since: Wall(3), socket: None };
    world.journal.own(child(), owner).unwrap()
}

#[test]
fn a_child_run_that_somebody_else_holds_is_waited_for() {
    let mut rig = Rig::with(
        mission(),
        plan(&[("w", child_of(plan(&[("x", noop(), &[]), ("y", script("hold"), &[0])])), &[])]),
    );
    rig.until_said("start 1.1");
    let world = rig.world.clone();
    drop(rig);
    // Somebody answers a question of it just now.
    let somebody = held(&world);
    let mut rig = world.process();
    rig.host.open(RUN).unwrap();
    let told = format!("trouble its run {} is waited for: process 7 on there executes it", child());
    rig.until(|rig| rig.events().contains(&told));
    for _ in 0..5 {
        world.clock.pass(1_000);
        rig.step();
    }
    assert_eq!(
        (rig.host.rest(RUN), rig.events().iter().filter(|event| **event == told).count()),
        (Rest::Busy, 1)
    );
    drop(somebody);
    world.clock.pass(1_000);
    rig.until_said("start 1.2");
    assert_eq!(rig.host.trouble(RUN), None);
    let key = kapell_engine::port::agents::AttemptKey { run: child(), ..crate::rig::key(1, 2) };
    let report = kapell_engine::port::agents::Report::Finished(good());
    rig.mailbox.send(kapell_engine::host::Input::Agent(key, report));
    assert_eq!(rig.settle(), Rest::Over);
    assert_eq!(rig.run().outcome(), Some(Outcome::Succeeded));
    assert_eq!(rig.run().task(TaskId(0)).unwrap().attempts, 1);
}

#[test]
fn what_became_of_a_run_while_its_child_was_waited_for_reaches_the_child() {
    for cancels in [true, false] {
        let world = World::new();
        let mut rig = world.process();
        let somebody = held(&world);
        rig.host
            .create(RUN, mission(), plan(&[("w", child_of(plan(&[("x", script("hold"), &[])])), &[])]))
            .unwrap();
        rig.until(|rig| rig.host.trouble(RUN).is_some());
        rig.put(if cancels { Command::Cancel } else { Command::Pause }).unwrap();
        drop(somebody);
        world.clock.pass(1_000);
        let rest = if cancels { Rest::Over } else { Rest::Paused };
        rig.until(|rig| rig.host.rest(RUN) == rest);
        let outcome = cancels.then_some(Outcome::Cancelled);
        assert_eq!((rig.run().outcome(), started(&rig).len()), (outcome, 0), "cancels: {cancels}");
    }
}

/// Puts a command to the child run and returns what became of it.
fn put_to_child(rig: &mut Rig, command: Command) -> Result<(), String> {
    let answer = std::sync::Arc::new(std::sync::Mutex::new(None));
    let told = answer.clone();
    let reply = Box::new(move |result: Result<(), kapell_engine::Refusal>| {
        *told.lock().unwrap() = Some(result.map_err(|refusal| refusal.to_string()));
    });
    rig.host.put(child(), kapell_core::journal::Actor::Person("ada".to_owned()), command, Some(reply));
    rig.until(|_| answer.lock().unwrap().is_some());
    answer.lock().unwrap().take().unwrap()
}

fn phase(rig: &Rig) -> Phase {
    rig.host.run(child()).unwrap().phase().clone()
}

#[test]
fn a_child_run_that_a_person_paused_goes_on_with_neither_alone() {
    let inner = plan(&[("x", script("hold"), &[]), ("y", script("hold"), &[0])]);
    let parent_paused = Phase::Paused(PauseCause::Parent { stop: false });
    for person_first in [true, false] {
        let mut rig = Rig::with(mission(), plan(&[("w", child_of(inner.clone()), &[])]));
        rig.until_said("start 0.1");
        put_to_child(&mut rig, Command::Pause).unwrap();
        rig.put(Command::Pause).unwrap();
        rig.until(|rig| rig.host.run(child()).unwrap().held().is_some());
        assert_eq!(phase(&rig), Phase::Paused(PauseCause::Person));
        end(&rig, child(), 0);
        assert_eq!(rig.settle(), Rest::Paused);
        if person_first {
            put_to_child(&mut rig, Command::Resume { limits: None }).unwrap();
            assert_eq!((phase(&rig), rig.settle()), (parent_paused.clone(), Rest::Paused));
            rig.put(Command::Resume { limits: None }).unwrap();
        } else {
            rig.put(Command::Resume { limits: None }).unwrap();
            rig.until(|rig| rig.host.run(child()).unwrap().held().is_none());
            assert_eq!((phase(&rig), rig.settle()), (Phase::Paused(PauseCause::Person), Rest::Paused));
            put_to_child(&mut rig, Command::Resume { limits: None }).unwrap();
        }
        rig.until_said("start 1.1");
    }
}

#[test]
fn a_child_run_is_not_resumed_alone_while_its_parent_is_paused_in_the_journal() {
    let inner = plan(&[("x", script("hold"), &[])]);
    let mut rig = Rig::with(mission(), plan(&[("w", child_of(inner), &[])]));
    rig.until_said("start 0.1");
    let world = rig.world.clone();
    drop(rig);
    // Nobody executes the parent, and somebody pauses it.
    let mut asked = world.process();
    asked.host.open_to_ask(RUN).unwrap();
    asked.put(Command::Pause).unwrap();
    drop(asked);
    let mut alone = world.process();
    alone.host.open(child()).unwrap();
    alone.until(|rig| phase(rig) == Phase::Paused(PauseCause::Parent { stop: false }));
    let why = put_to_child(&mut alone, Command::Resume { limits: None }).unwrap_err();
    assert_eq!(why, "the run that it is part of is paused: resume that one");
    alone.until(|rig| rig.host.rest(child()) == Rest::Paused);
    assert!(!world.log.has("start 0.2"));
}

#[test]
fn while_a_nested_run_waits_for_a_person_no_time_of_those_around_it_goes_by() {
    let spec = kapell_core::plan::GateSpec { question: "so?".parse().unwrap(), choices: Vec::new() };
    let inner = plan(&[("g", Definition::new(Work::Gate(spec)), &[]), ("x", script("hold"), &[0])]);
    let mut middle = child_of(inner);
    middle.timeout = Some(Millis(5_000));
    let mut outer = child_of(plan(&[("m", middle, &[])]));
    outer.timeout = Some(Millis(5_000));
    let mut bounded = mission();
    bounded.limits.wall = Some(Millis(5_000));
    let mut rig = Rig::with(bounded, plan(&[("w", outer, &[])]));
    rig.until(|rig| rig.run().rests());
    let inner = child().child(TaskId(0), AttemptNo(1));
    rig.world.clock.pass(60_000);
    assert_eq!(rig.settle(), Rest::Gates);
    let answer =
        Command::Answer { gate: kapell_core::id::GateId(0), answer: "yes".to_owned(), by: "ada".to_owned() };
    rig.host.put(inner, kapell_core::journal::Actor::Engine, answer, None);
    rig.until_said("start 1.1");
    rig.until(|rig| !rig.run().rests() && !rig.host.run(child()).unwrap().rests());
    assert!(rig.run().busy() < Millis(1_000), "{:?}", rig.run().busy());
    // What was left of its time is left.
    rig.world.clock.pass(4_000);
    rig.step();
    assert_eq!(rig.host.rest(RUN), Rest::Busy);
    rig.world.clock.pass(1_000);
    rig.until_said("stop 1.1");
}

#[test]
fn a_child_run_whose_change_cannot_be_found_fails_its_task() {
    let inner = plan(&[("x", script("ok"), &[])]);
    let mut rig = crate::rig::World::new().process();
    *rig.spaces.between.lock().unwrap() =
        Box::new(|_| Err(crate::rig::trouble(FailureClass::Permanent, "no such commit")));
    rig.host.create(RUN, landing_mission(), plan(&[("w", child_of(inner), &[])])).unwrap();
    assert_eq!(rig.settle(), Rest::Over);
    assert_eq!(rig.run().outcome(), Some(Outcome::Failed));
    let why = &rig.run().last_failure(TaskId(0)).unwrap().message;
    assert_eq!(*why, "what its run landed cannot be found: no such commit");
}
