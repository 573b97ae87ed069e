//! The report, collected while a run's decisions are folded once.

use std::collections::BTreeMap;

use kapell_core::{
    budget::Amount,
    event::Event,
    id::{DefinitionId, Oid, RunId, TaskId},
    journal::Row,
    price::Tokens,
    route::{Choice, PassedOver},
    run::Run,
    task::{Slots, TaskState},
    time::{Elapsed, Millis, Wall},
};

use super::{
    Asked, Foreseen, Head, LandedChange, LearntLength, ModelUse, Moment, PathStep, PlanFacts, REPORT_VERSION,
    RankedAgent, RecoveryFact, Report, RouteFact, SlotUse, TaskCost, TimeFacts, Utilisation,
};
use crate::{
    forecast::Forecast,
    logs::{LogLine, LogReader, Weight},
    next,
    status::{Budget, StatusView, TakenOver, Work, name},
    summary::{RunPhase, Tally},
    text::{Style, short},
    untrusted::Untrusted,
};

/// The most facts of a timeline; of longer ones only the notable are kept.
const TIMELINE_MAX: usize = 200;

/// The most failed attempts that are told.
const RECOVERIES_MAX: usize = 500;

/// The most tasks that are listed by their cost.
const DEAREST_MAX: usize = 20;

/// The most choices of agents that are told, and the most tasks that are named with each.
const ROUTES_MAX: usize = 100;
const ROUTE_TASKS_MAX: usize = 10;

/// The most lengths that are kept of one definition: enough for quantiles, and a bound on memory.
const SAMPLES_MAX: usize = 10_000;

/// What is known of a task on the way.
#[derive(Debug, Clone, Copy, Default)]
struct Track {
    started: Option<Elapsed>,
    ended: Option<Elapsed>,
    /// The attempt under way, since when, its slots, and what it is expected to cost, if that is known.
    open: Option<(Elapsed, Slots, Option<Amount>)>,
    work: Millis,
    spent: Amount,
}

/// Collects a [`Report`].
#[derive(Debug, Clone)]
pub struct ReportBuilder {
    run: RunId,
    reader: LogReader,
    forecast: Option<Forecast>,
    foreseen: Option<Foreseen>,
    created: Option<Wall>,
    last: Wall,
    ended: Option<Elapsed>,
    opened: u64,
    tracks: Vec<Track>,
    held: Slots,
    peak: Slots,
    held_ms: (u64, u64),
    /// For how long something was under way up to the last decision.
    busy: Millis,
    facts: u64,
    first: Vec<Moment>,
    notable: Vec<Moment>,
    recoveries: Vec<RecoveryFact>,
    attempts_failed: u64,
    landed: Vec<(TaskId, Oid, Elapsed)>,
    routes: Vec<RouteFact>,
    lengths: BTreeMap<DefinitionId, Vec<Millis>>,
    used: BTreeMap<Option<String>, ModelUse>,
}

impl ReportBuilder {
    /// Starts before the first decision of a run.
    #[must_use]
    pub fn new(run: RunId) -> Self {
        Self {
            run,
            reader: LogReader::new(),
            forecast: None,
            foreseen: None,
            created: None,
            last: Wall::default(),
            ended: None,
            opened: 0,
            tracks: Vec::new(),
            held: Slots::default(),
            peak: Slots::default(),
            held_ms: (0, 0),
            busy: Millis::default(),
            facts: 0,
            first: Vec::new(),
            notable: Vec::new(),
            recoveries: Vec::new(),
            attempts_failed: 0,
            landed: Vec::new(),
            routes: Vec::new(),
            lengths: BTreeMap::new(),
            used: BTreeMap::new(),
        }
    }

    /// Tells what could be forecast when the run began.
    pub fn forecast(&mut self, forecast: Forecast) {
        self.forecast = Some(forecast);
    }

    /// Takes in the next decision. `after` is the state that it led to.
    pub fn row(&mut self, row: &Row, events: &[Event], after: &Run) {
        self.created.get_or_insert(row.at);
        self.last = row.at;
        self.tracks.resize(after.len(), Track::default());
        self.hold_slots(after.busy());
        let lines = self.reader.read(row, events);
        for (event, line) in events.iter().zip(lines) {
            self.event(event, row.elapsed, after);
            if line.weight >= Weight::Fact {
                self.tell(line, event);
            }
        }
    }

