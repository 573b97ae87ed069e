//! Words for which a job that stands for others looks in results, and that are none.

use kapell_core::expr::{Literal, NodeKind};

use crate::github::Flow;

/// Words that people take for a result.
///
/// Source: GitHub, "Contexts reference": `needs.<job_id>.result` is `success`, `failure`, `cancelled` or `skipped`.
const NONE: &[&str] = &["failed", "errored", "error", "canceled", "broken", "red"];

/// Returns what a job looks for in results, if that is no result and it looks for nothing else that tells of a failure.
#[must_use]
pub fn asks_for_no_result(flow: &Flow, at: usize) -> Option<&'static str> {
    let job = &flow.model.jobs[at];
    // What another action looks for is its own.
    if flow.steps(at).any(|(step, _)| step.uses.is_some() && !step.is("actions/github-script")) {
        return None;
    }
    let text = flow.text.get(job.span.range())?;
    if !NONE.iter().any(|word| text.contains(word)) {
        return None;
    }
    let code = |line: &&str| {
        let line = line.trim_start().trim_start_matches("- ");
        let said = ["#", "//", "name:", "echo", "run: echo", "printf", "run: printf"];
        !said.iter().any(|start| line.starts_with(start))
    };
    let own = format!("{}:", job.id.text);
    let text = text.lines().filter(code).filter(|line| line.trim() != own).collect::<Vec<_>>().join("\n");
    // Whoever asks for what is different from such a word is always red, and a part of a word may stand in a result.
    if ["failure", "success", "!="].iter().any(|word| text.contains(word)) || names_part(&text) {
        return None;
    }
    let mut said: Vec<String> = Vec::new();
    for expression in &job.expressions {
        expression.expr.root().walk(&mut |node| {
            if let NodeKind::Literal(Literal::String(text)) = &node.kind {
                said.push(text.to_ascii_lowercase());
            }
        });
    }
    let by_expression = NONE.iter().copied().find(|word| said.iter().any(|said| said == word));
    let reads = || ["needs.", "needs)", "needs["].iter().any(|word| text.contains(word));
    by_expression
        .or_else(|| NONE.iter().copied().find(|word| reads() && text.lines().any(|line| seeks(line, word))))
}

/// Tells whether a word is named that a result holds as a part: `grep -qE 'fail|cancel'`.
fn names_part(text: &str) -> bool {
    text.match_indices("fail").any(|(at, part)| {
        let inside = |c: char| c.is_alphanumeric() || c == '_';
        !text[at + part.len()..].starts_with(inside) && !text[..at].ends_with(inside)
    })
}

/// Tells whether a line of code compares something with a word, or looks for it: `[ "$LINT" = failed ]`, `failed) exit 1 ;;`,
/// `grep -q '"failed"'`, `results.includes('failed')`.
fn seeks(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        let quote = |c: char| matches!(c, '\'' | '"');
        let (open, close) = (before.ends_with(quote), after.trim_start_matches('\\').starts_with(quote));
        let head = before.trim_end_matches(|c: char| quote(c) || c == '\\').trim_end();
        // What is said to people, and the value of a variable, is not looked for.
        let said =
            ["echo", "printf", "Failed(", "Error(", "error(", "log(", "info(", "warning(", "notice(", "::"];
        if said.iter().any(|word| head.ends_with(word)) {
            return false;
        }
        let compared = head.ends_with("==") || head.ends_with(" =");
        let pattern = (head.is_empty() || head.ends_with(['|', '*', '(']))
            && after.starts_with([')', '|', '*'])
            || head.ends_with("in") && after.starts_with(')');
        let listed = open && close && (head.ends_with(['(', '[', ',']) || after.contains(" in "));
        let sought = head.split_whitespace().rev().find(|part| !part.starts_with('-')) == Some("grep")
            && !before.ends_with(char::is_alphanumeric)
            && !after.starts_with(char::is_alphanumeric);
        let of_json = before.ends_with("\"") && head.ends_with(':') && line.contains("grep");
        // `[ "$failed" = 1 ]` and `failed=1` are names.
        let whole = !before
            .ends_with(|c: char| c.is_alphanumeric() || matches!(c, '$' | '{' | '_' | '-' | '.'))
            && !after.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '=' | '_' | '-' | '.'));
        whole && (compared || pattern || listed || sought || of_json)
    })
}
