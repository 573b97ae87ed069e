//! The processes of attempts: quick, slow, failing, lying, silent, flooding.

use kapell_core::{
    budget::Amount,
    command::{Command, Exit},
    event::Outputs,
    id::AgentId,
    journal::Actor,
    plan::Work,
    price::Tokens,
};

use super::{AttemptNo, FailureClass, Happening, Hold, Sim, TaskId, Wall};
use crate::{
    check::{Checked, ensure},
    world::{Check, Process},
};

/// What a process does with its time.
enum Pace {
    Ends(u64),
    /// It asks, and ends when it is answered.
    Asks(u64),
    /// It ends only when it is told to.
    Never,
}

impl Sim {
    pub(super) fn start(&mut self, task: TaskId, attempt: AttemptNo) -> Checked {
        ensure!(
            self.checker.is_running(task, attempt),
            "attempt {attempt} of task {task} starts, but that is not durable"
        );
        let before = self.processes[task.index()].as_ref().map(|process| (process.attempt, process.alive));
        ensure!(
            before.is_none_or(|(last, alive)| last < attempt && !alive),
            "attempt {attempt} of task {task} starts beside {before:?}"
        );
        let exit = self.draw_exit(task, attempt);
        let pace = self.draw_pace(task);
        self.hand_on(task, attempt);
        let check = match &exit {
            Exit::Succeeded { .. } if self.dice.chance(self.knobs.doubtful) => Check::Doubt,
            Exit::Succeeded { .. } if self.dice.chance(self.knobs.lying) => {
                self.fault("change_fails_its_checks");
                Check::Fail
            }
            _ => Check::Pass,
        };
        self.holds[task.index()] = Hold::None;
        self.processes[task.index()] = Some(Process { attempt, exit, check, alive: true, recorded: false });
        match pace {
            Pace::Ends(after) if self.is_child(task) => {
                let after = self.rest(task, attempt, after);
                self.soon(after, Happening::Ends { task, attempt });
            }
            Pace::Ends(after) => self.soon(after, Happening::Ends { task, attempt }),
            Pace::Asks(after) => self.flood(task, attempt, after),
            Pace::Never => self.fault("silent"),
        }
        Ok(())
    }

    /// A child run may rest for a while, as when only people are waited for there. Returns after how long it ends then.
    fn rest(&mut self, task: TaskId, attempt: AttemptNo, after: u64) -> u64 {
        if self.calm || !self.asides.chance(400) {
            return after;
        }
        self.fault("child_rests");
        let (begin, length) = (self.asides.between(0, after), self.asides.between(1, 20_000));
        for (at, rests) in [(begin, true), (begin, true), (begin + length, false)] {
            let command = Box::new(Command::ChildRests { task, attempt, rests });
            self.soon(at, Happening::Says { actor: Actor::Engine, command });
        }
        after + length
    }

    /// An agent may want another one to go on with its work: a certain one, or whoever is next.
    fn hand_on(&mut self, task: TaskId, attempt: AttemptNo) {
        let agents = u32::try_from(self.run.plan().agents().len()).unwrap_or(0);
        let is_prompt = matches!(self.run.plan().definition(task).work, Work::Prompt(_));
        if self.calm || !is_prompt || !self.asides.chance(self.handing) {
            return;
        }
        let to = self.asides.chance(700).then(|| AgentId(self.asides.small(0, agents - 1)));
        let command = Command::HandOff { task, attempt, to, note: "half done".to_owned() };
        let after = self.asides.between(0, 600);
        self.soon(after, Happening::Says { actor: Actor::Agent(task, attempt), command: Box::new(command) });
    }

