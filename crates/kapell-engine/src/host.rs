//! The host: one thread that executes any number of runs.
//!
//! Inputs of every kind come through one channel. What waits is decided in batches, appended, and only when the
//! journal says that it is durable do effects and replies leave. Appends of one run may be on their way while the
//! next are decided; effects still leave in order.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    time::Duration,
};

use kapell_core::{
    command::{Command, Rejection},
    effect::{outstanding, react},
    event::{Event, PlanRef},
    id::RunId,
    journal::{Actor, Row, Version},
    mission::Mission,
    plan::Plan,
    run::Run,
    time::{Millis, Now},
};

use crate::{
    live::{Live, Refusal, Reply},
    open::{OpenError, load},
    perform::Performer,
    port::{
        agents::{AttemptKey, Report},
        clock::Clock,
        journal::{AppendError, Journal, Owner, Snapshot},
    },
};

/// The most commands of one run that are decided together.
const BATCH_MAX: usize = 256;

/// The longest sleep while a run waits for a time of day: the machine may be suspended or its clock set meanwhile.
const NAP_MAX: Millis = Millis::from_secs(60);

/// A snapshot is written after this many decisions, or as many as there are tasks.
const SNAPSHOT_EVERY: u64 = 2_000;

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
}

/// An observer that looks away.
#[derive(Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}

/// Why a run is at rest: nothing happens until somebody or some time lets it go on.
#[derive(Debug, Clone, PartialEq)]
pub enum Rest {
    /// Something is under way.
    Busy,
    /// It waits for a point in time.
    Waiting,
    /// It waits for people.
    Gates,
    /// It is paused, and nothing is under way any more.
    Paused,
    /// It is over.
    Over,
}

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
    pub summarise: fn(&Run, Now) -> Option<String>,
}

/// Executes runs.
pub struct Host {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    performer: Performer,
    owner: Owner,
    summarise: fn(&Run, Now) -> Option<String>,
    mailbox: Mailbox,
    inputs: Inputs,
    live: HashMap<RunId, Live>,
    /// Runs with something in their inbox.
    dirty: BTreeSet<RunId>,
    timers: BTreeMap<(Millis, RunId), ()>,
}

