//! How a repository orchestrates its agents and workflows: inventory, faults, safe repairs.
//!
//! **Invariant:** knows no network and runs nothing. The same files give the same findings, byte for byte; what a
//! model cannot know makes a rule silent, never loud.
//!
//! The modules stand in the order in which to read them; none imports one below it.

mod generated; // which files are generated, and by what

pub mod files; // the files that were read, by path

mod packages; // what packages of npm say of themselves

mod intent; // what people say about a place

pub mod discover; // which files of a directory count

pub mod github; // workflows and actions of GitHub as one model

pub mod agents; // agents, commands, skills and hooks as one model

pub mod code; // code that calls models, agents and services

pub mod systems; // what runs beside the code: compose files, manifests, images

pub mod repository; // files and the models built from them

pub mod wanted; // which files orchestrate, by their paths

pub mod inventory; // assets and references

pub mod collect; // what each model has to add to them

pub mod rule; // what a rule is, and how it reports

pub mod rules; // the rules, one file each, and their registry

pub mod audit; // all rules over one repository

pub mod patterns; // the eight patterns in use, and the eight anti-patterns

pub mod suppress; // comments and baselines that keep findings quiet

pub mod foreign; // what other tools found

pub mod fix; // safe fixes, checked one by one

pub mod deliver; // the ten deliverables of an improvement
