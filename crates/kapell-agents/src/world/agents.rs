//! Attempts of commands, scripts and people, performed by the crew.

mod begin; // how an attempt of a client is begun
mod reports; // what the crew reports, in the words of the engine

use std::{
    collections::HashMap,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use kapell_core::{
    budget::Amount,
    id::{AttemptNo, RunId},
    plan::{AgentSpec, Supervise},
    retry::FailureClass,
};
use kapell_engine::port::agents::{
    Agents, AttemptKey, Ending, Failure, Job, Order, Recovered, Report, Sink, Used,
};

use self::{
    begin::{said, too_long},
    reports::{blame, costs, ending, hide_in_ending, hide_in_report, translate},
};
use super::{Broker, ContainError, Keeper, Places, missing::Script};
use crate::{
    contain::{Contained, Hosts, Network, ProxyDoor, Room, door::HostDoor},
    drivers::{
        self, Config, Crew, CrewError, Exit, Supervision, Work,
        client::{self, Client, Purses, past},
        mcp,
    },
    lock::lock,
    private,
    proxy::Redactor,
    supervise::{self, Census, recover, spec::parse_bytes},
};

/// Which process a crew starts supervisors from.
#[derive(Debug, Clone)]
pub struct Program(pub PathBuf);

/// Returns the names of all adapters, as `use:` takes them.
pub fn adapters() -> impl Iterator<Item = &'static str> {
    ["command", "person", "scripted", mcp::ADAPTER].into_iter().chain(Client::ALL.map(Client::adapter))
}

/// Checks get numbers that no attempt reaches, so that the crew can tell them apart.
const CHECK: u32 = 1 << 30;

/// How long an attempt has between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(10);

/// The same when kapell goes away, and a person waits for that.
const CLOSING_GRACE: Duration = Duration::from_secs(2);

/// Who waits for the end of a check, and the attempt that it is for.
struct Waiter {
    of: AttemptKey,
    sender: mpsc::Sender<Exit>,
}

type Waiting = Arc<Mutex<HashMap<AttemptKey, Waiter>>>;

/// The engine's agents, on a crew.
pub struct CrewAgents {
    crew: Crew,
    places: Places,
    program: PathBuf,
    waiting: Waiting,
    checks: AtomicU32,
    closing: AtomicBool,
    /// How attempts are contained; not at all without it.
    keeper: Option<Arc<Keeper>>,
    /// How clients reach their models; each by itself without it. The crew's thread looks here, too.
    broker: Arc<OnceLock<Arc<Broker>>>,
    /// What is taken out of all that agents say. The crew's thread looks here, too.
    hidden: Arc<OnceLock<Redactor>>,
    /// Where it is recorded what a person trusts, and the top of the repository that is worked on.
    trusted: Option<(PathBuf, PathBuf)>,
    /// Directories of objects that clones borrow.
    lends: Vec<PathBuf>,
    /// What is left of runs for attempts that speak to their providers themselves.
    purses: Purses,
    /// Ways of attempts to the hosts that they may reach.
    doors: Arc<Mutex<HashMap<AttemptKey, HostDoor>>>,
    /// The commands of attempts that work in clones, to explain their ends.
    scripts: Arc<Mutex<HashMap<AttemptKey, Script>>>,
    /// Where such ways begin: beside the socket of the crew, with a number each.
    socket: Option<PathBuf>,
    numbers: AtomicU32,
    sink: Sink,
    /// The process table, and when it was read.
    census: Mutex<Option<(Instant, Arc<Census>)>>,
}

