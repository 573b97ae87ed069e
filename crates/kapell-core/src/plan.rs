//! The plan: tasks by name, what each needs, and shared definitions of how each is done.
//!
//! A plan is sealed before anything starts: acyclic, every name known and unique, within limits. Definitions are
//! interned, so a task of a large graph costs tens of bytes.

mod build;
mod definition;
mod wire;

use std::{collections::BTreeSet, sync::Arc};

pub use build::{PlanBuilder, PlanError, PlanLimits};
pub use definition::{
    AgentSpec, ChildSpec, CostForecast, Definition, Estimate, GateSpec, LostPolicy, OutputSpec, Protect,
    Slot, Supervise, Variable, Work, WorkspaceKind,
};

use crate::{
    expr::Value,
    graph::Graph,
    id::{AgentId, DefinitionId, TaskId},
};

/// The values of one axis product: the cells of a matrix, decoded from an index.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Matrix {
    /// The full product of the axes: cell `i` in mixed radix, the last axis fastest.
    Product(Vec<(String, Vec<Value>)>),
    /// Cells written out, as after `include` and `exclude`.
    Cells(Vec<Vec<(String, Value)>>),
}

impl Matrix {
    /// Returns how many cells there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Product(axes) => axes.iter().map(|(_, values)| values.len()).product(),
            Self::Cells(cells) => cells.len(),
        }
    }

    /// Tells whether there is no cell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the values of cell `index` by axis.
    #[must_use]
    pub fn cell(&self, index: u32) -> Vec<(&str, &Value)> {
        match self {
            Self::Cells(cells) => cells
                .get(index as usize)
                .map(|cell| cell.iter().map(|(name, value)| (name.as_str(), value)).collect())
                .unwrap_or_default(),
            Self::Product(axes) => {
                let mut rest = index as usize;
                let mut cell: Vec<_> = axes
                    .iter()
                    .rev()
                    .filter(|(_, values)| !values.is_empty())
                    .map(|(name, values)| {
                        let value = &values[rest % values.len()];
                        rest /= values.len();
                        (name.as_str(), value)
                    })
                    .collect();
                cell.reverse();
                cell
            }
        }
    }
}

/// Which cell of which matrix a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Cell {
    /// Index into the plan's matrices.
    pub matrix: u32,
    /// Index of the cell within the matrix.
    pub index: u32,
}

/// All names, end to end in one string.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Names {
    text: String,
    ends: Vec<u32>,
}

impl Names {
    fn get(&self, at: usize) -> &str {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.text[start..self.ends[at] as usize]
    }
}

/// A sealed plan. Immutable; a revision is a new plan in which old tasks keep their ids.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    names: Names,
    definitions: Vec<Arc<Definition>>,
    definition_of: Vec<DefinitionId>,
    matrices: Vec<Matrix>,
    /// By task; empty if no task is a cell of a matrix.
    cells: Vec<Option<Cell>>,
    agents: Vec<AgentSpec>,
    graph: Graph,
    rank: Vec<f32>,
}

/// Returns how urgent each task is, by what its definition says of its length.
fn ranks(graph: &Graph, definitions: &[Arc<Definition>], definition_of: &[DefinitionId]) -> Vec<f32> {
    graph.upward_rank(|task| definitions[definition_of[task.index()].index()].expected_secs())
}

