//! When jobs and steps run: three-valued, for each situation in which a workflow starts.
//!
//! A job without a status function in its condition waits for the success of *all* jobs that it needs, directly or
//! not; one that was skipped is none. Source: GitHub's documentation of `jobs.<job_id>.needs` and of status check
//! functions.

use kapell_core::expr::{
    Comparison, Context, Expr, Fuel, Function, Leaning, Literal, Node, NodeKind, Resolved, Status, Value,
    evaluate,
};
use kapell_spec::github::{Condition, Job, Name, Step, Text, Workflow};

use super::world::{Texts, World};

/// Whether a job runs, if all that it waits for succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Run {
    /// It cannot.
    Never,
    /// That is not known.
    Maybe,
    /// It does.
    Always,
}

/// The jobs that each job waits for, directly or not, by index.
#[must_use]
pub fn closures(workflow: &Workflow) -> Vec<Vec<usize>> {
    let direct: Vec<Vec<usize>> = workflow.jobs.iter().map(|job| direct(workflow, job)).collect();
    (0..workflow.jobs.len())
        .map(|start| {
            let mut seen = vec![false; workflow.jobs.len()];
            let mut stack = direct[start].clone();
            while let Some(at) = stack.pop() {
                if !std::mem::replace(&mut seen[at], true) {
                    stack.extend(&direct[at]);
                }
            }
            (0..seen.len()).filter(|&at| seen[at] && at != start).collect()
        })
        .collect()
}

/// The jobs that a job names in `needs`, by index.
#[must_use]
pub fn direct(workflow: &Workflow, job: &Job) -> Vec<usize> {
    let index = |name: &str| workflow.jobs.iter().position(|job| job.id.text.eq_ignore_ascii_case(name));
    job.needs.iter().filter_map(|need| index(&need.text)).collect()
}

/// What an expression is evaluated in.
pub struct Scope<'a> {
    /// The situation.
    pub world: &'a World,
    /// The workflow.
    pub workflow: &'a Workflow,
    /// Whether each job runs in it, as far as that is known already.
    pub runs: &'a [Run],
    /// Whose condition it is, by index.
    pub job: usize,
    /// The jobs that it waits for: status functions ask for them.
    pub ancestors: &'a [usize],
    /// Whether it is a condition of a step, where status functions ask for the steps before.
    pub in_step: bool,
    /// A cell of the matrix.
    pub cell: Option<&'a [(&'a str, &'a Value)]>,
}

