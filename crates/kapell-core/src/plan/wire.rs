//! The plan as text: one JSON object, read back through the builder, so that what is read is sealed again.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::SerializeSeq};

use super::{AgentSpec, Cell, Definition, Matrix, Plan, PlanBuilder, PlanLimits};
use crate::id::{DefinitionId, TaskId};

/// The version of the plan's text form.
const VERSION: u32 = 1;

/// A task in the text: its name, its definition, its needs, and which matrix cell it is.
#[derive(Serialize, Deserialize)]
struct WireTask<'a>(
    #[serde(borrow)] Cow<'a, str>,
    DefinitionId,
    Cow<'a, [TaskId]>,
    #[serde(default, skip_serializing_if = "Option::is_none")] Option<Cell>,
);

#[derive(Serialize)]
struct WireOut<'a> {
    version: u32,
    agents: &'a [AgentSpec],
    matrices: &'a [Matrix],
    definitions: &'a [Arc<Definition>],
    tasks: TasksOut<'a>,
}

struct TasksOut<'a>(&'a Plan);

impl Serialize for TasksOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let plan = self.0;
        let mut tasks = serializer.serialize_seq(Some(plan.len()))?;
        for task in plan.graph().tasks() {
            tasks.serialize_element(&WireTask(
                plan.name(task).into(),
                plan.definition_id(task),
                plan.graph().needs(task).into(),
                plan.cell(task),
            ))?;
        }
        tasks.end()
    }
}

#[derive(Deserialize)]
struct WireIn<'a> {
    version: u32,
    agents: Vec<AgentSpec>,
    matrices: Vec<Matrix>,
    definitions: Vec<Definition>,
    #[serde(borrow)]
    tasks: Vec<WireTask<'a>>,
}

impl Serialize for Plan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (agents, matrices, definitions) = (&self.agents, &self.matrices, &self.definitions);
        WireOut { version: VERSION, agents, matrices, definitions, tasks: TasksOut(self) }
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Plan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = WireIn::deserialize(deserializer)?;
        if wire.version != VERSION {
            return Err(D::Error::custom(format_args!(
                "plan of version {}, known is {VERSION}",
                wire.version
            )));
        }
        let mut builder = PlanBuilder::new();
        for agent in wire.agents {
            builder.agent(agent);
        }
        for matrix in wire.matrices {
            builder.matrix(matrix);
        }
        // Not interned again: ids in the text are indices.
        builder.take_definitions(wire.definitions);
        builder.reserve(wire.tasks.len());
        for WireTask(name, definition, needs, cell) in wire.tasks {
            match cell {
                Some(cell) => builder.cell(&name, definition, &needs, cell),
                None => builder.task(&name, definition, &needs),
            };
        }
        builder.seal(PlanLimits::default()).map_err(D::Error::custom)
    }
}
