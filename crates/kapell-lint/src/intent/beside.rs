//! Words by which a comment right beside a finding is a reason for it, rule by rule: so near, it speaks of nothing else.

/// The rules, each with its words in lower case, or parts of such.
const WORDS: &[(&str, &[&str])] = &[
    ("artifact-name-clash", &["overwrite", "same name", "only one", "conflict"]),
    // `cancel` is enough: nobody says it where nothing is meant.
    ("cancel-on-mutating", &["cancel", "idempotent", "superseded", "only the latest", "latest wins"]),
    (
        "delivery-beside-tests",
        &[
            "in parallel",
            "not wait",
            "n't wait",
            "without waiting",
            "wait for nothing",
            "regardless",
            "even if",
            "independent",
            "fast path",
            "as fast",
            "not need",
            "n't need",
            "no need",
        ],
    ),
    ("duplicate-work", &["quick", "fast", "separate"]),
    (
        "matrix-axis-unread",
        &["repeat", "flaky", "several times", "multiple times", "parallel", "copies", "twice"],
    ),
    ("matrix-extract", &["matrix", "separate", "split", "purpose"]),
    (
        "mutating-no-concurrency",
        &["concurren", "race", "idempot", "in parallel", "at the same time", "at once"],
    ),
    ("plan-not-applied", &["replan", "plan again", "fresh plan", "new plan"]),
    ("rebuild-instead-of-artifact", &["again", "rebuild", "clean", "different", "fresh"]),
    (
        "shared-concurrency-group",
        &[
            "one at a time",
            "only one",
            "single",
            "shared",
            "at once",
            "newest",
            "latest",
            "schedule",
            "nightly",
            "cron",
        ],
    ),
    // It is off for a while.
    (
        "unsatisfiable-if",
        &["disable", "until", "todo", "temporar", "re-enable", "reenable", "for now", "not yet"],
    ),
    // A failure of the other workflow does not matter.
    (
        "workflow-run-unchecked",
        &[
            "whatever",
            "regardless",
            "even if",
            "even when",
            "also after",
            "either way",
            "any result",
            "after each",
            "after every",
            "each time",
            "every time",
        ],
    ),
];

/// Tells whether a comment right beside a finding of a rule, in lower case, says why it is so.
pub(super) fn explains(rule: &str, lower: &str) -> bool {
    let row = WORDS.iter().find(|(known, _)| *known == rule);
    row.is_some_and(|(_, words)| words.iter().any(|word| lower.contains(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_there_once_in_order() {
        assert!(WORDS.is_sorted_by(|one, other| one.0 < other.0));
        for (rule, words) in WORDS {
            assert!(crate::rules::find(rule).is_some(), "{rule}");
            assert!(words.iter().all(|word| *word == word.to_lowercase()), "{rule}");
        }
    }

    #[test]
    fn a_word_counts_for_its_rule() {
        assert!(explains("unsatisfiable-if", "todo: the runner is not there"));
        assert!(!explains("workflow-run-unchecked", "todo: ask for the result"));
        assert!(!explains("masked-failure", "whatever"));
    }
}
