//! Stories of one run: given a plan, when commands come, then these events and effects.

use std::sync::Arc;

use kapell_core::{
    command::{Command, Rejection},
    effect::react,
    event::{Event, PlanRef},
    id::{RunId, TaskId},
    journal::{Actor, Row},
    plan::Plan,
    run::{Phase, Run},
    task::TaskState,
    time::Now,
};

use crate::{
    check::Checker,
    script::{command, now, plan},
    show,
};

/// A run with all that was decided about it. Everything that must hold is checked after each decision.
pub(crate) struct Story {
    pub(crate) run: Run,
    pub(crate) rows: Vec<Row>,
    pub(crate) events: Vec<Event>,
    checker: Checker,
    pub(crate) at: Now,
}

/// Makes a run of the plan at 00:00.
pub(crate) fn given(text: &str) -> Story {
    let (mission, plan) = plan(text);
    let mut story = Story::bare();
    let create = Command::Create { mission: Box::new(mission), plan: PlanRef::Inline(Arc::new(plan)) };
    story.put(now("00:00"), vec![create]).remove(0).unwrap();
    story
}

impl Story {
    /// A run that is not made yet.
    pub(crate) fn bare() -> Self {
        let run = Run::new(RunId([7; 16]));
        let checker = Checker::new(&run);
        Self { run, rows: vec![], events: vec![], checker, at: Now::default() }
    }

    pub(crate) fn put(&mut self, at: Now, commands: Vec<Command>) -> Vec<Result<(), Rejection>> {
        let before = self.run.version();
        let batch =
            self.run.batch(commands.iter().map(|command| (Actor::Engine, command.clone())), at).unwrap();
        assert!(batch.replies.iter().all(|reply| !matches!(reply, Err(Rejection::Bug(_)))));
        assert_eq!(before.0 + batch.rows.len() as u64, self.run.version().0);
        self.at = at;
        self.checker.after(&self.run, &commands, &batch, at);
        self.rows.extend(batch.rows);
        self.events = batch.events;
        batch.replies
    }

    fn line(&mut self, line: &str) -> String {
        let (time, text) = line.split_once(' ').unwrap_or_else(|| panic!("no time: {line}"));
        let commands = text.split(" & ").map(|text| command(&self.run, text)).collect();
        let replies = self.put(now(time), commands);
        let refused =
            replies.into_iter().filter_map(Result::err).map(|rejection| format!("refused {rejection}"));
        let events = self.events.iter().map(|event| show::event(&self.run, event));
        let effects = react(&self.run, &self.events);
        let effects = effects.iter().map(|effect| show::effect(&self.run, effect));
        let lines: Vec<_> = refused.chain(events).chain(effects).collect();
        if lines.is_empty() { "nothing".to_owned() } else { lines.join("\n") }
    }

    /// Plays one command, or several between ` & ` as one batch, on each line; says what follows.
    pub(crate) fn when(&mut self, script: &str) -> String {
        let lines: Vec<_> = script.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        match lines[..] {
            [line] => self.line(line),
            _ => lines
                .iter()
                .map(|line| format!("> {line}\n{}", self.line(line)))
                .collect::<Vec<_>>()
                .join("\n"),
        }
    }

    /// Plays what led up to the point of a test; nothing of it may be refused.
    pub(crate) fn and(mut self, script: &str) -> Self {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let said = self.line(line);
            assert!(!said.contains("refused"), "{line}\n{said}");
        }
        self
    }

    pub(crate) fn task(&self, name: &str) -> TaskId {
        self.run.plan().find(name).unwrap()
    }

    pub(crate) fn state(&self, name: &str) -> &TaskState {
        self.run.state(self.task(name))
    }

    /// Says where everything stands, in one line a task that is not at rest.
    pub(crate) fn stand(&self) -> String {
        let plan: &Plan = self.run.plan();
        let phase = match self.run.phase() {
            Phase::Paused(why) => format!("paused {why:?}"),
            Phase::Finished(outcome) => format!("finished {outcome:?}"),
            phase => format!("{phase:?}").to_lowercase(),
        };
        let tasks =
            plan.graph().tasks().map(|task| format!("{} {}", plan.name(task), self.run.state(task).name()));
        std::iter::once(phase).chain(tasks).collect::<Vec<_>>().join("; ")
    }

    /// Says when the run wants to be looked at again.
    pub(crate) fn wake(&self) -> String {
        let wake = self.run.next_wake();
        let elapsed = wake.elapsed.map(|at| format!("elapsed {}", show::time(at.0)));
        let wall = wake.wall.map(|at| format!("wall {}", show::time(u64::try_from(at.0).unwrap())));
        let all: Vec<_> = elapsed.into_iter().chain(wall).collect();
        if all.is_empty() { "never".to_owned() } else { all.join(", ") }
    }
}
