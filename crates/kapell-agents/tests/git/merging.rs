//! Moving the user's branch: what may be in the way, and crashes between the steps.

use std::{fs, path::Path};

use kapell_agents::git::{Entry, OwnRepo, Step, UserRepo};
use kapell_core::id::Oid;

use crate::support::*;

/// What is done to a directory, and how it is called.
type Case<'a> = (&'a str, &'a dyn Fn(&Path));

const FILES: &[(&str, &str)] = &[
    ("a.txt", "a\n"),
    ("gone.txt", "g\n"),
    ("same.txt", "s\n"),
    ("run.sh", "#!/bin/sh\n"),
    (".gitignore", "*.log\n"),
];

/// A repository with a landed commit that changes, adds and deletes a file.
fn landed() -> (World, Oid, Oid) {
    let world = World::new(FILES);
    let base = world.oid("HEAD");
    let pool = world.pool();
    let workspace = pool.acquire(&request(kapell_agents::workspace::Kind::Clone, base, 1)).unwrap();
    write(&workspace.tree(), "a.txt", "A\n");
    write(&workspace.tree(), "new/b.txt", "b\n");
    fs::remove_file(workspace.tree().join("gone.txt")).unwrap();
    let tip = capture(&workspace).commit.unwrap();
    (world, base, tip)
}

#[test]
fn a_person_sees_nothing_until_the_merge() {
    let world = World::new(FILES);
    // A checkout in use: staged, changed and untracked files, a stash, an unrelated branch.
    write(&world.user_dir, "stashed.txt", "x\n");
    world.git(&["add", "stashed.txt"]);
    world.git(&["stash", "-q"]);
    world.git(&["branch", "other"]);
    write(&world.user_dir, "staged.txt", "s\n");
    world.git(&["add", "staged.txt"]);
    write(&world.user_dir, "a.txt", "changed\n");
    write(&world.user_dir, "untracked.txt", "u\n");
    let before = fingerprint(&world.user_dir);
    let (user, repo) = (world.user(), world.own_repo());
    let base = user.head_commit().unwrap();
    repo.begin_run(&user, RUN, base).unwrap();
    repo.inspect(base).unwrap();
    let tip = land(&world, base, 1, &[("b.txt", "b\n")]);
    repo.advance(RUN, base, tip).unwrap();
    let pool = world.pool();
    let workspace = pool.acquire(&request(kapell_agents::workspace::Kind::Clone, base, 2)).unwrap();
    write(&workspace.tree(), "c.txt", "c\n");
    pool.salvage(&workspace, owner(2), &by(), 1 << 20).unwrap();
    pool.discard(workspace).unwrap();
    assert_eq!(kind(repo.prepare_merge(&user, MAIN, base, tip)), "Dirty");
    assert_eq!(fingerprint(&world.user_dir), before);
    repo.end_run(&user, RUN).unwrap();
    assert_eq!(fingerprint(&world.user_dir), before);
    assert_eq!(world.git(&["fsck"]), "");
}

