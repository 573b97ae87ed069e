//! One hardened wrapper around the git program.
//!
//! **Invariant:** every git process of kapell is started here: with an emptied environment, no
//! shell, no hook, no pager, no editor, no network, and output that is capped.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::{ffi::OsStrExt, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::error::{Error, ErrorKind, Failure, Result, printable};

/// The variable that tells git which index to use.
pub(crate) const INDEX_VARIABLE: &str = "GIT_INDEX_FILE";

/// The most that is read of a process's standard error, in bytes; the tail is kept.
const STDERR_KEPT: usize = 4096;
/// The most that is read of a process's standard output, in bytes, unless a call says otherwise.
const STDOUT_LIMIT: usize = 256 << 20;
/// How long one git process may take, unless a call says otherwise.
///
/// Generous: a first checkout of a huge repository on a slow disk takes minutes. It exists
/// because an agent can make git wait for ever, for one with a FIFO named `.gitignore`.
const TIMEOUT: Duration = Duration::from_secs(600);

/// The oldest version with `merge-tree --write-tree`.
const OLDEST: (u32, u32) = (2, 38);

/// Settings that no configuration file can override.
///
/// Kapell's own repository has none of what they switch off; they matter for the one command that
/// runs in the user's repository, and guard against a file that somebody planted in ours.
const HARDENED: &[&str] = &[
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.pager=cat",
    "core.editor=false",
    "core.sshCommand=false",
    "core.askPass=false",
    "core.alternateRefsCommand=true",
    "core.commitGraph=false",
    "core.multiPackIndex=false",
    "commit.gpgSign=false",
    "gpg.program=false",
    "credential.helper=",
    "protocol.allow=never",
    "submodule.recurse=false",
    "gc.auto=0",
    "maintenance.auto=false",
];

/// The git program, found once.
#[derive(Debug)]
pub struct Git {
    program: PathBuf,
    version: OnceLock<(u32, u32)>,
}

impl Git {
    /// Finds `git` in the directories of `search` (the value of `PATH`).
    ///
    /// Relative entries are skipped: what lies in a repository must not become our git.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::NoGit`] if no directory holds an executable `git`.
    pub fn find(search: &OsStr) -> Result<Self> {
        std::env::split_paths(search)
            .filter(|dir| dir.is_absolute())
            .map(|dir| dir.join("git"))
            .find(|program| is_executable(program))
            .map(Self::at)
            .ok_or_else(|| Error::new("find git", ErrorKind::NoGit))
    }

    /// Takes the git program at `program`.
    #[must_use]
    pub fn at(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), version: OnceLock::new() }
    }

    /// Returns where the program is.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Returns the version (major, minor); the program is asked once.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::TooOld`] below 2.38, or why git cannot be run.
    pub fn version(&self) -> Result<(u32, u32)> {
        if let Some(&known) = self.version.get() {
            return Ok(known);
        }
        let out = self.call(Path::new("/"), "version").run()?;
        let text = printable(out.trim_ascii());
        let found = parse_version(&text)
            .ok_or_else(|| Error::new("ask git for its version", ErrorKind::Protocol(text.clone())))?;
        if found < OLDEST {
            let kind = ErrorKind::TooOld { found: format!("{}.{}", found.0, found.1), needed: "2.38" };
            return Err(Error::new("use git", kind));
        }
        Ok(*self.version.get_or_init(|| found))
    }

    /// Begins a call of `git <command>` that runs in `dir`.
    pub(crate) fn call(&self, dir: &Path, command: &str) -> Call<'_> {
        Call {
            git: self,
            dir: dir.to_path_buf(),
            settings: Vec::new(),
            args: vec![command.into()],
            envs: Vec::new(),
            input: Vec::new(),
            held: None,
            limit: STDOUT_LIMIT,
            timeout: TIMEOUT,
        }
    }
}

