//! Performing effects: what the core wants done, done through the ports. Results come back as commands.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use kapell_core::{
    command::{Command, Exit, Verdict},
    effect::Effect,
    event::{Event, Outputs},
    expr::EvalError,
    id::{AttemptNo, GateId, Oid, RunId, TaskId},
    landing::Probe,
    plan::{Definition, Work, WorkspaceKind},
    retry::FailureClass,
    run::Run,
    task::TaskState,
};

use crate::{
    host::Mailbox,
    port::{
        agents::{Agents, AttemptKey, Ending, Failure, Job, Order, Recovered},
        workspaces::{Check, CheckCommand, Close, MergeOrder, Request, Trial, WorkspaceError, Workspaces},
    },
    workers::Workers,
};

/// Performs effects through agents and workspaces.
pub struct Performer {
    agents: Arc<dyn Agents>,
    workspaces: Arc<dyn Workspaces>,
    workers: Mutex<Workers>,
}

/// Everything about an attempt that is computed from the state, so that threads need no state.
struct Prepared {
    order: Order,
    request: Request,
}

impl Performer {
    /// Makes a performer whose blocking work is done by at most `workers` threads.
    #[must_use]
    pub fn new(agents: Arc<dyn Agents>, workspaces: Arc<dyn Workspaces>, workers: usize) -> Self {
        Self { agents, workspaces, workers: Mutex::new(Workers::new(workers)) }
    }

    fn spawn(&self, job: impl FnOnce() + Send + 'static) {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).run(job);
    }