/// What a person does after the work landed, and what `prepare_merge` then says.
#[test]
fn what_is_in_the_way_is_found_before_anything_moves() {
    let add_staged = |dir: &Path| {
        write(dir, "x", "x\n");
        git_in(dir, &["add", "x"]);
    };
    let cases: &[(&str, Case<'_>)] = &[
        ("Dirty", ("a changed file", &|dir| write(dir, "same.txt", "mine\n"))),
        ("Dirty", ("a changed file that merge changes too", &|dir| write(dir, "a.txt", "mine\n"))),
        ("Dirty", ("a staged file", &add_staged)),
        ("Dirty", ("a deleted file", &|dir| fs::remove_file(dir.join("same.txt")).unwrap())),
        (
            "Dirty",
            ("a mode", &|dir| {
                use std::os::unix::fs::PermissionsExt;
                fs::set_permissions(dir.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
            }),
        ),
        ("InTheWay", ("an untracked file of that name", &|dir| write(dir, "new/b.txt", "mine\n"))),
        ("InTheWay", ("an untracked file in a directory's place", &|dir| write(dir, "new", "mine\n"))),
        ("LockHeld", ("a lock", &|dir| write(dir, ".git/index.lock", ""))),
        ("Busy", ("a rebase", &|dir| write(dir, ".git/rebase-merge/head-name", "refs/heads/main\n"))),
        ("Busy", ("a merge", &|dir| write(dir, ".git/MERGE_HEAD", &"1".repeat(40)))),
        (
            "Moved",
            ("a commit", &|dir| {
                git_in(dir, &["commit", "-q", "--allow-empty", "-m", "moved"]);
            }),
        ),
    ];
    for (expected, (what, change)) in cases {
        let (world, base, tip) = landed();
        change(&world.user_dir);
        let before = fingerprint(&world.user_dir);
        assert_eq!(kind(world.own_repo().prepare_merge(&world.user(), MAIN, base, tip)), *expected, "{what}");
        assert_eq!(fingerprint(&world.user_dir), before, "{what}");
    }
}

#[test]
fn what_is_not_in_the_way_stays() {
    let (world, base, tip) = landed();
    write(&world.user_dir, "untracked.txt", "u\n");
    write(&world.user_dir, "x.log", "log\n");
    // Touched but not changed: git's index no longer matches the file's time.
    let file = fs::File::options().write(true).open(world.user_dir.join("a.txt")).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000)).unwrap();
    merge(&world.own_repo(), &world.user(), MAIN, base, tip);
    assert_eq!(world.git(&["status", "--porcelain"]), "?? untracked.txt");
    assert_eq!(read(&world.user_dir, "x.log"), "log\n");
    assert_eq!(read(&world.user_dir, "a.txt"), "A\n");
    assert_eq!(world.git(&["reflog", "-1", "--format=%gs", "main"]), "kapell: merge");
}

fn merge(repo: &OwnRepo, user: &UserRepo, target: &str, old: Oid, new: Oid) {
    repo.prepare_merge(user, target, old, new).unwrap();
    assert_eq!(repo.move_target(user, target, old, new, "kapell: merge").unwrap(), Step::Done);
    repo.finish_checkout(user, target, old, new).unwrap();
}

#[test]
fn a_moved_target_is_joined_first() {
    let (world, base, tip) = landed();
    let (repo, user) = (world.own_repo(), world.user());
    let theirs = world.commit(&[("their.txt", "t\n")], "theirs");
    assert_eq!(kind(repo.move_target(&user, MAIN, base, tip, "x")), "Moved");
    assert_eq!(kind(repo.finish_checkout(&user, MAIN, base, tip)), "Moved");
    let chain = repo.chain(theirs, &[Entry { commit: tip, message: "join".into() }], &by()).unwrap();
    merge(&repo, &user, MAIN, theirs, chain.prefixes[0]);
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    assert_eq!(read(&world.user_dir, "their.txt"), "t\n");
    assert_eq!(read(&world.user_dir, "a.txt"), "A\n");
    // And taken back, unless somebody has built on it.
    let merged = chain.prefixes[0];
    world.commit(&[("more.txt", "m\n")], "more");
    assert_eq!(kind(repo.prepare_merge(&user, MAIN, merged, theirs)), "Moved");
}

