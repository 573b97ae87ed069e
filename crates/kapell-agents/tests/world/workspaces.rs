//! Where attempts work, and how their changes come out.

use std::{fs, sync::mpsc::channel};

use kapell_core::{plan::WorkspaceKind, retry::FailureClass};
use kapell_engine::port::{
    agents::AttemptKey,
    workspaces::{Close, Request, Workspaces},
};

use crate::{
    journal::MemoryJournal,
    rig::{Log, Rig, entries, key, request, run_id},
    support::{World, fingerprint, write},
};

#[test]
fn a_change_goes_from_a_workspace_to_a_commit() {
    let rig = Rig::new(&[("a", "1\n"), ("b", "2\n")]);
    let before = fingerprint(&rig.world.user_dir);
    let ready = rig.open(key(0));
    assert_eq!(fs::read_to_string(ready.dir.join("a")).unwrap(), "1\n");
    write(&ready.dir, "a", "one\n");
    fs::remove_file(ready.dir.join("b")).unwrap();
    write(&ready.dir, "c/d", "3\n");
    let change = rig.repository.capture(key(0), "some task").unwrap().unwrap();
    assert_eq!(change.base, rig.base());
    assert_eq!(rig.file(change.commit, "a").unwrap(), "one\n");
    assert_eq!(rig.file(change.commit, "c/d").unwrap(), "3\n");
    assert_eq!(rig.file(change.commit, "b"), None);
    // Taken again, as after a crash, it is the same commit.
    assert_eq!(rig.repository.capture(key(0), "some task").unwrap().unwrap(), change);
    rig.repository.close(key(0), Close::Kept);
    // Nothing of that is seen by the user.
    assert_eq!(fingerprint(&rig.world.user_dir), before);
    // The next attempt finds the base again, in the same place.
    let next = rig.open(key(1));
    assert_eq!(
        (next.dir.clone(), fs::read_to_string(next.dir.join("a")).unwrap()),
        (ready.dir, "1\n".to_owned())
    );
    assert!(!next.dir.join("c").exists());
    assert_eq!(rig.repository.capture(key(1), "nothing").unwrap(), None);
}

#[test]
fn what_must_not_change_and_has_is_refused() {
    let rig = Rig::new(&[("a", "1\n")]);
    let ready =
        rig.repository.open(&request(key(0), WorkspaceKind::ReadOnly, rig.base()), &|| false).unwrap();
    // As root, permissions hold nobody back; then the change is found.
    let _ = fs::remove_file(ready.dir.join("a"));
    let _ = fs::write(ready.dir.join("a"), "changed\n");
    if fs::read_to_string(ready.dir.join("a")).unwrap() == "changed\n" {
        let error = rig.repository.capture(key(0), "look").unwrap_err();
        assert_eq!(error.class, FailureClass::Permission, "{error}");
    }
    let ready =
        rig.repository.open(&request(key(1), WorkspaceKind::ReadOnly, rig.base()), &|| false).unwrap();
    assert!(ready.dir.join("a").exists());
    assert_eq!(rig.repository.capture(key(1), "look").unwrap(), None);
}

#[test]
fn a_workspace_that_its_agent_deleted_is_gone_and_replaced() {
    let rig = Rig::new(&[("a", "1\n")]);
    for destroy in [
        |dir: &std::path::Path| fs::remove_dir_all(dir).unwrap(),
        |dir: &std::path::Path| {
            fs::rename(dir, dir.with_extension("away")).unwrap();
            fs::create_dir(dir).unwrap();
        },
    ] {
        let ready = rig.open(key(0));
        destroy(&ready.dir);
        let error = rig.repository.capture(key(0), "evil").unwrap_err();
        assert_eq!(error.class, FailureClass::InvalidOutput, "{error}");
        rig.repository.close(key(0), Close::Salvage);
        rig.repository.sweep(run_id(), &[]);
        assert!(rig.open(key(1)).dir.join("a").exists());
        rig.repository.close(key(1), Close::Kept);
    }
}

