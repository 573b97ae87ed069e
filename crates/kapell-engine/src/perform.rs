//! Performing effects: what the core wants done, done through the ports. Results come back as commands.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kapell_core::{
    budget::Amount,
    command::{Command, Exit, Verdict},
    decide::COMPENSATION_TIME,
    effect::Effect,
    event::{Event, GateKind, Outputs},
    expr::EvalError,
    id::{AttemptNo, GateId, Oid, RunId, TaskId},
    landing::{Probe, Probed},
    plan::{Definition, OutputSpec, Supervise, Work, WorkspaceKind},
    retry::FailureClass,
    run::{Gate, Run},
    task::TaskState,
};

use crate::{
    brief::{self, Draft},
    host::{Input, Mailbox},
    port::{
        agents::{
            Agents, Allowance, AttemptKey, Brief, Earlier, Ending, Failure, Job, Order, Recovered, Used,
        },
        workspaces::{
            Check, CheckCommand, Close, MergeOrder, Merged, Request, Setup, Trial, WorkspaceError, Workspaces,
        },
    },
    workers::Workers,
};

/// The most bytes of a message that are recorded.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// The most paths of a conflict that are recorded.
const PATHS_MAX: usize = 50;

/// The variable that tells a compensation which commits brought in what it is to take back, as git takes a range.
const CHANGE_VARIABLE: &str = "KAPELL_CHANGE";

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

