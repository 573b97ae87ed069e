//! What each rule is about, in the words of people, and what they say when it is meant so.

use super::{beside, near::Said, says, starts};

/// What a comment has to speak of to be a reason for what some rules find.
#[derive(Debug, Clone, Copy)]
struct Matter {
    /// The rules.
    rules: &'static [&'static str],
    /// Words of what they are about: a comment that says that it is [meant](MEANT) says so of this.
    about: &'static [&'static str],
    /// What says that it is so, in so many words.
    states: &'static [&'static str],
    /// What promises that it is not so: a comment with this contradicts the files, and explains nothing.
    promises: &'static [&'static str],
    /// Whether a [cause](CAUSES) is enough: what only takes time is so for a reason, or for none.
    by_cause: bool,
}

/// What says that something is so on purpose, or is borne.
const MEANT: &[&str] = &[
    "on purpose",
    "purposely",
    "deliberate",
    "intentional",
    "is intended",
    "as intended",
    "by design",
    "we accept",
    "acceptable",
    "not worth",
    "n't worth",
    "is fine",
    "are fine",
];

/// What turns the word behind it round.
const DENIALS: &[&str] = &["not", "n't", "never", "hardly", "no longer"];

/// What begins a cause.
const CAUSES: &[&str] = &[
    "because",
    "so that",
    "since",
    "only when",
    "only on",
    "only if",
    "only once",
    "only after",
    "otherwise",
    "would",
    "cheap",
    "expensive",
    "dear",
    "costs",
    "costly",
    "scarce",
    "limit",
    "quota",
    "to save",
    "to spare",
    "to avoid",
    "not to",
    "must",
    "cannot",
    "we want",
    "is enough",
    "hardly worth",
    "no point",
    "no use",
];

/// Words of what is yet to be done: they ask for a mend, and give no reason against one.
const OPEN: &[&str] = &["todo", "fixme", "xxx"];

/// The matters, each with its rules.
const MATTERS: &[Matter] =
    &[JUDGING, WAITING, TURNS, DELIVERING, MEETING, REPEATING, CACHING, STARTING, BOUNDS];

/// What judges, and lets through.
const JUDGING: Matter = Matter {
    rules: &[
        "gate-hook-fails-open",
        "gate-gates-nothing",
        "aggregator-always-green",
        "aggregator-incomplete",
        "masked-failure",
        "masked-check",
        "status-unseen",
        "check-fails-open",
        "asserted-result",
    ],
    about: &[
        "gate", "check", "test", "lint", "scan", "guard", "hook", "fail", "block", "required", "result",
        "error", "pass",
    ],
    states: &[
        "never a gate",
        "not a gate",
        "no gate",
        "hint only",
        "only a hint",
        "advice only",
        "only advice",
        "advisory",
        "informational",
        "only for information",
        "report only",
        "report-only",
        "reports only",
        "only reports",
        "warn only",
        "warns only",
        "only warns",
        "only a warning",
        "only a reminder",
        "non-blocking",
    ],
    promises: &[
        "block",
        "refuse",
        "reject",
        "forbid",
        "deny",
        "denies",
        "must pass",
        "must be green",
        "has to pass",
        "required check",
        "is required",
        "fails the",
    ],
    by_cause: false,
};

/// What waits for what.
const WAITING: Matter = Matter {
    rules: &["needs-without-data", "polling-instead-of-needs", "sequential-steps"],
    about: &[
        "wait",
        "after",
        "before",
        "first",
        "green",
        "passes",
        "passed",
        "fail",
        "minutes",
        "runner",
        "order",
        "sequen",
        "parallel",
        "at once",
        "at a time",
        "in turn",
        "gate",
        "block",
    ],
    states: &[],
    promises: TOGETHER,
    by_cause: true,
};

/// What is done one after the other.
const TURNS: Matter = Matter {
    rules: &["await-in-loop", "sequential-calls", "sequential-independent", "missing-parallel-directive"],
    about: &[
        "parallel",
        "concurren",
        "gather",
        "promise.all",
        "task group",
        "side by side",
        "at once",
        "in order",
        "the order",
        "order of",
        "order matters",
        "sequen",
        "serial",
        "rate limit",
        "quota",
        "throttl",
    ],
    states: &[
        "one at a time",
        "one by one",
        "one after the other",
        "one after another",
        "each in turn",
        "in turn:",
    ],
    promises: TOGETHER,
    by_cause: true,
};

