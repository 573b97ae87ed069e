//! Read models of plans and runs: versioned wire types, and the texts that people read.
//!
//! **Invariant:** no IO, no clock, no environment. What a view shows comes in as arguments, and it goes out as values,
//! lines and strings; who draws them is not known here. Text written by others goes through [`untrusted`].

pub mod untrusted; // ground: what others wrote, escaped

pub mod text; // lines, tables, lengths and amounts

pub mod forecast; // how long things take, as others estimated it

pub mod next; // commands to type next

pub mod plan; // a plan before it runs

pub mod summary; // one run in one line, and lists of runs

pub mod status; // where one run stands

pub mod inbox; // what waits for a person

pub mod logs; // events as lines

pub mod progress; // the live display of a run

pub mod report; // what happened, told afterwards

pub mod audit; // what `improve` finds in a repository

pub mod schema; // JSON schemas of all wire types