    pub(crate) fn begin(&self, run: RunId, base: Oid) -> Result<(), WorkspaceError> {
        self.workspaces.begin(run, base)
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
                // A child run is cancelled by the host, which owns it too.
                if !matches!(run.plan().definition(*task).work, Work::Workflow(_)) {
                    self.agents.stop(key(run, *task, *attempt, false));
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
            Effect::Merge { target, from, to } => self.merge(run.id(), target, *from, *to, mailbox),
            Effect::Notify { .. } => {}
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

    /// Opens the workspace and starts the agent in it, off the host's thread.
    fn launch(&self, prepared: Prepared, mailbox: &Mailbox) {
        let (agents, workspaces, mailbox) = (self.agents.clone(), self.workspaces.clone(), mailbox.clone());
        let quick = matches!(prepared.request.kind, WorkspaceKind::InPlace | WorkspaceKind::None)
            && prepared.request.prepare.is_empty();
        let job = move || {
            let Prepared { mut order, request } = prepared;
            let started = workspaces
                .open(&request)
                .map_err(|error| Failure { class: error.class, message: error.message, until: None })
                .and_then(|ready| {
                    order.dir = ready.dir;
                    order.env.extend(ready.env);
                    agents.start(&order)
                });
            if let Err(failure) = started {
                let ending =
                    Ending { result: Err(failure), outputs: Outputs::new(), spent: Default::default() };
                mailbox.command(order.key.run, end_command(order.key, ending, Ok(None)));
            }
        };
        if quick { job() } else { self.spawn(job) }
    }

    fn compensate(&self, run: &Run, task: TaskId, attempt: AttemptNo, mailbox: &Mailbox) -> Option<Command> {
        let key = key(run, task, attempt, true);
        let script = run.plan().definition(task).compensate.clone().unwrap_or_default();
        match prepare(run, task, key, Job::Script(script)) {
            Ok(prepared) => self.launch(prepared, mailbox),
            Err(error) => {
                let failure = Some(format!("its environment cannot be computed: {error}"));
                return Some(Command::Compensated { task, attempt, failure });
            }
        }
        None
    }

    /// Takes in that an attempt has ended: its change is captured, then the core is told.
    pub(crate) fn finished(&self, run: &Run, key: AttemptKey, ending: Ending, mailbox: &Mailbox) {
        let captures = !key.compensates
            && ending.result.is_ok()
            && matches!(kind_of(run, key.task), WorkspaceKind::Clone | WorkspaceKind::ReadOnly);
        if !captures {
            return mailbox.command(key.run, end_command(key, ending, Ok(None)));
        }
        let (workspaces, mailbox) = (self.workspaces.clone(), mailbox.clone());
        let name = run.plan().name(key.task).to_owned();
        self.spawn(move || {
            let change = workspaces.capture(key, &name);
            mailbox.command(key.run, end_command(key, ending, change));
        });
    }

    /// Gives workspaces back once it is durable what became of them.
    pub(crate) fn closed(&self, run: &Run, events: &[Event]) {
        for event in events {
            let (task, how, compensates) = match event {
                Event::Completed { task, .. } | Event::Verified { task } => (*task, Close::Kept, false),
                Event::Submitted { task, change: Some(_), .. } => (*task, Close::Kept, false),
                Event::AttemptFailed { task, .. } => (*task, Close::Salvage, false),
                Event::Compensated { task } | Event::CompensationFailed { task, .. } => {
                    (*task, Close::Kept, true)
                }
                _ => continue,
            };
            let work = &run.plan().definition(task).work;
            if matches!(work, Work::Noop | Work::Gate(_) | Work::Workflow(_)) {
                continue;
            }
            let attempt = match event {
                Event::AttemptFailed { attempt, .. }
                | Event::Submitted { attempt, .. }
                | Event::CompensationFailed { attempt, .. } => *attempt,
                Event::Compensated { .. } => compensating(run, task),
                _ => AttemptNo(run.task(task).map_or(0, |task| task.attempts)),
            };
            let key = key(run, task, attempt, compensates);
            if kind_of(run, task) == WorkspaceKind::InPlace {
                continue;
            }
            let workspaces = self.workspaces.clone();
            self.spawn(move || workspaces.close(key, how));
        }
    }

    fn check(&self, run: &Run, task: TaskId, attempt: AttemptNo, mailbox: &Mailbox) {
        let definition = run.plan().definition(task);
        let change = match run.state(task) {
            TaskState::Submitted(submission) => submission.change,
            _ => None,
        };
        let judge = move |verdict| Command::Judge { task, attempt, verdict };
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
            prepare: definition.prepare.clone(),
            cache: definition.cache.clone(),
        };
        let (workspaces, mailbox) = (self.workspaces.clone(), mailbox.clone());
        self.spawn(move || mailbox.command(check.key.run, judge(workspaces.check(&check))));
    }

    fn probe(&self, run: &Run, probe: &Probe, mailbox: &Mailbox) {
        let trial = trial(run, probe);
        let (workspaces, mailbox) = (self.workspaces.clone(), mailbox.clone());
        self.spawn(move || {
            let command = match workspaces.probe(&trial) {
                Ok(outcome) => Command::Probed { probe: trial.probe.id, outcome },
                Err(error) => Command::LandingFailed { message: error.to_string() },
            };
            mailbox.command(trial.run, command);
        });
    }

    fn move_ref(&self, run: &Run, from: Oid, to: Oid, mailbox: &Mailbox) {
        let (workspaces, mailbox, run) = (self.workspaces.clone(), mailbox.clone(), run.id());
        self.spawn(move || {
            let command = match workspaces.move_ref(run, from, to) {
                Ok(()) => Command::RefMoved { to },
                Err(error) => Command::LandingFailed { message: error.to_string() },
            };
            mailbox.command(run, command);
        });
    }

    fn merge(&self, run: RunId, target: &str, from: Oid, to: Oid, mailbox: &Mailbox) {
        let order = MergeOrder { run, target: target.to_owned(), from, to };
        let (workspaces, mailbox) = (self.workspaces.clone(), mailbox.clone());
        self.spawn(move || {
            let moved = workspaces.merge(&order).unwrap_or(false);
            mailbox.command(run, Command::EndMerge { moved });
        });
    }

    /// Performs what was owed when the run was opened. Attempts are not started again: what became of them is found
    /// out. All else can be done twice.
    pub(crate) fn recover(&self, run: &Run, effects: &[Effect], mailbox: &Mailbox) {
        let mut in_use = Vec::new();
        for effect in effects {
            let (task, attempt, compensates) = match effect {
                Effect::Start { task, attempt } => (*task, *attempt, false),
                Effect::Compensate { task, attempt } => (*task, *attempt, true),
                Effect::Stop { .. } | Effect::Notify { .. } => continue,
                other => {
                    self.perform_one(run, other, &HashMap::new(), mailbox);
                    if let Effect::Check { task, attempt } = other {
                        in_use.push(key(run, *task, *attempt, false));
                    }
                    continue;
                }
            };
            match run.plan().definition(task).work {
                Work::Noop if !compensates => {
                    mailbox.command(run.id(), finish(task, attempt, succeeded(None, Outputs::new())));
                }
                Work::Workflow(_) => {}
                _ => {
                    let key = key(run, task, attempt, compensates);
                    in_use.push(key);
                    self.recover_attempt(run, key, mailbox);
                }
            }
        }
        if run.mission().base.is_some() {
            let (workspaces, run) = (self.workspaces.clone(), run.id());
            self.spawn(move || workspaces.sweep(run, &in_use));
        }
    }

    fn recover_attempt(&self, run: &Run, key: AttemptKey, mailbox: &Mailbox) {
        let (agents, workspaces, mailbox) = (self.agents.clone(), self.workspaces.clone(), mailbox.clone());
        let captures = !key.compensates
            && matches!(kind_of(run, key.task), WorkspaceKind::Clone | WorkspaceKind::ReadOnly);
        let name = run.plan().name(key.task).to_owned();
        self.spawn(move || {
            let ending = match agents.recover(key) {
                Recovered::Ended(ending) => ending,
                Recovered::Lost { message } => {
                    let failure = Failure { class: FailureClass::Lost, message, until: None };
                    Ending { result: Err(failure), outputs: Outputs::new(), spent: Default::default() }
                }
            };
            let change = match captures && ending.result.is_ok() {
                true => workspaces.capture(key, &name),
                false => Ok(None),
            };
            mailbox.command(key.run, end_command(key, ending, change));
        });
    }

    /// Returns the change that a child run made: from its base to where its integration ref is.
    pub(crate) fn change(&self, base: Oid, head: Oid) -> Result<kapell_core::task::Change, WorkspaceError> {
        self.workspaces.change(base, head)
    }
}

fn key(run: &Run, task: TaskId, attempt: AttemptNo, compensates: bool) -> AttemptKey {
    AttemptKey { run: run.id(), task, attempt, compensates }
}

fn compensating(run: &Run, task: TaskId) -> AttemptNo {
    match run.state(task) {
        TaskState::Compensating { attempt } | TaskState::CompensationStuck { attempt, .. } => *attempt,
        _ => AttemptNo(1),
    }
}

pub(crate) fn finish(task: TaskId, attempt: AttemptNo, exit: Exit) -> Command {
    Command::Finish { task, attempt, exit }
}

fn succeeded(change: Option<kapell_core::task::Change>, outputs: Outputs) -> Exit {
    Exit::Succeeded { change, outputs, spent: Default::default() }
}

fn cannot_compute(error: &EvalError) -> Exit {
    Exit::Failed {
        class: FailureClass::Permanent,
        message: format!("an expression cannot be computed: {error}"),
        spent: Default::default(),
        until: None,
    }
}

/// Turns the end of an attempt, and what came out of its workspace, into the command that says so.
fn end_command(
    key: AttemptKey,
    ending: Ending,
    change: Result<Option<kapell_core::task::Change>, WorkspaceError>,
) -> Command {
    let Ending { result, outputs, spent } = ending;
    if key.compensates {
        let failure = result.err().map(|failure| failure.message);
        return Command::Compensated { task: key.task, attempt: key.attempt, failure };
    }
    let exit = match (result, change) {
        (Ok(()), Ok(change)) => Exit::Succeeded { change, outputs, spent },
        (Ok(()), Err(error)) => {
            Exit::Failed { class: error.class, message: error.message, spent, until: None }
        }
        (Err(failure), _) => {
            Exit::Failed { class: failure.class, message: failure.message, spent, until: failure.until }
        }
    };
    finish(key.task, key.attempt, exit)
}

/// Returns where `task` works: as its definition says, else by whether there is a repository.
#[must_use]
pub fn kind_of(run: &Run, task: TaskId) -> WorkspaceKind {
    let asked = run.plan().definition(task).workspace;
    match (asked, run.mission().base) {
        (Some(WorkspaceKind::None), _) => WorkspaceKind::None,
        (_, None) => WorkspaceKind::InPlace,
        (Some(WorkspaceKind::InPlace) | None, Some(_)) => WorkspaceKind::Clone,
        (Some(kind), Some(_)) => kind,
    }
}

fn environment(run: &Run, task: TaskId) -> Result<Vec<(String, String)>, EvalError> {
    let variables = run.plan().definition(task).env.iter();
    variables.map(|variable| Ok((variable.name.clone(), run.render(task, &variable.value)?))).collect()
}

fn prepare(run: &Run, task: TaskId, key: AttemptKey, job: Job) -> Result<Prepared, EvalError> {
    let plan = run.plan();
    let definition: &Definition = plan.definition(task);
    let name = plan.name(task).to_owned();
    let order = Order {
        key,
        name: name.clone(),
        job,
        agent: run.agent(task).and_then(|agent| plan.agent(agent)).cloned(),
        env: environment(run, task)?,
        dir: Default::default(),
        supervise: definition.supervise,
        timeout: definition.timeout,
    };
    let request = Request {
        key,
        name,
        kind: kind_of(run, task),
        base: run.landing().map(|landing| landing.head()),
        prepare: definition.prepare.clone(),
        carry: definition.carry.clone(),
        cache: definition.cache.clone(),
    };
    Ok(Prepared { order, request })
}

/// The commands that a merged tree must pass: those of the mission, and those of the tasks whose changes are in it.
fn trial(run: &Run, probe: &Probe) -> Trial {
    let plan = run.plan();
    let mission =
        run.mission().accept.iter().map(|text| CheckCommand { text: text.clone(), env: Vec::new() });
    let mut commands: Vec<CheckCommand> = mission.collect();
    let mut prepare = Vec::new();
    let mut cache = std::collections::BTreeMap::new();
    for entry in &probe.entries {
        let definition = plan.definition(entry.task);
        let env = environment(run, entry.task).unwrap_or_default();
        for text in &definition.accept {
            let command = CheckCommand { text: text.clone(), env: env.clone() };
            if !commands.contains(&command) {
                commands.push(command);
            }
        }
        for line in &definition.prepare {
            if !prepare.contains(line) {
                prepare.push(line.clone());
            }
        }
        cache.extend(definition.cache.clone());
    }
    let names = probe.entries.iter().map(|entry| plan.name(entry.task).to_owned()).collect();
    Trial { run: run.id(), probe: probe.clone(), names, commands, prepare, cache }
}
