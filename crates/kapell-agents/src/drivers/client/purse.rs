//! What attempts of one run may spend together that speak to their providers themselves.
//!
//! Nobody stands between them and their providers, so each is read along. When all together have spent what was left,
//! none of them goes on: what the run then costs beyond its budget is what was under way.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use kapell_core::{budget::Amount, id::RunId};

use crate::lock::lock;
use crate::proxy::{Allowance, told_again};

/// What is left of runs, and what their attempts have spent of it.
#[derive(Debug, Clone, Default)]
pub struct Purses(Arc<Mutex<HashMap<RunId, State>>>);

/// What is left of one run.
#[derive(Debug, Clone)]
pub struct Purse {
    run: RunId,
    all: Purses,
}

/// Somebody who spends from a purse. What it has spent stays spent when it is dropped.
#[derive(Debug)]
pub(crate) struct Spender {
    purse: Purse,
    spent: Amount,
}

/// Invariant: `spent` is the sum over all spenders that there ever were.
#[derive(Debug, Default)]
struct State {
    usd_micros: Option<u64>,
    tokens: Option<u64>,
    /// What the run may spend in all, money and tokens, as it was last told.
    limits: (Option<u64>, Option<u64>),
    spent: Amount,
    /// What of it spenders spent that are gone: whoever says what is left may know of it.
    gone: Amount,
    /// How many spend from it right now.
    spenders: usize,
    /// Whether nothing more of the run will be started.
    is_over: bool,
}

impl Purses {
    /// Opens the purse of a run, of which so much is left besides what is spent from the purse right now. A limit of the
    /// run that was raised since the last time counts for all that spend from it.
    #[must_use]
    pub fn open(&self, run: RunId, left: Allowance) -> Purse {
        let mut states = self.lock();
        let state = states.entry(run).or_default();
        // One that was given up goes on.
        state.is_over = false;
        // Who tells it knows what was spent by those that are gone, or is about to.
        let with = |left: Option<u64>, gone: u64| left.map(|left| left.saturating_add(gone));
        let (usd, tokens) =
            (with(left.usd_micros, state.gone.usd_micros), with(left.tokens, state.gone.tokens));
        state.usd_micros = told_again(state.usd_micros, usd, (state.limits.0, left.limit_usd_micros));
        state.tokens = told_again(state.tokens, tokens, (state.limits.1, left.limit_tokens));
        state.limits = (left.limit_usd_micros, left.limit_tokens);
        drop(states);
        Purse { run, all: self.clone() }
    }

