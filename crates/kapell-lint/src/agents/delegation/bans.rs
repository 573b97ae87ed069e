//! What the words around a handover forbid: that it is done again, or something else; and what is an order only to a person
//! who reads it.

use kapell_spec::line;

/// Words that forbid something.
const BANS: &[&str] = &["never", "do not", "don't"];

/// Beginnings of words about handing work on, and about doing so again.
const ABOUT: &[&str] = &[
    "delegat", "hand", "start", "call", "send", "spawn", "launch", "invok", "dispatch", "escalat", "forward",
    "route", "repeat", "loop", "again", "so", "more", "twice", "thrice", "exceed", "back", "bounce", "recur",
    "agent", "subagent", "it", "this", "them", "round", "return", "keep", "retry",
];

/// Returns a text in small letters without the bans behind a name that are about something else than handing work on: `delegate to
/// it; do not verify yourself`.
pub(super) fn without_others(lower: &str, name: &str) -> String {
    let Some(named) = lower.find(name).map(|at| at + name.len()) else { return lower.to_owned() };
    let (mut kept, mut at) = (lower[..named].to_owned(), named);
    let mut bans: Vec<(usize, &str)> = BANS
        .iter()
        .flat_map(|ban| lower[named..].match_indices(ban))
        .map(|(from, ban)| (named + from, ban))
        .collect();
    bans.sort_by_key(|(found, _)| *found);
    for (found, ban) in bans {
        if found < at {
            continue;
        }
        let behind = found + ban.len();
        let clause = lower[behind..].split(['.', ';', ',', '\n']).next().unwrap_or_default();
        let words = clause.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty());
        let about = words.into_iter().any(|word| {
            word == name
                || ABOUT.iter().any(|known| word == *known || known.len() > 3 && word.starts_with(known))
        });
        kept.push_str(&lower[at..if about { behind } else { found }]);
        at = behind;
    }
    kept.push_str(&lower[at..]);
    kept
}

/// Verbs of somebody who is content, as they begin.
const CONTENT: &[&str] =
    &["approv", "accept", "agree", "satisf", "content", "happy", "sign", "clear", "pleased"];

/// Returns a text in small letters in which nobody goes on `until it approves`: whether an agent is content bounds nothing, for it may
/// never be.
pub(super) fn without_verdicts(lower: &str) -> String {
    let (mut kept, mut at) = (String::with_capacity(lower.len()), 0);
    for (found, word) in lower.match_indices("until ") {
        let clause = lower[found + word.len()..].split(['.', ';', ',', '(', '\n']).next().unwrap_or_default();
        let mut words = clause.split_whitespace().take(5);
        let who = words.next().unwrap_or_default();
        let agent = matches!(who, "it" | "they" | "he" | "she")
            || clause.starts_with("the ") && clause.contains(" agent ");
        if agent && words.any(|word| CONTENT.iter().any(|known| word.starts_with(known))) {
            kept.push_str(&lower[at..found]);
            kept.push_str("when ");
            at = found + word.len();
        }
    }
    kept.push_str(&lower[at..]);
    kept
}

/// Heads of what a person is told who has met a fault.
const ADVICE: &[&str] = &[
    "fix",
    "hint",
    "tip",
    "remedy",
    "solution",
    "suggestion",
    "help",
    "message",
    "error",
    "warning",
    "usage",
];

/// Tells whether words in small letters before an order end with the head of what a person is told: `fix:`, of a report that
/// reads `Fix: run /setup`.
pub(super) fn is_advice(lower: &str) -> bool {
    let cell = lower.rsplit('|').next().unwrap_or_default().trim_start_matches([' ', '*', '_']);
    // `Fix: add it, or run it again`: what a head leads to goes on to the end of its cell.
    let led = |head: &&str| cell.strip_prefix(*head).is_some_and(|rest| rest.starts_with(':'));
    if ADVICE.iter().any(led) {
        return true;
    }
    let head = lower.trim_end_matches([' ', '*', '_', '`']);
    let Some(head) = head.strip_suffix(':') else { return false };
    let head = head.trim_end_matches(['*', '_', '`']);
    let last = head.rsplit(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    ADVICE.contains(&last)
}

/// Tells whether words in small letters before a name, and what stands behind it, list whom others may turn to next: `Hand off
/// to: planner (all is known), critic (a plan is there)`.
pub(super) fn is_choice(lower: &str, behind: &str) -> bool {
    let led = lower.rfind("hand off to:").is_some_and(|at| !lower[at..].contains(". "));
    led && behind.trim_start_matches(['`', '*']).starts_with(" (")
}

/// Tells whether a place stands between quotation marks that the line opens before it and closes behind it: words that somebody
/// else is shown.
pub(super) fn is_quoted(text: &str, at: usize) -> bool {
    let start = line::start(text, at);
    let opened = text[start..at].bytes().filter(|byte| *byte == b'"').count();
    opened % 2 == 1 && text[at..line::end(text, at)].contains('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_no_bound() {
        let bounded = |text: &str| without_verdicts(text).contains("until");
        assert!(
            !bounded("have it approve the draft. repeat until it approves.")
                && !bounded("until it is satisfied")
        );
        assert!(!bounded("go on until the `critic` agent accepts it"));
        assert!(
            bounded("until the tests pass") && bounded("until it is green") && bounded("until i approve it")
        );
    }

    #[test]
    fn what_a_person_is_told_is_no_order() {
        assert!(is_advice("| none | fix: ") && is_advice("**fix**: ") && is_advice("hint:"));
        assert!(is_advice("| none | fix: add it or re-"));
        assert!(!is_advice("then ") && !is_advice("step 1: ") && !is_advice("prefix "));
        let quoted = |text: &str| is_quoted(text, text.find("/x").unwrap_or_default());
        assert!(quoted("Print \"No config. Run /x first\"") && !quoted("For \"new\" ones run /x first"));
    }

    #[test]
    fn a_ban_of_something_else_is_left_out() {
        let bans = |text: &str| BANS.iter().any(|ban| without_others(text, "verifier").contains(ban));
        assert!(!bans("delegate to the `verifier` agent to check; do not verify yourself."));
        assert!(!bans("ask the `verifier` agent, and never guess."));
        assert!(bans("delegate to the `verifier` agent. never do so twice."));
        assert!(bans("delegate to the `verifier` agent; do not delegate further."));
        assert!(bans("never delegate to the `verifier` agent."));
        assert!(bans("hand it to `verifier`, but do not loop."));
    }
}
