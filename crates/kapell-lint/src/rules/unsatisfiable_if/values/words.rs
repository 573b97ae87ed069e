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
    if let Some(what) = by_pattern(node) {
        let grave = carry::changes(flow, at);
        report
            .add(
                flow.file,
                expression.span(&flow.text),
                format!("{what}: `*` stands for itself here, and no ref has it in its name"),
            )
            .severity(if grave { Severity::High } else { Severity::Medium })
            .hint("ask with `startsWith`, without the `*`")
            .done();
        return;
    }
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
    ("pre-commit-ci", "pre-commit-ci[bot]"),
];

/// Returns the name of the bot that is meant where somebody's name is compared with a part of it.
fn bot(node: &Node, word: &str) -> Option<&'static str> {
    let NodeKind::Access { .. } = &node.kind else { return None };
    let (_, app) = BOTS.iter().find(|row| row.0.eq_ignore_ascii_case(word))?;
    let references = node.references();
    let reference = references.first().filter(|reference| reference.whole)?;
    let path: Vec<&str> = reference.path.iter().map(|(name, _)| *name).collect();
    let person = matches!(
        path[..],
        ["github", "actor" | "triggering_actor"]
            | ["github", "event", .., "user" | "sender" | "author", "login"]
    );
    person.then_some(app)
}

/// Tells whether an expression compares a ref with a pattern somewhere.
pub(in crate::rules::unsatisfiable_if) fn has_pattern(root: &Node) -> bool {
    let mut found = false;
    root.walk(&mut |node| found |= by_pattern(node).is_some());
    found
}

/// Says that a ref is compared with a text that has a `*`.
///
/// Source: `git help check-ref-format`: no name of a ref has one.
fn by_pattern(node: &Node) -> Option<&'static str> {
    let (path, word, says) = match &node.kind {
        NodeKind::Compare { comparison: sign @ (Comparison::Equal | Comparison::NotEqual), left, right } => {
            let (path, word) = text(right).map(|word| (left, word)).or_else(|| Some((right, text(left)?)))?;
            let says = if *sign == Comparison::Equal {
                "this comparison never holds"
            } else {
                "this comparison always holds"
            };
            (&**path, word, says)
        }
        NodeKind::Call {
            function: Function::Contains | Function::StartsWith | Function::EndsWith,
            arguments,
        } => {
            let [path, part] = &arguments[..] else { return None };
            (path, text(part)?, "this never holds")
        }
        _ => return None,
    };
    let NodeKind::Access { .. } = &path.kind else { return None };
    if !word.contains('*') {
        return None;
    }
    let references = path.references();
    let reference = references.first().filter(|reference| reference.whole)?;
    let parts: Vec<&str> = reference.path.iter().map(|(name, _)| *name).collect();
    let is_ref = matches!(
        parts[..],
        ["github", "ref" | "ref_name" | "head_ref" | "base_ref"]
            | ["github", "event", "workflow_run", "head_branch"]
            | ["github", "event", "release", "tag_name"]
            | ["github", "event", "pull_request", "head" | "base", "ref"]
    );
    is_ref.then_some(says)
}
