//! Workspaces between uses: reset, found again, carried into, salvaged, deleted.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use kapell_agents::{
    git::salvage_ref,
    workspace::{Kind, Pool, Salvaged, carry},
};

use kapell_core::id::AttemptNo;

use crate::support::*;

/// What is done to a directory, and how it is called.
type Case<'a> = (&'a str, &'a dyn Fn(&Path));

#[test]
fn a_reset_touches_only_what_differs() {
    let world = World::new(&[("a.txt", "a\n"), ("b.txt", "b\n"), (".gitignore", "target/\n")]);
    let first = world.oid("HEAD");
    let second = world.commit(&[("b.txt", "B\n")], "second");
    let pool = world.pool();
    let mut workspace = pool.acquire(&request(Kind::Check, first, 1)).unwrap();
    let tree = workspace.tree();
    workspace.mark_prepared().unwrap();
    write(&tree, "target/out", "built\n");
    write(&tree, "junk/x.txt", "x\n");
    write(&tree, "a.txt", "broken\n");
    fs::create_dir_all(tree.join("inner")).unwrap();
    git_in(&tree.join("inner"), &["init", "-q"]);
    fs::remove_file(tree.join("b.txt")).unwrap();
    pool.release(workspace).unwrap();
    let workspace = pool.acquire(&request(Kind::Check, first, 2)).unwrap();
    assert_eq!(git_in(&tree, &["status", "--porcelain", "--ignored"]), "!! target/");
    assert!(workspace.is_prepared());
    let time = |name: &str| fs::metadata(tree.join(name)).unwrap().modified().unwrap();
    let (a, b) = (time("a.txt"), time("b.txt"));
    pool.release(workspace).unwrap();
    let workspace = pool.acquire(&request(Kind::Check, second, 3)).unwrap();
    assert_eq!(workspace.tree(), tree);
    assert_eq!(time("a.txt"), a, "what is the same is not written again");
    assert_ne!(time("b.txt"), b);
    assert_eq!(read(&tree, "target/out"), "built\n");
    pool.release(workspace).unwrap();
    let mut fresh = request(Kind::Check, second, 4);
    fresh.fresh = true;
    let workspace = pool.acquire(&fresh).unwrap();
    assert!(!workspace.is_prepared() && !tree.join("target").exists());
}

#[test]
fn workspaces_are_shared_only_where_that_is_right() {
    let world = World::new(&[("a.txt", "a\n"), (".gitignore", "out\n")]);
    let base = world.oid("HEAD");
    let pool = Pool::open(world.own_repo(), &world.path("pool"), 2).unwrap();
    let one = pool.acquire(&request(Kind::Clone, base, 1)).unwrap();
    let two = pool.acquire(&request(Kind::Clone, base, 2)).unwrap();
    assert_eq!(kind(pool.acquire(&request(Kind::Clone, base, 3))), "PoolFull");
    let tree = one.tree();
    write(&tree, "out", "secret of one profile\n");
    pool.release(one).unwrap();
    let mut other = request(Kind::Clone, base, 3);
    other.profile = "other".into();
    let three = pool.acquire(&other).unwrap();
    assert_eq!(three.tree(), tree, "the room is used again");
    assert!(!tree.join("out").exists(), "what another profile built is not");
    pool.discard(three).unwrap();
    assert!(!tree.exists());
    drop(two);
    assert_eq!(pool.trim(0).unwrap(), 0, "what is held for an attempt is not trimmed");
}

#[test]
fn the_next_attempt_of_a_task_gets_the_workspace_of_the_last_one() {
    let world = World::new(&[("a.txt", "a\n")]);
    let base = world.oid("HEAD");
    let pool = world.pool();
    let held = [1, 2].map(|task| pool.acquire(&request(Kind::Clone, base, task)).unwrap());
    let trees = held.each_ref().map(|workspace| workspace.tree());
    held.into_iter().for_each(|workspace| pool.release(workspace).unwrap());
    let mut second = request(Kind::Clone, base, 2);
    second.owner.as_mut().unwrap().attempt = AttemptNo(2);
    assert_eq!(pool.acquire(&second).unwrap().tree(), trees[1]);
}

