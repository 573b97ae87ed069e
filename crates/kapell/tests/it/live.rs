//! Several processes at once, some of them killed.

use insta::assert_snapshot;

use crate::rig::{Ended, Plan, Rig, Started};

fn count(ended: &Ended, what: &str) -> usize {
    ended.stdout.lines().filter(|line| line.contains(what)).count()
}

fn events(rig: &Rig, name: &str) -> usize {
    count(&rig.run(["logs", "--json"]), &format!("\"event\":\"{name}\""))
}

/// Starts a run one task of which is under way, while a gate is open.
fn talking(rig: &Rig) -> Started {
    Plan::new("Talk")
        .task("long", &rig.waiting("long", "echo 1 > long.txt"), &[])
        .gate("gate", "Go on?", &[])
        .task("last", "echo 2 > last.txt", &["long", "gate"])
        .save(rig, "talk.yaml");
    let first = rig.start(["run", "../talk.yaml"]);
    rig.wait_for("long.begun");
    rig.wait_until("the gate is open", || rig.run(["inbox"]).stdout.contains("Go on?"));
    first
}

#[test]
fn commands_from_a_second_terminal_reach_the_run() {
    let rig = Rig::repository();
    let first = talking(&rig);
    assert_snapshot!(rig.run(["answer", "0", "yes"]), @"
    exit 0
    ! answered
    ");
    let held = rig.run(["resume"]);
    assert_eq!(held.code, Some(5), "{held}");
    assert!(
        held.stderr.contains("K0606") && held.stderr.contains(&format!("process {}", first.id())),
        "{held}"
    );
    assert_snapshot!(rig.run(["pause"]), @"
    exit 0
    ! run [RUN] starts nothing new; it rests when what runs has come to its end: long
    ");
    rig.go("long");
    // A run that is paused ends with what is under way.
    assert_eq!(first.end(&rig).code, Some(3));
    assert_eq!(rig.run(["resume", "--quiet"]).code, Some(0));
    assert_eq!(events(&rig, "started"), 2);
    assert_eq!(events(&rig, "landed"), 2);
}

#[test]
fn an_answer_is_taken_back_while_nothing_has_followed_from_it() {
    let rig = Rig::repository();
    let first = talking(&rig);
    assert_eq!(rig.run(["answer", "0", "no"]).code, Some(0));
    // What needs the answer waits for something else, too.
    assert_snapshot!(rig.run(["undo"]), @"
    exit 0
    ! the answer to gate 0 of run [RUN] is taken back
    ! next: kapell inbox [RUN]
    ");
    assert!(rig.run(["inbox"]).stdout.contains("Go on?"));
    assert_eq!(rig.run(["answer", "0", "yes"]).code, Some(0));
    rig.go("long");
    let ended = first.end(&rig);
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(["gate_answered", "answer_undone", "landed"].map(|name| events(&rig, name)), [2, 1, 2]);
    assert_eq!(rig.run(["verify"]).code, Some(0));
}

#[test]
fn a_run_is_cancelled_from_a_second_terminal() {
    let rig = Rig::repository();
    Plan::new("Stop").task("long", &rig.waiting("long", "true"), &[]).save(&rig, "stop.yaml");
    let first = rig.start(["run", "../stop.yaml"]);
    rig.wait_for("long.begun");
    assert_snapshot!(rig.run(["cancel"]), @"
    exit 0
    ! run [RUN] is being cancelled
    ");
    assert_eq!(first.end(&rig).code, Some(1));
    assert_eq!(rig.run(["verify"]).code, Some(0));
}

#[test]
fn two_runs_at_once_in_one_repository() {
    let rig = Rig::repository();
    for name in ["left", "right"] {
        let script = rig.waiting(name, &format!("echo {name} > {name}.txt"));
        Plan::new(name).task(name, &script, &[]).save(&rig, &format!("{name}.yaml"));
    }
    let (left, right) = (rig.start(["run", "../left.yaml"]), rig.start(["run", "../right.yaml"]));
    rig.wait_for("left.begun");
    rig.wait_for("right.begun");
    rig.go("right");
    assert_eq!(right.end(&rig).code, Some(0));
    rig.go("left");
    assert_eq!(left.end(&rig).code, Some(0));
    for run in rig.runs() {
        assert_eq!(rig.run(["merge", &run, "--quiet"]).code, Some(0));
    }
    assert_eq!((rig.read("left.txt").as_str(), rig.read("right.txt").as_str()), ("left\n", "right\n"));
    assert_eq!(rig.run(["verify"]).code, Some(0));
}

#[test]
fn a_run_that_was_killed_is_resumed_where_it_stood() {
    let rig = Rig::repository();
    Plan::new("Survive")
        .task("before", "echo 1 > before.txt", &[])
        .task("during", &rig.waiting("during", "echo 2 > during.txt"), &["before"])
        .task("after", "echo 3 > after.txt", &["during"])
        .save(&rig, "survive.yaml");
    let first = rig.start(["run", "../survive.yaml"]);
    rig.wait_for("during.begun");
    first.kill();
    let status = rig.run(["status"]);
    assert!(status.stdout.contains("interrupted"), "{status}");
    rig.go("during");
    // The same file again goes on with it, too.
    let second = rig.run(["run", "../survive.yaml"]);
    assert_eq!(second.code, Some(0), "{second}");
    assert!(second.stderr.contains("is unfinished: going on with it"), "{second}");
    assert_eq!(rig.runs().len(), 1);
    assert_eq!(rig.begun("during"), 2);
    // What had ended is not done again; the attempt under way is lost and counted.
    assert_eq!(events(&rig, "started"), 4);
    assert_eq!(events(&rig, "attempt_failed"), 1);
    assert_eq!(events(&rig, "landed"), 3);
    let verified = rig.run(["verify"]);
    assert_eq!(verified.code, Some(0), "{verified}");
    assert_eq!(rig.run(["merge", "--quiet"]).code, Some(0));
    assert_eq!(rig.read("after.txt"), "3\n");
}

#[test]
fn a_run_killed_while_it_waits_for_a_person_asks_once() {
    let rig = Rig::repository();
    Plan::new("Ask")
        .gate("gate", "Go on?", &[])
        .task("long", &rig.waiting("long", "true"), &[])
        .save(&rig, "ask.yaml");
    let first = rig.start(["run", "../ask.yaml"]);
    rig.wait_for("long.begun");
    first.kill();
    assert_eq!(rig.run(["answer", "0", "yes"]).code, Some(0));
    rig.go("long");
    assert_eq!(rig.run(["resume", "--quiet"]).code, Some(0));
    assert_eq!(events(&rig, "gate_opened"), 1);
}

#[test]
fn a_run_in_the_background_is_watched() {
    let rig = Rig::repository();
    Plan::new("Inner")
        .task("long", &rig.waiting("long", "echo 1 > long.txt"), &[])
        .save(&rig, "place/inner.yaml");
    rig.write("behind.yaml", r#"{"mission": "Behind", "tasks": {"part": {"workflow": "inner.yaml"}}}"#);
    rig.commit("a workflow within another");
    let detached = rig.run(["run", "behind.yaml", "--detach"]);
    assert_eq!(detached.code, Some(0), "{detached}");
    rig.wait_for("long.begun");
    let run = detached.stdout.trim().to_owned();
    assert_eq!(rig.runs(), std::slice::from_ref(&run));
    let watch = rig.start(["watch", &run, "--exit-status"]);
    rig.go("long");
    let watched = watch.end(&rig);
    assert_eq!(watched.code, Some(0), "{watched}");
    assert!(
        watched.stdout.contains("part/long  landed as") && watched.stdout.contains("finished: succeeded"),
        "{watched}"
    );
}

#[test]
fn an_interrupt_ends_in_order() {
    let rig = Rig::repository();
    Plan::new("Stop").task("long", &rig.waiting("long", "true"), &[]).save(&rig, "stop.yaml");
    let first = rig.start(["run", "../stop.yaml"]);
    rig.wait_for("long.begun");
    first.interrupt();
    let ended = first.end(&rig);
    assert_eq!(ended.code, Some(130), "{ended}");
    assert!(ended.stderr.contains("next: kapell resume"), "{ended}");
    rig.go("long");
    assert_eq!(rig.run(["resume", "--quiet"]).code, Some(0));
}

#[test]
fn what_is_resumed_gets_the_limits_that_are_asked_for() {
    let rig = Rig::repository();
    Plan::new("Widen").task("long", &rig.waiting("long", "true"), &[]).save(&rig, "widen.yaml");
    let first = rig.start(["run", "../widen.yaml"]);
    rig.wait_for("long.begun");
    first.kill();
    rig.go("long");
    // It was not paused, and is told of new limits all the same.
    let resumed = rig.run(["resume", "--budget", "7usd"]);
    assert_eq!(resumed.code, Some(0), "{resumed}");
    assert!(resumed.stderr.contains("goes on within new limits"), "{resumed}");
}

#[test]
fn all_runs_are_resumed_and_merged_but_for_those_of_others() {
    let rig = Rig::repository();
    for name in ["left", "right", "held"] {
        let script = rig.waiting(name, &format!("echo {name} > {name}.txt"));
        Plan::new(name).task(name, &script, &[]).save(&rig, &format!("{name}.yaml"));
    }
    let started = ["left", "right", "held"].map(|name| {
        let run = rig.start(["run", &format!("../{name}.yaml")]);
        rig.wait_for(&format!("{name}.begun"));
        run
    });
    let [left, right, held] = started;
    left.kill();
    right.kill();
    rig.go("left");
    rig.go("right");
    let resumed = rig.run(["resume", "--all", "--merge"]);
    assert_eq!(resumed.code, Some(0), "{resumed}");
    assert!(resumed.stderr.contains("is executed by another process"), "{resumed}");
    // Whose line it is can be told.
    for id in &rig.runs()[1..] {
        assert!(resumed.stderr.contains(&format!("{}  00:0", &id[..12])), "{resumed}");
    }
    assert_eq!((rig.read("left.txt").as_str(), rig.read("right.txt").as_str()), ("left\n", "right\n"));
    rig.go("held");
    assert_eq!(held.end(&rig).code, Some(0));
    assert_eq!(rig.run(["resume", "--all", "--detach"]).code, Some(2));
}

#[test]
fn sockets_of_killed_processes_are_removed_by_the_next_one() {
    let rig = Rig::repository();
    Plan::new("Stop").task("long", &rig.waiting("long", "true"), &[]).save(&rig, "stop.yaml");
    let sockets = || {
        let names = std::fs::read_dir(rig.dir().join("run").join("kapell")).unwrap();
        let mut names: Vec<String> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        // The process and the kind; what stands between tells sandboxes apart.
        names
            .iter()
            .map(|name| [&name[..name.find('-').unwrap()], &name[name.find('.').unwrap()..]].concat())
            .collect::<Vec<_>>()
    };
    let first = rig.start(["run", "../stop.yaml"]);
    rig.wait_for("long.begun");
    let own = ["agents", "bin", "sock"].map(|kind| format!("{}.{kind}", first.id()));
    assert_eq!(sockets(), own);
    // Those of a process that lives stay.
    assert_eq!(rig.run(["pause"]).code, Some(0));
    assert_eq!(sockets(), own);
    first.kill();
    rig.go("long");
    assert_eq!(sockets(), own);
    assert_eq!(rig.run(["resume", "--quiet"]).code, Some(0));
    assert_eq!(sockets(), Vec::<String>::new());
}

#[test]
fn runs_that_end_together_merge_one_after_the_other() {
    let rig = Rig::repository();
    let names = ["a", "b", "c", "d"];
    let started = names.map(|name| {
        let script = rig.waiting(name, &format!("echo {name} > {name}.txt"));
        Plan::new(name).task(name, &script, &[]).save(&rig, &format!("{name}.yaml"));
        rig.start(["run", &format!("../{name}.yaml"), "--merge"])
    });
    names.iter().for_each(|name| rig.wait_for(&format!("{name}.begun")));
    names.iter().for_each(|name| rig.go(name));
    for one in started {
        let ended = one.end(&rig);
        assert_eq!(ended.code, Some(0), "{ended}");
    }
    for name in names {
        assert_eq!(rig.read(&format!("{name}.txt")), format!("{name}\n"));
    }
}

/// A plan whose checks pass at once where `later.txt` is not, and wait for a word where it is: on a tree that was merged.
fn slow_to_merge(rig: &Rig, script: &str) {
    let check = rig.waiting("check", "true");
    let accept = format!("test ! -e later.txt || {{ {check}; }}");
    Plan::new("Slow").accept(&accept).task("slow", script, &[]).save(rig, "slow.yaml");
}

fn add_later(rig: &Rig) -> String {
    rig.write("later.txt", "later\n");
    rig.commit("later");
    rig.git(&["rev-parse", "main"])
}

#[test]
fn a_merge_that_waits_for_another_one_says_so_and_heeds_an_interrupt() {
    let rig = Rig::repository();
    slow_to_merge(&rig, "echo slow > slow.txt");
    assert_eq!(rig.run(["run", "../slow.yaml", "--quiet"]).code, Some(0));
    let before = add_later(&rig);
    let other = rig.start(["merge"]);
    rig.wait_for("check.begun");
    Plan::new("Quick").task("quick", "echo quick > quick.txt", &[]).save(&rig, "quick.yaml");
    let quick = rig.start_telling(["run", "../quick.yaml", "--merge"], "said");
    let said = || std::fs::read_to_string(rig.dir().join("said")).unwrap();
    let waits = format!("process {} merges into this repository: waiting for it", other.id());
    rig.wait_until("it says what it waits for", || said().contains(&waits));
    quick.interrupt();
    let ended = quick.end(&rig);
    let said = said();
    assert_eq!(ended.code, Some(130), "{said}");
    assert!(said.contains("refs/heads/main was not moved") && said.contains("next: kapell merge"), "{said}");
    assert_eq!(said.matches("waiting for it").count(), 1, "{said}");
    assert_eq!(rig.git(&["rev-parse", "main"]), before);
    rig.go("check");
    let ended = other.end(&rig);
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(rig.work().join("slow.txt").exists() && !rig.work().join("quick.txt").exists());
    assert_eq!(rig.run(["merge", "--quiet"]).code, Some(0));
    assert_eq!(rig.read("quick.txt"), "quick\n");
}

#[test]
fn a_merge_is_taken_back_when_no_other_one_is_under_way() {
    let rig = Rig::repository();
    slow_to_merge(&rig, "echo slow > slow.txt");
    assert_eq!(rig.run(["run", "../slow.yaml", "--quiet"]).code, Some(0));
    let slow = rig.runs().remove(0);
    Plan::new("Later").task("later", "echo later > later.txt", &[]).save(&rig, "later.yaml");
    assert_eq!(rig.run(["run", "../later.yaml", "--merge", "--quiet"]).code, Some(0));
    let later = rig.runs().into_iter().find(|run| *run != slow).unwrap();
    let other = rig.start(["merge", &slow]);
    rig.wait_for("check.begun");
    let undo = rig.start_telling(["undo", &later], "said");
    let said = || std::fs::read_to_string(rig.dir().join("said")).unwrap();
    let waits = format!("process {} merges into this repository: waiting for it", other.id());
    rig.wait_until("it says what it waits for", || said().contains(&waits));
    rig.go("check");
    assert_eq!(other.end(&rig).code, Some(0));
    // The other one is on top of it now.
    let (ended, said) = (undo.end(&rig), said());
    assert!(ended.code == Some(4) && said.contains("K0512"), "{said}");
    assert_eq!((rig.read("later.txt"), rig.read("slow.txt")), ("later\n".to_owned(), "slow\n".to_owned()));
}

#[test]
fn an_undo_that_was_cut_short_has_the_working_tree_follow() {
    let rig = Rig::repository();
    let before = rig.git(&["rev-parse", "main"]);
    Plan::new("One").task("one", "echo one > one.txt", &[]).save(&rig, "one.yaml");
    assert_eq!(rig.run(["run", "../one.yaml", "--merge", "--quiet"]).code, Some(0));
    assert_eq!(rig.read("one.txt"), "one\n");
    // So a crash leaves it that comes after the move of the branch.
    rig.git(&["update-ref", "refs/heads/main", before.trim()]);
    let ended = rig.run(["undo"]);
    assert_eq!((ended.code, rig.git(&["status", "--porcelain"])), (Some(0), String::new()), "{ended}");
    assert!(!rig.work().join("one.txt").exists());
    assert_eq!(rig.run(["merge", "--quiet"]).code, Some(0));
    assert_eq!(rig.read("one.txt"), "one\n");
}

#[test]
fn an_interrupt_ends_the_checks_of_a_merge_and_moves_nothing() {
    let rig = Rig::repository();
    slow_to_merge(&rig, &rig.waiting("slow", "echo slow > slow.txt"));
    let run = rig.start(["run", "../slow.yaml", "--merge"]);
    rig.wait_for("slow.begun");
    let before = add_later(&rig);
    rig.go("slow");
    rig.wait_for("check.begun");
    run.interrupt();
    // Nobody tells the check to go on.
    let ended = run.end(&rig);
    assert_eq!(ended.code, Some(130), "{ended}");
    assert!(ended.stderr.contains("was not moved"), "{ended}");
    assert_eq!(rig.git(&["rev-parse", "main"]), before);
    rig.go("check");
    assert_eq!(rig.run(["merge", "--quiet"]).code, Some(0));
    assert_eq!(rig.read("slow.txt"), "slow\n");
}

#[test]
fn what_is_paused_goes_on_in_the_process_that_executes_it() {
    let rig = Rig::repository();
    let script = rig.waiting("one", "true");
    Plan::new("Two").task("one", &script, &[]).task("two", "true", &["one"]).save(&rig, "two.yaml");
    let session = rig.start(["run", "../two.yaml"]);
    rig.wait_for("one.begun");
    // There is nothing to be taken back, and nothing to be raised.
    let held = rig.run(["resume"]);
    assert!(held.code == Some(5) && held.stderr.contains("K0606"), "{held}");
    assert_eq!(rig.run(["pause"]).code, Some(0));
    let resumed = rig.run(["resume", "--budget", "1usd"]);
    assert_eq!(resumed.code, Some(0), "{resumed}");
    assert!(resumed.stderr.contains("goes on in the process that executes it"), "{resumed}");
    // More of it reaches one that is not paused, too.
    assert_eq!(rig.run(["resume", "--budget", "2usd"]).code, Some(0));
    assert!(rig.run(["status", &rig.runs()[0]]).stdout.contains("of $2.00"));
    rig.go("one");
    let ended = session.end(&rig);
    assert_eq!(ended.code, Some(0), "{ended}");
}