impl CrewAgents {
    /// Opens a crew whose reports go to `sink`. Agents reach it at `socket`.
    ///
    /// # Errors
    ///
    /// Fails if its thread or its socket cannot be made.
    pub fn open(
        program: Program,
        places: Places,
        idle_max: usize,
        socket: Option<PathBuf>,
        sink: Sink,
    ) -> Result<Self, CrewError> {
        let waiting = Waiting::default();
        let checks = waiting.clone();
        let broker = Arc::new(OnceLock::<Arc<Broker>>::new());
        let carried = broker.clone();
        let hidden = Arc::new(OnceLock::<Redactor>::new());
        let hides = hidden.clone();
        let doors = Arc::<Mutex<HashMap<AttemptKey, HostDoor>>>::default();
        let scripts = Arc::<Mutex<HashMap<AttemptKey, Script>>>::default();
        let (own_sink, own_socket, open_doors) = (sink.clone(), socket.clone(), doors.clone());
        let known_scripts = scripts.clone();
        let hand_on: drivers::Sink = Arc::new(move |key: AttemptKey, mut report| {
            if key.attempt.0 & CHECK == 0 {
                if let drivers::Report::Finished(exit) = &mut report {
                    lock(&open_doors).remove(&key);
                    let script = lock(&known_scripts).remove(&key);
                    script.iter().for_each(|script| script.explain(exit));
                }
                let seen = match &report {
                    drivers::Report::Finished(_) => carried.get().and_then(|broker| broker.dismiss(key)),
                    _ => None,
                };
                if let Some(mut report) = translate(report) {
                    // The proxy has seen what the provider stated; a client only says what it believes.
                    if let (Report::Finished(ending), Some((spent, refused))) = (&mut report, seen) {
                        ending.spent = spent.amount();
                        let of_client = ending.used.take().unwrap_or_default();
                        let claimed = Some(of_client.tokens);
                        ending.used = Some(Used { tokens: spent.tokens, claimed, model: of_client.model });
                        refused.into_iter().for_each(|refusal| blame(ending, &refusal));
                    }
                    hide_in_report(hides.get_or_init(Redactor::default), &mut report);
                    sink(key, report);
                }
            } else if let drivers::Report::Finished(mut exit) = report
                && let Some(waiter) = lock(&checks).remove(&key)
            {
                hides.get_or_init(Redactor::default).clean(&mut exit.message);
                // Whoever asked for the check may have gone.
                let _ = waiter.sender.send(*exit);
            }
        });
        let program = program.0;
        let crew = Crew::open(Config { program: program.clone(), idle_max, socket }, hand_on)?;
        let (checks, closing, census) = (AtomicU32::new(0), AtomicBool::new(false), Mutex::default());
        let (keeper, trusted, lends) = (None, None, Vec::new());
        Ok(Self {
            crew,
            places,
            program,
            waiting,
            checks,
            closing,
            keeper,
            broker,
            hidden,
            trusted,
            lends,
            purses: Purses::default(),
            doors,
            scripts,
            socket: own_socket,
            numbers: AtomicU32::new(0),
            sink: own_sink,
            census,
        })
    }

    /// Contains attempts as `keeper` says.
    #[must_use]
    pub fn contained_by(self, keeper: Arc<Keeper>) -> Self {
        Self { keeper: Some(keeper), ..self }
    }

    /// Takes secrets out of all that agents say: what they give, note, ask and print at their end.
    #[must_use]
    pub fn hiding(self, secrets: Redactor) -> Self {
        // It is empty: nobody else can reach it before this returns.
        let _ = self.hidden.set(secrets);
        self
    }

    /// Lets clients load what the repository at `top` brings along for them, if `record` says that a person trusts it as
    /// it is in the workspace.
    #[must_use]
    pub fn trusting(self, record: PathBuf, top: PathBuf) -> Self {
        Self { trusted: Some((record, top)), ..self }
    }

    /// Lets contained attempts read the objects that their clones borrow, in these directories.
    #[must_use]
    pub fn lending(self, lends: Vec<PathBuf>) -> Self {
        Self { lends, ..self }
    }

    /// Lets clients with a key reach their model through the proxy of `broker`.
    #[must_use]
    pub fn carried_by(self, broker: Arc<Broker>) -> Self {
        broker.tell_spending(self.crew.spending());
        // It is empty: nobody else can reach it before this returns.
        let _ = self.broker.set(broker);
        self
    }

    /// Gives a client its way to the model: through the proxy if that carries it.
    fn connect(&self, client: &mut client::Order, order: &Order) -> Result<Option<ProxyDoor>, Failure> {
        let Some(broker) = self.broker.get() else { return Ok(None) };
        broker.admit(client.client, order.key, order, &mut client.settings)
    }

    /// Says how the attempt is contained; `None` if it is not.
    fn contain(&self, order: &Order, proxy: Option<ProxyDoor>) -> Result<Option<Contained>, Failure> {
        let (Some(keeper), Some(agent)) = (&self.keeper, &order.agent) else { return Ok(None) };
        let room = Room { proxy, ..self.room(self.places.home(order.key), &order.dir) };
        let mut contained = keeper.contain(agent, room).map_err(refused)?;
        if let Some(contained) = &mut contained
            && let Network::AllowList(hosts) = contained.chosen().network.clone()
        {
            contained.room_mut().hosts = Some(self.open_door(order.key, hosts).map_err(|error| Failure {
                class: FailureClass::Transient,
                message: format!("the way to the hosts that it may reach cannot be opened: {error}"),
                until: None,
            })?);
        }
        Ok(contained)
    }