fn is_executable(program: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(program).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix("git version ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// One git process to be.
#[derive(Debug)]
pub(crate) struct Call<'g> {
    git: &'g Git,
    dir: PathBuf,
    settings: Vec<String>,
    args: Vec<OsString>,
    envs: Vec<(&'static str, OsString)>,
    input: Vec<u8>,
    held: Option<File>,
    limit: usize,
    timeout: Duration,
}

impl Call<'_> {
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub(crate) fn env(mut self, name: &'static str, value: impl AsRef<OsStr>) -> Self {
        self.envs.push((name, value.as_ref().to_owned()));
        self
    }

    /// Adds `-c setting`.
    pub(crate) fn set(mut self, setting: impl Into<String>) -> Self {
        self.settings.push(setting.into());
        self
    }

    pub(crate) fn git_dir(self, dir: &Path) -> Self {
        self.env("GIT_DIR", dir)
    }

    pub(crate) fn work_tree(self, dir: &Path) -> Self {
        self.env("GIT_WORK_TREE", dir)
    }

    pub(crate) fn index(self, file: &Path) -> Self {
        self.env(INDEX_VARIABLE, file)
    }

    /// Gives `bytes` on standard input.
    pub(crate) fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// Gives the process a share in `lock`, so that the lock lasts until it has ended even if we
    /// are killed before.
    pub(crate) fn holding(mut self, lock: File) -> Self {
        self.held = Some(lock);
        self
    }

    /// Reads no more than so many bytes of its output; more is an error.
    pub(crate) fn at_most(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    pub(crate) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Runs it and returns its standard output.
    pub(crate) fn run(self) -> Result<Vec<u8>> {
        let ended = self.finish()?;
        if ended.status.success() { Ok(ended.stdout) } else { Err(ended.error()) }
    }

    /// Runs it and returns how it ended, if that was by exit code 0 or 1.
    ///
    /// Several commands answer by exit code: 1 is then "no" or "with conflicts", more is an error.
    pub(crate) fn answer(self) -> Result<Ended> {
        let ended = self.finish()?;
        if matches!(ended.status.code(), Some(0 | 1)) { Ok(ended) } else { Err(ended.error()) }
    }

    /// Runs it and returns how it ended, whatever the exit code.
    pub(crate) fn finish(self) -> Result<Ended> {
        let argv = self.argv();
        let spawn_error = |source| spawn_error(&argv, source);
        let mut child =
            self.command().stdin(self.stdin().map_err(spawn_error)?).spawn().map_err(spawn_error)?;
        let talk = converse(&mut child, &self.input, self.limit, self.timeout);
        if !matches!(talk, Ok(Talk { stopped: None, .. })) {
            // It may be gone already; then there is nothing to end.
            let _ = child.kill();
        }
        let status = child.wait().map_err(spawn_error)?;
        let talk = talk.map_err(spawn_error)?;
        match talk.stopped {
            None => Ok(Ended { argv, status, stdout: talk.stdout, stderr: talk.stderr }),
            Some(Stopped::Late) => Err(self.late()),
            Some(Stopped::Full) => {
                let doing = format!("run git {}", argv[0]);
                Err(Error::new(doing, ErrorKind::OutputTooLarge { argv, limit: self.limit }))
            }
        }
    }

    /// Starts it with its output left to the caller.
    pub(super) fn spawn(&self, stdin: Stdio) -> Result<Running> {
        let child = self.command().stdin(stdin).spawn();
        child.map(Running).map_err(|source| spawn_error(&self.argv(), source))
    }

    /// Fills `buffer` from what a process started by [`Call::spawn`] writes, as far as it writes so much.
    pub(super) fn read_exact(&self, running: &mut Running, buffer: &mut [u8]) -> Result<()> {
        let end = Instant::now() + self.timeout;
        let mut got = 0;
        while let Some(stdout) = running.0.stdout.as_mut().filter(|_| got < buffer.len()) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.late());
            }
            let failed = |source| spawn_error(&self.argv(), source);
            let [ready, ..] =
                wait([(Some(stdout.as_fd()), PollFlags::IN), NOTHING, NOTHING], left).map_err(failed)?;
            match ready.then(|| stdout.read(&mut buffer[got..])) {
                None => {}
                Some(Ok(0)) => break,
                Some(Ok(len)) => got += len,
                Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Some(Err(error)) => return Err(failed(error)),
            }
        }
        Ok(())
    }

    /// Waits for a process started by [`Call::spawn`], reading what it says.
    pub(super) fn collect(&self, mut running: Running) -> Result<Ended> {
        let argv = self.argv();
        let talk = converse(&mut running.0, &[], self.limit, self.timeout)
            .map_err(|source| spawn_error(&argv, source))?;
        if talk.stopped.is_some() {
            return Err(self.late());
        }
        let status = running.0.wait().map_err(|source| spawn_error(&argv, source))?;
        Ok(Ended { argv, status, stdout: talk.stdout, stderr: talk.stderr })
    }

    fn late(&self) -> Error {
        let argv = self.argv();
        Error::new(format!("run git {}", argv[0]), ErrorKind::TimedOut { argv, after: self.timeout })
    }

    pub(super) fn input_bytes(&self) -> &[u8] {
        &self.input
    }

    fn stdin(&self) -> io::Result<Stdio> {
        Ok(match &self.held {
            Some(lock) => lock.try_clone()?.into(),
            None if self.input.is_empty() => Stdio::null(),
            None => Stdio::piped(),
        })
    }

    fn argv(&self) -> Vec<String> {
        self.args.iter().map(|arg| printable(arg.as_bytes())).collect()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.git.program);
        command
            .env_clear()
            .env("PATH", "/nonexistent")
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_ALLOW_PROTOCOL", "")
            .env("GIT_ADVICE", "0")
            .envs(self.envs.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.dir)
            // Ctrl-C is for kapell, which ends in good order; git must not stop half-way.
            .process_group(0)
            .arg("--no-pager");
        for setting in HARDENED {
            command.arg("-c").arg(setting);
        }
        for setting in &self.settings {
            command.arg("-c").arg(setting);
        }
        command.args(&self.args).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// A git process whose output is left to the caller. It does not outlive this value.
