//! What an agent can leave in its workspace.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
    },
};

use kapell_agents::{git::ErrorKind, workspace::Kind};

use crate::support::*;

/// What it is called, how many commits are kept, why others are not, and what the agent does.
type Case<'a> = (&'a str, usize, Option<&'a str>, &'a [&'a [&'a str]]);

#[test]
fn names_that_nobody_would_choose_come_through() {
    let world = World::new(&[("a.txt", "a\n")]);
    let pool = world.pool();
    let workspace = pool.acquire(&request(Kind::Clone, world.oid("HEAD"), 1)).unwrap();
    let tree = workspace.tree();
    let names: &[&[u8]] = &[
        b"-rf",
        b"--exec=touch x",
        b"new\nline",
        b"tab\tand \"quotes\"",
        b"\x1b[2J\x07",
        b"inv\xff\xfealid",
        b" leading and trailing ",
        b":(glob)*",
        b"$(touch x)`id`",
        b"back\\slash",
        "\u{202e}txt.exe".as_bytes(),
        b"*",
    ];
    for name in names {
        fs::write(tree.join(OsStr::from_bytes(name)), "x\n").unwrap();
    }
    let captured = capture(&workspace);
    let mut found: Vec<_> = captured.files.iter().map(|change| change.path.as_slice()).collect();
    let mut expected = names.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    let lines = told(&captured).join("|");
    assert!(!lines.chars().any(char::is_control) && !lines.contains('\u{202e}'), "{lines}");
    // And back out again.
    pool.release(workspace).unwrap();
    let mut next = request(Kind::Check, captured.commit.unwrap(), 2);
    next.owner = None;
    let check = pool.acquire(&next).unwrap();
    for name in names {
        assert_eq!(fs::read(check.tree().join(OsStr::from_bytes(name))).unwrap(), b"x\n");
    }
}

