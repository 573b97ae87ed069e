//! Which failures `continue-on-error` lets pass.

use kapell_core::expr::{Comparison, Expr, Literal, Node, NodeKind, Value};
use kapell_spec::github::Text;

use super::{
    Flow,
    conditions::{Run, Scope},
};

/// Which failures count as success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lenience {
    /// All of them.
    All,
    /// Those of every cell of the matrix but of one that tries what is not released yet: the wrong way round.
    AllBut(String),
}

/// Words in the values of a matrix of which nobody expects that they always pass.
const UNSURE: &[&str] = &[
    "experimental",
    "nightly",
    "canary",
    "head",
    "dev",
    "edge",
    "alpha",
    "beta",
    "rc",
    "next",
    "preview",
    "prerelease",
    "snapshot",
    "tip",
    "trunk",
    "unstable",
    "truffleruby",
    "jruby",
    "pypy",
    "graalpy",
    "insiders",
];

/// Keys of a matrix that mark such cells.
const MARKS: &[&str] = &[
    "experimental",
    "allow_failure",
    "allow-failure",
    "allowed_failure",
    "optional",
    "unstable",
    "may_fail",
];

/// Tells which failures a `continue-on-error` lets pass in every situation in which the workflow starts.
#[must_use]
pub fn lenience(flow: &Flow, text: &Text) -> Option<Lenience> {
    if text.is("true") {
        return Some(Lenience::All);
    }
    let expr = Expr::parse(text.expression()?).ok()?;
    if let Some(unsure) = unsure(expr.root()) {
        return Some(Lenience::AllBut(unsure));
    }
    // `${{ matrix.experimental }}` with `true` in every cell.
    let job =
        flow.model.jobs.iter().find(|job| job.span.start <= text.span.start && text.span.end <= job.span.end);
    let cells = job.and_then(|job| job.matrix.as_ref()).and_then(|matrix| matrix.cells()).unwrap_or_default();
    let holds = |world: usize, cell: Option<&[(&str, &Value)]>| {
        Scope { cell, ..flow.scope(world, 0, true) }.truth(expr.root()) == Some(true)
    };
    let all = !flow.worlds.is_empty()
        && (0..flow.worlds.len()).all(|world| match &cells[..] {
            [] => holds(world, None),
            cells => cells.iter().all(|cell| holds(world, Some(cell))),
        });
    all.then_some(Lenience::All)
}

/// Tells whether a `continue-on-error` lets every failure pass in all situations in which another job runs, of several that
/// the workflow has.
#[must_use]
pub fn passes_for(flow: &Flow, text: &Text, job: usize) -> bool {
    let Some(Ok(expr)) = text.expression().map(Expr::parse) else { return false };
    let mut worlds = (0..flow.worlds.len()).filter(|&world| flow.runs[world][job] != Run::Never).peekable();
    worlds.peek().is_some()
        && worlds.all(|world| flow.scope(world, job, false).truth(expr.root()) == Some(true))
}

/// Returns the value or the mark of the only cells that an expression leaves out, if nobody expects those to pass.
fn unsure(node: &Node) -> Option<String> {
    let key = |node: &Node| {
        let references = node.references();
        let path = &references.first().filter(|reference| reference.whole)?.path;
        match path[..] {
            [("matrix", _), (key, _)] => Some(key.to_owned()),
            _ => None,
        }
    };
    match &node.kind {
        NodeKind::Not(inner) => key(inner).filter(|key| MARKS.contains(&&**key)),
        NodeKind::Compare { comparison: Comparison::NotEqual, left, right } => {
            let NodeKind::Literal(Literal::String(value)) = &right.kind else { return None };
            key(left)?;
            let mut words = value.split(|letter: char| !letter.is_ascii_alphabetic());
            words
                .any(|word| UNSURE.iter().any(|known| word.eq_ignore_ascii_case(known)))
                .then(|| value.to_string())
        }
        _ => None,
    }
}
