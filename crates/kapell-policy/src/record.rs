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
    plan::{AgentSpec, Plan, Work},
    retry::{FailureClass, OWN_REFUSAL},
    run::Run,
    task::StopCause,
    time::{Elapsed, Millis},
};

use crate::{
    history::{quantile, quantile_by},
    kind::Kind,
};

/// The most lengths kept for one agent; older ones are forgotten.
const LENGTHS_MAX: usize = 200;

/// The most costs kept for one agent and one kind of work; older ones are forgotten, for prices and models change.
const COSTS_MAX: usize = 200;

/// The fewest attempts from whose costs the next one's is foreseen.
pub const COST_SAMPLES_MIN: usize = 3;

/// What is foreseen is what four of five attempts cost no more than. The median would be exceeded every other time; with
/// the highest, one that ran away would keep others from starting for good.
const COST_QUANTILE: f64 = 0.8;

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
    costs: BTreeMap<Kind, VecDeque<Amount>>,
}

/// What an attempt is expected to cost, and from how many attempts that is learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// What four of five of them cost no more than, money and tokens each by itself.
    pub amount: Amount,
    /// How many there are.
    pub attempts: u32,
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
        for (kind, more) in other.costs {
            let costs = self.costs.entry(kind).or_default();
            costs.extend(more);
            let over = costs.len().saturating_sub(COSTS_MAX);
            costs.drain(..over);
        }
    }

    /// Returns what another attempt at work of this kind is expected to cost; nothing if there were fewer than
    /// [`COST_SAMPLES_MIN`], or if nobody knows what they cost.
    ///
    /// Attempts that failed cost something, too, and count; one that was stopped or lost tells nothing, for nobody knows
    /// what it would have cost.
    #[must_use]
    pub fn cost(&self, kind: Kind) -> Option<Cost> {
        let costs = self.costs.get(&kind).filter(|costs| costs.len() >= COST_SAMPLES_MIN)?;
        let part = |number: fn(&Amount) -> u64| {
            let mut sorted: Vec<u64> = costs.iter().map(number).collect();
            sorted.sort_unstable();
            quantile_by(&sorted, COST_QUANTILE, |number| *number)
        };
        let amount = Amount { usd_micros: part(|cost| cost.usd_micros), tokens: part(|cost| cost.tokens) };
        let attempts = u32::try_from(costs.len()).unwrap_or(u32::MAX);
        (!amount.is_zero()).then_some(Cost { amount, attempts })
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
        let kind = kind_of(after.plan(), task);
        record.all.add(well);
        record.kinds.entry(kind).or_default().add(well);
        push(record.costs.entry(kind).or_default(), spent, COSTS_MAX);
        if let Some(length) = length.filter(|_| well) {
            push(&mut record.lengths, length, LENGTHS_MAX);
        }
    }
}

/// Returns what kind of work a task of a plan is.
#[must_use]
pub fn kind_of(plan: &Plan, task: TaskId) -> Kind {
    let prompt = match &plan.definition(task).work {
        Work::Prompt(prompt) => prompt.source(),
        _ => "",
    };
    Kind::of(plan.name(task), prompt)
}

/// Adds what is latest; of more than `most` the oldest is forgotten.
fn push<T>(kept: &mut VecDeque<T>, latest: T, most: usize) {
    if kept.len() == most {
        kept.pop_front();
    }
    kept.push_back(latest);
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
    fn what_is_foreseen_is_what_four_of_five_cost_no_more_than() {
        let record = |costs: &[(u64, u64)]| {
            let costs = costs.iter().map(|&(usd_micros, tokens)| Amount { usd_micros, tokens }).collect();
            Record { costs: [(Kind::Fix, costs)].into(), ..Record::default() }
        };
        let cost = |costs: &[(u64, u64)]| {
            let known = record(costs).cost(Kind::Fix)?;
            Some((known.amount.usd_micros, known.amount.tokens, known.attempts))
        };
        assert_eq!(cost(&[(5, 5), (5, 5)]), None);
        // By hand: at (6 - 1) 0.8 = 4 of 10, 20, 30, 40, 50, 900; the tokens of another attempt.
        let six = [(50, 1), (10, 9), (900, 2), (20, 3), (40, 4), (30, 5)];
        assert_eq!(cost(&six), Some((50, 5, 6)));
        // Where nothing is told of costs, nothing is known of them; but tokens alone are something.
        assert_eq!(cost(&[(0, 0); 5]), None);
        assert_eq!(cost(&[(0, 7); 3]), Some((0, 7, 3)));
        assert_eq!(record(&six).cost(Kind::Test), None);
        let mut both = record(&six);
        both.merge(record(&vec![(100, 0); COSTS_MAX - 1]));
        // The oldest are forgotten.
        assert_eq!(
            both.cost(Kind::Fix).map(|known| (known.amount.usd_micros, known.attempts)),
            Some((100, 200))
        );
        assert_eq!(both.costs[&Kind::Fix].front(), Some(&Amount { usd_micros: 30, tokens: 5 }));
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
