//! How long things will take, from what the file says and what the runs of this place took.

use kapell_core::{
    id::{RunId, TaskId},
    journal::Version,
    plan::Plan,
    run::Run,
    task::Slots,
    time::Now,
};
use kapell_engine::{open::load_at, port::journal::Journal};
use kapell_policy::{
    estimate::{self, Lengths, Sampling},
    history::{History, Observer},
};
use kapell_store::Store;
use kapell_view::forecast::{Basis, Forecast, TaskLength};

/// How many runs are looked at, the newest first, and how many decisions of all together.
const RUNS_MAX: usize = 20;
const DECISIONS_MAX: u64 = 20_000;

/// Returns the newest runs, and how far each has come: at most `runs` of them, with at most `decisions` of all together.
///
/// Whoever learns keeps the latest if there is too much, so they come last.
pub fn recent(store: &Store, runs: usize, decisions: u64) -> Vec<(RunId, Version)> {
    let mut left = decisions;
    let heads = store.runs().unwrap_or_default();
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
    let mut history = History::default();
    for (run, version) in recent(store, RUNS_MAX, DECISIONS_MAX) {
        let mut observer = Observer::default();
        let _ = load_at(store as &dyn Journal, run, version, |row, events, after| {
            observer.row(row, events, after, &mut history);
        });
    }
    history
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
