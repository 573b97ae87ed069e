//! Many runs, and what they covered.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use kapell_core::event::Event;

use crate::{check::Violation, report::Report, tally::Tally};

/// How many violations a summary keeps.
const KEPT: usize = 20;

/// What came of many simulated runs.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// How many runs there were.
    pub runs: u64,
    /// How many runs had how many tasks.
    pub sizes: BTreeMap<u64, u64>,
    /// Steps of the simulated shells.
    pub steps: u64,
    /// Decisions in all journals.
    pub decisions: u64,
    /// Events by type.
    pub events: Tally,
    /// Rejections by kind.
    pub rejections: Tally,
    /// Failed attempts by class.
    pub classes: Tally,
    /// What went wrong, by kind.
    pub faults: Tally,
    /// What followed a fault or a class of failures.
    pub recoveries: BTreeMap<(&'static str, &'static str), u64>,
    /// In how many runs something did not hold.
    pub violations: u64,
    /// The first of them by seed, at most 20.
    pub first: Vec<(u64, Violation)>,
}

/// Why a campaign does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CampaignError {
    /// Something did not hold.
    #[error("{count} of {runs} runs broke a rule; the first is seed {seed}: {}", .violation.0)]
    Violations {
        /// In how many runs.
        count: u64,
        /// Of how many.
        runs: u64,
        /// The first of them.
        seed: u64,
        /// What did not hold in it.
        violation: Violation,
    },
    /// Something that should occur never did.
    #[error("never seen in {runs} runs: {}", .zeros.join(", "))]
    Zeros {
        /// In how many runs.
        runs: u64,
        /// What.
        zeros: Vec<String>,
    },
    /// The runs are too small to show much.
    #[error("half of the runs have fewer than {median} tasks")]
    TooSmall {
        /// The median number of tasks.
        median: u64,
    },
}

impl Summary {
    /// Counts one run in.
    pub fn add(&mut self, report: &Report) {
        self.runs += 1;
        *self.sizes.entry(report.tasks).or_default() += 1;
        self.steps += report.steps;
        self.decisions += report.decisions;
        self.events.merge(&report.events);
        self.rejections.merge(&report.rejections);
        self.classes.merge(&report.classes);
        self.faults.merge(&report.faults);
        add_all(&mut self.recoveries, &report.recoveries);
        if let Some(violation) = &report.violation {
            self.violations += 1;
            self.keep(report.seed, violation.clone());
        }
    }

    fn keep(&mut self, seed: u64, violation: Violation) {
        self.first.push((seed, violation));
        self.first.sort_by_key(|(seed, _)| *seed);
        self.first.truncate(KEPT);
    }

    /// Counts the runs of another summary in.
    pub fn merge(&mut self, other: &Self) {
        self.runs += other.runs;
        add_all(&mut self.sizes, &other.sizes);
        self.steps += other.steps;
        self.decisions += other.decisions;
        self.events.merge(&other.events);
        self.rejections.merge(&other.rejections);
        self.classes.merge(&other.classes);
        self.faults.merge(&other.faults);
        add_all(&mut self.recoveries, &other.recoveries);
        self.violations += other.violations;
        other.first.iter().for_each(|(seed, violation)| self.keep(*seed, violation.clone()));
    }

    /// Returns the median number of tasks of a run.
    #[must_use]
    pub fn tasks_median(&self) -> u64 {
        let mut seen = 0;
        let half = self.sizes.iter().find(|(_, count)| {
            seen += **count;
            seen * 2 >= self.runs
        });
        half.map_or(0, |(size, _)| *size)
    }

    /// Lists what should occur and never did.
    #[must_use]
    pub fn zeros(&self) -> Vec<String> {
        let mut zeros = Vec::new();
        let mut look = |what: &str, tally: &Tally, expected: &[&str]| {
            let missing = expected.iter().filter(|name| tally.of(name) == 0);
            zeros.extend(missing.map(|name| format!("{what} {name}")));
        };
        look("event", &self.events, &Event::NAMES);
        look("rejection", &self.rejections, REJECTIONS);
        look("failure", &self.classes, CLASSES);
        look("fault", &self.faults, &[CRASHES, OTHER_FAULTS].concat());
        let missing = expected_recoveries().filter(|pair| !self.recoveries.contains_key(pair));
        zeros.extend(missing.map(|(fault, recovery)| format!("{recovery} after {fault}")));
        zeros
    }

    /// Tells whether the campaign shows what it should: nothing broken, nothing left out, and runs large enough.
    ///
    /// # Errors
    ///
    /// Fails if a rule was broken in some run, if something that should occur never did, or if the median run has
    /// fewer than 50 tasks.
    pub fn check(&self) -> Result<(), CampaignError> {
        if let Some((seed, violation)) = self.first.first() {
            let (count, runs, seed, violation) = (self.violations, self.runs, *seed, violation.clone());
            return Err(CampaignError::Violations { count, runs, seed, violation });
        }
        let zeros = self.zeros();
        if !zeros.is_empty() {
            return Err(CampaignError::Zeros { runs: self.runs, zeros });
        }
        let median = self.tasks_median();
        if median < 50 {
            return Err(CampaignError::TooSmall { median });
        }
        Ok(())
    }
}

