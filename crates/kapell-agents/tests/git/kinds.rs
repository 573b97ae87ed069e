//! Every kind of repository: supported, or refused by name and with a hint.

use std::fs;

use kapell_agents::{
    git::{Head, ObjectFormat, UserRepo},
    workspace::Kind,
};

use crate::support::*;

/// Runs one task and merges it.
fn works(world: &World) {
    let (user, repo) = (world.user(), world.own_repo());
    let base = user.head_commit().unwrap();
    repo.begin_run(&user, RUN, base).unwrap();
    let tip = land(world, base, 1, &[("landed.txt", "l\n")]);
    repo.advance(RUN, base, tip).unwrap();
    repo.prepare_merge(&user, MAIN, base, tip).unwrap();
    repo.move_target(&user, MAIN, base, tip, "kapell: merge").unwrap();
    repo.finish_checkout(&user, MAIN, base, tip).unwrap();
    assert_eq!(world.git(&["show", "main:landed.txt"]), "l");
    assert_eq!(world.git(&["status", "--porcelain"]), "");
}

#[test]
fn a_repository_with_sha256() {
    let world =
        World::with_init(&["init", "-q", "-b", "main", "--object-format=sha256"], &[("a.txt", "a\n")]);
    assert_eq!(world.user().object_format(), ObjectFormat::Sha256);
    works(&world);
    assert_eq!(world.oid("main").to_string().len(), 64);
}

#[test]
fn a_shallow_clone() {
    let origin = World::new(&[("a.txt", "a\n")]);
    for n in 0..3 {
        origin.commit(&[("a.txt", &format!("{n}\n"))], "more");
    }
    let url = format!("file://{}", origin.user_dir.display());
    let temp = tempfile::tempdir().unwrap();
    git_in(temp.path(), &["clone", "-q", "--depth=1", &url, "user"]);
    let user_dir = fs::canonicalize(temp.path()).unwrap().join("user");
    git_in(&user_dir, &["config", "user.name", "Ada"]);
    git_in(&user_dir, &["config", "user.email", "ada@example.org"]);
    let world = World { temp, user_dir };
    assert!(world.user().is_shallow());
    works(&world);
    // Deepened later: the copy of the boundary follows.
    world.git(&["fetch", "-q", "--unshallow"]);
    assert!(!world.user().is_shallow());
    assert_eq!(world.own_git(&["rev-list", "--count", &world.oid("main").to_string()]), "5");
}

#[test]
fn a_detached_head() {
    let world = World::new(&[("a.txt", "a\n")]);
    world.git(&["checkout", "-q", "--detach"]);
    assert_eq!(world.user().head(), &Head::Detached { oid: world.oid("HEAD") });
    works(&world);
    assert!(!world.user_dir.join("landed.txt").exists(), "a detached checkout is not the branch's");
}

#[test]
fn packed_refs_and_a_clone_that_borrows() {
    let origin = World::new(&[("a.txt", "a\n")]);
    origin.git(&["pack-refs", "--all"]);
    origin.git(&["gc", "-q"]);
    let temp = tempfile::tempdir().unwrap();
    git_in(temp.path(), &["clone", "-q", "--shared", &origin.user_dir.display().to_string(), "user"]);
    let user_dir = fs::canonicalize(temp.path()).unwrap().join("user");
    works(&World { temp, user_dir });
    works(&origin);
}

