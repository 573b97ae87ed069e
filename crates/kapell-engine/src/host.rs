//! The host: one thread that executes any number of runs.
//!
//! Inputs of every kind come through one channel. What waits is decided in batches, appended, and only when the
//! journal says that it is durable do effects and replies leave. Appends of one run may be on their way while the
//! next are decided; effects still leave in order.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

use hashbrown::HashMap;
use kapell_core::{
    command::{Command, Rejection},
    effect::{Effect, outstanding, react},
    event::{Event, GateKind, PlanRef},
    id::{AgentId, RunId},
    journal::{Actor, Row, Version},
    mission::Mission,
    plan::Plan,
    run::Run,
    time::{Millis, Now, Wall},
};

use crate::{
    asleep::Asleep,
    children::Awaited,
    live::{Alarm, Asking, Live, Question, Refusal, Reply},
    open::{OpenError, load_counted},
    perform::{Performer, short},
    port::{
        agents::{AttemptKey, Report},
        clock::Clock,
        journal::{AppendError, Journal, Owner, Snapshot, Summary},
    },
    spin::Spin,
};

pub use crate::rest::Rest;

/// The most commands of one run that are decided together.
const BATCH_MAX: usize = 256;

/// The longest sleep of the host while a run waits for a time of day: the machine may be suspended or its clock set meanwhile.
const NAP_MAX: Millis = Millis::from_secs(60);

/// How long the host looks for news of an append before it sleeps: about twice as long as an append to a fast disk takes.
///
/// While nothing but the journal is awaited, every step of a run pays for being woken.
const SPIN: Duration = Duration::from_micros(300);

/// A snapshot is written after this many decisions, or as many as there are tasks.
const SNAPSHOT_EVERY: u64 = 2_000;

/// When a run is given up, a snapshot is written if it saves as many decisions from being read again.
pub(crate) const SNAPSHOT_WORTH: u64 = 100;

/// Plans whose text is longer than this many bytes are kept as artifacts.
const PLAN_INLINE_MAX: usize = 64 << 10;

/// Something that reaches the host.
pub enum Input {
    /// A wish.
    Command {
        /// The run.
        run: RunId,
        /// Who wishes.
        actor: Actor,
        /// What is wished.
        command: Command,
        /// Told what became of it.
        reply: Option<Reply>,
    },
    /// Something an agent says.
    Agent(AttemptKey, Report),
    /// An append is durable, or failed.
    Durable {
        /// The run.
        run: RunId,
        /// The last decision of the append.
        upto: Version,
        /// What became of it.
        result: Result<(), AppendError>,
    },
    /// Something that was asked for did not come about.
    Trouble {
        /// The run.
        run: RunId,
        /// What stood in the way; text of others, not to be shown unescaped.
        message: String,
    },
    /// Look at everything again.
    Nudge,
}

/// The way to a host from other threads.
#[derive(Clone)]
pub struct Mailbox(pub(crate) Sender<Input>);

impl Mailbox {
    /// Makes a channel to a host that does not exist yet; the receiving end goes to [`Host::new`].
    #[must_use]
    pub fn new() -> (Self, Inputs) {
        let (sender, receiver) = channel();
        (Self(sender), Inputs(receiver))
    }

    /// Sends an input. One that comes too late, as nobody listens any more, is dropped.
    pub fn send(&self, input: Input) {
        let _ = self.0.send(input);
    }

    pub(crate) fn command(&self, run: RunId, command: Command) {
        self.send(Input::Command { run, actor: Actor::Engine, command, reply: None });
    }
}

/// The host's end of a [`Mailbox`].
pub struct Inputs(Receiver<Input>);

/// Sees what happens, as soon as it is durable. Called on the host's thread.
pub trait Observer {
    /// Decisions are durable. `run` may be further already.
    fn decided(&mut self, run: &Run, rows: &[Row], events: &[Event]) {
        let _ = (run, rows, events);
    }

    /// An attempt says how far it is.
    fn progress(&mut self, run: &Run, key: AttemptKey, fraction: Option<f64>, text: &str) {
        let _ = (run, key, fraction, text);
    }

    /// Something that was asked for did not come about, and `message` says why; it may be text of others.
    fn trouble(&mut self, run: &Run, message: &str) {
        let _ = (run, message);
    }
}

