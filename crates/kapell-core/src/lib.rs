//! The brain of kapell: what a run is, and what may happen to it next.
//!
//! **Invariant:** no IO, no async, no clock, no randomness. Time and ids come in as arguments.
//!
//! The modules stand in the order in which to read them. Two groups know each other: the state ([`run`]) with the
//! decider ([`decide`], [`settle`]) that alone may change it.

pub mod id; // ground: knows nothing of the rest

pub mod text; // characters that deceive

pub mod time; // time comes in as an argument

pub mod journal; // one decision as a row, and the hash chain

pub mod expr; // expressions: syntax tree and evaluator

pub mod graph; // tasks and what they wait for

pub mod budget; // money and tokens, reserved before and settled after

pub mod price; // what tokens cost

pub mod retry; // classes of failures, and pauses between attempts

pub mod claims; // locks on paths and names

pub mod landing; // the merge queue

pub mod plan; // the sealed graph of tasks with their definitions

pub mod mission; // what is asked, within which limits

pub mod task; // the life of one task, as a table

pub mod route; // who performs what names skills

pub mod event; // durable facts

pub mod command; // wishes, and why they are refused

pub mod run; // the state that events fold into

pub mod decide; // commands in, events out

pub mod settle; // what a state calls for by itself

pub mod effect; // what the world owes

#[cfg(kapell_planted)]
pub mod planted; // bugs put in on purpose, to test the tests
