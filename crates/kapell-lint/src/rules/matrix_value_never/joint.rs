//! Values of several axes that no cell has at once, though each of them occurs: their pair is excluded, or never included.

use kapell_core::expr::{Comparison, Node, NodeKind, Value};
use kapell_spec::finding::Span;
use kapell_view::audit::Severity;

use super::axis_of;
use crate::{
    github::{Flow, carry, conditions::Scope},
    rule::Report,
};

/// Tells whether each part of `a && b` that asks for values of the matrix holds in some cell, and all together in none.
pub(super) fn never(flow: &Flow, at: usize, node: &Node, cells: &[Vec<(&str, &Value)>]) -> bool {
    let NodeKind::And(operands) = &node.kind else { return false };
    let asking: Vec<&Node> = operands.iter().filter(|operand| of_matrix(operand)).collect();
    // What only leaves values out is kept for those that may come.
    if asking.len() < 2 || !asking.iter().any(|operand| is_equal(operand)) {
        return false;
    }
    let holds = |operand: &Node, cell: &[(&str, &Value)]| {
        let scope = Scope { cell: Some(cell), ..flow.scope(0, at, true) };
        scope.truth(operand) != Some(false)
    };
    asking.iter().all(|operand| cells.iter().any(|cell| holds(operand, cell)))
        && !cells.iter().any(|cell| asking.iter().all(|operand| holds(operand, cell)))
}

/// Tells whether an expression asks for the matrix and nothing else.
fn of_matrix(node: &Node) -> bool {
    let references = node.references();
    let own = |name: &str| name.eq_ignore_ascii_case("matrix");
    !references.is_empty()
        && references.iter().all(|reference| reference.path.first().is_some_and(|(name, _)| own(name)))
}

fn is_equal(node: &Node) -> bool {
    matches!(&node.kind, NodeKind::Compare { comparison: Comparison::Equal, left, right }
        if axis_of(left).is_some() || axis_of(right).is_some())
}

pub(super) fn tell(flow: &Flow, at: usize, span: Span, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    report
        .add(
            flow.file,
            span,
            format!("no cell of the matrix of `{}` has all of these values at once", job.id.text),
        )
        .severity(if carry::delivers(flow, at) { Severity::High } else { Severity::Medium })
        .also(
            flow.file,
            job.matrix.as_ref().map_or(job.id.span, |matrix| matrix.span),
            "the cells that there are",
        )
        .hint("ask for values of one cell, or add that cell under `include`")
        .done();
}
