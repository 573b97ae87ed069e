//! What the world does when the engine lets an effect out.

use kapell_core::{effect::Effect, plan::Work};

use super::{AttemptNo, Happening, Phase, Sim, TaskId, UndoEnd, Verdict, log};
use crate::{
    check::{Checked, ensure},
    dice::Dice,
    world::Check,
};

impl Sim {
    pub(super) fn perform(&mut self, effect: &Effect) -> Checked {
        log!(self, "effect   {effect:?}");
        match effect {
            Effect::Start { task, attempt } => self.start(*task, *attempt),
            Effect::Stop { task, attempt, .. } => {
                self.stop(*task, *attempt);
                Ok(())
            }
            Effect::Hold { task, attempt, hold } => {
                ensure!(self.is_child(*task), "what is no child run is held");
                // Another batch may have ended it since.
                if self.checker.is_running(*task, *attempt) {
                    self.holds[task.index()] = *hold;
                }
                Ok(())
            }
            Effect::Check { task, attempt } => self.check(*task, *attempt),
            Effect::Probe(_) if self.dice.chance(self.knobs.landing_fails) => {
                self.landing_fails();
                Ok(())
            }
            Effect::Probe(probe) => {
                let outcome = self.git.probe(probe, self.knobs.flaky, &mut self.dice);
                let after = self.dice.between(20, 400);
                if self.dice.chance(self.knobs.duplicate) {
                    self.fault("duplicate_answer");
                    let later = after + self.dice.between(1, 2000);
                    let (probe, outcome) = (probe.id, outcome.clone());
                    self.soon(later, Happening::Probed { probe, outcome });
                }
                self.soon(after, Happening::Probed { probe: probe.id, outcome });
                Ok(())
            }
            Effect::MoveRef { from, to } => {
                let owed = self.checker.moves_owed().0;
                ensure!(owed == Some((*from, *to)), "the integration ref is moved, but {owed:?} is durable");
                ensure!(
                    self.git.head == *from || self.git.head == *to,
                    "the integration ref is to move from {from}, but it is at {}",
                    self.git.head
                );
                if self.dice.chance(self.knobs.landing_fails) {
                    // It may have moved all the same.
                    if self.dice.chance(500) {
                        self.git.head = *to;
                    }
                    self.landing_fails();
                    return Ok(());
                }
                self.git.head = *to;
                let after = self.dice.between(1, 50);
                self.soon(after, Happening::RefMoved { to: *to });
                Ok(())
            }
            Effect::Compensate { task, attempt } => self.undo(*task, *attempt),
            Effect::Notify { gate } => {
                if !self.dice.chance(self.knobs.mute_person) {
                    let after = self.dice.between(50, 5000);
                    self.schedule(after, 0, Happening::Answer { gate: *gate });
                }
                Ok(())
            }
            Effect::Deliver { task, attempt, .. } => {
                let after = self.dice.between(10, 500);
                self.soon(after, Happening::Ends { task: *task, attempt: *attempt });
                Ok(())
            }
            Effect::Merge { from, to, .. } => {
                let owed = self.checker.moves_owed().1;
                ensure!(owed == Some((*from, *to)), "the target is moved, but {owed:?} is durable");
                if !matches!(self.run.phase(), Phase::Finished(_)) {
                    self.git.target = *to;
                    self.soon(30, Happening::MergeEnds);
                }
                Ok(())
            }
        }
    }

    fn landing_fails(&mut self) {
        self.fault("landing_fails");
        let after = self.dice.between(1, 100);
        let command = kapell_core::command::Command::LandingFailed { message: "no such object".to_owned() };
        let actor = kapell_core::journal::Actor::Engine;
        self.soon(after, Happening::Says { actor, command: Box::new(command) });
    }

    /// Tells whether this process has let the effect out already.
    pub(super) fn is_under_way(&self, effect: &Effect) -> bool {
        match effect {
            Effect::Start { task, attempt } => {
                self.processes[task.index()].as_ref().is_some_and(|process| process.attempt == *attempt)
            }
            Effect::Compensate { task, attempt } => self.undos[task.index()].under_way == Some(*attempt),
            _ => false,
        }
    }

