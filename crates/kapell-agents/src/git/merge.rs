//! Moves the user's branch to what a run has landed, and back.
//!
//! The steps are functions of their own, because a crash can come between any two: the caller
//! writes down (target, old, new) durably after [`OwnRepo::prepare_merge`], then
//! [`OwnRepo::move_target`] swaps the ref, then [`OwnRepo::finish_checkout`] updates the working trees
//! that have the target checked out. The last two may be repeated as often as need be.
//!
//! Taking a merge back is the same with `old` and `new` exchanged.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use kapell_core::id::Oid;

use super::{
    config::Config,
    error::{Error, ErrorKind, Result, at, printable},
    own_repo::{OwnRepo, Step, config_text},
    process::Call,
    refs,
    transfer::shown,
    user::{UserRepo, Worktree},
};

const DOING: &str = "merge";
/// How a lock of ours begins; what follows is the number of the process.
const MARK: &str = "kapell ";
/// The most digits that the number of a process has.
const PID_BYTES_MAX: u64 = 10;

/// What became of one working tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// The working tree.
    pub worktree: PathBuf,
    /// Whether it was updated by this call.
    pub step: Step,
}

/// Whose turn it is to merge.
#[derive(Debug)]
pub enum MergeTurn {
    /// That of this process, until the file is closed.
    Ours(File),
    /// That of another process, with its number if that can be read.
    Theirs(Option<u32>),
}

impl OwnRepo {
    /// Takes the turn to merge into the user's repository, unless another process of kapell has it. It keeps others out:
    /// between the move of a ref and that of its working tree, the tree looks as if somebody had changed it.
    ///
    /// It never waits, for whoever does has to say so and to heed interrupts.
    ///
    /// # Errors
    ///
    /// Returns why the file cannot be locked, read or written.
    pub fn merge_turn(&self) -> Result<MergeTurn> {
        let path = self.dir().join("merge.lock");
        take_turn(&path).map_err(at(&path, DOING))
    }

    /// Takes the turn to merge once no other process has it, however long that takes.
    ///
    /// # Errors
    ///
    /// Fails if the lock file cannot be made or locked.
    pub fn wait_for_merge_turn(&self) -> Result<File> {
        let path = self.dir().join("merge.lock");
        let wait = || {
            let mut file = open_turn(&path)?;
            lock(&file)?;
            sign(&mut file)?;
            Ok(file)
        };
        wait().map_err(at(&path, DOING))
    }

