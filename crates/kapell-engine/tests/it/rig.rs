//! A host with everything around it: a clock that is moved by hand, agents and workspaces that note what they are
//! asked and do as their texts say.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use kapell_core::{
    budget::{Amount, Limits},
    command::{Command, Verdict},
    event::{Event, Outputs},
    id::{AttemptNo, Oid, RunId, TaskId},
    journal::{Actor, Row},
    landing::Probed,
    mission::Mission,
    plan::{AgentSpec, Definition, Plan, PlanBuilder, PlanLimits, Work},
    retry::FailureClass,
    run::Run,
    task::Change,
    time::{Millis, Wall},
};
use kapell_engine::{
    Refusal,
    host::{Config, Host, Input, Mailbox, Observer, Rest},
    perform::Performer,
    port::{
        agents::{Agents, AttemptKey, Ending, Failure, Job, Order, Recovered, Report},
        clock::Clock,
        journal::{Journal, Owner},
        workspaces::{
            Check, CheckCommand, Close, Facts, FactsRequest, MergeOrder, Merged, Ready, Request, Trial,
            WorkspaceError, Workspaces,
        },
    },
};

use crate::journal::MemoryJournal;

/// Nothing here takes this long unless it hangs, on a machine with much else to do, too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// What happened, in order, one short line each.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>, Arc<Mutex<Option<(String, MemoryJournal)>>>);

impl Log {
    pub(crate) fn say(&self, line: impl Into<String>) {
        let line = line.into();
        let trap = self.1.lock().unwrap().take_if(|(trap, _)| *trap == line);
        if let Some((_, journal)) = trap {
            journal.disk().slow = true;
        }
        self.0.lock().unwrap().push(line);
    }

    /// From the moment that `line` is said the journal makes nothing durable.
    pub(crate) fn trap(&self, line: &str, journal: &MemoryJournal) {
        *self.1.lock().unwrap() = Some((line.to_owned(), journal.clone()));
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap().clear();
    }

    pub(crate) fn count(&self, line: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|said| *said == line).count()
    }

    pub(crate) fn has(&self, line: &str) -> bool {
        self.count(line) > 0
    }

    /// Returns where a line stands; it must be there.
    pub(crate) fn place(&self, line: &str) -> usize {
        let lines = self.lines();
        lines.iter().position(|said| said == line).unwrap_or_else(|| panic!("no `{line}` in {lines:#?}"))
    }
}

#[derive(Default)]
pub(crate) struct ManualClock {
    boot: AtomicU64,
    wall: AtomicI64,
    pub(crate) reads: AtomicU64,
}

impl ManualClock {
    pub(crate) fn pass(&self, millis: u64) {
        self.boot.fetch_add(millis, Ordering::SeqCst);
        self.wall.fetch_add(i64::try_from(millis).unwrap(), Ordering::SeqCst);
    }

