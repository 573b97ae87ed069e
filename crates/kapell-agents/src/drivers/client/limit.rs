//! What an attempt may spend, and when it is told that this comes to an end.

use kapell_core::budget::Amount;
use serde::{Deserialize, Serialize};

use super::purse::percent;

/// How much of what it may spend an attempt has spent, in percent, when it is told to come to an end.
const SOFT_PERCENT: u64 = 80;

/// What it is told then.
pub(in crate::drivers) const WIND_DOWN: &str = "The budget of this task is nearly used up. Stop exploring. Bring what \
    you have into a state that holds together, commit it if you use git, and report in a few words what is done and what \
    is left. Then end.";

/// What is noted of that.
pub(in crate::drivers) const WAS_TOLD: &str = "told that its budget is nearly used up";

/// What an attempt may spend, as far as that is watched from outside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Money, in millionths of a US dollar.
    pub usd_micros: Option<u64>,
    /// Tokens of all kinds.
    pub tokens: Option<u64>,
    /// Whether the attempt is ended here when it has spent that. The proxy, where there is one, refuses requests
    /// before it comes to that.
    pub ends: bool,
}

impl Limit {
    /// Returns what share of it `spent` is, in percent: of money or of tokens, whichever is more.
    #[must_use]
    pub(in crate::drivers) fn spent_percent(self, spent: Amount) -> u64 {
        let of = |used: u64, limit: Option<u64>| limit.map_or(0, |limit| percent(used, limit));
        of(spent.usd_micros, self.usd_micros).max(of(spent.tokens, self.tokens))
    }

    /// Tells whether it is time to come to an end.
    #[must_use]
    pub(in crate::drivers) fn is_near(percent: u64) -> bool {
        percent >= SOFT_PERCENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_that_is_nearer_counts() {
        let spent = Amount { usd_micros: 800, tokens: 800 };
        let of = |usd_micros, tokens| Limit { usd_micros, tokens, ends: false }.spent_percent(spent);
        assert_eq!(of(None, None), 0);
        assert_eq!(of(None, Some(1_000)), 80);
        assert_eq!(of(Some(1_600), Some(1_000)), 80);
        assert_eq!(of(Some(900), Some(1_000)), 88);
        assert_eq!(of(Some(0), None), 80_000);
        assert!(Limit::is_near(80) && !Limit::is_near(79));
    }
}