/// An observer that looks away.
#[derive(Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}

/// What a host is made of.
pub struct Config {
    /// Where decisions are kept.
    pub journal: Arc<dyn Journal>,
    /// Where time is read.
    pub clock: Arc<dyn Clock>,
    /// What performs effects.
    pub performer: Performer,
    /// How this process signs the runs that it owns.
    pub owner: Owner,
    /// Makes the summary of a run for listings.
    pub summarise: fn(&Run, Now) -> Option<Summary>,
    /// Ranks agents for the tasks of a plan that name skills, when a run of it is made.
    pub route: Arc<Router>,
}

/// Ranks agents for the tasks of a plan: the commands that say so.
pub type Router = dyn Fn(&Plan) -> Vec<Command> + Send + Sync;

/// Executes runs.
pub struct Host {
    pub(crate) journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    performer: Performer,
    owner: Owner,
    summarise: fn(&Run, Now) -> Option<Summary>,
    route: Arc<Router>,
    mailbox: Mailbox,
    inputs: Inputs,
    /// Boxed, as a run is large and a map that grows leaves nearly half of its places free.
    pub(crate) live: HashMap<RunId, Box<Live>>,
    /// Runs at rest whose state is not kept in memory.
    pub(crate) asleep: HashMap<RunId, Asleep>,
    /// Runs with something in their inbox.
    dirty: BTreeSet<RunId>,
    /// When runs are to be looked at, on the boot clock and by the time of day.
    boot_timers: BTreeSet<(Millis, RunId)>,
    wall_timers: BTreeSet<(Wall, RunId)>,
    /// Child runs that somebody else holds.
    pub(crate) awaited: Vec<Awaited>,
    /// Appends of which nothing has been heard yet.
    appending: usize,
    spin: Spin,
}

impl Host {
    /// Makes a host without any run.
    #[must_use]
    pub fn new(config: Config, mailbox: Mailbox, inputs: Inputs) -> Self {
        let Config { journal, clock, performer, owner, summarise, route } = config;
        Self {
            journal,
            clock,
            performer,
            owner,
            summarise,
            route,
            mailbox,
            inputs,
            live: HashMap::new(),
            asleep: HashMap::new(),
            dirty: BTreeSet::new(),
            boot_timers: BTreeSet::new(),
            wall_timers: BTreeSet::new(),
            awaited: Vec::new(),
            appending: 0,
            spin: Spin::new(SPIN),
        }
    }

    /// Returns the way to this host.
    #[must_use]
    pub fn mailbox(&self) -> Mailbox {
        self.mailbox.clone()
    }

    /// Makes a run and starts it.
    ///
    /// # Errors
    ///
    /// Fails if the run cannot be owned, or its base cannot be held.
    pub fn create(&mut self, id: RunId, mission: Mission, plan: Arc<Plan>) -> Result<(), OpenError> {
        self.create_with(id, mission, plan, Vec::new())
    }

    /// Makes a run, puts `first` to it before anything of it can start, and starts it. All of that is one append.
    ///
    /// # Errors
    ///
    /// As [`Host::create`].
    pub fn create_with(
        &mut self,
        id: RunId,
        mission: Mission,
        plan: Arc<Plan>,
        first: Vec<Command>,
    ) -> Result<(), OpenError> {
        let ownership = self.journal.own(id, self.owner.clone())?;
        if let Some(base) = mission.base {
            self.performer.begin(id, base)?;
        }
        let routes = (self.route)(&plan);
        let text = serde_json::to_vec(&*plan).map_err(|error| OpenError::Plan(error.to_string()))?;
        let plan = match text.len() > PLAN_INLINE_MAX {
            true => PlanRef::Kept { digest: self.journal.keep(&text)?, plan: Some(plan) },
            false => PlanRef::Inline(plan),
        };
        self.live.insert(id, Box::new(Live::new(Run::new(id), ownership, &*self.clock)));
        self.put(id, Actor::Engine, Command::Create { mission: Box::new(mission), plan }, None);
        for command in first.into_iter().chain(routes) {
            self.put(id, Actor::Engine, command, None);
        }
        Ok(())
    }

