//! Conditions that ask for the status of their own job.

use kapell_core::expr::{Comparison, Literal, Node, NodeKind};
use kapell_spec::github::Condition;

/// Tells whether a condition needs the status of its job to be that of a failure: `job.status == 'failure'`.
pub(super) fn asks(condition: &Condition) -> bool {
    let is = |node: &Node| {
        let NodeKind::Compare { comparison, left, right } = &node.kind else { return false };
        let status = |node: &Node| {
            let references = node.references();
            references.first().is_some_and(|found| {
                found.whole && found.path.iter().map(|(name, _)| *name).eq(["job", "status"])
            })
        };
        let other = if status(left) { right } else { left };
        let text = match &other.kind {
            NodeKind::Literal(Literal::String(text)) if status(left) || status(right) => {
                text.to_ascii_lowercase()
            }
            _ => return false,
        };
        *comparison == Comparison::Equal && text == "failure"
            || *comparison == Comparison::NotEqual && text == "success"
    };
    condition.expr.as_ref().is_some_and(|expr| match &expr.root().kind {
        NodeKind::And(operands) => operands.iter().any(is),
        _ => is(expr.root()),
    })
}
