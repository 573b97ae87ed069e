//! What people write, read with spans: YAML, workflow files, and what is wrong with them.
//!
//! **Invariant:** knows no paths and no network, never panics and never gives up at the first error: everything
//! returns what could be read together with all findings.
//!
//! The modules stand in the order in which to read them; none imports one below it.

pub mod codes; // every code with its explanation

pub mod suggest; // did you mean

pub mod words; // many words in one pass

pub mod hash; // maps of many names

pub mod line; // the line around a place

pub mod finding; // what is wrong, where, and how it is shown

pub mod yaml; // a tree with byte ranges

pub mod shell; // expressions in shell text

pub mod workflow; // workflow files, read and compiled

pub mod github; // workflows and actions of GitHub

pub mod claude; // agents, commands, skills and hooks of coding agents