#[test]
fn other_worktrees_are_looked_after_and_left_alone() {
    let (world, base, tip) = landed();
    world.git(&["checkout", "-q", "-b", "elsewhere"]);
    world.git(&["worktree", "add", "-q", "../wt", "main"]);
    world.git(&["worktree", "add", "-q", "--detach", "../detached", "main"]);
    let (wt, detached) = (world.path("wt"), world.path("detached"));
    let (repo, user) = (world.own_repo(), world.user());
    write(&wt, "a.txt", "mine\n");
    assert_eq!(kind(repo.prepare_merge(&user, MAIN, base, tip)), "Dirty");
    write(&wt, "a.txt", "a\n");
    write(&world.user_dir, "a.txt", "work in progress\n");
    let worktrees = repo.prepare_merge(&user, MAIN, base, tip).unwrap();
    assert_eq!(worktrees, std::slice::from_ref(&wt));
    // The same seen from the worktree itself.
    assert_eq!(repo.prepare_merge(&UserRepo::discover(&wt).unwrap(), MAIN, base, tip).unwrap(), worktrees);
    repo.move_target(&user, MAIN, base, tip, "kapell: merge").unwrap();
    repo.finish_checkout(&user, MAIN, base, tip).unwrap();
    assert_eq!(git_in(&wt, &["status", "--porcelain"]), "");
    assert_eq!(read(&wt, "a.txt"), "A\n");
    assert_eq!(read(&world.user_dir, "a.txt"), "work in progress\n");
    assert_eq!(read(&detached, "a.txt"), "a\n");
    // A worktree whose directory is gone does not matter.
    fs::remove_dir_all(&wt).unwrap();
    repo.prepare_merge(&user, MAIN, tip, base).unwrap();
    // A rebase holds the branch although HEAD is detached.
    write(&world.user_dir, ".git/worktrees/detached/rebase-merge/head-name", "refs/heads/main\n");
    assert_eq!(kind(repo.prepare_merge(&user, MAIN, tip, base)), "Busy");
}

/// Every way in which a crash can leave the checkout after the ref has moved.
#[test]
fn a_half_updated_checkout_is_finished() {
    let cases: &[Case<'_>] = &[
        ("nothing done yet", &|_| {}),
        ("one file written", &|dir| write(dir, "a.txt", "A\n")),
        ("one file added", &|dir| write(dir, "new/b.txt", "b\n")),
        ("one file deleted", &|dir| fs::remove_file(dir.join("gone.txt")).unwrap()),
        ("a file taken away but not yet written", &|dir| fs::remove_file(dir.join("a.txt")).unwrap()),
        ("all files done, index not", &|dir| {
            write(dir, "a.txt", "A\n");
            write(dir, "new/b.txt", "b\n");
            fs::remove_file(dir.join("gone.txt")).unwrap();
        }),
        ("our lock left behind by a process that is gone", &|dir| {
            // The largest number that a process can have is 2^22.
            write(dir, ".git/index.lock", "kapell 2147483647\n");
            write(dir, "a.txt", "A\n");
        }),
        ("a draft of the index left behind", &|dir| write(dir, ".git/index.kapell", "half")),
    ];
    for (what, crash) in cases {
        let (world, base, tip) = landed();
        let (repo, user) = (world.own_repo(), world.user());
        repo.prepare_merge(&user, MAIN, base, tip).unwrap();
        repo.move_target(&user, MAIN, base, tip, "kapell: merge").unwrap();
        crash(&world.user_dir);
        assert_eq!(repo.move_target(&user, MAIN, base, tip, "x").unwrap(), Step::Already, "{what}");
        let done =
            repo.finish_checkout(&user, MAIN, base, tip).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert_eq!(done[0].step, Step::Done, "{what}");
        assert_eq!(world.git(&["status", "--porcelain"]), "", "{what}");
        assert!(!world.user_dir.join(".git/index.lock").exists(), "{what}");
        assert!(!world.user_dir.join(".git/index.kapell").exists(), "{what}");
        let again = repo.finish_checkout(&user, MAIN, base, tip).unwrap();
        assert_eq!(again[0].step, Step::Already, "{what}");
    }
}