/// What promises that nothing waits for another.
const TOGETHER: &[&str] =
    &["in parallel", "concurrently", "side by side", "at the same time", "at once", "all together"];

/// What goes out, and what it waits for.
const DELIVERING: Matter = Matter {
    rules: &[
        "delivery-beside-tests",
        "delivers-from-pull-request",
        "workflow-run-unchecked",
        "repair-gated-on-success",
        "deploy-without-environment",
        "deploy-without-rollback",
        "no-rollback",
        "plan-not-applied",
        "deliveries-clash",
    ],
    about: &[
        "deploy",
        "deliver",
        "publish",
        "release",
        "ship",
        "push",
        "image",
        "preview",
        "test",
        "check",
        "wait",
        "gate",
        "green",
        "fail",
        "roll",
        "undo",
        "environment",
        "approv",
        "pull request",
        "fork",
    ],
    states: &[],
    promises: &[
        "only after",
        "only when",
        "only if",
        "only once",
        "once the",
        "waits for",
        "green",
        "must pass",
    ],
    by_cause: false,
};

/// Runs and tasks that meet.
const MEETING: Matter = Matter {
    rules: &[
        "cancel-on-mutating",
        "mutating-no-concurrency",
        "no-concurrency",
        "shared-concurrency-group",
        "shared-state-across-tasks",
        "replica-conflict",
        "copies-collide",
    ],
    about: &[
        "concurren",
        "cancel",
        "group",
        "queue",
        "at once",
        "at a time",
        "parallel",
        "race",
        "lock",
        "newest",
        "latest",
        "supersede",
        "overlap",
        "twice",
        "idempot",
        "same time",
        "shared",
    ],
    states: &[],
    promises: &[
        "never two",
        "no two",
        "one at a time",
        "let it finish",
        "is locked",
        "never cancel",
        "not cancel",
    ],
    by_cause: false,
};

/// Work that is done again or for nothing.
const REPEATING: Matter = Matter {
    rules: &[
        "double-trigger",
        "duplicate-step",
        "duplicate-work",
        "full-clone",
        "rebuild-instead-of-artifact",
        "unused-setup",
        "context-refetched",
    ],
    about: &["again", "twice", "both", "duplicate", "repeat", "rebuil", "fresh", "clean", "history", "fork"],
    states: &[],
    promises: &["only once", "not twice", "not built again", "not again"],
    by_cause: true,
};

/// What is kept from run to run.
const CACHING: Matter = Matter {
    rules: &[
        "cache-missing",
        "cache-after-install",
        "cache-clobbered",
        "cache-no-restore-keys",
        "cache-key-without-lock",
        "restore-keys-unmatched",
    ],
    about: &["cache", "caching", "key"],
    states: &["no cache", "without a cache", "never cached", "not cached", "cache is off", "cold build"],
    promises: &[],
    by_cause: false,
};

/// What starts before what it needs answers.
const STARTING: Matter = Matter {
    rules: &["depends-on-without-healthcheck"],
    about: &["wait", "health", "ready", "start", "retr", "order"],
    states: &[
        "itself",
        "on its own",
        "wait-for",
        "wait_for",
        "entrypoint",
        "entry point",
        "retries",
        "keeps trying",
        "tries again",
        "reconnect",
        "connects again",
    ],
    promises: &["healthy first", "until it is healthy", "once it is healthy", "has a healthcheck"],
    by_cause: false,
};

/// What ends, and how many there are.
const BOUNDS: Matter = Matter {
    rules: &[
        "no-timeout",
        "call-without-timeout",
        "loop-without-end",
        "call-without-retry",
        "unbounded-fan-out",
    ],
    about: &[
        "timeout",
        "time out",
        "time-out",
        "time limit",
        "forever",
        "for ever",
        "endless",
        "bound",
        "limit",
        "retr",
        "again",
        "at once",
        "parallel",
        "concurren",
        "as long as",
    ],
    states: &[],
    promises: &["at most", "gives up", "no more than", "is bounded", "are bounded"],
    by_cause: false,
};