    /// Checks that `target` can be moved from `old` to `new`, and brings the objects over. Returns the working trees that
    /// have it checked out.
    ///
    /// Nothing that a person sees is touched: the user's repository gains objects, no more.
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::Moved`] if the target is not at `old`.
    /// - [`ErrorKind::Dirty`], [`ErrorKind::Busy`] or [`ErrorKind::InTheWay`] if a working tree
    ///   that has it checked out cannot be updated.
    /// - [`ErrorKind::LockHeld`] if git is at work in one.
    pub fn prepare_merge(&self, user: &UserRepo, target: &str, old: Oid, new: Oid) -> Result<Vec<PathBuf>> {
        let found = user.find_ref(target)?;
        if found != Some(old) {
            return Err(moved(target, old, found));
        }
        let worktrees = holding(user, target)?;
        for worktree in &worktrees {
            self.check_worktree(user, worktree, old, new)?;
        }
        // Last, so that a merge that is refused leaves nothing behind.
        self.export(new, Some(old), shared_setting(user))?;
        Ok(worktrees.into_iter().map(|worktree| worktree.path).collect())
    }

    /// Moves `target` from `old` to `new` in one step; `reason` goes into its reflog.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Moved`] if it is at neither.
    pub fn move_target(
        &self,
        user: &UserRepo,
        target: &str,
        old: Oid,
        new: Oid,
        reason: &str,
    ) -> Result<Step> {
        let found = user.find_ref(target)?;
        if found == Some(new) {
            return Ok(Step::Already);
        }
        if found != Some(old) {
            return Err(moved(target, old, found));
        }
        match self.update_user_ref(user, target, Some(old), Some(new), reason) {
            Ok(()) => Ok(Step::Done),
            Err(error) => match user.find_ref(target)? {
                Some(found) if found == new => Ok(Step::Already),
                found if found != Some(old) => Err(moved(target, old, found)),
                _ => Err(error),
            },
        }
    }

    /// Updates every working tree that has `target` checked out, once the ref has moved.
    ///
    /// One that a crash left half updated is recognised: each of its files is either as in `old`
    /// or as in `new`. Files that a person has changed since are never overwritten.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Moved`] if the target is not at `new`, or as
    /// [`OwnRepo::prepare_merge`] for a working tree that cannot be updated now.
    pub fn finish_checkout(
        &self,
        user: &UserRepo,
        target: &str,
        old: Oid,
        new: Oid,
    ) -> Result<Vec<Checkout>> {
        let found = user.find_ref(target)?;
        if found != Some(new) {
            return Err(moved(target, new, found));
        }
        // A process that was killed may have left a git that is still writing files: it shares
        // this lock, so we wait for it.
        let turn = self.dir().join("checkout.lock");
        let turn =
            File::create(&turn).and_then(|file| lock(&file).map(|()| file)).map_err(at(&turn, DOING))?;
        let mut done = Vec::new();
        for worktree in holding(user, target)? {
            let lock = IndexLock::take(&worktree.git_dir)?;
            let step = self.update_worktree(user, &worktree, &turn, old, new)?;
            drop(lock);
            done.push(Checkout { worktree: worktree.path, step });
        }
        Ok(done)
    }

    /// Lists what tasks that start from `base` do not see of the user's own working tree: files that are changed, or new and
    /// not ignored. A directory of new files ends with a `/`.
    ///
    /// # Errors
    ///
    /// Fails if git cannot tell, or not within a second.
    pub fn uncommitted(&self, user: &UserRepo, base: Oid) -> Result<Vec<String>> {
        let own = user.worktrees()?.into_iter().find(|worktree| worktree.git_dir == user.git_dir());
        let Some(worktree) = own else { return Ok(Vec::new()) };
        let view = View::new(self, user, &worktree)?;
        let records = view.compare(base, "--untracked-files=normal", Some(Duration::from_secs(1)))?;
        let path = |record: &[u8]| match record.strip_prefix(b"? ") {
            Some(path) => Some(path.to_vec()),
            None => parse_status(record).map(|changed| changed.path),
        };
        Ok(records.split(|&byte| byte == 0).filter_map(path).map(|path| printable(&path)).collect())
    }

    fn check_worktree(&self, user: &UserRepo, worktree: &Worktree, old: Oid, new: Oid) -> Result<()> {
        if let Some(what) = worktree.busy {
            let kind = ErrorKind::Busy { worktree: worktree.path.clone(), what };
            return Err(Error::new(DOING, kind));
        }
        let lock = worktree.git_dir.join("index.lock");
        if lock.exists() && !IndexLock::is_abandoned(&lock) {
            return Err(Error::new(DOING, ErrorKind::LockHeld { lock: printable_path(&lock) }));
        }
        let view = View::new(self, user, worktree)?;
        let dirty = view.status(old)?;
        if !dirty.is_empty() {
            return Err(dirty_error(worktree, &dirty));
        }
        view.read_tree(&["-n", "-m", "-u"], &[old, new]).map_err(|error| in_the_way(worktree, error))
    }

    fn update_worktree(
        &self,
        user: &UserRepo,
        worktree: &Worktree,
        turn: &File,
        old: Oid,
        new: Oid,
    ) -> Result<Step> {
        let mut view = View::new(self, user, worktree)?;
        view.turn = Some(turn.try_clone().map_err(at(&view.dir, DOING))?);
        let dirty = view.status(old)?;
        let plain = || view.read_tree(&["-m", "-u"], &[old, new]).is_ok();
        if !dirty.is_empty() && view.status(new)?.is_empty() {
            return Ok(Step::Already);
        }
        if !dirty.is_empty() || !plain() {
            self.check_half_updated(user, worktree, &dirty, old, new)?;
            view.read_tree(&["--reset", "-u"], &[new]).map_err(|error| in_the_way(worktree, error))?;
        }
        view.install()?;
        Ok(Step::Done)
    }

    /// Makes sure that every file is as in `old` or as in `new`, so that none can be lost.
    fn check_half_updated(
        &self,
        user: &UserRepo,
        worktree: &Worktree,
        dirty: &[Changed],
        old: Oid,
        new: Oid,
    ) -> Result<()> {
        let added = self.paths_between(old, new, "A")?;
        let removed = self.paths_between(old, new, "D")?;
        let rewritten = self.paths_between(old, new, "MT")?;
        let view = View::new(self, user, worktree)?;
        fs::remove_file(view.index()).or_else(absent_is_fine).map_err(at(&view.index(), DOING))?;
        view.read_tree(&[], &[new])?;
        let unlike_new = view.status(new)?;
        // Changed by a person: neither the old content nor the new one.
        let like_neither = dirty.iter().filter(|one| {
            let lingers = removed.contains(&one.path) && !one.gone;
            // Git takes a file away before it writes the new one; a crash can come in between.
            let between = rewritten.contains(&one.path) && one.gone;
            let differs = !between && unlike_new.iter().any(|two| two.path == one.path);
            one.staged || lingers || differs
        });
        // Made by a person where the merge adds something.
        let strange = unlike_new.iter().filter(|one| {
            added.contains(&one.path) && (!one.gone || is_taken(&worktree.path, &one.path, &removed))
        });
        let paths: BTreeSet<_> = like_neither.chain(strange).map(|changed| changed.path.clone()).collect();
        if paths.is_empty() {
            return Ok(());
        }
        let kind = ErrorKind::InTheWay { worktree: worktree.path.clone(), paths: shown(paths) };
        Err(Error::new("finish the merge", kind))
    }

    /// Lists the paths that were added (`A`), deleted (`D`) or changed (`MT`) between two commits.
    fn paths_between(&self, old: Oid, new: Oid, filter: &str) -> Result<BTreeSet<Vec<u8>>> {
        let call = self.call("diff-tree").args(["-r", "-z", "--name-only", "--no-renames"]);
        let call = call.arg(format!("--diff-filter={filter}"));
        let out = call.args([old.to_string(), new.to_string()]).run()?;
        Ok(out.split(|&byte| byte == 0).filter(|path| !path.is_empty()).map(<[u8]>::to_vec).collect())
    }
}

