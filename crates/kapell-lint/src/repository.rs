//! The files of a repository and the models built from them.

use crate::{
    agents::Agents,
    code::{self, Unit},
    files::Files,
    github::{Github, cost::Timings},
    systems::Systems,
};

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Depth {
    /// Only references that can mean nothing else.
    Quick,
    /// Likely references too.
    #[default]
    Standard,
    /// Code, cross-system joins and clones too.
    Deep,
}

/// What is judged: files, read once, and the models of them that the rules share.
#[derive(Debug)]
pub struct Repository {
    /// The files that count.
    pub files: Files,
    /// How much is looked at.
    pub depth: Depth,
    /// The workflows and actions of GitHub.
    pub github: Github,
    /// Agents, commands, skills and hooks.
    pub agents: Agents,
    /// The code that calls models, agents and services; only read at depth deep.
    pub code: Vec<Unit>,
    /// What runs beside the code; only read at depth deep.
    pub systems: Systems,
    /// Recorded durations of jobs, if there are any.
    pub timings: Option<Timings>,
}

impl Repository {
    /// Reads the files and builds the models.
    #[must_use]
    pub fn new(files: Files, depth: Depth) -> Self {
        let (github, agents) = (Github::new(&files), Agents::new(&files));
        let deep = depth == Depth::Deep;
        let code = if deep { code::read(&files) } else { Vec::new() };
        let systems = if deep { Systems::read(&files) } else { Systems::default() };
        Self { files, depth, github, agents, code, systems, timings: None }
    }
}
