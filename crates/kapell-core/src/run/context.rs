//! What expressions see: the tasks that one needs, its matrix cell, and the run's inputs.

use crate::{
    expr::{Context, EvalError, Expr, Object, Resolved, Status, Template, Value},
    id::TaskId,
    run::{Phase, Run},
    task::{SkipCause, TaskState},
};

/// The names that an expression of `task` can use: `tasks` and `needs` (what it needs, by name, with `result` and
/// `outputs`), `matrix`, `inputs`, `env` and `run`.
#[derive(Debug, Clone, Copy)]
pub struct TaskContext<'a> {
    run: &'a Run,
    task: TaskId,
}

/// The part of a matrix task's name that all cells share.
fn base_name(name: &str) -> &str {
    name.split_once(" (").map_or(name, |(base, _)| base)
}

impl TaskContext<'_> {
    /// Returns what is known of the tasks of that name, or all cells of that matrix task, among the needs.
    fn needed(&self, name: &str) -> Option<Value> {
        let plan = self.run.plan();
        let needs = plan.graph().needs(self.task).iter();
        let mut found = needs.filter(|need| {
            let full = plan.name(**need);
            full == name || (plan.cell(**need).is_some() && base_name(full) == name)
        });
        let first = found.next()?;
        // As in GitHub's workflows, of several cells that set one output the last one counts.
        let cells: Vec<_> = std::iter::once(first).chain(found).copied().collect();
        let outputs = cells.iter().filter_map(|cell| self.run.outputs(*cell)).flatten();
        let outputs = Object::new(outputs.map(|(name, value)| (name.as_str(), Value::string(value))));
        let worst =
            cells.iter().map(|cell| result(self.run.state(*cell))).max_by_key(|result| weight(result));
        Some(Value::Object(
            Object::new([
                ("result", Value::string(worst.unwrap_or("success"))),
                ("outputs", Value::Object(outputs.into())),
            ])
            .into(),
        ))
    }
}

/// The result of a settled task in the words of GitHub's workflows.
fn result(state: &TaskState) -> &'static str {
    match state {
        TaskState::Failed { .. } => "failure",
        TaskState::Cancelled => "cancelled",
        TaskState::Skipped { .. } => "skipped",
        state if state.is_settled() => "success",
        _ => "pending",
    }
}

fn weight(result: &str) -> usize {
    ["success", "skipped", "cancelled", "failure"].iter().position(|known| *known == result).unwrap_or(0)
}

impl Context for TaskContext<'_> {
    fn lookup(&self, name: &str) -> Option<Value> {
        let object = |entries: Vec<(&str, Value)>| Some(Value::Object(Object::new(entries).into()));
        let plan = self.run.plan();
        match name {
            "tasks" | "needs" => {
                let names = plan.graph().needs(self.task).iter().map(|need| match plan.cell(*need) {
                    Some(_) => base_name(plan.name(*need)),
                    None => plan.name(*need),
                });
                object(names.filter_map(|name| Some((name, self.needed(name)?))).collect())
            }
            "matrix" => object(
                plan.matrix_values(self.task)
                    .into_iter()
                    .map(|(name, value)| (name, value.clone()))
                    .collect(),
            ),
            "inputs" => {
                let inputs = self.run.mission().inputs.iter();
                object(inputs.map(|(name, value)| (name.as_str(), Value::string(value))).collect())
            }
            "env" => {
                let variables = plan.definition(self.task).env.iter();
                // A variable may use any name but `env` itself.
                let rendered = variables.filter_map(|variable| {
                    let bare = WithoutEnv(*self);
                    let value = variable.value.render(&bare).ok()?;
                    Some((variable.name.as_str(), Value::string(&value)))
                });
                object(rendered.collect())
            }
            "run" => object(vec![
                ("id", Value::string(&self.run.id().to_string())),
                ("objective", Value::string(&self.run.mission().objective)),
            ]),
            "task" => object(vec![("name", Value::string(plan.name(self.task)))]),
            _ => None,
        }
    }

    fn resolve(&self, path: &[&str]) -> Option<Resolved> {
        if let ["tasks" | "needs", name, ..] = path {
            return Some(Resolved { value: self.needed(name).unwrap_or_default(), used: 2 });
        }
        self.lookup(path.first()?).map(|value| Resolved { value, used: 1 })
    }

    fn status(&self, status: Status) -> Option<bool> {
        Some(match status {
            Status::Always => true,
            Status::Cancelled => *self.run.phase() == Phase::Cancelling,
            Status::Failure => self.run.has_failed_ancestor(self.task),
            Status::Success => {
                let needs = self.run.plan().graph().needs(self.task);
                needs.iter().all(|need| self.run.state(*need).is_success())
            }
        })
    }
}

/// The same without `env`, so that a variable cannot be computed from itself.
struct WithoutEnv<'a>(TaskContext<'a>);

impl Context for WithoutEnv<'_> {
    fn lookup(&self, name: &str) -> Option<Value> {
        if name == "env" { None } else { self.0.lookup(name) }
    }

    fn resolve(&self, path: &[&str]) -> Option<Resolved> {
        if path.first() == Some(&"env") { None } else { self.0.resolve(path) }
    }

    fn status(&self, status: Status) -> Option<bool> {
        self.0.status(status)
    }
}

impl Run {
    /// Returns what expressions of `task` see now.
    #[must_use]
    pub fn context(&self, task: TaskId) -> TaskContext<'_> {
        TaskContext { run: self, task }
    }

    /// Renders a text with expressions as `task` sees them now.
    ///
    /// # Errors
    ///
    /// Fails where an expression has no value.
    pub fn render(&self, task: TaskId, template: &Template) -> Result<String, EvalError> {
        template.render(&self.context(task))
    }

    /// Tells whether a condition of `task` holds now; `None` if it has no value.
    pub(crate) fn holds(&self, task: TaskId, condition: &Expr) -> Option<bool> {
        condition.holds(&self.context(task)).ok().flatten()
    }

    /// Tells whether something failed that `task` needs, or that what it needs was skipped for.
    fn has_failed_ancestor(&self, task: TaskId) -> bool {
        let mut open = vec![task];
        let mut seen = std::collections::BTreeSet::new();
        while let Some(at) = open.pop() {
            for &need in self.plan().graph().needs(at) {
                match self.state(need) {
                    TaskState::Failed { .. } => return true,
                    TaskState::Skipped { why: SkipCause::Need } if seen.insert(need) => open.push(need),
                    _ => {}
                }
            }
        }
        false
    }
}
