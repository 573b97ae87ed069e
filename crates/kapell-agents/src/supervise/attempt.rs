//! One attempt, from the start of its process to its record.

use std::{
    fs,
    io::{self, PipeReader, PipeWriter, Read, Write},
    os::{
        fd::OwnedFd,
        unix::{
            net::UnixStream,
            process::{CommandExt, ExitStatusExt},
        },
    },
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    process::WaitStatus,
};
use serde::{Deserialize, Serialize};

use super::{
    ERRORS_FILE, MARKER, OUTPUT_FILE, OUTPUTS_FILE, PID_FILE,
    cgroup::Cgroup,
    processes::{self, ChildTicks, Process},
    record::{self, Cause, ExitRecord, wall_ms},
    spec::{Output, Spec, Stdin},
    spool::Spool,
    tree,
    wire::{self, Reply, Request},
};
use crate::protocol::outputs;

/// Clock ticks of `/proc` are hundredths of a second on every platform that Linux runs on (`USER_HZ`).
const MS_PER_TICK: u64 = 10;
/// How long processes that an attempt left behind when it ended by itself have after SIGTERM.
const LEFTOVER_GRACE: Duration = Duration::from_secs(1);
/// How long processes have when kapell is gone: whoever resumes waits for it.
const OWNER_GONE_GRACE: Duration = Duration::from_secs(2);
/// Memory is sampled first after this long, then after twice as long each time, up to [`SAMPLE_MAX`].
const SAMPLE_FIRST: Duration = Duration::from_millis(250);
const SAMPLE_MAX: Duration = Duration::from_secs(8);
/// How long after a failure is looked whether kapell has gone, too: what loses kapell may fail before its supervisor is told.
const GONE_TOO: Duration = Duration::from_millis(100);
/// How long output is taken after the last process has ended.
const LAST_OUTPUT: Duration = Duration::from_secs(5);
/// Where there are no process files to poll, the end is looked for this often.
const LOOK_FOR_END: Duration = Duration::from_millis(20);
/// How long it is kept back that a process has started: with what ends sooner kapell is woken once, not twice.
const KEPT_BACK: Duration = Duration::from_millis(5);

/// Who runs an attempt, as its pid file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PidFile {
    /// The name of the attempt: the directory may have been that of another one.
    #[serde(default)]
    attempt: Option<String>,
    pub(crate) boot: String,
    /// Id and start of the supervisor.
    pub(crate) supervisor: (i32, u64),
    /// Id and start of the attempt's own process.
    pub(crate) process: (i32, u64),
    /// Its control group, if it has one.
    #[serde(default)]
    pub(crate) cgroup: Option<PathBuf>,
}

impl PidFile {
    fn write(child: i32, spec: &Spec) -> Option<()> {
        static OWN: OnceLock<Option<(i32, u64)>> = OnceLock::new();
        let of = |pid| Process::of(pid).map(|entry| (entry.process.pid, entry.process.start));
        let own = OWN.get_or_init(|| of(rustix::process::getpid().as_raw_pid()));
        let (boot, cgroup) = (processes::boot_id().to_owned(), spec.cgroup.as_ref().map(PathBuf::from));
        let attempt = Some(spec.marker.clone());
        let file = Self { attempt, boot, supervisor: (*own)?, process: of(child)?, cgroup };
        record::write_own(&Path::new(&spec.dir).join(PID_FILE), &serde_json::to_vec(&file).ok()?).ok()
    }

    pub(crate) fn read(dir: &Path, attempt: &str) -> Option<Self> {
        let file: Self = serde_json::from_slice(&fs::read(dir.join(PID_FILE)).ok()?).ok()?;
        // Earlier versions did not say whose it is.
        file.attempt.as_deref().is_none_or(|of| of == attempt).then_some(file)
    }
}