    fn check(&mut self, task: TaskId, attempt: AttemptNo) -> Checked {
        let submitted = self.checker.is_submitted(task, attempt);
        // Another batch may have dealt with it since.
        if !submitted {
            let known =
                self.checker.tasks.get(task.index()).is_some_and(|watched| watched.attempts >= attempt.0);
            ensure!(known, "a result is checked that is not durable");
            return Ok(());
        }
        let truth = self.processes[task.index()].as_ref().map_or(Check::Pass, |process| process.check);
        let verdict = if self.dice.chance(self.knobs.broken_check) {
            self.fault("broken_check");
            Verdict::Broken { message: "no disk".to_owned() }
        } else {
            match truth {
                Check::Pass => {
                    self.checker.passed.insert((task, attempt));
                    Verdict::Passed
                }
                Check::Fail => Verdict::Failed { message: "red".to_owned() },
                Check::Doubt => Verdict::Doubtful { question: "it changes its own checks".to_owned() },
            }
        };
        let after = self.dice.between(10, 300);
        self.soon(after, Happening::Judged { task, attempt, verdict });
        Ok(())
    }

    fn undo(&mut self, task: TaskId, attempt: AttemptNo) -> Checked {
        ensure!(self.checker.is_undoing(task, attempt), "a compensation starts that is not durable");
        let undo = &mut self.undos[task.index()];
        ensure!(undo.under_way != Some(attempt), "a compensation starts twice");
        undo.under_way = Some(attempt);
        // What was recorded before a crash is reported, not done again.
        let known = undo.known(attempt).map(|end| end.failure);
        if known == Some(None) && crate::planted::is("compensation_redone_on_open") {
            undo.ended.retain(|end| end.attempt != attempt);
        }
        let failure = match known.clone() {
            Some(failure) => failure,
            None if self.dice.chance(self.knobs.compensation_fails) => {
                self.fault("compensation_fails");
                Some("cannot be undone".to_owned())
            }
            None => None,
        };
        if known.is_none() && self.dice.chance(self.knobs.compensation_hangs) {
            self.fault("compensation_hangs");
            return Ok(());
        }
        let after = self.dice.between(10, 300);
        self.soon(after, Happening::UndoEnds { task, attempt, failure });
        Ok(())
    }

    pub(super) fn undo_ends(&mut self, task: TaskId, attempt: AttemptNo, failure: Option<String>) -> Checked {
        // What is recorded of its end holds, though it was told to stop meanwhile.
        let known = self.undos[task.index()].known(attempt);
        let end = match known {
            Some(end) => end,
            None => {
                let mut change = None;
                if failure.is_none() {
                    ensure!(!self.undone.contains(&task), "task {task} is taken back twice");
                    self.undone.push(task);
                    change = self.reverts(task).then(|| self.git.revert(task)).flatten();
                }
                let end = UndoEnd { attempt, failure, change };
                self.undos[task.index()].ended.push(end.clone());
                end
            }
        };
        // The report may be lost with the process, or not yet be made.
        let UndoEnd { attempt, failure, change } = end;
        let command = kapell_core::command::Command::Compensated { task, attempt, change, failure };
        match self.dice.chance(self.knobs.delayed_report) {
            true => {
                let after = self.dice.between(10, 2000);
                let actor = kapell_core::journal::Actor::Engine;
                self.soon(after, Happening::Says { actor, command: Box::new(command) });
            }
            false => self.inbox.push((kapell_core::journal::Actor::Engine, command)),
        }
        Ok(())
    }

    /// Tells whether a compensation takes out what its task changed, rather than do something outside. Drawn apart, so
    /// that what else a seed means stays.
    fn reverts(&self, task: TaskId) -> bool {
        Dice::new(self.mission.seed ^ u64::from(task.0) ^ 0x7265_7665_7274).chance(600)
    }

    /// Child runs know in which phase their parent is.
    pub(super) fn check_holds(&self) -> Checked {
        let Some(hold) = self.checker.hold() else { return Ok(()) };
        for (at, process) in self.processes.iter().enumerate() {
            let task = TaskId(u32::try_from(at).unwrap_or(u32::MAX));
            let Some(process) = process.as_ref().filter(|process| process.alive) else { continue };
            if self.checker.is_running(task, process.attempt)
                && self.checker.tasks[at].stopping.is_none()
                && self.is_child(task)
            {
                let told = self.holds[at];
                ensure!(told == hold, "the child run of task {at} is told {told:?}, not {hold:?}");
            }
        }
        Ok(())
    }

    pub(super) fn is_child(&self, task: TaskId) -> bool {
        matches!(self.run.plan().definition(task).work, Work::Workflow(_))
    }
}
