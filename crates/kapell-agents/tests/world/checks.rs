//! Acceptance commands: run by the engine, each at most once on a tree.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use kapell_agents::{
    contain::{Level, Wish},
    world::Keeper,
};
use kapell_core::{
    command::Verdict,
    id::ProbeId,
    landing::{Entry, Probe, Probed},
    plan::{Protect, WorkspaceKind},
    retry::FailureClass,
};
use kapell_engine::port::{
    agents::Agents,
    workspaces::{Close, Setup, Trial, Workspaces},
};

use crate::{
    journal::MemoryJournal,
    rig::{HELPER, Log, Rig, check, commands, is_alive, key, request, run_id},
    support::{World, fingerprint, write},
};

fn trial(rig: &Rig, changes: &[kapell_core::task::Change], texts: &[&str], repeat: bool) -> Trial {
    let entry = |(at, change): (usize, &kapell_core::task::Change)| Entry {
        task: kapell_core::id::TaskId(u32::try_from(at).unwrap()),
        commit: change.commit,
    };
    let entries: Vec<_> = changes.iter().enumerate().map(entry).collect();
    Trial {
        run: run_id(),
        names: entries.iter().map(|entry| format!("task {}", entry.task)).collect(),
        probe: Probe { id: ProbeId(0), base: rig.base(), entries, repeat },
        commands: commands(texts),
        setup: Setup::default(),
    }
}

