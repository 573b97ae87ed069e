//! Running one attempt so that it can be stopped, measured and cleaned up, whatever it does.
//!
//! A *supervisor* is kapell's own binary, re-executed by [`main`] before anything else is loaded. It is a
//! sub-reaper in a session of its own, so processes that leave their parent or their session still end up
//! below it. Its standard input is a socket to kapell: requests come in on it, and its end of file means that
//! kapell is gone and that the whole tree must end. It writes the [`ExitRecord`] before it reports the end, so that a
//! kapell that was killed meanwhile finds it (see [`recover()`]), and makes it durable unless kapell's own journal has
//! been quicker.
//!
//! A supervisor that has finished an attempt, and has made sure that nothing of it is left, takes the next one:
//! starting a process costs about as much as running a small command, and this saves half of it.
//!
//! No PID namespace is used here: making one without another program needs unsafe code. What is out of reach
//! without one, unless the attempt is in a control group of its own: a process that leaves its session *and* empties
//! its environment is not found again once both its supervisor and kapell were killed by SIGKILL.

pub(crate) mod cgroup; // all processes of an attempt at once, where the system can
pub mod processes; // the process table
pub mod record; // what is known when an attempt has ended
pub mod spec; // what to run, and within which limits
pub(crate) mod spool; // capped output
mod tree; // the processes below a supervisor, and their end
pub mod wire; // what kapell and a supervisor say to each other

pub(crate) mod attempt; // one attempt, from start to record
pub mod recover; // what became of an attempt while kapell was not there

use std::{
    ffi::OsString,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, poll};

pub use self::{
    record::{Cause, ExitRecord},
    recover::{Census, Recovered, recover},
    spec::{Limits, Output, Spec, Stdin},
};

/// The hidden argument with which kapell re-executes itself as a supervisor.
pub const ARGUMENT: &str = "__supervise";

/// The variable that marks every process of an attempt with the attempt's name.
pub const MARKER: &str = "KAPELL_ATTEMPT_ID";

/// Within an attempt's directory: what its processes printed, from the first byte on.
pub const OUTPUT_FILE: &str = "output.log";
/// Within an attempt's directory: what its processes printed as errors, if that is kept apart.
pub const ERRORS_FILE: &str = "errors.log";
/// Within an attempt's directory: who runs it.
pub const PID_FILE: &str = "pid";
/// Within an attempt's directory: how it ended.
pub const RECORD_FILE: &str = "exit.json";
/// Within an attempt's directory: what it gives, by name (see [`crate::protocol::outputs`]).
pub const OUTPUTS_FILE: &str = "outputs";
/// Within an attempt's directory: what it is given to read.
pub const BRIEF_FILE: &str = "brief.md";

/// Runs a supervisor: serves requests from standard input until its end.
///
/// To be called by the binary before it does anything else, if its first argument is [`ARGUMENT`].
#[must_use]
pub fn main(_args: &[OsString]) -> ExitCode {
    let Ok(control) = std::os::fd::AsFd::as_fd(&std::io::stdin()).try_clone_to_owned() else {
        return ExitCode::from(70);
    };
    match serve(&mut UnixStream::from(control)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(70),
    }
}

/// How long kapell has to make the end of an attempt durable by itself, and to say so with the next one. Its journal takes
/// a few milliseconds for that.
const KEPT_PATIENCE: Duration = Duration::from_millis(50);

fn serve(control: &mut UnixStream) -> std::io::Result<()> {
    tree::become_root()?;
    // The directory of the attempt before, while it may be that only its record says how it ended.
    let mut unkept: Option<PathBuf> = None;
    let mut waited = processes::ChildTicks::default();
    loop {
        if unkept.is_some() && !is_asked(control, KEPT_PATIENCE) {
            keep(unkept.take());
        }
        let request = wire::read(control);
        if !matches!(request, Ok(Some(wire::Request::Run { kept: true, .. }))) {
            keep(unkept.take());
        }
        unkept = None;
        match request? {
            None => return Ok(()),
            // The attempt ended by itself while the request was on its way.
            Some(wire::Request::Stop { .. } | wire::Request::Say { .. }) => {}
            Some(wire::Request::Run { spec, .. }) => {
                let replies = attempt::run(&spec, control, &mut waited);
                let gone = replies.iter().any(
                    |reply| matches!(reply, wire::Reply::Ended(record) if record.cause == Cause::OwnerGone),
                );
                let told = wire::write_together(control, &replies);
                unkept = spec.durable.then(|| PathBuf::from(&spec.dir));
                if told.is_err() || gone {
                    keep(unkept);
                    return Ok(());
                }
            }
        }
    }
}

/// Makes the record of an attempt durable, if there is one to be.
fn keep(dir: Option<PathBuf>) {
    // If it fails the record is still there for whoever comes before the next power cut.
    let _ = dir.map(|dir| record::sync(&dir));
}

/// Tells whether kapell says something, or is gone, before `patience` is over.
fn is_asked(control: &UnixStream, patience: Duration) -> bool {
    let mut fds = [PollFd::new(control, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&processes::timespec(patience))), Ok(1..))
}

/// Returns the path of the output of the attempt in `dir`.
#[must_use]
pub fn output_path(dir: &Path) -> std::path::PathBuf {
    dir.join(OUTPUT_FILE)
}