    pub(crate) fn set_wall(&self, wall: i64) {
        self.wall.store(wall, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> Wall {
        self.reads.fetch_add(1, Ordering::SeqCst);
        Wall(self.wall.load(Ordering::SeqCst))
    }

    fn boot(&self) -> Millis {
        self.reads.fetch_add(1, Ordering::SeqCst);
        Millis(self.boot.load(Ordering::SeqCst))
    }
}

/// Agents do at once what the script says: `ok`, `ok name=value`, `fail CLASS`, `refuse`, `panic`; `hold` waits to be
/// finished by the test, and ends when it is stopped unless it is `deaf`.
pub(crate) struct TestAgents {
    log: Log,
    mailbox: Mailbox,
    /// What `recover` says, by the name of the attempt; lost if nothing.
    pub(crate) recovered: Mutex<HashMap<String, Recovered>>,
    deaf: Mutex<Vec<AttemptKey>>,
    running: Mutex<Vec<AttemptKey>>,
    pub(crate) orders: Mutex<Vec<Order>>,
    /// Runs of which nothing more will be started.
    pub(crate) let_go: Mutex<Vec<RunId>>,
}

pub(crate) fn name(key: AttemptKey) -> String {
    let back = if key.compensates { "-" } else { "" };
    format!("{back}{}.{}", key.task.0, key.attempt.0)
}

pub(crate) fn good() -> Ending {
    Ending { result: Ok(()), outputs: Outputs::new(), spent: Amount::ZERO, used: None }
}

pub(crate) fn bad(class: FailureClass, message: &str) -> Ending {
    let failure = Failure { class, message: message.to_owned(), until: None };
    Ending { result: Err(failure), outputs: Outputs::new(), spent: Amount::ZERO, used: None }
}

fn class(text: &str) -> FailureClass {
    *FailureClass::ALL.iter().find(|class| class.to_string() == text).unwrap()
}

impl TestAgents {
    fn report(&self, key: AttemptKey, report: Report) {
        self.mailbox.send(Input::Agent(key, report));
    }
}

impl Agents for TestAgents {
    fn start(&self, order: &Order) -> Result<(), Failure> {
        let key = order.key;
        self.log.say(format!("start {}", name(key)));
        self.orders.lock().unwrap().push(order.clone());
        let (Job::Script(text) | Job::Prompt(text) | Job::Scripted(text)) = &order.job;
        let mut words = text.split(' ');
        match words.next().unwrap() {
            "ok" => {
                let mut ending = good();
                let pairs = words.filter_map(|word| word.split_once('='));
                ending.outputs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
                self.report(key, Report::Finished(ending));
            }
            "fail" => {
                let class = class(&words.collect::<Vec<_>>().join(" "));
                self.report(key, Report::Finished(bad(class, "it says no")));
            }
            "refuse" => {
                let message = "nobody there".to_owned();
                return Err(Failure { class: FailureClass::Permanent, message, until: None });
            }
            "panic" => panic!("an agent that panics"),
            "deaf" => self.deaf.lock().unwrap().push(key),
            _ => self.running.lock().unwrap().push(key),
        }
        Ok(())
    }

    fn stop(&self, key: AttemptKey) {
        self.log.say(format!("stop {}", name(key)));
        let mut running = self.running.lock().unwrap();
        if let Some(at) = running.iter().position(|one| *one == key) {
            running.remove(at);
            self.report(key, Report::Finished(bad(FailureClass::Transient, "stopped")));
        }
    }

    fn answer(&self, key: AttemptKey, question: u32, text: &str) {
        self.log.say(format!("answer {} #{question} {text}", name(key)));
    }

    fn recover(&self, key: AttemptKey, _since: Instant) -> Recovered {
        self.log.say(format!("recover {}", name(key)));
        let lost = || Recovered::Lost { message: "no trace".to_owned(), spent: Amount::ZERO, used: None };
        self.recovered.lock().unwrap().remove(&name(key)).unwrap_or_else(lost)
    }

    fn let_go(&self, run: RunId) {
        self.let_go.lock().unwrap().push(run);
    }

    fn instructions(&self, agent: &AgentSpec) -> &'static [&'static str] {
        if agent.adapter == "reads no guide" { &["GUIDE.md"] } else { &[] }
    }

    fn close(&self) {
        self.log.say("close agents");
    }
}

type Answer<A, B> = Mutex<Box<dyn FnMut(&A) -> B + Send>>;

/// An answer that several may wait for at the same time, in whatever order they come.
type SharedAnswer<A, B> = Mutex<Arc<dyn Fn(&A) -> B + Send + Sync>>;

/// Workspaces note what they are asked, and answer by closures that a test can replace.
pub(crate) struct TestWorkspaces {
    log: Log,
    pub(crate) begin: Answer<RunId, Result<(), WorkspaceError>>,
    pub(crate) open: SharedAnswer<Request, Result<(), WorkspaceError>>,
    pub(crate) change: Answer<AttemptKey, Result<Option<Change>, WorkspaceError>>,
    pub(crate) check: Answer<Check, Verdict>,
    pub(crate) probe: Answer<Trial, Result<Probed, WorkspaceError>>,
    pub(crate) moved: Answer<(Oid, Oid), Result<(), WorkspaceError>>,
    pub(crate) merge: Answer<MergeOrder, Result<Merged, WorkspaceError>>,
    pub(crate) facts: Answer<FactsRequest, Facts>,
    /// The change between two commits that are held already.
    pub(crate) between: Answer<(Oid, Oid), Result<Change, WorkspaceError>>,
    pub(crate) swept: Mutex<Vec<AttemptKey>>,
}

pub(crate) fn oid(number: u64) -> Oid {
    format!("{number:040x}").parse().unwrap()
}

pub(crate) fn trouble(class: FailureClass, message: &str) -> WorkspaceError {
    WorkspaceError { class, message: message.to_owned() }
}

/// Merges by counting: the tip after each entry is a number of its own.
pub(crate) fn tips(trial: &Trial) -> Vec<Oid> {
    let number = |oid: &Oid| u64::from_str_radix(&oid.to_string()[24..], 16).unwrap();
    let mut at = number(&trial.probe.base);
    let next = |entry: &kapell_core::landing::Entry| {
        at = at.wrapping_mul(31).wrapping_add(number(&entry.commit)) & 0xffff_ffff;
        oid(at)
    };
    trial.probe.entries.iter().map(next).collect()
}

impl TestWorkspaces {
    fn new(log: Log) -> Self {
        Self {
            log,
            begin: Mutex::new(Box::new(|_| Ok(()))),
            open: Mutex::new(Arc::new(|_| Ok(()))),
            change: Mutex::new(Box::new(|key| {
                let commit = oid(1000 + u64::from(key.task.0) * 10 + u64::from(key.attempt.0));
                Ok(Some(Change { commit, tree: commit, base: oid(1) }))
            })),
            check: Mutex::new(Box::new(|_| Verdict::Passed)),
            probe: Mutex::new(Box::new(|trial| Ok(Probed::Green { tips: tips(trial) }))),
            moved: Mutex::new(Box::new(|_| Ok(()))),
            merge: Mutex::new(Box::new(|_| Ok(Merged::Whole))),
            facts: Mutex::new(Box::new(|_| Facts::default())),
            between: Mutex::new(Box::new(|&(base, commit)| Ok(Change { commit, tree: commit, base }))),
            swept: Mutex::default(),
        }
    }
}

impl Workspaces for TestWorkspaces {
    fn begin(&self, run: RunId, base: Oid) -> Result<(), WorkspaceError> {
        self.log.say(format!("begin {}", &base.to_string()[38..]));
        (self.begin.lock().unwrap())(&run)
    }