fn red(verdict: Verdict) -> String {
    match verdict {
        Verdict::Failed { message } => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_check_sees_the_changed_files_and_nothing_of_the_workspace() {
    let rig = Rig::new(&[("a", "1\n")]);
    let ready = rig.open(key(0));
    write(&ready.dir, "a", "2\n");
    let change = rig.repository.capture(key(0), "work").unwrap().unwrap();
    write(&ready.dir, "a", "later\n");
    let verdict = rig.repository.check(&check(key(0), Some(change), &["grep -qx 2 a", "test ! -e later"]));
    assert_eq!(verdict, Verdict::Passed);
    let why = red(rig.repository.check(&check(key(0), Some(change), &["echo it is; cat a; exit 4"])));
    assert_eq!(why, "`echo it is; cat a; exit 4`: exit 4\nit is\n2");
}

#[test]
fn a_verdict_stands_although_its_workspace_cannot_be_given_back() {
    let rig = Rig::new(&[("a", "1\n")]);
    let change = rig.change(key(0), &[("b", "x\n")]);
    let unnoted = "rm ../meta.json && mkdir -p ../meta.json/x && test -e b";
    assert_eq!(rig.repository.check(&check(key(0), Some(change), &[unnoted])), Verdict::Passed);
}

#[test]
fn no_command_runs_twice_on_one_tree_however_it_is_asked() {
    let rig = Rig::new(&[("a", "1\n")]);
    let change = rig.change(key(0), &[("b", "x\n")]);
    // Another task with the same result.
    let same = rig.change(key(1), &[("b", "x\n")]);
    assert_eq!(change.tree, same.tree);
    let command = "echo ran >> $OUT/count; test -e b";
    std::thread::scope(|scope| {
        for number in 0..4 {
            let asked = check(key(number), Some(if number % 2 == 0 { change } else { same }), &[command]);
            let repository = &rig.repository;
            scope.spawn(move || {
                assert_eq!(repository.check(&asked), Verdict::Passed);
            });
        }
    });
    assert_eq!(rig.out("count").len(), 1);
    // The merge queue asks about the same tree.
    let green = rig.repository.probe(&trial(&rig, &[change], &[command], false)).unwrap();
    assert!(matches!(green, Probed::Green { tips } if tips.len() == 1));
    assert_eq!(rig.out("count").len(), 1);
    // Unless it wants it repeated.
    rig.repository.probe(&trial(&rig, &[change], &[command], true)).unwrap();
    assert_eq!(rig.out("count").len(), 2);
    // Another environment is another question.
    let mut other = check(key(0), Some(change), &[command]);
    other.commands[0].env.push(("LANG".to_owned(), "C".to_owned()));
    rig.repository.check(&other);
    assert_eq!(rig.out("count").len(), 3);
}

#[test]
fn a_flaky_command_says_something_else_when_it_is_repeated() {
    let rig = Rig::new(&[("a", "1\n")]);
    let change = rig.change(key(0), &[("b", "x\n")]);
    let flaky = "test -e $OUT/second || { touch $OUT/second; exit 1; }";
    let ask = |repeat| rig.repository.probe(&trial(&rig, &[change], &[flaky], repeat)).unwrap();
    assert!(matches!(ask(false), Probed::Red { .. }));
    assert!(matches!(ask(false), Probed::Red { .. }));
    assert!(matches!(ask(true), Probed::Green { .. }));
    assert!(matches!(ask(false), Probed::Green { .. }));
}

#[test]
fn what_a_check_leaves_running_is_ended() {
    let rig = Rig::new(&[("a", "1\n")]);
    let change = rig.change(key(0), &[("b", "x\n")]);
    let command = "(setsid sh -c 'echo $$ > $OUT/pid.new; mv $OUT/pid.new $OUT/pid; exec sleep 1000' &) ; \
                   while [ ! -e $OUT/pid ]; do :; done";
    assert_eq!(rig.repository.check(&check(key(0), Some(change), &[command])), Verdict::Passed);
    assert!(!is_alive(&rig.out("pid")[0]));
}

#[test]
fn protected_files_are_restored_before_checks_run() {
    let rig = Rig::new(&[("check.sh", "test -e done\n"), ("a", "1\n")]);
    let change = rig.change(key(0), &[("check.sh", "exit 0\n")]);
    let mut asked = check(key(0), Some(change), &["sh check.sh"]);
    assert_eq!(rig.repository.check(&asked), Verdict::Passed);
    asked.protect = Protect { paths: vec!["*.sh".to_owned()], strict: false };
    red(rig.repository.check(&asked));
    // Strictly, a change that passes but touches what checks it is a question.
    let change = rig.change(key(1), &[("check.sh", "test -e done # the same\n"), ("done", "\n")]);
    let mut asked = check(key(1), Some(change), &["sh check.sh"]);
    for paths in [vec!["*.sh".to_owned()], Vec::new()] {
        asked.protect = Protect { paths, strict: true };
        match rig.repository.check(&asked) {
            Verdict::Doubtful { question } => assert!(question.contains("(check.sh)"), "{question}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_result_without_a_change_is_checked_where_it_was_made() {
    let rig = Rig::new(&[("a", "1\n")]);
    let before = fingerprint(&rig.world.user_dir);
    let ready = rig.repository.open(&request(key(0), WorkspaceKind::None, rig.base()), &|| false).unwrap();
    write(&ready.dir, "made", "x");
    assert_eq!(rig.repository.check(&check(key(0), None, &["test -e made"])), Verdict::Passed);
    let ready = rig.open(key(1));
    write(&ready.dir, ".git/made", "x");
    assert_eq!(rig.repository.check(&check(key(1), None, &["test -e .git/made"])), Verdict::Passed);
    // The same after a crash.
    let (world, journal) = rig.leave();
    let rig = Rig::over(world, journal, 40);
    assert_eq!(rig.repository.check(&check(key(1), None, &["test -e .git/made"])), Verdict::Passed);
    // Where that is gone it is not checked anywhere else, least of all in the user's own checkout.
    rig.repository.close(key(1), Close::Kept);
    let verdict = rig.repository.check(&check(key(1), None, &["touch planted; true"]));
    assert!(matches!(verdict, Verdict::Broken { .. }), "{verdict:?}");
    assert_eq!(fingerprint(&rig.world.user_dir), before);
}

#[test]
fn a_tree_that_cannot_be_prepared_is_red_and_one_that_conflicts_says_where() {
    let rig = Rig::new(&[("a", "1\n")]);
    let one = rig.change(key(0), &[("a", "one\n"), ("broken", "x\n")]);
    let two = rig.change(key(1), &[("a", "two\n")]);
    let mut asked = trial(&rig, &[one], &["true"], false);
    asked.setup.prepare = vec!["test ! -e broken".to_owned()];
    assert!(matches!(rig.repository.probe(&asked).unwrap(), Probed::Red { .. }));
    let both = rig.repository.probe(&trial(&rig, &[one, two], &["true"], false)).unwrap();
    assert_eq!(both, Probed::Conflict { index: 1, paths: vec!["a".to_owned()] });
    // Checks that are prepared in different ways do not share a workspace.
    let third = rig.change(key(2), &[("c", "3\n")]);
    for prepare in ["echo one >> $OUT/prepared", "echo two >> $OUT/prepared"] {
        let mut asked = check(key(2), Some(third), &["test -e c"]);
        asked.setup.prepare = vec![prepare.to_owned()];
        asked.commands[0].env.push(("WAY".to_owned(), prepare.to_owned()));
        assert_eq!(rig.repository.check(&asked), Verdict::Passed);
    }
    assert_eq!(rig.out("prepared"), ["one", "two"]);
}

#[test]
fn a_check_that_could_not_run_blames_nobody() {
    let rig = Rig::new(&[("a", "1\n")]);
    let change = rig.change(key(0), &[("b", "x\n")]);
    // Somebody kills its supervisor in the middle.
    let command = "echo $PPID > $OUT/ppid; kill -9 $PPID; sleep 1000";
    let verdict = rig.repository.check(&check(key(0), Some(change), &[command]));
    assert!(matches!(verdict, Verdict::Broken { .. }), "{verdict:?}");
    let error = rig.repository.probe(&trial(&rig, &[change], &[command], true)).unwrap_err();
    assert_eq!(error.class, FailureClass::Transient);
}

#[test]
fn a_check_under_way_does_not_keep_kapell_from_going_away() {
    let rig = Rig::new(&[("a", "1\n")]);
    let change = rig.change(key(0), &[("b", "x\n")]);
    std::thread::scope(|scope| {
        let repository = &rig.repository;
        let asked = check(key(0), Some(change), &["echo $$ > $OUT/pid; exec sleep 1000"]);
        let checked = scope.spawn(move || repository.check(&asked));
        while rig.out("pid").is_empty() {
            std::thread::yield_now();
        }
        let begun = Instant::now();
        rig.agents.close();
        assert!(matches!(checked.join().unwrap(), Verdict::Broken { .. }));
        assert!(begun.elapsed() < Duration::from_secs(30));
        assert!(!is_alive(&rig.out("pid")[0]));
        // Nothing starts any more.
        assert!(matches!(
            rig.repository.check(&check(key(0), Some(change), &["touch $OUT/late"])),
            Verdict::Broken { .. }
        ));
        assert!(!rig.world.path("out/late").exists());
    });
}

#[test]
fn checks_find_the_ignored_files_that_the_attempt_had() {
    let rig = Rig::new(&[("a", "1\n"), (".gitignore", "dep\n")]);
    write(&rig.world.user_dir, "dep/lib", "x\n");
    let change = rig.change(key(0), &[("a", "2\n")]);
    let mut asked = check(key(0), Some(change), &["test -e dep/lib"]);
    assert!(matches!(rig.repository.check(&asked), Verdict::Failed { .. }));
    asked.setup.carry = vec!["dep".to_owned()];
    // It is another question: what was found out without them does not answer it.
    asked.commands[0].env.push(("WITH".to_owned(), "dep".to_owned()));
    assert_eq!(rig.repository.check(&asked), Verdict::Passed);
    let mut trial = trial(&rig, &[change], &["test -e dep/lib"], true);
    trial.setup.carry = asked.setup.carry;
    assert!(matches!(rig.repository.probe(&trial), Ok(Probed::Green { .. })));
}

#[test]
fn a_check_that_is_contained_reaches_its_tree_and_nothing_of_the_user() {
    for level in [Level::Namespaces, Level::Files] {
        let world = World::new(&[("a", "1\n")]);
        let (search_path, nothing) = ("/usr/bin:/bin".into(), Wish::default());
        let keeper =
            Keeper::new(Path::new(HELPER), search_path, world.path("trials"), nothing.clone(), nothing);
        if keeper.found().has(level).is_err() {
            continue;
        }
        let keeper = Arc::new(keeper.checking(Some(Wish { level: Some(level), network: None })));
        let rig = Rig::with(world, MemoryJournal::new(Log), 40, |agents| agents.contained_by(keeper));
        let change = rig.change(key(0), &[("b", "x\n")]);
        let command = "test -e b; echo made > made; echo mine > $HOME/mine; git cat-file -e HEAD; \
                       ! sh -c 'echo stolen > $OUT/stolen' 2>/dev/null";
        assert_eq!(
            rig.repository.check(&check(key(0), Some(change), &[command])),
            Verdict::Passed,
            "{level}"
        );
        assert!(rig.out("stolen").is_empty(), "{level}");
    }
}

#[test]
fn a_check_that_cannot_be_contained_as_asked_is_not_run() {
    let world = World::new(&[("a", "1\n")]);
    let nothing = Wish::default();
    // Nothing is found on an empty path.
    let keeper = Keeper::new(Path::new(HELPER), "".into(), world.path("trials"), nothing.clone(), nothing);
    let keeper = Arc::new(keeper.checking(Some(Wish { level: Some(Level::Namespaces), network: None })));
    let rig = Rig::with(world, MemoryJournal::new(Log), 40, |agents| agents.contained_by(keeper));
    let change = rig.change(key(0), &[("b", "x\n")]);
    match rig.repository.check(&check(key(0), Some(change), &["echo ran >> $OUT/count"])) {
        Verdict::Broken { message, .. } => assert!(message.contains("K0810"), "{message}"),
        other => panic!("{other:?}"),
    }
    assert!(rig.out("count").is_empty());
}
