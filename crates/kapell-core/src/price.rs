//! What tokens cost: four kinds of them, a rate for each, and the sum in millionths of a dollar.

use std::ops::{Add, AddAssign};

use serde::{Deserialize, Serialize};

use crate::budget::Amount;

/// Tokens of four kinds that do not overlap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tokens {
    /// Read afresh.
    #[serde(default)]
    pub input: u64,
    /// Read from the provider's cache.
    #[serde(default)]
    pub cache_read: u64,
    /// Read afresh and put into the provider's cache.
    #[serde(default)]
    pub cache_write: u64,
    /// Written, thoughts included.
    #[serde(default)]
    pub output: u64,
}

impl Tokens {
    /// Returns how many were read, by whatever way.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.input.saturating_add(self.cache_read).saturating_add(self.cache_write)
    }

    /// Returns how many there are of all kinds.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.read().saturating_add(self.output)
    }

    /// Returns the larger of each kind, for totals that grow while a reply is written.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            input: self.input.max(other.input),
            cache_read: self.cache_read.max(other.cache_read),
            cache_write: self.cache_write.max(other.cache_write),
            output: self.output.max(other.output),
        }
    }
}

impl Add for Tokens {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            cache_read: self.cache_read.saturating_add(other.cache_read),
            cache_write: self.cache_write.saturating_add(other.cache_write),
            output: self.output.saturating_add(other.output),
        }
    }
}

impl AddAssign for Tokens {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// Millionths of a dollar for a million tokens, by kind: 3 dollars for a million are 3,000,000.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rate {
    /// Of tokens read afresh.
    pub input: u64,
    /// Of tokens read from a cache.
    pub cache_read: u64,
    /// Of tokens put into a cache.
    pub cache_write: u64,
    /// Of tokens written.
    pub output: u64,
}

impl Rate {
    /// Returns what `tokens` cost, in millionths of a dollar, rounded up.
    #[must_use]
    pub fn cost(&self, tokens: Tokens) -> u64 {
        self.cost_with_hour(tokens, 0)
    }

    /// Returns what `tokens` cost where `hour` of those put into a cache are kept there for an hour, and not for five
    /// minutes.
    #[must_use]
    pub fn cost_with_hour(&self, tokens: Tokens, hour: u64) -> u64 {
        let hour = hour.min(tokens.cache_write);
        let kinds = [
            (self.input, tokens.input),
            (self.cache_read, tokens.cache_read),
            (self.cache_write, tokens.cache_write - hour),
            (self.cache_write_hour(), hour),
            (self.output, tokens.output),
        ];
        // Each product fits: 64 bits by 64 bits. Five of them may not, and then nothing is cheap any more.
        let sum = kinds
            .iter()
            .fold(0_u128, |sum, (rate, count)| sum.saturating_add(u128::from(*rate) * u128::from(*count)));
        u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }

    /// Returns the rate of tokens put into a cache for an hour: twice that of tokens read afresh.
    ///
    /// Source: Anthropic, "Prompt caching", pricing (2026-11); nobody else offers it.
    #[must_use]
    pub fn cache_write_hour(&self) -> u64 {
        self.input.saturating_mul(2).max(self.cache_write)
    }

    /// Returns the rate of the dearest way to read a token.
    #[must_use]
    pub fn dearest_read(&self) -> u64 {
        self.input.max(self.cache_read).max(self.cache_write)
    }
}

/// The price of one model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Price {
    /// Its rates.
    pub rate: Rate,
    /// Its rates for requests that read more than so many tokens, for all tokens of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<(u64, Rate)>,
    /// The most tokens that it writes in one reply, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_max: Option<u64>,
}

impl Price {
    /// Returns what a request cost.
    #[must_use]
    pub fn cost(&self, tokens: Tokens) -> u64 {
        self.cost_with_hour(tokens, 0)
    }

    /// Returns what a request cost that put `hour` of its tokens into a cache for an hour.
    #[must_use]
    pub fn cost_with_hour(&self, tokens: Tokens, hour: u64) -> u64 {
        match self.above {
            Some((limit, rate)) if tokens.read() > limit => rate.cost_with_hour(tokens, hour),
            _ => self.rate.cost_with_hour(tokens, hour),
        }
    }

    /// Returns the price of a request that may put all that it reads into a cache for an hour, for what it costs at worst.
    #[must_use]
    pub fn caching_for_an_hour(self) -> Self {
        let of = |rate: Rate| Rate { cache_write: rate.cache_write_hour(), ..rate };
        Self { rate: of(self.rate), above: self.above.map(|(limit, rate)| (limit, of(rate))), ..self }
    }

