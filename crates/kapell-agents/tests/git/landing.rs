//! Joining branches, moving the run's ref, protecting files.

use std::{fs, os::unix::fs::PermissionsExt, sync::Arc};

use kapell_agents::git::{Conflict, Entry, Git, OwnRepo, OwnRepoOptions};
use kapell_core::id::Oid;

use crate::support::*;

fn entry(commit: Oid) -> Entry {
    Entry { commit, message: "land".into() }
}

#[test]
fn a_chain_stops_at_the_first_conflict_and_names_it() {
    let world = World::new(&[("a.txt", "1\n2\n3\n"), ("b.txt", "b\n")]);
    let repo = world.own_repo();
    let base = world.oid("HEAD");
    let one = land(&world, base, 1, &[("a.txt", "one\n2\n3\n")]);
    let two = land(&world, base, 2, &[("b.txt", "two\n")]);
    let clash = land(&world, base, 3, &[("a.txt", "uno\n2\n3\n"), ("c.txt", "c\n")]);
    let four = land(&world, base, 4, &[("d.txt", "d\n")]);
    let chain = repo.chain(base, &[one, two, clash, four].map(entry), &by()).unwrap();
    assert_eq!(chain.prefixes.len(), 2);
    assert_eq!(chain.conflict, Some(Conflict { index: 2, paths: vec![b"a.txt".to_vec()] }));
    for commit in [base, one, two] {
        assert!(repo.is_ancestor(commit, chain.prefixes[1]).unwrap());
    }
    assert_eq!(world.own_git(&["show", &format!("{}:b.txt", chain.prefixes[1])]), "two");
    // What is there already is joined without a new commit; nothing at all is nothing.
    let again = repo.chain(chain.prefixes[1], &[one, two].map(entry), &by()).unwrap();
    assert_eq!(again.prefixes, [chain.prefixes[1]; 2]);
    assert!(repo.chain(base, &[], &by()).unwrap().prefixes.is_empty());
    assert_eq!(repo.chain(base, &[entry(base)], &by()).unwrap().prefixes, [base]);
}

#[test]
fn merge_attributes_of_what_has_landed_are_honoured() {
    let world = World::new(&[
        (".gitattributes", "LOG merge=union\n*.lock merge=binary\n*.c merge=theirs-own\n"),
        ("LOG", "0\n"),
        ("x.lock", "1\n2\n3\n4\n5\n6\n7\n8\n"),
        ("y.c", "1\n2\n3\n4\n5\n6\n7\n8\n"),
    ]);
    let (repo, base) = (world.own_repo(), world.oid("HEAD"));
    let log = |line: &str| format!("0\n{line}\n");
    let one = land(&world, base, 1, &[("LOG", &log("one")), ("y.c", "one\n2\n3\n4\n5\n6\n7\n8\n")]);
    let two = land(&world, base, 2, &[("LOG", &log("two")), ("y.c", "1\n2\n3\n4\n5\n6\n7\ntwo\n")]);
    let chain = repo.chain(base, &[one, two].map(entry), &by()).unwrap();
    assert_eq!(chain.conflict, None);
    let tip = chain.prefixes[1];
    assert_eq!(world.own_git(&["show", &format!("{tip}:LOG")]), "0\none\ntwo");
    assert_eq!(world.own_git(&["show", &format!("{tip}:y.c")]), "one\n2\n3\n4\n5\n6\n7\ntwo");
    let three = land(&world, base, 3, &[("x.lock", "one\n2\n3\n4\n5\n6\n7\n8\n")]);
    let four = land(&world, base, 4, &[("x.lock", "1\n2\n3\n4\n5\n6\n7\nfour\n")]);
    let chain = repo.chain(base, &[three, four].map(entry), &by()).unwrap();
    assert_eq!(chain.conflict, Some(Conflict { index: 1, paths: vec![b"x.lock".to_vec()] }));
}

