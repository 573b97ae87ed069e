//! Commands, by ecosystem.

mod apple;
mod beam;
mod cloud;
mod containers;
mod dotnet;
mod go;
mod hosts;
mod infrastructure;
mod javascript;
mod jvm;
mod kubernetes;
mod languages;
mod native;
mod php;
mod python;
mod repository;
mod ruby;
mod rust;
mod system;

use super::super::Kind;

/// Commands by their first words. The longest that fits counts.
pub(in super::super) const COMMANDS: &[&[(&str, Kind, u32)]] = &[
    apple::ROWS,
    beam::ROWS,
    cloud::ROWS,
    containers::ROWS,
    dotnet::ROWS,
    go::ROWS,
    hosts::ROWS,
    infrastructure::ROWS,
    javascript::ROWS,
    jvm::ROWS,
    kubernetes::ROWS,
    languages::ROWS,
    native::ROWS,
    php::ROWS,
    python::ROWS,
    repository::ROWS,
    ruby::ROWS,
    rust::ROWS,
    system::ROWS,
];