#[derive(Debug)]
pub(super) struct Running(pub(super) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both do nothing to one that has been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A place that is not waited for.
const NOTHING: (Option<BorrowedFd<'static>>, PollFlags) = (None, PollFlags::empty());

fn spawn_error(argv: &[String], source: io::Error) -> Error {
    let kind = if source.kind() == io::ErrorKind::NotFound && argv[0] == "version" {
        ErrorKind::NoGit
    } else {
        ErrorKind::Spawn { argv: argv.to_vec(), source }
    };
    Error::new(format!("run git {}", argv[0]), kind)
}

/// A git process that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) argv: Vec<String>,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Ended {
    pub(crate) fn ok(&self) -> bool {
        self.status.success()
    }

    /// Tells whether a signal ended it.
    pub(crate) fn was_ended(&self) -> bool {
        self.status.code().is_none()
    }

    pub(crate) fn failure(self) -> Failure {
        Failure { argv: self.argv, status: self.status.code(), stderr: printable_lines(&self.stderr) }
    }

    /// Turns a bad end into the kind of error that its words tell of.
    pub(crate) fn error(self) -> Error {
        let failure = self.failure();
        let doing = format!("run git {}", failure.argv[0]);
        Error::new(doing, classify(failure))
    }
}

fn printable_lines(bytes: &[u8]) -> String {
    bytes.split(|&byte| byte == b'\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// How git says that an object is not there; each command has words of its own.
const MISSING: &[&str] = &[
    "bad object",
    "bad tree object",
    "missing blob",
    "missing object",
    "nonexistent object",
    "unable to read",
    "unable to find",
    "unable to resolve revision",
    "unable to parse object",
    "not a valid object",
    "ot a valid commit",
    "is not a valid object",
    "could not parse commit",
    "not a tree object",
    "failed to unpack tree object",
];

/// Sorts a failure by what git says; `LC_ALL=C` makes its words the same everywhere.
fn classify(failure: Failure) -> ErrorKind {
    let says = |text: &str| failure.stderr.contains(text);
    if says("No space left on device") || says("Disk quota exceeded") {
        ErrorKind::Full(failure)
    } else if says(".lock': File exists") || says(".lock\": File exists") {
        let lock = failure
            .stderr
            .split('\'')
            .find(|part| part.ends_with(".lock"))
            .unwrap_or(failure.stderr.trim())
            .to_owned();
        ErrorKind::LockHeld { lock }
    } else if says("Invalid path") || says("invalid path") {
        ErrorKind::BadPath(failure.stderr.trim().to_owned())
    } else if MISSING.iter().any(|text| says(text)) {
        ErrorKind::MissingObject(failure)
    } else {
        ErrorKind::Exit(failure)
    }
}

#[derive(Debug, Clone, Copy)]
enum Stopped {
    Late,
    Full,
}

struct Talk {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    stopped: Option<Stopped>,
}

/// Feeds `input`, reads both outputs, and stops at `limit` bytes or after `timeout`.
///
/// One thread and `poll`: threads for each pipe would cost more than most of these processes.
fn converse(child: &mut Child, input: &[u8], limit: usize, timeout: Duration) -> io::Result<Talk> {
    let deadline = Instant::now() + timeout;
    let mut stdin = if input.is_empty() { None } else { child.stdin.take() };
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    if let Some(stdin) = &stdin {
        rustix::fs::fcntl_setfl(stdin, rustix::fs::OFlags::NONBLOCK)?;
    }
    let mut talk = Talk { stdout: Vec::new(), stderr: Vec::new(), stopped: None };
    let mut rest = input;
    let mut buffer = vec![0; 64 << 10];
    while stdout.is_some() || stderr.is_some() || stdin.is_some() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            talk.stopped = Some(Stopped::Late);
            break;
        }
        let ready = wait(
            [
                (stdin.as_ref().map(AsFd::as_fd), PollFlags::OUT),
                (stdout.as_ref().map(AsFd::as_fd), PollFlags::IN),
                (stderr.as_ref().map(AsFd::as_fd), PollFlags::IN),
            ],
            left,
        )?;
        if ready[0] && feed(&mut stdin, &mut rest)? {
            stdin = None;
        }
        if ready[1] && take(&mut stdout, &mut buffer, &mut talk.stdout)? {
            stdout = None;
        }
        if talk.stdout.len() > limit {
            talk.stopped = Some(Stopped::Full);
            break;
        }
        if ready[2] && take(&mut stderr, &mut buffer, &mut talk.stderr)? {
            stderr = None;
        }
        if talk.stderr.len() > 2 * STDERR_KEPT {
            talk.stderr.drain(..talk.stderr.len() - STDERR_KEPT);
        }
    }
    let cut = talk.stderr.len().saturating_sub(STDERR_KEPT);
    talk.stderr.drain(..cut);
    Ok(talk)
}

fn wait(on: [(Option<BorrowedFd<'_>>, PollFlags); 3], left: Duration) -> io::Result<[bool; 3]> {
    let mut fds = Vec::with_capacity(3);
    let mut places = Vec::with_capacity(3);
    for (place, (fd, flags)) in on.into_iter().enumerate() {
        if let Some(fd) = fd {
            fds.push(PollFd::from_borrowed_fd(fd, flags));
            places.push(place);
        }
    }
    let timeout = Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    };
    let mut ready = [false; 3];
    match poll(&mut fds, Some(&timeout)) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok(ready),
        Err(errno) => return Err(errno.into()),
    }
    for (fd, place) in fds.iter().zip(places) {
        ready[place] = !fd.revents().is_empty();
    }
    Ok(ready)
}

/// Writes what the pipe takes; returns whether there is no more to write.
fn feed(stdin: &mut Option<ChildStdin>, rest: &mut &[u8]) -> io::Result<bool> {
    let Some(pipe) = stdin else { return Ok(true) };
    match pipe.write(rest) {
        Ok(written) => {
            *rest = &rest[written..];
            Ok(rest.is_empty())
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        // It ended without reading on; its exit code tells why.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(true),
        Err(error) => Err(error),
    }
}

/// Reads what is there; returns whether the end was reached.
fn take(pipe: &mut Option<impl Read>, buffer: &mut [u8], into: &mut Vec<u8>) -> io::Result<bool> {
    let Some(pipe) = pipe else { return Ok(true) };
    match pipe.read(buffer) {
        Ok(0) => Ok(true),
        Ok(read) => {
            into.extend_from_slice(&buffer[..read]);
            Ok(false)
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell() -> Git {
        Git::at("/bin/cat")
    }

    #[test]
    fn versions_of_all_vendors_are_read() {
        for (text, expected) in [
            ("git version 2.47.3", Some((2, 47))),
            ("git version 2.39.5 (Apple Git-154)", Some((2, 39))),
            ("git version 2.50.0.rc1", Some((2, 50))),
            ("hub version 2", None),
            ("git version two", None),
        ] {
            assert_eq!(parse_version(text), expected, "{text}");
        }
    }

    #[test]
    fn what_git_says_becomes_a_kind() {
        let kind = |stderr: &str| {
            classify(Failure { argv: vec!["x".into()], status: Some(128), stderr: stderr.into() })
        };
        assert!(matches!(
            kind("fatal: Unable to create '/r/.git/index.lock': File exists."),
            ErrorKind::LockHeld { lock } if lock == "/r/.git/index.lock"
        ));
        assert!(matches!(kind("error: No space left on device"), ErrorKind::Full(_)));
        assert!(matches!(kind("fatal: bad object 1234"), ErrorKind::MissingObject(_)));
        assert!(matches!(kind("error: Invalid path '.git/x'"), ErrorKind::BadPath(_)));
        assert!(matches!(kind("fatal: whatever"), ErrorKind::Exit(_)));
    }

    #[test]
    fn a_program_that_is_not_there_is_no_git() {
        let error = Git::at("/nonexistent/git").version().unwrap_err();
        assert!(matches!(*error.kind, ErrorKind::NoGit), "{error:?}");
        assert!(Git::find(OsStr::new("/nonexistent:relative:.")).is_err());
    }

    #[test]
    fn a_program_that_is_no_git_fails_with_its_words() {
        let error = shell().version().unwrap_err();
        assert!(matches!(*error.kind, ErrorKind::Exit(_)), "{error:?}");
    }
}
