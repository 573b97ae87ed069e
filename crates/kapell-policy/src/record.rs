//! How agents have done: attempts that ended, by agent and by kind of work.
//!
//! An attempt counts as a success once its result has passed its checks, not when its agent says that it is done. What
//! was no agent's fault counts neither way: a lost attempt, a provider without quota, a stop by a person or a clock.

use std::collections::{BTreeMap, VecDeque};

use kapell_core::{
    budget::Amount,
    event::Event,
    id::TaskId,
    journal::Row,
    plan::{AgentSpec, Work},
    retry::{FailureClass, OWN_REFUSAL},
    run::Run,
    task::StopCause,
    time::{Elapsed, Millis},
};

use crate::{history::quantile, kind::Kind};

/// The most lengths kept for one agent; older ones are forgotten.
const LENGTHS_MAX: usize = 200;

/// The quantile of the normal distribution for a two-sided interval of 90 %: each of its ends is wrong in one of twenty
/// cases.
const Z: f64 = 1.644_853_626_951_472_2;

/// Successes among attempts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many ended well.
    pub successes: u32,
    /// How many ended at all.
    pub attempts: u32,
}

impl Tally {
    /// Returns an interval that holds the true rate of success in nine of ten cases; (0, 1) if nothing is known.
    ///
    /// Source: Wilson, "Probable inference, the law of succession, and statistical inference", 1927. Unlike the usual
    /// interval it holds for small numbers, and never leaves 0 to 1.
    #[must_use]
    pub fn interval(self) -> (f64, f64) {
        interval(f64::from(self.successes), f64::from(self.attempts))
    }

    /// Adds what another one counts.
    fn merge(&mut self, other: Self) {
        self.attempts += other.attempts;
        self.successes += other.successes;
    }

    /// Adds an attempt.
    fn add(&mut self, well: bool) {
        self.attempts += 1;
        self.successes += u32::from(well);
    }
}

/// Returns Wilson's interval for `successes` of `attempts`, which may be weighed and so be no whole numbers.
pub(crate) fn interval(successes: f64, attempts: f64) -> (f64, f64) {
    if attempts <= 0.0 {
        return (0.0, 1.0);
    }
    let (n, p) = (attempts, (successes / attempts).clamp(0.0, 1.0));
    let z2 = Z * Z;
    let centre = p + z2 / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    let whole = 1.0 + z2 / n;
    (((centre - half) / whole).clamp(0.0, 1.0), ((centre + half) / whole).clamp(0.0, 1.0))
}

/// How one agent has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// All its attempts.
    pub all: Tally,
    /// Its attempts by kind of work.
    pub kinds: BTreeMap<Kind, Tally>,
    /// What all of them cost, those that failed among them.
    pub spent: Amount,
    lengths: VecDeque<Millis>,
}

impl Record {
    /// Returns the tally for one kind of work.
    #[must_use]
    pub fn of(&self, kind: Kind) -> Tally {
        self.kinds.get(&kind).copied().unwrap_or_default()
    }

    /// Takes in what is known of the same agent by another name.
    pub fn merge(&mut self, other: Self) {
        self.all.merge(other.all);
        for (kind, tally) in other.kinds {
            self.kinds.entry(kind).or_default().merge(tally);
        }
        self.spent += other.spent;
        self.lengths.extend(other.lengths);
        let over = self.lengths.len().saturating_sub(LENGTHS_MAX);
        self.lengths.drain(..over);
    }

    /// Returns the median length of the latest attempts that ended well.
    #[must_use]
    pub fn median(&self) -> Option<Millis> {
        let mut sorted: Vec<Millis> = self.lengths.iter().copied().collect();
        sorted.sort_unstable();
        (!sorted.is_empty()).then(|| quantile(&sorted, 0.5))
    }
}

/// Names an agent in records: what performs, and with which model and role. Two files may give it two names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Performer {
    /// The adapter.
    pub adapter: String,
    /// The model, if one is named.
    pub model: Option<String>,
    /// The role, if it has one.
    pub role: Option<String>,
}

impl Performer {
    /// Returns what performs a command of a plan that names no agent.
    #[must_use]
    pub fn command() -> Self {
        Self { adapter: "command".to_owned(), model: None, role: None }
    }

    /// Returns who an agent of a plan is.
    #[must_use]
    pub fn of(spec: &AgentSpec) -> Self {
        let option = |name: &str| spec.options.get(name).cloned();
        // A command is what it runs, whatever it is called.
        let role = option(ROLE).or_else(|| option("run")).or_else(|| option("script"));
        Self { adapter: spec.adapter.clone(), model: option("model"), role }
    }
}

/// The option of an agent that names its role.
pub const ROLE: &str = "role";

