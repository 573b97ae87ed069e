//! Actions, by what they are for.

mod checks;
mod deliveries;
mod others;
mod prepare;
mod repository;

use super::super::Kind;

/// Actions by name, in lower case.
pub(in super::super) const ACTIONS: &[&[(&str, Kind, u32)]] =
    &[checks::ROWS, deliveries::ROWS, others::ROWS, prepare::ROWS, repository::ROWS];
