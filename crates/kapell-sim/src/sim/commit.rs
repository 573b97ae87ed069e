//! A batch through the decider onto the disk, with all that can go wrong on the way.

use kapell_core::{
    command::{Command, Exit, Rejection},
    effect::{Effect, react},
    event::Event,
    journal::{Actor, Row},
    landing::Landing,
};

use super::{AttemptNo, DiskFault, Happening, Now, Pending, Phase, Sim, TaskId, Version, log};
use crate::{
    check::{Checked, Violation, ensure},
    disk::Kept,
    report::{class_name, rejection_name},
};

impl Sim {
    /// Decides `commands`, makes the decisions durable, then lets their effects out.
    pub(super) fn commit(&mut self, commands: Vec<(Actor, Command)>) -> Checked {
        if self.log.is_some() {
            for (actor, command) in &commands {
                log!(self, "command  {actor} {command:?}");
            }
        }
        let again = self.next_fault.is_some().then(|| commands.clone());
        let finishes: Vec<_> = commands.iter().map(|(_, command)| finish_of(command)).collect();
        let told = commands.iter().rev().find_map(|(_, command)| match command {
            Command::Hold { stop } => Some(Some(*stop)),
            Command::Release => Some(None),
            _ => None,
        });
        let before = self.run.version();
        let now = self.now();
        let batch = self.run.batch(commands, now).map_err(|error| Violation(format!("a bug: {error}")))?;
        self.settled = now;
        self.check_replies(&finishes, &batch.replies)?;
        if let (Some(told), Phase::Active | Phase::Paused(_)) = (told, self.run.phase()) {
            let held = self.run.held();
            ensure!(held == told, "its parent wants {told:?} of a run that is held {held:?}");
        }
        if batch.rows.is_empty() {
            return Ok(());
        }
        if crate::planted::is("effect_before_append") {
            self.perform_all(&react(&self.run, &batch.events), usize::MAX)?;
        }
        let fault = self.next_fault.take();
        if let Some(fault) = fault {
            self.spill(fault)?;
            let before = before.max(self.checker.n);
            return self.append_faulty(fault, batch.rows, &batch.events, again.unwrap_or_default(), before);
        }
        let asking = self.run.landing().is_some_and(Landing::is_asking);
        let upto = self.run.version();
        self.pending.push_back(Pending { rows: batch.rows, events: batch.events, now, upto, asking });
        if self.knobs.sync == 0 {
            return self.synced(upto);
        }
        let after = self.dice.between(0, self.knobs.sync);
        self.soon(after, Happening::Synced { upto });
        Ok(())
    }

    /// All decisions up to `upto` are durable: they are checked, and their effects let out. More may have been decided
    /// since.
    pub(super) fn synced(&mut self, upto: Version) -> Checked {
        while self.pending.front().is_some_and(|pending| pending.upto <= upto) {
            let Some(pending) = self.pending.pop_front() else { break };
            self.disk.write(pending.rows);
            self.disk.sync();
            self.look_at(&pending.events, pending.now, pending.upto, pending.asking)?;
            let effects = react(&self.run, &pending.events);
            self.perform_all(&effects, usize::MAX)?;
        }
        match self.pending.is_empty() {
            true => self.check_holds(),
            false => Ok(()),
        }
    }

    /// What is on its way to the disk when a fault strikes is there before it, perhaps not for good.
    pub(super) fn spill(&mut self, fault: DiskFault) -> Checked {
        use DiskFault as F;
        if !matches!(fault, F::CrashBefore | F::CrashTorn | F::CrashUnsynced | F::CrashDurable) {
            return self.synced(self.run.version());
        }
        for pending in std::mem::take(&mut self.pending) {
            self.disk.write(pending.rows);
        }
        Ok(())
    }

    /// A result may be adopted only for the attempt that is under way, and only once.
    fn check_replies(
        &mut self,
        finishes: &[Option<(TaskId, AttemptNo)>],
        replies: &[Result<(), Rejection>],
    ) -> Checked {
        ensure!(finishes.len() == replies.len(), "{} replies to {} commands", replies.len(), finishes.len());
        for (at, (finish, reply)) in finishes.iter().zip(replies).enumerate() {
            match reply {
                Err(rejection) => {
                    log!(self, "rejected {rejection}");
                    self.report.rejections.add(rejection_name(rejection));
                }
                Ok(()) => {
                    let Some((task, attempt)) = *finish else { continue };
                    ensure!(
                        self.checker.is_running(task, attempt),
                        "a result of attempt {attempt} of task {task} is adopted, which is not under way"
                    );
                    let twice = finishes[..at]
                        .iter()
                        .zip(replies)
                        .any(|(other, reply)| other == finish && reply.is_ok());
                    ensure!(!twice, "two results of attempt {attempt} of task {task} are adopted");
                }
            }
        }
        Ok(())
    }

    /// The rows are durable and the checkers look at them.
    fn acknowledge(&mut self, rows: Vec<Row>, events: &[Event]) -> Checked {
        self.disk.write(rows);
        self.disk.sync();
        let asking = self.run.landing().is_some_and(Landing::is_asking);
        self.look_at(events, self.now(), self.run.version(), asking)
    }

