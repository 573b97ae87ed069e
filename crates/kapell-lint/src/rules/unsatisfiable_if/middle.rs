//! `a && '' || b`: what is picked where `a` holds counts as false, so it is always `b`.

use kapell_core::expr::{Literal, Node, NodeKind};
use kapell_spec::{finding::Span, github::Expression};
use kapell_view::audit::Severity;

use crate::{
    github::{Flow, carry, tools::Kind},
    rule::Report,
};

/// Looks at each expression of the jobs. One mistake in several places of a workflow is told once.
///
/// Source: GitHub, "Evaluate expressions in workflows and actions", "Operators": `false`, `0`, `-0`, `""` and `null` are falsy,
/// and `a && b || c` stands for a choice only where `b` is not.
pub(super) fn check(flow: &Flow, report: &mut Report<'_>) {
    let mut found: Vec<(usize, &Expression, String)> = Vec::new();
    for (at, job) in flow.jobs() {
        for expression in &job.expressions {
            let mut always = None;
            expression.expr.root().walk(&mut |node| always = always.take().or_else(|| never_picked(node)));
            if let Some(always) = always {
                found.push((at, expression, always));
            }
        }
    }
    while let Some((_, first, always)) = found.first().cloned() {
        let (same, rest): (Vec<_>, Vec<_>) = found.into_iter().partition(|(.., other)| *other == always);
        let grave = same.iter().any(|(at, expression, _)| matters(flow, *at, expression));
        let span = first.span(&flow.text);
        let mut draft = report
            .add(
                flow.file,
                span,
                format!("this is {always} whether or not the condition in it holds: what stands between `&&` and `||` counts as false"),
            )
            .severity(if grave { Severity::High } else { Severity::Medium })
            .hint("turn the condition around, so that the value that is not empty comes first: `!a && b || ''`");
        let mut told = vec![span];
        for (_, expression, _) in &same[1..] {
            let span = expression.span(&flow.text);
            if !told.contains(&span) {
                told.push(span);
                draft = draft.also(flow.file, span, "here too");
            }
        }
        draft.done();
        found = rest;
    }
}

/// Returns what an alternative always is, if what it picks first is a literal that counts as false: `a && '' || 'b'`.
///
/// The last one may count as false as well: then nothing is lost if both are the same.
fn never_picked(node: &Node) -> Option<String> {
    let NodeKind::Or(operands) = &node.kind else { return None };
    let [first, last] = &operands[..] else { return None };
    let NodeKind::And(parts) = &first.kind else { return None };
    let picked = parts.last().and_then(falsy)?;
    let other = match &last.kind {
        NodeKind::Literal(literal) => shown(literal),
        _ => "what stands behind `||`".to_owned(),
    };
    (shown(picked) != other).then_some(other)
}

/// Returns a literal that counts as false.
fn falsy(node: &Node) -> Option<&Literal> {
    let NodeKind::Literal(literal) = &node.kind else { return None };
    let empty = match literal {
        Literal::Null => true,
        Literal::Bool(truth) => !truth,
        Literal::Number(number) => *number == 0.0,
        Literal::String(text) => text.is_empty(),
    };
    empty.then_some(literal)
}

fn shown(literal: &Literal) -> String {
    match literal {
        Literal::Null => "`null`".to_owned(),
        Literal::Bool(truth) => format!("`{truth}`"),
        Literal::Number(number) => format!("`{number}`"),
        Literal::String(text) => format!("`'{text}'`"),
    }
}

/// Tells whether an expression decides how something is tested or delivered, or whether a delivery is.
fn matters(flow: &Flow, at: usize, expression: &Expression) -> bool {
    let job = &flow.model.jobs[at];
    let inside = |span: Span| span.start <= expression.scalar.start && expression.scalar.end <= span.end;
    let step = flow.steps(at).find(|(step, _)| inside(step.span));
    match step {
        Some((_, facts)) => {
            let tests = |kind: Kind| kind == Kind::Test || kind.delivers();
            facts.works.iter().any(|done| tests(done.work.kind))
        }
        None => job.condition.as_ref().is_some_and(|own| inside(own.span)) && carry::delivers(flow, at),
    }
}
