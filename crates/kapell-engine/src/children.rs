//! Child runs: a task that is a workflow is executed as a run of its own, within what its parent grants.

use std::sync::Arc;

use kapell_core::{
    budget::{Amount, Limits},
    command::{Command, Exit},
    effect::{Effect, Hold, outstanding},
    event::{Outcome, Outputs},
    expr::EvalError,
    id::{AttemptNo, RunId, TaskId},
    journal::Actor,
    mission::{Mission, Parent},
    plan::{ChildSpec, Plan, Work},
    retry::FailureClass,
    run::Run,
    task::TaskState,
    time::Millis,
};

use crate::{
    host::{Host, Input},
    open::{OpenError, load},
    perform::{cannot_compute, environment, finish, short},
    port::journal::OwnError,
};

/// The pause before it is tried again to take over a child run that somebody else holds.
const AGAIN: Millis = Millis(200);

/// A child run that somebody else holds.
pub(crate) struct Awaited {
    parent: Parent,
    /// When it is tried again, on the boot clock.
    pub(crate) at: Millis,
    /// What people were told.
    message: String,
}

impl Host {
    /// Starts, or takes over again, the child runs that effects of `parent` ask for, and stops those that are to end.
    pub(crate) fn start_children(&mut self, parent: RunId, effects: &[Effect]) {
        for effect in effects {
            let (Effect::Start { task, attempt } | Effect::Stop { task, attempt, .. }) = effect else {
                continue;
            };
            let Some(run) = self.run(parent) else { return };
            let Work::Workflow(spec) = &run.plan().definition(*task).work else { continue };
            match effect {
                Effect::Stop { .. } => {
                    self.put(parent.child(*task, *attempt), Actor::Engine, Command::Cancel, None);
                }
                _ => {
                    let begun =
                        child_mission(run, *task, *attempt, spec).map(|mission| (mission, spec.plan.clone()));
                    self.start_child(Parent { run: parent, task: *task, attempt: *attempt }, begun);
                }
            }
        }
    }

