//! Judgement: pure functions from facts to proposals with reasons.
//!
//! **Invariant:** nothing here is needed to replay a run, and nothing here knows how its proposals are executed. What
//! is drawn at random is drawn from a seed that is handed in and handed back.

pub mod lognormal; // ground: lengths as a distribution

pub mod price; // what models cost

pub mod schedule; // who starts when, if all goes as expected

pub mod history; // how long things took before

pub mod estimate; // how long things will take

pub mod kind; // what kind of work a task is

pub mod record; // how agents have done

pub mod route; // who performs what

pub mod memory; // how many fit

pub mod brief; // what an attempt is given to read

pub mod reuse; // which results hold for longer than their run
