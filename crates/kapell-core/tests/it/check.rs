//! What must hold after every decision of every run.

use std::collections::BTreeSet;

use kapell_core::{
    budget::Amount,
    claims::overlap,
    command::Command,
    effect::{Effect, outstanding, react},
    event::{Event, PauseCause, decode, encode},
    id::TaskId,
    run::{Batch, Phase, Run},
    task::{Slots, TaskState},
    time::Now,
};

/// Follows a run from outside, knowing only what it is told.
pub(crate) struct Checker {
    /// The same run, folded from rows only.
    shadow: Run,
    /// What the world was asked for and has not done.
    owed: Vec<Effect>,
    /// Whether what the merge queue asked for failed, so that a resume asks again.
    failed: bool,
}

impl Checker {
    pub(crate) fn new(run: &Run) -> Self {
        Self { shadow: Run::new(run.id()), owed: vec![], failed: false }
    }

    pub(crate) fn after(&mut self, run: &Run, commands: &[Command], batch: &Batch, now: Now) {
        self.replays(run, batch);
        self.owes(run, commands, batch);
        snapshot_is_the_same(run);
        budget_holds(run);
        slots_hold(run);
        claims_hold(run);
        needs_hold(run);
        is_at_rest(run, now);
        is_not_stuck(run, now);
    }

    fn replays(&mut self, run: &Run, batch: &Batch) {
        let mut events = vec![];
        for row in &batch.rows {
            assert_eq!(encode(&decode(&row.body).unwrap()), row.body);
            events.extend(self.shadow.replay(row, &mut |_| None).unwrap());
        }
        assert_eq!(events, batch.events);
        assert!(self.shadow.is_same(run), "the fold of the rows is the run");
    }

    fn owes(&mut self, run: &Run, commands: &[Command], batch: &Batch) {
        for (command, reply) in commands.iter().zip(&batch.replies) {
            if reply.is_ok() {
                self.owed.retain(|effect| !is_done_by(effect, command));
            }
        }
        for event in &batch.events {
            match event {
                Event::Paused { why: PauseCause::LandingFails { .. } } => self.failed = true,
                Event::Resumed { .. } if self.failed => {
                    self.failed = false;
                    let asks = |effect: &Effect| matches!(effect, Effect::Probe(_) | Effect::MoveRef { .. });
                    self.owed.retain(|effect| !asks(effect));
                }
                _ => {}
            }
        }
        // What a person or the plan calls off is owed no longer.
        self.owed.retain(|effect| !batch.events.iter().any(|event| is_called_off(effect, event, run)));
        let new = react(run, &batch.events);
        // What a child run is told is said again, once for all, whenever a run is opened.
        let is_kept = |effect: &Effect| !matches!(effect, Effect::Deliver { .. } | Effect::Hold { .. });
        self.owed.extend(new.into_iter().filter(is_kept));
        let sorted = |effects: &[Effect]| {
            let mut texts: Vec<_> = effects.iter().map(|effect| format!("{effect:?}")).collect();
            texts.sort();
            texts
        };
        let outstanding: Vec<_> = outstanding(run).into_iter().filter(is_kept).collect();
        assert_eq!(sorted(&outstanding), sorted(&self.owed), "owed, and promised and not done");
    }
}

fn is_done_by(effect: &Effect, command: &Command) -> bool {
    match (effect, command) {
        (
            Effect::Start { task, attempt } | Effect::Stop { task, attempt, .. },
            Command::Finish { task: of, attempt: no, .. },
        )
        | (Effect::Check { task, attempt }, Command::Judge { task: of, attempt: no, .. })
        | (
            Effect::Compensate { task, attempt } | Effect::Stop { task, attempt, .. },
            Command::Compensated { task: of, attempt: no, .. },
        ) => (task, attempt) == (of, no),
        (Effect::Probe(asked), Command::Probed { probe, .. }) => asked.id == *probe,
        (Effect::MoveRef { to, .. }, Command::RefMoved { to: moved }) => to == moved,
        (Effect::Notify { gate }, Command::Answer { gate: answered, .. }) => gate == answered,
        (Effect::Merge { .. }, Command::EndMerge { .. }) => true,
        _ => false,
    }
}

fn is_called_off(effect: &Effect, event: &Event, run: &Run) -> bool {
    let ends = |of: TaskId| {
        matches!(event, Event::Cancelled { task } | Event::Skipped { task, .. } | Event::AttemptFailed { task, .. }
            | Event::Completed { task, .. } | Event::Submitted { task, .. } if *task == of)
    };
    match effect {
        Effect::Check { task, .. } => matches!(event, Event::Cancelled { task: of } if of == task),
        Effect::Notify { gate } => {
            let (_, gate) = run.gates().find(|(id, _)| id == gate).unwrap();
            ends(gate.task)
        }
        // A search of which one change is taken out starts over.
        Effect::Probe(_) => matches!(event, Event::Cancelled { .. }),
        _ => false,
    }
}