#[test]
fn a_disk_that_is_nearly_full_gets_no_more_workspaces() {
    let world = World::new(&[("a.txt", "a\n")]);
    let base = world.oid("HEAD");
    let pool = world.pool();
    let held = pool.acquire(&request(Kind::Clone, base, 1)).unwrap();
    let free = pool.acquire(&request(Kind::Clone, base, 2)).unwrap();
    let (kept, gone) = (held.tree(), free.tree());
    pool.release(free).unwrap();
    let full = pool.clone().leaving_free(u64::MAX);
    // One that is there and free is used; another one is not made.
    let again = full.acquire(&request(Kind::Clone, base, 3)).unwrap();
    assert_eq!(again.tree(), gone);
    pool.release(again).unwrap();
    assert_eq!(kind(full.acquire(&request(Kind::Check, base, 4))), "LowSpace");
    assert!(!gone.exists() && kept.exists(), "only what nobody uses gives way");
}

#[test]
fn workspaces_that_nobody_uses_give_way_to_a_quota() {
    let world = World::new(&[("a.txt", "a\n")]);
    let base = world.oid("HEAD");
    let pool = world.pool();
    let [one, two, held] = [1, 2, 3].map(|task| pool.acquire(&request(Kind::Clone, base, task)).unwrap());
    let (first, second, third) = (one.tree(), two.tree(), held.tree());
    for tree in [&first, &second, &third] {
        write(tree, "big", &"x".repeat(200_000));
    }
    let quota = pool.clone().within(Some(350_000));
    quota.release(one).unwrap();
    assert!(first.exists(), "one alone is within it");
    quota.release(two).unwrap();
    assert!(!first.exists() && second.exists(), "the one used longest ago goes");
    let small = pool.clone().within(Some(1));
    small.release(held).unwrap();
    assert!(!second.exists() && !third.exists());
    // What an attempt holds stays, however large it is.
    let held = pool.acquire(&request(Kind::Clone, base, 4)).unwrap();
    let other = pool.acquire(&request(Kind::Check, base, 5)).unwrap();
    let (kept, gone) = (held.tree(), other.tree());
    small.release(other).unwrap();
    assert!(kept.exists() && !gone.exists());
}

#[test]
fn a_workspace_that_cannot_be_deleted_is_in_nobodys_way() {
    let world = World::new(&[("a.txt", "a\n")]);
    let base = world.oid("HEAD");
    let pool = world.pool();
    let [one, two] = [1, 2].map(|task| pool.acquire(&request(Kind::Clone, base, task)).unwrap());
    let (first, second) = (one.tree(), two.tree());
    // Its lock cannot be taken, whoever tries.
    fs::create_dir_all(world.path("pool/clone-0/lock")).unwrap();
    let small = pool.clone().within(Some(1));
    small.release(one).unwrap();
    assert!(!first.exists(), "the next one gives way in its place");
    pool.release(two).unwrap();
    let error = pool.trim(0).unwrap_err();
    assert!(!second.exists() && format!("{error:?}").contains("clone-0"), "{error:?}");
    assert_eq!(kind(pool.leaving_free(u64::MAX).acquire(&request(Kind::Clone, base, 3))), "LowSpace");
}

#[test]
fn a_workspace_is_found_again_after_a_crash() {
    let world = World::new(&[("a.txt", "a\n")]);
    let base = world.oid("HEAD");
    let pool = world.pool();
    let workspace = pool.acquire(&request(Kind::Clone, base, 7)).unwrap();
    write(&workspace.tree(), "a.txt", "b\n");
    assert!(pool.find(owner(7)).unwrap().is_none(), "it is in use");
    assert!(pool.abandoned(|_| true).unwrap().is_empty());
    // As a killed process leaves it: the lock is gone, and git's own lock may be there.
    drop(workspace);
    write(&world.path("pool"), "clone-1/index.lock", "");
    assert_eq!(pool.abandoned(|_| true).unwrap(), [owner(7)]);
    assert!(matches!(pool.usage().unwrap()[..], [(Some(held), size)] if held == owner(7) && size > 100));
    // One that is not wanted is not even locked.
    assert!(pool.abandoned(|_| false).unwrap().is_empty());
    let found = pool.find(owner(7)).unwrap().unwrap();
    assert_eq!(told(&capture(&found)), ["M a.txt +1 -1"]);
    assert!(pool.find(owner(8)).unwrap().is_none());
    pool.release(found).unwrap();
    assert!(pool.abandoned(|_| true).unwrap().is_empty());
}

