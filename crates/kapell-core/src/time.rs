//! Time as the decider sees it: it comes in as an argument, and only as whole milliseconds.

use serde::{Deserialize, Serialize};

/// A length of time in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// Makes a length of whole seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Returns the length in seconds.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "estimates, not accounts")]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

impl From<Millis> for std::time::Duration {
    fn from(length: Millis) -> Self {
        Self::from_millis(length.0)
    }
}

/// A point on the run's own clock: milliseconds for which some process has executed the run.
///
/// It is boot-time clock since open plus the run's recorded total, so it never goes back and
/// no jump of the wall clock moves it. Timeouts and backoff are decided on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Elapsed(pub u64);

impl Elapsed {
    /// Returns the point `length` after this one.
    #[must_use]
    pub const fn after(self, length: Millis) -> Self {
        Self(self.0.saturating_add(length.0))
    }

    /// Returns how long after `earlier` this point is; zero if it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

/// A point of the wall clock: milliseconds since 1970-01-01 00:00:00 UTC.
///
/// For deadlines, stated resets of quotas, and people. It orders nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Wall(pub i64);

impl Wall {
    /// Returns the point `length` after this one.
    #[must_use]
    pub const fn after(self, length: Millis) -> Self {
        Self(self.0.saturating_add_unsigned(length.0))
    }
}

/// The time of a command, as its shell read it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// What the wall clock said.
    pub wall: Wall,
    /// How long the run has been executed so far.
    pub elapsed: Elapsed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_points_add_up_and_do_not_overflow() {
        assert_eq!(Millis::from_secs(2), Millis(2000));
        assert!((Millis(1500).as_secs_f64() - 1.5).abs() < f64::EPSILON);
        assert_eq!(std::time::Duration::from(Millis(7)).as_millis(), 7);
        assert_eq!(Elapsed(5).after(Millis(6)), Elapsed(11));
        assert_eq!(Elapsed(11).since(Elapsed(5)), Millis(6));
        assert_eq!(Elapsed(5).since(Elapsed(11)), Millis(0));
        assert_eq!(Elapsed(u64::MAX).after(Millis(1)), Elapsed(u64::MAX));
        assert_eq!(Wall(-5).after(Millis(6)), Wall(1));
        assert_eq!(Wall(i64::MAX - 1).after(Millis(u64::MAX)), Wall(i64::MAX));
    }
}