    fn tell(&mut self, line: LogLine, event: &Event) {
        self.facts += 1;
        let is_notable = matches!(line.style, Style::Warn | Style::Bad | Style::Strong)
            || line.task.is_none()
            || matches!(event, Event::GateAnswered { .. } | Event::AnswerUndone { .. });
        let among_first = self.first.len() < TIMELINE_MAX;
        let among_notable = is_notable && self.notable.len() < TIMELINE_MAX;
        if !among_first && !among_notable {
            return;
        }
        let (n, elapsed_ms, event) = (line.n, line.elapsed.0, line.event.to_owned());
        let moment = Moment { n, elapsed_ms, task: line.name, event, text: line.text };
        if among_notable {
            self.notable.push(moment.clone());
        }
        if among_first {
            self.first.push(moment);
        }
    }

    fn event(&mut self, event: &Event, at: Elapsed, after: &Run) {
        match event {
            Event::Opened { .. } => self.opened += 1,
            Event::Used { tokens, claimed, model, .. } => self.used(*tokens, *claimed, model.as_deref()),
            Event::Started { task, .. } => self.started(*task, at, after),
            Event::Completed { task, spent, .. } | Event::Submitted { task, spent, .. } => {
                if let Some(length) = self.closed(*task, at, *spent) {
                    let samples = self.lengths.entry(after.plan().definition_id(*task)).or_default();
                    if samples.len() < SAMPLES_MAX {
                        samples.push(length);
                    }
                }
            }
            Event::AttemptFailed { task, attempt, class, message, spent, then } => {
                self.closed(*task, at, *spent);
                self.attempts_failed += 1;
                if self.recoveries.len() < RECOVERIES_MAX {
                    self.recoveries.push(RecoveryFact {
                        task: name(after, *task),
                        attempt: attempt.0,
                        elapsed_ms: at.0,
                        class: class.to_string(),
                        then: then.name().to_owned(),
                        message: message.into(),
                    });
                }
            }
            Event::PassedOn { task, spent, .. } => drop(self.closed(*task, at, *spent)),
            Event::Routed { tasks, ranking, passed_over } => {
                let agent = |choice: &Choice| {
                    let spec = after.plan().agent(choice.agent);
                    RankedAgent {
                        agent: spec.map_or_else(Untrusted::default, |spec| spec.name.as_str().into()),
                        why: choice.why.as_str().into(),
                    }
                };
                let over = |over: &PassedOver| RankedAgent {
                    agent: over.agent.as_str().into(),
                    why: over.why.as_str().into(),
                };
                if self.routes.len() < ROUTES_MAX {
                    self.routes.push(RouteFact {
                        tasks: tasks.iter().take(ROUTE_TASKS_MAX).map(|task| name(after, *task)).collect(),
                        more: tasks.len().saturating_sub(ROUTE_TASKS_MAX) as u64,
                        ranking: ranking.iter().map(agent).collect(),
                        passed_over: passed_over.iter().map(over).collect(),
                    });
                }
            }
            Event::Landed { task, commit } => self.landed.push((*task, *commit, at)),
            Event::Finished { .. } => self.ended = Some(at),
            _ => {}
        }
        if let Some(task) = event.task().filter(|task| after.state(*task).is_settled()) {
            self.tracks[task.index()].ended.get_or_insert(at);
        }
    }

    fn started(&mut self, task: TaskId, at: Elapsed, after: &Run) {
        let (slots, agent) = match after.state(task) {
            TaskState::Running(attempt) => (attempt.slots, attempt.agent),
            _ => Default::default(),
        };
        let known = agent.and_then(|agent| after.plan().definition(task).forecast(agent));
        let track = &mut self.tracks[task.index()];
        track.started.get_or_insert(at);
        track.open = Some((at, slots, known.map(|known| known.amount)));
        self.held.jobs += slots.jobs;
        self.held.agents += slots.agents;
        self.peak.jobs = self.peak.jobs.max(self.held.jobs);
        self.peak.agents = self.peak.agents.max(self.held.agents);
    }

    /// Ends the attempt under way, if there is one, and returns how long it took.
    fn closed(&mut self, task: TaskId, at: Elapsed, spent: Amount) -> Option<Millis> {
        let track = &mut self.tracks[task.index()];
        track.spent += spent;
        let (since, slots, expected) = track.open.take()?;
        if let Some(expected) = expected {
            self.foreseen.get_or_insert_default().add(expected, spent);
        }
        let length = at.since(since);
        track.work.0 += length.0;
        self.held.jobs -= slots.jobs;
        self.held.agents -= slots.agents;
        Some(length)
    }

