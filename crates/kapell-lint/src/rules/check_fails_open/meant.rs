//! Who says that a check lets through on purpose what it could not look at.

use crate::{
    code::{Id, Unit},
    intent::says,
};

/// Words that say of a whole function that it does so.
pub(in crate::rules) const OPEN: &[&str] = &[
    "fail open",
    "fail-open",
    "fails open",
    "fails-open",
    "failing open",
    "failopen",
    "fail_open",
    "let it through",
    "let through",
    "lets through",
];

/// Words that say so where a failure is answered, and elsewhere may be about anything.
pub(in crate::rules) const HERE: &[&str] = &[
    "best effort",
    "best-effort",
    "on purpose",
    "deliberate",
    "intention",
    "never block",
    "not block",
    "don't block",
    "doesn't block",
    "won't block",
    "advisory",
];

/// Returns the line of a comment, or of what a function says of itself, by which an answer to a failure is meant: one in or
/// right above its handler, or one about the function that says in so many words that it lets everything through.
pub(super) fn said(unit: &Unit, function: Id, answer: Id) -> Option<String> {
    let handler = unit.syntax.around(answer).find(|&id| unit.is_handler(id))?;
    if let Some(line) = beside(unit, handler, &[OPEN, HERE]) {
        return Some(line);
    }
    // What it logs there says so as well, in plainer words.
    let logged = unit.syntax.below(handler).filter(|&id| unit.kind(id) == "string");
    if let Some(line) = logged.into_iter().find_map(|id| line_of(unit.text(id), &[OPEN])) {
        return Some(line);
    }
    let (head, _) = lines(unit, function);
    let comments = || unit.syntax.of_kind(&["comment"]);
    let above = comments().filter(|&id| {
        let (_, end) = lines(unit, id);
        end + 1 == head || end == head
    });
    let within = comments().filter(|&id| unit.function_of(id) == function);
    let about = above.chain(within).chain(docstring(unit, function));
    about.into_iter().find_map(|id| line_of(unit.text(id), &[OPEN]))
}

/// Returns the line of a comment in or right above a node that has one of these words, and nothing that turns it round.
pub(in crate::rules) fn beside(unit: &Unit, node: Id, known: &[&[&str]]) -> Option<String> {
    let (first, last) = lines(unit, node);
    // A comment behind the last line of a block is no part of it.
    let mut near = unit.syntax.of_kind(&["comment"]).filter(|&id| {
        let (start, end) = lines(unit, id);
        end + 1 >= first && start <= last
    });
    near.find_map(|id| line_of(unit.text(id), known))
}

/// Returns the first and the last line of a node.
fn lines(unit: &Unit, id: Id) -> (usize, usize) {
    let line = |at: u32| unit.whole()[..at as usize].matches('\n').count();
    (line(unit.span(id).start), line(unit.span(id).end))
}

/// Returns the text at the head of a function of Python.
fn docstring(unit: &Unit, function: Id) -> Option<Id> {
    let body = unit.syntax.child(function, "body")?;
    let first = unit.syntax.children(body).find(|&id| unit.kind(id) != "comment")?;
    let text = unit.syntax.children(first).next().filter(|_| unit.kind(first) == "expression_statement")?;
    (unit.kind(text) == "string").then_some(text)
}

/// Returns the first line that says one of the words.
fn line_of(text: &str, known: &[&[&str]]) -> Option<String> {
    let said = |line: &&str| {
        let lower = line.to_lowercase();
        known.iter().any(|words| says(&lower, words))
    };
    text.lines().find(said).map(|line| line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_denied_is_not_meant() {
        let says = |text: &str| line_of(text, &[OPEN, HERE]).is_some();
        assert!(says("# Fail open: the shop goes on.") && says("// never block the queue"));
        assert!(says("# Not checked: fail open.") && says("x\n  best effort"));
        assert!(!says("# This must not fail open.") && !says("# Never fails open") && !says("# closed"));
    }
}
