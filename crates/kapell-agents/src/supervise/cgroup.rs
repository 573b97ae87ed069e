//! Control groups of version 2: all that an attempt starts is in one, wherever it goes, and can be ended at once.
//!
//! Without one, processes are found by their parents, sessions and environments, again and again until none is left. A
//! group needs no finding, and a tree that forks faster than it is read cannot outrun it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::processes::{Process, wait_for_any};

/// How the names of groups begin by which it is tried whether groups can be made; the number of the process follows.
const TRIAL: &str = "kapell-try-";

/// How long a group may take to become empty once it was told to end.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait before looking again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A control group of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cgroup(PathBuf);

/// Returns the directory in which this process may make groups: its own group, if that is of version 2.
///
/// # Errors
///
/// Says why there is none: no such file system, or it belongs to somebody else.
pub(crate) fn delegated() -> io::Result<PathBuf> {
    let none = || io::Error::new(io::ErrorKind::NotFound, "no control groups of version 2");
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    let dir = place(&mounts, &groups).ok_or_else(none)?;
    sweep(&dir);
    let trial = Cgroup(dir.join(format!("{TRIAL}{}", std::process::id())));
    trial.make()?;
    // Older kernels have groups, and no way to end one.
    let can_end = trial.0.join("cgroup.kill").exists();
    fs::remove_dir(&trial.0)?;
    if can_end { Ok(dir) } else { Err(none()) }
}

/// Removes the trial groups of processes that were killed while they tried.
fn sweep(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(TRIAL));
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Finds the directory of a process's own group, from what the kernel says of mounts and of its groups.
fn place(mounts: &str, groups: &str) -> Option<PathBuf> {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    // proc_pid_mountinfo(5): id, parent, device, root, mount point, options, ... - type, source, options.
    let found = mounts.lines().find_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        let mut fields = front.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        back.starts_with("cgroup2 ").then_some((root, point))
    });
    let (root, point) = found?;
    let below = Path::new(own).strip_prefix(root).ok()?;
    Some(Path::new(point).join(below))
}

impl Cgroup {
    /// Names the group of an attempt, below one that may be used.
    pub(crate) fn of(parent: &Path, marker: &str) -> Self {
        Self(parent.join(format!("kapell-{marker}")))
    }

    /// Names the group in a directory.
    pub(crate) fn at(dir: impl Into<PathBuf>) -> Self {
        Self(dir.into())
    }

    /// Returns its directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.0
    }

    /// Makes it. One that is there already is of an attempt with the same name, whose end was not seen.
    pub(crate) fn make(&self) -> io::Result<()> {
        match fs::create_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }

    /// Puts this process into it.
    pub(crate) fn enter(&self) -> io::Result<()> {
        fs::write(self.0.join("cgroup.procs"), "0")
    }

    /// Sends SIGKILL to all that is in it, at once.
    pub(crate) fn kill(&self) -> io::Result<()> {
        fs::write(self.0.join("cgroup.kill"), "1")
    }

    /// Returns what is in it.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let text = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        let pids = text.lines().filter_map(|line| line.parse().ok());
        pids.filter_map(Process::of).filter(|entry| !entry.zombie).map(|entry| entry.process).collect()
    }

    /// Ends all that is in it and removes it; returns how many processes there were, or those that do not end.
    pub(crate) fn end(&self) -> Result<u32, Vec<Process>> {
        if !self.0.exists() {
            return Ok(0);
        }
        let until = Instant::now() + PATIENCE;
        let mut seen: Vec<Process> = Vec::new();
        loop {
            let living = self.processes();
            seen.extend(living.iter().filter(|process| !seen.contains(process)).copied().collect::<Vec<_>>());
            if !living.is_empty() {
                let _ = self.kill();
                wait_for_any(&living, LOOK_AGAIN);
            }
            // What waits to be reaped keeps it for a moment.
            match fs::remove_dir(&self.0) {
                Ok(()) => return Ok(u32::try_from(seen.len()).unwrap_or(u32::MAX)),
                Err(_) if Instant::now() >= until => return Err(self.processes()),
                Err(_) if living.is_empty() => std::thread::sleep(Duration::from_millis(5)),
                Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_place_is_read_from_mounts_and_groups() {
        let unified = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";
        let hybrid = "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n";
        let container = "41 31 0:38 /docker/1 /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        for (mounts, groups, expected) in [
            (unified, "0::/user.slice/x.scope\n", Some("/sys/fs/cgroup/user.slice/x.scope")),
            (hybrid, "4:memory:/a\n0::/\n", Some("/sys/fs/cgroup/unified")),
            (container, "0::/docker/1/y\n", Some("/sys/fs/cgroup/y")),
            (container, "0::/elsewhere\n", None),
            (unified, "4:memory:/a\n", None),
            ("40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw\n", "0::/\n", None),
        ] {
            assert_eq!(place(mounts, groups), expected.map(PathBuf::from), "{groups}");
        }
    }
}