    fn open(&self, request: &Request, _: &dyn Fn() -> bool) -> Result<Ready, WorkspaceError> {
        self.log.say(format!("open {}", name(request.key)));
        let answer = Arc::clone(&*self.open.lock().unwrap());
        answer(request)?;
        Ok(Ready {
            dir: PathBuf::from("/nowhere"),
            env: vec![("SPACE".to_owned(), "1".to_owned())],
            earlier: None,
        })
    }

    fn capture(&self, key: AttemptKey, _name: &str) -> Result<Option<Change>, WorkspaceError> {
        self.log.say(format!("capture {}", name(key)));
        (self.change.lock().unwrap())(&key)
    }

    fn close(&self, key: AttemptKey, how: Close) {
        self.log.say(format!("close {} {how:?}", name(key)));
    }

    fn sweep(&self, _run: RunId, in_use: &[AttemptKey]) {
        let mut swept = self.swept.lock().unwrap();
        swept.clear();
        swept.extend(in_use);
        drop(swept);
        self.log.say("sweep");
    }

    fn check(&self, check: &Check) -> Verdict {
        self.log.say(format!("check {}", name(check.key)));
        (self.check.lock().unwrap())(check)
    }

    fn probe(&self, trial: &Trial) -> Result<Probed, WorkspaceError> {
        self.log.say(format!("probe {}", trial.probe.id));
        (self.probe.lock().unwrap())(trial)
    }

