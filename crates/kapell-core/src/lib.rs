//! The brain of kapell: what a run is, and what may happen to it next.
//!
//! **Invariant:** no IO, no async, no clock, no randomness. Time and ids come in as arguments.
//!
//! The modules stand in the order in which to read them; none imports one below it.

pub mod id; // ground: knows nothing of the rest
pub mod journal;
pub mod time; // time comes in as an argument // one decision as a row, and the hash chain
pub mod expr; // expressions: syntax tree, parser and three-valued evaluator
