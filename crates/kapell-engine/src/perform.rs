//! Performing effects: what the core wants done, done through the ports. Results come back as commands.

mod ended; // what came of them, as commands
mod given; // what attempts and checks are given

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kapell_core::{
    command::{Command, Verdict},
    effect::Effect,
    event::{Event, Outputs},
    id::{AttemptNo, GateId, Oid, RunId, TaskId},
    landing::Probe,
    plan::{Supervise, Work, WorkspaceKind},
    retry::FailureClass,
    run::Run,
    task::TaskState,
};

pub use self::given::{kind_of, setup_of};
use self::{
    ended::{broken, end_command, failed, short_outcome, short_verdict, succeeded, transient},
    given::{Prepared, complete, has_change, holds_files, key, prepare, trial},
};
pub(crate) use self::{
    ended::{cannot_compute, finish, short},
    given::environment,
};
use crate::{
    host::{Input, Mailbox},
    port::{
        agents::{Agents, AttemptKey, Ending, Failure, Job, Recovered, Used},
        workspaces::{Check, CheckCommand, Close, MergeOrder, Merged, WorkspaceError, Workspaces},
    },
    workers::Workers,
};

/// The pauses before a repository that could not be used is tried again.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];

/// Performs effects through agents and workspaces.
///
/// A start may wait for a workspace, and a check for its turn, until an attempt ends. What ends attempts has threads of
/// its own, so that it never waits behind them.
pub struct Performer {
    agents: Arc<dyn Agents>,
    workspaces: Arc<dyn Workspaces>,
    starts: Workers,
    /// Starts that wait for nothing but the birth of a process, which a supervisor would wait for otherwise.
    births: Workers,
    checks: Workers,
    ends: Workers,
    /// Attempts whose workspace is being made ready, and whether they have been asked to end meanwhile.
    starting: Arc<Mutex<HashMap<AttemptKey, bool>>>,
    /// The try at taking a task back that is under way: once it has ended the state no longer says.
    compensating: Mutex<HashMap<(RunId, TaskId), AttemptNo>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Performer {
    fn drop(&mut self) {
        // What nobody will hear of is not begun, and what threads wait for ends, so that they can be joined.
        self.starts.discard();
        self.checks.discard();
        // A process that is being born is known to whoever ends all of them before that happens.
        self.births.discard();
        self.births.close();
        self.agents.close();
    }
}

impl Performer {
    /// Makes a performer that starts, checks and ends at most `workers` attempts each at a time.
    #[must_use]
    pub fn new(agents: Arc<dyn Agents>, workspaces: Arc<dyn Workspaces>, workers: usize) -> Self {
        Self {
            agents,
            workspaces,
            starts: Workers::new("kapell-start", workers),
            births: Workers::new("kapell-birth", workers),
            checks: Workers::new("kapell-check", workers),
            ends: Workers::new("kapell-end", workers),
            starting: Arc::default(),
            compensating: Mutex::default(),
        }
    }

    pub(crate) fn begin(&self, run: RunId, base: Oid) -> Result<(), WorkspaceError> {
        self.workspaces.begin(run, base)
    }

    /// Takes in that a run is given up.
    pub(crate) fn let_go(&self, run: RunId) {
        self.agents.let_go(run);
    }

    /// Takes in that attempts shall start as soon as that is durable.
    pub(crate) fn expect(&self, run: &Run, events: &[Event]) {
        for event in events {
            if let Event::Started { task, attempt, .. } = event
                && matches!(
                    run.plan().definition(*task).work,
                    Work::Run(_) | Work::Scripted(_) | Work::Prompt(_)
                )
            {
                self.agents.expect(key(run, *task, *attempt, false));
            }
        }
    }

    /// Performs effects. Those that need nothing of the world are answered at once, by commands.
    pub(crate) fn perform(
        &self,
        run: &Run,
        effects: &[Effect],
        gates: &HashMap<GateId, u32>,
        mailbox: &Mailbox,
    ) -> Vec<Command> {
        effects.iter().filter_map(|effect| self.perform_one(run, effect, gates, mailbox)).collect()
    }