    /// Opens the way of an attempt to `hosts`, until it has ended; returns where that begins.
    fn open_door(&self, key: AttemptKey, hosts: Hosts) -> io::Result<PathBuf> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let beside = self.socket.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let socket = beside.with_extension(format!("{number}.hosts"));
        let sink = self.sink.clone();
        let told = Box::new(move |text| sink(key, Report::Note(text)));
        let door = HostDoor::open(socket, hosts, told)?;
        let socket = door.socket().to_owned();
        lock(&self.doors).insert(key, door);
        Ok(socket)
    }

    fn room(&self, home: PathBuf, dir: &Path) -> Room {
        let mut room = self.places.room(home, dir);
        room.readable.extend(self.lends.iter().cloned());
        room
    }

    /// Tells whether kapell is going away, so that nothing should be waited for.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Returns a process table that was read after `since`.
    fn census(&self, since: Instant) -> io::Result<Arc<Census>> {
        let mut last = lock(&self.census);
        match &*last {
            Some((at, census)) if *at >= since => Ok(census.clone()),
            _ => {
                let at = Instant::now();
                let census = Arc::new(Census::take()?);
                *last = Some((at, census.clone()));
                Ok(census)
            }
        }
    }

    /// Starts supervisors ahead of need.
    ///
    /// # Errors
    ///
    /// Fails if one cannot be started.
    pub fn warm(&self, count: usize) -> io::Result<()> {
        self.crew.warm(count)
    }

    /// Runs a shell command as a check and waits for its end.
    pub(super) fn run_check(
        &self,
        key: AttemptKey,
        text: &str,
        env: &[(String, String)],
        dir: &std::path::Path,
        timeout: Duration,
    ) -> Exit {
        let number = self.checks.fetch_add(1, Ordering::Relaxed);
        let of = key;
        let key = AttemptKey { attempt: AttemptNo(CHECK | number), ..of };
        let home = self.places.attempts.join(key.run.to_string()).join("checks").join(number.to_string());
        // Numbers begin anew with each process: one that was killed may have left something.
        let _ = std::fs::remove_dir_all(&home);
        let mut job = drivers::Job::new(Work::Shell(text.to_owned()), "check", &home, dir);
        job.env.clone_from(&self.places.env);
        job.env.extend(env.iter().map(|(name, value)| (name.into(), value.into())));
        if let Some(why) = too_long(&job.env) {
            return Exit::without_process(drivers::Ending::Failed(FailureClass::Permanent), why);
        }
        // A HOME of its own, lest one check leave something there for the next.
        let room = self.room(home.join("home"), dir);
        match self.keeper.as_ref().map_or(Ok(None), |keeper| keeper.contain_check(room).map_err(refused)) {
            Ok(contained) => job.contained = contained,
            Err(failure) => {
                return Exit::without_process(drivers::Ending::Failed(failure.class), failure.message);
            }
        }
        job.limits.timeout = Some(timeout);
        job.limits.grace = GRACE;
        // Its verdict is recorded by whoever asked; if that is lost the check runs again.
        job.durable = false;
        let stopped = || Exit::without_process(drivers::Ending::Stopped, "kapell is going away".to_owned());
        let (sender, receiver) = mpsc::channel();
        lock(&self.waiting).insert(key, Waiter { of, sender });
        // Whoever closes lets go of those that wait after it has said so.
        if self.is_closing() {
            lock(&self.waiting).remove(&key);
            return stopped();
        }
        if let Err(error) = self.crew.start(key, job) {
            lock(&self.waiting).remove(&key);
            let ending = drivers::Ending::Failed(FailureClass::Transient);
            return Exit::without_process(ending, error.to_string());
        }
        let mut exit = receiver.recv().unwrap_or_else(|_| stopped());
        self.script(text, dir).iter().for_each(|script| script.explain(&mut exit));
        // What it printed last is in the message; nothing else of it is needed.
        let _ = std::fs::remove_dir_all(&home);
        exit
    }

    /// Returns a command that runs in a clone, to explain its end by what the user's checkout has.
    fn script(&self, text: &str, dir: &Path) -> Option<Script> {
        let (_, checkout) = self.trusted.as_ref()?;
        let is_clone = dir != checkout && !dir.starts_with(&self.places.scratch);
        is_clone.then(|| Script { text: text.to_owned(), dir: dir.to_owned(), checkout: checkout.clone() })
    }

    fn job(&self, order: &Order) -> Result<drivers::Job, Failure> {
        let dir = self.places.attempt(order.key);
        let mut env: Vec<_> = self.places.env.clone();
        env.extend(order.env.iter().map(|(name, value)| (name.into(), value.into())));
        let work = self.work(order, &dir, &mut env)?;
        if let Some(why) = too_long(&env) {
            return Err(permanent(why));
        }
        let mut job = drivers::Job::new(work, order.name.clone(), dir, &order.dir);
        job.brief = order.brief.clone();
        job.is_script = matches!(order.job, Job::Script(_));
        job.env = env;
        job.limits.grace = GRACE;
        if let Some(text) = option_of(order, "memory") {
            let no_size = || permanent(format!("`memory: {text}` is no size, such as 512M or 2G"));
            job.limits.resident_bytes = Some(parse_bytes(&text).ok_or_else(no_size)?);
        }
        job.supervision = match order.supervise {
            Supervise::Full => Supervision::Full,
            Supervise::Group => Supervision::Group,
        };
        Ok(job)
    }

    /// Finds out what is to be performed in `dir`, with what it needs in its environment.
    fn work(&self, order: &Order, dir: &Path, env: &mut Vec<(OsString, OsString)>) -> Result<Work, Failure> {
        let option = |name: &str| option_of(order, name);
        let scripted = |text: &str| {
            let path = dir.join("script.yaml");
            private::dir(dir).and_then(|()| private::write(&path, text)).map_err(unusable)?;
            Ok(Work::Program(vec![self.program.clone().into(), "__scripted".into(), path.into()]))
        };
        let adapter = order.agent.as_ref().map(|agent| agent.adapter.as_str());
        Ok(match (&order.job, adapter) {
            (Job::Script(script), _) => Work::Shell(script.clone()),
            (Job::Scripted(text), _) => scripted(text)?,
            (Job::Prompt(prompt), Some("person")) => {
                Work::Person { question: prompt.clone(), choices: Vec::new() }
            }
            (Job::Prompt(prompt), Some("command")) => {
                env.push(("KAPELL_PROMPT".into(), prompt.into()));
                let missing = || permanent("an agent of adapter `command` needs `run:`".to_owned());
                Work::Shell(option("run").ok_or_else(missing)?)
            }
            (Job::Prompt(prompt), Some("scripted")) => {
                env.push(("KAPELL_PROMPT".into(), prompt.into()));
                let missing = || permanent("an agent of adapter `scripted` needs `script:`".to_owned());
                scripted(&option("script").ok_or_else(missing)?)?
            }
            (Job::Prompt(arguments), Some(mcp::ADAPTER)) => {
                let (server, tool) =
                    (option("server").unwrap_or_default(), option("tool").unwrap_or_default());
                let found = self.places.servers.get(&server).cloned().or_else(|| self.brought(&server));
                let missing = || {
                    permanent(format!(
                        "there is no MCP server `{server}`: add [mcp.{server}] to your settings, or trust the repository \
                         whose .mcp.json names it (kapell trust)"
                    ))
                };
                let server = found.ok_or_else(missing)?;
                server.work(&self.program, dir, &tool, arguments, env).map_err(unusable)?
            }
            (Job::Prompt(prompt), Some(adapter)) => match Client::of(adapter) {
                Some(client) => {
                    let order = self.client(client, said(prompt, order), order)?;
                    order.check().map_err(permanent)?;
                    Work::Client(Box::new(order))
                }
                None => return Err(permanent(format!("there is no adapter `{adapter}` yet"))),
            },
            (Job::Prompt(_), None) => return Err(permanent("a prompt needs an agent".to_owned())),
        })
    }
}