    /// Takes a run over that this or another process left, and goes on with it.
    ///
    /// # Errors
    ///
    /// Fails if the run cannot be owned, does not exist, or is damaged.
    pub fn open(&mut self, id: RunId) -> Result<(), OpenError> {
        if self.live.contains_key(&id) || self.asleep.contains_key(&id) {
            return Ok(());
        }
        let ownership = self.journal.own(id, self.owner.clone())?;
        let (run, folded) = load_counted(&*self.journal, id)?;
        if !run.is_created() {
            return Err(OpenError::NoSuchRun(id));
        }
        let effects = outstanding(&run);
        if !effects.is_empty() {
            self.journal.settle()?;
        }
        let over = run.outcome().is_some() && effects.is_empty();
        let epoch = ownership.epoch();
        if let Some(base) = run.mission().base {
            self.performer.begin(id, base)?;
        }
        let mut live = Live::new(run, ownership, &*self.clock);
        live.since_snapshot = folded;
        self.live.insert(id, Box::new(live));
        // A run that is over is opened only to be asked; that needs no record.
        if !over {
            self.put(id, Actor::Engine, Command::Open { epoch }, None);
            self.heed_parent(id);
        }
        if let Some(live) = self.live.get_mut(&id) {
            self.performer.tell_passed(&live.run);
            self.performer.recover(&live.run, &effects, &self.mailbox);
        }
        self.start_children(id, &effects);
        self.hold_children(id, &effects);
        Ok(())
    }

    /// Takes a run over that nobody executes, only to put a command to it: nothing of it is started or recovered, but
    /// for a merge that a crash cut short, which is finished.
    ///
    /// # Errors
    ///
    /// As [`Host::open`].
    pub fn open_to_ask(&mut self, id: RunId) -> Result<(), OpenError> {
        let ownership = self.journal.own(id, self.owner.clone())?;
        let (run, folded) = load_counted(&*self.journal, id)?;
        if !run.is_created() {
            return Err(OpenError::NoSuchRun(id));
        }
        let mut live = Live::new(run, ownership, &*self.clock);
        live.since_snapshot = folded;
        live.only_asked = true;
        if live.run.merge_under_way().is_some() {
            self.journal.settle()?;
        }
        self.performer.finish_merge(&live.run, &self.mailbox);
        self.performer.tell_passed(&live.run);
        self.live.insert(id, Box::new(live));
        Ok(())
    }

    /// Gives a run up: what it decided is durable or lost, and somebody else may own it.
    pub fn close(&mut self, id: RunId) {
        self.set_alarm(id, Alarm::default());
        self.asleep.remove(&id);
        self.performer.let_go(id);
        if let Some(live) = self.live.remove(&id)
            && live.since_snapshot >= SNAPSHOT_WORTH
        {
            self.keep_snapshot(&live);
        }
    }

    /// Returns a run that this process executes, unless it is one of very many at rest: see [`Host::wake`].
    #[must_use]
    pub fn run(&self, id: RunId) -> Option<&Run> {
        self.live.get(&id).map(|live| &live.run)
    }

