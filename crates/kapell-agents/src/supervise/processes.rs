//! The process table: who is whose child, since when, and marked by which attempt.
//!
//! Read from `/proc`. Elsewhere the table is empty, and only process groups are ended.

use std::{
    collections::HashMap,
    fs, io,
    io::Read,
    os::fd::OwnedFd,
    process::{Child, ExitStatus},
    sync::OnceLock,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal},
};

use super::MARKER;

/// A process, told apart from a later one of the same id by when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// When it started, in clock ticks since boot.
    pub start: u64,
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The process.
    pub process: Process,
    /// Its parent.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// Its session.
    pub session: i32,
    /// Whether it has ended and waits to be reaped.
    pub zombie: bool,
}

/// What `/proc/<pid>/stat` says besides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ChildTicks {
    pub(crate) user: u64,
    pub(crate) system: u64,
}

/// Reads a line in the format of `/proc/<pid>/stat`; see proc_pid_stat(5).
fn parse_stat(text: &str) -> Option<(Entry, ChildTicks)> {
    let pid = text.split_once(' ')?.0.parse().ok()?;
    // The name stands in parentheses and may hold any character, parentheses too.
    let mut fields = text.rsplit_once(") ")?.1.split_ascii_whitespace();
    let zombie = matches!(fields.next()?, "Z" | "X");
    let mut number = || fields.next()?.parse::<i64>().ok();
    let [parent, group, session] = [number()?, number()?, number()?];
    // Up to the fields 16 and 17, of what was waited for: cutime, cstime; 22 is starttime.
    let user = (7..16).try_fold(0, |_, _| number()).and_then(|_| number());
    let (user, system) = (user?, number()?);
    let start = (18..22).try_fold(0, |_, _| number()).and_then(|_| number())?;
    let process = Process { pid, start: u64::try_from(start).ok()? };
    let small = |number: i64| i32::try_from(number).ok();
    Some((
        Entry { process, parent: small(parent)?, group: small(group)?, session: small(session)?, zombie },
        ChildTicks { user: u64::try_from(user).ok()?, system: u64::try_from(system).ok()? },
    ))
}

/// Reads a small file of `/proc` at once: the kernel writes it anew for every read.
fn read_small(path: &str) -> Option<String> {
    let mut bytes = [0; 2048];
    let len = fs::File::open(path).and_then(|mut file| file.read(&mut bytes)).ok()?;
    Some(String::from_utf8_lossy(&bytes[..len]).into_owned())
}

impl Process {
    /// Looks up the process that has this id now.
    #[must_use]
    pub fn of(pid: i32) -> Option<Entry> {
        let text = read_small(&format!("/proc/{pid}/stat"))?;
        parse_stat(&text).map(|(entry, _)| entry)
    }

    /// Tells whether it still runs; a zombie does not.
    #[must_use]
    pub fn is_alive(self) -> bool {
        Self::of(self.pid).is_some_and(|entry| entry.process == self && !entry.zombie)
    }

    /// Opens it, so that no other process can take its place.
    fn open(self) -> Option<OwnedFd> {
        let fd = open_pid(self.pid)?;
        // Only now: between a look before and the opening it could have been replaced.
        (Self::of(self.pid)?.process == self).then_some(fd)
    }

    /// Sends it a signal; returns whether it was there to get it.
    pub fn signal(self, signal: Signal) -> bool {
        #[cfg(target_os = "linux")]
        if let Some(fd) = self.open() {
            return rustix::process::pidfd_send_signal(fd, signal).is_ok();
        }
        #[cfg(not(target_os = "linux"))]
        let _ = signal;
        false
    }
}

/// Ends all of `processes`. A tree that forks faster than it is read is caught by stopping it first.
pub(crate) fn kill_all(processes: &[Process]) {
    for signal in [Signal::STOP, Signal::KILL] {
        for process in processes {
            process.signal(signal);
        }
    }
}

