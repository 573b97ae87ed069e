//! How long things will take, from what the file says and what the runs of this place took.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kapell_core::{
    id::{RunId, TaskId},
    journal::Version,
    plan::Plan,
    run::{Phase, Run},
    task::Slots,
    time::{Now, Wall},
};
use kapell_engine::{
    open::load_at,
    port::journal::{Journal, RunHead},
};
use kapell_policy::{
    estimate::{self, Lengths, Sampling},
    history::{History, Observer},
};
use kapell_store::Store;
use kapell_view::forecast::{Basis, Forecast, TaskLength};

/// How many runs are looked at, the newest first, and how many decisions of all together.
const RUNS_MAX: usize = 20;
const DECISIONS_MAX: u64 = 20_000;

/// How often the forecast of a run that is watched is made anew.
const FORECAST_EVERY: Duration = Duration::from_secs(2);

/// Plans with more tasks are shown without a forecast: simulating them would hold the run up.
const FORECAST_TASKS_MAX: usize = 5_000;

/// Returns the newest runs, and how far each has come: at most `runs` of them, with at most `decisions` of all together.
///
/// Whoever learns keeps the latest if there is too much, so they come last.
pub fn recent(store: &Store, runs: usize, decisions: u64) -> Vec<(RunId, Version)> {
    newest(&store.runs().unwrap_or_default(), runs, decisions)
}

fn newest(heads: &[RunHead], runs: usize, decisions: u64) -> Vec<(RunId, Version)> {
    let mut left = decisions;
    let chosen = heads.iter().take(runs).take_while(|head| {
        let fits = head.version.0 <= left;
        left = left.saturating_sub(head.version.0);
        fits
    });
    let mut chosen: Vec<_> = chosen.map(|head| (head.run, head.version)).collect();
    chosen.reverse();
    chosen
}

/// Learns from the newest runs. What cannot be read teaches nothing; it is reported where it matters.
pub fn learn(store: &Store) -> History {
    learn_from(store, &store.runs().unwrap_or_default(), Wall(i64::MAX))
}

/// Learns from the newest of these runs what was known at a moment.
fn learn_from(store: &Store, heads: &[RunHead], until: Wall) -> History {
    let mut history = History::default();
    for (run, version) in newest(heads, RUNS_MAX, DECISIONS_MAX) {
        let mut observer = Observer::default();
        let _ = load_at(store as &dyn Journal, run, version, |row, events, after| {
            if row.at <= until {
                observer.row(row, events, after, &mut history);
            }
        });
    }
    history
}

/// Forecasts a run as it could be forecast when it was made: from its first plan, and what earlier runs had come to by then.
/// `None` if its plan is too large for that, or cannot be read.
pub fn at_the_start(store: &Store, head: &RunHead) -> Option<Forecast> {
    let run = load_at(store as &dyn Journal, head.run, Version(1), |_, _, _| {}).ok()?;
    if run.len() > FORECAST_TASKS_MAX {
        return None;
    }
    let mut earlier = store.runs().unwrap_or_default();
    earlier.retain(|other| other.created < head.created);
    let slots = slots_of(&run);
    let estimator =
        Estimator::new(run.plan(), &learn_from(store, &earlier, head.created), slots, run.mission().seed);
    Some(estimator.whole(run.plan(), slots))
}

/// Forecasts the end of a run that is executed now; `None` if nothing of it moves, or its plan is too large for that.
pub fn of_the_rest(store: &Store, run: &Run, now: Now) -> Option<Forecast> {
    let mut outlook = Outlook::default();
    outlook.learn(store, run);
    outlook.at(run, now).cloned()
}

fn slots_of(run: &Run) -> Slots {
    Slots::new(run.limits().agents, run.limits().jobs)
}

/// When a run that is watched is expected to end, made anew now and then.
#[derive(Default)]
pub struct Outlook {
    /// The revision of the plan whose tasks the estimator knows.
    revision: u32,
    estimator: Option<Estimator>,
    made: Option<(Instant, Forecast)>,
}

impl Outlook {
    /// Learns how long tasks take, once there is a plan and whenever it is another one.
    pub fn learn(&mut self, store: &Store, run: &Run) {
        if self.revision != run.revision() {
            let estimator = (run.len() <= FORECAST_TASKS_MAX)
                .then(|| Estimator::new(run.plan(), &learn(store), slots_of(run), run.mission().seed));
            *self = Self { revision: run.revision(), estimator, made: None };
        }
    }

    /// Returns when the run is expected to end; `None` if it is over or held, or its plan is too large.
    pub fn at(&mut self, run: &Run, now: Now) -> Option<&Forecast> {
        let estimator = self.estimator.as_ref().filter(|_| *run.phase() == Phase::Active)?;
        let fresh = self.made.take().filter(|(made, _)| made.elapsed() < FORECAST_EVERY);
        let made = fresh.unwrap_or_else(|| (Instant::now(), estimator.rest(run, now)));
        Some(&self.made.insert(made).1)
    }
}

/// Returns `plan` with the lengths that the runs of this place teach, where the file says nothing of them.
///
/// They order which task starts first; what is only assumed does not.
pub fn learnt(plan: Arc<Plan>, store: &Store, slots: Slots) -> Arc<Plan> {
    let lengths = Lengths::of(&plan, &learn(store), slots);
    let known = |definition| {
        let known = lengths.definition(definition);
        matches!(known.basis, estimate::Basis::Learnt { .. }).then_some(known.estimate)
    };
    Arc::new(Arc::unwrap_or_clone(plan).expecting(known))
}

/// What is known of the lengths of a plan's tasks.
pub struct Estimator {
    lengths: Lengths,
    seed: u64,
}

impl Estimator {
    /// Finds out what is known.
    pub fn new(plan: &Plan, history: &History, slots: Slots, seed: u64) -> Self {
        Self { lengths: Lengths::of(plan, history, slots), seed }
    }

    /// Returns how long a task is expected to take.
    pub fn length(&self, plan: &Plan, task: TaskId) -> TaskLength {
        let known = self.lengths.task(plan, task);
        let basis = match known.basis {
            estimate::Basis::Given => Basis::Given,
            estimate::Basis::Learnt { samples } => Basis::Learnt { samples },
            estimate::Basis::Assumed => Basis::Assumed,
        };
        TaskLength { estimate: known.estimate, basis }
    }

    /// Forecasts the end of a plan that has not begun.
    pub fn whole(&self, plan: &Plan, slots: Slots) -> Forecast {
        forecast(estimate::finish(plan, &self.lengths, slots, Sampling::for_plan(plan, self.seed)))
    }

    /// Forecasts the end of a run that is under way.
    pub fn rest(&self, run: &Run, now: Now) -> Forecast {
        forecast(estimate::remaining(run, now, &self.lengths, Sampling::for_plan(run.plan(), self.seed)))
    }
}

fn forecast(finish: estimate::Finish) -> Forecast {
    Forecast::new(finish.p50, finish.p90, finish.samples, finish.seed)
}