#[test]
fn workspaces_are_prepared_once_and_share_what_they_may() {
    let rig = Rig::new(&[("a", "1\n"), (".gitignore", ".env\nbuilt\n")]);
    write(&rig.world.user_dir, ".env", "SECRET=1\n");
    let open = |task, prepare: &str| {
        let mut request = request(key(task), WorkspaceKind::Clone, rig.base());
        request.prepare = vec![format!("{prepare} && echo ran >> $OUT/prepared")];
        request.carry = vec![".env".to_owned()];
        request.cache.insert("CACHE_DIR".to_owned(), "shared".to_owned());
        rig.repository.open(&request, &|| false).unwrap()
    };
    let first = open(0, "cat .env > built");
    assert_eq!(fs::read_to_string(first.dir.join("built")).unwrap(), "SECRET=1\n");
    assert_eq!(rig.repository.capture(key(0), "none").unwrap(), None);
    rig.repository.close(key(0), Close::Kept);
    let again = open(1, "cat .env > built");
    assert_eq!((&again.dir, rig.out("prepared").len()), (&first.dir, 1));
    // Prepared in another way it is another workspace.
    let other = open(2, "echo other > built");
    assert_ne!(other.dir, first.dir);
    assert_eq!(rig.out("prepared").len(), 2);
    let cache = |ready: &kapell_engine::port::workspaces::Ready| {
        ready.env.iter().find(|(name, _)| name == "CACHE_DIR").unwrap().1.clone()
    };
    assert_eq!(cache(&again), cache(&other));
    assert!(fs::metadata(cache(&again)).unwrap().is_dir());
}

#[test]
fn what_cannot_be_prepared_fails_and_holds_nothing() {
    let rig = Rig::over(World::new(&[("a", "1\n")]), MemoryJournal::new(Log), 1);
    let mut bad = request(key(0), WorkspaceKind::Clone, rig.base());
    bad.prepare = vec!["echo no such tool; exit 3".to_owned()];
    let error = rig.repository.open(&bad, &|| false).unwrap_err();
    assert_eq!(error.class, FailureClass::Transient);
    assert_eq!(error.message, "`prepare: echo no such tool; exit 3`: exit 3\nno such tool");
    // The only workspace there may be is free again.
    rig.open(key(1));
}

#[test]
fn an_attempt_waits_for_a_workspace_while_all_are_in_use() {
    let rig = Rig::over(World::new(&[("a", "1\n")]), MemoryJournal::new(Log), 1);
    rig.open(key(0));
    let (sender, receiver) = channel();
    let (repository, wanted) = (&rig.repository, request(key(1), WorkspaceKind::Clone, rig.base()));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            sender.send("asked").unwrap();
            repository.open(&wanted, &|| false).unwrap();
            sender.send("open").unwrap();
        });
        assert_eq!(receiver.recv().unwrap(), "asked");
        receiver.recv_timeout(std::time::Duration::from_millis(300)).unwrap_err();
        rig.repository.close(key(0), Close::Kept);
        assert_eq!(receiver.recv().unwrap(), "open");
    });
}

#[test]
fn who_waits_for_a_workspace_is_let_go_when_kapell_goes_away() {
    use kapell_engine::port::agents::Agents;
    let rig = Rig::over(World::new(&[("a", "1\n")]), MemoryJournal::new(Log), 1);
    rig.open(key(0));
    let (repository, wanted) = (&rig.repository, request(key(1), WorkspaceKind::Clone, rig.base()));
    std::thread::scope(|scope| {
        let waits = scope.spawn(move || repository.open(&wanted, &|| false));
        rig.agents.close();
        assert!(waits.join().unwrap().unwrap_err().message.contains("workspaces"));
    });
}