/// An option of the agent that performs an order.
fn option_of(order: &Order, name: &str) -> Option<String> {
    order.agent.as_ref().and_then(|agent| agent.options.get(name)).cloned()
}

fn unusable(error: io::Error) -> Failure {
    let message = format!("the attempt's directory cannot be used: {error}");
    Failure { class: FailureClass::Transient, message, until: None }
}

/// Says why something is not contained as it should be.
fn refused(error: ContainError) -> Failure {
    let message = format!("{}: {error} ({})", error.code(), error.hint());
    Failure { class: FailureClass::Permission, message, until: None }
}

fn permanent(message: String) -> Failure {
    Failure { class: FailureClass::Permanent, message, until: None }
}

impl Agents for CrewAgents {
    fn start(&self, order: &Order) -> Result<(), Failure> {
        if self.is_closing() {
            let message = "kapell is going away".to_owned();
            return Err(Failure { class: FailureClass::Transient, message, until: None });
        }
        let begun = self.begin(order);
        if begun.is_err() {
            lock(&self.doors).remove(&order.key);
            lock(&self.scripts).remove(&order.key);
        }
        if begun.is_err()
            && let Some(broker) = self.broker.get()
        {
            // It was let in before it could not be started; its key must not outlive it.
            broker.dismiss(order.key);
        }
        begun
    }