/// Runs `spec` to its end and records it. `control` is the socket to kapell, `waited` what the children of this process
/// that were waited for have used.
///
/// Returns what kapell is to be told.
pub(crate) fn run(spec: &Spec, control: &mut UnixStream, waited: &mut ChildTicks) -> Vec<Reply> {
    let mut record = ExitRecord::new(&spec.marker, Cause::Itself);
    let before = *waited;
    let started = Instant::now();
    let mut untold = None;
    match start(spec) {
        Ok((pid, streams, input)) => {
            // Without this file the marker in the environment still tells whose processes they are.
            let _ = PidFile::write(pid, spec);
            let mut attempt = Attempt::new(spec, pid, streams, input, started);
            attempt.supervise(control);
            untold = attempt.untold.map(|_| attempt.start());
            attempt.conclude(&mut record);
        }
        Err(error) => {
            record.cause = Cause::NotStarted;
            record.start_error = Some(explain_start(spec, &error));
            let _ = cgroup_of(spec).map(|cgroup| cgroup.end());
        }
    }
    record.usage.wall_ms = ms(started.elapsed());
    record.ended_wall_ms = wall_ms();
    *waited = processes::waited_for();
    record.usage.user_ms = ticks(before, *waited, |ticks| ticks.user);
    record.usage.system_ms = ticks(before, *waited, |ticks| ticks.system);
    if let Err(error) = record.write(Path::new(&spec.dir)) {
        record.notes.push(format!("the exit record could not be written: {error}"));
    }
    untold.into_iter().chain([Reply::Ended(Box::new(record))]).collect()
}

