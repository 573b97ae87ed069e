//! The user's branch and checkout: moved in one step, or not at all.

use std::{fs, time::Duration};

use kapell_agents::{
    git::{ErrorKind, MergeTurn},
    world::{MergeError, MergeRequest},
};
use kapell_core::{command::Command, id::Oid, journal::Actor};
use kapell_engine::{
    host::Rest,
    port::workspaces::{MergeOrder, Merged, Setup, Workspaces},
};

use crate::{
    rig::{Rig, key, plan, run_id, script},
    support::{MAIN, fingerprint, read, write},
};

fn landed(files: &[(&str, &str)]) -> Rig {
    let mut rig = Rig::new(&[("a", "1\n")]);
    let text: String = files.iter().map(|(name, text)| format!("printf '{text}' > {name}; ")).collect();
    assert_eq!(rig.run(rig.mission(), plan(&[("work", script(&text), &[])])), Rest::Over);
    rig
}

fn merge(rig: &mut Rig, from: Oid, to: Oid) -> bool {
    let begin = Command::BeginMerge { target: MAIN.to_owned(), from, to };
    rig.host.put(run_id(), Actor::Engine, begin, None);
    rig.settle(run_id());
    rig.host.run(run_id()).unwrap().merge().is_some_and(|merge| merge.done)
}

#[test]
fn what_landed_gets_into_the_branch_and_its_checkout() {
    let mut rig = landed(&[("b", "2\\n")]);
    let head = rig.head();
    let proposal = rig.propose(run_id(), head, &[], &Setup::default()).unwrap();
    assert_eq!((proposal.from, proposal.to), (rig.base(), head));
    assert!(merge(&mut rig, proposal.from, proposal.to));
    assert_eq!(rig.base(), head);
    assert_eq!(read(&rig.world.user_dir, "b"), "2\n");
    assert_eq!(rig.world.git(&["status", "--porcelain"]), "");
    assert!(matches!(rig.propose(run_id(), head, &[], &Setup::default()), Err(MergeError::NothingToMerge)));
    rig.repository.undo_merge(MAIN, proposal.from, proposal.to).unwrap();
    assert_eq!(rig.base(), proposal.from);
    assert!(!rig.world.user_dir.join("b").exists());
}

#[test]
fn a_target_that_has_moved_is_merged_first_and_checked() {
    let mut rig = landed(&[("b", "2\\n")]);
    let head = rig.head();
    let tip = rig.world.commit(&[("c", "3\n")], "meanwhile");
    let accept = ["test -e b -a -e c -a -d made; echo ran >> $OUT/count".to_owned()];
    let setup = Setup { prepare: vec!["mkdir -p made".to_owned()], ..Setup::default() };
    let proposal = rig.propose(run_id(), head, &accept, &setup).unwrap();
    assert_eq!((proposal.from, rig.out("count").len()), (tip, 1));
    assert!(merge(&mut rig, proposal.from, proposal.to));
    assert_eq!(rig.world.git(&["status", "--porcelain"]), "");
    assert_eq!(
        (read(&rig.world.user_dir, "b"), read(&rig.world.user_dir, "c")),
        ("2\n".to_owned(), "3\n".to_owned())
    );
    let red = landed(&[("b", "2\\n")]);
    red.world.commit(&[("c", "3\n")], "meanwhile");
    let refused = red.propose(run_id(), red.head(), &["test ! -e b".to_owned()], &Setup::default());
    assert!(matches!(refused, Err(MergeError::Red(_))), "{refused:?}");
    let clash = landed(&[("a", "2\\n")]);
    clash.world.commit(&[("a", "3\n")], "meanwhile");
    let refused = clash.propose(run_id(), clash.head(), &[], &Setup::default());
    assert!(matches!(&refused, Err(MergeError::Conflict(paths)) if paths == &["a"]), "{refused:?}");
}

#[test]
fn a_branch_that_is_not_there_is_made_for_a_merge_and_for_nothing_else() {
    const FRESH: &str = "refs/heads/fresh";
    let rig = landed(&[("b", "2\\n")]);
    let (base, head) = (rig.base(), rig.head());
    let tip = || rig.repository.tip(FRESH).unwrap();
    let setup = Setup::default();
    let request = MergeRequest {
        run: run_id(),
        target: FRESH,
        beginning: Some(base),
        head,
        is_unchecked: false,
        accept: &[],
        setup: &setup,
    };
    let proposal = rig.repository.propose_merge(&request).unwrap();
    assert_eq!((proposal.from, proposal.to, tip()), (base, head, None));
    rig.repository.begin_branch(FRESH, base, head).unwrap();
    assert_eq!(tip(), Some(base));
    rig.repository.end_branch(FRESH, base);
    assert_eq!(tip(), None);
    // One that somebody has moved is theirs.
    rig.world.git(&["update-ref", FRESH, &rig.world.commit(&[("c", "3\n")], "meanwhile").to_string()]);
    rig.repository.end_branch(FRESH, base);
    assert!(tip().is_some());
    rig.world.git(&["update-ref", "-d", FRESH]);
    // A working tree would be on it all of a sudden, without its files.
    rig.world.git(&["symbolic-ref", "HEAD", FRESH]);
    let refused = rig.repository.begin_branch(FRESH, base, head).unwrap_err();
    assert!(matches!(*refused.kind, ErrorKind::CheckedOut { .. }), "{refused}");
    assert_eq!(tip(), None);
}

