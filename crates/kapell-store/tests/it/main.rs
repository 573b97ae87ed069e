//! Tests of the store against real files.

#![allow(clippy::unwrap_used, reason = "in tests a panic is the report")]

mod append;
mod common;
mod crash;
mod damage;
mod golden;
mod model;
mod owners;
mod transfer;