#[test]
fn the_runs_ref_moves_by_compare_and_swap() {
    let world = World::new(&[("a.txt", "a\n")]);
    let (repo, base) = (world.own_repo(), world.oid("HEAD"));
    repo.begin_run(&world.user(), RUN, base).unwrap();
    let one = land(&world, base, 1, &[("b.txt", "1\n")]);
    let two = land(&world, base, 2, &[("b.txt", "2\n")]);
    repo.advance(RUN, base, one).unwrap();
    assert_eq!(kind(repo.advance(RUN, base, two)), "Moved");
    assert_eq!(repo.run_head(RUN).unwrap(), Some(one));
    assert_eq!(kind(repo.begin_run(&world.user(), RUN, base)), "Moved");
    let other = kapell_core::id::RunId([9; 16]);
    assert_eq!(kind(repo.advance(other, base, two)), "Moved");
}

#[test]
fn two_threads_and_a_lock() {
    let world = World::new(&[("a.txt", "a\n")]);
    let (repo, base) = (world.own_repo(), world.oid("HEAD"));
    repo.begin_run(&world.user(), RUN, base).unwrap();
    let tips: Vec<_> = (1..=4).map(|n| land(&world, base, n, &[("b.txt", &format!("{n}\n"))])).collect();
    let wins = std::thread::scope(|scope| {
        let all: Vec<_> = tips
            .iter()
            .map(|&tip| {
                scope.spawn({
                    let repo = repo.clone();
                    move || repo.advance(RUN, base, tip).is_ok()
                })
            })
            .collect();
        all.into_iter().filter(|_| true).map(|thread| usize::from(thread.join().unwrap())).sum::<usize>()
    });
    assert_eq!(wins, 1);
    let head = repo.run_head(RUN).unwrap().unwrap();
    let lock = repo.dir().join(format!("{}.lock", kapell_agents::git::head_ref(RUN)));
    std::fs::write(&lock, "").unwrap();
    assert_eq!(kind(repo.advance(RUN, head, base)), "LockHeld");
}

#[test]
fn what_is_read_is_told_by_its_content() {
    let world = World::new(&[("src/lib.rs", "lib\n"), ("src/deep/a.rs", "a\n"), ("note.txt", "1\n")]);
    let (repo, base) = (world.own_repo(), world.oid("HEAD"));
    let of = |commit, list: &[&str]| {
        repo.content_of(commit, &list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>()).unwrap()
    };
    let note = land(&world, base, 1, &[("note.txt", "2\n")]);
    assert_eq!(of(base, &["src/**"]), of(note, &["src/**"]));
    assert_eq!(of(base, &["/src"]), of(base, &["src/**"]));
    assert_ne!(of(base, &["note.txt"]), of(note, &["note.txt"]));
    assert_ne!(of(base, &["src/**"]), of(base, &["src/*.rs"]));
    assert_eq!(of(base, &[]), of(note, &["nothing/**"]));
    // A change stands as long as its files are as it left them, whatever else has come.
    let two = land(&world, note, 4, &[("other.txt", "x\n")]);
    let more = land(&world, two, 2, &[("src/lib.rs", "better\n")]);
    let undone = land(&world, more, 3, &[("note.txt", "1\n")]);
    let stands = |change, landed, base| repo.stands_in(change, landed, base).unwrap();
    assert!(stands((base, note), note, note));
    assert!(stands((base, note), note, more));
    assert!(!stands((base, note), note, base));
    assert!(!stands((base, note), note, undone));
    assert!(stands((two, more), more, undone));
    // All the commits of a change count, not the last one alone.
    assert!(stands((base, two), two, more));
    assert!(!stands((base, two), two, undone));
}