    /// Checks what has become durable, and the live state if nothing was decided since.
    fn look_at(&mut self, events: &[Event], now: Now, upto: Version, asking: bool) -> Checked {
        let from = self.checker.n.0;
        for n in from + 1..=upto.0 {
            let Some(row) = self.disk.row(Version(n)) else {
                return Err(Violation(format!("decision {n} is acknowledged and not on the disk")));
            };
            self.checker.row(row)?;
            self.report.mix(&row.hash.0);
        }
        self.count(events);
        let clock = self.disk.row(upto).map_or(now.elapsed, |row| row.elapsed);
        self.checker.events(events, now.wall, clock, &self.git, asking)?;
        if self.run.version() > upto {
            return Ok(());
        }
        self.checker.compare(&self.run)?;
        if self.dice.chance(250) {
            self.checker.times(self.settled, self.run.next_wake())?;
        }
        self.maybe_snapshot()
    }

    pub(super) fn count(&mut self, events: &[Event]) {
        for event in events {
            log!(self, "event    {event:?}");
            self.report.events.add(event.name());
            if let Event::AttemptFailed { class, then, .. } = event {
                self.report.classes.add(class_name(*class));
                *self.report.recoveries.entry((class_name(*class), then.name())).or_default() += 1;
            }
        }
    }

    /// Writes a snapshot now and then, and compares what is read back from it.
    fn maybe_snapshot(&mut self) -> Checked {
        if !self.dice.chance(6) {
            return Ok(());
        }
        let (fold, bytes) = self.run.to_snapshot();
        let (n, hash) = (self.run.version(), self.run.hash());
        let plan = self.run.plan().clone();
        let read = kapell_core::run::Run::from_snapshot(fold, &bytes, n, hash, plan);
        ensure!(
            read.is_some_and(|read| read.is_same(&self.run)),
            "a snapshot is not the state it was made of"
        );
        self.fault("snapshot");
        self.disk.snapshot = Some(Kept { fold, bytes, n });
        Ok(())
    }

    fn append_faulty(
        &mut self,
        fault: DiskFault,
        rows: Vec<Row>,
        events: &[Event],
        commands: Vec<(Actor, Command)>,
        before: Version,
    ) -> Checked {
        log!(self, "fault    {}", fault.name());
        match fault {
            DiskFault::CrashBefore => self.disk.lose_unsynced(&mut self.dice),
            DiskFault::CrashTorn => {
                self.disk.lose_unsynced(&mut self.dice);
                self.disk.tear(rows, &mut self.dice);
            }
            DiskFault::CrashUnsynced => {
                self.disk.write(rows);
                if crate::planted::is("ack_before_sync") {
                    self.look_at(events, self.now(), self.run.version(), false)?;
                }
                self.disk.lose_unsynced(&mut self.dice);
            }
            DiskFault::CrashDurable => {
                self.disk.write(rows);
                self.disk.sync();
            }
            DiskFault::CrashAcked => self.acknowledge(rows, events)?,
            DiskFault::CrashMidEffects => {
                self.acknowledge(rows, events)?;
                let effects = react(&self.run, events);
                let some = self.dice.index(effects.len() + 1);
                self.perform_all(&effects, some)?;
            }
            DiskFault::Full | DiskFault::FullTorn | DiskFault::SyncError => {
                return self.poison(fault, rows, commands, before);
            }
        }
        self.crash(fault.name());
        Ok(())
    }

    /// The append failed: what was decided never happened, unless the disk says that it did.
    fn poison(
        &mut self,
        fault: DiskFault,
        rows: Vec<Row>,
        mut commands: Vec<(Actor, Command)>,
        before: Version,
    ) -> Checked {
        match fault {
            DiskFault::FullTorn => self.disk.tear(rows, &mut self.dice),
            DiskFault::SyncError => {
                self.disk.write(rows);
                self.disk.lose_unsynced(&mut self.dice);
            }
            _ => {}
        }
        if self.dice.chance(400) {
            // The process gives up; a person frees space and opens the run again.
            self.crash(fault.name());
            return Ok(());
        }
        self.fault(fault.name());
        if crate::planted::is("failed_append_ignored") {
            return Ok(());
        }
        self.reload()?;
        let recovery = match self.run.version() > before {
            true => "reloaded_with_some",
            false => "reloaded_without_it",
        };
        *self.report.recoveries.entry((fault.name(), recovery)).or_default() += 1;
        for (_, command) in &mut commands {
            // Nobody owns a run twice under one number.
            if let Command::Open { epoch } = command {
                self.epoch += 1;
                *epoch = self.epoch;
            }
        }
        self.commit(commands)
    }

    pub(super) fn perform_all(&mut self, effects: &[Effect], most: usize) -> Checked {
        effects.iter().take(most).try_for_each(|effect| self.perform(effect))
    }
}

fn finish_of(command: &Command) -> Option<(TaskId, AttemptNo)> {
    match command {
        Command::Finish { task, attempt, exit: Exit::Succeeded { .. } | Exit::Failed { .. } } => {
            Some((*task, *attempt))
        }
        _ => None,
    }
}