fn add_all<K: Copy + Ord>(into: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
    for (key, count) in from {
        *into.entry(*key).or_default() += count;
    }
}

/// Simulates the runs of all `seeds` on so many threads. The summary does not depend on how many they are.
#[must_use]
pub fn campaign(seeds: Range<u64>, threads: NonZeroUsize) -> Summary {
    /// Seeds that a thread takes at a time.
    const CHUNK: u64 = 64;
    let next = AtomicU64::new(seeds.start);
    let total = Mutex::new(Summary::default());
    let work = || {
        let mut summary = Summary::default();
        loop {
            let from = next.fetch_add(CHUNK, Ordering::Relaxed);
            if from >= seeds.end {
                break;
            }
            (from..(from + CHUNK).min(seeds.end)).for_each(|seed| summary.add(&crate::run(seed)));
        }
        total.lock().unwrap_or_else(PoisonError::into_inner).merge(&summary);
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.get() {
            scope.spawn(work);
        }
    });
    total.into_inner().unwrap_or_else(PoisonError::into_inner)
}

const REJECTIONS: &[&str] = &[
    "not_created",
    "already_created",
    "plan_not_read",
    "over",
    "unknown_task",
    "late",
    "stale_probe",
    "unexpected_move",
    "unknown_gate",
    "already_answered",
    "moot_gate",
    "bad_answer",
    "not_answered",
    "answer_used",
    "already_asking",
    "bad_ranking",
    "no_hand_off",
    "not_paused",
    "parent_paused",
    "already_paused",
    "cancelling",
    "bad_revision",
    "already_begun",
    "merge",
];

const CLASSES: &[&str] = &[
    "transient",
    "rate_limited",
    "quota",
    "timeout",
    "invalid_output",
    "conflict",
    "verification",
    "permission",
    "lost",
    "permanent",
];

const CRASHES: &[&str] = &[
    "crash",
    "crash_before_append",
    "crash_torn_write",
    "crash_before_sync",
    "crash_before_ack",
    "crash_before_effects",
    "crash_amid_effects",
    "disk_full",
    "disk_full_torn_write",
    "sync_error",
];

/// Faults that are no crash.
const OTHER_FAULTS: &[&str] = &[
    "clock_jump",
    "suspend",
    "opened_by_snapshot",
    "foreign_snapshot",
    "slow",
    "silent",
    "flood",
    "output_missing",
    "change_fails_its_checks",
    "bad_change",
    "broken_check",
    "landing_fails",
    "duplicate_result",
    "duplicate_answer",
    "delayed_report",
    "late_result",
    "overrun",
    "wrong_forecast",
    "compensation_fails",
    "compensation_hangs",
    "wrong_answer",
    "meddling",
    "second_thoughts",
    "child_rests",
];

/// What each class of failures must have led to.
const LADDER: &[(&str, &[&str])] = &[
    ("transient", &["retry", "substitute", "give_up", "cancel"]),
    ("rate_limited", &["retry", "park", "substitute", "give_up", "cancel"]),
    ("quota", &["retry", "park", "substitute", "give_up", "cancel"]),
    ("timeout", &["retry", "substitute", "give_up", "cancel"]),
    ("invalid_output", &["retry", "substitute", "give_up", "cancel"]),
    ("conflict", &["again", "give_up", "cancel"]),
    ("verification", &["again", "retry", "substitute", "give_up", "cancel"]),
    ("permission", &["give_up", "cancel"]),
    ("lost", &["again", "ask", "substitute", "give_up", "cancel"]),
    ("permanent", &["substitute", "give_up", "cancel", "drop"]),
];

fn expected_recoveries() -> impl Iterator<Item = (&'static str, &'static str)> {
    let ladder =
        LADDER.iter().flat_map(|(class, recoveries)| recoveries.iter().map(|recovery| (*class, *recovery)));
    let crashes = CRASHES.iter().flat_map(|crash| [(*crash, "adopted"), (*crash, "lost")]);
    let tails = ["crash_torn_write", "crash_before_sync", "disk_full_torn_write", "sync_error"];
    let cut = tails.into_iter().map(|crash| (crash, "tail_cut"));
    let again = ["crash_before_append", "crash_torn_write", "crash_before_sync"];
    let again = again.into_iter().map(|crash| (crash, "created_again"));
    let reloads = [
        ("disk_full", "reloaded_without_it"),
        ("disk_full_torn_write", "reloaded_without_it"),
        ("disk_full_torn_write", "reloaded_with_some"),
        ("sync_error", "reloaded_without_it"),
        ("sync_error", "reloaded_with_some"),
    ];
    ladder.chain(crashes).chain(cut).chain(again).chain(reloads)
}