    fn perform_one(
        &self,
        run: &Run,
        effect: &Effect,
        gates: &HashMap<GateId, u32>,
        mailbox: &Mailbox,
    ) -> Option<Command> {
        match effect {
            Effect::Start { task, attempt } => return self.start(run, *task, *attempt, mailbox),
            Effect::Stop { task, attempt, .. } => {
                let compensates = matches!(run.state(*task), TaskState::Compensating { .. });
                // A child run is cancelled by the host, which owns it too.
                if compensates || !matches!(run.plan().definition(*task).work, Work::Workflow(_)) {
                    let key = key(run, *task, *attempt, compensates);
                    if let Some(stopped) = lock(&self.starting).get_mut(&key) {
                        *stopped = true;
                    }
                    self.agents.stop(key);
                }
            }
            Effect::Check { task, attempt } => self.check(run, *task, *attempt, mailbox),
            Effect::Probe(probe) => self.probe(run, probe, mailbox),
            Effect::MoveRef { from, to } => self.move_ref(run, *from, *to, mailbox),
            Effect::Compensate { task, attempt } => return self.compensate(run, *task, *attempt, mailbox),
            Effect::Deliver { gate, task, attempt } => {
                let answer =
                    run.gates().find(|(id, _)| id == gate).and_then(|(_, gate)| gate.answer.as_ref());
                if let (Some((answer, _)), Some(question)) = (answer, gates.get(gate)) {
                    self.agents.answer(key(run, *task, *attempt, false), *question, answer);
                }
            }
            Effect::Merge { target, from, to } => {
                let order = MergeOrder {
                    run: run.id(),
                    target: target.clone(),
                    from: *from,
                    to: *to,
                    is_left: false,
                };
                self.merge(order, mailbox);
            }
            // Child runs are held by the host.
            Effect::Notify { .. } | Effect::Hold { .. } => {}
        }
        None
    }

    fn start(&self, run: &Run, task: TaskId, attempt: AttemptNo, mailbox: &Mailbox) -> Option<Command> {
        let definition = run.plan().definition(task);
        let job = match &definition.work {
            Work::Noop => return Some(finish(task, attempt, succeeded(None, Outputs::new()))),
            // The host starts child runs, and gates are only waited for.
            Work::Workflow(_) | Work::Gate(_) => return None,
            Work::Run(script) => Ok(Job::Script(script.clone())),
            Work::Scripted(script) => Ok(Job::Scripted(script.clone())),
            Work::Prompt(prompt) => run.render(task, prompt).map(Job::Prompt),
        };
        let prepared = job.and_then(|job| prepare(run, task, key(run, task, attempt, false), job));
        match prepared {
            Ok(prepared) => self.launch(prepared, mailbox),
            Err(error) => return Some(finish(task, attempt, cannot_compute(&error))),
        }
        None
    }

    /// Opens the workspace and starts the agent in it, off the host's thread if anything is to be waited for.
    ///
    /// A command that needs no clone is handed to the crew at once, as that takes no longer than handing it to a thread. An
    /// agent may have to be contained, or find the logs of an attempt before it: nobody else is kept waiting for that.
    fn launch(&self, prepared: Prepared, mailbox: &Mailbox) {
        let (agents, workspaces, mailbox) = (self.agents.clone(), self.workspaces.clone(), mailbox.clone());
        let quick = matches!(prepared.request.kind, WorkspaceKind::InPlace | WorkspaceKind::None)
            && prepared.request.prepare.is_empty()
            && prepared.order.agent.is_none()
            && !matches!(prepared.order.job, Job::Prompt(_));
        let supervised = prepared.order.supervise == Supervise::Full;
        let (starting, key) = (self.starting.clone(), prepared.order.key);
        lock(&starting).insert(key, false);
        let job = move || {
            let Prepared { mut order, request, draft } = prepared;
            let stopped = || lock(&starting).get(&key).is_some_and(|stopped| *stopped);
            let start = || {
                let ready = workspaces.open(&request, &stopped).map_err(|error| Failure {
                    class: error.class,
                    message: error.message,
                    until: None,
                })?;
                if stopped() {
                    return Err(transient("it was stopped before it started".to_owned()));
                }
                order.dir = ready.dir;
                order.env.extend(ready.env);
                order.earlier.work = ready.earlier;
                order.brief = Arc::new(complete(draft, &order, &*agents, &*workspaces));
                agents.start(&order)
            };
            let started = catch_unwind(AssertUnwindSafe(start));
            let started = started.unwrap_or_else(|_| Err(transient("starting it failed: a bug".to_owned())));
            let stopped = lock(&starting).remove(&key).unwrap_or(false);
            match started {
                Err(failure) => mailbox.command(key.run, end_command(key, failed(failure), Ok(None))),
                // Asked while it did not run yet, it has not heard.
                Ok(()) if stopped => agents.stop(key),
                Ok(()) => {}
            }
        };
        match (quick, supervised) {
            (true, true) => job(),
            // Meanwhile the host decides what follows from the end of another one.
            (true, false) => self.births.run(job),
            (false, _) => self.starts.run(job),
        }
    }