#[test]
fn a_working_tree_in_the_way_stops_the_merge_and_says_so() {
    let mut rig = landed(&[("a", "2\\n")]);
    let (from, to) = (rig.base(), rig.head());
    rig.propose(run_id(), to, &[], &Setup::default()).unwrap();
    write(&rig.world.user_dir, "a", "mine\n");
    let refused = rig.propose(run_id(), to, &[], &Setup::default());
    assert!(matches!(refused, Err(MergeError::Git(_))), "{refused:?}");
    let before = fingerprint(&rig.world.user_dir);
    // It became so only after the merge was begun: the branch goes back.
    assert!(!merge(&mut rig, from, to));
    assert!(
        rig.host.trouble(run_id()).is_some_and(|why| why.contains("in the way")),
        "{:?}",
        rig.host.trouble(run_id())
    );
    assert_eq!(rig.base(), from);
    assert_eq!(read(&rig.world.user_dir, "a"), "mine\n");
    let changed: Vec<_> =
        fingerprint(&rig.world.user_dir).into_iter().filter(|line| !before.contains(line)).collect();
    // The reflog tells of both moves.
    assert!(
        changed.iter().all(|line| line.starts_with(".git/logs") || line.starts_with(".git/refs/heads")),
        "{changed:?}"
    );
}

#[test]
fn a_branch_that_is_elsewhere_is_left_alone() {
    let mut rig = landed(&[("b", "2\\n")]);
    let (from, to) = (rig.base(), rig.head());
    let tip = rig.world.commit(&[("c", "3\n")], "meanwhile");
    assert!(!merge(&mut rig, from, to));
    assert_eq!(rig.host.trouble(run_id()), Some("refs/heads/main is no longer where it was"));
    assert_eq!(rig.base(), tip);
}

#[test]
fn a_merge_that_a_crash_cut_short_is_finished() {
    let mut rig = landed(&[("b", "2\\n")]);
    let (from, to) = (rig.base(), rig.head());
    let proposal = rig.propose(run_id(), to, &[], &Setup::default()).unwrap();
    assert_eq!(proposal.to, to);
    // The intent is durable and the ref has moved; the checkout has not.
    rig.journal.disk().slow = false;
    rig.world.git(&["update-ref", MAIN, &to.to_string()]);
    assert!(!rig.world.user_dir.join("b").exists());
    assert!(merge(&mut rig, from, to));
    assert_eq!(read(&rig.world.user_dir, "b"), "2\n");
    assert_eq!(rig.world.git(&["status", "--porcelain"]), "");
    // Once more changes nothing.
    let order = MergeOrder { run: run_id(), target: MAIN.to_owned(), from, to, is_left: false };
    assert_eq!(rig.repository.merge(&order).unwrap(), Merged::Whole);
}

#[test]
fn a_merge_that_was_left_is_finished_in_its_turn() {
    let rig = landed(&[("b", "2\\n")]);
    let (from, to) = (rig.base(), rig.head());
    rig.propose(run_id(), to, &[], &Setup::default()).unwrap();
    let MergeTurn::Ours(turn) = rig.repository.merge_turn().unwrap() else { panic!("nobody else merges") };
    let order = MergeOrder { run: run_id(), target: MAIN.to_owned(), from, to, is_left: true };
    let (repository, (done, ended)) = (rig.repository.clone(), std::sync::mpsc::channel());
    std::thread::spawn(move || done.send(repository.merge(&order)));
    assert!(ended.recv_timeout(Duration::from_millis(300)).is_err(), "it is another's turn");
    assert_eq!(rig.base(), from);
    drop(turn);
    assert_eq!(ended.recv().unwrap().unwrap(), Merged::Whole);
    assert_eq!(rig.base(), to);
}

#[test]
fn a_branch_that_moved_without_its_working_tree_is_not_passed_over_in_silence() {
    let mut rig = landed(&[("a", "2\\n")]);
    let (from, to) = (rig.base(), rig.head());
    rig.propose(run_id(), to, &[], &Setup::default()).unwrap();
    // The branch is there already, a file is in the way, and the branch cannot go back.
    rig.world.git(&["update-ref", MAIN, &to.to_string()]);
    write(&rig.world.user_dir, "a", "mine\n");
    write(&rig.world.user_dir, ".git/refs/heads/main.lock", "");
    assert!(merge(&mut rig, from, to), "it has moved");
    let trouble = rig.host.trouble(run_id()).unwrap_or_default();
    assert!(
        trouble.contains("working tree could not follow") && trouble.contains("git restore"),
        "{trouble}"
    );
    assert_eq!(read(&rig.world.user_dir, "a"), "mine\n");
}

#[test]
fn an_integration_ref_that_somebody_moved_is_not_moved() {
    let rig = landed(&[("b", "2\\n")]);
    let (from, to) = (rig.base(), rig.head());
    let other = rig.change(key(5), &[("x", "y\n")]).commit;
    // There already is well; elsewhere is an error that no second try mends.
    rig.repository.move_ref(run_id(), from, to).unwrap();
    let error = rig.repository.move_ref(run_id(), from, other).unwrap_err();
    assert_eq!(error.class, kapell_core::retry::FailureClass::Permanent, "{error}");
    assert!(fs::metadata(rig.world.own_repo().dir()).unwrap().is_dir());
}