/// Returns whether something of a person's stands where the file at `path` has to go: a file in
/// the place of one of its directories, or a directory in its own.
fn is_taken(top: &Path, path: &[u8], removed: &BTreeSet<Vec<u8>>) -> bool {
    let full = top.join(OsStr::from_bytes(path));
    if fs::symlink_metadata(&full).is_ok_and(|meta| meta.is_dir()) {
        return holds_other_files(top, &full, removed);
    }
    let parents = Path::new(OsStr::from_bytes(path)).ancestors().skip(1);
    parents.filter(|parent| !parent.as_os_str().is_empty()).any(|parent| {
        let is_file = fs::symlink_metadata(top.join(parent)).is_ok_and(|meta| !meta.is_dir());
        is_file && !removed.contains(parent.as_os_str().as_bytes())
    })
}

fn holds_other_files(top: &Path, dir: &Path, removed: &BTreeSet<Vec<u8>>) -> bool {
    let Ok(entries) = fs::read_dir(dir) else { return true };
    entries.flatten().any(|entry| {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            return holds_other_files(top, &path, removed);
        }
        path.strip_prefix(top).is_ok_and(|path| !removed.contains(path.as_os_str().as_bytes()))
    })
}

fn moved(target: &str, expected: Oid, found: Option<Oid>) -> Error {
    let kind = ErrorKind::Moved { name: target.to_owned(), expected: Some(expected), found };
    Error::new(DOING, kind)
}

