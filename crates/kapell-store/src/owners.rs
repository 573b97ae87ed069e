//! Who executes which run.
//!
//! Each open store has one file in `owners/` and holds an exclusive `flock` on it for as long as it is open. The
//! file lists the runs that it owns, one JSON object a line. The kernel takes the lock away when the process ends,
//! however it ends, and the file's name is never used again, so neither a stale file nor a reused process id can
//! claim a run: a file that is not locked is deleted by whoever looks next. One descriptor serves any number of
//! runs. (A lock per run would need a descriptor for each; byte-range locks of one file would not, but the safe
//! interfaces to them lock whole files only, and the classic ones are lost when any descriptor is closed.)
//!
//! `owners/mutex` is locked for the moment of looking and writing; it holds the last fencing number given out.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use kapell_core::{id::RunId, time::Wall};
use kapell_engine::port::journal::{JournalError, JournalErrorKind, OwnError, Owner, Ownership};
use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
};
use serde::{Deserialize, Serialize};

use crate::fault::{self, fault};

/// A file of claims is written anew when it has so many lines, and four times as many as claims.
const LINES_MAX: usize = 4_096;

/// How long the locks of a process that is gone may outlive it, and how often that is looked at.
const AFTERLIFE: Duration = Duration::from_secs(2);
const AFTERLIFE_PAUSE: Duration = Duration::from_millis(1);

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A line in a file of claims: a run was taken or given up.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    run: RunId,
    epoch: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<Person>,
}

/// [`Owner`], as it is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Person {
    pid: u32,
    host: String,
    since: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    socket: Option<String>,
}

impl From<&Owner> for Person {
    fn from(owner: &Owner) -> Self {
        Self { pid: owner.pid, host: owner.host.clone(), since: owner.since.0, socket: owner.socket.clone() }
    }
}

impl From<Person> for Owner {
    fn from(person: Person) -> Self {
        Self { pid: person.pid, host: person.host, since: Wall(person.since), socket: person.socket }
    }
}

/// The claims of one open store, and what it knows of those of others.
#[derive(Debug)]
pub(crate) struct Owners {
    root: PathBuf,
    wait: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    mutex: Option<File>,
    file: Option<(PathBuf, File)>,
    mine: HashMap<RunId, (Owner, u64)>,
    /// Lines in our file; more than claims, because giving up is a line too.
    lines: usize,
    /// Our file does not say what `mine` says, because a write failed.
    stale: bool,
    others: HashMap<PathBuf, Other>,
}

/// What the file of another store has said up to `offset`.
#[derive(Debug)]
struct Other {
    file: File,
    offset: u64,
    claims: HashMap<RunId, Owner>,
}

