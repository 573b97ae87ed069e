//! What steers Claude Code and its kin, read as leniently as they read it, with places.
//!
//! Agents, commands and skills (Markdown with frontmatter), hooks and settings (JSON), manifests of plugins and
//! marketplaces, agents of Codex (TOML), and instructions that are always read. Nothing here decides whether a name
//! exists: that takes all files of a repository.
//!
//! Source of the formats: <https://code.claude.com/docs>, as of 2026-08 (Claude Code 2.1.233); see [`tables`].

pub mod tables; // what the formats know, as data with a version

pub mod markdown; // headings, fences, marks, lists, links

pub mod definition; // frontmatter and body

pub mod handled; // what a text does with a file that it names

pub mod hooks; // hooks and settings

pub mod plugin; // manifests

pub mod codex; // agents of Codex

pub mod reference; // names of agents, commands and files in a text

pub mod listed; // slash commands that a text shows in a row

pub mod steps; // the phases of a command

pub mod starts; // the agents that a command starts, and what their words take in

pub mod plan; // those phases as a workflow

#[cfg(test)]
mod tests;