#[test]
fn who_waits_for_a_workspace_is_let_go_when_it_is_stopped() {
    let rig = Rig::over(World::new(&[("a", "1\n")]), MemoryJournal::new(Log), 1);
    rig.open(key(0));
    let wanted = request(key(1), WorkspaceKind::Clone, rig.base());
    // Without being asked it would wait for as long as the other one works.
    let error = rig.repository.open(&wanted, &|| true).unwrap_err();
    assert!(error.message.contains("workspaces"), "{error}");
}

#[test]
fn what_nobody_works_in_any_more_is_salvaged_and_given_back() {
    let rig = Rig::new(&[("a", "1\n")]);
    for task in [0, 1] {
        let ready = rig.open(key(task));
        write(&ready.dir, "found", &format!("work of {task}\n"));
    }
    for task in [2, 3] {
        rig.repository.open(&request(key(task), WorkspaceKind::None, rig.base()), &|| false).unwrap();
    }
    let scratch = rig.world.path("scratch");
    assert_eq!(entries(&scratch).len(), 2);
    // The process goes away; the next one knows of the attempts 1 and 3 alone.
    let (world, journal) = rig.leave();
    let rig = Rig::over(world, journal, 40);
    rig.repository.sweep(run_id(), &[key(1), key(3)]);
    assert_eq!(entries(&scratch).len(), 1);
    assert_eq!(rig.repository.pool().abandoned(|_| true).unwrap().len(), 1);
    let kept = rig.repository.own_repo().salvaged().unwrap();
    assert_eq!(kept.len(), 1);
    let salvaged = rig.world.own_git(&["for-each-ref", "--format=%(objectname)", "refs/kapell/salvage"]);
    let tree = rig.world.own_git(&["show", &format!("{}:found", salvaged.trim())]);
    assert_eq!(tree, "work of 0");
    // That of attempt 1 is still to be taken.
    let change = rig.repository.capture(key(1), "work").unwrap().unwrap();
    assert_eq!(rig.file(change.commit, "found").unwrap(), "work of 1\n");
}

#[test]
fn the_next_attempt_goes_on_with_what_the_last_one_left() {
    let rig = Rig::new(&[("a", "1\n"), ("b", "2\n")]);
    let again = |key: AttemptKey| AttemptKey { attempt: key.attempt.next(), ..key };
    let open = |key: AttemptKey, base| {
        let request = Request { goes_on: true, ..request(key, WorkspaceKind::Clone, base) };
        rig.repository.open(&request, &|| false).unwrap()
    };
    let first = rig.open(key(0));
    write(&first.dir, "a", "half\n");
    write(&first.dir, "c", "new\n");
    // Nobody has closed it yet: whoever goes on sees to that.
    let second = again(key(0));
    let ready = open(second, rig.base());
    let work = ready.earlier.unwrap();
    assert!(work.is_restored && work.stat.contains("a |") && work.stat.contains("c |"), "{work:?}");
    assert_eq!(fs::read_to_string(ready.dir.join("a")).unwrap(), "half\n");
    fs::write(ready.dir.join("b"), "done\n").unwrap();
    let change = rig.repository.capture(second, "work").unwrap().unwrap();
    assert_eq!(change.base, rig.base());
    let file = |name| rig.file(change.commit, name).unwrap();
    assert_eq!((file("a"), file("b"), file("c")), ("half\n".into(), "done\n".into(), "new\n".into()));
    rig.repository.close(second, Close::Kept);

    // On a tip that it does not fit it is named and not put there.
    let tip = rig.change(key(1), &[("a", "other\n")]).commit;
    let third = AttemptKey { attempt: second.attempt, ..key(2) };
    let before = rig.open(key(2));
    write(&before.dir, "a", "half\n");
    rig.repository.close(key(2), Close::Salvage);
    let ready = open(third, tip);
    let work = ready.earlier.unwrap();
    assert!(!work.is_restored && work.stat.contains("a |"), "{work:?}");
    assert_eq!(fs::read_to_string(ready.dir.join("a")).unwrap(), "other\n");
    rig.repository.close(third, Close::Kept);
    // A command that is run anew begins anew.
    assert_eq!(rig.open(third).earlier, None);
}