/// Opens the process `pid` as a file that can be polled for its end.
#[cfg(target_os = "linux")]
pub(crate) fn open_pid(pid: i32) -> Option<OwnedFd> {
    rustix::process::pidfd_open(Pid::from_raw(pid)?, rustix::process::PidfdFlags::empty()).ok()
}

/// There are no such files here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn open_pid(_pid: i32) -> Option<OwnedFd> {
    None
}

/// How long to wait before processes are looked at again that cannot be waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Waits until one of `processes` ends, at most for `patience`. Returns at once if one has.
pub(crate) fn wait_for_any(processes: &[Process], patience: Duration) {
    // More than a few need not be watched at once: whoever waits looks again anyway.
    let open: Vec<_> = processes.iter().take(64).filter_map(|process| process.open()).collect();
    if open.is_empty() && !processes.is_empty() {
        // All have ended; or this system cannot open them.
        if processes.iter().any(|process| process.is_alive()) {
            std::thread::sleep(patience.min(LOOK_AGAIN));
        }
        return;
    }
    let mut fds: Vec<_> = open.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    // An interrupted wait is a short one.
    let _ = poll(&mut fds, Some(&timespec(patience)));
}

/// Waits until a child has ended, at most until `due`; `None` if it goes on. It is not ended.
///
/// # Errors
///
/// Fails if the system cannot say.
pub(crate) fn wait_until(child: &mut Child, due: Instant) -> io::Result<Option<ExitStatus>> {
    let process = Process::of(child.id().cast_signed()).map(|entry| entry.process);
    loop {
        let left = due.saturating_duration_since(Instant::now());
        match child.try_wait()? {
            None if left.is_zero() => return Ok(None),
            None => wait_for_any(process.as_slice(), left),
            ended => return Ok(ended),
        }
    }
}

pub(crate) fn timespec(length: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(length.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(length.subsec_nanos()),
    }
}

/// The process table at one moment.
#[derive(Debug, Default)]
pub struct Table {
    entries: Vec<Entry>,
}

impl Table {
    /// Reads the table.
    ///
    /// # Errors
    ///
    /// Fails if `/proc` cannot be listed. Processes that end meanwhile are left out.
    #[cfg(target_os = "linux")]
    pub fn read() -> io::Result<Self> {
        Ok(Self { entries: pids()?.filter_map(Process::of).collect() })
    }

    /// Reads the table: an empty one on this system.
    ///
    /// # Errors
    ///
    /// None here.
    #[cfg(not(target_os = "linux"))]
    pub fn read() -> io::Result<Self> {
        Ok(Self::default())
    }

    /// Returns all that still run.
    pub fn alive(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| !entry.zombie)
    }

    /// Returns the processes below `root` that still run; not `root` itself.
    #[must_use]
    pub fn below(&self, root: i32) -> Vec<Entry> {
        let mut children: HashMap<i32, Vec<&Entry>> = HashMap::new();
        for entry in &self.entries {
            children.entry(entry.parent).or_default().push(entry);
        }
        let mut found = Vec::new();
        let mut open = vec![root];
        while let Some(parent) = open.pop() {
            for entry in children.remove(&parent).into_iter().flatten() {
                open.push(entry.process.pid);
                if !entry.zombie {
                    found.push(*entry);
                }
            }
        }
        found
    }
}

/// Lists the ids of all processes.
fn pids() -> io::Result<impl Iterator<Item = i32>> {
    Ok(fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()))
}

/// Waits until no process runs that was started with this variable, at most for `patience`; returns whether that is so. One
/// whose memory the kernel has taken back already runs no more, though it is in the table for a moment. Where there is no
/// `/proc`, none is found.
pub(crate) fn wait_for_all_with(name: &str, value: &[u8], patience: Duration) -> bool {
    let end = Instant::now() + patience;
    loop {
        let has_it = |pid: &i32| variable_of(*pid, name).is_some_and(|found| found == value);
        let with = pids().into_iter().flatten().filter(has_it).filter_map(Process::of);
        let with: Vec<Process> = with.map(|entry| entry.process).collect();
        let left = end.saturating_duration_since(Instant::now());
        if with.is_empty() || left.is_zero() {
            return with.is_empty();
        }
        wait_for_any(&with, left);
    }
}