#[test]
fn what_was_tampered_with_is_thrown_away() {
    let world = World::new(&[("a.txt", "a\n")]);
    let base = world.oid("HEAD");
    let pool = world.pool();
    let outside = world.path("outside");
    write(&outside, "precious.txt", "p\n");
    let cases: &[Case<'_>] = &[
        (".git is a link", &|tree| {
            fs::remove_dir_all(tree.join(".git")).unwrap();
            symlink(&outside, tree.join(".git")).unwrap();
        }),
        (".git is a file", &|tree| {
            fs::remove_dir_all(tree.join(".git")).unwrap();
            fs::write(tree.join(".git"), "gitdir: /\n").unwrap();
        }),
        ("the tree is a link", &|tree| {
            fs::rename(tree, tree.with_file_name("moved")).unwrap();
            symlink(&outside, tree).unwrap();
        }),
        ("the tree is gone", &|tree| fs::remove_dir_all(tree).unwrap()),
        ("the note is rubbish", &|tree| fs::write(tree.with_file_name("meta.json"), "{").unwrap()),
    ];
    for (what, tamper) in cases {
        let workspace = pool.acquire(&request(Kind::Clone, base, 1)).unwrap();
        let tree = workspace.tree();
        write(&tree, "junk", "j\n");
        pool.release(workspace).unwrap();
        tamper(&tree);
        let workspace = pool.acquire(&request(Kind::Clone, base, 2)).unwrap();
        assert_eq!(read(&workspace.tree(), "a.txt"), "a\n", "{what}");
        assert_eq!(git_in(&workspace.tree(), &["status", "--porcelain"]), "", "{what}");
        assert_eq!(read(&outside, "precious.txt"), "p\n", "{what}");
        pool.discard(workspace).unwrap();
    }
    assert_eq!(pool.trim(0).unwrap(), 1, "the one without a note");
}

