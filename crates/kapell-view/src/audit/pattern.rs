//! Ways in which work is led, good and bad, as a summary over what was found.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Place, Severity};

/// A pattern by which work is led.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PatternKind {
    /// One part decides what there is to do, others do it.
    PlanThenExecute,
    /// Whoever gets work hands parts of it on, who may do the same.
    HierarchicalDecomposition,
    /// Several write to and read from one shared place.
    Blackboard,
    /// What happened is appended to a log that is never rewritten.
    EventSourcing,
    /// A part that failed is taken back by its compensation.
    Saga,
    /// Each part reacts to what happens; nobody leads.
    Choreography,
    /// One part starts the others and collects what they give.
    CentralOrchestration,
    /// Those who only read are kept apart from those who change.
    Cqrs,
}

impl PatternKind {
    /// All of them, in their order.
    pub const ALL: [Self; 8] = [
        Self::PlanThenExecute,
        Self::HierarchicalDecomposition,
        Self::Blackboard,
        Self::EventSourcing,
        Self::Saga,
        Self::Choreography,
        Self::CentralOrchestration,
        Self::Cqrs,
    ];

    /// Returns its name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PlanThenExecute => "Plan, then execute",
            Self::HierarchicalDecomposition => "Hierarchical decomposition",
            Self::Blackboard => "Blackboard",
            Self::EventSourcing => "Event sourcing",
            Self::Saga => "Saga",
            Self::Choreography => "Choreography",
            Self::CentralOrchestration => "Central orchestration",
            Self::Cqrs => "Reads apart from writes (CQRS)",
        }
    }
}

/// A pattern, where it is seen, and by what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Pattern {
    /// Which one.
    pub kind: PatternKind,
    /// Where it is seen.
    pub place: Place,
    /// By what, as a sentence that names what was found.
    pub text: String,
}

/// How much of an anti-pattern was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AntiPattern {
    /// Its name for people.
    pub name: String,
    /// How many findings are evidence of it.
    pub count: u32,
    /// The worst of them; info if there is none.
    pub worst: Severity,
    /// The rules that found them.
    pub rules: Vec<String>,
}