    fn expect(&self, key: AttemptKey) {
        self.crew.expect(&self.places.attempt(key));
    }

    fn settled(&self, key: AttemptKey) {
        self.crew.settled(key);
    }

    fn let_go(&self, run: RunId) {
        self.purses.let_go(run);
        if let Some(broker) = self.broker.get() {
            broker.let_go(run);
        }
    }

    fn stop(&self, key: AttemptKey) {
        // Its workspace may be in preparation.
        let waiting = lock(&self.waiting);
        let checks: Vec<_> = waiting.iter().filter(|(_, w)| w.of == key).map(|(key, _)| *key).collect();
        drop(waiting);
        for key in checks.into_iter().chain([key]) {
            self.crew.stop(key, GRACE);
        }
    }

    fn answer(&self, key: AttemptKey, question: u32, text: &str) {
        self.crew.answer(key, question, text.to_owned());
    }

    fn recover(&self, key: AttemptKey, since: Instant) -> Recovered {
        let lost = |message: String| {
            // What it printed until then says what it has cost.
            let past = past::read(&self.places.attempt(key), &self.places.prices);
            let (spent, used) = past.as_ref().map(|past| costs(past.evidence())).unzip();
            Recovered::Lost { message, spent: spent.unwrap_or(Amount::ZERO), used }
        };
        let census = match self.census(since) {
            Ok(census) => census,
            Err(error) => return hopeless(format!("the process table cannot be read: {error}")),
        };
        match recover::recover(&self.places.attempt(key), &key.to_string(), &census) {
            // It was not the engine that stopped it: kapell was interrupted, and took its attempts down with it.
            Ok(supervise::Recovered::Exited(record)) if record.cause == supervise::Cause::Stopped => {
                lost("it was ended together with kapell".to_owned())
            }
            Ok(supervise::Recovered::Exited(record)) => {
                let exit = client::read_exit(
                    &self.places.attempt(key),
                    Exit::from_record(*record),
                    &self.places.prices,
                );
                let mut ending = ending(exit);
                hide_in_ending(self.hidden.get_or_init(Redactor::default), &mut ending);
                Recovered::Ended(ending)
            }
            Ok(supervise::Recovered::Ended { processes }) => lost(match processes {
                0 => "kapell was gone when it ended".to_owned(),
                1 => "kapell was gone, and a process of it still running".to_owned(),
                more => format!("kapell was gone, and {more} processes of it still running"),
            }),
            Ok(supervise::Recovered::NeverStarted) => lost("kapell was gone before it started".to_owned()),
            Err(error) => hopeless(error.to_string()),
        }
    }

    fn instructions(&self, agent: &AgentSpec) -> &'static [&'static str] {
        match Client::of(&agent.adapter).map(|client| client.inner().unwrap_or(client)) {
            // With no setting of the repository in force it reads neither.
            Some(Client::ClaudeCode) => &["CLAUDE.md", "AGENTS.md"],
            // These read AGENTS.md by themselves.
            Some(
                Client::Codex | Client::CodexApp | Client::Gemini | Client::Opencode | Client::OpencodeRun,
            ) => &["CLAUDE.md"],
            None if agent.adapter == "person" => &[],
            Some(Client::Model(_) | Client::Acp(_)) | None => &["AGENTS.md", "CLAUDE.md"],
        }
    }

    fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.crew.end_all(CLOSING_GRACE);
        lock(&self.waiting).clear();
    }
}

/// What may still run must not be tried again beside itself.
fn hopeless(message: String) -> Recovered {
    let (outputs, spent) = (Default::default(), Amount::ZERO);
    Recovered::Ended(Ending { result: Err(permanent(message)), outputs, spent, used: None })
}