    /// Drops the purse of a run of which nothing more will be started, as soon as nobody spends from it.
    pub fn let_go(&self, run: RunId) {
        let mut states = self.lock();
        if let Some(state) = states.get_mut(&run) {
            state.is_over = true;
            if state.spenders == 0 {
                states.remove(&run);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, State>> {
        lock(&self.0)
    }
}

impl Purse {
    /// Returns what share of what was there is spent, in percent.
    #[must_use]
    pub fn percent(&self) -> u64 {
        let states = self.all.lock();
        let Some(state) = states.get(&self.run) else { return 0 };
        let part = |spent: u64, limit: Option<u64>| limit.map_or(0, |limit| percent(spent, limit));
        part(state.spent.usd_micros, state.usd_micros).max(part(state.spent.tokens, state.tokens))
    }

    pub(crate) fn spender(&self) -> Spender {
        if let Some(state) = self.all.lock().get_mut(&self.run) {
            state.spenders += 1;
        }
        Spender { purse: self.clone(), spent: Amount::ZERO }
    }
}

impl Spender {
    /// Books what it has spent so far, all in all.
    pub(crate) fn note(&mut self, spent: Amount) {
        if let Some(state) = self.purse.all.lock().get_mut(&self.purse.run) {
            state.spent = state.spent - self.spent + spent;
        }
        self.spent = spent;
    }

    pub(crate) fn purse(&self) -> &Purse {
        &self.purse
    }
}

impl Drop for Spender {
    fn drop(&mut self) {
        let mut states = self.purse.all.lock();
        if let Some(state) = states.get_mut(&self.purse.run) {
            state.gone += self.spent;
            state.spenders = state.spenders.saturating_sub(1);
            if state.is_over && state.spenders == 0 {
                states.remove(&self.purse.run);
            }
        }
    }
}

/// Returns what share of `limit` is used, in percent.
pub(super) fn percent(used: u64, limit: u64) -> u64 {
    used.saturating_mul(100) / limit.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(tokens: u64) -> Amount {
        Amount { tokens, ..Amount::ZERO }
    }

    fn left(usd_micros: Option<u64>, tokens: Option<u64>) -> Allowance {
        Allowance { usd_micros, tokens, ..Allowance::default() }
    }

    #[test]
    fn what_one_spends_is_gone_for_all_of_its_run() {
        let purses = Purses::default();
        let run = RunId([1; 16]);
        let (one, two) = (purses.open(run, left(None, Some(100))), purses.open(run, left(None, Some(100))));
        let (mut first, mut second) = (one.spender(), two.spender());
        first.note(tokens(40));
        second.note(tokens(30));
        // What a client says later counts in the place of what it said before.
        first.note(tokens(50));
        assert_eq!((one.percent(), first.purse().percent()), (80, 80));
        drop(first);
        assert_eq!(two.percent(), 80);
        assert_eq!(purses.open(RunId([2; 16]), left(None, Some(100))).percent(), 0);
        assert_eq!(purses.open(RunId([3; 16]), left(None, None)).percent(), 0);
    }

    #[test]
    fn the_purse_of_a_run_goes_with_its_last_spender() {
        let purses = Purses::default();
        let run = RunId([1; 16]);
        let purse = purses.open(run, left(None, Some(100)));
        let (mut first, second) = (purse.spender(), purse.spender());
        first.note(tokens(40));
        purses.let_go(run);
        drop(purses.open(run, left(None, Some(100))));
        assert!(!purses.lock()[&run].is_over, "it goes on");
        purses.let_go(run);
        drop(second);
        assert_eq!(purse.percent(), 40);
        drop(first);
        assert!(purses.lock().is_empty());
        // Whoever comes too late makes none anew.
        purse.spender().note(tokens(1));
        assert!(purses.lock().is_empty());
        drop(purses.open(run, left(None, Some(100))));
        purses.let_go(run);
        assert!(purses.lock().is_empty());
    }

    #[test]
    fn what_is_left_is_told_with_or_without_what_has_just_ended() {
        let purses = Purses::default();
        let run = RunId([1; 16]);
        let spend =
            |purse: Purse, spent: u64| purse.spender().note(Amount { usd_micros: spent, ..Amount::ZERO });
        spend(purses.open(run, left(Some(100), None)), 60);
        // Its end is booked by then, or is not yet.
        assert_eq!(purses.open(run, left(Some(40), None)).percent(), 60);
        assert_eq!(purses.open(run, left(Some(100), None)).percent(), 60);
        // Something else has spent of it.
        assert_eq!(purses.open(run, left(Some(10), None)).percent(), 85);
    }

    #[test]
    fn a_limit_that_is_raised_is_there_for_those_that_spend_already_too() {
        let purses = Purses::default();
        let run = RunId([1; 16]);
        let told = |limit: u64, tokens: u64| Allowance {
            limit_tokens: Some(limit),
            tokens: Some(tokens),
            ..Allowance::default()
        };
        let first = purses.open(run, told(200, 200));
        let mut spender = first.spender();
        spender.note(tokens(150));
        // What the first one has spent is set off once more only when it has ended.
        assert_eq!(purses.open(run, told(600, 600)).percent(), 25);
        assert_eq!(first.percent(), 25);
        drop(spender);
        assert_eq!(purses.open(run, told(600, 450)).percent(), 25);
        // The same limit once more is none that was raised, and one that was taken back is less.
        assert_eq!(purses.open(run, told(600, 600)).percent(), 25);
        assert_eq!(purses.open(run, told(300, 150)).percent(), 50);
    }
}
