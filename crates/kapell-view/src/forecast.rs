//! How long tasks and runs are expected to take, as the caller estimated it. Nothing is computed here.

use kapell_core::{plan::Estimate, time::Millis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::length;

/// Where an expected length comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The workflow file says it.
    Given,
    /// Past attempts took so long.
    Learnt {
        /// How many attempts were looked at.
        samples: u32,
    },
    /// Nothing is known: a default for this kind of work.
    Assumed,
}

/// How long a task is expected to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskLength {
    /// Half of all attempts take no longer than its `p50`, nine of ten no longer than its `p90`.
    pub estimate: Estimate,
    /// Where that comes from.
    pub basis: Basis,
}

impl TaskLength {
    /// Takes what the definition of a task says; where it says nothing, one second is assumed, as the order of
    /// starting does.
    #[must_use]
    pub fn given(estimate: Option<Estimate>) -> Self {
        let unknown = Estimate { p50: Millis::from_secs(1), p90: Millis::from_secs(1) };
        let basis = if estimate.is_some() { Basis::Given } else { Basis::Assumed };
        Self { estimate: estimate.unwrap_or(unknown), basis }
    }
}

/// When a plan or a run is expected to end, counted from the moment of asking. Waiting for people is not counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Forecast {
    /// Half of the simulated runs ended within this many milliseconds.
    pub p50_ms: u64,
    /// Nine of ten did.
    pub p90_ms: u64,
    /// How many runs were simulated.
    pub samples: u32,
    /// The seed of the simulation; the same seed gives the same forecast. Text, for it may have 64 bits.
    pub seed: String,
}

impl Forecast {
    /// Makes a forecast.
    #[must_use]
    pub fn new(p50: Millis, p90: Millis, samples: u32, seed: u64) -> Self {
        Self { p50_ms: p50.0, p90_ms: p90.0, samples, seed: seed.to_string() }
    }

    /// Returns `4m 10s to 9m 00s (P50 to P90)`.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{} to {} (P50 to P90)", length(Millis(self.p50_ms)), length(Millis(self.p90_ms)))
    }
}
