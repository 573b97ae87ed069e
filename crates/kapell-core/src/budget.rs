//! Budgets: money and tokens are reserved before an attempt starts and settled after it.
//!
//! What a task says that an attempt may cost is *reserved*: it is this attempt's alone. What an attempt of which no task
//! says that is expected to cost is *held*: as long as it is under way, nothing else starts on that money, but what the
//! attempt spends is bounded by what is left of the run, not by what is held.

use std::ops::{Add, AddAssign, Sub, SubAssign};

use serde::{Deserialize, Serialize};

use crate::time::Millis;

/// What an attempt costs: money and tokens together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Amount {
    /// Money, in millionths of a US dollar.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub usd_micros: u64,
    /// Tokens of all kinds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tokens: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self { usd_micros: 0, tokens: 0 };

    /// Tells whether it is nothing.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// Returns what is left of `self` once `other` is taken, each part at least zero.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self {
            usd_micros: self.usd_micros.saturating_sub(other.usd_micros),
            tokens: self.tokens.saturating_sub(other.tokens),
        }
    }

    /// Returns what it says of the kinds of which `other` says nothing.
    fn unless(self, other: Self) -> Self {
        let part = |own: u64, other: u64| if other == 0 { own } else { 0 };
        Self { usd_micros: part(self.usd_micros, other.usd_micros), tokens: part(self.tokens, other.tokens) }
    }
}

impl Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            usd_micros: self.usd_micros.saturating_add(other.usd_micros),
            tokens: self.tokens.saturating_add(other.tokens),
        }
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Amount {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.saturating_sub(other)
    }
}

impl SubAssign for Amount {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

/// The limits of a run. What is `None` is not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Money, in millionths of a US dollar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd_micros: Option<u64>,
    /// Tokens of all kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Time for which the run may be executed; parking and waiting for people do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall: Option<Millis>,
    /// Attempts of model-driven agents at the same time.
    pub agents: u32,
    /// Attempts of everything else at the same time.
    pub jobs: u32,
    /// Memory for attempts of agents at the same time, in MiB, by what each is said to need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u32>,
}

/// Which limit stands in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Exceeded {
    /// Not enough money is left.
    #[error("too little money is left in the budget")]
    Usd,
    /// Not enough tokens are left.
    #[error("too few tokens are left in the budget")]
    Tokens,
    /// The run has been executed for as long as it may.
    #[error("the time of the budget is used up")]
    Wall,
}

/// The account of a run. Invariant: `spent + reserved <= limits`, but for recorded overruns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    limit_usd_micros: Option<u64>,
    limit_tokens: Option<u64>,
    spent: Amount,
    reserved: Amount,
    held: Amount,
    overrun: Amount,
}