    /// Adds up for how long slots were held while something was under way: an attempt that waits for a person holds its
    /// slot, but nobody works then.
    fn hold_slots(&mut self, busy: Millis) {
        let passed = busy.0.saturating_sub(self.busy.0);
        self.busy = busy;
        self.held_ms.0 += passed * u64::from(self.held.jobs);
        self.held_ms.1 += passed * u64::from(self.held.agents);
    }

    /// Makes the report. `run` is the state after the last decision taken in.
    #[must_use]
    pub fn finish(self, run: &Run) -> Report {
        let now = kapell_core::time::Now { wall: self.last, elapsed: run.clock() };
        let status = StatusView::new(run, now, false, None);
        let all = self.facts as usize <= TIMELINE_MAX;
        let shown = if all { self.first.len() } else { self.notable.len() };
        Report {
            version: REPORT_VERSION,
            run: self.run.to_string(),
            asked: asked(run),
            phase: RunPhase::of(run),
            tally: Tally::of(run),
            taken_over: TakenOver::all(run),
            plan: plan_facts(run),
            time: TimeFacts {
                created_ms: self.created.unwrap_or_default().0,
                last_ms: self.last.0,
                elapsed_ms: self.ended.unwrap_or(run.clock()).0,
                busy_ms: run.busy().0,
                forecast: self.forecast.clone(),
                resumed: self.opened.saturating_sub(1),
            },
            critical_path: self.critical_path(run),
            utilisation: self.utilisation(run),
            cost: Budget::of(run),
            foreseen: self.foreseen,
            used: self.used.values().cloned().collect(),
            dearest: self.dearest(run),
            timeline_left_out: self.facts - shown as u64,
            recoveries: self.recoveries.clone(),
            attempts_failed: self.attempts_failed,
            failed: status.failed,
            landed: self.landed(run),
            routes: self.routes.clone(),
            work: Work::of(run),
            gates: status.gates,
            learnt: self.learnt(run),
            head: Head { n: run.version().0, hash: run.hash().to_string() },
            next: next_steps(run),
            timeline: if all { self.first } else { self.notable },
        }
    }

    fn landed(&self, run: &Run) -> Vec<LandedChange> {
        let back: BTreeMap<TaskId, Oid> = run.reversed().collect();
        let change = |(task, commit, at): &(TaskId, Oid, Elapsed)| LandedChange {
            task: name(run, *task),
            commit: commit.to_string(),
            taken_back: back.get(task).map(Oid::to_string),
            elapsed_ms: at.0,
        };
        self.landed.iter().map(change).collect()
    }

    /// Goes back from the task that ended last, each time to the need that ended last.
    fn critical_path(&self, run: &Run) -> Vec<PathStep> {
        let ended = |task: &TaskId| self.tracks[task.index()].ended;
        let tasks = run.plan().graph().tasks().filter(|task| ended(task).is_some());
        // Skipped tasks end with what failed before them and say nothing about time.
        let was_done = |task: &TaskId| !matches!(run.state(*task), TaskState::Skipped { .. });
        let mut at = tasks.filter(was_done).max_by_key(|task| (ended(task), std::cmp::Reverse(*task)));
        let mut path = Vec::new();
        while let Some(task) = at {
            let track = self.tracks[task.index()];
            let needs = run.plan().graph().needs(task).iter().copied();
            at = needs
                .filter(|need| ended(need).is_some())
                .max_by_key(|need| (ended(need), std::cmp::Reverse(*need)));
            let end = track.ended.unwrap_or_default();
            path.push(PathStep {
                task: name(run, task),
                ready_ms: at.and_then(|need| ended(&need)).unwrap_or_default().0,
                started_ms: track.started.unwrap_or(end).0,
                ended_ms: end.0,
                attempts: run.task(task).map_or(0, |task| task.attempts),
            });
        }
        path.reverse();
        path
    }

