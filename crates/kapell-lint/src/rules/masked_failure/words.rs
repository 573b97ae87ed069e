//! Words of names and comments: what is meant to pass, what matters, and what does not.

use std::sync::LazyLock;

use kapell_spec::words::Words;

/// Words of the head of a workflow that say that all failures in it are meant to pass: those that hardly mean anything else.
pub(super) const LENIENT_AS_A_WHOLE: &[&str] =
    &["informational", "non-blocking", "nonblocking", "not block", "never block", "optional", "best effort"];

/// Words that say that a failure is meant to pass.
pub(super) const LENIENT: &[&str] = &[
    "informational",
    "non-blocking",
    "nonblocking",
    "not block",
    "never block",
    "optional",
    "best effort",
    "best-effort",
    "allowed to fail",
    "allow fail",
    "may fail",
    "can fail",
    "could fail",
    "will fail",
    "likely to fail",
    "might fail",
    "fails on",
    "fails for",
    "is down",
    "not supported",
    "expected",
    "experimental",
    "advisory",
    "report only",
    "reports only",
    "flaky",
    "known",
    "ignore",
    "tolerate",
    "don't fail",
    "do not fail",
    "soft-fail",
    "soft fail",
    "softly",
    "nightly",
    "canary",
    "todo",
    "temporar",
    "unstable",
    "not fatal",
    "non-fatal",
    "later step",
    "below",
];

/// Tells whether a text says that a failure is meant to pass; `unknown` says nothing of what is known.
pub(super) fn is_lenient(text: &str) -> bool {
    static WORDS: LazyLock<Words> = LazyLock::new(|| Words::new(LENIENT));
    let begins = || {
        let lower = text.to_ascii_lowercase();
        LENIENT.iter().any(|word| {
            lower.match_indices(word).any(|(at, _)| !lower[..at].ends_with(char::is_alphanumeric))
        })
    };
    WORDS.is_in(text) && begins()
}

/// Words in the names of jobs that try what others have not released yet.
pub(super) const AHEAD: &[&str] = &["edge", "next", "rc", "snapshot", "tip", "master", "unreleased"];

/// Words in the names of steps whose failure matters.
pub(super) const MATTERS: &[&str] = &[
    "test",
    "lint",
    "audit",
    "verify",
    "validat",
    "check",
    "notariz",
    "sign",
    "scan",
    "build",
    "compile",
    "typecheck",
    "clippy",
    "security",
    "smoke",
    "e2e",
    "alls-green",
];

/// Words in the names of steps whose failure does not matter.
pub(super) const ASIDE: &[&str] = &[
    "upload",
    "comment",
    "notif",
    "report",
    "coverage",
    "sarif",
    "summary",
    "clean",
    "cache",
    "publish result",
    "annotat",
    "label",
    "post ",
    "artifact",
    "codecov",
    "slack",
    "discord",
    "stale",
    "delete",
    "prune",
    "metrics",
];