fn dirty_error(worktree: &Worktree, dirty: &[Changed]) -> Error {
    let paths = shown(dirty.iter().map(|changed| &changed.path));
    Error::new(DOING, ErrorKind::Dirty { worktree: worktree.path.clone(), paths })
}

fn in_the_way(worktree: &Worktree, error: Error) -> Error {
    match *error.kind {
        ErrorKind::Exit(failure) => {
            let paths = failure.stderr.lines().map(|line| line.trim().to_owned()).collect();
            Error::new(DOING, ErrorKind::InTheWay { worktree: worktree.path.clone(), paths })
        }
        kind => Error::new(error.doing, kind),
    }
}

fn printable_path(path: &Path) -> String {
    printable(path.as_os_str().as_encoded_bytes())
}

/// Opens the lock file as it is: what stands there is the number of whoever has the turn.
fn open_turn(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).open(path)
}

/// Writes down that this process has the turn.
fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    write!(file, "{}", std::process::id())
}

fn take_turn(path: &Path) -> io::Result<MergeTurn> {
    let mut file = open_turn(path)?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            sign(&mut file)?;
            Ok(MergeTurn::Ours(file))
        }
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            file.take(PID_BYTES_MAX).read_to_string(&mut text)?;
            Ok(MergeTurn::Theirs(text.parse().ok()))
        }
        Err(error) => Err(error.into()),
    }
}

fn lock(file: &File) -> io::Result<()> {
    loop {
        match rustix::fs::flock(file, rustix::fs::FlockOperation::LockExclusive) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

fn absent_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Returns the worktrees that have a branch checked out.
pub(super) fn holding(user: &UserRepo, target: &str) -> Result<Vec<Worktree>> {
    let mut worktrees = user.worktrees()?;
    worktrees.retain(|worktree| worktree.branch.as_deref() == Some(target));
    Ok(worktrees)
}

pub(super) fn shared_setting(user: &UserRepo) -> Option<&str> {
    let value = user.config().get("core.sharedrepository")?;
    value.bytes().all(|byte| byte.is_ascii_alphanumeric()).then_some(value)
}

/// The settings of the user's that say how files look on disk. None of them names a program.
fn checkout_settings(config: &Config) -> Vec<String> {
    const KNOWN: &[(&str, &[&str])] = &[
        ("core.autocrlf", &["true", "false", "input"]),
        ("core.eol", &["lf", "crlf", "native"]),
        ("core.filemode", &["true", "false"]),
        ("core.symlinks", &["true", "false"]),
        ("core.ignorecase", &["true", "false"]),
        ("core.precomposeunicode", &["true", "false"]),
        ("core.sparsecheckout", &["true", "false"]),
        ("core.sparsecheckoutcone", &["true", "false"]),
    ];
    let mut settings = Vec::new();
    for (name, values) in KNOWN {
        if let Some(value) = config.get(name).map(str::to_ascii_lowercase)
            && values.contains(&value.as_str())
        {
            settings.push(format!("{name}={value}"));
        }
    }
    settings
}

/// One path that is not as the commit has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Changed {
    path: Vec<u8>,
    /// The index has something else than the commit, or a conflict.
    staged: bool,
    /// The file is not there.
    gone: bool,
}

/// A throw-away git directory of ours that shows one working tree of the user's.
///
/// It has our configuration, a copy of that tree's index, and the user's objects, so that git can
/// compare and update files there without reading anything of theirs that could name a program.
#[derive(Debug)]
struct View<'h> {
    repo: &'h OwnRepo,
    dir: PathBuf,
    worktree: Worktree,
    settings: Vec<String>,
    /// The lock that a process shares which writes files.
    turn: Option<File>,
}