fn ms(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

fn ticks(before: ChildTicks, after: ChildTicks, of: impl Fn(&ChildTicks) -> u64) -> u64 {
    of(&after).saturating_sub(of(&before)).saturating_mul(MS_PER_TICK)
}

/// What an attempt prints: the pipe, and where it is kept.
pub(crate) struct Stream {
    reader: Option<PipeReader>,
    spool: Spool,
}

impl Stream {
    fn new(reader: PipeReader, file: &str, spec: &Spec) -> Self {
        let spool = Spool::new(Path::new(&spec.dir).join(file), spec.kept_bytes());
        Self { reader: Some(reader), spool }
    }

    /// Takes the output that is there, at most 1 MiB of it at a time; says whether there was any.
    fn pump(&mut self) -> bool {
        let mut chunk = [0; 1 << 16];
        let mut any = false;
        for _ in 0..16 {
            let Some(reader) = &mut self.reader else { break };
            match reader.read(&mut chunk) {
                Ok(0) => self.reader = None,
                Ok(len) => {
                    self.spool.take(&chunk[..len]);
                    any = true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.reader = None,
            }
        }
        any
    }

    /// Tells whether output waits that was printed before the end; a stranger may still hold the pipe open.
    fn has_output(&self) -> bool {
        let Some(reader) = &self.reader else { return false };
        let mut fds = [PollFd::new(reader, PollFlags::IN)];
        let nothing = processes::timespec(Duration::ZERO);
        poll(&mut fds, Some(&nothing)).is_ok() && fds[0].revents().contains(PollFlags::IN)
    }
}

/// The ends of the pipes that a command prints into and, where it is talked to, reads from.
pub(crate) struct Pipes {
    pub(crate) output: PipeReader,
    pub(crate) errors: Option<PipeReader>,
    pub(crate) input: Option<PipeWriter>,
}

/// What is still to be written to an attempt.
struct Input {
    writer: PipeWriter,
    waiting: Vec<u8>,
    /// Whether its standard input ends once that is written.
    last: bool,
}

impl Input {
    fn new(writer: PipeWriter) -> Self {
        Self { writer, waiting: Vec::new(), last: false }
    }

    /// Writes what is taken now; says whether there is more to come.
    fn flush(&mut self) -> bool {
        while !self.waiting.is_empty() {
            match self.writer.write(&self.waiting) {
                Ok(len) => drop(self.waiting.drain(..len)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                // It does not listen any more.
                Err(_) => return false,
            }
        }
        !self.last
    }
}

fn pipe() -> io::Result<(PipeReader, io::PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    rustix::io::ioctl_fionbio(&reader, true)?;
    Ok((reader, writer))
}

/// Makes the command of an attempt: a file or nothing on its input, pipes for its output, nothing inherited.
///
/// Nothing here needs code between fork and exec, so std starts it by `posix_spawn`.
pub(crate) fn command(spec: &Spec) -> io::Result<(Command, Pipes)> {
    let (program, arguments) = spec
        .argv
        .split_first()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "there is no command"))?;
    let (output, writer) = pipe()?;
    let (errors, errors_writer) = match spec.output {
        Output::Joined => (None, writer.try_clone()?),
        Output::Followed => pipe().map(|(reader, writer)| (Some(reader), writer))?,
    };
    let (stdin, input) = match &spec.stdin {
        Stdin::Nothing => (Stdio::null(), None),
        Stdin::File(path) => (Stdio::from(fs::File::open(path)?), None),
        Stdin::Talk => {
            let (reader, writer) = io::pipe()?;
            rustix::io::ioctl_fionbio(&writer, true)?;
            (Stdio::from(reader), Some(writer))
        }
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .env(MARKER, &spec.marker)
        .current_dir(&spec.cwd)
        .process_group(0)
        .stdin(stdin)
        .stdout(writer)
        .stderr(errors_writer);
    Ok((command, Pipes { output, errors, input }))
}

/// Waits until the other end of `control` is closed, for at most `patience`; says whether it is.
fn has_hung_up(control: &UnixStream, patience: Duration) -> bool {
    // A hang-up is told even if nothing is asked for.
    let mut fds = [PollFd::new(control, PollFlags::empty())];
    poll(&mut fds, Some(&processes::timespec(patience))).is_ok_and(|ready| ready > 0)
}

fn cgroup_of(spec: &Spec) -> Option<Cgroup> {
    spec.cgroup.as_ref().map(Cgroup::at)
}

fn start(spec: &Spec) -> io::Result<(i32, Vec<Stream>, Option<Input>)> {
    cgroup_of(spec).map_or(Ok(()), |cgroup| cgroup.make())?;
    let (mut command, pipes) = command(spec)?;
    let child = command.spawn()?;
    let output = Stream::new(pipes.output, OUTPUT_FILE, spec);
    let errors = pipes.errors.map(|errors| Stream::new(errors, ERRORS_FILE, spec));
    let streams = std::iter::once(output).chain(errors).collect();
    Ok((child.id().cast_signed(), streams, pipes.input.map(Input::new)))
}

/// Says why a process could not be started; the operating system does not say which file is missing.
pub(crate) fn explain_start(spec: &Spec, error: &io::Error) -> String {
    let cwd = Path::new(&spec.cwd);
    if !cwd.is_dir() {
        return format!("the directory to start in is not there: {}", cwd.display());
    }
    let program = spec.argv.first().map(|program| Path::new(program).display().to_string());
    format!("cannot start {}: {error}", program.unwrap_or_default())
}

/// An attempt that runs.
struct Attempt<'a> {
    spec: &'a Spec,
    pid: i32,
    /// Told apart from `None`: there are systems without such files.
    end_file: Option<OwnedFd>,
    /// What it prints, and what it prints as errors if that is kept apart.
    streams: Vec<Stream>,
    /// What it is told, until that ends.
    input: Option<Input>,
    status: Option<WaitStatus>,
    started: Instant,
    /// When kapell is told that it has started, if it has not been yet.
    untold: Option<Instant>,
    /// Who ends it and when SIGTERM becomes SIGKILL; the first one to end it counts.
    ending: Option<(Cause, Instant)>,
    /// When it gets SIGTERM, if it was asked to end by itself until then.
    patience: Option<Instant>,
    sample: (Instant, Duration),
    rss_max_kib: Option<u64>,
}

impl<'a> Attempt<'a> {
    fn new(spec: &'a Spec, pid: i32, streams: Vec<Stream>, input: Option<Input>, started: Instant) -> Self {
        Self {
            spec,
            pid,
            end_file: processes::open_pid(pid),
            streams,
            input,
            status: None,
            started,
            // Whoever reads along, or talks to it, waits for that.
            untold: Some(if spec.output == Output::Joined { started + KEPT_BACK } else { started }),
            ending: None,
            patience: None,
            sample: (started + SAMPLE_FIRST, SAMPLE_FIRST),
            rss_max_kib: None,
        }
    }

    /// What kapell is told when it has started.
    fn start(&self) -> Reply {
        Reply::Started { pid: self.pid.cast_unsigned() }
    }

    /// Waits until the process has ended, by itself or because it must.
    fn supervise(&mut self, control: &mut UnixStream) {
        let mut owned = true;
        while self.status.is_none() {
            let now = Instant::now();
            if self.untold.is_some_and(|at| at <= now) {
                self.untold = None;
                if wire::write(control, &self.start()).is_err() {
                    owned = false;
                    self.end(Cause::OwnerGone, Duration::ZERO, OWNER_GONE_GRACE);
                }
            }
            if self.patience.is_some_and(|until| until <= now) {
                self.patience = None;
                tree::terminate(self.pid);
            }
            match (self.ending, self.deadline()) {
                (Some((_, kill)), _) if kill <= now => return,
                (None, Some(deadline)) if deadline <= now => {
                    self.end(Cause::TimedOut, Duration::ZERO, self.spec.limits.grace);
                }
                _ => {}
            }
            let (asked, ended) = self.wait(control, owned);
            if asked {
                match wire::read(control) {
                    Ok(Some(Request::Stop { patience_ms, grace_ms })) => {
                        let [patience, grace] = [patience_ms, grace_ms].map(Duration::from_millis);
                        self.end(Cause::Stopped, patience, grace);
                    }
                    Ok(Some(Request::Say { bytes, last })) => {
                        if let Some(input) = &mut self.input {
                            input.waiting.extend(bytes);
                            input.last |= last;
                        }
                    }
                    Ok(Some(Request::Run { .. }) | None) | Err(_) => {
                        owned = false;
                        self.end(Cause::OwnerGone, Duration::ZERO, OWNER_GONE_GRACE);
                    }
                }
            }
            if self.input.as_mut().is_some_and(|input| !input.flush()) {
                self.input = None;
            }
            // Whether kapell is gone, the next read from it says.
            if self.pump() && owned && self.spec.output == Output::Followed {
                let _ = wire::write(control, &Reply::Printed);
            }
            self.end_if_unheard();
            if ended || self.end_file.is_none() {
                tree::reap(self.pid, &mut self.status);
            }
            self.sample();
        }
        // A check that is lost runs again: whether kapell has gone makes no difference there.
        if self.ending.is_none() && self.failed() && self.spec.durable && has_hung_up(control, GONE_TOO) {
            self.ending = Some((Cause::OwnerGone, Instant::now() + OWNER_GONE_GRACE));
        }
    }

    fn failed(&self) -> bool {
        self.status.is_some_and(|status| status.exit_status() != Some(0))
    }

    fn deadline(&self) -> Option<Instant> {
        self.started.checked_add(self.spec.limits.timeout?)
    }

    /// Asks all processes to end, after `patience`. A second call can only shorten the time that they have.
    fn end(&mut self, cause: Cause, patience: Duration, grace: Duration) {
        let term = Instant::now() + patience;
        let kill = term + grace;
        match &mut self.ending {
            Some((_, earlier)) => {
                *earlier = kill.min(*earlier);
                self.patience = self.patience.map(|until| until.min(term));
            }
            None => {
                self.ending = Some((cause, kill));
                self.patience = Some(term);
                if patience.is_zero() {
                    self.patience = None;
                    tree::terminate(self.pid);
                }
            }
        }
    }

    /// Ends what is read along once its output cannot be kept: nobody would hear what it asks and spends.
    fn end_if_unheard(&mut self) {
        let is_unheard = self.streams.iter().any(|stream| stream.spool.is_behind());
        if is_unheard && self.spec.output == Output::Followed && self.ending.is_none() {
            self.end(Cause::OverOutput, Duration::ZERO, self.spec.limits.grace);
        }
    }

    /// Waits for something to happen; says whether kapell asks for something and whether the process ended.
    fn wait(&self, control: &UnixStream, owned: bool) -> (bool, bool) {
        let mut next = self.sample.0;
        let end = self.ending.map(|(_, kill)| kill).or_else(|| self.deadline());
        next = end.into_iter().chain(self.patience).chain(self.untold).fold(next, Instant::min);
        let mut patience = next.saturating_duration_since(Instant::now());
        if self.end_file.is_none() {
            patience = patience.min(LOOK_FOR_END);
        }
        let none = PollFlags::empty();
        // A file that is not there is replaced by one that is asked for nothing.
        let asked = if owned { PollFlags::IN } else { none };
        let mut fds = vec![PollFd::new(control, asked)];
        fds.extend(self.end_file.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
        let writer = self.input.as_ref().filter(|input| !input.waiting.is_empty());
        fds.extend(writer.map(|input| PollFd::new(&input.writer, PollFlags::OUT)));
        let readers = self.streams.iter().filter_map(|stream| stream.reader.as_ref());
        fds.extend(readers.map(|fd| PollFd::new(fd, PollFlags::IN)));
        if poll(&mut fds, Some(&processes::timespec(patience))).is_err() {
            return (false, false);
        }
        let ended = self.end_file.is_some() && !fds[1].revents().is_empty();
        (owned && !fds[0].revents().is_empty(), ended)
    }

    /// Takes the output that is there; says whether there was any.
    fn pump(&mut self) -> bool {
        self.streams.iter_mut().fold(false, |any, stream| stream.pump() | any)
    }

    /// Looks from time to time how much memory is held; reaps what fell to the supervisor, too.
    fn sample(&mut self) {
        let now = Instant::now();
        if now < self.sample.0 {
            return;
        }
        let most = self.spec.limits.resident_bytes;
        let step = if most.is_some() { SAMPLE_FIRST } else { (self.sample.1 * 2).min(SAMPLE_MAX) };
        self.sample = (now + step, step);
        tree::reap(self.pid, &mut self.status);
        let held = processes::rss_kib(&tree::below());
        if held > 0 {
            self.rss_max_kib = self.rss_max_kib.max(Some(held));
        }
        if most.is_some_and(|most| held.saturating_mul(1024) > most) {
            // It may grow while it is asked.
            self.end(Cause::OverMemory, Duration::ZERO, Duration::ZERO);
        }
    }

    /// Makes sure that nothing of it runs any more, and writes down how it ended.
    fn conclude(mut self, record: &mut ExitRecord) {
        let cause = self.ending.map_or(Cause::Itself, |(cause, _)| cause);
        let grace = match self.ending {
            None => LEFTOVER_GRACE.min(self.spec.limits.grace),
            Some((_, kill)) => kill.saturating_duration_since(Instant::now()),
        };
        let mut status = self.status.take();
        let pid = self.pid;
        let cgroup = cgroup_of(self.spec);
        let swept = tree::sweep(pid, &mut status, grace, cgroup.as_ref(), || {
            self.pump();
        });
        // It is empty by now, unless something in it is nobody's child.
        if let Some(Err(stubborn)) = cgroup.map(|cgroup| cgroup.end()) {
            let pids: Vec<String> = stubborn.iter().map(|process| process.pid.to_string()).collect();
            record.notes.push(format!("its control group is not empty: {}", pids.join(", ")));
        }
        // A process out of reach may hold the pipe open and go on printing.
        let last = Instant::now() + LAST_OUTPUT;
        while self.streams.iter().any(Stream::has_output) && Instant::now() < last {
            self.pump();
        }
        record.cause = cause;
        if let Some(status) = status {
            let status = ExitStatus::from_raw(status.as_raw());
            record.code = status.code();
            record.signal = status.signal();
        }
        record.leftover = swept.leftover;
        record.stubborn = swept.stubborn;
        record.usage.rss_max_kib = self.rss_max_kib;
        // The first stream is what it prints; the record tells of that one.
        for stream in self.streams.iter_mut().rev() {
            (record.printed, record.tail) = stream.spool.finish();
            if let Some(error) = &stream.spool.error {
                record.notes.push(format!("the output could not be kept: {error}"));
            }
        }
        match outputs::read(&Path::new(&self.spec.dir).join(OUTPUTS_FILE)) {
            Ok(outputs) => record.outputs = outputs,
            Err(error) => record.outputs_error = Some(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hang_up_is_seen_even_if_something_was_said_before() {
        let (own, mut other) = UnixStream::pair().unwrap();
        assert!(!has_hung_up(&own, Duration::from_millis(1)));
        other.write_all(b"x").unwrap();
        assert!(!has_hung_up(&own, Duration::from_millis(1)));
        drop(other);
        assert!(has_hung_up(&own, Duration::from_secs(60)));
    }
}