#[test]
fn files_directories_and_links_take_each_others_places() {
    let world = World::new(&[
        ("file", "f\n"),
        ("dir/a", "a\n"),
        ("dir/b", "b\n"),
        ("linked/x", "x\n"),
        ("other/x", "x\n"),
        ("run.sh", "#!/bin/sh\n"),
    ]);
    let workspace = world.pool().acquire(&request(Kind::Clone, world.oid("HEAD"), 1)).unwrap();
    let tree = workspace.tree();
    fs::remove_file(tree.join("file")).unwrap();
    write(&tree, "file/inside", "i\n");
    fs::remove_dir_all(tree.join("dir")).unwrap();
    write(&tree, "dir", "now a file\n");
    fs::remove_dir_all(tree.join("linked")).unwrap();
    symlink("other", tree.join("linked")).unwrap();
    symlink("/etc/passwd", tree.join("out")).unwrap();
    fs::set_permissions(tree.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        tree.join("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    let captured = capture(&workspace);
    assert_eq!(
        told(&captured),
        [
            "A dir +1 -0",
            "D dir/a +0 -1",
            "D dir/b +0 -1",
            "D file +0 -1",
            "A file/inside +1 -0",
            "A linked +1 -0",
            "D linked/x +0 -1",
            "A out +1 -0",
            "M run.sh +0 -0",
        ]
    );
    let commit = captured.commit.unwrap().to_string();
    assert_eq!(world.own_git(&["show", &format!("{commit}:out")]), "/etc/passwd");
}

#[test]
fn tracked_files_behind_an_ignored_link_are_deleted() {
    let world = World::new(&[("d/f", "x\n"), ("e/f", "x\n"), (".gitignore", "/d\n")]);
    world.git(&["add", "-f", "d/f"]);
    world.git(&["commit", "-q", "-m", "forced"]);
    let workspace = world.pool().acquire(&request(Kind::Clone, world.oid("HEAD"), 1)).unwrap();
    let tree = workspace.tree();
    fs::remove_dir_all(tree.join("d")).unwrap();
    symlink("e", tree.join("d")).unwrap();
    fs::write(tree.join("e/f"), "changed\n").unwrap();
    assert_eq!(told(&capture(&workspace)), ["D d/f +0 -1", "M e/f +1 -1"]);
}

#[test]
fn ignored_files_stay_out_unless_the_agent_committed_them() {
    let world = World::new(&[("a.txt", "a\n"), (".gitignore", "*.log\n")]);
    fs::write(world.user_dir.join(".git/info/exclude"), "private\n").unwrap();
    let workspace = world.pool().acquire(&request(Kind::Clone, world.oid("HEAD"), 1)).unwrap();
    let tree = workspace.tree();
    write(&tree, "x.log", "log\n");
    write(&tree, "private", "p\n");
    write(&tree, "forced.log", "f\n");
    assert_eq!(capture(&workspace).commit, None);
    git_in(&tree, &["add", "-f", "forced.log"]);
    git_in(&tree, &["commit", "-q", "-m", "forced"]);
    let captured = capture(&workspace);
    assert_eq!(told(&captured), ["A forced.log +1 -0"]);
    assert_eq!(captured.agent_commits_kept, 1);
    assert_eq!(captured.commit.unwrap().to_string(), git_in(&tree, &["rev-parse", "HEAD"]));
}

#[test]
fn commits_are_kept_only_if_they_descend_from_the_base() {
    let world = World::new(&[("a.txt", "a\n")]);
    world.commit(&[("a.txt", "b\n")], "second");
    let base = world.oid("HEAD");
    let pool = world.pool();
    let cases: &[Case<'_>] = &[
        ("two commits", 2, None, &[&["commit", "-q", "--allow-empty", "-m", "1"], &["commit", "-qam", "2"]]),
        ("detached", 1, None, &[&["checkout", "-q", "--detach"], &["commit", "-qam", "1"]]),
        ("other branch", 1, None, &[&["checkout", "-q", "-b", "x/y"], &["commit", "-qam", "1"]]),
        ("packed", 1, None, &[&["commit", "-qam", "1"], &["pack-refs", "--all"], &["gc", "-q"]]),
        (
            "amended base",
            0,
            Some("they do not descend from the base"),
            &[&["commit", "-qa", "--amend", "-m", "rewritten"]],
        ),
        ("older", 0, Some("they do not descend from the base"), &[&["reset", "-q", "--soft", "HEAD~1"]]),
        (
            "orphan",
            0,
            Some("they do not descend from the base"),
            &[&["checkout", "-q", "--orphan", "x"], &["commit", "-qam", "1"]],
        ),
    ];
    for (what, kept, dropped, commands) in cases {
        let workspace = pool.acquire(&request(Kind::Clone, base, 1)).unwrap();
        write(&workspace.tree(), "a.txt", &format!("{what}\n"));
        for command in *commands {
            git_in(&workspace.tree(), command);
        }
        let captured = capture(&workspace);
        assert_eq!(captured.agent_commits_kept, *kept, "{what}");
        assert_eq!(captured.agent_commits_dropped.as_deref(), *dropped, "{what}");
        assert_eq!(told(&captured), ["M a.txt +1 -1"], "{what}");
        let commit = captured.commit.unwrap();
        assert!(world.own_repo().is_ancestor(base, commit).unwrap(), "{what}");
        assert_eq!(world.own_git(&["fsck", "--strict", "--no-dangling"]), "", "{what}");
        pool.release(workspace).unwrap();
    }
}

#[test]
fn what_was_not_committed_becomes_one_commit_with_trailers() {
    let world = World::new(&[("a.txt", "a\n")]);
    let workspace = world.pool().acquire(&request(Kind::Clone, world.oid("HEAD"), 1)).unwrap();
    write(&workspace.tree(), "a.txt", "b\n");
    let commit = capture(&workspace).commit.unwrap().to_string();
    let text = world.own_git(&["cat-file", "commit", &commit]);
    let (_, rest) = text.split_once("author ").unwrap();
    assert_eq!(
        rest,
        format!(
            "Ada <ada@example.org> 1700000500 +0100\ncommitter Ada <ada@example.org> 1700000500 +0100\n\n\
             task\n\nKapell-Run: {RUN}\nKapell-Task: task\nKapell-Attempt: 1"
        )
    );
}

#[test]
fn what_is_too_large_or_of_no_use_is_named() {
    let world = World::new(&[("a.txt", "a\n")]);
    let pool = world.pool();
    let base = world.oid("HEAD");
    let workspace = pool.acquire(&request(Kind::Clone, base, 1)).unwrap();
    let file = fs::File::create(workspace.tree().join("huge\n")).unwrap();
    // Sparse: a gigabyte that takes no room, and must not be read.
    file.set_len(1 << 30).unwrap();
    let error = workspace.capture(&options()).unwrap_err();
    match *error.kind {
        ErrorKind::TooLarge { paths, limit } => assert_eq!((paths, limit), (vec!["huge\\n".into()], 1 << 20)),
        other => panic!("{other:?}"),
    }
    fs::remove_file(workspace.tree().join("huge\n")).unwrap();
    write(&workspace.tree(), "own.bin", &"x".repeat(2 << 20));
    git_in(&workspace.tree(), &["add", "own.bin"]);
    git_in(&workspace.tree(), &["commit", "-q", "-m", "large"]);
    assert_eq!(kind(workspace.capture(&options())), "TooLarge", "committed by the agent");
    git_in(&workspace.tree(), &["reset", "-q", "--hard", "HEAD~1"]);
    write(&workspace.tree(), "dir/git~1", "x\n");
    assert_eq!(kind(workspace.capture(&options())), "BadPath");
    pool.release(workspace).unwrap();

    let workspace = pool.acquire(&request(Kind::Clone, base, 2)).unwrap();
    fs::remove_dir_all(workspace.tree()).unwrap();
    assert_eq!(kind(workspace.capture(&options())), "WorkspaceGone");
    fs::create_dir(workspace.tree()).unwrap();
    assert_eq!(kind(workspace.capture(&options())), "WorkspaceGone", "another directory of that name");
    pool.release(workspace).unwrap();
    pool.acquire(&request(Kind::Clone, base, 3)).unwrap();
}

#[test]
fn inner_repositories_are_told_and_never_become_links() {
    let world = World::new(&[("a.txt", "a\n")]);
    let workspace = world.pool().acquire(&request(Kind::Clone, world.oid("HEAD"), 1)).unwrap();
    let tree = workspace.tree();
    for (name, with_commit) in [("empty", false), ("deep/full", true)] {
        let inner = tree.join(name);
        fs::create_dir_all(&inner).unwrap();
        git_in(&inner, &["init", "-q"]);
        write(&inner, "file", "x\n");
        if with_commit {
            git_in(&inner, &["add", "."]);
            git_in(&inner, &["-c", "user.name=x", "-c", "user.email=x", "commit", "-qm", "x"]);
        }
    }
    write(&tree, "deep/own", "o\n");
    let captured = capture(&workspace);
    assert_eq!(told(&captured), ["A deep/own +1 -0"]);
    assert_eq!(captured.nested, [b"deep/full".to_vec(), b"empty".to_vec()]);
}

#[test]
fn attributes_hold_for_lines_and_encodings_and_name_no_program() {
    let world = World::new(&[
        (
            ".gitattributes",
            "*.txt text eol=crlf\n*.u16 working-tree-encoding=UTF-16LE eol=lf text\n*.x filter=none\n",
        ),
        ("a.txt", "one\n"),
    ]);
    let pool = world.pool();
    let workspace = pool.acquire(&request(Kind::Clone, world.oid("HEAD"), 1)).unwrap();
    let tree = workspace.tree();
    assert_eq!(read(&tree, "a.txt"), "one\r\n");
    write(&tree, "a.txt", "one\r\ntwo\r\n");
    fs::write(tree.join("b.u16"), b"h\0i\0\n\0").unwrap();
    write(&tree, ".gitattributes", &(read(&tree, ".gitattributes") + "*.y diff=word\n"));
    let captured = capture(&workspace);
    let commit = captured.commit.unwrap().to_string();
    assert_eq!(world.own_git(&["show", &format!("{commit}:a.txt")]), "one\ntwo");
    assert_eq!(world.own_git(&["show", &format!("{commit}:b.u16")]), "hi");
    assert_eq!(captured.ignored_attributes, [".gitattributes: filter=none", ".gitattributes: diff=word"]);
}

#[test]
fn a_fifo_where_git_looks_for_rules_does_not_stop_it() {
    let world = World::new(&[("a.txt", "a\n")]);
    let workspace = world.pool().acquire(&request(Kind::Clone, world.oid("HEAD"), 1)).unwrap();
    let tree = workspace.tree();
    fs::create_dir(tree.join("sub")).unwrap();
    for name in [".gitignore", "sub/.gitattributes", "sub/.gitignore"] {
        let mode = rustix::fs::Mode::RWXU;
        rustix::fs::mknodat(rustix::fs::CWD, tree.join(name), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    }
    write(&tree, "sub/b.txt", "b\n");
    assert_eq!(told(&capture(&workspace)), ["A sub/b.txt +1 -0"]);
}

#[test]
fn a_read_only_workspace_gives_nothing_and_reports_changes() {
    let world = World::new(&[("a.txt", "a\n"), ("d/b.txt", "b\n"), (".gitignore", "*.log\n")]);
    let base = world.oid("HEAD");
    let pool = world.pool();
    let workspace = pool.acquire(&request(Kind::ReadOnly, base, 1)).unwrap();
    let mode = |name: &str| fs::metadata(workspace.tree().join(name)).unwrap().permissions().mode() & 0o222;
    assert_eq!((mode("a.txt"), mode("d"), mode("."), mode(".git")), (0, 0, 0, 0));
    assert_eq!(capture(&workspace).commit, None);
    let tree = workspace.tree();
    let open_up =
        |name: &str, mode| fs::set_permissions(tree.join(name), fs::Permissions::from_mode(mode)).unwrap();
    open_up("a.txt", 0o644);
    fs::write(tree.join("a.txt"), "changed\n").unwrap();
    match *workspace.capture(&options()).unwrap_err().kind {
        ErrorKind::ReadOnlyChanged { paths } => assert_eq!(paths, ["a.txt"]),
        other => panic!("{other:?}"),
    }
    pool.release(workspace).unwrap();
    let again = pool.acquire(&request(Kind::ReadOnly, base, 2)).unwrap();
    assert_eq!(again.tree(), tree);
    assert_eq!(read(&tree, "a.txt"), "a\n");
    assert_eq!(capture(&again).commit, None);
}

#[test]
fn a_workspace_that_was_shut_is_opened_again() {
    let world = World::new(&[("a.txt", "a\n"), ("d/b.txt", "b\n")]);
    let workspace = world.pool().acquire(&request(Kind::Clone, world.oid("HEAD"), 1)).unwrap();
    let tree = workspace.tree();
    write(&tree, "d/new.txt", "n\n");
    for name in ["d/new.txt", "d", ""] {
        fs::set_permissions(tree.join(name), fs::Permissions::from_mode(0o000)).unwrap();
    }
    let captured = capture(&workspace);
    assert_eq!(told(&captured), ["A d/new.txt +1 -0"]);
    let patch = world.own_repo().patch(captured.base, captured.commit.unwrap()).unwrap();
    assert!(String::from_utf8(patch).unwrap().contains("+++ b/d/new.txt\n@@ -0,0 +1 @@\n+n\n"));
}
