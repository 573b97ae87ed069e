//! All attempts of this process, watched by one thread.

use std::{
    collections::{HashMap, VecDeque},
    ffi::OsString,
    fs, io,
    io::{Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::Child,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use kapell_core::retry::FailureClass;
use rustix::event::{PollFd, PollFlags, poll};

use super::{
    Report, Sink,
    client::{self, Heard, Listener, Tell},
    exit::{Ending, Exit},
    group::Group,
    job::{Job, Supervision, Work},
    spare::Spares,
    supervised::{Parts, Said, Supervised, Supervisor},
};
use crate::{
    protocol::{
        self, AttemptKey,
        outputs::Outputs,
        server::{self, Guests, Server, ServerError},
    },
    supervise::{
        BRIEF_FILE, Cause, ExitRecord, OUTPUTS_FILE, Output, Spec, Stdin, attempt, processes, record,
    },
};

/// The name of the output that a person's answer is.
pub const ANSWER: &str = "answer";

/// How long a client that is told to stop in its own words has before SIGTERM.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long a client that is silent or runs away has between SIGTERM and SIGKILL.
const OUTSIDE_GRACE: Duration = Duration::from_secs(5);

/// How a crew works.
#[derive(Debug, Clone)]
pub struct Config {
    /// kapell's own binary. `/proc/self/exe` is best on Linux: it stays the same one even if it is replaced.
    pub program: PathBuf,
    /// How many supervisors without work are kept.
    pub idle_max: usize,
    /// Where agents reach kapell, in a directory that only its owner can enter; the kernel takes about 100 bytes.
    /// Without it they can only write to the file for outputs.
    pub socket: Option<PathBuf>,
}

/// Why a crew could not be opened, or an attempt not be begun: nothing of it runs, and nothing is reported.
#[derive(Debug, thiserror::Error)]
pub enum CrewError {
    /// Agents cannot reach kapell.
    #[error(transparent)]
    Socket(#[from] ServerError),
    /// The operating system refuses what a crew needs.
    #[error("failed to open a crew: {0}")]
    Open(#[from] io::Error),
    /// Its directory cannot be used.
    #[error("failed to prepare the directory of attempt {key}: {source}")]
    Directory {
        /// The attempt.
        key: AttemptKey,
        /// Why.
        source: io::Error,
    },
    /// No supervisor can be started.
    #[error("failed to start a supervisor for attempt {key}: {source}")]
    Supervisor {
        /// The attempt.
        key: AttemptKey,
        /// Why.
        source: io::Error,
    },
}

impl CrewError {
    /// Says what a person can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Socket(error) => error.hint(),
            Self::Open(_) => "check the limits on processes and open files (ulimit -u, ulimit -n)",
            Self::Directory { .. } => "check that the disk has space and that the directory is yours",
            Self::Supervisor { .. } => "check the limits on processes and open files (ulimit -u, ulimit -n)",
        }
    }
}

/// Performs attempts. One thread watches all of them.
pub struct Crew {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    config: Config,
    sink: Sink,
    /// The one that has been idle longest comes first.
    idle: Mutex<VecDeque<Supervisor>>,
    spares: Mutex<Spares>,
    orders: Mutex<Vec<Order>>,
    /// How many attempts are being begun: they run perhaps, and nobody watches them yet.
    begins: AtomicUsize,
    is_closing: AtomicBool,
    wake: UnixStream,
    guests: Option<Guests>,
    /// A directory with nothing but kapell's own program, by the name that agents know it by.
    commands: Option<PathBuf>,
}

/// What the thread is told.
enum Order {
    Watch(Attempt),
    Stop { key: AttemptKey, grace: Duration },
    Answer { key: AttemptKey, question: u32, text: String },
    Spent { key: AttemptKey, percent: u64 },
    Finish { key: AttemptKey, exit: Box<Exit> },
    Close { grace: Duration },
}

/// An attempt that has begun.
enum Attempt {
    Supervised(Box<Supervised>),
    Group(Box<Group>),
    Person(AttemptKey),
    /// Its supervisor died, and what it left is being ended.
    Orphaned,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked held no half-made state: every lock is held for one push or one take.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Crew {
    /// Opens a crew that reports to `sink`.
    ///
    /// This process becomes a sub-reaper: should a supervisor be killed, its processes fall to this one, which
    /// finds and ends them.
    ///
    /// # Errors
    ///
    /// Fails if the thread cannot be started or the socket not be made.
    pub fn open(config: Config, sink: Sink) -> Result<Self, CrewError> {
        #[cfg(target_os = "linux")]
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(io::Error::from)?;
        let server = config.socket.as_deref().map(Server::bind).transpose()?;
        let guests = server.as_ref().map(Server::guests);
        let commands = config.socket.as_deref().and_then(|socket| own_commands(socket, &config.program));
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            config,
            sink,
            idle: Mutex::default(),
            spares: Mutex::default(),
            orders: Mutex::default(),
            begins: AtomicUsize::new(0),
            is_closing: AtomicBool::new(false),
            wake,
            guests,
            commands,
        });
        let watch = Watch {
            shared: Arc::clone(&shared),
            woken,
            server,
            attempts: HashMap::new(),
            early: Vec::new(),
            dismissed: Vec::new(),
            closing: None,
        };
        let thread = std::thread::Builder::new().name("crew".to_owned()).spawn(move || watch.run())?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Starts supervisors ahead of need, so that there are `count` without work.
    ///
    /// # Errors
    ///
    /// Fails if one cannot be started.
    pub fn warm(&self, count: usize) -> io::Result<()> {
        let missing = count.saturating_sub(lock(&self.shared.idle).len());
        for _ in 0..missing {
            let supervisor = Supervisor::start(&self.shared.config.program)?;
            lock(&self.shared.idle).push_back(supervisor);
        }
        Ok(())
    }

    /// Begins an attempt. Its end is reported, once, unless this fails.
    ///
    /// # Errors
    ///
    /// Fails if the attempt could not be begun. A command that does not exist is no such failure but the end of
    /// an attempt.
    pub fn start(&self, key: AttemptKey, job: Job) -> Result<(), CrewError> {
        match &job.work {
            Work::Noop(outputs) => {
                self.shared.report(key, Report::Finished(Box::new(Exit::success(outputs.clone()))));
                return Ok(());
            }
            Work::Person { question, choices } => {
                let (text, choices) = (question.clone(), choices.clone());
                self.shared.order(Order::Watch(Attempt::Person(key)));
                self.shared.report(key, Report::Question { question: 0, text, choices });
                return Ok(());
            }
            Work::Shell(_) | Work::Program(_) | Work::Client(_) => {}
        }
        let begun = self.start_process(key, job);
        if begun.is_err() {
            lock(&self.shared.spares).end(key, None);
            self.shared.guests.iter().for_each(|guests| guests.remove(key));
        }
        begun
    }

    fn start_process(&self, key: AttemptKey, job: Job) -> Result<(), CrewError> {
        let _begins = Begins::of(&self.shared);
        let is_client = matches!(job.work, Work::Client(_));
        if job.supervision == Supervision::Group && !is_client {
            let spec = self.shared.make_spec(key, &job)?;
            // A control group is made and removed by a supervisor.
            if spec.cgroup.is_none() {
                self.start_group(key, &spec);
                return Ok(());
            }
        }
        let supervised = self.shared.start_supervised(key, job)?;
        self.shared.order(Order::Watch(Attempt::Supervised(Box::new(supervised))));
        Ok(())
    }

    fn start_group(&self, key: AttemptKey, spec: &Spec) {
        match Group::start(key, spec) {
            Ok(group) => {
                self.shared.report(key, Report::Started { pid: group.pid() });
                self.shared.order(Order::Watch(Attempt::Group(Box::new(group))));
            }
            Err(error) => {
                let mut record = ExitRecord::new(&spec.marker, Cause::NotStarted);
                record.start_error = Some(attempt::explain_start(spec, &error));
                self.shared.report(key, Report::Finished(Box::new(Exit::from_record(record))));
            }
        }
    }

    /// Asks an attempt to end: SIGTERM, and SIGKILL after `grace`. Its end is reported as ever.
    pub fn stop(&self, key: AttemptKey, grace: Duration) {
        self.shared.order(Order::Stop { key, grace });
    }

    /// Makes the directory of an attempt that will perhaps begin soon. If it cannot be made, its start says so.
    pub fn expect(&self, dir: &Path) {
        let _ = lock(&self.shared.spares).make(dir);
    }

    /// Takes in that it is durable elsewhere how an attempt ended.
    pub fn settled(&self, key: AttemptKey) {
        lock(&self.shared.spares).settle(key);
        let mut idle = lock(&self.shared.idle);
        if let Some(one) = idle.iter_mut().find(|one| one.unkept == Some(key)) {
            one.unkept = None;
        }
    }

    /// Answers a question that an attempt asked.
    pub fn answer(&self, key: AttemptKey, question: u32, text: String) {
        self.shared.order(Order::Answer { key, question, text });
    }

    /// Returns what takes in what share of what it may spend an attempt was seen to spend, in percent. It keeps nothing of
    /// the crew alive.
    pub fn spending(&self) -> Arc<dyn Fn(AttemptKey, u64) + Send + Sync> {
        let shared = Arc::downgrade(&self.shared);
        Arc::new(move |key, percent| {
            // Most replies bring nobody near an end.
            if let Some(shared) = shared.upgrade().filter(|_| client::Limit::is_near(percent)) {
                shared.order(Order::Spent { key, percent });
            }
        })
    }

    /// Ends all attempts, waits until nothing runs any more, and reports each end.
    pub fn close(self, grace: Duration) {
        self.end_all(grace);
    }

    /// Does the same for a crew that others have too. Nothing may be begun after that.
    pub fn end_all(&self, grace: Duration) {
        if let Some(thread) = lock(&self.thread).take() {
            self.shared.is_closing.store(true, Ordering::SeqCst);
            self.shared.order(Order::Close { grace });
            let _ = thread.join();
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.end_all(Duration::ZERO);
        if let Some(dir) = &self.shared.commands {
            let _ = fs::remove_dir_all(dir);
        }
    }
}

impl Shared {
    fn make_spec(&self, key: AttemptKey, job: &Job) -> Result<Spec, CrewError> {
        let failed = |source| CrewError::Directory { key, source };
        lock(&self.spares).begin(key, &job.dir, job.is_script).map_err(failed)?;
        let mut spec = make_spec(key, job).map_err(failed)?;
        if let Some(guests) = &self.guests {
            let (socket, token) = guests.admit(key, job.dir.join(OUTPUTS_FILE), job.brief.clone());
            spec.env.push((protocol::SOCKET.into(), socket.into()));
            spec.env.push((protocol::TOKEN.into(), token.into()));
        }
        if let Some(dir) = &self.commands {
            find_first(&mut spec.env, dir);
        }
        if let Some(contained) = &job.contained {
            let mut contained = contained.clone();
            contained.room_mut().readable.extend(self.commands.clone());
            contained.wrap(&mut spec).map_err(failed)?;
        }
        Ok(spec)
    }

    fn start_supervised(&self, key: AttemptKey, job: Job) -> Result<Supervised, CrewError> {
        let spec = self.make_spec(key, &job)?;
        let listener = match &job.work {
            Work::Client(order) => Some(order.listen(&job.dir)),
            _ => None,
        };
        let supervisor = self.hand_over(spec).map_err(|source| CrewError::Supervisor { key, source })?;
        let mut supervised = Supervised::new(key, job.dir.clone(), supervisor, listener);
        if let (Some(listener), Work::Client(order)) = (&mut supervised.listener, &job.work) {
            let opening = listener.catch_up().outgoing;
            // Others are asked once more in a process of its own.
            let asks_again = order.shape.is_some() && !order.client.takes_turns();
            supervised.say(opening);
            supervised.again = asks_again.then(|| Box::new(job));
        }
        Ok(supervised)
    }

    /// Takes an idle supervisor out; rather one that need not make a record durable first.
    fn take_idle(&self) -> Option<Supervisor> {
        let mut idle = lock(&self.idle);
        let at = idle.iter().position(|one| one.unkept.is_none()).unwrap_or(0);
        idle.remove(at)
    }

    /// Hands the attempt to a supervisor: to an idle one, if there is one that lives.
    fn hand_over(&self, spec: Spec) -> io::Result<Supervisor> {
        loop {
            let Some(idle) = self.take_idle() else { break };
            if idle.run(spec.clone()).is_ok() {
                return Ok(idle);
            }
            // Somebody killed it while it had no work.
            let _ = idle.dismiss().wait();
        }
        let supervisor = Supervisor::start(&self.config.program)?;
        supervisor.run(spec)?;
        Ok(supervisor)
    }

    fn order(&self, order: Order) {
        lock(&self.orders).push(order);
        self.wake();
    }

    fn wake(&self) {
        // A full socket has a byte in it already.
        let _ = (&self.wake).write(&[0]);
    }

    fn report(&self, key: AttemptKey, report: Report) {
        if let Report::Finished(exit) = &report {
            self.guests.iter().for_each(|guests| guests.remove(key));
            lock(&self.spares).end(key, Some(exit));
        }
        (self.sink)(key, report);
    }
}

/// Makes a directory beside `socket` in which `kapell` is this very program, whatever else is installed. Nothing if that
/// cannot be had: then agents find the one that is in their `PATH`, if any.
fn own_commands(socket: &Path, program: &Path) -> Option<PathBuf> {
    let program = fs::read_link(program).unwrap_or_else(|_| program.to_owned());
    let dir = socket.with_extension("bin");
    let link = dir.join("kapell");
    fs::create_dir_all(&dir).ok()?;
    // One of an earlier process with this id.
    let _ = fs::remove_file(&link);
    std::os::unix::fs::symlink(program, link).ok()?;
    Some(dir)
}

/// Puts `dir` first in `PATH`, where there is one.
fn find_first(env: &mut [(OsString, OsString)], dir: &Path) {
    let Some((_, path)) = env.iter_mut().rev().find(|(name, _)| name == "PATH") else { return };
    let dirs: Vec<PathBuf> = std::iter::once(dir.to_owned()).chain(std::env::split_paths(&path)).collect();
    if let Ok(joined) = std::env::join_paths(dirs) {
        *path = joined;
    }
}

fn make_spec(key: AttemptKey, job: &Job) -> io::Result<Spec> {
    let mut env = job.env.clone();
    let (argv, stdin, output) = match &job.work {
        Work::Client(order) => {
            let prepared = order.prepare(&job.dir)?;
            env.extend(prepared.env);
            (job.resolved(&prepared.argv), prepared.stdin, Output::Followed)
        }
        _ => (job.argv()?.unwrap_or_default(), Stdin::Nothing, Output::Joined),
    };
    env.extend([
        ("KAPELL_RUN".into(), key.run.to_string().into()),
        ("KAPELL_TASK".into(), job.task.clone().into()),
        ("KAPELL_ATTEMPT".into(), key.attempt.to_string().into()),
        ("KAPELL_WORKSPACE".into(), job.cwd.clone().into()),
        (protocol::OUTPUT.into(), job.dir.join(OUTPUTS_FILE).into()),
    ]);
    if !job.brief.text.is_empty() {
        let path = job.dir.join(BRIEF_FILE);
        record::write_own(&path, job.brief.text.as_bytes())?;
        env.push((protocol::BRIEF.into(), path.into()));
    }
    Ok(Spec {
        marker: key.to_string(),
        argv,
        dir: job.dir.clone().into(),
        cwd: job.cwd.clone().into(),
        env,
        limits: job.limits.clone(),
        stdin,
        output,
        cgroup: None,
        durable: job.durable,
    })
}

/// The end of an attempt whose output could not be read along.
fn unread() -> Exit {
    let message = "reading along what it printed failed: a bug in kapell".to_owned();
    Exit::without_process(Ending::Failed(FailureClass::Transient), message)
}

/// Says, while it lives, that an attempt is being begun: who closes waits for that.
struct Begins<'a>(&'a Shared);

impl<'a> Begins<'a> {
    fn of(shared: &'a Shared) -> Self {
        shared.begins.fetch_add(1, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for Begins<'_> {
    fn drop(&mut self) {
        self.0.begins.fetch_sub(1, Ordering::SeqCst);
        if self.0.is_closing.load(Ordering::SeqCst) {
            self.0.wake();
        }
    }
}

/// The thread that watches.
struct Watch {
    shared: Arc<Shared>,
    woken: UnixStream,
    server: Option<Server>,
    attempts: HashMap<AttemptKey, Attempt>,
    /// What was said by attempts whose start is not reported yet: they can be faster than their supervisor.
    early: Vec<(AttemptKey, Report)>,
    dismissed: Vec<Child>,
    /// How long attempts have to end, once all of them shall.
    closing: Option<Duration>,
}

impl Watch {
    fn run(mut self) {
        loop {
            self.take_orders();
            if self.closing.is_some() && self.is_empty() {
                break;
            }
            self.note_asking();
            let ready = self.wait();
            // First, so that what an attempt said comes before its end.
            self.hear_agents();
            self.note_asking();
            for key in ready {
                self.step_safely(key);
            }
            self.dismissed.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        }
        let idle = std::mem::take(&mut *lock(&self.shared.idle));
        self.dismissed.extend(idle.into_iter().map(Supervisor::dismiss));
        for mut child in self.dismissed {
            let _ = child.wait();
        }
    }

    /// Tells whether nothing runs. In this order: what is begun is watched before it counts as begun.
    fn is_empty(&self) -> bool {
        let begins = self.shared.begins.load(Ordering::SeqCst);
        begins == 0 && self.attempts.is_empty() && lock(&self.shared.orders).is_empty()
    }

    /// Does as told.
    fn take_orders(&mut self) {
        let orders = std::mem::take(&mut *lock(&self.shared.orders));
        for order in orders {
            match order {
                Order::Watch(attempt) => {
                    let key = match &attempt {
                        Attempt::Supervised(supervised) => supervised.key,
                        Attempt::Group(group) => group.key,
                        Attempt::Person(key) => *key,
                        Attempt::Orphaned => continue,
                    };
                    let waits = matches!(attempt, Attempt::Supervised(_));
                    self.attempts.insert(key, attempt);
                    if !waits {
                        self.report_early(key);
                    }
                    if let Some(grace) = self.closing {
                        self.stop(key, Duration::ZERO, grace);
                    }
                }
                Order::Stop { key, grace } => self.stop(key, PATIENCE, grace),
                Order::Answer { key, question, text } => self.answer(key, question, text),
                Order::Spent { key, percent } => self.spent(key, percent),
                Order::Finish { key, exit } => self.finish(key, *exit),
                Order::Close { grace } => {
                    self.closing = Some(grace);
                    for key in self.attempts.keys().copied().collect::<Vec<_>>() {
                        self.stop(key, Duration::ZERO, grace);
                    }
                }
            }
        }
    }

    /// Ends an attempt. One that can be talked to is asked first, and has `patience` to do it by itself.
    fn stop(&mut self, key: AttemptKey, patience: Duration, grace: Duration) {
        match self.attempts.get_mut(&key) {
            Some(Attempt::Supervised(supervised)) => {
                supervised.again = None;
                supervised.interrupt(patience, grace);
            }
            Some(Attempt::Group(group)) => group.end(Cause::Stopped, grace),
            Some(Attempt::Person(_)) => {
                let exit = Exit::without_process(Ending::Stopped, "it was stopped".to_owned());
                self.finish(key, exit);
            }
            // It is ending, or has ended meanwhile.
            Some(Attempt::Orphaned) | None => {}
        }
    }

    /// Takes what agents say.
    fn hear_agents(&mut self) {
        let said = self.server.as_mut().map(Server::step).unwrap_or_default();
        for (key, said) in said {
            let report = match said {
                server::Said::Progress { fraction, text } => Report::Progress { fraction, text },
                server::Said::Note { text } => Report::Note { text },
                server::Said::HandOff { to, note } => Report::HandOff { to, note },
                server::Said::Question { question, text, choices } => {
                    Report::Question { question, text, choices }
                }
            };
            let started = match self.attempts.get(&key) {
                Some(Attempt::Supervised(supervised)) => supervised.started,
                Some(_) => true,
                None => false,
            };
            if started {
                self.shared.report(key, report);
            } else {
                self.early.push((key, report));
            }
        }
    }

    /// Tells those who read along which attempts wait for a person: their silence means nothing.
    fn note_asking(&mut self) {
        let Some(server) = &self.server else { return };
        for (key, attempt) in &mut self.attempts {
            if let Attempt::Supervised(supervised) = attempt
                && let Some(listener) = &mut supervised.listener
            {
                listener.note_asking(server.waits(*key));
            }
        }
    }

    /// Reports what an attempt said before its start was reported.
    fn report_early(&mut self, key: AttemptKey) {
        for (_, report) in self.early.extract_if(.., |(of, _)| *of == key) {
            self.shared.report(key, report);
        }
    }

    fn answer(&mut self, key: AttemptKey, question: u32, text: String) {
        if question >= client::QUESTIONS_FROM {
            return self.tell(key, Tell::Answer { question, text: &text });
        }
        if let Some(server) = &mut self.server {
            server.answer(key, question, &text);
        }
        if let (Some(Attempt::Person(_)), 0) = (self.attempts.get(&key), question) {
            self.finish(key, Exit::success(Outputs::from([(ANSWER.to_owned(), text)])));
        }
    }

    /// Tells a client something, if it is one that can be told.
    fn tell(&mut self, key: AttemptKey, what: Tell<'_>) {
        let Some(Attempt::Supervised(supervised)) = self.attempts.get_mut(&key) else { return };
        let reports = supervised.tell(what).unwrap_or_default();
        self.report_all(key, reports);
    }

    fn spent(&mut self, key: AttemptKey, percent: u64) {
        let Some(Attempt::Supervised(supervised)) = self.attempts.get_mut(&key) else { return };
        let reports = supervised.note_spent(percent);
        self.report_all(key, reports);
    }

    fn report_all(&self, key: AttemptKey, reports: Vec<Report>) {
        reports.into_iter().for_each(|report| self.shared.report(key, report));
    }

    fn finish(&mut self, key: AttemptKey, exit: Exit) {
        self.attempts.remove(&key);
        self.report_early(key);
        if let Some(server) = &mut self.server {
            server.dismiss(key);
        }
        self.shared.report(key, Report::Finished(Box::new(exit)));
    }

    /// Waits until something happens; returns the attempts to look at.
    fn wait(&mut self) -> Vec<AttemptKey> {
        let mut fds = vec![PollFd::new(&self.woken, PollFlags::IN)];
        let mut owners = vec![None];
        let mut due: Option<Instant> = None;
        for (key, attempt) in &self.attempts {
            match attempt {
                Attempt::Supervised(supervised) => {
                    fds.push(PollFd::new(supervised.file(), PollFlags::IN));
                    owners.push(Some(*key));
                    let silent = supervised.listener.as_ref().and_then(Listener::due);
                    due = [due, silent].into_iter().flatten().min();
                }
                Attempt::Group(group) => {
                    let (end, output) = group.files();
                    let files = end.map(AsFd::as_fd).into_iter().chain(output.map(AsFd::as_fd));
                    for file in files {
                        fds.push(PollFd::from_borrowed_fd(file, PollFlags::IN));
                        owners.push(Some(*key));
                    }
                    due = [due, group.due()].into_iter().flatten().min();
                }
                Attempt::Person(_) | Attempt::Orphaned => {}
            }
        }
        if let Some(server) = &self.server {
            let (read, write) = server.files();
            for (files, flags) in [(read, PollFlags::IN), (write, PollFlags::OUT)] {
                owners.extend(files.iter().map(|_| None));
                fds.extend(files.into_iter().map(|file| PollFd::from_borrowed_fd(file, flags)));
            }
            due = [due, server.due()].into_iter().flatten().min();
        }
        let now = Instant::now();
        let patience = due.map(|due| processes::timespec(due.saturating_duration_since(now)));
        let _ = poll(&mut fds, patience.as_ref());
        let mut ready: Vec<_> = fds
            .iter()
            .zip(&owners)
            .filter(|(fd, _)| !fd.revents().is_empty())
            .filter_map(|(_, owner)| *owner)
            .collect();
        if due.is_some_and(|due| due <= Instant::now()) {
            let timed = |attempt: &Attempt| match attempt {
                Attempt::Group(_) => true,
                Attempt::Supervised(supervised) => supervised.listener.is_some(),
                Attempt::Person(_) | Attempt::Orphaned => false,
            };
            ready.extend(self.attempts.iter().filter(|(_, attempt)| timed(attempt)).map(|(key, _)| *key));
        }
        ready.sort_unstable();
        ready.dedup();
        let mut bytes = [0; 64];
        while matches!((&self.woken).read(&mut bytes), Ok(len) if len == bytes.len()) {}
        ready
    }

    /// Looks at an attempt. Readers parse what strangers print: should one panic, only its own attempt fails by that.
    fn step_safely(&mut self, key: AttemptKey) {
        if catch_unwind(AssertUnwindSafe(|| self.step(key))).is_ok() {
            return;
        }
        match self.attempts.get_mut(&key) {
            Some(Attempt::Supervised(supervised)) => {
                (supervised.listener, supervised.again, supervised.unread) = (None, None, true);
                supervised.stop(Duration::ZERO, OUTSIDE_GRACE);
            }
            Some(Attempt::Group(group)) => group.end(Cause::Stopped, OUTSIDE_GRACE),
            Some(Attempt::Person(_) | Attempt::Orphaned) => {}
            // Its process had ended.
            None => self.finish(key, unread()),
        }
    }

    fn step(&mut self, key: AttemptKey) {
        match self.attempts.get_mut(&key) {
            Some(Attempt::Supervised(supervised)) => {
                for said in supervised.listen() {
                    self.hear(key, said);
                }
                self.end_if_due(key);
            }
            Some(Attempt::Group(group)) => {
                if let Some(exit) = group.step() {
                    self.finish(key, exit);
                }
            }
            Some(Attempt::Person(_) | Attempt::Orphaned) | None => {}
        }
    }

    fn hear(&mut self, key: AttemptKey, said: Said) {
        match said {
            Said::Started(pid) => {
                let is_second =
                    matches!(self.attempts.get(&key), Some(Attempt::Supervised(one)) if one.started);
                if !is_second {
                    self.shared.report(key, Report::Started { pid });
                }
                if let Some(Attempt::Supervised(supervised)) = self.attempts.get_mut(&key) {
                    supervised.started = true;
                }
                self.report_early(key);
            }
            Said::Printed => self.read_along(key),
            Said::Ended(record) => {
                let exit = Exit::from_record(*record);
                match self.attempts.remove(&key) {
                    Some(Attempt::Supervised(supervised)) => self.ended(*supervised, exit),
                    _ => self.finish(key, exit),
                }
            }
            Said::Died => {
                let Some(Attempt::Supervised(orphaned)) = self.attempts.insert(key, Attempt::Orphaned) else {
                    return;
                };
                // Ending what is left can take seconds; the others are not to wait for it.
                let shared = Arc::clone(&self.shared);
                let prices = orphaned.prices();
                std::thread::spawn(move || {
                    let exit = Box::new(orphaned.bury(&prices));
                    shared.order(Order::Finish { key, exit });
                });
            }
        }
    }

    /// Takes in that the process of an attempt has ended.
    fn ended(&mut self, supervised: Supervised, mut exit: Exit) {
        let (key, is_unread) = (supervised.key, supervised.unread);
        let Parts { supervisor, listener, first, again } = supervised.into_parts();
        self.retire(key, supervisor);
        if is_unread {
            return self.finish(key, unread());
        }
        let mut asks = None;
        if let Some(mut listener) = listener {
            let Heard { reports, .. } = listener.catch_up();
            self.report_all(key, reports);
            (exit, asks) = listener.finish(exit);
        }
        if let (Some(asks), Some(mut job)) = (asks, again) {
            let wanted = exit.clone();
            let first = job.dir.join(OUTPUTS_FILE);
            job.dir = job.dir.join(client::AGAIN_DIR);
            // What it set by itself need not be set again.
            let _ = fs::create_dir_all(&job.dir).and_then(|()| fs::copy(first, job.dir.join(OUTPUTS_FILE)));
            if let Work::Client(order) = &mut job.work {
                **order = order.again(&asks.session, asks.totals, &asks.text);
            }
            // Where it cannot be asked, what it gave first counts.
            if let Ok(mut second) = self.shared.start_supervised(key, *job) {
                (second.first, second.again, second.started) = (Some(Box::new(wanted)), None, true);
                self.attempts.insert(key, Attempt::Supervised(Box::new(second)));
                return;
            }
        }
        if let Some(first) = first {
            exit = client::second_of(&first, exit);
        }
        self.finish(key, exit);
    }

    /// Reads what a client has printed meanwhile.
    fn read_along(&mut self, key: AttemptKey) {
        let Some(Attempt::Supervised(supervised)) = self.attempts.get_mut(&key) else { return };
        let Some(listener) = &mut supervised.listener else { return };
        let Heard { reports, outgoing } = listener.catch_up();
        self.report_all(key, reports);
        // Before it is answered: one that waits for an answer would go on with it.
        self.end_if_due(key);
        if let Some(Attempt::Supervised(supervised)) = self.attempts.get_mut(&key) {
            supervised.say(outgoing);
        }
    }

    /// Ends a client that is silent, or runs away.
    fn end_if_due(&mut self, key: AttemptKey) {
        let Some(Attempt::Supervised(supervised)) = self.attempts.get_mut(&key) else { return };
        let Some(listener) = &mut supervised.listener else { return };
        if listener.must_end(Instant::now()).is_some() {
            let is_all_spent = listener.is_all_spent();
            self.stop(key, PATIENCE, OUTSIDE_GRACE);
            if is_all_spent {
                self.end_sharers(key);
            }
        }
    }

    /// Ends those that shared what an attempt has found spent. One that waited for its next word would ask once more.
    fn end_sharers(&mut self, key: AttemptKey) {
        let others: Vec<AttemptKey> =
            self.attempts.keys().copied().filter(|other| other.run == key.run && *other != key).collect();
        others.into_iter().for_each(|other| self.end_if_due(other));
    }

    /// Keeps a supervisor for the next attempt, or lets it go.
    fn retire(&mut self, key: AttemptKey, mut supervisor: Supervisor) {
        supervisor.unkept = Some(key);
        let mut idle = lock(&self.shared.idle);
        if idle.len() < self.shared.config.idle_max {
            idle.push_back(supervisor);
        } else {
            drop(idle);
            self.dismissed.push(supervisor.dismiss());
        }
    }
}