/// Everything about an attempt that is computed from the state, so that threads need no state.
struct Prepared {
    order: Order,
    request: Request,
    draft: Draft,
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

fn has_change(run: &Run, task: TaskId) -> bool {
    match run.state(task) {
        TaskState::Submitted(result) | TaskState::Verified(result) => result.change.is_some(),
        state => matches!(state, TaskState::Landed { .. }),
    }
}

fn key(run: &Run, task: TaskId, attempt: AttemptNo, compensates: bool) -> AttemptKey {
    AttemptKey { run: run.id(), task, attempt, compensates }
}

pub(crate) fn finish(task: TaskId, attempt: AttemptNo, exit: Exit) -> Command {
    Command::Finish { task, attempt, exit }
}

fn succeeded(change: Option<kapell_core::task::Change>, outputs: Outputs) -> Exit {
    Exit::Succeeded { change, outputs, spent: Default::default() }
}

pub(crate) fn cannot_compute(error: &EvalError) -> Exit {
    Exit::Failed {
        class: FailureClass::Permanent,
        message: format!("an expression cannot be computed: {error}"),
        spent: Default::default(),
        until: None,
    }
}

fn transient(message: String) -> Failure {
    Failure { class: FailureClass::Transient, message, until: None }
}

fn failed(failure: Failure) -> Ending {
    Ending { result: Err(failure), outputs: Outputs::new(), spent: Default::default(), used: None }
}

fn broken(message: &str) -> Ending {
    failed(transient(message.to_owned()))
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

/// Shortens a message that is too long to be kept: its beginning says what failed, its end how.
pub(crate) fn short(text: String) -> String {
    if text.len() <= MESSAGE_BYTES_MAX {
        return text;
    }
    let whole = |at: &usize| text.is_char_boundary(*at);
    let head = (0..=MESSAGE_BYTES_MAX / 4).rev().find(whole).unwrap_or(0);
    let tail = (text.len() - MESSAGE_BYTES_MAX * 3 / 4..).find(whole).unwrap_or(text.len());
    format!("{}\n[{} bytes left out]\n{}", &text[..head], tail - head, &text[tail..])
}

fn short_verdict(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Passed => Verdict::Passed,
        Verdict::Failed { message } => Verdict::Failed { message: short(message) },
        Verdict::Doubtful { question } => Verdict::Doubtful { question: short(question) },
        Verdict::Broken { message } => Verdict::Broken { message: short(message) },
    }
}

fn short_outcome(outcome: Probed) -> Probed {
    match outcome {
        Probed::Red { tips, message } => Probed::Red { tips, message: short(message) },
        Probed::Conflict { index, mut paths } if paths.len() > PATHS_MAX => {
            let more = paths.len() - PATHS_MAX;
            paths.truncate(PATHS_MAX);
            paths.push(format!("and {more} more"));
            Probed::Conflict { index, paths }
        }
        other => other,
    }
}

/// Turns the end of an attempt, and what came out of its workspace, into the command that says so.
fn end_command(
    key: AttemptKey,
    ending: Ending,
    change: Result<Option<kapell_core::task::Change>, WorkspaceError>,
) -> Command {
    let Ending { result, outputs, spent, .. } = ending;
    if key.compensates {
        let result = result.map_err(|failure| failure.message);
        let (change, failure) = match result.and_then(|()| change.map_err(|error| error.message)) {
            Ok(change) => (change, None),
            Err(message) => (None, Some(short(message))),
        };
        return Command::Compensated { task: key.task, attempt: key.attempt, change, failure };
    }
    let exit = match (result, change) {
        (Ok(()), Ok(change)) => Exit::Succeeded { change, outputs, spent },
        (Ok(()), Err(error)) => {
            Exit::Failed { class: error.class, message: short(error.message), spent, until: None }
        }
        (Err(Failure { class, message, until }), _) => {
            Exit::Failed { class, message: short(message), spent, until }
        }
    };
    finish(key.task, key.attempt, exit)
}

/// Returns where `task` works: as its definition says, else by whether there is a repository.
#[must_use]
pub fn kind_of(run: &Run, task: TaskId) -> WorkspaceKind {
    run.plan().definition(task).kind(run.mission().base.is_some())
}

/// Tells whether `task` works on files of the repository, so that what it changed there can be taken out.
fn holds_files(run: &Run, task: TaskId) -> bool {
    matches!(kind_of(run, task), WorkspaceKind::Clone | WorkspaceKind::ReadOnly)
}

pub(crate) fn environment(run: &Run, task: TaskId) -> Result<Vec<(String, String)>, EvalError> {
    let variables = run.plan().definition(task).env.iter();
    variables.map(|variable| Ok((variable.name.clone(), run.render(task, &variable.value)?))).collect()
}

fn prepare(run: &Run, task: TaskId, key: AttemptKey, job: Job) -> Result<Prepared, EvalError> {
    let plan = run.plan();
    let definition: &Definition = plan.definition(task);
    let name = plan.name(task).to_owned();
    let timeout = match key.compensates {
        true => Some(definition.timeout.unwrap_or(COMPENSATION_TIME)),
        false => definition.timeout,
    };
    let mut env = environment(run, task)?;
    if let Some(change) = run.change(task).filter(|_| key.compensates) {
        env.push((CHANGE_VARIABLE.to_owned(), format!("{}..{}", change.base, change.commit)));
    }
    let order = Order {
        key,
        name: name.clone(),
        job,
        agent: run.agent(task).and_then(|agent| plan.agent(agent)).cloned(),
        outputs: promised(definition),
        earlier: earlier(run, key),
        env,
        dir: Default::default(),
        allowance: allowance(run, task),
        brief: Default::default(),
        supervise: definition.supervise,
        timeout,
    };
    let handed_on = run.handoff(task).filter(|_| !key.compensates);
    let handed_on = handed_on.and_then(|handoff| handoff.change).map(|change| change.commit);
    let request = Request {
        key,
        name,
        kind: kind_of(run, task),
        base: run.landing().map(|landing| handed_on.unwrap_or(landing.head())),
        prepare: definition.prepare.clone(),
        carry: definition.carry.clone(),
        cache: definition.cache.clone(),
        // A script that is run anew begins anew; an agent goes on where the one before it stopped.
        // What was handed on is in the base already.
        goes_on: key.attempt > AttemptNo(1)
            && matches!(definition.work, Work::Prompt(_))
            && !key.compensates
            && handed_on.is_none(),
    };
    let draft = brief::draft(run, task, key.attempt);
    Ok(Prepared { order, request, draft })
}

/// Completes what an attempt is given to read, by what its repository says.
fn complete(mut draft: Draft, order: &Order, agents: &dyn Agents, workspaces: &dyn Workspaces) -> Brief {
    let files = order.agent.as_ref().map_or(&[][..], |agent| agents.instructions(agent));
    draft.wanted.files = files.iter().map(|file| (*file).to_owned()).collect();
    let facts = match draft.wanted.base {
        Some(_) => workspaces.facts(&draft.wanted),
        None => Default::default(),
    };
    draft.finish(facts)
}

/// What is known of the attempts before `key`, as the journal has it.
fn earlier(run: &Run, key: AttemptKey) -> Earlier {
    let failure = run.last_failure(key.task).filter(|_| key.attempt > AttemptNo(1) && !key.compensates);
    let of_task = |gate: &&Gate| gate.task == key.task && gate.kind == GateKind::Question;
    let answers = run.gates().map(|(_, gate)| gate).filter(of_task).filter_map(|gate| {
        let (answer, _) = gate.answer.as_ref().filter(|_| gate.attempt < key.attempt)?;
        Some((gate.question.clone(), answer.clone()))
    });
    Earlier {
        failure: failure.map(|failure| (failure.class, failure.message.clone())),
        answers: answers.collect(),
        work: None,
    }
}

/// The outputs that a task sets itself, as a JSON schema of one object.
fn promised(definition: &Definition) -> Option<String> {
    let own: Vec<_> = definition.outputs.iter().filter(|output| output.value.is_none()).collect();
    if own.is_empty() {
        return None;
    }
    let property = |output: &&OutputSpec| {
        let schema = output.schema.clone().unwrap_or_else(|| r#"{"type":"string"}"#.to_owned());
        format!("{}:{schema}", quoted(&output.name))
    };
    let properties: Vec<String> = own.iter().map(property).collect();
    let required: Vec<String> = own.iter().map(|output| quoted(&output.name)).collect();
    Some(format!(
        r#"{{"type":"object","properties":{{{}}},"required":[{}],"additionalProperties":false}}"#,
        properties.join(","),
        required.join(",")
    ))
}

/// The name of an output as JSON has it. Names are letters, digits, `_` and `-`, so nothing needs to be escaped.
fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

/// Tells the core what an attempt used of its model, before it is told how it ended.
fn tell_used(mailbox: &Mailbox, key: AttemptKey, ending: &Ending) {
    if let Some(used) = ending.used.as_ref().filter(|_| !key.compensates) {
        let Used { tokens, claimed, model } = used.clone();
        let (task, attempt) = (key.task, key.attempt);
        mailbox.command(key.run, Command::Use { task, attempt, tokens, claimed, model });
    }
}

/// What the attempt of `task` that is about to run may spend.
fn allowance(run: &Run, task: TaskId) -> Allowance {
    let reserved = match run.state(task) {
        TaskState::Running(attempt) => attempt.reserved,
        _ => Amount::ZERO,
    };
    let (limits, ledger) = (run.limits(), run.ledger());
    let is_reserved = |limit: Option<u64>, part: u64| limit.is_none() || part > 0;
    let is_shared =
        !(is_reserved(limits.usd_micros, reserved.usd_micros) && is_reserved(limits.tokens, reserved.tokens));
    // What others have set aside is theirs; what this one has set aside is its own, also where it has to share the rest.
    let taken = ledger.spent() + (ledger.reserved() - reserved);
    let part = |limit: Option<u64>, reserved: u64, taken: u64| match is_shared {
        true => limit.map(|limit| limit.saturating_sub(taken)),
        false => limit.map(|_| reserved),
    };
    Allowance {
        usd_micros: part(limits.usd_micros, reserved.usd_micros, taken.usd_micros),
        tokens: part(limits.tokens, reserved.tokens, taken.tokens),
        is_shared,
        limit_usd_micros: limits.usd_micros,
        limit_tokens: limits.tokens,
    }
}

/// Returns what the workspaces of `tasks` need, all together.
pub fn setup_of(run: &Run, tasks: impl IntoIterator<Item = TaskId>) -> Setup {
    let mut setup = Setup::default();
    for task in tasks {
        let Definition { prepare, carry, cache, .. } = &**run.plan().definition(task);
        for (all, own) in [(&mut setup.prepare, prepare), (&mut setup.carry, carry)] {
            let new: Vec<_> = own.iter().filter(|line| !all.contains(line)).cloned().collect();
            all.extend(new);
        }
        setup.cache.extend(cache.clone());
    }
    setup
}

/// The commands that a merged tree must pass: those of the mission, and those of the tasks whose changes are in it.
fn trial(run: &Run, probe: &Probe) -> Result<Trial, EvalError> {
    let plan = run.plan();
    let mission =
        run.mission().accept.iter().map(|text| CheckCommand { text: text.clone(), env: Vec::new() });
    let mut commands: Vec<CheckCommand> = mission.collect();
    for entry in &probe.entries {
        let definition = plan.definition(entry.task);
        let env = environment(run, entry.task)?;
        for text in &definition.accept {
            let command = CheckCommand { text: text.clone(), env: env.clone() };
            if !commands.contains(&command) {
                commands.push(command);
            }
        }
    }
    let setup = setup_of(run, probe.entries.iter().map(|entry| entry.task));
    let names = probe.entries.iter().map(|entry| plan.name(entry.task).to_owned()).collect();
    Ok(Trial { run: run.id(), probe: probe.clone(), names, commands, setup })
}