    /// Returns how many tokens a reply can have so that its request, which reads at most `read`, costs at most
    /// `usd_micros`.
    #[must_use]
    pub fn writes_within(&self, read: u64, usd_micros: u64) -> u64 {
        let within = |rate: &Rate| {
            let money = u128::from(usd_micros) * 1_000_000;
            let left = money.saturating_sub(u128::from(read) * u128::from(rate.dearest_read()));
            left.checked_div(u128::from(rate.output))
                .map_or(u64::MAX, |most| u64::try_from(most).unwrap_or(u64::MAX))
        };
        let above = self.above.filter(|(limit, _)| read > *limit).map_or(u64::MAX, |(_, rate)| within(&rate));
        within(&self.rate).min(above)
    }

    /// Returns the most that a request can cost that reads and writes at most so many tokens.
    #[must_use]
    pub fn worst(&self, read: u64, output: u64) -> Amount {
        let dearest = |rate: &Rate| {
            let all = Rate { input: rate.dearest_read(), output: rate.output, ..Rate::default() };
            all.cost(Tokens { input: read, output, ..Tokens::default() })
        };
        let above = self.above.filter(|(limit, _)| read > *limit).map_or(0, |(_, rate)| dearest(&rate));
        Amount { usd_micros: dearest(&self.rate).max(above), tokens: read.saturating_add(output) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate =
        Rate { input: 3_000_000, cache_read: 300_000, cache_write: 3_750_000, output: 15_000_000 };

    fn tokens(input: u64, cache_read: u64, cache_write: u64, output: u64) -> Tokens {
        Tokens { input, cache_read, cache_write, output }
    }

    #[test]
    fn every_kind_has_its_rate_and_the_sum_is_rounded_up_once() {
        assert_eq!(RATE.cost(tokens(1_000_000, 1_000_000, 1_000_000, 1_000_000)), 22_050_000);
        assert_eq!(RATE.cost(tokens(0, 1, 0, 0)), 1);
        assert_eq!(RATE.cost(tokens(0, 10, 0, 0)), 3);
        assert_eq!(RATE.cost(Tokens::default()), 0);
        assert_eq!(RATE.cost(tokens(u64::MAX, u64::MAX, u64::MAX, u64::MAX)), u64::MAX);
    }

    #[test]
    fn tokens_add_up_by_kind_and_the_larger_of_each_kind_is_kept() {
        let (one, other) = (tokens(1, 20, 3, 40), tokens(10, 2, 30, 4));
        let mut sum = one;
        sum += other;
        assert_eq!(sum, tokens(11, 22, 33, 44));
        assert_eq!(sum, one + other);
        assert_eq!(one.max(other), tokens(10, 20, 30, 40));
    }

    #[test]
    fn what_is_cached_for_an_hour_costs_twice_what_is_read_afresh() {
        assert_eq!(RATE.cost_with_hour(tokens(0, 0, 1_000_000, 0), 400_000), 600_000 * 15 / 4 + 400_000 * 6);
        assert_eq!(
            RATE.cost_with_hour(tokens(0, 0, 10, 0), 1_000),
            RATE.cost_with_hour(tokens(0, 0, 10, 0), 10)
        );
        // Beyond a length it is dearer, but so little that the dearest of the two tells whether both are meant.
        let dearer = Rate { input: RATE.input + 10, ..RATE };
        let price = Price { rate: RATE, above: Some((1_000, dearer)), output_max: None };
        for read in [0, 7, 1_000, 1_001, 1_000_000] {
            let cost = price.cost_with_hour(tokens(0, 0, read, 3), read);
            assert_eq!(price.caching_for_an_hour().worst(read, 3).usd_micros, cost);
        }
    }

    #[test]
    fn nothing_costs_more_than_its_worst_case() {
        let double =
            Rate { input: 6_000_000, cache_read: 600_000, cache_write: 7_500_000, output: 22_500_000 };
        let price = Price { rate: RATE, above: Some((1_000, double)), output_max: None };
        for read in [0, 1, 999, 1_000, 1_001, 50_000] {
            for output in [0, 1, 4_096] {
                let worst = price.worst(read, output);
                for split in
                    [tokens(read, 0, 0, output), tokens(0, read, 0, output), tokens(0, 0, read, output)]
                {
                    assert!(price.cost(split) <= worst.usd_micros, "{split:?}");
                    assert_eq!(split.total(), worst.tokens);
                }
            }
        }
        assert_eq!(price.cost(tokens(1_001, 0, 0, 0)), 6_006);
        for (read, usd) in [(100, 5_000), (1_001, 50_000), (0, 0), (10_000, 1)] {
            let most = price.writes_within(read, usd);
            assert!(most == 0 || price.worst(read, most).usd_micros <= usd, "{read} {usd}");
            assert!(price.worst(read, most + 1).usd_micros > usd, "{read} {usd}");
        }
    }
}
