//! Death and life: a crash takes what was not durable, and opening finds the rest.

use std::sync::Arc;

use kapell_core::{
    budget::Amount,
    command::{Command, Exit},
    effect::{Effect, outstanding},
    event::{Event, PlanRef, decode},
    id::{AgentId, Digest},
    journal::{Actor, Version},
    landing::Landing,
    plan::{Plan, Work},
    route::Choice,
    run::Run,
};

use super::{FailureClass, Happening, Sim, TaskId, log};
use crate::{
    check::{Checked, Violation, ensure},
    dice::Dice,
};

impl Sim {
    /// Makes the run. A crash before that is durable leaves nothing, and it is made again.
    pub(super) fn begin(&mut self) -> Checked {
        let plan = match self.dice.chance(100) {
            true => PlanRef::Inline(self.plan.clone()),
            false => {
                let digest = Digest::of(&self.run.id().0);
                self.kept = vec![(digest, self.plan.clone())];
                PlanRef::Kept { digest, plan: Some(self.plan.clone()) }
            }
        };
        let create = Command::Create { mission: Box::new(self.mission.clone()), plan };
        self.epoch += 1;
        let mut commands =
            vec![(Actor::Engine, create.clone()), (Actor::Engine, Command::Open { epoch: self.epoch })];
        if self.dice.chance(20) {
            commands.insert(0, (Actor::Engine, Command::Tick));
            let unread = PlanRef::Kept { digest: Digest::ZERO, plan: None };
            let unread = Command::Create { mission: Box::default(), plan: unread };
            commands.insert(1, (Actor::Engine, unread));
            commands.push((Actor::Engine, create));
        }
        commands.extend(self.routes().into_iter().map(|command| (Actor::Engine, command)));
        self.commit(commands)
    }

    /// Ranks agents for some of the prompts, in half of the runs. Drawn apart, so that what else a seed means stays.
    fn routes(&self) -> Vec<Command> {
        let mut dice = Dice::new(self.mission.seed ^ 0x726f_7574);
        let agents = u32::try_from(self.plan.agents().len()).unwrap_or(0);
        if agents == 0 || dice.chance(500) {
            return Vec::new();
        }
        let mut routes = Vec::new();
        for task in self.plan.graph().tasks() {
            let is_prompt = matches!(self.plan.definition(task).work, Work::Prompt(_));
            if !is_prompt || dice.chance(400) {
                continue;
            }
            let first = dice.small(0, agents - 1);
            let count = dice.small(1, agents);
            let choice = |at| Choice { agent: AgentId((first + at) % agents), why: "drawn".to_owned() };
            let ranking = (0..count).map(choice).collect();
            routes.push(Command::Route { tasks: vec![task], ranking, passed_over: Vec::new() });
        }
        routes
    }

    /// The engine's process dies, and with it all that is not on the disk.
    pub(super) fn crash(&mut self, fault: &'static str) {
        log!(self, "crash    {fault}");
        self.fault(fault);
        self.down = Some(fault);
        self.next_fault = None;
        self.life += 1;
        self.inbox.clear();
        for pending in std::mem::take(&mut self.pending) {
            self.disk.write(pending.rows);
        }
        self.disk.lose_unsynced(&mut self.dice);
        for at in 0..self.processes.len() {
            let Some(process) = self.processes[at].as_mut().filter(|process| process.alive) else { continue };
            process.alive = false;
            // It may have ended at that very moment, and its supervisor have written that down.
            process.recorded = self.dice.chance(250);
            let exit = process.exit.clone();
            let attempt = process.attempt;
            if self.dice.chance(self.knobs.late) {
                let task = TaskId(u32::try_from(at).unwrap_or(u32::MAX));
                let command = Box::new(Command::Finish { task, attempt, exit });
                let after = self.dice.between(10, 20_000);
                self.fault("late_result");
                self.schedule(after, 0, Happening::Says { actor: Actor::Agent(task, attempt), command });
            }
        }
        for undo in &mut self.undos {
            undo.under_way = None;
        }
    }

    fn plan_of(&self, digest: Digest) -> Option<Arc<Plan>> {
        self.kept.iter().find(|(kept, _)| *kept == digest).map(|(_, plan)| plan.clone())
    }

