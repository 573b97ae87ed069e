//! Seeded randomness: all that a simulated world leaves to chance.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

/// A stream of chances that depends on nothing but its seed.
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Draws a number below `n`; 0 if there is none.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        let wide = u128::from(self.0.next_u64()) * u128::from(n);
        // The high half of the product is below `n`.
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// Draws a number between `low` and `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    pub(crate) fn small(&mut self, low: u32, high: u32) -> u32 {
        u32::try_from(self.between(u64::from(low), u64::from(high))).unwrap_or(high)
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// Tells whether something happens that does so `permille` of a thousand times.
    pub(crate) fn chance(&mut self, permille: u32) -> bool {
        permille > 0 && self.below(1000) < u64::from(permille)
    }

    /// Draws an element of a list that is not empty.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.index(from.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_within_bounds_and_reach_them() {
        let mut dice = Dice::new(1);
        let draws: Vec<u64> = (0..2000).map(|_| dice.between(3, 7)).collect();
        for value in 3..=7 {
            assert!(draws.contains(&value));
        }
        assert!(draws.iter().all(|draw| (3..=7).contains(draw)));
        assert!((0..1000).all(|_| !dice.chance(0) && dice.chance(1000)));
    }
}