    fn used(&mut self, tokens: Tokens, claimed: Option<Tokens>, model: Option<&str>) {
        let key = model.map(str::to_owned);
        let of_model = self.used.entry(key).or_default();
        of_model.model = model.map(Into::into);
        of_model.attempts += 1;
        of_model.input = of_model.input.saturating_add(tokens.input);
        of_model.cache_read = of_model.cache_read.saturating_add(tokens.cache_read);
        of_model.cache_write = of_model.cache_write.saturating_add(tokens.cache_write);
        of_model.output = of_model.output.saturating_add(tokens.output);
        if let Some(claimed) = claimed {
            let count = |tokens: Tokens| i64::try_from(tokens.total()).unwrap_or(i64::MAX);
            let more = count(claimed).saturating_sub(count(tokens));
            of_model.disputed += 1;
            of_model.claimed_more = of_model.claimed_more.saturating_add(more);
        }
    }

    fn utilisation(&self, run: &Run) -> Utilisation {
        let use_of = |slots: u32, held_ms: u64, peak: u32| {
            let possible = run.busy().0.saturating_mul(u64::from(slots));
            #[expect(clippy::cast_precision_loss, reason = "a share, not an account")]
            let share = if possible == 0 { 0.0 } else { (held_ms as f64 / possible as f64).min(1.0) };
            SlotUse { slots, held_ms, peak, share: (share * 1000.0).round() / 1000.0 }
        };
        Utilisation {
            jobs: use_of(run.limits().jobs, self.held_ms.0, self.peak.jobs),
            agents: use_of(run.limits().agents, self.held_ms.1, self.peak.agents),
        }
    }

    fn dearest(&self, run: &Run) -> Vec<TaskCost> {
        let mut tasks: Vec<(Amount, TaskId)> = run
            .plan()
            .graph()
            .tasks()
            .map(|task| (self.tracks.get(task.index()).map_or(Amount::ZERO, |track| track.spent), task))
            .filter(|(spent, _)| !spent.is_zero())
            .collect();
        tasks.sort_by_key(|(spent, task)| (std::cmp::Reverse((spent.usd_micros, spent.tokens)), *task));
        let cost = |(spent, task): &(Amount, TaskId)| TaskCost {
            task: name(run, *task),
            usd_micros: spent.usd_micros,
            tokens: spent.tokens,
            work_ms: self.tracks[task.index()].work.0,
            attempts: run.task(*task).map_or(0, |task| task.attempts),
        };
        tasks.iter().take(DEAREST_MAX).map(cost).collect()
    }

    fn learnt(&self, run: &Run) -> Vec<LearntLength> {
        let plan = run.plan();
        let mut users: BTreeMap<DefinitionId, (TaskId, u64)> = BTreeMap::new();
        for task in plan.graph().tasks() {
            users.entry(plan.definition_id(task)).or_insert((task, 0)).1 += 1;
        }
        let learnt = |(definition, lengths): (&DefinitionId, &Vec<Millis>)| {
            let (task, tasks) = *users.get(definition)?;
            let mut sorted = lengths.clone();
            sorted.sort_unstable();
            let expected = plan.definition(task).estimate;
            Some(LearntLength {
                task: name(run, task),
                tasks,
                samples: sorted.len() as u64,
                p50_ms: nearest_rank(&sorted, 50).0,
                p90_ms: nearest_rank(&sorted, 90).0,
                expected_p50_ms: expected.map(|estimate| estimate.p50.0),
                expected_p90_ms: expected.map(|estimate| estimate.p90.0),
            })
        };
        self.lengths.iter().filter_map(learnt).collect()
    }
}

/// Returns the smallest value that at least `percent` of all are not above (nearest rank).
fn nearest_rank(sorted: &[Millis], percent: usize) -> Millis {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

fn asked(run: &Run) -> Asked {
    let mission = run.mission();
    Asked {
        objective: mission.objective.as_str().into(),
        source: mission.source.as_deref().map(Into::into),
        accept: mission.accept.iter().map(Into::into).collect(),
        target: mission.target.as_deref().map(Into::into),
        base: mission.base.map(|base| base.to_string()),
        deadline_ms: mission.deadline.map(|deadline| deadline.0),
        seed: mission.seed.to_string(),
    }
}

fn plan_facts(run: &Run) -> PlanFacts {
    let graph = run.plan().graph();
    PlanFacts {
        tasks: graph.len() as u64,
        edges: graph.edges() as u64,
        waves: graph.waves().into_iter().max().map_or(0, |last| last + 1),
        width: graph.width() as u64,
        revision: run.revision(),
    }
}

fn next_steps(run: &Run) -> Vec<String> {
    let id = short(run.id());
    let against = format!("kapell verify {id} --against {}:{}", run.version(), run.hash());
    next::command(run, false).into_iter().chain([against]).collect()
}
