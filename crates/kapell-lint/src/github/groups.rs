//! Groups of `concurrency`: which runs share one.

use kapell_core::expr::{Node, NodeKind, Template};

use super::conditions::Scope;

/// What is another one in each run, or in each commit.
const OF_RUN: &[&str] = &["run_id", "run_number", "run_attempt", "sha"];

/// Tells whether a group names the run or the commit anywhere.
#[must_use]
pub fn names_run(group: &str) -> bool {
    OF_RUN.iter().any(|name| group.contains(&format!("github.{name}")))
}

/// Tells whether a group is that of one run alone in a situation: it holds its number, or the commit, and does not take
/// something else in its place, as `github.head_ref || github.run_id` does in a pull request.
#[must_use]
pub fn of_one_run(scope: &Scope<'_>, group: &str) -> bool {
    let Ok(template) = Template::parse(group) else { return false };
    template.placeholders().iter().any(|placeholder| picks_run(scope, placeholder.expr.root()))
}

/// Tells whether the value of an expression is, or holds, that of one run.
fn picks_run(scope: &Scope<'_>, node: &Node) -> bool {
    match &node.kind {
        // The first that is not empty, and the last if none is.
        NodeKind::Or(operands) => {
            let taken = operands.iter().find(|operand| scope.truth(operand) != Some(false));
            taken.or(operands.last()).is_some_and(|operand| picks_run(scope, operand))
        }
        NodeKind::And(operands) => {
            let taken = operands.iter().find(|operand| scope.truth(operand) == Some(false));
            taken.or(operands.last()).is_some_and(|operand| picks_run(scope, operand))
        }
        NodeKind::Call { arguments, .. } => arguments.iter().any(|argument| picks_run(scope, argument)),
        _ => node.references().iter().any(|reference| {
            let path: Vec<&str> = reference.path.iter().map(|(name, _)| *name).collect();
            matches!(path[..], ["github", name] if OF_RUN.contains(&name))
        }),
    }
}