    fn draw_pace(&mut self, task: TaskId) -> Pace {
        let quick = self.dice.between(5, 600);
        let definition = self.run.plan().definition(task);
        if matches!(definition.work, Work::Noop) {
            return Pace::Ends(1);
        }
        if self.is_child(task) {
            return Pace::Ends(quick * 4);
        }
        if self.dice.chance(self.knobs.silent) {
            return Pace::Never;
        }
        if self.dice.chance(self.knobs.flooding) {
            self.fault("flood");
            return Pace::Asks(quick);
        }
        if self.dice.chance(self.knobs.slow) {
            self.fault("slow");
            return Pace::Ends(self.dice.between(1000, 30_000));
        }
        Pace::Ends(quick)
    }

    fn flood(&mut self, task: TaskId, attempt: AttemptNo, after: u64) {
        let notes = self.dice.between(1, 12);
        for note in 0..notes {
            let text = "\u{1b}[31mnoise".to_owned();
            let command = Box::new(Command::Note { task, attempt, text });
            self.soon(after + note, Happening::Says { actor: Actor::Agent(task, attempt), command });
        }
        let questions = self.dice.between(0, 2);
        for number in 0..questions {
            let choices =
                if self.dice.chance(500) { vec!["a".to_owned(), "b".to_owned()] } else { Vec::new() };
            let command = Box::new(Command::Ask { task, attempt, question: "which?".to_owned(), choices });
            self.soon(
                after + notes + number,
                Happening::Says { actor: Actor::Agent(task, attempt), command },
            );
        }
        if questions == 0 {
            self.soon(after + notes + 5, Happening::Ends { task, attempt });
        }
    }

    fn draw_exit(&mut self, task: TaskId, attempt: AttemptNo) -> Exit {
        let definition = self.run.plan().definition(task).clone();
        let known = self.run.agent(task).and_then(|agent| definition.forecast(agent));
        let spent = match known.filter(|_| definition.reserve.is_zero()) {
            Some(forecast) => self.draw_cost(forecast.amount),
            None => self.draw_spent(definition.reserve),
        };
        if self.dice.chance(self.knobs.quota) && definition.agent.is_some() {
            let class = *self.dice.pick(&[FailureClass::Quota, FailureClass::RateLimited]);
            let until = self.dice.chance(700).then(|| {
                let ahead = i64::from(self.dice.small(0, 20_000)) - 1000;
                Wall(self.wall().0.saturating_add(ahead))
            });
            return Exit::Failed { class, message: "no quota".to_owned(), spent, until };
        }
        if definition.agent == Some(AgentId(0)) && self.dice.chance(self.knobs.bad_agent) {
            let class = FailureClass::Transient;
            return Exit::Failed { class, message: "broken agent".to_owned(), spent, until: None };
        }
        if self.dice.chance(self.knobs.failing) {
            use FailureClass as F;
            let class = *self.dice.pick(&[
                F::Transient,
                F::Transient,
                F::Transient,
                F::Timeout,
                F::InvalidOutput,
                F::Permission,
                F::Permanent,
                F::RateLimited,
                F::Quota,
                F::Conflict,
                F::Conflict,
                F::Verification,
                F::Lost,
            ]);
            return Exit::Failed { class, message: "failed".to_owned(), spent, until: None };
        }
        let mut outputs = Outputs::from([("by".to_owned(), format!("{task}.{attempt}"))]);
        if definition.outputs.iter().any(|output| output.name == "v") {
            if self.dice.chance(self.knobs.lying) {
                self.fault("output_missing");
            } else {
                let go = if self.dice.chance(600) { "go" } else { "stay" };
                outputs.insert("v".to_owned(), go.to_owned());
            }
        }
        let changes = self.mission.base.is_some() && !matches!(definition.work, Work::Noop);
        let change = (changes && self.dice.chance(self.knobs.changes)).then(|| self.draw_change(task));
        Exit::Succeeded { change, outputs, spent }
    }