impl Plan {
    /// Returns how many tasks there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.graph.len()
    }

    /// Tells whether there is no task.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.graph.is_empty()
    }

    /// Returns who needs whom.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Returns the name of `task`.
    #[must_use]
    pub fn name(&self, task: TaskId) -> &str {
        self.names.get(task.index())
    }

    /// Finds a task by its name. Takes time in proportion to the number of tasks.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<TaskId> {
        self.graph.tasks().find(|&task| self.name(task) == name)
    }

    /// Returns how `task` is done.
    #[must_use]
    pub fn definition(&self, task: TaskId) -> &Arc<Definition> {
        &self.definitions[self.definition_of[task.index()].index()]
    }

    /// Returns the index of the definition of `task`.
    #[must_use]
    pub fn definition_id(&self, task: TaskId) -> DefinitionId {
        self.definition_of[task.index()]
    }

    /// Returns the distinct definitions.
    #[must_use]
    pub fn definitions(&self) -> &[Arc<Definition>] {
        &self.definitions
    }

    /// Returns what tasks of this plan may claim, those of child runs among them. A claim that is computed may be one
    /// on everything.
    #[must_use]
    pub fn claims(&self) -> BTreeSet<&str> {
        let mut claims = BTreeSet::new();
        for definition in &self.definitions {
            match &definition.work {
                // A gate holds nothing.
                Work::Gate(_) => continue,
                Work::Workflow(child) => claims.extend(child.plan.claims()),
                _ => {}
            }
            claims.extend(definition.claims.iter().map(|claim| claim.as_literal().unwrap_or("**")));
        }
        claims
    }

    /// Returns which matrix cell `task` is, if it is one.
    #[must_use]
    pub fn cell(&self, task: TaskId) -> Option<Cell> {
        self.cells.get(task.index()).copied().flatten()
    }

    /// Returns the matrix values of `task` by axis; none if it is no matrix cell.
    #[must_use]
    pub fn matrix_values(&self, task: TaskId) -> Vec<(&str, &Value)> {
        self.cell(task)
            .and_then(|cell| Some(self.matrices.get(cell.matrix as usize)?.cell(cell.index)))
            .unwrap_or_default()
    }

    /// Returns the agents.
    #[must_use]
    pub fn agents(&self) -> &[AgentSpec] {
        &self.agents
    }

    /// Returns an agent.
    #[must_use]
    pub fn agent(&self, agent: AgentId) -> Option<&AgentSpec> {
        self.agents.get(agent.index())
    }

    /// Returns the plan with other agents, and the plans of child runs likewise; `agents` says which each plan gets:
    /// first those that it has, in their order, for their ids stay, then new ones, which have no fallback.
    #[must_use]
    pub fn with_agents(&self, agents: &dyn Fn(&Self) -> Vec<AgentSpec>) -> Self {
        let mut plan = self.clone();
        let old = self.agents.iter().map(|spec| spec.fallback).chain(std::iter::repeat(None));
        let all = agents(self).into_iter().zip(old);
        let all: Vec<_> = all.map(|(spec, fallback)| AgentSpec { fallback, ..spec }).collect();
        if all.len() >= plan.agents.len() {
            plan.agents = all;
        }
        plan.change_inner(|inner| inner.with_agents(agents));
        plan
    }

    /// Changes the plans of child runs.
    fn change_inner(&mut self, change: impl Fn(&Self) -> Self) {
        for definition in &mut self.definitions {
            let Work::Workflow(child) = &definition.work else { continue };
            let inner = change(&child.plan);
            if inner.agents != child.plan.agents || inner.definitions != child.plan.definitions {
                let child = ChildSpec { plan: Arc::new(inner), ..(**child).clone() };
                let work = Work::Workflow(Box::new(child));
                *definition = Arc::new(Definition { work, ..(**definition).clone() });
            }
        }
    }

    /// Returns the plan with what attempts are expected to cost, and the plans of child runs likewise; `costs` says that
    /// of the definitions of a plan, by their index, and replaces what stood there.
    #[must_use]
    pub fn with_forecasts(&self, costs: &dyn Fn(&Self) -> Vec<Vec<CostForecast>>) -> Self {
        let mut plan = self.clone();
        let known = costs(self).into_iter().chain(std::iter::repeat_with(Vec::new));
        for (definition, forecasts) in plan.definitions.iter_mut().zip(known) {
            if definition.forecasts != forecasts {
                Arc::make_mut(definition).forecasts = forecasts;
            }
        }
        plan.change_inner(|inner| inner.with_forecasts(costs));
        plan
    }

    /// Fills in how long tasks are expected to take whose definition does not say: those that begin long ways start
    /// first.
    #[must_use]
    pub fn expecting(mut self, known: impl Fn(DefinitionId) -> Option<Estimate>) -> Self {
        for (id, definition) in (0..).map(DefinitionId).zip(&mut self.definitions) {
            if definition.estimate.is_none()
                && let Some(estimate) = known(id)
            {
                Arc::make_mut(definition).estimate = Some(estimate);
            }
        }
        self.rank = ranks(&self.graph, &self.definitions, &self.definition_of);
        self
    }

    /// Tells whether some task in it, at any depth, takes up an agent slot.
    #[must_use]
    pub fn needs_agents(&self) -> bool {
        self.agents.iter().any(|agent| agent.slot == Slot::Agent)
            || self.definitions.iter().any(|definition| match &definition.work {
                Work::Workflow(child) => child.plan.needs_agents(),
                _ => false,
            })
    }

    /// Returns how urgent `task` is: the expected seconds from its start to the end of the run.
    #[must_use]
    pub fn rank(&self, task: TaskId) -> f32 {
        self.rank[task.index()]
    }
}