    fn change(&self, base: Oid, commit: Oid) -> Result<Change, WorkspaceError> {
        (self.between.lock().unwrap())(&(base, commit))
    }

    fn facts(&self, request: &FactsRequest) -> Facts {
        (self.facts.lock().unwrap())(request)
    }

    fn move_ref(&self, _run: RunId, from: Oid, to: Oid) -> Result<(), WorkspaceError> {
        self.log.say("move ref");
        (self.moved.lock().unwrap())(&(from, to))
    }

    fn passed(&self, _commit: Oid, commands: &[CheckCommand]) {
        commands.iter().for_each(|command| self.log.say(format!("passed {}", command.text)));
    }

    fn merge(&self, order: &MergeOrder) -> Result<Merged, WorkspaceError> {
        self.log.say("merge");
        (self.merge.lock().unwrap())(order)
    }
}

/// Notes all events by their names.
#[derive(Clone, Default)]
pub(crate) struct Seen(pub(crate) Arc<Mutex<Vec<String>>>);

impl Observer for Seen {
    fn decided(&mut self, _run: &Run, _rows: &[Row], events: &[Event]) {
        let text = kapell_core::event::encode(events);
        let events: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        let names = events.iter().map(|event| event.as_object().unwrap().keys().next().unwrap().clone());
        self.0.lock().unwrap().extend(names);
    }

    fn progress(&mut self, _run: &Run, _key: AttemptKey, fraction: Option<f64>, text: &str) {
        self.0.lock().unwrap().push(format!("progress {fraction:?} {text}"));
    }

    fn trouble(&mut self, _run: &Run, message: &str) {
        self.0.lock().unwrap().push(format!("trouble {message}"));
    }
}

/// The world that outlives a process: the journal's disk, and the time.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) journal: MemoryJournal,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) log: Log,
}

pub(crate) struct Rig {
    pub(crate) host: Host,
    pub(crate) world: World,
    pub(crate) agents: Arc<TestAgents>,
    pub(crate) spaces: Arc<TestWorkspaces>,
    pub(crate) mailbox: Mailbox,
    pub(crate) seen: Seen,
}

impl World {
    pub(crate) fn new() -> Self {
        let log = Log::default();
        let clock = Arc::new(ManualClock::default());
        clock.set_wall(1_000_000);
        Self { journal: MemoryJournal::new(log.clone()), clock, log }
    }

    /// Makes another world with what the journal of this one holds.
    pub(crate) fn copy(&self) -> Self {
        let world = Self::new();
        let rows = self.journal.disk().rows.clone();
        world.journal.disk().rows = rows;
        world
    }

    /// Starts a process.
    pub(crate) fn process(&self) -> Rig {
        let (mailbox, inputs) = Mailbox::new();
        let agents = Arc::new(TestAgents {
            log: self.log.clone(),
            mailbox: mailbox.clone(),
            recovered: Mutex::default(),
            deaf: Mutex::default(),
            running: Mutex::default(),
            orders: Mutex::default(),
            let_go: Mutex::default(),
        });
        let spaces = Arc::new(TestWorkspaces::new(self.log.clone()));
        let config = Config {
            journal: Arc::new(self.journal.clone()) as Arc<dyn Journal>,
            clock: self.clock.clone(),
            performer: Performer::new(agents.clone(), spaces.clone(), 2),
            owner: Owner { pid: 1, host: "here".to_owned(), since: Wall(0), socket: None },
            summarise: |_, _| None,
            route: std::sync::Arc::new(|_| Vec::new()),
        };
        let host = Host::new(config, mailbox.clone(), inputs);
        Rig { host, world: self.clone(), agents, spaces, mailbox, seen: Seen::default() }
    }
}

