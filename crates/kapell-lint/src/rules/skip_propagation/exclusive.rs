//! Conditions that exclude each other: a job waits for another, and both ask the same thing for different answers.

use kapell_core::expr::{Comparison, Literal, Node, NodeKind};

use crate::{
    github::{Flow, conditions::Run},
    rule::Report,
};

/// Two jobs that it waits for each run in some situation, and never in the same.
pub(super) fn never_together(flow: &Flow, at: usize, possible: &[usize], report: &mut Report<'_>) -> bool {
    let never = |world: usize, up: usize| flow.runs[world][up] == Run::Never;
    // Those that are skipped by a condition of their own are to blame, and not what waits for them.
    let ups: Vec<usize> = flow.closures[at]
        .iter()
        .copied()
        .filter(|&up| {
            flow.model.jobs[up].condition.is_some() && (0..flow.worlds.len()).any(|world| !never(world, up))
        })
        .collect();
    let pairs =
        ups.iter().enumerate().flat_map(|(index, &one)| ups[index + 1..].iter().map(move |&two| (one, two)));
    let together =
        |&(one, two): &(usize, usize)| possible.iter().all(|&world| never(world, one) || never(world, two));
    let Some((one, two)) = pairs.into_iter().find(together) else { return false };
    tell(flow, at, (one, two), report);
    true
}

/// Tells of two jobs of which one is always skipped.
fn tell(flow: &Flow, at: usize, (one, two): (usize, usize), report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let (first, second) = (&flow.model.jobs[one], &flow.model.jobs[two]);
    report
        .add(
            flow.file,
            job.needs_span(),
            format!(
                "`{}` can never run: of `{}` and `{}`, which it waits for, one is always skipped",
                job.id.text, first.id.text, second.id.text
            ),
        )
        .also(flow.file, first.condition_span(), "runs only then")
        .also(flow.file, second.condition_span(), "runs only then")
        .hint("let it run unless one has failed: `if: ${{ !failure() && !cancelled() }}`")
        .done();
}

/// What a condition needs: a path, and what it has to be.
#[derive(Debug, PartialEq)]
struct Wanted {
    path: String,
    /// Whether it has to be the text, and not anything else.
    equal: bool,
    text: String,
}

/// What stands for a path whose truth alone is asked for: any text but the empty one is as good.
const TRUTHY: &str = "(true)";

/// Returns what has to hold for a condition to hold.
fn wanted(node: &Node, found: &mut Vec<Wanted>) {
    let path = |node: &Node| {
        let NodeKind::Access { .. } = &node.kind else { return None };
        let reference = node.references().into_iter().next().filter(|reference| reference.whole)?;
        let path: Vec<String> = reference.path.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        let path = path.join(".").replace("github.event.inputs.", "inputs.");
        // What a job hands on, and the state of the event, stay the same in all jobs of a run.
        let lasts = path.starts_with("inputs.") || path.starts_with("github.") || path.starts_with("needs.");
        (lasts && !path.contains('*')).then_some(path)
    };
    match &node.kind {
        NodeKind::And(operands) => operands.iter().for_each(|operand| wanted(operand, found)),
        NodeKind::Compare { comparison: sign @ (Comparison::Equal | Comparison::NotEqual), left, right } => {
            let sides = [(left, right), (right, left)];
            let fact = sides.into_iter().find_map(|(one, other)| {
                let NodeKind::Literal(literal) = &other.kind else { return None };
                let text = match literal {
                    Literal::String(text) => text.to_ascii_lowercase(),
                    Literal::Bool(truth) => truth.to_string(),
                    _ => return None,
                };
                Some(Wanted { path: path(one)?, equal: *sign == Comparison::Equal, text })
            });
            found.extend(fact);
        }
        NodeKind::Not(inner) => {
            let fact = path(inner).map(|path| Wanted { path, equal: false, text: TRUTHY.to_owned() });
            found.extend(fact);
        }
        NodeKind::Access { .. } => {
            let fact = path(node).map(|path| Wanted { path, equal: true, text: TRUTHY.to_owned() });
            found.extend(fact);
        }
        _ => {}
    }
}

/// Tells whether two such things never hold both.
fn exclude(one: &Wanted, two: &Wanted) -> bool {
    one.path == two.path
        && match (one.equal, two.equal) {
            (true, true) => one.text != two.text && one.text != TRUTHY && two.text != TRUTHY,
            (false, false) => false,
            _ => one.text == two.text,
        }
}

/// What the conditions of a job and of all that it waits for ask excludes itself.
pub(super) fn check(flow: &Flow, at: usize, report: &mut Report<'_>) -> bool {
    let of = |job: usize| {
        let mut found = Vec::new();
        if let Some(expr) = flow.model.jobs[job].condition.as_ref().and_then(|own| own.expr.as_ref()) {
            wanted(expr.root(), &mut found);
        }
        found
    };
    let ups: Vec<(usize, Vec<Wanted>)> =
        flow.closures[at].iter().map(|&up| (up, of(up))).filter(|(_, found)| !found.is_empty()).collect();
    if ups.is_empty() {
        return false;
    }
    let own = of(at);
    let against =
        |one: &[Wanted], two: &[Wanted]| one.iter().any(|one| two.iter().any(|two| exclude(one, two)));
    if let Some((up, _)) = ups.iter().find(|(_, found)| against(&own, found)) {
        let (job, blamed) = (&flow.model.jobs[at], &flow.model.jobs[*up]);
        report
            .add(
                flow.file,
                job.id.span,
                format!(
                    "`{}` can never run: `{}`, which it waits for, is skipped whenever its own condition holds",
                    job.id.text, blamed.id.text
                ),
            )
            .also(flow.file, blamed.condition_span(), "skipped by this condition")
            .hint("ask for the status: `!failure() && !cancelled() && (...)`, or drop the need")
            .done();
        return true;
    }
    let mut pairs =
        ups.iter().enumerate().flat_map(|(index, one)| ups[index + 1..].iter().map(move |two| (one, two)));
    let Some((one, two)) = pairs.find(|(one, two)| against(&one.1, &two.1)) else { return false };
    tell(flow, at, (one.0, two.0), report);
    true
}