/// Learns from the decisions of one run, taken in one after the other.
#[derive(Debug, Clone, Default)]
pub struct Observer {
    open: BTreeMap<TaskId, Open>,
}

/// An attempt whose end is not known yet.
#[derive(Debug, Clone)]
struct Open {
    since: Elapsed,
    who: Option<Performer>,
    length: Option<Millis>,
    spent: Amount,
    stopped: bool,
}

/// How all agents have done.
pub type Records = BTreeMap<Performer, Record>;

impl Observer {
    /// Takes in the next decision; `after` is the state that it led to.
    pub fn row(&mut self, row: &Row, events: &[Event], after: &Run, records: &mut Records) {
        for event in events {
            match event {
                Event::Started { task, agent, .. } => {
                    let spec = agent.and_then(|agent| after.plan().agent(agent));
                    let is_command = matches!(after.plan().definition(*task).work, Work::Run(_));
                    let open = Open {
                        since: row.elapsed,
                        who: spec.map(Performer::of).or(is_command.then(Performer::command)),
                        length: None,
                        spent: Amount::ZERO,
                        stopped: false,
                    };
                    self.open.insert(*task, open);
                }
                Event::StopRequested { task, why, .. } => {
                    if let Some(open) = self.open.get_mut(task) {
                        open.stopped = *why != StopCause::Timeout;
                    }
                }
                Event::Submitted { task, spent, .. } => {
                    if let Some(open) = self.open.get_mut(task) {
                        open.length = Some(row.elapsed.since(open.since));
                        open.spent = *spent;
                    }
                }
                Event::Completed { task, spent, .. } | Event::PassedOn { task, spent, .. } => {
                    if let Some(open) = self.open.get_mut(task) {
                        open.length = Some(row.elapsed.since(open.since));
                        open.spent = *spent;
                    }
                    self.close(*task, Some(true), after, records);
                }
                Event::Verified { task } => self.close(*task, Some(true), after, records),
                Event::AttemptFailed { task, class, spent, message, .. } => {
                    if let Some(open) = self.open.get_mut(task) {
                        open.spent += *spent;
                        // What kapell itself did not let pass says nothing about who asked for it.
                        let told = open.stopped || !blames(*class) || message.starts_with(OWN_REFUSAL);
                        self.close(*task, (!told).then_some(false), after, records);
                    }
                }
                Event::Cancelled { task } => self.close(*task, None, after, records),
                _ => {}
            }
        }
    }

    fn close(&mut self, task: TaskId, well: Option<bool>, after: &Run, records: &mut Records) {
        // What is sent back after it was verified did not fit others: its agent had done what was asked.
        let Some(Open { who: Some(who), length, spent, .. }) = self.open.remove(&task) else { return };
        let record = records.entry(who).or_default();
        record.spent += spent;
        let Some(well) = well else { return };
        let plan = after.plan();
        let prompt = match &plan.definition(task).work {
            Work::Prompt(prompt) => prompt.source(),
            _ => "",
        };
        record.all.add(well);
        record.kinds.entry(Kind::of(plan.name(task), prompt)).or_default().add(well);
        if let Some(length) = length.filter(|_| well) {
            if record.lengths.len() == LENGTHS_MAX {
                record.lengths.pop_front();
            }
            record.lengths.push_back(length);
        }
    }
}

/// Tells whether a failure of this class speaks against the agent.
fn blames(class: FailureClass) -> bool {
    use FailureClass as F;
    matches!(
        class,
        F::Transient | F::Timeout | F::InvalidOutput | F::Verification | F::Permission | F::Permanent
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(successes: u32, attempts: u32) -> Tally {
        Tally { successes, attempts }
    }

    #[test]
    fn the_interval_is_wide_for_few_and_narrow_for_many() {
        // By hand: n = 1, p = 1, z^2 = 2.7055: (1 + 1.3528 - 1.3528) / 3.7055 = 0.2699.
        let (low, high) = tally(1, 1).interval();
        assert!((low - 0.2699).abs() < 1e-3 && (high - 1.0).abs() < 1e-9, "{low} {high}");
        let (low, high) = tally(90, 100).interval();
        assert!((low - 0.8390).abs() < 2e-3 && (high - 0.9396).abs() < 2e-3, "{low} {high}");
        assert_eq!(tally(0, 0).interval(), (0.0, 1.0));
    }

    #[test]
    fn more_successes_are_never_worse() {
        for attempts in 0..60 {
            for successes in 0..=attempts {
                let (low, high) = tally(successes, attempts).interval();
                assert!((0.0..=1.0).contains(&low) && low <= high && high <= 1.0);
                let (better_low, better_high) = tally(successes + 1, attempts + 1).interval();
                assert!(better_low >= low && better_high + 1e-12 >= high, "{successes} of {attempts}");
            }
        }
    }
}