#[test]
fn ignored_files_are_carried() {
    let world = World::new(&[("a.txt", "a\n"), (".gitignore", ".env\nnode_modules/\nlink\n")]);
    let dir = &world.user_dir;
    write(dir, ".env", "SECRET=1\n");
    write(dir, "node_modules/x/bin.js", "x\n");
    fs::set_permissions(dir.join("node_modules/x/bin.js"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(dir.join("node_modules/.bin")).unwrap();
    symlink("../x/bin.js", dir.join("node_modules/.bin/x")).unwrap();
    let base = world.oid("HEAD");
    let pool = world.pool();
    let workspace = pool.acquire(&request(Kind::Clone, base, 1)).unwrap();
    let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect::<Vec<_>>();
    let carried = carry(&workspace, dir, &paths(&[".env", "node_modules", "node_modules/none"])).unwrap();
    assert_eq!((carried.files, carried.bytes), (3, 11));
    assert_eq!(carried.missing, ["node_modules/none"]);
    let tree = workspace.tree();
    assert_eq!(read(&tree, "node_modules/.bin/x"), "x\n");
    let meta = |dir: &Path| fs::metadata(dir.join("node_modules/x/bin.js")).unwrap();
    assert_eq!(meta(&tree).modified().unwrap(), meta(dir).modified().unwrap());
    assert_eq!(meta(&tree).permissions().mode() & 0o777, 0o755);
    assert_eq!(capture(&workspace).commit, None, "nothing of it is submitted");
    write(&tree, ".env", "changed by an agent\n");
    let again = carry(&workspace, dir, &paths(&[".env", "node_modules"])).unwrap();
    assert_eq!(again.files, 1);
    assert_eq!(read(&tree, ".env"), "SECRET=1\n");

    for (path, expected) in [
        ("../x", "OutsideTree"),
        ("/etc/passwd", "OutsideTree"),
        (".git/config", "OutsideTree"),
        ("a.txt", "NotIgnored"),
    ] {
        assert_eq!(kind(carry(&workspace, dir, &paths(&[path]))), expected, "{path}");
    }
    write(dir, "plain.txt", "p\n");
    assert_eq!(kind(carry(&workspace, dir, &paths(&["plain.txt"]))), "NotIgnored");
    symlink("/etc", dir.join("link")).unwrap();
    assert_eq!(kind(carry(&workspace, dir, &paths(&["link"]))), "OutsideTree");
    assert_eq!(kind(carry(&workspace, dir, &paths(&["link/passwd"]))), "OutsideTree");
    // The agent put a link where the files should go: nothing is written through it.
    fs::remove_dir_all(tree.join("node_modules")).unwrap();
    let outside = world.path("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, tree.join("node_modules")).unwrap();
    carry(&workspace, dir, &paths(&["node_modules"])).unwrap();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert_eq!(read(&tree, "node_modules/x/bin.js"), "x\n");
}

#[test]
fn unfinished_work_is_kept_listed_and_collected() {
    let world = World::new(&[("a.txt", "a\n")]);
    let base = world.oid("HEAD");
    let (pool, repo) = (world.pool(), world.own_repo());
    let workspace = pool.acquire(&request(Kind::Clone, base, 1)).unwrap();
    let salvage = |workspace| pool.salvage(workspace, owner(1), &by(), 1 << 10).unwrap();
    assert_eq!(salvage(&workspace), Salvaged::Nothing);
    let tree = workspace.tree();
    git_in(&tree, &["commit", "-q", "--amend", "-m", "rewritten"]);
    let stray = git_in(&tree, &["rev-parse", "HEAD"]);
    write(&tree, "half.txt", "half\n");
    write(&tree, "huge.bin", &"x".repeat(2000));
    fs::create_dir_all(tree.join("inner")).unwrap();
    git_in(&tree.join("inner"), &["init", "-q"]);
    let Salvaged::Commit { commit, left_out } = salvage(&workspace) else { panic!() };
    assert_eq!(left_out, ["huge.bin", "inner"]);
    let again = salvage(&workspace);
    assert_eq!(again, Salvaged::Commit { commit, left_out });
    pool.discard(workspace).unwrap();
    let name = salvage_ref(RUN, owner(1).task, owner(1).attempt);
    assert_eq!(world.own_git(&["show", &format!("{name}:half.txt")]), "half");
    assert_eq!(world.own_git(&["rev-parse", &format!("{name}^2")]), stray);
    let kept = pool.salvaged(&repo).unwrap();
    assert_eq!((kept.len(), kept[0].at, kept[0].commit), (1, by().when.seconds, Some(commit)));
    assert!(kept[0].bytes > 100, "{kept:?}");
    assert!(pool.collect_salvaged(&repo, by().when.seconds).unwrap().is_empty());
    assert_eq!(pool.collect_salvaged(&repo, by().when.seconds + 1).unwrap(), kept);
    assert!(pool.salvaged(&repo).unwrap().is_empty());
}

#[test]
fn what_git_cannot_take_is_moved() {
    let world = World::new(&[("a.txt", "a\n")]);
    let pool = world.pool();
    let workspace = pool.acquire(&request(Kind::Clone, world.oid("HEAD"), 1)).unwrap();
    write(&workspace.tree(), "half.txt", "half\n");
    write(&world.path("pool"), "clone-1/index", "damaged");
    let Salvaged::Moved { to, .. } = pool.salvage(&workspace, owner(1), &by(), 1 << 10).unwrap() else {
        panic!()
    };
    assert_eq!(read(&to, "half.txt"), "half\n");
    pool.release(workspace).unwrap();
    let kept = pool.salvaged(&world.own_repo()).unwrap();
    assert_eq!((kept.len(), kept[0].commit), (1, None));
    pool.collect_salvaged(&world.own_repo(), i64::MAX).unwrap();
    assert!(!to.exists());
}