    /// Reads the run back from the disk, by a snapshot if there is one that fits.
    fn load(&mut self) -> Result<Run, Violation> {
        let id = self.run.id();
        let mut run = self.by_snapshot().unwrap_or_else(|| Run::new(id));
        let from = run.version();
        log!(self, "load     from decision {from}");
        let kept = std::mem::take(&mut self.kept);
        let mut find =
            |digest: Digest| kept.iter().find(|(known, _)| *known == digest).map(|(_, plan)| plan.clone());
        let mut fresh = Vec::new();
        let skip = usize::try_from(from.0).unwrap_or(usize::MAX);
        for row in self.disk.rows().skip(skip) {
            let events = run
                .replay(row, &mut find)
                .map_err(|damage| Violation(format!("cannot be replayed: {damage}")))?;
            if row.n > self.checker.n {
                self.checker.row(row)?;
                let asking = run.landing().is_some_and(Landing::is_asking);
                fresh.push((events, row.at, row.elapsed, asking));
            }
        }
        self.kept = kept;
        ensure!(
            run.version() >= self.checker.n,
            "decision {} was acknowledged, and only {} are left",
            self.checker.n,
            run.version()
        );
        ensure!(
            run.version() == self.checker.n && run.hash() == self.checker.hash,
            "the past is another than was acknowledged"
        );
        for (events, at, elapsed, asking) in fresh {
            self.count(&events);
            self.checker.events(&events, at, elapsed, &self.git, asking)?;
        }
        if run.is_created() {
            self.checker.compare(&run)?;
            self.offers(&run)?;
        }
        Ok(run)
    }

    fn by_snapshot(&mut self) -> Option<Run> {
        let kept = self.disk.snapshot.as_ref()?;
        let row = self.disk.row(kept.n)?;
        let mut fold = kept.fold;
        if self.dice.chance(100) {
            fold += 1;
        }
        let at = Run::plan_of_snapshot(&kept.bytes)?;
        let body = &self.disk.row(at)?.body;
        let plan = decode(body).ok()?.into_iter().find_map(|event| match event {
            Event::PlanAdopted { plan: PlanRef::Inline(plan), .. } => Some(plan),
            Event::PlanAdopted { plan: PlanRef::Kept { digest, .. }, .. } => self.plan_of(digest),
            _ => None,
        })?;
        let stale = (fold != kept.fold && crate::planted::is("snapshot_of_another_fold"))
            .then(|| folded_otherwise(&kept.bytes));
        let (fold, bytes) = match &stale {
            Some(bytes) => (kept.fold, bytes),
            None => (fold, &kept.bytes),
        };
        let run = Run::from_snapshot(fold, bytes, kept.n, row.hash, plan);
        self.report.faults.add(match run.is_some() {
            true => "opened_by_snapshot",
            false => "foreign_snapshot",
        });
        run
    }

    /// Forgets what was decided and not made durable; the process and all that it started live on.
    pub(super) fn reload(&mut self) -> Checked {
        if !crate::planted::is("goes_on_after_torn_record") {
            self.disk.recover();
        }
        self.run = self.load()?;
        if !self.run.is_created() {
            return Ok(());
        }
        self.check_owed()?;
        let effects = outstanding(&self.run);
        for effect in effects {
            if !self.is_under_way(&effect) {
                self.perform(&effect)?;
            }
        }
        Ok(())
    }

    /// What the state says is owed must be what the durable facts say.
    fn check_owed(&self) -> Checked {
        let mut listed = Vec::new();
        let mut moves = (None, None);
        for effect in outstanding(&self.run) {
            match effect {
                Effect::Start { task, attempt } => listed.push(("start", task, attempt)),
                Effect::Stop { task, attempt, .. } => listed.push(("stop", task, attempt)),
                Effect::Check { task, attempt } => listed.push(("check", task, attempt)),
                Effect::Compensate { task, attempt } => listed.push(("compensate", task, attempt)),
                Effect::MoveRef { from, to } => moves.0 = Some((from, to)),
                Effect::Merge { from, to, .. } => moves.1 = Some((from, to)),
                Effect::Probe(_) | Effect::Notify { .. } | Effect::Deliver { .. } | Effect::Hold { .. } => {}
            }
        }
        let mut owed = self.checker.owed();
        listed.sort_unstable();
        owed.sort_unstable();
        ensure!(listed == owed, "outstanding lists {listed:?}, but {owed:?} is owed");
        ensure!(moves == self.checker.moves_owed(), "a move of a ref is forgotten: {moves:?}");
        Ok(())
    }

