//! Tests of the store against real files.

mod append;
mod common;
mod owners;