/// Tells whether a comment gives a reason for what a rule finds. Right there it is enough that it has one of the
/// [words](beside::explains) of the rule, or is [meant](MEANT); further out it has to state the matter itself, or to say of it that
/// it is meant, or why.
pub(super) fn explains(rule: &str, said: &Said) -> bool {
    let lower = said.text.to_lowercase();
    if said.here && beside::explains(rule, &lower) {
        return true;
    }
    if names(&lower, OPEN) {
        return false;
    }
    match MATTERS.iter().find(|matter| matter.rules.contains(&rule)) {
        Some(matter) => matter.is_explained_by(&lower),
        None => said.here && is_meant(&lower),
    }
}

impl Matter {
    fn is_explained_by(&self, lower: &str) -> bool {
        // What is meant, and what it is about, stand in one sentence: others may be about anything.
        let gives = |sentence: &str| {
            names(sentence, self.about) && (is_meant(sentence) || self.by_cause && names(sentence, CAUSES))
        };
        let mut sentences = lower.split(';').flat_map(|part| part.split(". "));
        !says(lower, self.promises) && (says(lower, self.states) || sentences.any(gives))
    }
}

/// Tells whether a text has one of some words.
fn names(lower: &str, words: &[&str]) -> bool {
    words.iter().any(|word| starts(lower, word).next().is_some())
}

/// Tells whether a comment says that something is meant as it is.
fn is_meant(lower: &str) -> bool {
    let denied = |before: &str| DENIALS.iter().any(|denial| before.trim_end().ends_with(denial));
    // `unintentional` begins with no such word.
    MEANT.iter().any(|word| starts(lower, word).any(|at| !denied(&lower[..at])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(rule: &str, text: &str) -> bool {
        explains(rule, &Said { text: text.to_owned(), here: false })
    }

    #[test]
    fn a_reason_is_heard_and_a_label_is_not() {
        assert!(explained("await-in-loop", "two portals, once a day: not worth a gather"));
        assert!(explained("await-in-loop", "The API allows one call: never in parallel, it would ban us."));
        assert!(
            !explained("await-in-loop", "fetch the portals") && !explained("await-in-loop", "must be short")
        );
        assert!(explained(
            "needs-without-data",
            "macOS minutes are dear: only on main, and only when the rest is green"
        ));
        assert!(!explained("needs-without-data", "build the app"));
        assert!(explained("gate-hook-fails-open", "A hint only, never a gate: npm still works here."));
        assert!(explained("depends-on-without-healthcheck", "entrypoint.sh waits for the broker itself"));
        assert!(!explained("depends-on-without-healthcheck", "starts the database"));
    }

    #[test]
    fn what_contradicts_the_files_is_no_reason() {
        assert!(!explained("await-in-loop", "runs in parallel, because there are many: on purpose"));
        assert!(!explained("aggregator-always-green", "required check, deliberately one for all tests"));
        assert!(!explained("gate-hook-fails-open", "Advisory for people, but blocks the agent."));
        assert!(!explained("delivery-beside-tests", "on purpose: publish only after the tests"));
        assert!(!explained("delivery-beside-tests", "published without its tests, which is not intentional"));
        assert!(!explained("delivery-beside-tests", "small on purpose. Deploys the site"));
        assert!(!explained("masked-failure", "the check fails, which is unintentional"));
        assert!(explained("masked-failure", "the check is run on purpose although it may fail"));
        assert!(!explained("masked-failure", "Todo: the tests fail, which is fine for now"));
    }

    #[test]
    fn every_rule_with_a_matter_is_there_once() {
        let named = || MATTERS.iter().flat_map(|matter| matter.rules);
        for rule in named() {
            assert!(crate::rules::find(rule).is_some(), "{rule}");
            assert_eq!(named().filter(|other| *other == rule).count(), 1, "{rule}");
        }
    }

    #[test]
    fn of_other_rules_it_is_heard_right_there_alone() {
        let said = |here| Said { text: "empty on purpose".to_owned(), here };
        assert!(explains("output-never-set", &said(true)) && !explains("output-never-set", &said(false)));
    }
}
