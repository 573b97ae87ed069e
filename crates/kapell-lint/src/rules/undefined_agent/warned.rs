//! Names of agents that a sentence warns against: nobody is started by them.

use kapell_spec::{finding::Span, line};

/// Words of a sentence about a call that is a mistake.
const MISTAKES: &[&str] = &["mistak", "accident", "wrongly", "erroneous"];

/// Words that forbid what follows.
const BANS: &[&str] =
    &["never ", "do not ", "don't ", "must not ", "should not ", "not ", "avoid ", "instead of "];

/// Verbs, as they begin, by which an agent is started.
const STARTS: &[&str] = &[
    "call",
    "use",
    "using",
    "spawn",
    "start",
    "launch",
    "invok",
    "dispatch",
    "delegat",
    "run",
    "task(",
    "agent(",
    "name",
    "naming",
    "pass",
    "write",
    "writing",
    "subagent_type",
];

/// Tells whether the sentence before a name says that it is no agent's, or not to be started: ``If you mistakenly call it via
/// `Task(subagent_type="x")` ``, ``Do not use `subagent_type: x` ``.
pub(super) fn is_warned(text: &str, name: Span) -> bool {
    let at = name.start as usize;
    let line = &text[line::start(text, at)..at];
    let from = [". ", "! ", "? ", "; "].iter().filter_map(|end| Some(line.rfind(end)? + end.len())).max();
    let sentence = line[from.unwrap_or(0)..].to_ascii_lowercase().replace(['`', '*', '_'], "");
    let banned = |ban: &&str| {
        let Some(at) = sentence.rfind(ban) else { return false };
        let rest = &sentence[at + ban.len()..];
        // What is forbidden ends with its clause.
        STARTS.iter().any(|verb| rest.starts_with(verb)) && !rest.contains([',', ':'])
    };
    MISTAKES.iter().any(|word| sentence.contains(word)) || BANS.iter().any(banned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_may_warn_against_a_call() {
        let warned = |text: &str| {
            let at = text.find("tidier").unwrap_or_default();
            is_warned(text, Span::new(at, at + "tidier".len()))
        };
        assert!(warned(
            "It is a skill. If you mistakenly call it via `Task(subagent_type=\"tidier\")`, it fails."
        ));
        assert!(warned("- Do **not** use `tidier`.") && warned("Never spawn `tidier` here"));
        assert!(!warned("Never skip this. Spawn `tidier`.") && !warned("Do not stop, use `tidier`."));
        assert!(!warned("Do not use more than one: `tidier`.") && !warned("Spawn `tidier`, and never wait."));
    }
}
