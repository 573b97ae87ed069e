//! The files of a repository and the models built from them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
};

use crate::{
    agents::{self, Agents, Asset},
    code::{self, Unit, workflow_script::Script},
    files::{FileId, Files},
    github::{
        self, Flow, Github,
        cost::{self, Timings},
    },
    systems::{self, Systems},
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

impl Depth {
    /// Returns its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Standard => "standard",
            Self::Deep => "deep",
        }
    }
}

/// What is judged: files, read once, and the models of them that the rules share.
#[derive(Debug)]
pub struct Repository {
    /// The files that count.
    pub files: Files,
    /// How much is looked at.
    pub depth: Depth,
    /// The workflows and actions of GitHub.
    pub github: Arc<Github>,
    /// Agents, commands, skills and hooks.
    pub agents: Arc<Agents>,
    /// The code that calls models, agents and services; only read at depth deep.
    pub code: Arc<Vec<Unit>>,
    /// What runs beside the code.
    pub systems: Arc<Systems>,
    /// Recorded durations of jobs, if there are any.
    pub timings: Option<Timings>,
    /// The scripts of dynamic workflows, read when they are first asked for: several rules do.
    scripts: OnceLock<Vec<(FileId, Script)>>,
    /// The files of the agents, commands and skills that are asked about, if not all are.
    asked: Option<BTreeSet<FileId>>,
}

/// The models, as a set: which of them a rule asks, or a change of files changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Models {
    /// The workflows and actions of GitHub.
    pub github: bool,
    /// Agents, commands, skills and hooks.
    pub agents: bool,
    /// Code.
    pub code: bool,
    /// What runs beside the code.
    pub systems: bool,
}

impl Models {
    /// Returns the models that a file is part of, by its path.
    #[must_use]
    pub fn of(path: &str) -> Self {
        Self {
            github: github::is_workflow(path) || github::is_action(path),
            agents: agents::reads(path),
            code: code::wanted(path),
            systems: systems::wanted(path),
        }
    }

    /// Returns all models.
    #[must_use]
    pub fn all() -> Self {
        Self { github: true, agents: true, code: true, systems: true }
    }

    /// Returns the models of both.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            github: self.github || other.github,
            agents: self.agents || other.agents,
            code: self.code || other.code,
            systems: self.systems || other.systems,
        }
    }

    /// Tells whether there is a model in both.
    #[must_use]
    pub fn meets(self, other: Self) -> bool {
        self.github && other.github
            || self.agents && other.agents
            || self.code && other.code
            || self.systems && other.systems
    }
}

impl Repository {
    /// Reads the files and builds the models.
    #[must_use]
    pub fn new(files: Files, depth: Depth) -> Self {
        Self::with_models(files, depth, Models::all())
    }

    /// Reads the files and builds some of the models; the others stay empty, and only rules of families that do not
    /// [ask](crate::rule::Group::asks) them may look.
    #[must_use]
    pub fn with_models(files: Files, depth: Depth, asked: Models) -> Self {
        let deep = depth == Depth::Deep;
        let github = if asked.github { Github::new(&files) } else { Github::default() };
        let agents = if asked.agents { Agents::new(&files) } else { Agents::default() };
        let code = if asked.code && deep { code::read(&files) } else { Vec::new() };
        let systems = if asked.systems { Systems::read(&files) } else { Systems::default() };
        Self {
            files,
            depth,
            github: Arc::new(github),
            agents: Arc::new(agents),
            code: Arc::new(code),
            systems: Arc::new(systems),
            timings: None,
            scripts: OnceLock::new(),
            asked: None,
        }
    }

    /// Returns what the scripts of dynamic workflows do.
    #[must_use]
    pub fn scripts(&self) -> &[(FileId, Script)] {
        let read = |&(id, _): &(FileId, _)| (id, Script::read(id, &self.files[id].text));
        self.scripts.get_or_init(|| self.agents.scripts.iter().map(read).collect())
    }

    /// Tells whether durations of the workflow at this path were recorded.
    #[must_use]
    pub fn is_recorded(&self, path: &str) -> bool {
        let flow = self.github.flows.iter().find(|flow| &*flow.path == path);
        flow.is_some_and(|flow| cost::is_recorded(&self.github, flow, self.timings.as_ref()))
    }

    /// Returns the repository with the workflows, agents, commands and skills of these files only, for rules that
    /// [look at each alone](crate::rules::looks_at_each_alone). Workflows that call each other stay
    /// [together](Github::joined).
    #[must_use]
    pub fn only(&self, files: &BTreeSet<FileId>) -> Self {
        Self {
            files: self.files.clone(),
            depth: self.depth,
            github: Arc::new(self.github.only(files)),
            agents: Arc::new(self.agents.only(files)),
            code: Arc::default(),
            systems: Arc::default(),
            timings: self.timings.clone(),
            scripts: OnceLock::new(),
            asked: None,
        }
    }

    /// Returns the same repository, asked about the agents, commands and skills of these files only, for rules that
    /// [look at each with those it names](crate::rules::looks_at_named).
    #[must_use]
    pub fn asking(&self, files: BTreeSet<FileId>) -> Self {
        Self {
            files: self.files.clone(),
            depth: self.depth,
            github: self.github.clone(),
            agents: self.agents.clone(),
            code: self.code.clone(),
            systems: self.systems.clone(),
            timings: self.timings.clone(),
            scripts: OnceLock::new(),
            asked: Some(files),
        }
    }

    /// Returns the agents, commands and skills that are asked about.
    pub fn asked(&self) -> impl Iterator<Item = &Asset> {
        let is_asked = |asset: &&Asset| self.asked.as_ref().is_none_or(|files| files.contains(&asset.file));
        self.agents.assets.iter().filter(is_asked)
    }

    /// Returns the workflows that are asked about.
    pub fn asked_flows(&self) -> impl Iterator<Item = &Flow> {
        self.github.flows.iter().filter(|flow| self.asks_about(flow))
    }

    /// Returns all that has steps and is asked about: the workflows, and the composite actions.
    pub fn asked_with_steps(&self) -> impl Iterator<Item = &Flow> {
        self.github.with_steps().filter(|flow| self.asks_about(flow))
    }

    fn asks_about(&self, flow: &Flow) -> bool {
        self.asked.as_ref().is_none_or(|files| files.contains(&flow.file))
    }

    /// Returns the repository with other texts for some files. Models that these are no part of are shared.
    #[must_use]
    pub fn with(&self, texts: &BTreeMap<String, String>) -> Self {
        let files = self.files.with(texts);
        if files.len() != self.files.len() {
            return Self { timings: self.timings.clone(), ..Self::new(files, self.depth) };
        }
        self.with_changed(files, &texts.keys().map(String::as_str).collect())
    }

    /// Returns the repository with these files, of which those of some paths are others than before.
    pub(crate) fn with_changed(&self, files: Files, paths: &BTreeSet<&str>) -> Self {
        let changed = paths.iter().map(|path| Models::of(path)).fold(Models::default(), Models::or);
        let deep = self.depth == Depth::Deep;
        Self {
            depth: self.depth,
            github: if changed.github {
                Arc::new(self.github.with(&files, paths))
            } else {
                self.github.clone()
            },
            agents: if changed.agents {
                Arc::new(self.agents.with(&files, paths))
            } else {
                self.agents.clone()
            },
            code: if changed.code && deep { Arc::new(code::read(&files)) } else { self.code.clone() },
            systems: if changed.systems { Arc::new(Systems::read(&files)) } else { self.systems.clone() },
            timings: self.timings.clone(),
            scripts: OnceLock::new(),
            asked: None,
            files,
        }
    }
}
