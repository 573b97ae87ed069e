//! The words before a name with which work is handed to whom it names.

/// Verbs with which something is given, before `to` and a name.
pub const GIVES: &[&str] =
    &["give", "hand", "pass", "send", "forward", "delegate", "assign", "route", "escalate"];

/// Verbs of an order that has somebody work.
pub const TELLS: &[&str] = &[
    "use", "using", "invoke", "launch", "spawn", "dispatch", "start", "run", "call", "have", "let", "ask",
    "engage", "consult", "activate",
];

/// Tells whether a word has somebody work: a verb, or the name of the tool that does.
#[must_use]
pub fn tells(word: &str) -> bool {
    word == "task" || TELLS.contains(&word)
}

/// Words that begin with what an order is repeated for.
const EACH: &[&str] = &["for each ", "for every ", "for all ", "for any "];

/// How many words stand at least between the start of a clause and its order: `for each page call`.
const EACH_WORDS: usize = 3;

/// Returns the order of a clause in small letters without what it is repeated for: `call the` of `for each new page call the`.
#[must_use]
pub fn behind_each(clause: &str) -> Option<&str> {
    let rest = EACH.iter().find_map(|each| clause.strip_prefix(each))?;
    // A task is what an order is repeated for.
    let orders = |word: &str| word == "get" || TELLS.contains(&word) || GIVES.contains(&word);
    let begins = |text: &&str| text.split(' ').next().is_some_and(orders);
    if let Some(behind) = rest.rsplit_once(", ").map(|(_, behind)| behind).filter(begins) {
        return Some(behind);
    }
    let mut at = 0;
    for (number, word) in clause.split(' ').enumerate() {
        if number >= EACH_WORDS && orders(word) {
            return clause.get(at..);
        }
        at += word.len() + 1;
    }
    None
}

/// Things that somebody brings back to whom it works for.
const BROUGHT: &[&str] =
    &["result", "report", "answer", "finding", "summar", "output", "response", "verdict", "not ", "never"];

/// Words with which things go to somebody.
const GOES: &[&str] = &[
    " goes to",
    " go to",
    " is handed to",
    " is given to",
    " is passed to",
    " is sent to",
    " is delegated to",
];

/// Tells whether a clause in small letters, up to a name, says to whom each of several things goes: `each query of more than ten
/// lines goes to the`.
#[must_use]
pub fn sends_each(clause: &str) -> bool {
    let clause = clause.trim_end_matches(['`', '*', '@', ' ']);
    let clause = clause.strip_suffix(" the").unwrap_or(clause);
    let Some(things) = GOES.iter().find_map(|goes| clause.strip_suffix(goes)) else { return false };
    let things = things.trim_start_matches(|c: char| c.is_ascii_digit() || "-*+.)> \t".contains(c));
    let each = ["each ", "every ", "all "].iter().any(|each| things.starts_with(each));
    each && !BROUGHT.iter().any(|word| things.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_found_behind_what_it_is_repeated_for() {
        assert_eq!(behind_each("for each new page call the"), Some("call the"));
        assert_eq!(behind_each("for every class that uses it, use the"), Some("use the"));
        assert_eq!(behind_each("for each new open task call the"), Some("call the"));
        assert_eq!(behind_each("for each page the"), None);
        assert_eq!(behind_each("call the"), None);
    }

    #[test]
    fn things_go_to_somebody_and_answers_come_back() {
        assert!(sends_each("each query of more than ten lines goes to the `"));
        assert!(sends_each("- all open questions go to the `"));
        assert!(!sends_each("each report goes to the `"));
        assert!(!sends_each("the work goes to the `"));
        assert!(!sends_each("each page that does not load goes to the `"));
    }
}