/// Returns a variable that process `pid` was started with; `None` also if its environment may not be read, or it has ended.
fn variable_of(pid: i32, name: &str) -> Option<Vec<u8>> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut variables = environment.split(|&byte| byte == 0);
    variables
        .find_map(|variable| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=").map(<[u8]>::to_vec))
}

/// Returns the attempt that marks process `pid`; `None` also if its environment may not be read.
pub(crate) fn marker_of(pid: i32) -> Option<String> {
    String::from_utf8(variable_of(pid, MARKER)?).ok()
}

/// Returns what the children of this process that were waited for have used.
pub(crate) fn waited_for() -> ChildTicks {
    let text = read_small("/proc/self/stat").unwrap_or_default();
    parse_stat(&text).map(|(_, ticks)| ticks).unwrap_or_default()
}

/// Returns the memory that `entries` hold together, in KiB.
pub(crate) fn rss_kib(entries: &[Entry]) -> u64 {
    let of = |entry: &Entry| -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", entry.process.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().split(' ').next()?.parse().ok()
    };
    entries.iter().filter_map(of).sum()
}

/// Names the boot of the machine: ids and start times of processes mean nothing in another one.
pub(crate) fn boot_id() -> &'static str {
    // It is the same as long as this process lives, and every attempt asks for it.
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| {
        fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map(|id| id.trim().to_owned())
            .unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_hold_anything() {
        let line = "77 (a) R 1 (x\n) S 5 6 7 0 -1 4194560 1 2 3 4 10 11 120 130 20 0 1 0 4242 9 9";
        let (entry, ticks) = parse_stat(line).unwrap();
        let process = Process { pid: 77, start: 4242 };
        assert_eq!(entry, Entry { process, parent: 5, group: 6, session: 7, zombie: false });
        assert_eq!(ticks, ChildTicks { user: 120, system: 130 });
        for len in 0..line.len() - 8 {
            assert!(parse_stat(&line[..len]).is_none(), "{len}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_id_with_another_start_is_another_process() {
        let own = Process::of(std::process::id().cast_signed()).unwrap().process;
        assert!(own.is_alive());
        let reused = Process { start: own.start + 1, ..own };
        assert!(!reused.is_alive());
        // Were it mistaken for this one, the test would be gone now.
        assert!(!reused.signal(Signal::KILL));
    }

    /// Starts a process that runs until its input is closed.
    #[cfg(target_os = "linux")]
    fn started_with(name: &str, value: &str) -> std::process::Child {
        let mut command = std::process::Command::new("/bin/cat");
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
        command.env(name, value).spawn().unwrap()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn whoever_was_started_with_a_variable_is_waited_for() {
        let name = "KAPELL_TEST_STRAY";
        let own = std::process::id().to_string();
        let mut child = started_with(name, &own);
        let waits = |value: &str, secs| wait_for_all_with(name, value.as_bytes(), Duration::from_secs(secs));
        assert!(!waits(&own, 0));
        assert!(waits("another", 0));
        drop(child.stdin.take());
        assert!(waits(&own, 60));
        // It has ended by itself: its memory is gone, its entry in the table perhaps in a moment.
        assert!(child.wait().unwrap().success());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_child_is_below_its_parent() {
        let mut child = started_with(MARKER, "r-1-2");
        let pid = child.id().cast_signed();
        let own = std::process::id().cast_signed();
        assert!(Table::read().unwrap().below(own).iter().any(|entry| entry.process.pid == pid));
        assert_eq!(marker_of(pid).as_deref(), Some("r-1-2"));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(!Table::read().unwrap().below(own).iter().any(|entry| entry.process.pid == pid));
    }
}