pub(crate) const RUN: RunId = RunId([7; 16]);

pub(crate) fn run_id(number: u64) -> RunId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    RunId(id)
}

/// Makes a plan of tasks in a row: name, definition, the numbers of those that it needs.
pub(crate) fn plan(tasks: &[(&str, Definition, &[u32])]) -> Arc<Plan> {
    let mut builder = PlanBuilder::new();
    for (name, definition, needs) in tasks {
        let definition = builder.define(definition.clone());
        let needs: Vec<_> = needs.iter().map(|need| TaskId(*need)).collect();
        builder.task(name, definition, &needs);
    }
    Arc::new(builder.seal(PlanLimits::default()).unwrap())
}

pub(crate) fn script(text: &str) -> Definition {
    Definition::new(Work::Run(text.to_owned()))
}

pub(crate) fn noop() -> Definition {
    Definition::new(Work::Noop)
}

pub(crate) fn mission() -> Mission {
    Mission { limits: Limits { jobs: 8, agents: 8, ..Limits::default() }, ..Mission::default() }
}

/// The same in a repository.
pub(crate) fn landing_mission() -> Mission {
    Mission { base: Some(oid(1)), target: Some("refs/heads/main".to_owned()), ..mission() }
}

impl Rig {
    /// Starts a process with a run.
    pub(crate) fn with(mission: Mission, plan: Arc<Plan>) -> Self {
        let mut rig = World::new().process();
        rig.host.create(RUN, mission, plan).unwrap();
        rig
    }

    pub(crate) fn step(&mut self) {
        self.host.step(Duration::from_millis(2), &mut self.seen.clone()).unwrap();
    }

    pub(crate) fn until(&mut self, what: impl Fn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !what(self) {
            assert!(
                Instant::now() < end,
                "it does not happen; {:?} {:#?}",
                self.seen.0,
                self.world.log.lines()
            );
            self.step();
        }
    }

    /// Goes on until nothing is under way.
    pub(crate) fn settle(&mut self) -> Rest {
        self.until(|rig| rig.host.rest(RUN) != Rest::Busy);
        self.host.rest(RUN)
    }

    pub(crate) fn until_said(&mut self, line: &str) {
        self.until(|rig| rig.world.log.has(line));
    }

    /// Puts a command and returns what became of it, once that is known.
    pub(crate) fn put(&mut self, command: Command) -> Result<(), Refusal> {
        let answer = Arc::new(Mutex::new(None));
        let told = answer.clone();
        let reply = Box::new(move |result| *told.lock().unwrap() = Some(result));
        self.host.put(RUN, Actor::Person("ada".to_owned()), command, Some(reply));
        self.until(|_| answer.lock().unwrap().is_some());
        answer.lock().unwrap().take().unwrap()
    }

    pub(crate) fn run(&self) -> &Run {
        self.host.run(RUN).unwrap()
    }

    /// Returns the names of the events so far.
    pub(crate) fn events(&self) -> Vec<String> {
        self.seen.0.lock().unwrap().clone()
    }

    pub(crate) fn state(&self, task: u32) -> String {
        format!("{:?}", self.run().state(TaskId(task)))
    }

    /// Ends an attempt that holds.
    pub(crate) fn finish(&self, task: u32, attempt: u32, ending: Ending) {
        self.mailbox.send(Input::Agent(key(task, attempt), Report::Finished(ending)));
    }

    pub(crate) fn say(&self, task: u32, attempt: u32, report: Report) {
        self.mailbox.send(Input::Agent(key(task, attempt), report));
    }
}

pub(crate) fn key(task: u32, attempt: u32) -> AttemptKey {
    AttemptKey { run: RUN, task: TaskId(task), attempt: AttemptNo(attempt), compensates: false }
}