impl Host {
    /// Makes a host without any run.
    #[must_use]
    pub fn new(config: Config, mailbox: Mailbox, inputs: Inputs) -> Self {
        let Config { journal, clock, performer, owner, summarise } = config;
        Self {
            journal,
            clock,
            performer,
            owner,
            summarise,
            mailbox,
            inputs,
            live: HashMap::new(),
            dirty: BTreeSet::new(),
            timers: BTreeMap::new(),
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
        let text = serde_json::to_vec(&*plan).map_err(|error| OpenError::Plan(error.to_string()))?;
        let plan = match text.len() > PLAN_INLINE_MAX {
            true => PlanRef::Kept { digest: self.journal.keep(&text)?, plan: Some(plan) },
            false => PlanRef::Inline(plan),
        };
        self.live.insert(id, Live::new(Run::new(id), ownership, &*self.clock));
        self.put(id, Actor::Engine, Command::Create { mission: Box::new(mission), plan }, None);
        for command in first {
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
        if self.live.contains_key(&id) {
            return Ok(());
        }
        let ownership = self.journal.own(id, self.owner.clone())?;
        let run = load(&*self.journal, id)?;
        if !run.is_created() {
            return Err(OpenError::NoSuchRun(id));
        }
        let effects = outstanding(&run);
        let over = run.outcome().is_some() && effects.is_empty();
        let epoch = ownership.epoch();
        if let Some(base) = run.mission().base {
            self.performer.begin(id, base)?;
        }
        self.live.insert(id, Live::new(run, ownership, &*self.clock));
        // A run that is over is opened only to be asked; that needs no record.
        if !over {
            self.put(id, Actor::Engine, Command::Open { epoch }, None);
        }
        if let Some(live) = self.live.get_mut(&id) {
            self.performer.recover(&live.run, &effects, &self.mailbox);
        }
        self.start_children(id, &effects);
        Ok(())
    }

    /// Takes a run over that nobody executes, only to put a command to it: nothing of it is started or recovered.
    ///
    /// # Errors
    ///
    /// As [`Host::open`].
    pub fn open_to_ask(&mut self, id: RunId) -> Result<(), OpenError> {
        let ownership = self.journal.own(id, self.owner.clone())?;
        let run = load(&*self.journal, id)?;
        if !run.is_created() {
            return Err(OpenError::NoSuchRun(id));
        }
        let mut live = Live::new(run, ownership, &*self.clock);
        live.only_asked = true;
        self.live.insert(id, live);
        Ok(())
    }

    /// Gives a run up: what it decided is durable or lost, and somebody else may own it.
    pub fn close(&mut self, id: RunId) {
        if let Some(live) = self.live.remove(&id) {
            self.keep_snapshot(&live);
        }
    }

    /// Returns a run that this process executes.
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
        self.live.get(&id)?.failed.as_ref()
    }

    /// Tells what a run waits for.
    #[must_use]
    pub fn rest(&self, id: RunId) -> Rest {
        let Some(live) = self.live.get(&id) else { return Rest::Over };
        let run = &live.run;
        let unfinished = !live.in_flight.is_empty() || !live.inbox.is_empty();
        let asked = run.landing().is_some_and(|landing| landing.asked().is_some());
        let busy = unfinished
            || run.in_flight().any(|task| !is_asking(run, task))
            || asked
            || run.ref_move().is_some()
            || run.merge_under_way().is_some();
        let wake = run.next_wake();
        match () {
            () if live.failed.is_some() => Rest::Over,
            () if busy => Rest::Busy,
            () if run.outcome().is_some() => Rest::Over,
            () if matches!(run.phase(), kapell_core::run::Phase::Paused(_)) => Rest::Paused,
            () if wake.elapsed.is_some() || wake.wall.is_some() => Rest::Waiting,
            () if run.open_gates().next().is_some() => Rest::Gates,
            () => Rest::Waiting,
        }
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
        match self.live.get_mut(&run) {
            Some(live) if live.failed.is_none() => {
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
        match self.inputs.0.recv_timeout(wait) {
            Ok(input) => self.take(input, observer),
            // The mailbox is held by the host itself, so it is never disconnected.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        for _ in 1..BATCH_MAX {
            let Ok(input) = self.inputs.0.try_recv() else { break };
            self.take(input, observer);
        }
        self.ring();
        self.decide_all()
    }

    fn sleep(&self) -> Option<Duration> {
        let ((at, _), ()) = self.timers.first_key_value()?;
        Some(Duration::from_millis(at.0.saturating_sub(self.clock.boot().0)))
    }

    /// Lets time pass for the runs whose timer is due.
    fn ring(&mut self) {
        let now = self.clock.boot();
        while let Some((&(at, run), ())) = self.timers.first_key_value()
            && at <= now
        {
            self.timers.pop_first();
            if let Some(live) = self.live.get_mut(&run) {
                live.armed = None;
            }
            self.put(run, Actor::Clock, Command::Tick, None);
        }
    }

    fn take(&mut self, input: Input, observer: &mut dyn Observer) {
        match input {
            Input::Command { run, actor, command, reply } => self.put(run, actor, command, reply),
            Input::Agent(key, report) => self.report(key, report, observer),
            Input::Durable { run, upto, result } => self.durable(run, upto, result, observer),
            Input::Nudge => {}
        }
    }

    fn report(&mut self, key: AttemptKey, report: Report, observer: &mut dyn Observer) {
        let Some(live) = self.live.get_mut(&key.run) else { return };
        let actor = Actor::Agent(key.task, key.attempt);
        let (task, attempt) = (key.task, key.attempt);
        match report {
            Report::Progress { fraction, text } => observer.progress(&live.run, key, fraction, &text),
            Report::Note(text) if !key.compensates => {
                self.put(key.run, actor, Command::Note { task, attempt, text }, None);
            }
            Report::Question { question, text, choices } if !key.compensates => {
                live.questions.insert(task, question);
                self.put(key.run, actor, Command::Ask { task, attempt, question: text, choices }, None);
            }
            Report::Note(_) | Report::Question { .. } => {}
            Report::Finished(ending) => self.performer.finished(&live.run, key, ending, &self.mailbox),
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
                self.journal.append(append, ack);
            }
            self.arm(id);
        }
        Ok(())
    }

    /// Sets the timer for when the run wants to be looked at next.
    fn arm(&mut self, id: RunId) {
        let Some(live) = self.live.get_mut(&id).filter(|live| !live.only_asked) else { return };
        let wake = live.run.next_wake();
        let now = self.clock.boot();
        let by_elapsed = wake.elapsed.map(|at| live.boot_at(at));
        let by_wall = wake.wall.map(|at| {
            let left = u64::try_from(at.0.saturating_sub(self.clock.wall().0)).unwrap_or(0);
            Millis(now.0 + left.min(NAP_MAX.0))
        });
        let at = by_elapsed.into_iter().chain(by_wall).min();
        if live.armed == at {
            return;
        }
        if let Some(old) = live.armed.take() {
            self.timers.remove(&(old, id));
        }
        if let Some(at) = at {
            live.armed = Some(at);
            self.timers.insert((at, id), ());
        }
    }

    fn durable(
        &mut self,
        id: RunId,
        upto: Version,
        result: Result<(), AppendError>,
        observer: &mut dyn Observer,
    ) {
        let Some(live) = self.live.get_mut(&id) else { return };
        if let Err(error) = result {
            // What was decided and is not in the journal never happened: no effect of it may leave.
            let lost = std::mem::take(&mut live.in_flight);
            live.failed.get_or_insert_with(|| error.clone());
            let waiting = std::mem::take(&mut live.inbox).into_iter().filter_map(|(_, _, reply)| reply);
            let replies = lost.into_iter().flat_map(|lost| lost.replies).map(|(reply, _)| reply);
            replies.chain(waiting).for_each(|reply| reply(Err(error.clone().into())));
            return;
        }
        let mut effects = Vec::new();
        while live.in_flight.front().is_some_and(|first| first.upto <= upto) {
            let Some(done) = live.in_flight.pop_front() else { break };
            for event in &done.events {
                if let Event::GateOpened { gate, task, kind: kapell_core::event::GateKind::Question, .. } =
                    event
                    && let Some(question) = live.questions.remove(task)
                {
                    live.gates.insert(*gate, question);
                }
            }
            observer.decided(&live.run, &done.rows, &done.events);
            done.replies.into_iter().for_each(|(reply, result)| reply(result.map_err(Refusal::from)));
            self.performer.closed(&live.run, &done.events);
            effects.extend(react(&live.run, &done.events));
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
        self.start_children(id, &effects);
        self.tell_parent(id);
    }

    fn keep_snapshot(&self, live: &Live) {
        if !live.in_flight.is_empty() || live.failed.is_some() || !live.run.is_created() {
            return;
        }
        let (fold, bytes) = live.run.to_snapshot();
        let snapshot = Snapshot { n: live.run.version(), hash: live.run.hash(), fold, bytes };
        // Only a cache: without it the next start reads more.
        let _ = self.journal.keep_snapshot(live.run.id(), snapshot);
    }
}

/// Tells whether an attempt only waits for an answer.
fn is_asking(run: &Run, task: kapell_core::id::TaskId) -> bool {
    matches!(run.state(task), kapell_core::task::TaskState::Running(attempt) if attempt.question.is_some())
        || run.is_doubted(task)
}