impl Scope<'_> {
    fn run(&self, job: &str) -> Run {
        let index = self.workflow.jobs.iter().position(|known| known.id.text.eq_ignore_ascii_case(job));
        index.and_then(|index| self.runs.get(index).copied()).unwrap_or(Run::Maybe)
    }

    fn need(&self, job: &str, property: Option<&str>) -> Value {
        match (self.run(job), property) {
            (Run::Never, Some("result")) => Value::string("skipped"),
            (Run::Never, Some("outputs")) => Value::Null,
            (_, Some("result")) => Value::Unknown(Leaning::Truthy),
            _ => Value::UNKNOWN,
        }
    }

    /// Returns the expression that a variable of the workflow or the job is set to, if no step sets it anew.
    fn set_to(&self, name: &str) -> Option<Expr> {
        let job = &self.workflow.jobs[self.job];
        let of =
            |env: &'_ [(Name, Text)]| env.iter().position(|(known, _)| known.text.eq_ignore_ascii_case(name));
        let by_step = |step: &Step| {
            let script = step.script();
            of(&step.env).is_some() || script.contains("GITHUB_ENV") && script.contains(name)
        };
        let set = of(&job.env)
            .map(|at| &job.env[at])
            .or_else(|| of(&self.workflow.env).map(|at| &self.workflow.env[at]));
        let expr = set.and_then(|(_, text)| Expr::parse(text.expression()?).ok());
        expr.filter(|_| !job.steps.iter().any(by_step))
    }

    /// Evaluates what a variable of the workflow or the job is set to: `IS_MAIN: ${{ github.ref == 'refs/heads/main' }}`.
    /// A literal is a switch that people turn by hand, so it counts as not known.
    fn env(&self, name: &str) -> Value {
        let Some(expr) = self.set_to(name) else { return Value::UNKNOWN };
        // It stands where no variable is known yet.
        match (Scope { in_step: false, ..*self }).value(expr.root()) {
            Value::Bool(truth) => Value::string(if truth { "true" } else { "false" }),
            text @ Value::String(_) => text,
            _ => Value::UNKNOWN,
        }
    }

    /// Evaluates a condition: whether it holds, as far as that is certain.
    #[must_use]
    pub fn holds(&self, condition: &Condition) -> Option<bool> {
        if condition.mixed {
            return Some(true);
        }
        self.truth(condition.expr.as_ref()?.root())
    }

    /// Tells whether an expression counts as true.
    #[must_use]
    pub fn truth(&self, node: &Node) -> Option<bool> {
        self.value(node).truth()
    }

    /// Evaluates an expression.
    #[must_use]
    pub fn value(&self, node: &Node) -> Value {
        match &node.kind {
            NodeKind::Not(inner) => match self.truth(inner) {
                Some(truth) => (!truth).into(),
                None => Value::UNKNOWN,
            },
            NodeKind::And(operands) => self.all(operands, true),
            NodeKind::Or(operands) => self.all(operands, false),
            NodeKind::Compare {
                comparison: comparison @ (Comparison::Equal | Comparison::NotEqual),
                left,
                right,
            } => {
                let known = self.compared(left, right).or_else(|| self.compared(right, left)).flatten();
                let equal = known.or_else(|| self.value(left).loosely_equals(&self.value(right)));
                let equal = equal.or_else(|| self.result_differs(left, right));
                let equal = equal.or_else(|| self.is_no_repository(left, right));
                equal.map_or(Value::UNKNOWN, |equal| (equal == (*comparison == Comparison::Equal)).into())
            }
            NodeKind::Call { function, arguments } => self.call(*function, arguments, node),
            _ => evaluate(node, self, &mut Fuel::default()).unwrap_or(Value::UNKNOWN),
        }
    }

    /// `&&` ends at the first that is false, `||` at the first that is true.
    fn all(&self, operands: &[Node], and: bool) -> Value {
        let mut known = true;
        let mut last = Value::Null;
        for operand in operands {
            let value = self.value(operand);
            match value.truth() {
                Some(truth) if truth != and => {
                    return if known {
                        value
                    } else {
                        Value::Unknown(if and { Leaning::Falsy } else { Leaning::Truthy })
                    };
                }
                Some(_) => {}
                None => known = false,
            }
            last = value;
        }
        if known { last } else { Value::UNKNOWN }
    }

    /// Compares a path whose set of texts is known with a literal. The outer `None`: they are no such pair.
    fn compared(&self, path: &Node, literal: &Node) -> Option<Option<bool>> {
        let texts = self.texts(path)?;
        let NodeKind::Literal(Literal::String(text)) = &literal.kind else { return None };
        Some(texts.equals(text))
    }

    /// A job, a step and a run have one of a few results.
    fn result_differs(&self, left: &Node, right: &Node) -> Option<bool> {
        let (results, other) =
            results(left).map(|known| (known, right)).or_else(|| Some((results(right)?, left)))?;
        let NodeKind::Literal(Literal::String(text)) = &other.kind else { return None };
        (!results.iter().any(|known| text.eq_ignore_ascii_case(known))).then_some(false)
    }

    /// Compares the name of the repository with what the event does not bring: the name has a slash, so it is no number, and
    /// equals nothing that is empty.
    ///
    /// Source: GitHub, "Evaluate expressions in workflows and actions": null is 0, a text that is no number is `NaN`.
    fn is_no_repository(&self, left: &Node, right: &Node) -> Option<bool> {
        let names = |node: &Node| {
            let references = node.references();
            references.first().is_some_and(|found| {
                found.whole && found.path.iter().map(|(name, _)| *name).eq(["github", "repository"])
            })
        };
        let other = if names(left) { right } else { Some(left).filter(|_| names(right))? };
        matches!(self.value(other), Value::Null).then_some(false)
    }

    fn texts(&self, node: &Node) -> Option<Texts> {
        let references = node.references();
        let reference = references.first().filter(|reference| reference.whole)?;
        if !matches!(node.kind, NodeKind::Access { .. }) {
            return None;
        }
        let path: Vec<&str> = reference.path.iter().map(|(name, _)| *name).collect();
        if let (["env", name], true) = (&path[..], self.in_step) {
            // `TARGET: ${{ inputs.target }}` has the texts of the input.
            return (Scope { in_step: false, ..*self }).texts(self.set_to(name)?.root());
        }
        self.world.texts(&path)
    }

    fn call(&self, function: Function, arguments: &[Node], node: &Node) -> Value {
        if let (Function::StartsWith | Function::EndsWith | Function::Contains, [text, part]) =
            (function, arguments)
            && let Some(texts) = self.texts(text)
            && let NodeKind::Literal(Literal::String(part)) = &part.kind
        {
            let known = match function {
                Function::StartsWith => texts.starts_with(part),
                Function::EndsWith => texts.ends_with(part),
                _ => texts.contains(part),
            };
            return known.map_or(Value::UNKNOWN, Value::from);
        }
        evaluate(node, self, &mut Fuel::default()).unwrap_or(Value::UNKNOWN)
    }
}