impl Owners {
    pub(crate) fn new(root: PathBuf, wait: Duration) -> Self {
        Self { root, wait, state: Mutex::new(State::default()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `run` for `owner`.
    ///
    /// A process that was killed while it started another leaves its locks to that one until `exec` closes them, which
    /// takes milliseconds on a busy machine. So one that is gone is not believed to hold a run before [`AFTERLIFE`] is over.
    pub(crate) fn own(self: &Arc<Self>, run: RunId, owner: &Owner) -> Result<Claim, OwnError> {
        let begin = Instant::now();
        loop {
            match self.try_own(run, owner) {
                Err(OwnError::Held(holder))
                    if holder.host == owner.host && is_gone(&holder) && begin.elapsed() < AFTERLIFE =>
                {
                    thread::sleep(AFTERLIFE_PAUSE);
                }
                other => return other,
            }
        }
    }

    fn try_own(self: &Arc<Self>, run: RunId, owner: &Owner) -> Result<Claim, OwnError> {
        let mut state = self.state();
        if let Some((holder, _)) = state.mine.get(&run) {
            return Err(OwnError::Held(holder.clone()));
        }
        let failed = fault::io(&self.root, "taking a run");
        let taken = self.exclusively(&mut state, |state| {
            self.look(state)?;
            if let Some(holder) = state.others.values().find_map(|other| other.claims.get(&run)) {
                return Ok(Err(holder.clone()));
            }
            let epoch = next_epoch(state, owner)?;
            state.mine.insert(run, (owner.clone(), epoch));
            let line = Line { run, epoch, owner: Some(owner.into()) };
            if let Err(error) = self.write(state, &line) {
                state.mine.remove(&run);
                state.stale = true;
                return Err(error);
            }
            Ok(Ok(epoch))
        })?;
        match taken.map_err(&failed)? {
            Ok(epoch) => Ok(Claim { owners: Arc::clone(self), run, epoch }),
            Err(holder) => Err(OwnError::Held(holder)),
        }
    }

    /// Returns who owns `run`, here or elsewhere.
    pub(crate) fn owner(&self, run: RunId) -> Result<Option<Owner>, JournalError> {
        let mut state = self.state();
        if let Some((holder, _)) = state.mine.get(&run) {
            return Ok(Some(holder.clone()));
        }
        if !self.root.is_dir() {
            return Ok(None);
        }
        let looked = self.exclusively(&mut state, |state| {
            self.look(state)?;
            Ok(state.others.values().find_map(|other| other.claims.get(&run)).cloned())
        })?;
        looked.map_err(fault::io(&self.root, "looking for the owner of a run"))
    }

    fn give_up(&self, run: RunId, epoch: u64) {
        let mut state = self.state();
        if state.mine.remove(&run).is_some() {
            let line = Line { run, epoch, owner: None };
            let written = self.exclusively(&mut state, |state| self.write(state, &line));
            // The run stays taken until the next line is written, or this store is closed.
            state.stale |= !matches!(written, Ok(Ok(())));
        }
    }

    /// Runs `act` while no other store looks or writes.
    fn exclusively<T>(
        &self,
        state: &mut State,
        act: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> Result<io::Result<T>, JournalError> {
        let path = self.root.join("mutex");
        let failed = fault::io(&path, "locking the owners of runs");
        let mutex = match state.mutex.take() {
            Some(mutex) => mutex,
            None => open_mutex(&self.root, &path).map_err(&failed)?,
        };
        let locked = lock(&mutex, self.wait).map_err(&failed)?;
        if !locked {
            return Err(fault(&path, JournalErrorKind::Busy));
        }
        state.mutex = Some(mutex);
        let done = act(state);
        if let Some(mutex) = &state.mutex
            && mutex.unlock().is_err()
        {
            // Closing the descriptor unlocks for certain.
            state.mutex = None;
        }
        Ok(done)
    }

    /// Reads what is new in the files of others, and deletes those of processes that are gone.
    fn look(&self, state: &mut State) -> io::Result<()> {
        let mut seen = HashSet::new();
        for entry in fs::read_dir(&self.root)? {
            let path = entry?.path();
            let mine = state.file.as_ref().is_some_and(|(mine, _)| *mine == path);
            if mine || path.extension().is_none_or(|extension| extension != "lock") {
                continue;
            }
            let other = match state.others.remove(&path) {
                Some(other) => other,
                None => match File::open(&path) {
                    Ok(file) => Other { file, offset: 0, claims: HashMap::new() },
                    // Its store was closed just now.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                },
            };
            match other.file.try_lock() {
                Ok(()) => {
                    let _ = fs::remove_file(&path);
                }
                Err(TryLockError::WouldBlock) => {
                    seen.insert(path.clone());
                    state.others.insert(path, other.read_on()?);
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        state.others.retain(|path, _| seen.contains(path));
        Ok(())
    }

    /// Writes `line`, or all that holds in a new file. To be called while no other store looks.
    fn write(&self, state: &mut State, line: &Line) -> io::Result<()> {
        let too_long = state.lines > LINES_MAX && state.lines > 4 * state.mine.len();
        if let Some((_, file)) = &mut state.file
            && !state.stale
            && !too_long
        {
            file.write_all(text(line)?.as_bytes())?;
            state.lines += 1;
            return Ok(());
        }
        let mut all = String::new();
        for (run, (owner, epoch)) in &state.mine {
            all.push_str(&text(&Line { run: *run, epoch: *epoch, owner: Some(owner.into()) })?);
        }
        // The old file speaks for us until the new one does: on a full disk it is all that keeps others away.
        let path = self.root.join(fresh_name());
        let mut fresh = OpenOptions::new().create_new(true).append(true).open(&path)?;
        let written = match fresh.try_lock() {
            Ok(()) => fresh.write_all(all.as_bytes()),
            Err(_) => Err(io::Error::other("a new file is locked")),
        };
        if let Err(error) = written {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        if let Some((old, _)) = state.file.replace((path, fresh)) {
            let _ = fs::remove_file(old);
        }
        (state.lines, state.stale) = (state.mine.len(), false);
        Ok(())
    }
}

impl Drop for Owners {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some((path, _)) = &state.file {
            let _ = fs::remove_file(path);
        }
    }
}

impl Other {
    fn read_on(mut self) -> io::Result<Self> {
        self.file.seek(SeekFrom::Start(self.offset))?;
        let mut text = String::new();
        self.file.read_to_string(&mut text)?;
        // The last line may be in the middle of being written.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        for line in text[..whole].lines() {
            let Ok(line) = serde_json::from_str::<Line>(line) else { continue };
            match line.owner {
                Some(owner) => self.claims.insert(line.run, owner.into()),
                None => self.claims.remove(&line.run),
            };
        }
        self.offset += whole as u64;
        Ok(self)
    }
}

fn text(line: &Line) -> io::Result<String> {
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    Ok(text)
}

/// Tells whether a process of this machine is no longer there.
fn is_gone(owner: &Owner) -> bool {
    let pid = i32::try_from(owner.pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH))
}

/// A name that no other store has had or will have.
fn fresh_name() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{}-{}-{number}.lock", std::process::id(), now.as_nanos())
}

fn open_mutex(root: &Path, path: &Path) -> io::Result<File> {
    fs::create_dir_all(root)?;
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

/// Locks `file`, waiting for at most `wait`. Returns whether it is locked.
pub(crate) fn lock(file: &File, wait: Duration) -> io::Result<bool> {
    let begin = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if begin.elapsed() >= wait => return Ok(false),
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_micros(200)),
        }
    }
}

/// Gives out a number larger than all before. After a power failure the file may have lost the last of them, so
/// the time counts too.
fn next_epoch(state: &State, owner: &Owner) -> io::Result<u64> {
    let Some(mutex) = &state.mutex else { return Err(io::Error::other("the owners are not locked")) };
    let mut text = [0; 20];
    let got = mutex.read_at(&mut text, 0)?;
    let last: u64 = str::from_utf8(&text[..got]).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    let epoch = (last + 1).max(u64::try_from(owner.since.0).unwrap_or(0));
    mutex.write_all_at(format!("{epoch:<19}\n").as_bytes(), 0)?;
    Ok(epoch)
}

/// Proof that an open store owns a run.
pub(crate) struct Claim {
    owners: Arc<Owners>,
    run: RunId,
    epoch: u64,
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claim").field("run", &self.run).field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Ownership for Claim {
    fn epoch(&self) -> u64 {
        self.epoch
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.owners.give_up(self.run, self.epoch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner { pid: 1, host: "here".to_owned(), since: Wall(1), socket: None }
    }

    #[test]
    fn a_file_of_claims_is_replaced_and_never_emptied() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Arc::new(Owners::new(dir.path().to_owned(), Duration::from_secs(10)));
        let (one, two) = (open(), open());
        let (first, second) = (RunId([1; 16]), RunId([2; 16]));
        let _claim = one.own(first, &owner()).unwrap();
        let path = one.state().file.as_ref().unwrap().0.clone();
        let text = fs::read_to_string(&path).unwrap();
        let mut old = File::open(&path).unwrap();
        // As after a line that did not fit on the disk.
        one.state().stale = true;
        let _other = one.own(second, &owner()).unwrap();
        assert!(!path.exists());
        let mut kept = String::new();
        old.read_to_string(&mut kept).unwrap();
        assert_eq!(kept, text, "until there was another, it said what it had said");
        for run in [first, second] {
            assert!(matches!(two.own(run, &owner()), Err(OwnError::Held(_))), "{run}");
        }
    }

    #[test]
    fn locks_that_outlive_their_process_for_a_moment_are_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let gone = Owner { pid: child.id(), ..owner() };
        child.wait().unwrap();
        let run = RunId([1; 16]);
        let open = || Arc::new(Owners::new(dir.path().to_owned(), Duration::from_secs(10)));
        let (dead, next) = (open(), open());
        let claim = dead.own(run, &gone).unwrap();
        let waiting = thread::spawn({
            let next = Arc::clone(&next);
            move || next.own(run, &owner()).map(drop)
        });
        // It has seen that somebody holds the run.
        while next.state().others.is_empty() {
            thread::yield_now();
        }
        drop((claim, dead));
        assert!(waiting.join().unwrap().is_ok());
    }

    #[test]
    fn what_cannot_be_written_anew_still_speaks() {
        let dir = tempfile::tempdir().unwrap();
        let (root, moved) = (dir.path().join("owners"), dir.path().join("moved"));
        let one = Arc::new(Owners::new(root.clone(), Duration::from_secs(10)));
        let (first, second) = (RunId([1; 16]), RunId([2; 16]));
        let _claim = one.own(first, &owner()).unwrap();
        let other = one.own(second, &owner()).unwrap();
        one.state().stale = true;
        // No file can be made where the directory is not.
        fs::rename(&root, &moved).unwrap();
        drop(other);
        assert!(one.state().stale);
        let two = Arc::new(Owners::new(moved, Duration::from_secs(10)));
        assert!(matches!(two.own(first, &owner()), Err(OwnError::Held(_))));
    }
}
