//! Claims of tasks, as far as a plan says them before it runs.

use std::collections::{BTreeMap, HashMap};

use kapell_core::{
    claims::overlap,
    expr::{Context, Object, Resolved, Status, Value},
    id::TaskId,
    plan::{Plan, Work},
};

/// Sets of claims, each kept once, and which task has which.
#[derive(Debug, Clone, Default)]
pub(super) struct Claims {
    sets: Vec<Vec<String>>,
    /// By task; empty if no task claims anything.
    of: Vec<Option<u32>>,
}

/// What can be known of an expression before anything ran: the values of the task's matrix.
struct MatrixOnly<'a>(&'a Plan, TaskId);

impl Context for MatrixOnly<'_> {
    fn lookup(&self, name: &str) -> Option<Value> {
        let values = self.0.matrix_values(self.1);
        (name == "matrix" && !values.is_empty()).then(|| {
            let object = Object::new(values.into_iter().map(|(name, value)| (name, value.clone())));
            Value::Object(object.into())
        })
    }

    fn resolve(&self, path: &[&str]) -> Option<Resolved> {
        self.lookup(path.first()?).map(|value| Resolved { value, used: 1 })
    }

    fn status(&self, _: Status) -> Option<bool> {
        None
    }
}

impl Claims {
    pub(super) fn of(plan: &Plan) -> Self {
        if plan.definitions().iter().all(|definition| definition.claims.is_empty()) {
            return Self::default();
        }
        let mut claims = Self { sets: Vec::new(), of: vec![None; plan.len()] };
        let mut known: BTreeMap<Vec<String>, u32> = BTreeMap::new();
        for task in plan.graph().tasks() {
            let definition = plan.definition(task);
            if definition.claims.is_empty() || matches!(definition.work, Work::Gate(_)) {
                continue;
            }
            let context = MatrixOnly(plan, task);
            let rendered = definition.claims.iter().map(|claim| claim.render(&context));
            let set: Vec<String> = rendered.map(|claim| claim.unwrap_or_else(|_| "**".to_owned())).collect();
            let next = u32::try_from(claims.sets.len()).unwrap_or(u32::MAX);
            let id = *known.entry(set.clone()).or_insert(next);
            if id == next {
                claims.sets.push(set);
            }
            claims.of[task.index()] = Some(id);
        }
        claims
    }

    pub(super) fn set(&self, task: TaskId) -> Option<u32> {
        self.of.get(task.index()).copied().flatten()
    }

    /// Tells whether two sets overlap; each pair is looked at once.
    pub(super) fn overlap(&self, known: &mut HashMap<(u32, u32), bool>, a: u32, b: u32) -> bool {
        *known.entry((a.min(b), a.max(b))).or_insert_with(|| {
            let (a, b) = (&self.sets[a as usize], &self.sets[b as usize]);
            a.iter().any(|x| b.iter().any(|y| overlap(x, y)))
        })
    }
}