static VIEWS: AtomicU64 = AtomicU64::new(0);

impl<'h> View<'h> {
    fn new(repo: &'h OwnRepo, user: &UserRepo, worktree: &Worktree) -> Result<Self> {
        let count = VIEWS.fetch_add(1, Ordering::Relaxed);
        let dir = repo.dir().join(format!("view-{}-{count}", std::process::id()));
        let mut config = user.config().clone();
        let own = worktree.git_dir.join("config.worktree");
        if config.is_true("extensions.worktreeconfig")
            && let Some(text) = refs::read_small(&own).map_err(at(&own, DOING))?
        {
            config = config.followed_by(&Config::parse(&text));
        }
        let settings = checkout_settings(&config);
        let view = Self { repo, dir, worktree: worktree.clone(), settings, turn: None };
        view.fill(user).map_err(at(&view.dir, "look at a working tree"))?;
        Ok(view)
    }

    fn fill(&self, user: &UserRepo) -> io::Result<()> {
        if self.dir.exists() {
            fs::remove_dir_all(&self.dir)?;
        }
        for sub in ["objects/info", "refs/heads", "info"] {
            fs::create_dir_all(self.dir.join(sub))?;
        }
        fs::write(self.dir.join("objects/info/alternates"), self.repo.alternates())?;
        fs::write(self.dir.join("config"), config_text(user.object_format(), false))?;
        fs::write(self.dir.join("HEAD"), "ref: refs/heads/none\n")?;
        fs::write(self.dir.join("info/exclude"), self.repo.excludes())?;
        if let Some(shallow) = self.repo.shallow() {
            fs::write(self.dir.join("shallow"), shallow)?;
        }
        let mut files = vec!["index".to_owned(), "info/sparse-checkout".to_owned()];
        // A split index is two files; the copy is written as one.
        for entry in fs::read_dir(&self.worktree.git_dir)? {
            let name = entry?.file_name();
            files.extend(name.to_str().filter(|name| name.starts_with("sharedindex.")).map(str::to_owned));
        }
        for file in &files {
            match fs::copy(self.worktree.git_dir.join(file), self.dir.join(file)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn index(&self) -> PathBuf {
        self.dir.join("index")
    }

    fn call(&self, command: &str) -> Call<'_> {
        let tree = &self.worktree.path;
        let call = self.repo.git().call(tree, command).git_dir(&self.dir).work_tree(tree);
        let call = call.set("core.splitIndex=false");
        self.settings.iter().fold(call, |call, setting| call.set(setting.clone()))
    }

    /// Lists what differs from `commit`, in the index or in tracked files.
    ///
    /// The copy of the index is refreshed on the way: a file that was only touched is no change.
    fn status(&self, commit: Oid) -> Result<Vec<Changed>> {
        let out = self.compare(commit, "--untracked-files=no", None)?;
        Ok(out.split(|&byte| byte == 0).filter_map(parse_status).collect())
    }

    /// Returns the records of what differs from `commit`.
    fn compare(&self, commit: Oid, untracked: &str, timeout: Option<Duration>) -> Result<Vec<u8>> {
        let head = self.dir.join("HEAD");
        fs::write(&head, format!("{commit}\n")).map_err(at(&head, DOING))?;
        let call = self.call("status").args(["--porcelain=v2", "-z", untracked]);
        let call = call.args(["--ignore-submodules=all", "--no-renames", "--no-ahead-behind"]);
        let call = call.env("GIT_OPTIONAL_LOCKS", "1");
        match timeout {
            Some(timeout) => call.timeout(timeout).run(),
            None => call.run(),
        }
    }

    fn read_tree(&self, options: &[&str], trees: &[Oid]) -> Result<()> {
        let call = self.call("read-tree").args(options).args(trees.iter().map(ToString::to_string));
        let call = match &self.turn {
            Some(turn) => call.holding(turn.try_clone().map_err(at(&self.dir, DOING))?),
            None => call,
        };
        call.run().map(|_| ())
    }

    /// Puts the copy of the index in the place of the user's, whose lock the caller holds.
    fn install(&self) -> Result<()> {
        let place = self.worktree.git_dir.join("index");
        let draft = self.worktree.git_dir.join("index.kapell");
        let copy = || {
            fs::copy(self.index(), &draft)?;
            File::open(&draft)?.sync_all()?;
            fs::rename(&draft, &place)
        };
        copy().map_err(at(&place, "write the index"))
    }
}

impl Drop for View<'_> {
    fn drop(&mut self) {
        // A view that stays behind takes a little room; the next `compact` removes it.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Reads one record of `git status --porcelain=v2 -z` (git-status(1), "Porcelain Format Version 2").
fn parse_status(record: &[u8]) -> Option<Changed> {
    let fields = match record.first()? {
        b'1' => 8,
        b'u' => 10,
        _ => return None,
    };
    let path = record.splitn(fields + 1, |&byte| byte == b' ').nth(fields)?.to_vec();
    let (x, y) = (*record.get(2)?, *record.get(3)?);
    Some(Changed { path, staged: x != b'.' || record[0] == b'u', gone: y == b'D' })
}

/// The lock on the index of a working tree, in git's own protocol.
#[derive(Debug)]
struct IndexLock {
    path: PathBuf,
}

impl IndexLock {
    fn take(git_dir: &Path) -> Result<Self> {
        let path = git_dir.join("index.lock");
        if Self::is_abandoned(&path) {
            fs::remove_file(&path).or_else(absent_is_fine).map_err(at(&path, DOING))?;
        }
        match File::create_new(&path) {
            Ok(mut file) => {
                let lock = Self { path };
                writeln!(file, "{MARK}{}", std::process::id()).map_err(at(&lock.path, DOING))?;
                Ok(lock)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Error::new(DOING, ErrorKind::LockHeld { lock: printable_path(&path) }))
            }
            Err(error) => Err(at(&path, DOING)(error)),
        }
    }

    /// Returns whether the lock was ours, and the process that held it is gone.
    fn is_abandoned(path: &Path) -> bool {
        let Ok(Some(bytes)) = refs::read_small(path) else { return false };
        let Ok(text) = std::str::from_utf8(&bytes) else { return false };
        let pid = text.strip_prefix(MARK).and_then(|pid| pid.trim().parse().ok());
        let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) else { return false };
        matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH))
    }
}