    fn start_child(&mut self, parent: Parent, begun: Result<(Mission, Arc<Plan>), EvalError>) {
        let child = parent.run.child(parent.task, parent.attempt);
        let end = |exit| finish(parent.task, parent.attempt, exit);
        let (mission, plan) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                return self.put(parent.run, Actor::Engine, end(cannot_compute(&error)), None);
            }
        };
        let started = match self.open(child) {
            Err(OpenError::NoSuchRun(_)) => self.create(child, mission, plan),
            other => other,
        };
        match started {
            Ok(()) => self.tell_parent(child),
            Err(OpenError::Own(error @ OwnError::Held(_))) => self.await_child(parent, &error),
            Err(error) => {
                let class = match &error {
                    OpenError::Own(_) | OpenError::Journal(_) => FailureClass::Transient,
                    OpenError::Workspace(trouble) => trouble.class,
                    _ => FailureClass::Permanent,
                };
                let message = format!("its run cannot be started: {error}");
                let exit = Exit::Failed { class, message, spent: Amount::ZERO, until: None };
                self.put(parent.run, Actor::Engine, end(exit), None);
            }
        }
    }

    /// Remembers to try again to take a child run over that somebody else holds.
    ///
    /// Whoever answers a question of it holds it for a moment, and whoever resumed it alone until it is over. To fail the
    /// attempt for that would leave the work of the child run, which is paid for, to nobody.
    fn await_child(&mut self, parent: Parent, error: &OwnError) {
        let child = parent.run.child(parent.task, parent.attempt);
        let message = format!("its run {child} is waited for: {error}");
        if self.live.get(&parent.run).is_some_and(|live| live.trouble.as_ref() != Some(&message)) {
            self.mailbox().send(Input::Trouble { run: parent.run, message: message.clone() });
        }
        self.awaited.push(Awaited { parent, at: self.again_at(), message });
    }

    fn again_at(&self) -> Millis {
        Millis(self.boot().0.saturating_add(AGAIN.0))
    }

    /// Tries again to take over the child runs for which it is time.
    pub(crate) fn take_up_children(&mut self) {
        let now = self.boot();
        let due: Vec<_> = self.awaited.extract_if(.., |awaited| awaited.at <= now).collect();
        for awaited in due {
            let Parent { run: id, task, attempt } = awaited.parent;
            let Some(live) = self.live.get_mut(&id) else { continue };
            // What is not durable yet is not acted upon.
            if !live.in_flight.is_empty() {
                self.awaited.push(Awaited { at: self.again_at(), ..awaited });
                continue;
            }
            let of_task = |effect: &Effect| match effect {
                Effect::Start { task: of, attempt: no }
                | Effect::Stop { task: of, attempt: no, .. }
                | Effect::Hold { task: of, attempt: no, .. } => (*of, *no) == (task, attempt),
                _ => false,
            };
            let effects: Vec<_> = outstanding(&live.run).into_iter().filter(of_task).collect();
            self.start_children(id, &effects);
            self.hold_children(id, &effects);
            let is_awaited = self.awaited.iter().any(|other| other.parent == awaited.parent);
            if let Some(live) = self.live.get_mut(&id)
                && !is_awaited
            {
                live.trouble.take_if(|trouble| *trouble == awaited.message);
            }
        }
    }

    /// Lets child runs pause with `parent`, or go on with it, as effects ask for.
    pub(crate) fn hold_children(&mut self, parent: RunId, effects: &[Effect]) {
        for effect in effects {
            let Effect::Hold { task, attempt, hold } = effect else { continue };
            let command = match hold {
                Hold::None => Command::Release,
                Hold::Finish => Command::Hold { stop: false },
                Hold::Stop => Command::Hold { stop: true },
            };
            // Refused if it is so already, or if something else holds it.
            self.put(parent.child(*task, *attempt), Actor::Engine, command, None);
        }
    }

    /// Ends a child run that needs more than was set aside for it: nobody can give it more, and its parent waits.
    fn end_the_broke(&mut self, child: RunId) {
        use kapell_core::{budget::Exceeded as E, event::PauseCause, run::Phase};
        let Some(live) = self.live.get_mut(&child).filter(|live| live.run.mission().parent.is_some()) else {
            return;
        };
        if let Phase::Paused(PauseCause::Budget(exceeded @ (E::Usd | E::Tokens))) = live.run.phase() {
            live.trouble = Some(format!("of what its parent set aside for it, {exceeded}"));
            self.put(child, Actor::Engine, Command::Cancel, None);
        }
    }

    /// Holds a run whose parent is paused, though no process executes that: it says so in the journal only. One that was
    /// held and whose parent goes on is let go on.
    pub(crate) fn heed_parent(&mut self, child: RunId) {
        let Some(Parent { run, task, attempt }) = self.run(child).and_then(|run| run.mission().parent) else {
            return;
        };
        // Whoever executes the parent tells its children.
        if self.live.contains_key(&run) {
            return;
        }
        // What cannot be read holds nobody.
        let Ok(parent) = load(&*self.journal, run) else { return };
        let of_child = |effect: &Effect| matches!(effect, Effect::Hold { task: of, attempt: no, .. } if (*of, *no) == (task, attempt));
        let effects: Vec<_> = outstanding(&parent).into_iter().filter(of_child).collect();
        self.hold_children(run, &effects);
    }

    /// Tells the parent of a run whether anything of that is under way, for only then the parent's time goes by.
    fn tell_rest(&mut self, child: RunId) {
        let Some(live) = self.live.get(&child).filter(|live| live.inbox.is_empty()) else { return };
        let Some(Parent { run, task, attempt }) = live.run.mission().parent else { return };
        let rests = live.run.rests();
        let Some(TaskState::Running(under_way)) = self.run(run).map(|parent| parent.state(task)) else {
            return;
        };
        if under_way.number == attempt && under_way.rests.is_some() != rests {
            self.put(run, Actor::Engine, Command::ChildRests { task, attempt, rests }, None);
        }
    }

    /// Tells the parent of a run how it ended once it is over, and until then whether it rests.
    pub(crate) fn tell_parent(&mut self, child: RunId) {
        self.end_the_broke(child);
        if self.is_quiet(child) && self.run(child).is_some_and(|run| run.outcome().is_none()) {
            return self.tell_rest(child);
        }
        let Some(run) = self.run(child).filter(|_| self.is_quiet(child)) else { return };
        let (Some(parent), Some(outcome)) = (run.mission().parent, run.outcome()) else { return };
        let exit = self.exit_of(run, outcome);
        self.close(child);
        self.put(parent.run, Actor::Engine, finish(parent.task, parent.attempt, exit), None);
    }

    fn exit_of(&self, run: &Run, outcome: Outcome) -> Exit {
        let spent = run.ledger().spent();
        if outcome != Outcome::Succeeded {
            let why = self.trouble(run.id()).map(str::to_owned).or_else(|| first_failure(run));
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            let message = format!("its run {} ended {}{why}", run.id(), name(outcome));
            // Another attempt may do better; what was cancelled or taken back is not to be begun again.
            let class = match outcome {
                Outcome::Failed => FailureClass::Transient,
                _ => FailureClass::Permanent,
            };
            return Exit::Failed { class, message, spent, until: None };
        }
        let change = match (run.mission().base, run.landing().map(|landing| landing.head())) {
            (Some(base), Some(head)) if base != head => match self.performer().change(base, head) {
                Ok(change) => Some(change),
                Err(error) => return failed(format!("what its run landed cannot be found: {error}"), spent),
            },
            _ => None,
        };
        Exit::Succeeded { change, outputs: outputs(run), spent }
    }
}

