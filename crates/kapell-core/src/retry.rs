//! Failures: their classes, and how long to wait before the next attempt.

use serde::{Deserialize, Serialize};

use crate::{
    id::{AttemptNo, TaskId},
    time::{Elapsed, Millis},
};

/// How the message of a failure begins that kapell brought about itself, by not letting a request to a model pass.
pub const OWN_REFUSAL: &str = "kapell refused a request: ";

/// The message of an attempt that was stopped because the time of its run was over.
pub const OUT_OF_TIME: &str = "stopped, for the run's time is over";

/// Why an attempt failed; each class leads to a recovery of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// It may work next time: a crash, a broken connection, a failing command.
    Transient,
    /// The provider asks for a pause.
    RateLimited,
    /// The provider's quota is used up until it is reset.
    Quota,
    /// It took longer than it may.
    Timeout,
    /// It said it was done, but what it gave is not what was asked for.
    InvalidOutput,
    /// Its change does not fit what has landed meanwhile.
    Conflict,
    /// An acceptance check failed on its result.
    Verification,
    /// It was not allowed to do what it needs.
    Permission,
    /// kapell was not there when it ended, and no record of its end was left.
    Lost,
    /// Its next request could have cost more than is left of the run's budget: the run pauses for more.
    Budget,
    /// It can never work this way.
    Permanent,
}

impl FailureClass {
    /// All classes.
    pub const ALL: [Self; 11] = [
        Self::Transient,
        Self::RateLimited,
        Self::Quota,
        Self::Timeout,
        Self::InvalidOutput,
        Self::Conflict,
        Self::Verification,
        Self::Permission,
        Self::Lost,
        Self::Budget,
        Self::Permanent,
    ];

    /// Tells whether a failure of this class uses up one of the task's attempts.
    ///
    /// Those that are not the task's own fault do not: a full provider, a killed kapell, and a budget that is too small.
    #[must_use]
    pub fn counts(self) -> bool {
        !matches!(self, Self::RateLimited | Self::Quota | Self::Lost | Self::Budget)
    }

    /// Tells whether another attempt by the same agent can help; with a budget that is too small, one with more of it.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        !matches!(self, Self::Permission | Self::Permanent)
    }
}

impl std::fmt::Display for FailureClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Transient => "transient",
            Self::RateLimited => "rate limited",
            Self::Quota => "quota",
            Self::Timeout => "timeout",
            Self::InvalidOutput => "invalid output",
            Self::Conflict => "conflict",
            Self::Verification => "verification",
            Self::Permission => "permission",
            Self::Lost => "lost",
            Self::Budget => "budget",
            Self::Permanent => "permanent",
        })
    }
}

/// For how long a task is tried again whose attempts fail by no fault of its own, and so use up none of them.
///
/// Each bound is on what happens in a row: any other end of an attempt starts it anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Persistence {
    /// Lost attempts in a row with which a task is given up. A task that asks before it is tried again has no need
    /// of it.
    pub lost: u32,
    /// How long after the first answer that asks for a pause one more leads to giving up, on the run's own clock.
    pub rate_limited: Millis,
    /// The same for a quota that is used up. Also the longest that kapell waits for a stated reset: clocks can be
    /// wrong by years.
    pub quota: Millis,
}

impl Default for Persistence {
    /// Twenty losses: one kapell that dies as soon as a task starts does so every time, and a person who restarts it
    /// sees that earlier. Six hours are longer than the windows of the rate limits of model providers, and eight days
    /// than their weekly quotas.
    fn default() -> Self {
        Self { lost: 20, rate_limited: Millis::from_secs(6 * 3600), quota: Millis::from_secs(8 * 24 * 3600) }
    }
}

impl Persistence {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns for how long answers of `class` in a row are borne.
    #[must_use]
    pub fn of(&self, class: FailureClass) -> Millis {
        match class {
            FailureClass::Quota => self.quota,
            _ => self.rate_limited,
        }
    }
}

/// What happened to a task in a row that was no fault of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setback {
    /// Lost attempts.
    pub lost: u32,
    /// When its provider first asked for a pause.
    pub limited_since: Option<Elapsed>,
}

/// How often a task is tried, and how long apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Retry {
    /// Attempts in all that may fail by their own fault. At least 1.
    pub attempts: u32,
    /// The shortest pause between two attempts.
    pub backoff_min: Millis,
    /// The longest pause between two attempts.
    pub backoff_max: Millis,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 1, backoff_min: Millis::from_secs(1), backoff_max: Millis::from_secs(60) }
    }
}

impl Retry {
    /// Returns how long to wait after the failure of `attempt` number `attempt` of `task`.
    ///
    /// Exponential backoff with decorrelated jitter: each pause is drawn evenly between the shortest one and
    /// three times the one before, at most the longest. Source: Brooker, "Exponential Backoff And Jitter", AWS
    /// Architecture Blog, 2015. The draw is a hash of the run's seed, the task and the attempt, so replay and
    /// simulation get the same.
    #[must_use]
    pub fn pause(&self, seed: u64, task: TaskId, attempt: AttemptNo) -> Millis {
        let min = self.backoff_min.0;
        let max = self.backoff_max.0.max(min);
        // Beyond this many the pause no longer depends on how it began.
        let first = attempt.0.saturating_sub(16).max(1);
        let pause = (first..=attempt.0).fold(min, |before, number| {
            let high = before.saturating_mul(3).clamp(min, max);
            min + draw(seed, task, number) % (high - min + 1)
        });
        Millis(pause)
    }
}

fn draw(seed: u64, task: TaskId, attempt: u32) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key("kapell 2026 retry jitter");
    hasher.update(&seed.to_le_bytes());
    hasher.update(&task.0.to_le_bytes());
    hasher.update(&attempt.to_le_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pauses_stay_within_bounds_and_repeat(seed: u64, task: u32, attempt in 1_u32..1000, min in 0_u64..5000, more in 0_u64..100_000) {
            let retry = Retry { attempts: 3, backoff_min: Millis(min), backoff_max: Millis(min + more) };
            let pause = retry.pause(seed, TaskId(task), AttemptNo(attempt));
            prop_assert!((min..=min + more).contains(&pause.0));
            prop_assert_eq!(pause, retry.pause(seed, TaskId(task), AttemptNo(attempt)));
        }
    }

    #[test]
    fn pauses_grow_and_differ_between_tasks() {
        let retry = Retry { attempts: 9, backoff_min: Millis(1000), backoff_max: Millis(1_000_000) };
        let mean = |attempt| {
            (0..500).map(|task| retry.pause(1, TaskId(task), AttemptNo(attempt)).0).sum::<u64>() / 500
        };
        // The first pause is even in [1, 3] s: 2 s on average; each later one half of (1 s + 3 x the one before).
        assert!((1900..2100).contains(&mean(1)), "{}", mean(1));
        assert!((3200..3800).contains(&mean(2)), "{}", mean(2));
        assert!(mean(6) > mean(4) && mean(4) > mean(2));
    }
}