    /// Lets `job` find out a command on a thread of `workers`. Should it panic, `otherwise` takes its place, so that
    /// nothing waits for it for ever.
    fn find_out(
        &self,
        workers: &Workers,
        mailbox: &Mailbox,
        run: RunId,
        otherwise: Command,
        job: impl FnOnce() -> Command + Send + 'static,
    ) {
        let mailbox = mailbox.clone();
        workers.run(move || {
            let command = catch_unwind(AssertUnwindSafe(job)).unwrap_or(otherwise);
            mailbox.command(run, command);
        });
    }

    fn compensate(&self, run: &Run, task: TaskId, attempt: AttemptNo, mailbox: &Mailbox) -> Option<Command> {
        let key = key(run, task, attempt, true);
        lock(&self.compensating).insert((run.id(), task), attempt);
        let script = run.plan().definition(task).compensate.clone().unwrap_or_default();
        match prepare(run, task, key, Job::Script(script)) {
            Ok(prepared) => self.launch(prepared, mailbox),
            Err(error) => {
                let failure = Some(format!("its environment cannot be computed: {error}"));
                return Some(Command::Compensated { task, attempt, change: None, failure });
            }
        }
        None
    }

    /// Takes in that an attempt has ended: its change is captured, then the core is told.
    pub(crate) fn finished(&self, run: &Run, key: AttemptKey, ending: Ending, mailbox: &Mailbox) {
        tell_used(mailbox, key, &ending);
        let captures = ending.result.is_ok() && holds_files(run, key.task);
        if !captures {
            return mailbox.command(key.run, end_command(key, ending, Ok(None)));
        }
        let workspaces = self.workspaces.clone();
        let name = run.plan().name(key.task).to_owned();
        let otherwise = end_command(key, broken("taking its change failed: a bug"), Ok(None));
        self.find_out(&self.ends, mailbox, key.run, otherwise, move || {
            let change = workspaces.capture(key, &name);
            end_command(key, ending, change)
        });
    }

    /// Gives back what attempts held, and what a run did, once it is durable what became of them.
    pub(crate) fn closed(&self, run: &Run, events: &[Event]) {
        for event in events {
            let (task, how, compensates) = match event {
                Event::Finished { .. } => {
                    self.agents.let_go(run.id());
                    continue;
                }
                // A change was taken out when it was submitted, and the workspace given back then.
                Event::Verified { task } if has_change(run, *task) => continue,
                Event::Completed { task, .. } | Event::Verified { task } => (*task, Close::Kept, false),
                Event::Submitted { task, change: Some(_), .. } | Event::PassedOn { task, .. } => {
                    (*task, Close::Kept, false)
                }
                Event::AttemptFailed { task, .. } | Event::Cancelled { task } => {
                    (*task, Close::Salvage, false)
                }
                // A change was taken out when it was submitted, as above.
                Event::Compensated { commit: Some(_), .. } => continue,
                Event::Compensated { task, .. }
                | Event::CompensationSubmitted { task, .. }
                | Event::CompensationFailed { task, .. } => (*task, Close::Kept, true),
                _ => continue,
            };
            let work = &run.plan().definition(task).work;
            // Whatever a task is, it is taken back by a command.
            if !compensates && matches!(work, Work::Noop | Work::Gate(_) | Work::Workflow(_)) {
                continue;
            }
            let attempt = match event {
                Event::AttemptFailed { attempt, .. }
                | Event::Submitted { attempt, .. }
                | Event::PassedOn { attempt, .. }
                | Event::CompensationFailed { attempt, .. } => *attempt,
                Event::Compensated { .. } | Event::CompensationSubmitted { .. } => {
                    lock(&self.compensating).remove(&(run.id(), task)).unwrap_or(AttemptNo(1))
                }
                _ => AttemptNo(run.task(task).map_or(0, |task| task.attempts)),
            };
            let key = key(run, task, attempt, compensates);
            self.agents.settled(key);
            if kind_of(run, task) == WorkspaceKind::InPlace {
                continue;
            }
            let workspaces = self.workspaces.clone();
            self.ends.run(move || workspaces.close(key, how));
        }
    }

