//! What the engine needs from the world, as traits: the journal, agents, workspaces, the clock.

pub mod agents;
pub mod clock;
pub mod journal;
pub mod workspaces;
