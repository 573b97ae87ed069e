//! Making a plan: names are collected, definitions interned, and all of it checked when it is sealed.

use std::{collections::HashMap, sync::Arc};

use hashbrown::{DefaultHashBuilder, HashTable, hash_table::Entry};

use super::{AgentSpec, Cell, Definition, Matrix, Names, Plan, ranks};
use crate::{
    graph::{GraphBuilder, GraphError},
    id::{AgentId, DefinitionId, Digest, TaskId},
};

/// The bounds of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanLimits {
    /// The most tasks.
    pub tasks: usize,
    /// How deep workflows may contain workflows.
    pub depth: u32,
}

impl Default for PlanLimits {
    fn default() -> Self {
        Self { tasks: 1_000_000, depth: 5 }
    }
}

/// Why a plan cannot be sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Two tasks have one name.
    #[error("two tasks are named `{0}`")]
    DuplicateName(String),
    /// There are too many tasks.
    #[error("{found} tasks are more than the {limit} that a plan may have")]
    TooManyTasks {
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// Workflows contain workflows too deeply.
    #[error("workflows are nested {found} deep, more than {limit}")]
    TooDeep {
        /// How deep they are.
        found: u32,
        /// How deep they may be.
        limit: u32,
    },
    /// A task names an agent or definition that is not in the plan.
    #[error("task `{task}` names {what} that the plan does not have")]
    Unknown {
        /// The task.
        task: String,
        /// What it names.
        what: &'static str,
    },
    /// An agent's stand-in is not in the plan.
    #[error("agent `{agent}`{} names a fallback agent that the plan does not have",
        .task.as_ref().map(|task| format!(", which performs task `{task}`,")).unwrap_or_default())]
    UnknownFallback {
        /// The agent.
        agent: String,
        /// The first task that it performs, or may come to perform.
        task: Option<String>,
    },
    /// Tasks wait for each other.
    #[error("tasks wait for each other: {}", .0.join(" needs "))]
    Cycle(Vec<String>),
    /// A task needs one that does not exist.
    #[error("task `{task}` needs task number {need}, which does not exist")]
    UnknownNeed {
        /// The task.
        task: String,
        /// What it needs.
        need: TaskId,
    },
}

/// Collects the tasks of a plan.
///
/// Tasks get their ids in the order in which they are added, from 0; needs may name ids that come later.
#[derive(Default)]
pub struct PlanBuilder {
    names: Names,
    by_name: HashTable<u32>,
    hasher: DefaultHashBuilder,
    definitions: Vec<Arc<Definition>>,
    interned: HashMap<Digest, DefinitionId>,
    definition_of: Vec<DefinitionId>,
    matrices: Vec<Matrix>,
    cells: Vec<Option<Cell>>,
    agents: Vec<AgentSpec>,
    graph: GraphBuilder,
    duplicate: Option<String>,
}

impl std::fmt::Debug for PlanBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlanBuilder").field("tasks", &self.graph.len()).finish_non_exhaustive()
    }
}

impl PlanBuilder {
    /// Starts an empty plan.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an agent.
    pub fn agent(&mut self, agent: AgentSpec) -> AgentId {
        let id = AgentId(u32::try_from(self.agents.len()).unwrap_or(u32::MAX));
        self.agents.push(agent);
        id
    }

    /// Adds a definition, or finds an equal one.
    pub fn define(&mut self, definition: Definition) -> DefinitionId {
        // Definitions hold no floats, so equal ones have equal text.
        let text = serde_json::to_vec(&definition).unwrap_or_default();
        *self.interned.entry(Digest::of(&text)).or_insert_with(|| {
            self.definitions.push(Arc::new(definition));
            DefinitionId(u32::try_from(self.definitions.len() - 1).unwrap_or(u32::MAX))
        })
    }

    /// Adds definitions as they stand, so that their ids are their indices.
    pub(super) fn take_definitions(&mut self, definitions: Vec<Definition>) {
        self.definitions = definitions.into_iter().map(Arc::new).collect();
    }

    /// Adds a matrix, whose cells tasks can be.
    pub fn matrix(&mut self, matrix: Matrix) -> u32 {
        self.matrices.push(matrix);
        u32::try_from(self.matrices.len() - 1).unwrap_or(u32::MAX)
    }

    /// Adds a task. A name that is taken is reported by [`PlanBuilder::seal`].
    pub fn task(&mut self, name: &str, definition: DefinitionId, needs: &[TaskId]) -> TaskId {
        let task = self.graph.add(needs);
        self.names.text.push_str(name);
        self.names.ends.push(u32::try_from(self.names.text.len()).unwrap_or(u32::MAX));
        self.definition_of.push(definition);
        let (names, hasher) = (&self.names, &self.hasher);
        let hash = |name: &str| std::hash::BuildHasher::hash_one(hasher, name);
        let same = |other: &u32| names.get(*other as usize) == name;
        match self.by_name.entry(hash(name), same, |other| hash(names.get(*other as usize))) {
            Entry::Occupied(_) => {
                self.duplicate.get_or_insert_with(|| name.to_owned());
            }
            Entry::Vacant(place) => {
                place.insert(task.0);
            }
        }
        task
    }

