//! People: they answer late or wrongly, pause and resume, change the plan, and type what makes no sense.

use kapell_core::{
    budget::{Amount, Exceeded, Limits},
    command::{Command, Exit},
    event::{Outputs, PauseCause, PlanRef},
    id::{AgentId, Digest, GateId, ProbeId, RunId},
    journal::{Actor, Version},
    landing::Probed,
    route::Choice,
};

use super::{AttemptNo, Change, Chaos, FailureClass, Happening, Phase, Sim, TaskId};
use crate::scenario::oid;

fn ada() -> Actor {
    Actor::Person("ada".to_owned())
}

impl Sim {
    pub(super) fn person(&mut self, chaos: Chaos) {
        match chaos {
            Chaos::Pause => {
                self.inbox.push((ada(), Command::Pause));
                if self.dice.chance(700) {
                    let after = self.dice.between(10, 10_000);
                    self.schedule(after, 0, Happening::Resume);
                }
            }
            Chaos::Resume => self.inbox.push((ada(), Command::Resume { limits: None })),
            Chaos::Cancel => self.inbox.push((ada(), Command::Cancel)),
            Chaos::Revise => self.revise(),
            Chaos::Reuse => self.reuse(),
            Chaos::Hold => self.hold(),
            Chaos::Intrude => self.intrude(),
            _ => self.meddle(),
        }
    }

    fn any_task(&mut self) -> TaskId {
        let tasks = u32::try_from(self.run.len().max(1)).unwrap_or(1);
        TaskId(self.dice.small(0, tasks - 1))
    }

    fn revise(&mut self) {
        let Some(plan) = self.revision.clone() else { return };
        let superseded = (0..self.dice.between(0, 5)).map(|_| self.any_task()).collect();
        let digest = Digest::of(b"revised");
        self.kept.retain(|(known, _)| *known != digest);
        self.kept.push((digest, plan.clone()));
        let plan = PlanRef::Kept { digest, plan: Some(plan) };
        self.inbox.push((ada(), Command::Revise { plan, superseded }));
    }

    fn reuse(&mut self) {
        let task = self.any_task();
        if self.run.is_empty() {
            return;
        }
        let outputs = self.run.plan().definition(task).outputs.iter().map(|output| output.name.clone());
        let outputs: Outputs = outputs.map(|name| (name, "again".to_owned())).collect();
        let (from, at) = (RunId([9; 16]), Version(7));
        // What it landed is part of the base then.
        let landed = self.mission.base.filter(|_| self.asides.chance(500));
        let change = landed.map(|base| Change { commit: base, tree: base, base });
        self.inbox.push((ada(), Command::Reuse { task, from, at, landed, change, outputs }));
    }

    /// A person looks at an open gate.
    pub(super) fn answer(&mut self, gate: GateId) {
        let open = self.run.open_gates().find(|(id, _)| *id == gate).map(|(_, gate)| gate.choices.clone());
        let Some(choices) = open else {
            // It is closed, and nobody told the person.
            self.inbox
                .push((ada(), Command::Answer { gate, answer: "yes".to_owned(), by: "ada".to_owned() }));
            return;
        };
        let answer = if self.dice.chance(self.knobs.wrong_answer) {
            self.fault("wrong_answer");
            let after = self.dice.between(100, 2000);
            self.schedule(after, 0, Happening::Answer { gate });
            "perhaps".to_owned()
        } else if choices.is_empty() {
            "whatever".to_owned()
        } else if self.dice.chance(700) {
            choices[0].clone()
        } else {
            self.dice.pick(&choices).clone()
        };
        self.inbox.push((ada(), Command::Answer { gate, answer, by: "ada".to_owned() }));
        if !self.calm && self.asides.chance(self.fickle) {
            self.fault("second_thoughts");
            match self.asides.chance(400) {
                true => self.take_back(gate),
                false => {
                    let after = self.asides.between(1, 3000);
                    self.schedule(after, 0, Happening::TakeBack { gate });
                }
            }
        }
    }

    pub(super) fn take_back(&mut self, gate: GateId) {
        self.inbox.push((ada(), Command::UndoAnswer { gate, by: "ada".to_owned() }));
    }

    /// The run that this one is part of pauses, and goes on after a while.
    fn hold(&mut self) {
        let stop = self.asides.chance(400);
        // A person may have paused it before, or do so meanwhile.
        let person = self.asides.below(3);
        if person == 0 {
            self.inbox.push((ada(), Command::Pause));
        }
        self.inbox.push((Actor::Engine, Command::Hold { stop }));
        if person == 1 {
            self.inbox.push((ada(), Command::Pause));
        }
        match self.asides.below(4) {
            // The parent's own time is over, or that of the run above it.
            0 => self.inbox.push((Actor::Engine, Command::Hold { stop: !stop })),
            1 => self.inbox.push((ada(), Command::Resume { limits: None })),
            _ => {}
        }
        if person < 2 {
            let after = self.asides.between(10, 20_000);
            self.schedule(after, 0, Happening::Resume);
        }
        let after = self.asides.between(10, 10_000);
        self.schedule(after, 0, Happening::Release);
    }

    pub(super) fn release(&mut self) {
        self.inbox.push((Actor::Engine, Command::Release));
    }

