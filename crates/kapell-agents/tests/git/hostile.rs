//! Repositories that want to run something. Every program they name leaves a file when it runs.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use kapell_agents::{
    git::{Entry, UserRepo},
    workspace::Kind,
};

use crate::support::*;

/// What is done to a directory, and how it is called.
type Case<'a> = (&'a str, &'a dyn Fn(&Path));

const HOOKS: &[&str] = &[
    "applypatch-msg",
    "pre-applypatch",
    "post-applypatch",
    "pre-commit",
    "pre-merge-commit",
    "prepare-commit-msg",
    "commit-msg",
    "post-commit",
    "pre-rebase",
    "post-checkout",
    "post-merge",
    "pre-push",
    "pre-receive",
    "update",
    "proc-receive",
    "post-receive",
    "post-update",
    "reference-transaction",
    "push-to-checkout",
    "pre-auto-gc",
    "post-rewrite",
    "sendemail-validate",
    "fsmonitor-watchman",
    "post-index-change",
];

/// Settings that name a program; each is given one that leaves a file with the setting's name.
const SETTINGS: &[&str] = &[
    "core.fsmonitor",
    "core.sshCommand",
    "core.gitProxy",
    "core.pager",
    "core.editor",
    "core.askPass",
    "core.alternateRefsCommand",
    "sequence.editor",
    "gpg.program",
    "gpg.ssh.program",
    "gpg.ssh.defaultKeyCommand",
    "credential.helper",
    "diff.external",
    "diff.evil.command",
    "diff.evil.textconv",
    "filter.evil.clean",
    "filter.evil.smudge",
    "filter.evil.process",
    "merge.evil.driver",
    "uploadpack.packObjectsHook",
    "interactive.diffFilter",
    "trailer.kapell-run.command",
    "trailer.kapell-run.cmd",
    "pager.status",
    "alias.status",
    "alias.read-tree",
    "alias.update-ref",
    "submodule.sub.update",
    "init.templateDir",
];

struct Traps {
    dir: PathBuf,
}

impl Traps {
    fn new(world: &World) -> Self {
        let dir = world.path("traps");
        fs::create_dir_all(dir.join("sprung")).unwrap();
        Self { dir }
    }