#[test]
fn protected_paths_are_those_of_the_base() {
    let world = World::new(&[
        ("tests/a.rs", "test\n"),
        ("tests/deep/b.rs", "test\n"),
        ("src/tests", "a file\n"),
        ("src/lib.rs", "lib\n"),
        ("Cargo.lock", "1\n"),
        ("sub/Cargo.lock", "1\n"),
    ]);
    let (repo, base) = (world.own_repo(), world.oid("HEAD"));
    let pool = world.pool();
    let workspace = pool.acquire(&request(kapell_agents::workspace::Kind::Clone, base, 1)).unwrap();
    let tree = workspace.tree();
    write(&tree, "tests/a.rs", "weaker\n");
    write(&tree, "tests/new.rs", "new\n");
    std::fs::remove_file(tree.join("tests/deep/b.rs")).unwrap();
    write(&tree, "src/lib.rs", "better\n");
    write(&tree, "sub/Cargo.lock", "2\n");
    let commit = capture(&workspace).commit.unwrap();
    let patterns = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let touched = |list: &[&str]| {
        let paths = repo.protect(base, commit, &patterns(list)).unwrap().touched;
        paths.iter().map(|path| kapell_agents::git::printable(path)).collect::<Vec<_>>()
    };
    assert_eq!(touched(&["/tests"]), ["tests/a.rs", "tests/deep/b.rs", "tests/new.rs"]);
    assert_eq!(touched(&["tests/*.rs"]), ["tests/a.rs", "tests/new.rs"]);
    assert_eq!(touched(&["Cargo.lock"]), ["sub/Cargo.lock"]);
    assert!(touched(&["/Cargo.lock"]).is_empty());
    assert!(touched(&[]).is_empty());
    let protected = repo.protect(base, commit, &patterns(&["/tests", "nothing/**"])).unwrap();
    let list = world.own_git(&["ls-tree", "-r", "--name-only", &protected.tree.to_string()]);
    assert_eq!(list, "Cargo.lock\nsrc/lib.rs\nsrc/tests\nsub/Cargo.lock\ntests/a.rs\ntests/deep/b.rs");
    assert_eq!(world.own_git(&["show", &format!("{}:tests/a.rs", protected.tree)]), "test");
    assert_eq!(world.own_git(&["show", &format!("{}:src/lib.rs", protected.tree)]), "better");
    let untouched = repo.protect(base, commit, &patterns(&["docs/**"])).unwrap();
    assert_eq!((untouched.tree, untouched.touched.len()), (repo.tree_of(commit).unwrap(), 0));
}

/// Makes a git that says it is of another version, and does not know what that one did not.
fn git_of_version(world: &World, version: &str) -> Arc<Git> {
    let path = world.path("old-git");
    let real = the_git();
    let script = format!(
        "#!/bin/sh\nfor word; do [ \"$word\" = version ] && echo 'git version {version}' && exit; done\n\
         unset GIT_ATTR_SOURCE\nexec '{}' \"$@\"\n",
        real.program().display()
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    Arc::new(Git::at(path))
}

#[test]
fn an_older_git_honours_merge_attributes_too_and_one_too_old_is_refused() {
    let world = World::new(&[(".gitattributes", "LOG merge=union\n"), ("LOG", "0\n")]);
    let base = world.oid("HEAD");
    let user = world.user();
    let dir = user.common_dir().join("kapell/old");
    let options = OwnRepoOptions::default();
    let error = OwnRepo::open(git_of_version(&world, "2.37.9"), &user, &dir, &options).unwrap_err();
    assert!(error.hint().is_some());
    assert_eq!(kind::<()>(Err(error)), "TooOld");
    let one = land(&world, base, 1, &[("LOG", "0\none\n")]);
    let two = land(&world, base, 2, &[("LOG", "0\ntwo\n")]);
    let dir = user.common_dir().join("kapell/git");
    let repo = OwnRepo::open(git_of_version(&world, "2.39.5"), &user, &dir, &options).unwrap();
    let chain = repo.chain(base, &[one, two].map(entry), &by()).unwrap();
    assert_eq!(chain.conflict, None);
    assert_eq!(world.own_git(&["show", &format!("{}:LOG", chain.prefixes[1])]), "0\none\ntwo");
}

#[test]
fn compacting_keeps_what_is_named() {
    let world = World::new(&[("a.txt", "a\n")]);
    let (repo, base) = (world.own_repo(), world.oid("HEAD"));
    repo.begin_run(&world.user(), RUN, base).unwrap();
    let landed = land(&world, base, 1, &[("b.txt", "1\n")]);
    let submitted = land(&world, base, 2, &[("b.txt", "2\n")]);
    let dropped = land(&world, base, 3, &[("b.txt", "3\n")]);
    repo.advance(RUN, base, landed).unwrap();
    write(repo.dir(), "view-2147483647-0/HEAD", "left behind\n");
    repo.compact(&[submitted], 0).unwrap();
    assert!(repo.tree_of(dropped).is_ok(), "it is young");
    repo.compact(&[submitted], i64::from(u32::MAX)).unwrap();
    let there = |oid: Oid| git_raw(repo.dir(), &["cat-file", "-e", &oid.to_string()]).status.success();
    assert_eq!([landed, submitted, dropped].map(there), [true, true, false]);
    assert!(!repo.dir().join("view-2147483647-0").exists());
}
