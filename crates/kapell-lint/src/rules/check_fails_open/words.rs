//! What names of functions and keys say of a yes.

use crate::rules::names::words;

/// Words of names whose yes lets something through.
const OPEN: &[&str] = &[
    "allow",
    "allowed",
    "allows",
    "approve",
    "approved",
    "approves",
    "safe",
    "permit",
    "permitted",
    "compliant",
    "publishable",
    "authorized",
    "acceptable",
    "appropriate",
    "grounded",
];

/// Words that say so only where something is judged: else they say that it was done.
const OPEN_OF_JUDGES: &[&str] = &["pass", "passes", "passed", "valid", "clean", "ok"];

/// Words of names whose yes stops something.
const SHUT: &[&str] = &[
    "block",
    "blocked",
    "toxic",
    "spam",
    "flagged",
    "unsafe",
    "reject",
    "rejected",
    "deny",
    "denied",
    "harmful",
    "violates",
    "violation",
    "jailbreak",
    "injection",
    "banned",
    "dangerous",
    "malicious",
    "phishing",
    "abusive",
    "nsfw",
    // Guardrails of the OpenAI Agents SDK: <https://openai.github.io/openai-agents-python/guardrails/>.
    "tripwire",
];

/// Words of names of functions that judge something.
const JUDGES: &[&str] = &[
    "review", "check", "moderate", "verify", "validate", "judge", "gate", "guard", "screen", "approve",
    "classify",
];

/// Words that change nothing of what the others say.
const PLAIN: &[&str] =
    &["is", "was", "are", "be", "should", "to", "has", "contains", "any", "policy", "triggered"];

/// What something may be allowed to do to others.
const DELIVERS: &[&str] = &["publish", "post", "send", "merge", "deploy", "run"];

/// Words that turn the others round.
const TURNS: &[&str] = &["not", "no", "non", "un", "without"];

/// Tells what a yes of this key means in an answer of a function: that something passes, or that it does not. `None` where it
/// says neither, or both, or speaks of something else, as `allowRetry` does.
pub(super) fn of_key(name: &str, function: &str) -> Option<bool> {
    let words = words(name);
    let plain = words
        .iter()
        .all(|word| [OPEN, OPEN_OF_JUDGES, SHUT, PLAIN].iter().any(|known| known.contains(&word.as_str())));
    means(&words, judges(function)).filter(|_| plain)
}

/// Tells what a yes to these words means.
fn means(words: &[String], judged: bool) -> Option<bool> {
    let has = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
    if has(TURNS) {
        return None;
    }
    match (has(OPEN) || judged && has(OPEN_OF_JUDGES), has(SHUT)) {
        (true, false) => Some(true),
        (false, true) => Some(false),
        _ => None,
    }
}

/// Tells whether a yes under a name of what was checked lets something through: `approved`, `allPassed`.
pub(in crate::rules) fn lets_pass(name: &str) -> bool {
    means(&words(name), true) == Some(true)
}

/// Tells whether a function of that name lets something through by such an answer.
pub(super) fn is_yes(name: &str, answer: bool) -> bool {
    let words = words(name);
    let first = words.first().map_or("", |word| word.as_str());
    let known = means(&words, judges(name));
    let delivers = words.get(1).is_some_and(|word| DELIVERS.contains(&word.as_str()));
    let may = matches!(first, "may" | "can") && delivers && known != Some(false);
    let asks = matches!(first, "needs" | "requires")
        && words.iter().any(|word| ["approval", "review", "confirmation", "human"].contains(&word.as_str()));
    match known {
        Some(open) => open == answer,
        None if asks => !answer,
        None => may && answer,
    }
}

/// Tells whether a function of that name judges something.
pub(super) fn judges(name: &str) -> bool {
    words(name).iter().any(|word| JUDGES.contains(&word.as_str()))
}

/// Tells whether a key holds what a judge answers in a word.
pub(super) fn is_verdict(key: &str) -> bool {
    let last = words(key).pop();
    last.is_some_and(|word| {
        ["verdict", "decision", "judgement", "judgment", "outcome"].contains(&word.as_str())
    })
}

/// Tells whether a text is a verdict that stops something.
pub(super) fn is_refusal(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let more = ["fail", "failed", "refuse", "refused", "request_changes", "changes_requested"];
    SHUT.contains(&&*text) || more.contains(&&*text)
}

/// Tells whether a text is a verdict that all is well.
pub(super) fn is_pass(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["approve", "approved", "pass", "passed", "allow", "allowed", "safe", "ok", "clean", "lgtm"]
        .contains(&&*text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_a_yes_means() {
        assert_eq!(of_key("isAllowed", "moderate"), Some(true));
        assert_eq!(of_key("is_toxic", "moderate"), Some(false));
        assert_eq!(of_key("is_not_spam", "moderate"), None);
        assert_eq!(of_key("allowRetry", "moderate"), None);
        assert_eq!(of_key("ok", "title"), None);
        assert_eq!(of_key("ok", "check_text"), Some(true));
        assert!(!is_yes("can_skip_cache", true) && !is_yes("is_valid", true));
        assert!(is_yes("may_publish", true) && !is_yes("may_publish", false));
        assert!(is_yes("isFlagged", false) && !is_yes("isFlagged", true));
        assert!(is_yes("needsApproval", false) && !is_yes("needsApproval", true));
        assert!(!is_yes("is_online", true));
    }
}