    fn check(&self, run: &Run, task: TaskId, attempt: AttemptNo, mailbox: &Mailbox) {
        let definition = run.plan().definition(task);
        let change = match run.state(task) {
            TaskState::Submitted(submission) => submission.change,
            _ => None,
        };
        let judge = move |verdict| Command::Judge { task, attempt, verdict: short_verdict(verdict) };
        let env = match environment(run, task) {
            Ok(env) => env,
            Err(error) => {
                let message = format!("the environment of the checks cannot be computed: {error}");
                return mailbox.command(run.id(), judge(Verdict::Broken { message }));
            }
        };
        let commands =
            definition.accept.iter().map(|text| CheckCommand { text: text.clone(), env: env.clone() });
        let check = Check {
            key: key(run, task, attempt, false),
            change,
            commands: commands.collect(),
            protect: definition.protect.clone(),
            setup: setup_of(run, [task]),
        };
        let workspaces = self.workspaces.clone();
        let otherwise = judge(Verdict::Broken { message: "checking failed: a bug".to_owned() });
        self.find_out(&self.checks, mailbox, run.id(), otherwise, move || judge(workspaces.check(&check)));
    }

    fn probe(&self, run: &Run, probe: &Probe, mailbox: &Mailbox) {
        let trial = match trial(run, probe) {
            Ok(trial) => trial,
            Err(error) => {
                let message = format!("the environment of the checks cannot be computed: {error}");
                return mailbox.command(run.id(), Command::LandingFailed { message: short(message) });
            }
        };
        let workspaces = self.workspaces.clone();
        let otherwise = Command::LandingFailed { message: "trying to land failed: a bug".to_owned() };
        self.find_out(&self.checks, mailbox, run.id(), otherwise, move || {
            match persist(|| workspaces.probe(&trial)) {
                Ok(outcome) => Command::Probed { probe: trial.probe.id, outcome: short_outcome(outcome) },
                Err(error) => Command::LandingFailed { message: short(error.message) },
            }
        });
    }

    fn move_ref(&self, run: &Run, from: Oid, to: Oid, mailbox: &Mailbox) {
        let (workspaces, run) = (self.workspaces.clone(), run.id());
        let otherwise = Command::LandingFailed { message: "moving the ref failed: a bug".to_owned() };
        self.find_out(&self.ends, mailbox, run, otherwise, move || {
            match persist(|| workspaces.move_ref(run, from, to)) {
                Ok(()) => Command::RefMoved { to },
                Err(error) => Command::LandingFailed { message: short(error.message) },
            }
        });
    }

    /// Finishes the merge that a process which is gone began, if there is one.
    pub(crate) fn finish_merge(&self, run: &Run, mailbox: &Mailbox) {
        if let Some(merge) = run.merge_under_way() {
            let (target, from, to) = (merge.target.clone(), merge.from, merge.to);
            self.merge(MergeOrder { run: run.id(), target, from, to, is_left: true }, mailbox);
        }
    }

    fn merge(&self, order: MergeOrder, mailbox: &Mailbox) {
        let run = order.run;
        let (workspaces, tell) = (self.workspaces.clone(), mailbox.clone());
        let otherwise = Command::EndMerge { moved: false, why: Some("merging failed: a bug".to_owned()) };
        self.find_out(&self.ends, mailbox, run, otherwise, move || {
            let (moved, trouble) = match workspaces.merge(&order) {
                Ok(Merged::Whole) => return Command::EndMerge { moved: true, why: None },
                Ok(Merged::TreeBehind(what)) => (true, what),
                Ok(Merged::Elsewhere) => (false, format!("{} is no longer where it was", order.target)),
                Err(error) => (false, error.message),
            };
            let why = short(trouble);
            tell.send(Input::Trouble { run, message: why.clone() });
            Command::EndMerge { moved, why: (!moved).then_some(why) }
        });
    }

    /// Tells the workspaces which commands the journal says have passed on which trees, so that none runs twice there
    /// because another process ran it first.
    pub(crate) fn tell_passed(&self, run: &Run) {
        // What has landed was green, all of it together.
        let landed = run.landing().filter(|landing| !landing.is_unchecked());
        let head = landed.map(|landing| landing.head()).filter(|head| run.mission().base != Some(*head));
        let checks =
            run.mission().accept.iter().map(|text| CheckCommand { text: text.clone(), env: Vec::new() });
        let head = head.map(|head| (head, checks.collect::<Vec<_>>()));
        let waiting = run.landing().into_iter().flat_map(|landing| landing.pending());
        let verified = waiting.filter_map(|entry| {
            let env = environment(run, entry.task).ok()?;
            let texts = run.plan().definition(entry.task).accept.iter();
            let checks = texts.map(|text| CheckCommand { text: text.clone(), env: env.clone() });
            Some((entry.commit, checks.collect()))
        });
        let known: Vec<(Oid, Vec<CheckCommand>)> =
            head.into_iter().chain(verified).filter(|(_, checks)| !checks.is_empty()).collect();
        if !known.is_empty() {
            let workspaces = self.workspaces.clone();
            self.checks.run(move || {
                known.iter().for_each(|(commit, checks)| workspaces.passed(*commit, checks));
            });
        }
    }

