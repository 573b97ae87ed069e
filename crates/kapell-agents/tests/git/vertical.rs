//! One task after the other, from the user's repository and back into it.

use kapell_agents::{
    git::{Entry, Step, head_ref},
    workspace::Kind,
};

use crate::support::*;

#[test]
fn two_tasks_are_captured_joined_landed_merged_and_taken_back() {
    let world = World::new(&[("a.txt", "1\n2\n3\n"), ("b.txt", "b\n"), (".gitignore", "target\n")]);
    let (user, repo, pool) = (world.user(), world.own_repo(), world.pool());
    let base = user.head_commit().unwrap();
    assert_eq!(repo.begin_run(&user, RUN, base).unwrap(), Step::Done);
    assert_eq!(repo.begin_run(&user, RUN, base).unwrap(), Step::Already);

    let first = pool.acquire(&request(Kind::Clone, base, 1)).unwrap();
    let second = pool.acquire(&request(Kind::Clone, base, 2)).unwrap();
    assert_ne!(first.tree(), second.tree());
    assert_eq!(git_in(&first.tree(), &["status", "--porcelain"]), "");
    assert_eq!(git_in(&first.tree(), &["log", "--format=%s %an"]), "first Ada");

    write(&first.tree(), "a.txt", "one\n2\n3\n");
    write(&first.tree(), "target/out", "built\n");
    write(&second.tree(), "new/c.txt", "c\n");
    git_in(&second.tree(), &["rm", "-q", "b.txt"]);
    git_in(&second.tree(), &["commit", "-q", "-m", "own"]);

    let one = capture(&first);
    assert_eq!(told(&one), ["M a.txt +1 -1"]);
    assert_eq!(one.agent_commits_kept, 0);
    assert_eq!(capture(&first), one, "a repeated capture gives the same commit");
    let two = capture(&second);
    assert_eq!(told(&two), ["D b.txt +0 -1", "A new/c.txt +1 -0"]);
    assert_eq!(two.agent_commits_kept, 1);

    let entry = |captured: &kapell_agents::workspace::Captured, name: &str| Entry {
        commit: captured.commit.unwrap(),
        message: format!("land {name}"),
    };
    let entries = [entry(&one, "one"), entry(&two, "two")];
    let chain = repo.chain(base, &entries, &by()).unwrap();
    assert_eq!(chain.conflict, None);
    assert_eq!(chain.prefixes[0], one.commit.unwrap(), "the first is a fast-forward");
    assert_eq!(repo.chain(base, &entries, &by()).unwrap(), chain, "the same again");
    let tip = chain.prefixes[1];
    assert_eq!(repo.advance(RUN, base, tip).unwrap(), Step::Done);
    assert_eq!(repo.advance(RUN, base, tip).unwrap(), Step::Already);
    assert!(repo.advance(RUN, base, chain.prefixes[0]).is_err());
    assert_eq!(world.own_git(&["rev-parse", &head_ref(RUN)]), tip.to_string());
    assert!(repo.is_ancestor(two.commit.unwrap(), tip).unwrap());
    assert!(!repo.is_ancestor(tip, two.commit.unwrap()).unwrap());

    let worktrees = repo.prepare_merge(&user, MAIN, base, tip).unwrap();
    assert_eq!(worktrees, std::slice::from_ref(&world.user_dir));
    assert_eq!(world.oid("main"), base);
    assert_eq!(repo.move_target(&user, MAIN, base, tip, "kapell: merge").unwrap(), Step::Done);
    assert_eq!(repo.finish_checkout(&user, MAIN, base, tip).unwrap()[0].step, Step::Done);
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    assert_eq!(world.oid("main"), tip);
    assert_eq!(read(&world.user_dir, "a.txt"), "one\n2\n3\n");
    assert_eq!(read(&world.user_dir, "new/c.txt"), "c\n");
    assert!(!world.user_dir.join("b.txt").exists());
    assert_eq!(world.git(&["fsck", "--strict"]), "");
    assert_eq!(repo.finish_checkout(&user, MAIN, base, tip).unwrap()[0].step, Step::Already);

    repo.prepare_merge(&user, MAIN, tip, base).unwrap();
    repo.move_target(&user, MAIN, tip, base, "kapell: undo merge").unwrap();
    repo.finish_checkout(&user, MAIN, tip, base).unwrap();
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    assert_eq!(read(&world.user_dir, "a.txt"), "1\n2\n3\n");
    assert_eq!(read(&world.user_dir, "b.txt"), "b\n");
    assert!(!world.user_dir.join("new").exists());

    // Back in the pool, and out again for another base with what was ignored still there.
    let tree = first.tree();
    pool.release(first).unwrap();
    let third = pool.acquire(&request(Kind::Clone, tip, 3)).unwrap();
    assert_eq!(third.tree(), tree);
    assert_eq!(read(&tree, "target/out"), "built\n");
    assert_eq!(read(&tree, "new/c.txt"), "c\n");
    assert_eq!(git_in(&tree, &["status", "--porcelain"]), "");
    assert_eq!(capture(&third).commit, None);

    repo.end_run(&user, RUN).unwrap();
    assert_eq!(world.git(&["for-each-ref", "refs/kapell"]), "");
    assert_eq!(repo.run_head(RUN).unwrap(), None);
}
