//! Comparisons of truth values and of names of bots with words that they never are.

use kapell_core::expr::{Comparison, Function, Literal, Node, NodeKind};
use kapell_spec::github::Expression;
use kapell_view::audit::Severity;

use crate::{
    github::{Flow, carry},
    rule::Report,
};

/// Looks at one node of an expression.
pub(super) fn check(flow: &Flow, at: usize, node: &Node, expression: &Expression, report: &mut Report<'_>) {
    let NodeKind::Compare { comparison: sign @ (Comparison::Equal | Comparison::NotEqual), left, right } =
        &node.kind
    else {
        return;
    };
    let Some((other, word)) = text(right).map(|word| (left, word)).or_else(|| Some((right, text(left)?)))
    else {
        return;
    };
    let says = if *sign == Comparison::Equal { "never holds" } else { "always holds" };
    let (message, hint) = if is_truth(other) && matches!(word, "true" | "false") {
        (
            format!(
                "the comparison with `'{word}'` {says}: what stands there is `true` or `false`, and no text"
            ),
            format!("compare with `{word}`, without quotes, or drop the comparison"),
        )
    } else if let Some(app) = bot(other, word) {
        (
            format!("the comparison with `'{word}'` {says}: the name of that bot is `{app}`"),
            format!("write `'{app}'`"),
        )
    } else {
        return;
    };
    let grave = carry::changes(flow, at) && is_truth(other);
    report
        .add(flow.file, expression.span(&flow.text), message)
        .severity(if grave { Severity::High } else { Severity::Medium })
        .hint(hint)
        .done();
}

fn text(node: &Node) -> Option<&str> {
    let NodeKind::Literal(Literal::String(text)) = &node.kind else { return None };
    Some(text)
}

/// Tells whether a node is always `true` or `false`: compared with a text both are taken for numbers, and a word is none.
///
/// Source: GitHub, "Evaluate expressions in workflows and actions", section "Operators".
fn is_truth(node: &Node) -> bool {
    match &node.kind {
        NodeKind::Not(_) | NodeKind::Compare { .. } => true,
        NodeKind::Call { function, .. } => matches!(
            function,
            Function::Contains
                | Function::StartsWith
                | Function::EndsWith
                | Function::Success
                | Function::Failure
                | Function::Always
                | Function::Cancelled
        ),
        _ => false,
    }
}

/// Bots whose work starts workflows: nobody else has the name without what stands in brackets.
///
/// Source: GitHub, "About apps that act on their own behalf": the login of an app ends with `[bot]`.
const BOTS: &[(&str, &str)] = &[
    ("dependabot", "dependabot[bot]"),
    ("github-actions", "github-actions[bot]"),
    ("renovate", "renovate[bot]"),
    ("pre-commit-ci", "pre-commit-ci[bot]"),
];

/// Returns the name of the bot that is meant where somebody's name is compared with a part of it.
fn bot(node: &Node, word: &str) -> Option<&'static str> {
    let NodeKind::Access { .. } = &node.kind else { return None };
    let references = node.references();
    let reference = references.first().filter(|reference| reference.whole)?;
    let path: Vec<&str> = reference.path.iter().map(|(name, _)| *name).collect();
    let person = matches!(
        path[..],
        ["github", "actor" | "triggering_actor"]
            | ["github", "event", .., "user" | "sender" | "author", "login"]
    );
    BOTS.iter().find(|row| person && row.0.eq_ignore_ascii_case(word)).map(|row| row.1)
}