    /// Performs what was owed when the run was opened. Attempts are not started again: what became of them is found
    /// out. All else can be done twice.
    pub(crate) fn recover(&self, run: &Run, effects: &[Effect], mailbox: &Mailbox) {
        let since = Instant::now();
        let mut in_use = Vec::new();
        for effect in effects {
            let (task, attempt, compensates) = match effect {
                Effect::Start { task, attempt } => (*task, *attempt, false),
                Effect::Compensate { task, attempt } => (*task, *attempt, true),
                Effect::Stop { .. } | Effect::Notify { .. } | Effect::Hold { .. } => continue,
                Effect::Merge { .. } => {
                    self.finish_merge(run, mailbox);
                    continue;
                }
                other => {
                    self.perform_one(run, other, &HashMap::new(), mailbox);
                    // A change was taken out already; the checks of a task without one look at its workspace.
                    if let Effect::Check { task, attempt } = other
                        && !has_change(run, *task)
                    {
                        in_use.push(key(run, *task, *attempt, false));
                    }
                    continue;
                }
            };
            match run.plan().definition(task).work {
                Work::Noop if !compensates => {
                    mailbox.command(run.id(), finish(task, attempt, succeeded(None, Outputs::new())));
                }
                // The host takes child runs over; what takes one back is a command like any other.
                Work::Workflow(_) if !compensates => {}
                _ => {
                    let key = key(run, task, attempt, compensates);
                    if compensates {
                        lock(&self.compensating).insert((run.id(), task), attempt);
                    }
                    in_use.push(key);
                    self.recover_attempt(run, key, since, mailbox);
                }
            }
        }
        let (workspaces, run) = (self.workspaces.clone(), run.id());
        self.ends.run(move || workspaces.sweep(run, &in_use));
    }

    fn recover_attempt(&self, run: &Run, key: AttemptKey, since: Instant, mailbox: &Mailbox) {
        let (agents, workspaces) = (self.agents.clone(), self.workspaces.clone());
        let captures = holds_files(run, key.task);
        let name = run.plan().name(key.task).to_owned();
        let otherwise = end_command(key, broken("finding out what became of it failed: a bug"), Ok(None));
        let used_by = mailbox.clone();
        self.find_out(&self.ends, mailbox, key.run, otherwise, move || {
            let ending = match agents.recover(key, since) {
                Recovered::Ended(ending) => ending,
                Recovered::Lost { message, spent, used } => {
                    let failure = Failure { class: FailureClass::Lost, message, until: None };
                    Ending { spent, used, ..failed(failure) }
                }
            };
            tell_used(&used_by, key, &ending);
            let change = match captures && ending.result.is_ok() {
                true => workspaces.capture(key, &name),
                false => Ok(None),
            };
            end_command(key, ending, change)
        });
    }

    /// Returns the change that a child run made: from its base to where its integration ref is.
    pub(crate) fn change(&self, base: Oid, head: Oid) -> Result<kapell_core::task::Change, WorkspaceError> {
        self.workspaces.change(base, head)
    }
}

/// Tries again what failed for a reason that may pass.
fn persist<T>(mut attempt: impl FnMut() -> Result<T, WorkspaceError>) -> Result<T, WorkspaceError> {
    for pause in PAUSES {
        match attempt() {
            Err(error) if error.class == FailureClass::Transient => std::thread::sleep(pause),
            done => return done,
        }
    }
    attempt()
}

/// Tells the core what an attempt used of its model, before it is told how it ended.
fn tell_used(mailbox: &Mailbox, key: AttemptKey, ending: &Ending) {
    if let Some(used) = ending.used.as_ref().filter(|_| !key.compensates) {
        let Used { tokens, claimed, model } = used.clone();
        let (task, attempt) = (key.task, key.attempt);
        mailbox.command(key.run, Command::Use { task, attempt, tokens, claimed, model });
    }
}