#[test]
fn what_a_person_wrote_in_between_is_not_overwritten() {
    let cases: &[Case<'_>] = &[
        ("a file that merge changes", &|dir| write(dir, "a.txt", "mine\n")),
        ("a file that merge adds", &|dir| {
            write(dir, "a.txt", "A\n");
            write(dir, "new/b.txt", "mine\n");
        }),
        ("a file that merge deletes", &|dir| write(dir, "gone.txt", "mine\n")),
        ("a file where merge needs a directory", &|dir| write(dir, "new", "mine\n")),
        ("a directory where merge needs a file", &|dir| write(dir, "new/b.txt/mine", "mine\n")),
        ("a file taken away that merge leaves alone", &|dir| fs::remove_file(dir.join("same.txt")).unwrap()),
        ("a file that merge leaves alone", &|dir| write(dir, "same.txt", "mine\n")),
        ("a staged file", &|dir| {
            write(dir, "same.txt", "mine\n");
            git_in(dir, &["add", "same.txt"]);
        }),
    ];
    for (what, change) in cases {
        let (world, base, tip) = landed();
        let (repo, user) = (world.own_repo(), world.user());
        repo.prepare_merge(&user, MAIN, base, tip).unwrap();
        repo.move_target(&user, MAIN, base, tip, "kapell: merge").unwrap();
        change(&world.user_dir);
        let before = fingerprint(&world.user_dir);
        assert_eq!(kind(repo.finish_checkout(&user, MAIN, base, tip)), "InTheWay", "{what}");
        assert_eq!(fingerprint(&world.user_dir), before, "{what}");
    }
}

#[test]
fn a_bare_repository_gets_the_ref_alone() {
    let world = World::new(FILES);
    git_in(&world.path("."), &["clone", "-q", "--bare", "user", "bare.git"]);
    let bare = World { user_dir: world.path("bare.git"), temp: world.temp };
    let user = bare.user();
    assert_eq!(user.top(), None);
    let base = user.head_commit().unwrap();
    let repo = bare.own_repo();
    repo.begin_run(&user, RUN, base).unwrap();
    let tip = land(&bare, base, 1, &[("a.txt", "A\n")]);
    let worktrees = repo.prepare_merge(&user, MAIN, base, tip).unwrap();
    assert!(worktrees.is_empty());
    repo.move_target(&user, MAIN, base, tip, "kapell: merge").unwrap();
    assert!(repo.finish_checkout(&user, MAIN, base, tip).unwrap().is_empty());
    assert_eq!(bare.git(&["show", "main:a.txt"]), "A");
}

#[test]
fn many_objects_come_over_as_one_pack() {
    let world = World::new(FILES);
    let base = world.oid("HEAD");
    let files: Vec<_> = (0..300).map(|n| (format!("many/{n}.txt"), format!("{n}\n"))).collect();
    let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let tip = land(&world, base, 1, &files);
    merge(&world.own_repo(), &world.user(), MAIN, base, tip);
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    assert_eq!(fs::read_dir(world.user_dir.join(".git/objects/pack")).unwrap().count(), 3);
    // Kapell's own repository is no longer needed.
    fs::remove_dir_all(world.user_dir.join(".git/kapell")).unwrap();
    assert_eq!(world.git(&["fsck", "--strict"]), "");
}

#[test]
fn an_index_in_every_shape_is_updated() {
    for options in [
        &["update-index", "--split-index"][..],
        &["update-index", "--untracked-cache"],
        &["update-index", "--index-version", "4"],
        &["config", "core.autocrlf", "input"],
    ] {
        let (world, base, tip) = landed();
        world.git(options);
        world.git(&["status"]);
        merge(&world.own_repo(), &world.user(), MAIN, base, tip);
        assert_eq!(world.git(&["status", "--porcelain"]), "", "{options:?}");
        assert_eq!(world.git(&["fsck"]), "");
    }
}

#[test]
fn lines_end_as_the_persons_settings_have_it() {
    let (world, base, tip) = landed();
    world.git(&["config", "core.autocrlf", "true"]);
    merge(&world.own_repo(), &world.user(), MAIN, base, tip);
    assert_eq!(read(&world.user_dir, "new/b.txt"), "b\r\n");
    assert_eq!(world.git(&["status", "--porcelain"]), "");
}