    /// Makes a program that notes that it ran, and returns its path.
    fn program(&self, name: &str) -> PathBuf {
        let path = self.dir.join(name);
        let note = self.dir.join("sprung").join(name);
        fs::write(&path, format!("#!/bin/sh\n: > '{}'\ncat\n", note.display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Fills a repository with every trap.
    fn plant(&self, git_dir: &Path, mark: &str) {
        fs::create_dir_all(git_dir.join("hooks")).unwrap();
        for hook in HOOKS {
            let program = self.program(&format!("{mark}-hook-{hook}"));
            let place = git_dir.join("hooks").join(hook);
            fs::copy(program, &place).unwrap();
        }
        let mut config = fs::read_to_string(git_dir.join("config")).unwrap_or_default();
        let included = self.dir.join(format!("{mark}-included"));
        config.push_str(&format!(
            "[include]\n\tpath = {0}\n[includeIf \"gitdir:/\"]\n\tpath = {0}\n[commit]\n\tgpgSign = true\n",
            included.display()
        ));
        config.push_str("[filter \"evil\"]\n\trequired = true\n[merge \"evil\"]\n\tname = evil\n");
        config.push_str("[log]\n\tshowSignature = true\n[protocol]\n\tallow = always\n");
        let attributes = git_dir.join("evil-attributes");
        fs::write(&attributes, "* filter=evil diff=evil merge=evil\n").unwrap();
        fs::create_dir_all(git_dir.join("info")).unwrap();
        fs::copy(&attributes, git_dir.join("info/attributes")).unwrap();
        config.push_str(&format!("[core]\n\tattributesFile = {}\n", attributes.display()));
        for setting in SETTINGS {
            let program = self.program(&format!("{mark}-{setting}"));
            let (section, key) = setting.rsplit_once('.').unwrap();
            let header = match section.split_once('.') {
                Some((section, sub)) => format!("[{section} \"{sub}\"]"),
                None => format!("[{section}]"),
            };
            let bang =
                if setting.starts_with("alias") || setting.starts_with("submodule") { "!" } else { "" };
            config.push_str(&format!("{header}\n\t{key} = {bang}{}\n", program.display()));
        }
        fs::write(git_dir.join("config"), config).unwrap();
        let program = self.program(&format!("{mark}-included-fsmonitor"));
        fs::write(included, format!("[core]\n\tfsmonitor = {}\n", program.display())).unwrap();
    }

    #[track_caller]
    fn assert_unsprung(&self, after: &str) {
        let sprung: Vec<_> =
            fs::read_dir(self.dir.join("sprung")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(sprung.is_empty(), "after {after}: {sprung:?}");
    }
}

const ATTRIBUTES: &str = "* filter=evil diff=evil merge=evil\n";

#[test]
fn nothing_that_a_repository_names_is_ever_run() {
    let world = World::new(&[(".gitattributes", ATTRIBUTES), ("a.txt", "1\n2\n3\n4\n5\n"), ("b.txt", "b\n")]);
    let traps = Traps::new(&world);
    world.git(&["worktree", "add", "-q", "-b", "side", "../side"]);
    traps.plant(&world.user_dir.join(".git"), "user");

    let (user, repo, pool) = (world.user(), world.own_repo(), world.pool());
    let base = user.head_commit().unwrap();
    assert_eq!(user.identity(&[]).name, "Ada");
    UserRepo::discover(&world.path("side")).unwrap();
    traps.assert_unsprung("discover");
    repo.begin_run(&user, RUN, base).unwrap();
    traps.assert_unsprung("begin_run");
    let facts = repo.inspect(base).unwrap();
    assert_eq!(facts.ignored_attributes.len(), 3, "{facts:?}");
    traps.assert_unsprung("inspect");

    let one = pool.acquire(&request(Kind::Clone, base, 1)).unwrap();
    let two = pool.acquire(&request(Kind::Clone, base, 2)).unwrap();
    let check = pool.acquire(&request(Kind::Check, base, 0)).unwrap();
    traps.assert_unsprung("acquire");
    for workspace in [&one, &two] {
        write(&workspace.tree(), "mine.txt", "x\n");
        git_in(&workspace.tree(), &["add", "mine.txt"]);
        git_in(&workspace.tree(), &["commit", "-q", "-m", "own"]);
        traps.plant(&workspace.tree().join(".git"), "agent");
        // An inner repository with traps of its own: git would look into it.
        let inner = workspace.tree().join("inner");
        fs::create_dir(&inner).unwrap();
        git_in(&inner, &["init", "-q"]);
        git_in(
            &inner,
            &["-c", "user.name=x", "-c", "user.email=x", "commit", "-q", "--allow-empty", "-m", "x"],
        );
        traps.plant(&inner.join(".git"), "inner");
    }
    write(&one.tree(), "a.txt", "one\n2\n3\n4\n5\n");
    write(&two.tree(), "a.txt", "1\n2\n3\n4\nfive\n");
    let first = capture(&one);
    let second = capture(&two);
    traps.assert_unsprung("capture");
    assert_eq!(first.agent_commits_kept, 1);
    assert_eq!(first.nested, [b"inner".to_vec()]);
    assert_eq!(told(&first), ["M a.txt +1 -1", "A mine.txt +1 -0"]);

    let entry = |commit| Entry { commit, message: "land".into() };
    let entries = [entry(first.commit.unwrap()), entry(second.commit.unwrap())];
    let chain = repo.chain(base, &entries, &by()).unwrap();
    assert_eq!(chain.conflict, None);
    traps.assert_unsprung("chain");
    let tip = chain.prefixes[1];
    repo.advance(RUN, base, tip).unwrap();
    traps.assert_unsprung("advance");
    let protected = repo.protect(base, tip, &["a.txt".into()]).unwrap();
    assert_eq!(protected.touched, [b"a.txt".to_vec()]);
    pool.release(check).unwrap();
    let mut wanted = request(Kind::Check, tip, 0);
    wanted.tree = Some(protected.tree);
    let check = pool.acquire(&wanted).unwrap();
    assert_eq!(git_in(&check.tree(), &["rev-parse", "HEAD"]), tip.to_string());
    assert_eq!(read(&check.tree(), "a.txt"), "1\n2\n3\n4\n5\n");
    traps.assert_unsprung("check");
    pool.salvage(&one, owner(1), &by(), 1 << 20).unwrap();
    pool.salvaged(&repo).unwrap();
    pool.collect_salvaged(&repo, i64::MAX).unwrap();
    traps.assert_unsprung("salvage");

    let before = fingerprint(&world.user_dir);
    repo.prepare_merge(&user, MAIN, base, tip).unwrap();
    traps.assert_unsprung("prepare_merge");
    assert_eq!(fingerprint(&world.user_dir), before);
    repo.move_target(&user, MAIN, base, tip, "kapell: merge").unwrap();
    traps.assert_unsprung("move_target");
    repo.finish_checkout(&user, MAIN, base, tip).unwrap();
    traps.assert_unsprung("finish_checkout");
    assert_eq!(read(&world.user_dir, "a.txt"), "one\n2\n3\n4\nfive\n");
    repo.prepare_merge(&user, MAIN, tip, base).unwrap();
    repo.move_target(&user, MAIN, tip, base, "kapell: undo").unwrap();
    repo.finish_checkout(&user, MAIN, tip, base).unwrap();
    traps.assert_unsprung("undo");
    pool.release(one).unwrap();
    let again = pool.acquire(&request(Kind::Clone, tip, 3)).unwrap();
    assert!(!again.tree().join("inner").exists());
    pool.discard(again).unwrap();
    repo.end_run(&user, RUN).unwrap();
    traps.assert_unsprung("the end");

    // The traps do work: plain git walks into them.
    git_raw(&world.user_dir, &["status"]);
    git_raw(&world.user_dir, &["update-ref", "refs/heads/x", "HEAD"]);
    assert!(fs::read_dir(traps.dir.join("sprung")).unwrap().count() >= 2);
}

#[test]
fn a_submodule_that_an_agent_fills_is_neither_run_nor_submitted() {
    let world = World::new(&[("a.txt", "a\n")]);
    let traps = Traps::new(&world);
    let commit = world.oid("HEAD").to_string();
    world.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},sub")]);
    write(&world.user_dir, ".gitmodules", "[submodule \"sub\"]\n\tpath = sub\n\turl = ../nowhere\n");
    world.git(&["add", ".gitmodules"]);
    world.git(&["commit", "-q", "-m", "submodule"]);
    let base = world.oid("HEAD");
    let (repo, pool) = (world.own_repo(), world.pool());
    assert!(repo.inspect(base).unwrap().submodules);
    let workspace = pool.acquire(&request(Kind::Clone, base, 1)).unwrap();
    let sub = workspace.tree().join("sub");
    assert!(sub.is_dir());
    assert_eq!(capture(&workspace).commit, None);
    git_in(&sub, &["init", "-q"]);
    git_in(&sub, &["-c", "user.name=x", "-c", "user.email=x", "commit", "-q", "--allow-empty", "-m", "x"]);
    traps.plant(&sub.join(".git"), "sub");
    write(&workspace.tree(), "a.txt", "changed\n");
    let captured = capture(&workspace);
    traps.assert_unsprung("capture");
    assert_eq!(told(&captured), ["M a.txt +1 -1"]);
    assert_eq!(captured.nested, [b"sub".to_vec()]);
    pool.release(workspace).unwrap();
    let again = pool.acquire(&request(Kind::Clone, base, 2)).unwrap();
    traps.assert_unsprung("reset");
    assert_eq!(capture(&again).commit, None);
    // The person's own checkout has it filled as well, when a merge comes.
    let sub = world.user_dir.join("sub");
    fs::create_dir_all(&sub).unwrap();
    git_in(&sub, &["init", "-q"]);
    git_in(&sub, &["-c", "user.name=x", "-c", "user.email=x", "commit", "-q", "--allow-empty", "-m", "x"]);
    traps.plant(&sub.join(".git"), "sub");
    let (user, tip) = (world.user(), captured.commit.unwrap());
    repo.prepare_merge(&user, MAIN, base, tip).unwrap();
    repo.move_target(&user, MAIN, base, tip, "kapell: merge").unwrap();
    repo.finish_checkout(&user, MAIN, base, tip).unwrap();
    traps.assert_unsprung("merge");
    assert!(sub.join(".git/HEAD").is_file());
}

#[test]
fn a_git_file_that_leads_elsewhere_is_refused() {
    let world = World::new(&[("a.txt", "a\n")]);
    let other = World::new(&[("secret.txt", "s\n")]);
    let theirs = other.user_dir.join(".git");
    let dir = world.path("plain");
    for (what, text) in [
        ("another repository", format!("gitdir: {}\n", theirs.display())),
        ("nothing", "gitdir: /nonexistent\n".to_owned()),
        ("rubbish", "\u{1b}[2J\n".to_owned()),
        ("empty", String::new()),
    ] {
        fs::remove_dir_all(&dir).ok();
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join(".git"), text).unwrap();
        assert_eq!(kind(UserRepo::discover(&dir)), "GitFileElsewhere", "{what}");
    }
    fs::remove_file(dir.join(".git")).unwrap();
    symlink(&theirs, dir.join(".git")).unwrap();
    assert_eq!(kind(UserRepo::discover(&dir)), "GitFileElsewhere");
    // A worktree copied to another place still names the first one.
    world.git(&["worktree", "add", "-q", "--detach", "../tree"]);
    UserRepo::discover(&world.path("tree")).unwrap();
    let copy = world.path("copy");
    fs::create_dir(&copy).unwrap();
    fs::copy(world.path("tree/.git"), copy.join(".git")).unwrap();
    assert_eq!(kind(UserRepo::discover(&copy)), "GitFileElsewhere");
}

/// What an agent does to its `.git`, and why its commits are then not taken over.
#[test]
fn commits_come_only_out_of_the_directory_that_was_made() {
    let world = World::new(&[("a.txt", "a\n")]);
    let other = World::new(&[("secret.txt", "s\n")]);
    let theirs = other.user_dir.join(".git");
    let base = world.oid("HEAD");
    let pool = world.pool();
    let cases: &[Case<'_>] = &[
        ("`.git` is not the directory that was made", &|git| {
            fs::rename(git, git.with_file_name("moved")).unwrap();
            symlink(&theirs, git).unwrap();
        }),
        ("`.git` is not the directory that was made", &|git| {
            fs::remove_dir_all(git).unwrap();
            fs::write(git, format!("gitdir: {}\n", theirs.display())).unwrap();
        }),
        ("`.git` is not the directory that was made", &|git| fs::remove_dir_all(git).unwrap()),
        ("`.git/objects/info/alternates` was changed", &|git| {
            fs::write(
                git.join("objects/info/alternates"),
                theirs.join("objects").as_os_str().as_encoded_bytes(),
            )
            .unwrap();
        }),
        ("`.git/objects` is not a directory", &|git| {
            fs::rename(git.join("objects"), git.join("o")).unwrap();
            symlink(theirs.join("objects"), git.join("objects")).unwrap();
        }),
        ("`.git/objects` holds links or special files", &|git| {
            symlink(theirs.join("objects/pack"), git.join("objects/zz")).unwrap();
        }),
        ("`.git/objects` holds links or special files", &|git| {
            let name = git.join("objects/pack/pack-1.idx");
            rustix::fs::mknodat(
                rustix::fs::CWD,
                &name,
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::RWXU,
                0,
            )
            .unwrap();
        }),
        ("`.git/commondir` leads elsewhere", &|git| fs::write(git.join("commondir"), "/").unwrap()),
        ("HEAD names no commit", &|git| fs::write(git.join("HEAD"), "ref: ../../x\n").unwrap()),
        ("HEAD names no commit", &|git| fs::write(git.join("HEAD"), "ref: refs/heads/none\n").unwrap()),
    ];
    for (number, (reason, tamper)) in cases.iter().enumerate() {
        let workspace = pool.acquire(&request(Kind::Clone, base, 1)).unwrap();
        let tree = workspace.tree();
        write(&tree, "a.txt", "changed\n");
        git_in(&tree, &["commit", "-q", "-a", "-m", "own"]);
        tamper(&tree.join(".git"));
        let captured = capture(&workspace);
        assert_eq!(captured.agent_commits_dropped.as_deref(), Some(*reason), "case {number}");
        let listed: Vec<_> = told(&captured).into_iter().filter(|line| line.contains("a.txt")).collect();
        assert_eq!(listed, ["M a.txt +1 -1"], "case {number}");
        assert_eq!(captured.agent_commits_kept, 0);
        pool.release(workspace).unwrap();
    }
    assert!(theirs.join("HEAD").is_file(), "what a link leads to is left alone");
}

#[test]
fn forged_and_broken_objects_do_not_come_in() {
    let world = World::new(&[("a.txt", "a\n")]);
    let base = world.oid("HEAD");
    let pool = world.pool();
    // An object under the name of another: re-hashed on the way in, so the commit is not there.
    let workspace = pool.acquire(&request(Kind::Clone, base, 1)).unwrap();
    let tree = workspace.tree();
    write(&tree, "a.txt", "honest\n");
    git_in(&tree, &["commit", "-q", "-a", "-m", "honest"]);
    let blob = git_in(&tree, &["rev-parse", "HEAD:a.txt"]);
    let evil = {
        write(&tree, "evil.txt", "evil!!\n");
        git_in(&tree, &["hash-object", "-w", "evil.txt"])
    };
    fs::remove_file(tree.join("evil.txt")).unwrap();
    let objects = tree.join(".git/objects");
    let place = |oid: &str| objects.join(&oid[..2]).join(&oid[2..]);
    fs::remove_file(place(&blob)).unwrap();
    fs::copy(place(&evil), place(&blob)).unwrap();
    let captured = capture(&workspace);
    assert_eq!(captured.agent_commits_kept, 0);
    assert!(captured.agent_commits_dropped.is_some());
    assert_eq!(told(&captured), ["M a.txt +1 -1"]);
    let commit = captured.commit.unwrap().to_string();
    assert_eq!(world.own_git(&["show", &format!("{commit}:a.txt")]), "honest");
    pool.release(workspace).unwrap();

    // A tree with `.git` in it: refused by fsck.
    let workspace = pool.acquire(&request(Kind::Clone, base, 2)).unwrap();
    let tree = workspace.tree();
    let blob = git_in(&tree, &["hash-object", "-w", "a.txt"]);
    fs::write(tree.join("raw"), [b"100644 .git\0".as_slice(), &unhex(&blob)].concat()).unwrap();
    let evil = git_in(&tree, &["hash-object", "--literally", "-w", "-t", "tree", "raw"]);
    fs::remove_file(tree.join("raw")).unwrap();
    let commit = git_in(&tree, &["commit-tree", "-p", &base.to_string(), "-m", "evil", &evil]);
    git_in(&tree, &["update-ref", "HEAD", &commit]);
    let captured = capture(&workspace);
    assert_eq!((captured.commit, captured.agent_commits_kept), (None, 0));
    let dropped = captured.agent_commits_dropped.unwrap();
    assert!(dropped.contains("hasDotgit"), "{dropped}");
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