impl Ledger {
    /// Opens an account.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self { limit_usd_micros: limits.usd_micros, limit_tokens: limits.tokens, ..Self::default() }
    }

    /// Returns what was paid so far.
    #[must_use]
    pub fn spent(&self) -> Amount {
        self.spent
    }

    /// Returns what is set aside for attempts under way.
    #[must_use]
    pub fn reserved(&self) -> Amount {
        self.reserved
    }

    /// Returns what attempts under way are expected to cost, beyond what is set aside for them.
    #[must_use]
    pub fn held(&self) -> Amount {
        self.held
    }

    /// Returns what nothing more can start on.
    fn taken(&self) -> Amount {
        self.spent + self.reserved + self.held
    }

    /// Returns by how much attempts cost more than was reserved for them, where that broke a limit.
    #[must_use]
    pub fn overrun(&self) -> Amount {
        self.overrun
    }

    /// Tells whether `amount` more may be reserved.
    ///
    /// # Errors
    ///
    /// Names the first limit that stands in the way.
    pub fn fits(&self, amount: Amount) -> Result<(), Exceeded> {
        let total = self.taken() + amount;
        // What asks for nothing of a kind is not held up by a limit of that kind, even one that was overrun.
        if amount.usd_micros > 0 && self.limit_usd_micros.is_some_and(|limit| total.usd_micros > limit) {
            return Err(Exceeded::Usd);
        }
        if amount.tokens > 0 && self.limit_tokens.is_some_and(|limit| total.tokens > limit) {
            return Err(Exceeded::Tokens);
        }
        Ok(())
    }

    /// Tells whether anything is left. What costs nobody knows how much starts only then.
    ///
    /// # Errors
    ///
    /// Names the first limit that is used up.
    pub fn is_left(&self) -> Result<(), Exceeded> {
        let total = self.taken();
        let used_up = |total: u64, limit: Option<u64>| total > 0 && limit.is_some_and(|limit| total >= limit);
        if used_up(total.usd_micros, self.limit_usd_micros) {
            return Err(Exceeded::Usd);
        }
        if used_up(total.tokens, self.limit_tokens) {
            return Err(Exceeded::Tokens);
        }
        Ok(())
    }

    /// Tells whether an attempt may start that reserves `reserve` and, of kinds of which that says nothing, is expected to
    /// cost `forecast`.
    ///
    /// Where nothing is reserved or held it may, whatever is expected: one can always run, on what is left. A forecast
    /// that is wrong, or a budget that was too small from the start, stops nothing; only [`Ledger::is_left`] does.
    ///
    /// # Errors
    ///
    /// Names the first limit that stands in the way until attempts under way have settled.
    pub(crate) fn expects(&self, reserve: Amount, forecast: Amount) -> Result<(), Exceeded> {
        match (self.reserved + self.held).is_zero() {
            true => Ok(()),
            false => self.fits(reserve + forecast.unless(reserve)),
        }
    }

    /// Returns what is held for an attempt that reserves `reserve` and is expected to cost `forecast`: something of each
    /// kind that is limited and of which `reserve` says nothing, and no more than is there.
    #[must_use]
    pub(crate) fn hold_for(&self, reserve: Amount, forecast: Amount) -> Amount {
        let taken = self.taken();
        let part = |expected: u64, taken: u64, limit: Option<u64>| {
            limit.map_or(0, |limit| expected.min(limit.saturating_sub(taken)))
        };
        // Of a kind that is reserved nothing is held besides.
        let forecast = forecast.unless(reserve);
        Amount {
            usd_micros: part(forecast.usd_micros, taken.usd_micros, self.limit_usd_micros),
            tokens: part(forecast.tokens, taken.tokens, self.limit_tokens),
        }
    }

    /// Tells whether something of a kind that is limited is not said in `reserve`.
    #[must_use]
    pub(crate) fn shares(&self, reserve: Amount) -> bool {
        self.limit_usd_micros.is_some() && reserve.usd_micros == 0
            || self.limit_tokens.is_some() && reserve.tokens == 0
    }

    /// Returns `reserve` with half of what is left, rounded up, of each limited kind of which it says nothing.
    #[must_use]
    pub(crate) fn share(&self, reserve: Amount) -> Amount {
        let total = self.taken();
        let share = |said: u64, total: u64, limit: Option<u64>| match (said, limit) {
            (0, Some(limit)) => limit.saturating_sub(total).div_ceil(2),
            _ => said,
        };
        Amount {
            usd_micros: share(reserve.usd_micros, total.usd_micros, self.limit_usd_micros),
            tokens: share(reserve.tokens, total.tokens, self.limit_tokens),
        }
    }

    /// Returns the limit of which the smallest part is left; nothing if neither money nor tokens are limited.
    #[must_use]
    pub fn scarcest(&self) -> Option<Exceeded> {
        let total = self.spent + self.reserved;
        let left = |total: u64, limit: Option<u64>| {
            let limit = limit?;
            Some(u128::from(limit.saturating_sub(total)) * u128::from(u64::MAX) / u128::from(limit.max(1)))
        };
        let usd = left(total.usd_micros, self.limit_usd_micros).map(|left| (left, Exceeded::Usd));
        let tokens = left(total.tokens, self.limit_tokens).map(|left| (left, Exceeded::Tokens));
        usd.into_iter().chain(tokens).min_by_key(|(left, _)| *left).map(|(_, exceeded)| exceeded)
    }

    /// Puts new limits in force; what is spent and reserved stays.
    pub(crate) fn set_limits(&mut self, limits: &Limits) {
        self.limit_usd_micros = limits.usd_micros;
        self.limit_tokens = limits.tokens;
    }

    /// Sets `amount` aside. The caller has asked [`Ledger::fits`].
    pub fn reserve(&mut self, amount: Amount) {
        self.reserved += amount;
    }

    /// Holds `amount`, as long as the attempt is under way that is expected to cost it.
    pub(crate) fn hold(&mut self, amount: Amount) {
        self.held += amount;
    }

    /// Gives `held` back, once the attempt has settled.
    pub(crate) fn release(&mut self, held: Amount) {
        #[cfg(kapell_planted)]
        if crate::planted::is("forecast_not_returned") {
            return;
        }
        self.held -= held;
    }

    /// Gives `reserved` back and books what was really `spent`.
    pub fn settle(&mut self, reserved: Amount, spent: Amount) {
        #[cfg(kapell_planted)]
        if crate::planted::is("reservation_not_returned") {
            self.spent += spent;
            return;
        }
        #[cfg(kapell_planted)]
        if crate::planted::is("reservation_returned_twice") {
            self.reserved -= reserved;
        }
        self.reserved -= reserved;
        self.spent += spent;
        let total = self.spent + self.reserved;
        let over = |total: u64, limit: Option<u64>| limit.map_or(0, |limit| total.saturating_sub(limit));
        self.overrun.usd_micros = self.overrun.usd_micros.max(over(total.usd_micros, self.limit_usd_micros));
        self.overrun.tokens = self.overrun.tokens.max(over(total.tokens, self.limit_tokens));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_or_spent_is_not_there_for_others() {
        let limits = Limits { usd_micros: Some(10), tokens: Some(100), ..Limits::default() };
        let mut ledger = Ledger::new(&limits);
        let six = Amount { usd_micros: 6, tokens: 0 };
        assert_eq!(ledger.fits(six), Ok(()));
        ledger.reserve(six);
        assert_eq!(ledger.fits(six), Err(Exceeded::Usd));
        assert_eq!(ledger.fits(Amount { usd_micros: 4, tokens: 101 }), Err(Exceeded::Tokens));
        ledger.settle(six, Amount { usd_micros: 1, tokens: 5 });
        assert_eq!(ledger.reserved(), Amount::ZERO);
        assert_eq!(ledger.fits(Amount { usd_micros: 9, tokens: 95 }), Ok(()));
        assert_eq!(ledger.overrun(), Amount::ZERO);
    }

    #[test]
    fn the_scarcest_limit_is_the_one_with_the_smallest_part_left() {
        let limits = Limits { usd_micros: Some(10), tokens: Some(100), ..Limits::default() };
        let mut ledger = Ledger::new(&limits);
        // 8 of 10 and 50 of 100 are left: more in number, and less of it.
        ledger.reserve(Amount { usd_micros: 2, tokens: 50 });
        assert_eq!(ledger.scarcest(), Some(Exceeded::Tokens));
        ledger.reserve(Amount { usd_micros: 5, tokens: 0 });
        assert_eq!(ledger.scarcest(), Some(Exceeded::Usd));
        assert_eq!(Ledger::new(&Limits::default()).scarcest(), None);
    }

    #[test]
    fn a_limit_may_be_reached_and_not_passed() {
        let limits = Limits { usd_micros: Some(10), tokens: Some(100), ..Limits::default() };
        let mut ledger = Ledger::new(&limits);
        let all = Amount { usd_micros: 10, tokens: 100 };
        assert_eq!(ledger.is_left(), Ok(()));
        assert_eq!(ledger.fits(all), Ok(()));
        assert_eq!(ledger.fits(all + Amount { usd_micros: 1, tokens: 0 }), Err(Exceeded::Usd));
        assert_eq!(ledger.fits(all + Amount { usd_micros: 0, tokens: 1 }), Err(Exceeded::Tokens));
        ledger.reserve(Amount { usd_micros: 9, tokens: 99 });
        assert_eq!(ledger.is_left(), Ok(()));
        ledger.reserve(Amount { usd_micros: 0, tokens: 1 });
        assert_eq!(ledger.is_left(), Err(Exceeded::Tokens));
        ledger.reserve(Amount { usd_micros: 1, tokens: 0 });
        assert_eq!(ledger.is_left(), Err(Exceeded::Usd));
        assert_eq!(ledger.reserved(), all);
        ledger.settle(all, Amount { usd_micros: 2, tokens: 100 });
        assert_eq!(
            (ledger.spent(), ledger.reserved()),
            (Amount { usd_micros: 2, tokens: 100 }, Amount::ZERO)
        );
        assert_eq!(ledger.is_left(), Err(Exceeded::Tokens));
        ledger.set_limits(&Limits::default());
        assert_eq!(ledger.is_left(), Ok(()));
        // A budget of nothing does not keep out what costs nothing.
        assert_eq!(Ledger::new(&Limits { usd_micros: Some(0), ..limits }).is_left(), Ok(()));
    }

    #[test]
    fn amounts_are_never_below_zero_nor_beyond_their_range() {
        let (small, large) =
            (Amount { usd_micros: 1, tokens: 5 }, Amount { usd_micros: 4, tokens: u64::MAX });
        assert_eq!(small - large, Amount::ZERO);
        assert_eq!(large - small, Amount { usd_micros: 3, tokens: u64::MAX - 5 });
        assert_eq!(small + large, Amount { usd_micros: 5, tokens: u64::MAX });
        let mut sum = small;
        sum += small;
        assert_eq!(sum, Amount { usd_micros: 2, tokens: 10 });
        sum -= small;
        assert_eq!(sum, small);
        assert!(!small.is_zero() && Amount::ZERO.is_zero());
        assert!(!Amount { usd_micros: 0, tokens: 1 }.is_zero());
    }

    #[test]
    fn what_is_limited_and_not_said_is_shared() {
        let amount = |usd_micros, tokens| Amount { usd_micros, tokens };
        let both = Ledger::new(&Limits { usd_micros: Some(10), tokens: Some(100), ..Limits::default() });
        let tokens = Ledger::new(&Limits { tokens: Some(100), ..Limits::default() });
        for (reserve, of_both, of_tokens) in [
            (amount(0, 0), true, true),
            (amount(0, 1), true, false),
            (amount(1, 0), true, true),
            (amount(1, 1), false, false),
        ] {
            assert_eq!((both.shares(reserve), tokens.shares(reserve)), (of_both, of_tokens), "{reserve:?}");
        }
        assert!(!Ledger::new(&Limits::default()).shares(Amount::ZERO));
    }

    #[test]
    fn what_is_held_bounds_what_starts_and_nothing_else() {
        let usd = |usd_micros| Amount { usd_micros, tokens: 0 };
        let mut ledger = Ledger::new(&Limits { usd_micros: Some(10), ..Limits::default() });
        // One may start whatever it is expected to cost; no more is held than there is, and nothing that is unlimited.
        assert_eq!(ledger.expects(Amount::ZERO, usd(40)), Ok(()));
        assert_eq!(ledger.hold_for(Amount::ZERO, Amount { usd_micros: 40, tokens: 7 }), usd(10));
        // What a task says itself is not expected besides.
        assert_eq!(ledger.hold_for(usd(3), usd(4)), Amount::ZERO);
        ledger.hold(usd(6));
        assert_eq!(ledger.expects(Amount::ZERO, usd(5)), Err(Exceeded::Usd));
        assert_eq!(ledger.expects(Amount::ZERO, usd(4)), Ok(()));
        assert_eq!(ledger.expects(usd(4), usd(5)), Ok(()));
        assert_eq!((ledger.fits(usd(5)), ledger.fits(usd(4))), (Err(Exceeded::Usd), Ok(())));
        assert_eq!(ledger.hold_for(Amount::ZERO, usd(5)), usd(4));
        assert_eq!((ledger.share(Amount::ZERO), ledger.reserved()), (usd(2), Amount::ZERO));
        ledger.hold(usd(4));
        assert_eq!(ledger.is_left(), Err(Exceeded::Usd));
        // It may cost more than is held for it: that is no overrun.
        ledger.settle(Amount::ZERO, usd(8));
        ledger.release(usd(6));
        assert_eq!((ledger.held(), ledger.spent(), ledger.overrun()), (usd(4), usd(8), Amount::ZERO));
        ledger.release(usd(4));
        assert_eq!((ledger.held(), ledger.is_left()), (Amount::ZERO, Ok(())));
    }

    #[test]
    fn an_overrun_is_remembered_and_stops_paid_work_only() {
        let mut ledger = Ledger::new(&Limits { usd_micros: Some(10), ..Limits::default() });
        ledger.reserve(Amount { usd_micros: 10, tokens: 0 });
        ledger.settle(Amount { usd_micros: 10, tokens: 0 }, Amount { usd_micros: 13, tokens: 0 });
        assert_eq!(ledger.overrun(), Amount { usd_micros: 3, tokens: 0 });
        assert_eq!(ledger.fits(Amount { usd_micros: 1, tokens: 0 }), Err(Exceeded::Usd));
        assert_eq!(ledger.fits(Amount { usd_micros: 0, tokens: 7 }), Ok(()));
    }
}
