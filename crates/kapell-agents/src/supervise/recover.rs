//! What became of an attempt while kapell was not there.

use std::{
    collections::HashMap,
    io,
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitOptions};

use super::{
    attempt::PidFile,
    cgroup::Cgroup,
    processes::{self, Process, Table, kill_all, marker_of, wait_for_any},
    record::{Cause, ExitRecord},
};

/// How long a supervisor that outlived kapell may take to end its tree.
const SUPERVISOR_PATIENCE: Duration = Duration::from_secs(15);
/// How long processes may take to die of SIGKILL.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovered {
    /// It ended by itself, or was stopped or timed out, and this is its record.
    Exited(Box<ExitRecord>),
    /// It was cut short: nothing of it runs any more.
    Ended {
        /// How many processes were ended just now; its supervisor may have ended others before.
        processes: u32,
    },
    /// There is no trace of it.
    NeverStarted,
}

/// Some processes of an attempt cannot be ended, so it must not be tried again.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The process table cannot be read.
    #[error("the process table cannot be read: {0}")]
    Table(#[from] io::Error),
    /// Processes hang.
    #[error("processes of attempt {attempt} do not end: {}", named(pids))]
    Stubborn {
        /// The attempt.
        attempt: String,
        /// The ids of the processes; none if its control group does not tell them.
        pids: Vec<i32>,
    },
}

/// Names processes, cut where there are many.
fn named(pids: &[i32]) -> String {
    const NAMED_MAX: usize = 5;
    let mut names: Vec<String> = pids.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    match pids.len() {
        0 => names.push("which ones cannot be seen".to_owned()),
        some if some > NAMED_MAX => names.push(format!("and {} more", some - NAMED_MAX)),
        _ => {}
    }
    names.join(", ")
}

/// The process table with the attempts that its processes belong to: read once for any number of attempts.
#[derive(Debug, Default)]
pub struct Census {
    by_attempt: HashMap<String, Vec<Process>>,
    by_session: HashMap<i32, Vec<Process>>,
}

impl Census {
    /// Reads the process table.
    ///
    /// # Errors
    ///
    /// Fails if `/proc` cannot be listed.
    pub fn take() -> io::Result<Self> {
        let mut census = Self::default();
        for entry in Table::read()?.alive() {
            census.by_session.entry(entry.session).or_default().push(entry.process);
            if let Some(attempt) = marker_of(entry.process.pid) {
                census.by_attempt.entry(attempt).or_default().push(entry.process);
            }
        }
        Ok(census)
    }

    /// Returns the processes of the attempt that still run.
    fn of(&self, attempt: &str, pids: Option<&PidFile>) -> Vec<Process> {
        let mut found: Vec<_> = self.by_attempt.get(attempt).into_iter().flatten().copied().collect();
        if let Some(pids) = pids {
            let (pid, start) = pids.process;
            let first = Process { pid, start };
            let (leader, start) = pids.supervisor;
            let leads = Process::of(leader).is_some_and(|entry| entry.process.start == start);
            let session = || self.by_session.get(&leader).into_iter().flatten();
            // A session keeps its id taken while any process is in it: those in it are all ours, or all somebody else's.
            // One that is known to be ours tells; a leader that is gone does not, for daemons leave theirs behind.
            if leads || session().any(|process| *process == first || found.contains(process)) {
                found.extend(session());
            }
            found.push(first);
        }
        found.retain(|process| process.is_alive() && process.pid != std::process::id().cast_signed());
        found.sort_unstable_by_key(|process| process.pid);
        found.dedup();
        found
    }
}

/// Finds out what became of `attempt`, whose directory is `dir`, and ends what still runs of it.
///
/// To be called only when no kapell executes the attempt any more. Its supervisor, if it lives, has seen that and
/// is waited for.
///
/// # Errors
///
/// Fails if processes do not end, even of SIGKILL.
pub fn recover(dir: &Path, attempt: &str, census: &Census) -> Result<Recovered, RecoverError> {
    let boot = processes::boot_id();
    let pids = PidFile::read(dir, attempt).filter(|pids| pids.boot == boot);
    if let Some(pids) = &pids {
        wait_for_supervisor(Process { pid: pids.supervisor.0, start: pids.supervisor.1 });
    }
    let mut remaining = census.of(attempt, pids.as_ref());
    let mut ended = 0;
    if !remaining.is_empty() {
        // What runs may have started more since the census.
        let fresh = Census::take()?;
        remaining = fresh.of(attempt, pids.as_ref());
        ended = end_all(attempt, remaining, pids.as_ref())?;
    }
    ended += end_group(attempt, pids.as_ref())?;
    let record = ExitRecord::read(dir, attempt);
    Ok(match record {
        Some(record) if record.cause != Cause::OwnerGone => Recovered::Exited(Box::new(record)),
        None if ended == 0 && pids.is_none() && PidFile::read(dir, attempt).is_none() => {
            Recovered::NeverStarted
        }
        _ => Recovered::Ended { processes: ended },
    })
}

fn wait_for_supervisor(supervisor: Process) {
    let end = Instant::now() + SUPERVISOR_PATIENCE;
    while supervisor.is_alive() {
        let now = Instant::now();
        if now >= end {
            supervisor.signal(Signal::KILL);
            return;
        }
        wait_for_any(&[supervisor], end - now);
        reap(supervisor);
    }
}

/// Reaps the process if it fell to this one, which may be a sub-reaper.
fn reap(process: Process) {
    if let Some(pid) = Pid::from_raw(process.pid) {
        let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
    }
}

/// Ends what is left of an attempt whose supervisor died while kapell lives.
///
/// # Errors
///
/// As [`recover`].
pub(crate) fn end_orphans(dir: &Path, attempt: &str) -> Result<u32, RecoverError> {
    let pids = PidFile::read(dir, attempt);
    let first = Census::take()?.of(attempt, pids.as_ref());
    let ended = end_all(attempt, first, pids.as_ref())?;
    Ok(ended + end_group(attempt, pids.as_ref())?)
}

/// Ends what is left in the control group of an attempt: what no parent, session or environment tells of.
fn end_group(attempt: &str, pids: Option<&PidFile>) -> Result<u32, RecoverError> {
    let Some(dir) = pids.and_then(|pids| pids.cgroup.as_ref()) else { return Ok(0) };
    Cgroup::at(dir).end().map_err(|stubborn| RecoverError::Stubborn {
        attempt: attempt.to_owned(),
        pids: stubborn.iter().map(|process| process.pid).collect(),
    })
}

/// Ends the processes of an attempt and all that they start meanwhile; returns how many there were.
fn end_all(attempt: &str, first: Vec<Process>, pids: Option<&PidFile>) -> Result<u32, RecoverError> {
    let end = Instant::now() + KILL_PATIENCE;
    let mut living = first;
    let mut seen: Vec<Process> = Vec::new();
    while !living.is_empty() {
        if Instant::now() >= end {
            let pids = living.iter().map(|process| process.pid).collect();
            return Err(RecoverError::Stubborn { attempt: attempt.to_owned(), pids });
        }
        kill_all(&living);
        seen.extend(living.iter().filter(|process| !seen.contains(process)).copied().collect::<Vec<_>>());
        wait_for_any(&living, Duration::from_millis(100));
        living.iter().for_each(|process| reap(*process));
        living = Census::take()?.of(attempt, pids);
    }
    Ok(u32::try_from(seen.len()).unwrap_or(u32::MAX))
}