    fn draw_change(&mut self, task: TaskId) -> kapell_core::task::Change {
        let bad = self.dice.chance(self.knobs.bad_change);
        if bad {
            self.fault("bad_change");
        }
        let mut side = |permille: u32| self.dice.chance(permille).then(|| self.dice.chance(500));
        let clash = side(self.knobs.clash);
        let conflict = side(self.knobs.conflict);
        self.git.change(task, bad, clash, conflict)
    }

    /// What is foreseen is right more often than not.
    fn draw_cost(&mut self, forecast: Amount) -> Amount {
        let wrong = self.dice.chance(self.knobs.overrun);
        if wrong {
            self.fault("wrong_forecast");
        }
        let factor = if wrong { 3000 } else { self.dice.between(0, 1000) };
        // Not even a wrong forecast of a fortune costs one.
        let part = |number: u64, most: u64| number.min(most) * factor / 1000;
        Amount { usd_micros: part(forecast.usd_micros, 2000), tokens: part(forecast.tokens, 400) }
    }

    fn draw_spent(&mut self, reserved: Amount) -> Amount {
        if reserved.is_zero() {
            return Amount::ZERO;
        }
        let over = self.dice.chance(self.knobs.overrun);
        if over {
            self.fault("overrun");
        }
        let factor = if over { 1500 } else { self.dice.between(0, 1000) };
        Amount { usd_micros: reserved.usd_micros * factor / 1000, tokens: reserved.tokens * factor / 1000 }
    }

    pub(super) fn stop(&mut self, task: TaskId, attempt: AttemptNo) {
        if self.checker.is_undoing(task, attempt) {
            // What never began says nothing.
            if self.undos[task.index()].under_way != Some(attempt) {
                return;
            }
            let failure = Some("took too long".to_owned());
            let after = self.dice.between(5, 500);
            return self.soon(after, Happening::UndoEnds { task, attempt, failure });
        }
        let alive = self.processes[task.index()]
            .as_mut()
            .filter(|process| process.alive && process.attempt == attempt);
        let Some(process) = alive else { return };
        let (Exit::Succeeded { spent, .. } | Exit::Failed { spent, .. }) = &process.exit;
        // It may also just have finished; what it says then does not count any more.
        if self.dice.chance(700) {
            let (class, message, spent) = (FailureClass::Transient, "stopped".to_owned(), *spent);
            process.exit = Exit::Failed { class, message, spent, until: None };
        }
        let after = self.dice.between(5, 500);
        self.soon(after, Happening::Ends { task, attempt });
    }

    pub(super) fn process_ends(&mut self, task: TaskId, attempt: AttemptNo) {
        let alive = self.processes[task.index()]
            .as_mut()
            .filter(|process| process.alive && process.attempt == attempt);
        let Some(process) = alive else { return };
        process.alive = false;
        process.recorded = true;
        if self.dice.chance(self.knobs.duplicate) {
            self.fault("duplicate_result");
            let after = self.dice.between(0, 3000);
            self.soon(after, Happening::Reported { task, attempt });
        }
        if self.dice.chance(self.knobs.delayed_report) {
            self.fault("delayed_report");
            let after = self.dice.between(10, 4000);
            self.soon(after, Happening::Reported { task, attempt });
            return;
        }
        self.report_end(task, attempt);
    }

    pub(super) fn report_end(&mut self, task: TaskId, attempt: AttemptNo) {
        let Some(process) = self.processes[task.index()].as_ref() else { return };
        if process.attempt == attempt && !process.alive {
            let exit = process.exit.clone();
            if matches!(self.run.plan().definition(task).work, Work::Prompt(_)) && self.asides.chance(100) {
                let tokens = Tokens { input: 900, cache_read: 70, cache_write: 10, output: 30 };
                let (claimed, model) = (Some(Tokens { output: 29, ..tokens }), None);
                let used = Command::Use { task, attempt, tokens, claimed, model };
                self.inbox.push((Actor::Agent(task, attempt), used));
            }
            self.inbox.push((Actor::Agent(task, attempt), Command::Finish { task, attempt, exit }));
        }
    }
}
