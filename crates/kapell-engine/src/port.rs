//! What the engine needs from the world, as traits: the journal, agents, workspaces, the clock.

pub mod journal;
