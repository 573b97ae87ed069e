//! What was asked, counted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::script::Usage;

/// What was asked with one marker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Requests, answered or not.
    pub requests: u64,
    /// Those of them that were made to fail.
    pub failed: u64,
    /// Those that ended a conversation: a turn that says something was played.
    pub said: u64,
    /// What the answered ones cost together.
    pub usage: Usage,
    /// When the first one came, in milliseconds since 1970; 0 if none did.
    pub first_ms: u64,
    /// When the last one came.
    pub last_ms: u64,
    /// When the first one came that was refused with status 429.
    pub first_429_ms: Option<u64>,
    /// The tools that the last one offered.
    pub tools: Vec<String>,
}

/// The counts by marker.
pub type Counts = BTreeMap<String, Count>;

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.input += other.input;
        self.output += other.output;
        self.cache_read += other.cache_read;
        self.cache_write += other.cache_write;
    }
}