    /// A new process takes the run over.
    pub(super) fn open(&mut self) -> Checked {
        let fault = self.down.take().unwrap_or("crash");
        self.boot += self.dice.between(1, 3000);
        let cut = self.disk.recover();
        self.run = self.load()?;
        self.opened_at = self.boot;
        self.opened_clock = self.run.clock();
        if cut {
            *self.report.recoveries.entry((fault, "tail_cut")).or_default() += 1;
        }
        if !self.run.is_created() {
            *self.report.recoveries.entry((fault, "created_again")).or_default() += 1;
            return self.begin();
        }
        self.check_owed()?;
        let effects = outstanding(&self.run);
        if self.run.outcome().is_some() && effects.is_empty() {
            return Ok(());
        }
        self.epoch += 1;
        let mut commands = vec![(Actor::Engine, Command::Open { epoch: self.epoch })];
        let (starts, others): (Vec<_>, Vec<_>) =
            effects.into_iter().partition(|effect| matches!(effect, Effect::Start { .. }));
        for start in starts {
            let Effect::Start { task, attempt } = start else { continue };
            let process = self.processes[task.index()].as_ref().filter(|process| process.attempt == attempt);
            let (exit, recovery) = match process.filter(|process| process.recorded) {
                Some(process) => (process.exit.clone(), "adopted"),
                None => (lost(), "lost"),
            };
            *self.report.recoveries.entry((fault, recovery)).or_default() += 1;
            commands.push((Actor::Engine, Command::Finish { task, attempt, exit }));
            if crate::planted::is("started_again_on_open") {
                self.perform(&start)?;
            }
        }
        self.commit(commands)?;
        if self.down.is_some() || crate::planted::is("effect_forgotten_on_open") {
            return Ok(());
        }
        for effect in &others {
            self.perform(effect)?;
        }
        Ok(())
    }

    /// After the end: what comes too late is refused, a merge can still be made and taken back, and what is on the
    /// disk is what was seen.
    pub(super) fn epilogue(&mut self) -> Checked {
        ensure!(self.checker.n == self.run.version(), "the end is not durable");
        self.next_fault = None;
        let person = || Actor::Person("ada".to_owned());
        if self.dice.chance(300) {
            let cancel = (person(), Command::Cancel);
            self.commit(vec![cancel, (person(), Command::Pause)])?;
        }
        if self.git.head != self.git.target && self.dice.chance(300) {
            self.merge()?;
            if self.asides.chance(500) {
                self.merge()?;
            }
        }
        if self.dice.chance(200) {
            let id = self.run.id();
            let live = std::mem::replace(&mut self.run, Run::new(id));
            self.disk.snapshot = None;
            self.run = self.load()?;
            ensure!(self.run.is_same(&live), "the state that is read back differs");
        }
        self.offers(&self.run)
    }

    /// Looks at what could be taken over in every fourth world: it takes as long as many steps.
    fn offers(&self, run: &Run) -> Checked {
        if self.report.seed & 3 == 0 { self.checker.offers(run) } else { Ok(()) }
    }

    fn merge(&mut self) -> Checked {
        let (from, to) = (self.git.target, self.git.head);
        let target = "refs/heads/main".to_owned();
        let begin = Command::BeginMerge { target, from, to };
        let engine = || Actor::Engine;
        self.commit(vec![(engine(), begin.clone()), (engine(), begin)])?;
        self.synced(self.run.version())?;
        if self.dice.chance(300) {
            self.crash("crash");
            self.open()?;
        }
        let moved = self.dice.chance(800);
        self.git.target = if moved { to } else { from };
        self.synced(self.run.version())?;
        self.commit(vec![(engine(), Command::EndMerge { moved, why: None })])?;
        self.synced(self.run.version())?;
        if self.dice.chance(500) {
            self.commit(vec![(engine(), Command::UndoMerge { to: from })])?;
        }
        self.synced(self.run.version())?;
        let idle = self.run.merge_under_way().is_none();
        ensure!(idle, "the merge is still under way at decision {}", Version(self.checker.n.0));
        Ok(())
    }
}

/// The same state as another version of the fold would have put it down.
fn folded_otherwise(bytes: &[u8]) -> Vec<u8> {
    let mut state: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
    let busy = state["busy"].as_u64().unwrap_or(0);
    state["busy"] = (busy + 7).into();
    serde_json::to_vec(&state).unwrap_or_default()
}

pub(super) fn lost() -> Exit {
    let message = "no record of its end".to_owned();
    Exit::Failed { class: FailureClass::Lost, message, spent: Amount::ZERO, until: None }
}
