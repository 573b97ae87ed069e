//! Repositories to test on. Git runs here with an emptied environment and no configuration.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use kapell_agents::{
    git::{Git, Identity, OwnRepo, OwnRepoOptions, Signature, Stamp, UserRepo},
    workspace::{CaptureOptions, Captured, Kind, Owner, Pool, Request, Workspace},
};
use kapell_core::id::{AttemptNo, Oid, RunId, TaskId};

pub(crate) const RUN: RunId = RunId([3; 16]);
pub(crate) const MAIN: &str = "refs/heads/main";

/// A temporary directory with a user's repository in `user/`.
pub(crate) struct World {
    pub(crate) temp: tempfile::TempDir,
    pub(crate) user_dir: PathBuf,
}

/// Runs git as a person would who has no configuration at all.
pub(crate) fn git_in(dir: &Path, args: &[&str]) -> String {
    let out = git_raw(dir, args);
    assert!(
        out.status.success(),
        "git {args:?} in {}: {}{}",
        dir.display(),
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).trim_end().to_owned()
}

pub(crate) fn git_raw(dir: &Path, args: &[&str]) -> std::process::Output {
    Command::new("git")
        .args(args)
        .current_dir(dir)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_AUTHOR_DATE", "@1700000000 +0000")
        .env("GIT_COMMITTER_DATE", "@1700000000 +0000")
        .output()
        .unwrap()
}

pub(crate) fn the_git() -> Arc<Git> {
    Arc::new(Git::find(&std::env::var_os("PATH").unwrap()).unwrap())
}

pub(crate) fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

pub(crate) fn read(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(name)).unwrap()
}

impl World {
    /// Makes a repository on branch `main` with a first commit of `files`.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        Self::with_init(&["init", "-q", "-b", "main"], files)
    }

    pub(crate) fn with_init(init: &[&str], files: &[(&str, &str)]) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let user_dir = fs::canonicalize(temp.path()).unwrap().join("user");
        fs::create_dir(&user_dir).unwrap();
        git_in(&user_dir, init);
        git_in(&user_dir, &["config", "user.name", "Ada"]);
        git_in(&user_dir, &["config", "user.email", "ada@example.org"]);
        let world = Self { temp, user_dir };
        if !files.is_empty() {
            world.commit(files, "first");
        }
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        fs::canonicalize(self.temp.path()).unwrap().join(name)
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        git_in(&self.user_dir, args)
    }

    pub(crate) fn commit(&self, files: &[(&str, &str)], message: &str) -> Oid {
        for (name, text) in files {
            write(&self.user_dir, name, text);
        }
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", message]);
        self.oid("HEAD")
    }

    pub(crate) fn oid(&self, name: &str) -> Oid {
        self.git(&["rev-parse", "--verify", name]).parse().unwrap()
    }

    pub(crate) fn user(&self) -> UserRepo {
        UserRepo::discover(&self.user_dir).unwrap()
    }

    pub(crate) fn own_repo(&self) -> OwnRepo {
        let user = self.user();
        let dir = user.common_dir().join("kapell/git");
        OwnRepo::open(the_git(), &user, &dir, &OwnRepoOptions::default()).unwrap()
    }

    pub(crate) fn pool(&self) -> Pool {
        Pool::open(self.own_repo(), &self.path("pool"), 8).unwrap()
    }

    /// Returns what `git` says about kapell's own repository.
    pub(crate) fn own_git(&self, args: &[&str]) -> String {
        let dir = self.own_repo().dir().to_owned();
        git_in(&dir, args)
    }
}

pub(crate) fn owner(task: u32) -> Owner {
    Owner { run: RUN, task: TaskId(task), attempt: AttemptNo(1) }
}

pub(crate) fn request(kind: Kind, base: Oid, task: u32) -> Request {
    Request {
        kind,
        base,
        tree: None,
        owner: Some(owner(task)),
        profile: String::new(),
        branch: "kapell/work".into(),
        who: Identity::new("Ada", "ada@example.org"),
        fresh: false,
    }
}

pub(crate) fn by() -> Signature {
    Signature {
        who: Identity::new("Ada", "ada@example.org"),
        when: Stamp { seconds: 1_700_000_500, offset_minutes: 60 },
    }
}

pub(crate) fn options() -> CaptureOptions {
    CaptureOptions {
        message: format!("task\n\n{}", kapell_agents::git::trailers(RUN, "task", AttemptNo(1))),
        by: by(),
        file_max: 1 << 20,
        total_max: 1 << 24,
    }
}

pub(crate) fn capture(workspace: &Workspace) -> Captured {
    workspace.capture(&options()).unwrap()
}

/// Lists changed files as `A path +1 -0`.
pub(crate) fn told(captured: &Captured) -> Vec<String> {
    let number = |count: Option<u64>| count.map_or("-".into(), |count| count.to_string());
    let line = |change: &kapell_agents::workspace::Change| {
        let path = kapell_agents::git::printable(&change.path);
        let status = format!("{:?}", change.status);
        format!("{} {path} +{} -{}", &status[..1], number(change.added), number(change.deleted))
    };
    captured.files.iter().map(line).collect()
}

/// Everything in the user's directory that kapell must leave alone, as `path mode digest`.
///
/// Objects may be added, and what lies under `refs/kapell` and `kapell/` is ours.
pub(crate) fn fingerprint(dir: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let mut lines = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(at) = dirs.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().to_path_buf();
            let shown = name.display().to_string();
            if [".git/objects", ".git/refs/kapell", ".git/kapell"].contains(&shown.as_str()) {
                continue;
            }
            let meta = fs::symlink_metadata(&path).unwrap();
            if meta.is_dir() {
                dirs.push(path);
                lines.push(format!("{shown}/ {:o}", meta.mode()));
            } else if meta.is_file() {
                let digest = kapell_core::id::Digest::of(&fs::read(&path).unwrap());
                lines.push(format!("{shown} {:o} {} {digest}", meta.mode(), meta.mtime_nsec()));
            } else {
                lines.push(format!("{shown} {:?}", fs::read_link(&path)));
            }
        }
    }
    lines.sort();
    lines
}

/// Lands `files` as one task on top of `base` and returns the new tip.
pub(crate) fn land(world: &World, base: Oid, task: u32, files: &[(&str, &str)]) -> Oid {
    let pool = world.pool();
    let workspace = pool.acquire(&request(Kind::Clone, base, task)).unwrap();
    for (name, text) in files {
        write(&workspace.tree(), name, text);
    }
    let commit = capture(&workspace).commit.unwrap();
    pool.release(workspace).unwrap();
    commit
}

/// Returns the kind of an error as its name alone, such as `Dirty`.
pub(crate) fn kind<T: std::fmt::Debug>(result: Result<T, kapell_agents::git::Error>) -> String {
    let error = result.unwrap_err();
    let text = format!("{:?}", error.kind);
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned()
}