    /// Returns the runs that this process executes.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.live.values().map(|live| &live.run)
    }

    /// Returns why the journal no longer takes decisions of a run, if it does not.
    #[must_use]
    pub fn failure(&self, id: RunId) -> Option<&AppendError> {
        match self.asleep.get(&id) {
            Some(asleep) => asleep.failed.as_deref(),
            None => self.live.get(&id)?.failed.as_ref(),
        }
    }

    /// Returns what last stood in the way of something that was asked of a run, such as a merge. It may be text of
    /// others.
    #[must_use]
    pub fn trouble(&self, id: RunId) -> Option<&str> {
        self.live.get(&id)?.trouble.as_deref()
    }

    pub(crate) fn boot(&self) -> Millis {
        self.clock.boot()
    }

    pub(crate) fn performer(&self) -> &Performer {
        &self.performer
    }

    /// Tells whether everything that was decided about a run is durable.
    pub(crate) fn is_quiet(&self, id: RunId) -> bool {
        self.live.get(&id).is_some_and(|live| live.in_flight.is_empty() && live.failed.is_none())
    }

    /// Puts a command to a run of this host. `reply` is called once its decision is durable, or it is refused.
    pub fn put(&mut self, run: RunId, actor: Actor, command: Command, reply: Option<Reply>) {
        if let Err(error) = self.wake(run) {
            return reply.into_iter().for_each(|reply| reply(Err(error.clone().into())));
        }
        match self.live.get_mut(&run) {
            Some(live) if live.failed.is_none() => {
                if let Command::LandingFailed { message } = &command {
                    live.trouble = Some(message.clone());
                }
                live.inbox.push((actor, command, reply));
                self.dirty.insert(run);
            }
            Some(live) => {
                if let (Some(reply), Some(error)) = (reply, live.failed.clone()) {
                    reply(Err(error.into()));
                }
            }
            None => {
                if let Some(reply) = reply {
                    reply(Err(Refusal::NotHere(run)));
                }
            }
        }
    }

    /// Does what can be done, then waits for at most `patience` for something to happen, and does that.
    ///
    /// # Errors
    ///
    /// Fails with [`Rejection::Bug`] if the decider contradicts itself.
    pub fn step(&mut self, patience: Duration, observer: &mut dyn Observer) -> Result<(), Rejection> {
        self.decide_all()?;
        let wait = self.sleep().map_or(patience, |sleep| sleep.min(patience));
        if let Some(input) = self.next_input(wait) {
            self.take(input, observer);
        }
        for _ in 1..BATCH_MAX {
            let Ok(input) = self.inputs.0.try_recv() else { break };
            self.take(input, observer);
        }
        self.ring();
        self.decide_all()
    }

    /// Waits for an input, at most for `wait`.
    fn next_input(&mut self, wait: Duration) -> Option<Input> {
        let inputs = &self.inputs.0;
        if self.appending > 0
            && let Some(input) = self.spin.find(wait, || inputs.try_recv().ok())
        {
            return Some(input);
        }
        // The mailbox is held by the host itself, so it is never disconnected.
        self.inputs.0.recv_timeout(wait).ok()
    }

    fn sleep(&self) -> Option<Duration> {
        let boot = self.boot_timers.first().map(|(at, _)| *at);
        let boot = boot.into_iter().chain(self.awaited.iter().map(|awaited| awaited.at)).min();
        let boot = boot.map(|at| at.0.saturating_sub(self.boot().0));
        let wall = self.wall_timers.first().map(|(at, _)| {
            let left = at.0.saturating_sub(self.clock.wall().0);
            u64::try_from(left).unwrap_or(0).min(NAP_MAX.0)
        });
        boot.into_iter().chain(wall).min().map(Duration::from_millis)
    }

    /// Lets time pass for the runs whose time has come.
    fn ring(&mut self) {
        if !self.awaited.is_empty() {
            self.take_up_children();
        }
        let mut due = BTreeSet::new();
        if !self.boot_timers.is_empty() {
            let now = self.clock.boot();
            due.extend(self.boot_timers.iter().take_while(|(at, _)| *at <= now).map(|(_, run)| *run));
        }
        if !self.wall_timers.is_empty() {
            let now = self.clock.wall();
            due.extend(self.wall_timers.iter().take_while(|(at, _)| *at <= now).map(|(_, run)| *run));
        }
        for run in due {
            self.set_alarm(run, Alarm::default());
            self.put(run, Actor::Clock, Command::Tick, None);
        }
    }

    fn take(&mut self, input: Input, observer: &mut dyn Observer) {
        match input {
            Input::Command { run, actor, command, reply } => self.put(run, actor, command, reply),
            Input::Agent(key, report) => self.report(key, report, observer),
            Input::Durable { run, upto, result } => self.durable(run, upto, result, observer),
            Input::Trouble { run, message } => {
                if let Some(live) = self.live.get_mut(&run) {
                    observer.trouble(&live.run, &message);
                    live.trouble = Some(message);
                }
            }
            Input::Nudge => {}
        }
    }

    fn report(&mut self, key: AttemptKey, report: Report, observer: &mut dyn Observer) {
        let Some(live) = self.live.get_mut(&key.run) else { return };
        let actor = Actor::Agent(key.task, key.attempt);
        let (task, attempt) = (key.task, key.attempt);
        match report {
            Report::Progress { fraction, text } => observer.progress(&live.run, key, fraction, &text),
            Report::Finished(ending) => self.performer.finished(&live.run, key, ending, &self.mailbox),
            Report::Throttled { text, .. } if key.compensates => {
                observer.progress(&live.run, key, None, &text);
            }
            // Nobody is asked, and nothing handed on, by what takes a task back.
            _ if key.compensates => {}
            Report::Note(text) => {
                self.put(key.run, actor, Command::Note { task, attempt, text: short(text) }, None);
            }
            Report::HandOff { to, note } => {
                let agents = live.run.plan().agents();
                let found = to.as_ref().map(|to| agents.iter().position(|agent| agent.name == *to));
                let found = found.map(|at| at.and_then(|at| u32::try_from(at).ok()).map(AgentId));
                // The agent was told whom there is; a name that nobody has any more is as good as none.
                let command = Command::HandOff { task, attempt, to: found.flatten(), note: short(note) };
                self.put(key.run, actor, command, None);
            }
            Report::Question { question: number, text, choices } => {
                let question = Question { number, text: short(text), choices };
                match live.questions.get_mut(&task).filter(|asking| asking.attempt == attempt) {
                    Some(asking) => asking.waiting.push_back(question),
                    None => {
                        let asking = Asking { attempt, put: number, gate: None, waiting: VecDeque::new() };
                        live.questions.insert(task, asking);
                        self.ask(key, question);
                    }
                }
            }
            Report::Throttled { until, text } => {
                observer.progress(&live.run, key, None, &text);
                self.put(key.run, actor, Command::Throttled { task, attempt, until }, None);
            }
        }
    }

    fn ask(&mut self, key: AttemptKey, question: Question) {
        let (task, attempt) = (key.task, key.attempt);
        let Question { text, choices, .. } = question;
        let command = Command::Ask { task, attempt, question: text, choices };
        self.put(key.run, Actor::Agent(task, attempt), command, None);
    }

    /// Puts the next question of an attempt, one of which has been answered.
    fn ask_next(&mut self, key: AttemptKey) {
        let Some(live) = self.live.get_mut(&key.run) else { return };
        let Some(asking) = live.questions.get_mut(&key.task) else { return };
        match asking.waiting.pop_front().filter(|_| asking.attempt == key.attempt) {
            Some(next) => {
                asking.put = next.number;
                self.ask(key, next);
            }
            None => drop(live.questions.remove(&key.task)),
        }
    }

    fn decide_all(&mut self) -> Result<(), Rejection> {
        while let Some(id) = self.dirty.pop_first() {
            let Some(live) = self.live.get_mut(&id) else { continue };
            if live.failed.is_some() {
                live.inbox.clear();
                continue;
            }
            let summarise = self.summarise;
            if let Some(append) = live.decide(&*self.clock, summarise)? {
                let (upto, mailbox) = (live.run.version(), self.mailbox.clone());
                let ack = Box::new(move |result| mailbox.send(Input::Durable { run: id, upto, result }));
                self.appending += 1;
                self.journal.append(append, ack);
                // The disk is at work meanwhile.
                if let Some(live) = self.live.get(&id)
                    && let Some(decided) = live.in_flight.back()
                {
                    self.performer.expect(&live.run, &decided.events);
                }
            }
            self.arm(id);
        }
        Ok(())
    }

    /// Sets the timers for when the run wants to be looked at next.
    fn arm(&mut self, id: RunId) {
        let Some(live) = self.live.get(&id).filter(|live| !live.only_asked) else { return };
        let wake = live.run.next_wake();
        self.set_alarm(id, Alarm { boot: wake.elapsed.map(|at| live.boot_at(at)), wall: wake.wall });
    }

    fn set_alarm(&mut self, id: RunId, alarm: Alarm) {
        let armed = match self.asleep.get_mut(&id) {
            Some(asleep) => Some(&mut asleep.armed),
            None => self.live.get_mut(&id).map(|live| &mut live.armed),
        };
        let Some(armed) = armed.filter(|armed| **armed != alarm) else { return };
        let old = std::mem::replace(armed, alarm);
        old.boot.map(|at| self.boot_timers.remove(&(at, id)));
        old.wall.map(|at| self.wall_timers.remove(&(at, id)));
        self.boot_timers.extend(alarm.boot.map(|at| (at, id)));
        self.wall_timers.extend(alarm.wall.map(|at| (at, id)));
    }

    fn durable(
        &mut self,
        id: RunId,
        upto: Version,
        result: Result<(), AppendError>,
        observer: &mut dyn Observer,
    ) {
        // An append is answered once; a host that is not told of one would spin for nothing, no more.
        self.appending = self.appending.saturating_sub(1);
        if let Err(error) = result {
            return self.poison(id, &error);
        }
        let Some(live) = self.live.get_mut(&id) else { return };
        let mut effects = Vec::new();
        while live.in_flight.front().is_some_and(|first| first.upto <= upto) {
            let Some(done) = live.in_flight.pop_front() else { break };
            note_questions(live, &done.events);
            observer.decided(&live.run, &done.rows, &done.events);
            done.replies.into_iter().for_each(|(reply, result)| reply(result.map_err(Refusal::from)));
            // Whoever opens the run next does the rest.
            if live.failed.is_none() {
                self.performer.closed(&live.run, &done.events);
                effects.extend(react(&live.run, &done.events));
            }
        }
        if live.in_flight.is_empty() {
            live.in_flight.shrink_to_fit();
        }
        let noops = self.performer.perform(&live.run, &effects, &live.gates, &self.mailbox);
        for command in noops {
            live.inbox.push((Actor::Engine, command, None));
            self.dirty.insert(id);
        }
        if live.since_snapshot >= SNAPSHOT_EVERY.max(live.run.len() as u64) && live.in_flight.is_empty() {
            live.since_snapshot = 0;
            let live = &self.live[&id];
            self.keep_snapshot(live);
        }
        for effect in &effects {
            if let Effect::Deliver { gate, task, attempt } = *effect {
                let answered = self.live.get_mut(&id).and_then(|live| live.gates.remove(&gate));
                if answered.is_some() {
                    self.ask_next(AttemptKey { run: id, task, attempt, compensates: false });
                }
            }
        }
        self.start_children(id, &effects);
        self.hold_children(id, &effects);
        self.tell_parent(id);
        self.put_to_sleep(id);
    }

    /// Gives up on a run of which the journal did not take a decision, and on those that wait for it.
    ///
    /// What was decided and is not in the journal never happened: no effect of it may leave. Opening the run again
    /// goes on from what the journal holds.
    fn poison(&mut self, id: RunId, error: &AppendError) {
        let Some(live) = self.live.get_mut(&id) else { return };
        let lost = std::mem::take(&mut live.in_flight);
        let replies = lost.into_iter().flat_map(|lost| lost.replies).map(|(reply, _)| reply);
        replies.for_each(|reply| reply(Err(error.clone().into())));
        let mut next = Some(id);
        while let Some(live) = next.and_then(|id| self.live.get_mut(&id)) {
            live.refuse_all(error);
            let (run, parent) = (live.run.id(), live.run.mission().parent);
            self.set_alarm(run, Alarm::default());
            next = parent.map(|parent| parent.run);
        }
    }

    pub(crate) fn keep_snapshot(&self, live: &Live) {
        if !live.in_flight.is_empty() || live.failed.is_some() || !live.run.is_created() {
            return;
        }
        let (fold, bytes) = live.run.to_snapshot();
        let snapshot = Snapshot { n: live.run.version(), hash: live.run.hash(), fold, bytes };
        // Only a cache: without it the next start reads more.
        let _ = self.journal.keep_snapshot(live.run.id(), snapshot);
    }
}

/// Keeps track of which gate is which question of an attempt.
fn note_questions(live: &mut Live, events: &[Event]) {
    for event in events {
        match event {
            Event::GateOpened { gate, task, kind: GateKind::Question, .. } => {
                if let Some(asking) = live.questions.get_mut(task) {
                    asking.gate = Some(*gate);
                    live.gates.insert(*gate, asking.put);
                }
            }
            Event::Completed { task, .. }
            | Event::Submitted { task, .. }
            | Event::AttemptFailed { task, .. }
            | Event::PassedOn { task, .. }
            | Event::Cancelled { task } => {
                // Nobody is left to hear the answer.
                let gate = live.questions.remove(task).and_then(|asking| asking.gate);
                gate.map(|gate| live.gates.remove(&gate));
            }
            _ => {}
        }
    }
}