#[test]
fn a_submodule_is_a_repository_too() {
    let inner = World::new(&[("i.txt", "i\n")]);
    let outer = World::new(&[("o.txt", "o\n")]);
    let url = inner.user_dir.display().to_string();
    outer.git(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", &url, "sub"]);
    outer.git(&["commit", "-q", "-m", "sub"]);
    let sub = outer.user_dir.join("sub");
    let user = UserRepo::discover(&sub).unwrap();
    assert_eq!(user.common_dir(), outer.user_dir.join(".git/modules/sub"));
    let world = World { user_dir: sub, temp: outer.temp };
    works(&world);
}

#[test]
fn a_sparse_checkout_stays_sparse() {
    let world = World::new(&[("in/a.txt", "a\n"), ("out/b.txt", "b\n"), ("top.txt", "t\n")]);
    world.git(&["sparse-checkout", "set", "in"]);
    assert!(!world.user_dir.join("out").exists());
    assert!(world.user().is_sparse());
    let (user, repo) = (world.user(), world.own_repo());
    let base = user.head_commit().unwrap();
    let tip = land(&world, base, 1, &[("in/a.txt", "A\n"), ("out/b.txt", "B\n"), ("out/new.txt", "n\n")]);
    repo.prepare_merge(&user, MAIN, base, tip).unwrap();
    repo.move_target(&user, MAIN, base, tip, "kapell: merge").unwrap();
    repo.finish_checkout(&user, MAIN, base, tip).unwrap();
    assert_eq!(read(&world.user_dir, "in/a.txt"), "A\n");
    assert!(!world.user_dir.join("out").exists());
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    assert_eq!(world.git(&["show", "HEAD:out/b.txt"]), "B");
}

#[test]
fn below_the_top_and_in_a_worktree() {
    let world = World::new(&[("deep/er/a.txt", "a\n")]);
    assert_eq!(UserRepo::discover(&world.user_dir.join("deep/er")).unwrap().top(), world.user().top());
    world.git(&["worktree", "add", "-q", "-b", "side", "../side"]);
    let side = UserRepo::discover(&world.path("side")).unwrap();
    assert_eq!(side.common_dir(), world.user_dir.join(".git"));
    assert_eq!(side.top(), Some(world.path("side").as_path()));
    let branches: Vec<_> = side.worktrees().unwrap().into_iter().filter_map(|tree| tree.branch).collect();
    assert_eq!(branches, ["refs/heads/main", "refs/heads/side"]);
}

#[test]
fn what_is_not_supported_is_refused_with_a_hint() {
    let refused = |world: &World, expected: &str| {
        let error = UserRepo::discover(&world.user_dir).unwrap_err();
        assert!(error.hint().is_some());
        assert_eq!(kind::<()>(Err(error)), expected);
    };
    let world = World::new(&[]);
    let error = world.user().head_commit().unwrap_err();
    assert_eq!(error.hint(), Some("make a first commit: git commit --allow-empty -m start"));
    assert_eq!(kind::<()>(Err(error)), "Unborn");
    assert_eq!(world.user().head(), &Head::Unborn { name: MAIN.into() });

    let world = World::with_init(&["init", "-q", "-b", "main", "--ref-format=reftable"], &[("a", "a\n")]);
    refused(&world, "Reftable");

    let world = World::new(&[("a", "a\n")]);
    world.git(&["config", "core.repositoryFormatVersion", "1"]);
    world.git(&["config", "extensions.fromTheFuture", "true"]);
    refused(&world, "UnknownFormat");

    let origin = World::new(&[("a", "a\n")]);
    origin.git(&["config", "uploadpack.allowFilter", "true"]);
    let url = format!("file://{}", origin.user_dir.display());
    let temp = tempfile::tempdir().unwrap();
    git_in(temp.path(), &["clone", "-q", "--filter=blob:none", &url, "user"]);
    let user_dir = temp.path().join("user");
    refused(&World { temp, user_dir }, "PartialClone");

    let temp = tempfile::tempdir().unwrap();
    assert_eq!(kind(UserRepo::discover(temp.path())), "NotARepository");
    fs::create_dir(temp.path().join(".git")).unwrap();
    assert_eq!(kind(UserRepo::discover(temp.path())), "NotARepository", "an empty .git is none");
}

#[test]
fn large_file_storage_is_told() {
    let world =
        World::new(&[("assets/.gitattributes", "*.png filter=lfs diff=lfs merge=lfs -text\n"), ("a", "a\n")]);
    let repo = world.own_repo();
    let facts = repo.inspect(world.oid("HEAD")).unwrap();
    assert_eq!(facts.lfs.as_deref(), Some("assets/.gitattributes"));
    let told = facts.told();
    assert!(
        matches!(&told[..], [line] if line.starts_with("assets/.gitattributes keeps files in Git LFS")),
        "{told:?}"
    );
}

#[test]
fn a_base_that_is_not_there_is_told() {
    let world = World::new(&[("a", "a\n")]);
    let missing = "1234567890123456789012345678901234567890".parse().unwrap();
    let repo = world.own_repo();
    assert_eq!(kind(repo.tree_of(missing)), "MissingObject");
    assert_eq!(kind(repo.inspect(missing)), "MissingObject");
    assert_eq!(kind(repo.is_ancestor(missing, world.oid("HEAD"))), "MissingObject");
    assert_eq!(kind(world.pool().acquire(&request(Kind::Clone, missing, 1))), "MissingObject");
    assert_eq!(kind(repo.begin_run(&world.user(), RUN, missing)), "MissingObject");
}

#[test]
fn configuration_that_is_a_link_is_read_and_one_that_never_ends_is_not() {
    let world = World::new(&[("a", "a\n")]);
    let config = world.user_dir.join(".git/config");
    fs::rename(&config, world.path("dotfiles")).unwrap();
    std::os::unix::fs::symlink(world.path("dotfiles"), &config).unwrap();
    assert_eq!(world.user().identity(&[]).name, "Ada");
    fs::remove_file(&config).unwrap();
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, &config, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert_eq!(kind(UserRepo::discover(&world.user_dir)), "Io");
    // Values of the repository win over those of the person's own files.
    fs::remove_file(&config).unwrap();
    fs::write(&config, "[user]\n\temail = here@example.org\n").unwrap();
    fs::write(world.path("global"), "[user]\n\tname = Bob\n\temail = there@example.org\n").unwrap();
    let who = world.user().identity(&[world.path("none"), world.path("global")]);
    assert_eq!((who.name.as_str(), who.email.as_str()), ("Bob", "here@example.org"));
}

#[test]
fn the_persons_own_ignore_file_is_found_where_git_finds_it() {
    let world = World::new(&[("a", "a\n")]);
    let (home, global, default) = (world.path("home"), world.path("global"), world.path("default"));
    fs::create_dir(&home).unwrap();
    fs::write(home.join("ignored"), "*.swp\n").unwrap();
    fs::write(&default, "*.bak\n").unwrap();
    let excludes = || {
        let found = world.user().excludes(std::slice::from_ref(&global), Some(&home), Some(&default));
        String::from_utf8(found).unwrap()
    };
    assert_eq!(excludes(), "*.bak\n");
    fs::write(&global, "[core]\n\texcludesFile = ~/ignored\n").unwrap();
    assert_eq!(excludes(), "*.swp\n");
    for (named, expected) in
        [(default.display().to_string(), "*.bak\n"), (String::new(), ""), ("none".to_owned(), "")]
    {
        fs::write(&global, format!("[core]\n\texcludesFile = {named}\n")).unwrap();
        assert_eq!(excludes(), expected, "{named}");
    }
}