    /// Makes room for `more` names, which are otherwise hashed again whenever their table has grown too small.
    pub fn reserve(&mut self, more: usize) {
        let (names, hasher) = (&self.names, &self.hasher);
        let hash = |other: &u32| std::hash::BuildHasher::hash_one(hasher, names.get(*other as usize));
        self.by_name.reserve(more, hash);
    }

    /// Adds a task that is a cell of a matrix.
    pub fn cell(&mut self, name: &str, definition: DefinitionId, needs: &[TaskId], cell: Cell) -> TaskId {
        let task = self.task(name, definition, needs);
        self.cells.resize(task.index(), None);
        self.cells.push(Some(cell));
        task
    }

    /// Finds a task by its name, at once.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<TaskId> {
        let hash = std::hash::BuildHasher::hash_one(&self.hasher, name);
        self.by_name.find(hash, |other| self.names.get(*other as usize) == name).copied().map(TaskId)
    }

    /// Returns how many tasks there are so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.graph.len()
    }

    /// Tells whether there is no task yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.graph.is_empty()
    }

    /// Checks everything, ranks the tasks and makes the plan.
    ///
    /// # Errors
    ///
    /// Fails with the first of: too many tasks, a name taken twice, an unknown definition, agent or need, workflows
    /// nested too deeply, tasks that wait for each other.
    pub fn seal(mut self, limits: PlanLimits) -> Result<Plan, PlanError> {
        if self.graph.len() > limits.tasks {
            return Err(PlanError::TooManyTasks { found: self.graph.len(), limit: limits.tasks });
        }
        if let Some(name) = self.duplicate {
            return Err(PlanError::DuplicateName(name));
        }
        drop(std::mem::take(&mut self.by_name));
        self.check_definitions(limits)?;
        self.names.text.shrink_to_fit();
        self.names.ends.shrink_to_fit();
        self.definition_of.shrink_to_fit();
        let names = self.names;
        let name = |task: TaskId| names.get(task.index()).to_owned();
        let graph = self.graph.seal().map_err(|error| match error {
            GraphError::UnknownNeed { task, need } => PlanError::UnknownNeed { task: name(task), need },
            GraphError::Cycle { path } => PlanError::Cycle(path.into_iter().map(name).collect()),
        })?;
        let (definitions, definition_of) = (self.definitions, self.definition_of);
        let rank = ranks(&graph, &definitions, &definition_of);
        if !self.cells.is_empty() {
            self.cells.resize(graph.len(), None);
        }
        Ok(Plan {
            names,
            definitions,
            definition_of,
            matrices: self.matrices,
            cells: self.cells,
            agents: self.agents,
            graph,
            rank,
        })
    }

    fn check_definitions(&self, limits: PlanLimits) -> Result<(), PlanError> {
        let user_of = |wrong: &dyn Fn(DefinitionId) -> bool| {
            let at = self.definition_of.iter().position(|&definition| wrong(definition))?;
            Some(self.names.get(at).to_owned())
        };
        if let Some(task) = user_of(&|definition| definition.index() >= self.definitions.len()) {
            return Err(PlanError::Unknown { task, what: "a definition" });
        }
        let strange = |agent: Option<AgentId>| agent.is_some_and(|agent| agent.index() >= self.agents.len());
        let unknown_agent: Vec<bool> =
            self.definitions.iter().map(|definition| strange(definition.agent)).collect();
        if let Some(task) = user_of(&|definition| unknown_agent[definition.index()]) {
            return Err(PlanError::Unknown { task, what: "an agent" });
        }
        // Whoever is performed by an agent of that chain, or nobody.
        if let Some(broken) = self.agents.iter().position(|agent| strange(agent.fallback)) {
            let reaches = |mut agent: Option<AgentId>| {
                (0..self.agents.len()).any(|_| {
                    let here = agent.is_some_and(|agent| agent.index() == broken);
                    agent = agent.and_then(|agent| self.agents.get(agent.index())?.fallback);
                    here
                })
            };
            return Err(PlanError::UnknownFallback {
                agent: self.agents[broken].name.clone(),
                task: user_of(&|definition| reaches(self.definitions[definition.index()].agent)),
            });
        }
        let depth = 1 + self.definitions.iter().map(|definition| definition.depth()).max().unwrap_or(0);
        if depth > limits.depth {
            return Err(PlanError::TooDeep { found: depth, limit: limits.depth });
        }
        Ok(())
    }
}
