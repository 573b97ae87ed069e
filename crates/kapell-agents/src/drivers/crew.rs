//! All attempts of this process, watched by one thread.

mod watch; // the thread

use std::{
    collections::VecDeque,
    ffi::OsString,
    fs, io,
    io::Write,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use self::watch::Watch;
use super::{
    Report, Sink, client,
    exit::Exit,
    group::Group,
    job::{Job, Supervision, Work},
    spare::Spares,
    supervised::{Supervised, Supervisor},
};
use crate::{
    lock::lock,
    protocol::{
        self, AttemptKey,
        server::{Guests, Server, ServerError},
    },
    supervise::{BRIEF_FILE, Cause, ExitRecord, OUTPUTS_FILE, Output, Spec, Stdin, attempt, record},
};

/// The name of the output that a person's answer is.
pub const ANSWER: &str = "answer";

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

impl Order {
    /// Returns the attempt that it is about, if it is about one.
    fn key(&self) -> Option<AttemptKey> {
        match self {
            Self::Watch(attempt) => attempt.key(),
            Self::Stop { key, .. }
            | Self::Answer { key, .. }
            | Self::Spent { key, .. }
            | Self::Finish { key, .. } => Some(*key),
            Self::Close { .. } => None,
        }
    }
}

impl Attempt {
    /// Returns which one it is; nobody asks that of one that is being ended.
    fn key(&self) -> Option<AttemptKey> {
        match self {
            Self::Supervised(supervised) => Some(supervised.key),
            Self::Group(group) => Some(group.key),
            Self::Person(key) => Some(*key),
            Self::Orphaned => None,
        }
    }
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
        let watch = Watch::new(Arc::clone(&shared), woken, server);
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
            // It may have printed something already: that is read when the supervisor says so, by whoever reports it.
            let opening = listener.outgoing();
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
