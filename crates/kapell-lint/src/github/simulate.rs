//! Plays a workflow through with every way in which its unknown conditions can turn out, all jobs that run succeeding.

use std::collections::HashMap;

use kapell_core::expr::{Comparison, Function, Literal, Node, NodeKind};
use kapell_spec::github::Condition;

use super::{
    Flow,
    conditions::{self, Run, Scope},
};

/// How many ways are played through before giving up in silence.
const WAYS: usize = 2048;

/// A job that is skipped because one further up is, although the one between ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Through {
    /// The job further up.
    pub skipped: usize,
    /// The job that `at` needs itself, which ran after the other was skipped.
    pub between: usize,
}

/// Parts of conditions whose truth is not known, with the truth that is assumed.
#[derive(Default)]
struct Assumed {
    order: Vec<String>,
    truth: HashMap<String, bool>,
    /// What to assume of the first so many parts, in the order in which they are met.
    script: Vec<bool>,
}

impl Assumed {
    fn ask(&mut self, key: &str) -> bool {
        if let Some(&known) = self.truth.get(key) {
            return known;
        }
        let truth = self.script.get(self.order.len()).copied().unwrap_or(false);
        self.order.push(key.to_owned());
        self.truth.insert(key.to_owned(), truth);
        truth
    }

    /// Returns what to assume next time, as one counts in binary from the end.
    fn next(&self) -> Option<Vec<bool>> {
        let mut script: Vec<bool> = self.order.iter().map(|key| self.truth[key]).collect();
        while script.pop()? {}
        script.push(true);
        Some(script)
    }
}

/// Finds a way in which `at` is skipped although all that it needs itself succeeded, and its own condition holds.
#[must_use]
pub fn skipped_through(flow: &Flow, world: usize, at: usize) -> Option<Through> {
    let mut order: Vec<usize> = flow.closures[at].clone();
    order.sort_by_key(|&job| (flow.closures[job].len(), job));
    let direct = conditions::direct(&flow.model, &flow.model.jobs[at]);
    let mut script = Vec::new();
    for _ in 0..WAYS {
        let mut assumed = Assumed { script, ..Assumed::default() };
        let mut ran: HashMap<usize, bool> = HashMap::new();
        for &job in &order {
            let runs = job_runs(flow, world, job, &ran, &mut assumed);
            ran.insert(job, runs);
        }
        let all_direct = direct.iter().all(|need| ran.get(need) == Some(&true));
        if all_direct && own_holds(flow, world, at, &ran, &mut assumed) {
            let skipped = order.iter().copied().find(|job| !ran[job] && !direct.contains(job));
            let between =
                skipped.and_then(|up| direct.iter().copied().find(|&need| flow.closures[need].contains(&up)));
            if let (Some(skipped), Some(between)) = (skipped, between) {
                return Some(Through { skipped, between });
            }
        }
        script = assumed.next()?;
    }
    None
}

fn job_runs(
    flow: &Flow,
    world: usize,
    job: usize,
    ran: &HashMap<usize, bool>,
    assumed: &mut Assumed,
) -> bool {
    let asks = flow.model.jobs[job].condition.as_ref().is_some_and(Condition::asks_status);
    let all = flow.closures[job].iter().all(|up| ran.get(up).copied().unwrap_or(true));
    (asks || all) && own_holds(flow, world, job, ran, assumed)
}

fn own_holds(
    flow: &Flow,
    world: usize,
    job: usize,
    ran: &HashMap<usize, bool>,
    assumed: &mut Assumed,
) -> bool {
    let Some(condition) = &flow.model.jobs[job].condition else { return true };
    let Some(expr) = &condition.expr else { return true };
    let runs: Vec<Run> = (0..flow.model.jobs.len())
        .map(|at| match ran.get(&at) {
            Some(true) => Run::Always,
            Some(false) => Run::Never,
            None => flow.runs[world][at],
        })
        .collect();
    let scope = Scope { runs: &runs, ..flow.scope(world, job, false) };
    let play = Play { flow, scope, job, ran };
    play.truth(expr.root(), assumed)
}

struct Play<'a> {
    flow: &'a Flow,
    scope: Scope<'a>,
    job: usize,
    ran: &'a HashMap<usize, bool>,
}

impl Play<'_> {
    fn truth(&self, node: &Node, assumed: &mut Assumed) -> bool {
        match &node.kind {
            NodeKind::Not(inner) => !self.truth(inner, assumed),
            NodeKind::And(operands) => operands.iter().all(|operand| self.truth(operand, assumed)),
            NodeKind::Or(operands) => operands.iter().any(|operand| self.truth(operand, assumed)),
            NodeKind::Call { function, .. } if function.status().is_some() => match function {
                Function::Always => true,
                Function::Success => {
                    self.flow.closures[self.job].iter().all(|up| self.ran.get(up) != Some(&false))
                }
                _ => false,
            },
            NodeKind::Compare {
                comparison: comparison @ (Comparison::Equal | Comparison::NotEqual),
                left,
                right,
            } => {
                let equal = self.equal(left, right).or_else(|| self.equal(right, left));
                let positive = *comparison == Comparison::Equal;
                match equal.or_else(|| self.scope.truth(node).map(|truth| truth == positive)) {
                    Some(equal) => equal == positive,
                    None => self.assume(left, right, assumed) == positive,
                }
            }
            _ => self.scope.truth(node).unwrap_or_else(|| assumed.ask(&print(node))),
        }
    }

    /// Compares the result of a job, which is success or skipped here.
    fn equal(&self, path: &Node, literal: &Node) -> Option<bool> {
        let NodeKind::Literal(Literal::String(text)) = &literal.kind else { return None };
        let references = path.references();
        let reference =
            references.first().filter(|reference| reference.whole && reference.path.len() == 3)?;
        if !reference.path[0].0.eq_ignore_ascii_case("needs") || reference.path[2].0 != "result" {
            return None;
        }
        let index = self
            .flow
            .model
            .jobs
            .iter()
            .position(|job| job.id.text.eq_ignore_ascii_case(reference.path[1].0))?;
        let result = if *self.ran.get(&index)? { "success" } else { "skipped" };
        Some(text.eq_ignore_ascii_case(result))
    }

    /// A value equals at most one of several literals.
    fn assume(&self, left: &Node, right: &Node, assumed: &mut Assumed) -> bool {
        let (path, literal) =
            if matches!(left.kind, NodeKind::Literal(_)) { (right, left) } else { (left, right) };
        let base = format!("{} == ", print(path));
        let key = format!("{base}{}", print(literal));
        let taken =
            assumed.truth.iter().any(|(other, truth)| *truth && *other != key && other.starts_with(&base));
        !taken && assumed.ask(&key)
    }
}

/// Writes a part of a condition so that the same parts have the same text.
fn print(node: &Node) -> String {
    match &node.kind {
        NodeKind::Name(name) => name.to_ascii_lowercase(),
        NodeKind::Literal(Literal::String(text)) => format!("'{text}'"),
        NodeKind::Access { .. } => {
            let references = node.references();
            match references.first().filter(|reference| reference.whole) {
                Some(reference) => reference
                    .path
                    .iter()
                    .map(|(name, _)| name.to_ascii_lowercase())
                    .collect::<Vec<_>>()
                    .join("."),
                None => format!("{:?}", node.kind),
            }
        }
        // Spans are part of this, so that such a part is only the same as itself.
        kind => format!("{kind:?}"),
    }
}