fn snapshot_is_the_same(run: &Run) {
    let (fold, bytes) = run.to_snapshot();
    let read = Run::from_snapshot(fold, &bytes, run.version(), run.hash(), run.plan().clone()).unwrap();
    assert!(read.is_same(run), "a snapshot is the state");
    assert_eq!(Run::plan_of_snapshot(&bytes), Some(run.plan_at()));
}

fn tasks(run: &Run) -> impl Iterator<Item = TaskId> + '_ {
    run.plan().graph().tasks().take(run.len())
}

fn budget_holds(run: &Run) {
    let ledger = run.ledger();
    let reserved = tasks(run).fold(Amount::ZERO, |sum, task| match run.state(task) {
        TaskState::Running(attempt) => sum + attempt.reserved,
        _ => sum,
    });
    assert_eq!(ledger.reserved(), reserved, "what is reserved is reserved for attempts under way");
    let held = tasks(run).fold(Amount::ZERO, |sum, task| match run.state(task) {
        TaskState::Running(attempt) => sum + attempt.held,
        _ => sum,
    });
    assert_eq!(ledger.held(), held, "what is held is held for attempts under way");
    let total = ledger.spent() + ledger.reserved();
    let limits = run.limits();
    let allowed = |limit: Option<u64>, over: u64| limit.map_or(u64::MAX, |limit| limit.saturating_add(over));
    assert!(total.usd_micros <= allowed(limits.usd_micros, ledger.overrun().usd_micros));
    assert!(total.tokens <= allowed(limits.tokens, ledger.overrun().tokens));
}

fn slots_hold(run: &Run) {
    let used = tasks(run).fold(Slots::default(), |sum, task| match run.state(task) {
        TaskState::Running(attempt) => Slots {
            agents: sum.agents + attempt.slots.agents,
            jobs: sum.jobs + attempt.slots.jobs,
            memory_mib: sum.memory_mib + attempt.slots.memory_mib,
        },
        _ => sum,
    });
    assert!(used.agents <= run.limits().agents.max(1), "{used:?}");
    assert!(used.jobs <= run.limits().jobs.max(1), "{used:?}");
}

fn claims_hold(run: &Run) {
    let held: Vec<_> = run.claims().held().collect();
    for (at, (task, set)) in held.iter().enumerate() {
        assert!(
            matches!(
                run.state(*task),
                TaskState::Running(_) | TaskState::Submitted(_) | TaskState::Verified(_)
            ),
            "only what is under way holds claims"
        );
        for (_, other) in &held[at + 1..] {
            assert!(!set.iter().any(|a| other.iter().any(|b| overlap(a, b))), "claims are exclusive");
        }
    }
    let waiting: BTreeSet<_> = run.claims().waiting().map(|(task, _)| task).collect();
    let awaiting = tasks(run).filter(|task| *run.state(*task) == TaskState::AwaitingClaims).collect();
    assert_eq!(waiting, awaiting);
    assert_eq!(waiting.len(), run.claims().waiting_len());
}

fn needs_hold(run: &Run) {
    for task in tasks(run) {
        // What is only ready stays so when what it needs is taken back.
        if matches!(run.state(task), TaskState::Running(_)) {
            let conditional = run.plan().definition(task).condition.is_some();
            for need in run.plan().graph().needs(task) {
                let state = run.state(*need);
                assert!(
                    if conditional { state.is_settled() } else { state.is_success() },
                    "{task} before {need}"
                );
            }
        }
    }
}

/// Once a state was asked what it calls for, it calls for nothing more at that time.
fn is_at_rest(run: &Run, now: Now) {
    let batch = run.clone().batch([], now).unwrap();
    assert_eq!(batch.events, []);
}

/// Whatever is not over waits for the world, for a person, or for a time that is to come.
fn is_not_stuck(run: &Run, now: Now) {
    let wake = run.next_wake();
    assert!(wake.elapsed.is_none_or(|at| at > now.elapsed), "{wake:?} is past");
    assert!(wake.wall.is_none_or(|at| at > now.wall), "{wake:?} is past");
    let waits = !run.is_created()
        || matches!(run.phase(), Phase::Finished(_) | Phase::Paused(_))
        || !outstanding(run).is_empty()
        || wake.elapsed.is_some()
        || wake.wall.is_some();
    assert!(waits, "stuck: {run:?}");
    if run.outcome().is_some() {
        let left: Vec<_> = outstanding(run);
        assert!(left.iter().all(|effect| matches!(effect, Effect::Merge { .. })), "over, but owed: {left:?}");
        assert_eq!(wake, kapell_core::settle::Wake::default());
    }
}
