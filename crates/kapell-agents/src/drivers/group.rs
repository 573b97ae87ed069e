//! A command as a plain process group, for what is trusted and cheap.

use std::{
    io::{self, PipeReader, Read},
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, ExitStatus},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};

use super::exit::Exit;
use crate::{
    protocol::{AttemptKey, outputs},
    supervise::{
        Cause, ExitRecord, Limits, OUTPUT_FILE, OUTPUTS_FILE, Spec, attempt, processes, record::wall_ms,
        spool::Spool,
    },
};

/// Where there are no process files to poll, the end is looked for this often.
const LOOK_FOR_END: Duration = Duration::from_millis(20);

/// An attempt as a process group.
pub(super) struct Group {
    pub(super) key: AttemptKey,
    child: Child,
    end_file: Option<OwnedFd>,
    output: Option<PipeReader>,
    spool: Spool,
    dir: PathBuf,
    limits: Limits,
    started: Instant,
    started_wall_ms: i64,
    /// Who ends it, and when SIGTERM becomes SIGKILL.
    ending: Option<(Cause, Instant)>,
}

impl Group {
    pub(super) fn start(key: AttemptKey, spec: &Spec) -> io::Result<Self> {
        let started = Instant::now();
        let (mut command, pipes) = attempt::command(spec)?;
        let child = command.spawn()?;
        let dir = PathBuf::from(&spec.dir);
        Ok(Self {
            key,
            end_file: processes::open_pid(child.id().cast_signed()),
            child,
            output: Some(pipes.output),
            spool: Spool::new(dir.join(OUTPUT_FILE), spec.limits.output_bytes),
            dir,
            limits: spec.limits.clone(),
            started,
            started_wall_ms: wall_ms(),
            ending: None,
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns what is to be polled: the end of the process, and its output.
    pub(super) fn files(&self) -> (Option<&OwnedFd>, Option<&PipeReader>) {
        (self.end_file.as_ref(), self.output.as_ref())
    }

    /// Returns when it must be looked at although nothing happens.
    pub(super) fn due(&self) -> Option<Instant> {
        let deadline = self.limits.timeout.and_then(|timeout| self.started.checked_add(timeout));
        let look = self.end_file.is_none().then(|| Instant::now() + LOOK_FOR_END);
        [self.ending.map(|(_, kill)| kill).or(deadline), look].into_iter().flatten().min()
    }

    pub(super) fn end(&mut self, cause: Cause, grace: Duration) {
        let kill = Instant::now() + grace;
        match &mut self.ending {
            Some((_, earlier)) => *earlier = kill.min(*earlier),
            None => {
                self.ending = Some((cause, kill));
                self.signal(Signal::TERM);
                self.signal(Signal::CONT);
            }
        }
    }

    /// Sends a signal to the group. Its leader is not reaped yet, so the group is no other one.
    fn signal(&self, signal: Signal) {
        if let Some(group) = Pid::from_raw(self.child.id().cast_signed()) {
            let _ = kill_process_group(group, signal);
        }
    }

    /// Does what is to be done now; returns the end once it is there.
    pub(super) fn step(&mut self) -> Option<Exit> {
        self.pump();
        let now = Instant::now();
        match self.ending {
            Some((_, kill)) if kill <= now => self.signal(Signal::KILL),
            None if self.due().is_some_and(|due| self.end_file.is_some() && due <= now) => {
                self.end(Cause::TimedOut, self.limits.grace);
            }
            _ => {}
        }
        if !self.has_ended() {
            return None;
        }
        // What is left of the group goes while its leader still keeps its number taken.
        self.signal(Signal::KILL);
        let status = self.child.wait().ok();
        self.pump();
        Some(self.conclude(status))
    }

    fn has_ended(&self) -> bool {
        let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) else { return false };
        let options = rustix::process::WaitIdOptions::EXITED
            | rustix::process::WaitIdOptions::NOHANG
            | rustix::process::WaitIdOptions::NOWAIT;
        matches!(rustix::process::waitid(rustix::process::WaitId::Pid(pid), options), Ok(Some(_)) | Err(_))
    }

    /// Takes the output that is there, at most 256 KiB of it at a time.
    fn pump(&mut self) {
        let mut chunk = [0; 1 << 14];
        for _ in 0..16 {
            let Some(output) = &mut self.output else { return };
            match output.read(&mut chunk) {
                Ok(0) => self.output = None,
                Ok(len) => self.spool.take(&chunk[..len]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.output = None,
            }
        }
    }

    fn conclude(&mut self, status: Option<ExitStatus>) -> Exit {
        let cause = self.ending.map_or(Cause::Itself, |(cause, _)| cause);
        let mut record = ExitRecord::new(&self.key.to_string(), cause);
        record.started_wall_ms = self.started_wall_ms;
        record.usage.wall_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        record.code = status.and_then(|status| status.code());
        record.signal = status.and_then(|status| status.signal());
        (record.printed, record.tail) = self.spool.finish();
        if let Some(error) = &self.spool.error {
            record.notes.push(format!("the output could not be kept: {error}"));
        }
        match outputs::read(&Path::new(&self.dir).join(OUTPUTS_FILE)) {
            Ok(outputs) => record.outputs = outputs,
            Err(error) => record.outputs_error = Some(error.to_string()),
        }
        Exit::from_record(record)
    }
}
