//! The processes below a supervisor, and their end.

use std::{
    io,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitOptions, WaitStatus},
};

use super::{
    cgroup::Cgroup,
    processes::{Entry, Process, Table, kill_all, wait_for_any},
};

/// How long processes that do not die of SIGKILL are waited for: they hang in the kernel.
const STUBBORN_PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait before looking again for processes that started meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Makes this process the one to which all below it fall, in a session of its own.
pub(crate) fn become_root() -> io::Result<()> {
    // Started by hand at the head of a process group, it is a leader already.
    match rustix::process::setsid() {
        Ok(_) | Err(Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

/// Reaps what has ended; says how `main` ended if it is among them, and whether any child is left.
pub(crate) fn reap(main: i32, status: &mut Option<WaitStatus>) -> bool {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, how))) if pid.as_raw_pid() == main => *status = Some(how),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// Returns the processes below this one that still run.
pub(crate) fn below() -> Vec<Entry> {
    let own = rustix::process::getpid().as_raw_pid();
    Table::read().map(|table| table.below(own)).unwrap_or_default()
}

/// Asks the process group of `main`, and all else below, to end.
pub(crate) fn terminate(main: i32) {
    if let Some(group) = Pid::from_raw(main) {
        let _ = rustix::process::kill_process_group(group, Signal::TERM);
    }
    for entry in below() {
        if entry.group != main {
            entry.process.signal(Signal::TERM);
        }
        // A stopped process takes no signal but this one (and SIGKILL).
        entry.process.signal(Signal::CONT);
    }
}

/// What became of the processes below.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Swept {
    /// How many there were, counted once each.
    pub(crate) leftover: u32,
    /// How many would not die.
    pub(crate) stubborn: u32,
}

/// Ends everything below this process: SIGTERM unless it had one, SIGKILL after `grace`, again and again until
/// nothing is left; all of a control group at once. `pump` is called between the steps, to take output that comes meanwhile.
pub(crate) fn sweep(
    main: i32,
    status: &mut Option<WaitStatus>,
    grace: Duration,
    cgroup: Option<&Cgroup>,
    mut pump: impl FnMut(),
) -> Swept {
    let begun = Instant::now();
    let mut seen: Vec<Process> = Vec::new();
    while reap(main, status) {
        pump();
        let living: Vec<_> = below().iter().map(|entry| entry.process).collect();
        let fresh: Vec<_> = living.iter().filter(|process| !seen.contains(process)).copied().collect();
        let since = begun.elapsed();
        if since >= grace {
            // What was started outside of the group, or before there was one, is found one by one.
            let _ = cgroup.map(Cgroup::kill);
            kill_all(&living);
        } else {
            for process in &fresh {
                process.signal(Signal::TERM);
                process.signal(Signal::CONT);
            }
        }
        seen.extend(fresh);
        if since > grace + STUBBORN_PATIENCE {
            return Swept { leftover: count(&seen), stubborn: count(&living) };
        }
        let patience =
            if since < grace { (grace - since).min(Duration::from_millis(250)) } else { LOOK_AGAIN };
        wait_for_any(&living, patience);
    }
    seen.retain(|process| process.pid != main);
    Swept { leftover: count(&seen), stubborn: 0 }
}

fn count<T>(items: &[T]) -> u32 {
    u32::try_from(items.len()).unwrap_or(u32::MAX)
}