/// Returns the texts of which a path is one, if it is a result.
///
/// Source: GitHub, "Contexts reference", and the REST API of workflow runs.
fn results(node: &Node) -> Option<&'static [&'static str]> {
    const OF_JOB: &[&str] = &["success", "failure", "cancelled", "skipped"];
    const OF_RUN: &[&str] = &[
        "success",
        "failure",
        "neutral",
        "cancelled",
        "skipped",
        "timed_out",
        "action_required",
        "stale",
        "startup_failure",
        "",
    ];
    let references = node.references();
    let reference = references.first().filter(|reference| reference.whole)?;
    let path: Vec<&str> = reference.path.iter().map(|(name, _)| *name).collect();
    match path[..] {
        ["needs", _, "result"] => Some(OF_JOB),
        // A step that has not run has none.
        ["steps", _, "outcome" | "conclusion"] => Some(&["success", "failure", "cancelled", "skipped", ""]),
        ["job", "status"] => Some(&["success", "failure", "cancelled"]),
        ["github", "event", "workflow_run", "conclusion"] => Some(OF_RUN),
        _ => None,
    }
}

impl Context for Scope<'_> {
    fn lookup(&self, name: &str) -> Option<Value> {
        // Names without a path: `needs`, `matrix`, or such as nobody knows.
        let _ = name;
        Some(Value::UNKNOWN)
    }

    fn resolve(&self, path: &[&str]) -> Option<Resolved> {
        let used = path.len();
        let value = match path[0].to_ascii_lowercase().as_str() {
            "github" | "inputs" => self.world.value(path),
            "env" if self.in_step && path.len() == 2 => self.env(path[1]),
            "needs" if path.len() >= 2 => self.need(path[1], path.get(2).copied()),
            "matrix" if path.len() == 2 => match self.cell {
                Some(cell) => cell
                    .iter()
                    .find(|(name, _)| name.eq_ignore_ascii_case(path[1]))
                    .map_or(Value::Null, |(_, value)| (*value).clone()),
                None => Value::UNKNOWN,
            },
            _ => Value::UNKNOWN,
        };
        Some(Resolved { value, used })
    }

    fn status(&self, status: Status) -> Option<bool> {
        if self.in_step {
            return None;
        }
        let never = self.ancestors.iter().any(|&job| self.runs.get(job) == Some(&Run::Never));
        match status {
            Status::Success if never => Some(false),
            Status::Success if self.ancestors.is_empty() => Some(true),
            Status::Failure if self.ancestors.iter().all(|&job| self.runs.get(job) == Some(&Run::Never)) => {
                Some(false)
            }
            _ => None,
        }
    }
}

/// Tells for each job whether it runs in a situation. `skipped` tells of a job that calls a workflow whether none of the
/// jobs there runs, and with them the call.
#[must_use]
pub fn runs(
    workflow: &Workflow,
    closures: &[Vec<usize>],
    world: &World,
    skipped: impl Fn(usize) -> bool,
) -> Vec<Run> {
    let mut order: Vec<usize> = (0..workflow.jobs.len()).collect();
    // Those with fewer ancestors come first, so that in an acyclic graph every need comes before what needs it.
    order.sort_by_key(|&job| (closures[job].len(), job));
    let mut runs = vec![Run::Maybe; workflow.jobs.len()];
    for job in order {
        let ancestors = &closures[job];
        let scope = Scope { world, workflow, runs: &runs, job, ancestors, in_step: false, cell: None };
        let condition = workflow.jobs[job].condition.as_ref();
        let asks = condition.is_some_and(Condition::asks_status);
        let ancestors = ancestors.iter().map(|&at| runs[at]).min().unwrap_or(Run::Always);
        let own = match condition.map(|condition| scope.holds(condition)) {
            _ if skipped(job) => Run::Never,
            None | Some(Some(true)) => Run::Always,
            Some(Some(false)) => Run::Never,
            Some(None) => Run::Maybe,
        };
        runs[job] = if asks { own } else { own.min(ancestors) };
    }
    runs
}
