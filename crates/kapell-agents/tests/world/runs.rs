//! Whole runs, with the real decider.

use kapell_core::{
    event::Outcome,
    id::{AttemptNo, TaskId},
    plan::{ChildSpec, Definition, Work, WorkspaceKind},
};
use kapell_engine::{host::Rest, port::workspaces::Setup};

use crate::{
    rig::{Rig, entries, is_alive, plan, run_id, script},
    support::{MAIN, fingerprint, read},
};

#[test]
fn tasks_build_on_what_others_landed() {
    let mut rig = Rig::new(&[("a", "1\n")]);
    let before = fingerprint(&rig.world.user_dir);
    let mut last = script("cat a b > c");
    last.accept = vec!["grep -q 2 c".to_owned()];
    let plan = plan(&[
        ("first", script("echo 2 > b"), &[]),
        ("beside", script("echo beside > d"), &[]),
        ("last", last, &[0]),
    ]);
    assert_eq!(rig.run(rig.mission(), plan), Rest::Over);
    assert_eq!(rig.host.run(run_id()).unwrap().outcome(), Some(Outcome::Succeeded));
    let head = rig.head();
    assert_eq!(rig.file(head, "c").unwrap(), "1\n2\n");
    assert_eq!(rig.file(head, "d").unwrap(), "beside\n");
    assert_eq!(rig.world.own_repo().run_head(run_id()).unwrap(), Some(head));
    assert_eq!(fingerprint(&rig.world.user_dir), before);
    let (world, _) = rig.leave();
    assert_eq!(entries(&world.path("scratch")), Vec::<std::path::PathBuf>::new());
}

#[test]
fn every_end_of_a_task_is_told_as_it_was() {
    let mut rig = Rig::new(&[("a", "1\n")]);
    let mut red = script("echo 2 > b");
    red.accept = vec!["echo not good enough; false".to_owned()];
    let mut looks = script("rm -f a; echo changed > a");
    looks.workspace = Some(WorkspaceKind::ReadOnly);
    let mut world = script("echo $PWD > $OUT/where; echo done");
    world.workspace = Some(WorkspaceKind::None);
    world.accept = vec!["test -d .".to_owned()];
    let plan = plan(&[
        ("red", red, &[]),
        ("deletes", script("rm -rf \"$PWD\""), &[]),
        ("looks", looks, &[]),
        ("fails", script("echo why; exit 3"), &[]),
        ("world", world, &[]),
    ]);
    assert_eq!(rig.run(rig.mission(), plan), Rest::Over);
    assert_eq!(rig.state(0), "Failed { class: Verification }");
    assert_eq!(rig.why(0), "`echo not good enough; false`: exit 1\nnot good enough");
    assert_eq!(rig.state(1), "Failed { class: InvalidOutput }", "{}", rig.why(1));
    assert!(rig.state(2).starts_with("Failed"), "{}", rig.state(2));
    assert_eq!((rig.state(3).as_str(), rig.why(3).as_str()), ("Failed { class: Transient }", "exit 3\nwhy"));
    assert_eq!(rig.state(4), "Done");
    assert!(!std::path::Path::new(&rig.out("where")[0]).starts_with(&rig.world.user_dir));
}

#[test]
fn two_runs_at_once_in_one_repository_keep_apart_and_both_merge() {
    let mut rig = Rig::new(&[("a", "1\n")]);
    let other = crate::rig::fresh_run();
    let tasks = |name: &str| {
        plan(&[
            ("one", script(&format!("echo {name} > {name}1")), &[]),
            ("two", script(&format!("cat {name}1 > {name}2")), &[0]),
        ])
    };
    rig.host.create(run_id(), rig.mission(), tasks("x")).unwrap();
    rig.host.create(other, rig.mission(), tasks("y")).unwrap();
    for run in [run_id(), other] {
        assert_eq!(rig.settle(run), Rest::Over);
        assert_eq!(rig.host.run(run).unwrap().outcome(), Some(Outcome::Succeeded));
    }
    let head = |rig: &Rig, run| rig.host.run(run).unwrap().landing().unwrap().head();
    assert_eq!(rig.file(head(&rig, run_id()), "y1"), None);
    assert_eq!(rig.file(head(&rig, other), "x1"), None);
    for run in [run_id(), other] {
        let proposal = rig.propose(run, head(&rig, run), &[], &Setup::default()).unwrap();
        let begin = kapell_core::command::Command::BeginMerge {
            target: MAIN.to_owned(),
            from: proposal.from,
            to: proposal.to,
        };
        rig.host.put(run, kapell_core::journal::Actor::Engine, begin, None);
        rig.settle(run);
    }
    for name in ["x1", "x2", "y1", "y2"] {
        assert_eq!(read(&rig.world.user_dir, name), format!("{}\n", &name[..1]));
    }
}

#[test]
fn a_child_run_starts_from_what_its_parent_landed_and_lands_there() {
    let mut rig = Rig::new(&[("a", "1\n")]);
    let inner = plan(&[("x", script("cat b > c"), &[]), ("y", script("cat c c > d"), &[0])]);
    let spec = ChildSpec { objective: "inner".to_owned(), plan: inner, accept: Vec::new(), saga: false };
    let child = Definition::new(Work::Workflow(Box::new(spec)));
    let plan = plan(&[
        ("first", script("echo 2 > b"), &[]),
        ("child", child, &[0]),
        ("last", script("cat d > e"), &[1]),
    ]);
    assert_eq!(rig.run(rig.mission(), plan), Rest::Over);
    assert_eq!(rig.host.run(run_id()).unwrap().outcome(), Some(Outcome::Succeeded), "{}", rig.why(1));
    assert_eq!(rig.file(rig.head(), "e").unwrap(), "2\n2\n");
    // Its commits carry a time that can have been.
    let child = rig.world.own_repo().run_head(run_id().child(TaskId(1), AttemptNo(1))).unwrap().unwrap();
    let time = rig.world.own_git(&["show", "-s", "--format=%ct", &child.to_string()]);
    assert!(time.parse::<i64>().unwrap() > 1_000_000_000, "{time}");
}

#[test]
fn going_away_ends_what_runs_and_a_later_process_goes_on() {
    let mut rig = Rig::new(&[("a", "1\n")]);
    let text = "echo $$ >> $OUT/pids; test $(wc -l < $OUT/pids) -ge 2 || sleep 1000; echo 2 > b";
    let mut slow = script("echo 3 > c");
    // Landed in whatever order, its check may run once more on both changes together.
    slow.accept = vec!["echo $$ >> $OUT/checks; test $(wc -l < $OUT/checks) -ge 2 || sleep 1000".to_owned()];
    rig.host
        .create(run_id(), rig.mission(), plan(&[("work", script(text), &[]), ("checked", slow, &[])]))
        .unwrap();
    rig.until(|rig| rig.out("pids").len() == 1 && rig.out("checks").len() == 1);
    let pids = [rig.out("pids")[0].clone(), rig.out("checks")[0].clone()];
    let (world, journal) = rig.leave();
    assert!(pids.iter().all(|pid| !is_alive(pid)));
    let mut rig = Rig::over(world, journal, 40);
    rig.host.open(run_id()).unwrap();
    assert_eq!(rig.settle(run_id()), Rest::Over);
    assert_eq!(rig.host.run(run_id()).unwrap().outcome(), Some(Outcome::Succeeded));
    assert_eq!(rig.out("pids").len(), 2);
    assert!((2..=3).contains(&rig.out("checks").len()));
    assert_eq!(rig.file(rig.head(), "b").unwrap(), "2\n");
}
