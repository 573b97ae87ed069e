//! What the words around a handover forbid: that it is done again, or something else.

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

#[cfg(test)]
mod tests {
    use super::*;

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