impl Drop for IndexLock {
    fn drop(&mut self) {
        // Already gone is as good; a lock that cannot be removed is told by the next command.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_records_are_read() {
        let changed = |text: &str| parse_status(text.as_bytes());
        assert_eq!(
            changed("1 .M N... 100644 100644 100644 aa bb a file"),
            Some(Changed { path: b"a file".into(), staged: false, gone: false })
        );
        assert_eq!(
            changed("1 A. N... 000000 100644 100644 aa bb new"),
            Some(Changed { path: b"new".into(), staged: true, gone: false })
        );
        assert_eq!(
            changed("u UU N... 1 2 3 4 h1 h2 h3 both"),
            Some(Changed { path: b"both".into(), staged: true, gone: false })
        );
        assert_eq!(
            changed("1 .D N... 1 2 3 a b x"),
            Some(Changed { path: b"x".into(), staged: false, gone: true })
        );
        assert_eq!(changed("# branch.oid x"), None);
        assert_eq!(changed(""), None);
    }

    #[test]
    fn only_harmless_settings_are_passed_on() {
        let config = Config::parse(
            b"[core]\nautocrlf = INPUT\neol = $(touch x)\nfsmonitor = evil\nsparseCheckout = true\nhooksPath = x",
        );
        assert_eq!(checkout_settings(&config), ["core.autocrlf=input", "core.sparsecheckout=true"]);
    }
}