/// Returns the first task that failed, and why it did.
fn first_failure(run: &Run) -> Option<String> {
    let mut tasks = run.plan().graph().tasks();
    let failed = tasks.find(|task| matches!(run.state(*task), TaskState::Failed { .. }))?;
    let failure = run.last_failure(failed)?;
    Some(short(format!("{}: {}", run.plan().name(failed), failure.message)))
}

fn name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "well",
        Outcome::Failed => "in failure",
        Outcome::Cancelled => "by being cancelled",
        Outcome::Compensated => "by taking back what it did",
    }
}

fn failed(message: String, spent: Amount) -> Exit {
    Exit::Failed { class: FailureClass::Permanent, message, spent, until: None }
}

/// The outputs of a child run: those of its tasks, each under `task.output`.
fn outputs(run: &Run) -> Outputs {
    let tasks = run.plan().graph().tasks();
    let named = tasks.filter_map(|task| Some((run.plan().name(task), run.outputs(task)?)));
    named
        .flat_map(|(name, outputs)| {
            outputs.iter().map(move |(key, value)| (format!("{name}.{key}"), value.clone()))
        })
        .collect()
}

fn child_mission(
    parent: &Run,
    task: TaskId,
    attempt: AttemptNo,
    spec: &ChildSpec,
) -> Result<Mission, EvalError> {
    let (slots, reserved) = match parent.state(task) {
        TaskState::Running(attempt) => (attempt.slots, attempt.reserved),
        _ => Default::default(),
    };
    let granted = |limit: Option<u64>, reserved: u64| limit.map(|_| reserved);
    Ok(Mission {
        objective: spec.objective.clone(),
        limits: Limits {
            usd_micros: granted(parent.limits().usd_micros, reserved.usd_micros),
            tokens: granted(parent.limits().tokens, reserved.tokens),
            wall: None,
            agents: slots.agents,
            jobs: slots.jobs,
            memory_mib: parent.limits().memory_mib.map(|_| slots.memory_mib),
        },
        accept: spec.accept.clone(),
        saga: spec.saga,
        base: parent.landing().map(|landing| landing.head()),
        // The parent's draws and the child's must not be the same.
        seed: parent.mission().seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(u64::from(task.0)),
        inputs: environment(parent, task)?.into_iter().collect(),
        parent: Some(Parent { run: parent.id(), task, attempt }),
        ..Mission::default()
    })
}
