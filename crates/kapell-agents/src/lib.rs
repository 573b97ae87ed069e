//! What performs a task: adapters, the processes they start, workspaces and the git boundary.
//!
//! **Invariant:** no state that matters is kept here. Whatever an adapter, a supervisor or a workspace holds may be gone
//! at the next moment: what counts is in the journal, in git or in an exit record.

mod lock; // ground: taking locks
mod private; // files for their owner alone: ground, too

pub mod git; // the git boundary: ground, knows nothing of the rest
pub mod workspace; // where work is done, and how it comes out again

pub mod protocol; // what an agent can say while it works
pub mod supervise; // one attempt: stopped, measured and cleaned up whatever it does

pub mod seat_belt; // what a client is about to do: plain harm is stopped
pub mod trust; // what a repository brings along for agents

pub mod contain; // what an attempt can reach of this machine
pub mod proxy; // between agents and the providers of their models

pub mod drivers; // performing an attempt: a command, nothing at all, a person
pub mod world; // the engine's ports, on top of all that
