//! What names of functions and keys say of a yes.

/// Words of names whose yes lets something through.
const OPEN: &[&str] = &[
    "allow",
    "allowed",
    "allows",
    "approve",
    "approved",
    "approves",
    "safe",
    "pass",
    "passes",
    "passed",
    "permit",
    "permitted",
    "valid",
    "clean",
    "compliant",
    "publishable",
    "authorized",
    "acceptable",
    "appropriate",
    "ok",
    "grounded",
];

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
];

/// Words of names of functions that judge something.
const JUDGES: &[&str] = &[
    "review", "check", "moderate", "verify", "validate", "judge", "gate", "guard", "screen", "approve",
    "classify",
];

/// Words that turn the others round.
const TURNS: &[&str] = &["not", "no", "non", "un", "without"];

/// Splits a name into its words, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut small = false;
    for c in name.chars() {
        let starts = !c.is_alphanumeric() || c.is_uppercase() && small;
        if starts {
            words.push(String::new());
        }
        small = c.is_lowercase();
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Tells what a yes of this key means: that something passes, or that it does not. `None` where it says neither, or both.
pub(super) fn of_key(name: &str) -> Option<bool> {
    let words = words(name);
    let has = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
    if has(TURNS) {
        return None;
    }
    match (has(OPEN), has(SHUT)) {
        (true, false) => Some(true),
        (false, true) => Some(false),
        _ => None,
    }
}

/// Tells whether a function of that name lets something through by such an answer.
pub(super) fn is_yes(name: &str, answer: bool) -> bool {
    let words = words(name);
    let first = words.first().map_or("", |word| word.as_str());
    let may = matches!(first, "may" | "can") && words.len() > 1 && of_key(name) != Some(false);
    let asks = matches!(first, "needs" | "requires")
        && words.iter().any(|word| ["approval", "review", "confirmation", "human"].contains(&word.as_str()));
    match of_key(name) {
        Some(open) => open == answer,
        None if asks => !answer,
        None => may && answer,
    }
}

/// Tells whether a function of that name judges something.
pub(super) fn judges(name: &str) -> bool {
    words(name).iter().any(|word| JUDGES.contains(&word.as_str()))
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
        assert_eq!(of_key("isAllowed"), Some(true));
        assert_eq!(of_key("is_toxic"), Some(false));
        assert_eq!(of_key("is_not_spam"), None);
        assert!(is_yes("may_publish", true) && !is_yes("may_publish", false));
        assert!(is_yes("isFlagged", false) && !is_yes("isFlagged", true));
        assert!(is_yes("needsApproval", false) && !is_yes("needsApproval", true));
        assert!(!is_yes("is_online", true));
    }
}
