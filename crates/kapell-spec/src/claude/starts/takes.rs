//! What the words of a start say that it takes in of the others.

use std::sync::LazyLock;

use super::{Takes, Vague};
use crate::words::Words;

/// Words that mean all that went before, or what has come of it.
static ALL: LazyLock<Words> = LazyLock::new(|| {
    Words::new(&[
        "previous",
        "preceding",
        "so far",
        "all phases",
        "all steps",
        "all outputs",
        "all results",
        "all findings",
        "all reports",
        "all agents",
        "all reviews",
        "all of them",
        "last step",
        "other agent",
        "each agent",
        "final report",
    ])
});

/// Words that mean something that went before.
static SOME: LazyLock<Words> = LazyLock::new(|| {
    Words::new(&[
        "after ",
        "once ",
        " then ",
        "based on",
        "using the",
        "resulting",
        "the result",
        "the finding",
        "the output",
        "generated",
        "produced",
        "identified",
        "implemented",
        "approved",
        "from the",
        "the fix",
        "the plan",
        "the design",
        "the implementation",
        "changes made",
        "issues found",
        "result of",
        "results of",
        "prior ",
        "above",
        "earlier",
        "everything",
        "combine",
        "combining",
        "consolidat",
        "synthesi",
        "aggregat",
        "compile ",
        "merge ",
        "merging",
        "summari",
        "both ",
        "output of",
        "outputs of",
        "found by",
        "listed by",
        "named by",
        "flagged by",
        "marked by",
        "reported by",
        "collected by",
        "gathered by",
        "detected by",
        "discovered by",
        "raised by",
        "returned by",
        "written by",
        "findings of",
        "results from",
        "findings from",
        "output from",
    ])
});

/// Words at the head of an item that only say that it follows: the list says so, too.
const FOLLOWS: &[&str] =
    &["after that, ", "after that ", "then, ", "then ", "next, ", "afterwards, ", "after this, "];

pub(super) fn takes(words: &str) -> Takes {
    let head = words.trim_start_matches(|c: char| c.is_ascii_digit() || ".)-*+ ".contains(c));
    let words = FOLLOWS.iter().find_map(|word| head.strip_prefix(word)).unwrap_or(words);
    let vague = match () {
        () if ALL.is_in(words) => Vague::All,
        () if SOME.is_in(words) => Vague::Some,
        () => Vague::No,
    };
    let mut takes = Takes { vague, ..Takes::default() };
    for (units, list) in [(&["step", "task", "item"][..], true), (&["phase", "stage", "wave"][..], false)] {
        for unit in units {
            for (at, _) in words.match_indices(unit) {
                let starts = at == 0 || !words[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
                let rest = words[at + unit.len()..].trim_start_matches('s');
                let rest = rest.strip_prefix([' ', '-', '_']).unwrap_or(rest);
                if starts {
                    let to = if list { &mut takes.steps } else { &mut takes.phases };
                    numbers(rest, to);
                }
            }
        }
    }
    takes
}

/// Reads `1`, `2a`, `1-3`, `1, 2 and 4`.
fn numbers(text: &str, found: &mut Vec<String>) {
    let mut rest = text.trim_start_matches('#');
    let mut from: Option<u32> = None;
    loop {
        let number = &rest[..number_len(rest)];
        if number.is_empty() {
            return;
        }
        if let (Some(from), Ok(to)) = (from.take(), number.parse::<u32>()) {
            found.extend((from + 1..to.min(from + 40)).map(|between| between.to_string()));
        }
        found.push(number.to_owned());
        rest = &rest[number.len()..];
        let joins = [" and ", " & ", ", and ", ", ", "-", "\u{2013}", " to ", "/"];
        let Some(join) = joins.iter().find(|join| {
            rest.strip_prefix(**join).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        }) else {
            return;
        };
        if matches!(*join, "-" | "\u{2013}" | " to ") {
            from = number.parse().ok();
        }
        rest = &rest[join.len()..];
    }
}

/// The length of `2`, `2a` or `2.1` at the start of a text.
fn number_len(text: &str) -> usize {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let mut len = digits(text);
    if len == 0 || len > 3 {
        return 0;
    }
    while let Some(part) = text[len..].strip_prefix('.').map(digits).filter(|&part| part > 0) {
        len += 1 + part;
    }
    let mut rest = text[len..].chars();
    let lettered = rest.next().is_some_and(|c| c.is_ascii_lowercase())
        && !rest.next().is_some_and(char::is_alphanumeric);
    len + usize::from(lettered)
}
