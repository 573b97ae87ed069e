//! Who performs a task that names skills and no agent: a ranking, made once by whoever knows the agents.
//!
//! The ranking comes in by a command and is recorded with its reasons; the decider only goes down the list. So a replay
//! needs neither the machine nor the records that the ranking was made from.

use serde::{Deserialize, Serialize};

use crate::{
    id::{AgentId, AttemptNo},
    task::Change,
};

/// The most agents of a ranking: recorded for each group of tasks, and read by people.
pub const RANKED_MAX: usize = 32;

/// How often one task may be handed on: two agents could hand it to each other for ever.
pub const HANDOFFS_MAX: u32 = 4;

/// An agent of a ranking, and why it stands there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The agent.
    pub agent: AgentId,
    /// Why it stands where it does, in words.
    pub why: String,
}

/// An agent that is in no ranking, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedOver {
    /// Its name; it need not be in the plan.
    pub agent: String,
    /// Why it was passed over, in words.
    pub why: String,
}

/// Why a task that has not begun goes to another agent of its ranking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reroute {
    /// The provider of its agent gives nothing for now.
    Parked,
    /// Its agent rests after too many failures.
    Resting,
}

/// Work that an agent passes on before it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handoff {
    /// The attempt that passed it on.
    pub attempt: AttemptNo,
    /// Who did, if an agent of the plan.
    pub from: Option<AgentId>,
    /// Who is to go on.
    pub to: AgentId,
    /// What the next one should know; text of an agent.
    pub note: String,
    /// What attempts that have ended changed and passed on. The next attempt starts from there.
    pub change: Option<Change>,
    /// Whether the attempt that passes it on has ended.
    pub done: bool,
    /// How often the task has been passed on.
    pub times: u32,
}
