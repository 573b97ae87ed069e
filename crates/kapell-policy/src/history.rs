//! How long attempts took before, by what they did.

use std::collections::{BTreeMap, VecDeque};

use kapell_core::{
    event::Event,
    id::{Digest, TaskId},
    journal::Row,
    plan::{Definition, Estimate, Plan},
    run::Run,
    time::{Elapsed, Millis},
};
use serde::{Deserialize, Serialize};

/// The fewest lengths from which both quantiles are learnt: of ten, one is expected above the 90th percentile.
pub const SAMPLES_MIN: usize = 10;

/// The fewest lengths from which a median is learnt if nothing else is known.
pub const MEDIAN_SAMPLES_MIN: usize = 3;

/// The most lengths kept of one kind of work; older ones are forgotten, for code and machines change.
const SAMPLES_MAX: usize = 200;

/// Lengths of attempts that ended well, by [`key`]. The latest is last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct History(BTreeMap<Digest, VecDeque<Millis>>);

/// Returns by what lengths of attempts are kept: what is done, with which environment and checks, by whom.
///
/// Names, needs, retries, budgets and estimates may change without the work being another.
#[must_use]
pub fn key(plan: &Plan, definition: &Definition) -> Digest {
    let agent = definition.agent.and_then(|agent| plan.agent(agent));
    let agent = agent.map(|agent| (&agent.adapter, &agent.options));
    let work = definition.work.without_forecasts();
    let facts = (&work, &definition.env, &definition.prepare, definition.workspace, agent);
    Digest::of(&serde_json::to_vec(&facts).unwrap_or_default())
}

impl History {
    /// Adds a length.
    pub fn add(&mut self, key: Digest, length: Millis) {
        let lengths = self.0.entry(key).or_default();
        if lengths.len() == SAMPLES_MAX {
            lengths.pop_front();
        }
        lengths.push_back(length);
    }

    /// Returns how many lengths are known.
    #[must_use]
    pub fn samples(&self, key: Digest) -> usize {
        self.0.get(&key).map_or(0, VecDeque::len)
    }

    /// Returns the sample quantiles, if there are at least [`SAMPLES_MIN`] lengths.
    #[must_use]
    pub fn quantiles(&self, key: Digest) -> Option<Estimate> {
        let sorted = self.sorted(key, SAMPLES_MIN)?;
        Some(Estimate { p50: quantile(&sorted, 0.5), p90: quantile(&sorted, 0.9) })
    }

    /// Returns the sample median, if there are at least [`MEDIAN_SAMPLES_MIN`] lengths.
    #[must_use]
    pub fn median(&self, key: Digest) -> Option<Millis> {
        self.sorted(key, MEDIAN_SAMPLES_MIN).map(|sorted| quantile(&sorted, 0.5))
    }

    fn sorted(&self, key: Digest, least: usize) -> Option<Vec<Millis>> {
        let lengths = self.0.get(&key).filter(|lengths| lengths.len() >= least)?;
        let mut sorted: Vec<Millis> = lengths.iter().copied().collect();
        sorted.sort_unstable();
        Some(sorted)
    }
}

/// Returns a sample quantile: between the two nearest values, at `(n - 1) p` counted from 0.
///
/// Source: Hyndman and Fan, "Sample quantiles in statistical packages", 1996, definition 7.
///
/// # Panics
///
/// Panics if there is no value.
#[must_use]
pub fn quantile(sorted: &[Millis], p: f64) -> Millis {
    Millis(quantile_by(sorted, p, |length| length.0))
}

/// Returns a sample quantile of what `number` says of each, which must be in order, as [`quantile`] does.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "estimates, not accounts; the place is within the values"
)]
pub(crate) fn quantile_by<T>(sorted: &[T], p: f64, number: impl Fn(&T) -> u64) -> u64 {
    let place = (sorted.len() - 1) as f64 * p.clamp(0.0, 1.0);
    let below = number(&sorted[place.floor() as usize]) as f64;
    let above = number(&sorted[place.ceil() as usize]) as f64;
    (below + (above - below) * place.fract()).round() as u64
}

/// Learns from the decisions of one run, taken in one after the other.
#[derive(Debug, Clone, Default)]
pub struct Observer {
    open: BTreeMap<TaskId, Elapsed>,
    keys: BTreeMap<TaskId, Digest>,
}

impl Observer {
    /// Takes in the next decision; `after` is the state that it led to.
    pub fn row(&mut self, row: &Row, events: &[Event], after: &Run, history: &mut History) {
        for event in events {
            match event {
                Event::Started { task, .. } => {
                    self.open.insert(*task, row.elapsed);
                }
                Event::Completed { task, .. } | Event::Submitted { task, .. } => {
                    if let Some(since) = self.open.remove(task) {
                        let plan = after.plan();
                        let key = self.keys.entry(*task).or_insert_with(|| key(plan, plan.definition(*task)));
                        history.add(*key, row.elapsed.since(since));
                    }
                }
                Event::AttemptFailed { task, .. } | Event::PassedOn { task, .. } => {
                    self.open.remove(task);
                }
                _ => {}
            }
        }
    }
}