    /// A person sees that the run is paused, and lets it go on.
    pub(super) fn resume(&mut self) {
        let Phase::Paused(why) = self.run.phase() else { return };
        let old = *self.run.limits();
        if self.run.held().is_some() && self.calm {
            return self.release();
        }
        let limits = match why {
            PauseCause::Budget(_) if self.calm => {
                Some(Limits { usd_micros: None, tokens: None, wall: None, ..old })
            }
            PauseCause::Budget(exceeded) => Some(more(old, *exceeded)),
            _ if self.dice.chance(200) => {
                Some(Limits { jobs: self.dice.small(0, 6), agents: self.dice.small(0, 4), ..old })
            }
            _ => None,
        };
        self.inbox.push((ada(), Command::Resume { limits }));
    }

    /// Once things are calm somebody looks after the run.
    pub(super) fn poll(&mut self) {
        let gates: Vec<GateId> = self.run.open_gates().map(|(gate, _)| gate).collect();
        gates.into_iter().for_each(|gate| self.answer(gate));
        self.resume();
        let ends = match self.run.phase() {
            Phase::Cancelling => true,
            Phase::Compensating => self.run.ref_move().is_some(),
            _ => false,
        };
        if ends && self.patience > 20_000 {
            // What could not land is tried again when the run is opened again.
            self.crash("crash");
            return self.schedule(self.patience, 0, Happening::Poll);
        }
        // A run that is parked for years must not keep people busy.
        self.patience = (self.patience * 5 / 4).min(1 << 40);
        self.schedule(self.patience, 0, Happening::Poll);
    }

    /// Somebody says something that does not fit of answers, rankings and hand-offs.
    fn intrude(&mut self) {
        self.fault("meddling");
        let tasks = u32::try_from(self.run.len().max(1)).unwrap_or(1);
        let task = TaskId(self.asides.small(0, tasks - 1));
        let agents = u32::try_from(self.run.plan().agents().len()).unwrap_or(0);
        let gates = u32::try_from(self.run.gates().count()).unwrap_or(0);
        let attempt = AttemptNo(self.run.task(task).map_or(0, |task| task.attempts));
        let rank = |agent| Choice { agent: AgentId(agent), why: "a whim".to_owned() };
        let route = |ranking| Command::Route { tasks: vec![task], ranking, passed_over: Vec::new() };
        let hand_off = |to| Command::HandOff { task, attempt, to, note: "take it".to_owned() };
        let commands = match self.asides.below(8) {
            0 => vec![route(Vec::new()), route((0..40).map(rank).collect()), route(vec![rank(agents)])],
            1 if agents > 0 => vec![route(vec![rank(self.asides.small(0, agents - 1))])],
            2 => vec![hand_off(Some(AgentId(agents)))],
            3 => vec![hand_off(self.run.agent(task))],
            4 => vec![hand_off(None)],
            5 => vec![Command::UndoAnswer { gate: GateId(9999), by: "eve".to_owned() }],
            6 => vec![Command::Release],
            _ => {
                let undo = |gate| Command::UndoAnswer { gate: GateId(gate), by: "eve".to_owned() };
                (0..gates).map(undo).collect()
            }
        };
        self.inbox.extend(commands.into_iter().map(|command| (ada(), command)));
    }

    /// Somebody says something that does not fit.
    fn meddle(&mut self) {
        self.fault("meddling");
        let task = self.any_task();
        let unknown = TaskId(100_000);
        let attempt = AttemptNo(self.dice.small(0, 3));
        let failed = || Exit::Failed {
            class: FailureClass::Permanent,
            message: "from nowhere".to_owned(),
            spent: Amount::ZERO,
            until: None,
        };
        let stale = AttemptNo(99);
        let text = || "x".to_owned();
        let mut commands = match self.dice.below(12) {
            0 => vec![Command::Finish { task: unknown, attempt, exit: failed() }],
            1 => vec![Command::Finish { task, attempt: stale, exit: failed() }],
            2 => vec![Command::Probed { probe: ProbeId(9999), outcome: Probed::Green { tips: Vec::new() } }],
            3 => vec![Command::RefMoved { to: oid(77_777) }],
            4 => vec![Command::Answer { gate: GateId(9999), answer: text(), by: text() }],
            5 => vec![Command::Resume { limits: None }],
            6 => vec![Command::Pause, Command::Pause, Command::Resume { limits: None }],
            7 => vec![
                Command::Revise { plan: PlanRef::Inline(std::sync::Arc::default()), superseded: Vec::new() },
                Command::Revise {
                    plan: PlanRef::Kept { digest: Digest::ZERO, plan: None },
                    superseded: Vec::new(),
                },
            ],
            8 => vec![Command::EndMerge { moved: true, why: None }, Command::UndoMerge { to: oid(5) }],
            9 => vec![
                Command::Note { task, attempt: stale, text: text() },
                Command::Throttled { task, attempt: stale, until: None },
            ],
            10 => vec![Command::Compensated { task, attempt: stale, change: None, failure: None }],
            _ => vec![Command::Create {
                mission: Box::default(),
                plan: PlanRef::Inline(std::sync::Arc::default()),
            }],
        };
        self.inbox.extend(commands.drain(..).map(|command| (ada(), command)));
    }
}

fn more(old: Limits, exceeded: Exceeded) -> Limits {
    let double = |limit: Option<u64>| limit.map(|limit| limit * 2 + 1000);
    match exceeded {
        Exceeded::Usd => Limits { usd_micros: double(old.usd_micros), ..old },
        Exceeded::Tokens => Limits { tokens: double(old.tokens), ..old },
        Exceeded::Wall => Limits { wall: old.wall.map(|wall| kapell_core::time::Millis(wall.0 * 2)), ..old },
    }
}
