//! Steps that only run a script of the repository: what they set is what that sets.

use kapell_spec::github::{Job, Step};

use crate::{
    files::Files,
    github::{Flow, StepFacts, facts, own_scripts},
};

/// A longer script is not read, in bytes.
const LONGEST: usize = 40_000;

/// Returns the text of the script that is all that a step runs, and what it does.
pub(super) fn alone(
    files: &Files,
    flow: &Flow,
    place: (&Job, &Step),
    facts: &StepFacts,
) -> Option<(String, StepFacts)> {
    let [command] = &facts.commands[..] else { return None };
    let shell = matches!(command.program(), "bash" | "sh");
    let word = command.words.get(usize::from(shell)).filter(|word| word.contains('/'))?;
    let text = &files[own_scripts::named(files, flow, place, word)?].text;
    let first = text.lines().next().unwrap_or_default();
    let is_shell = shell || first.starts_with("#!") && first.ends_with("sh");
    (is_shell && text.len() <= LONGEST).then(|| (text.to_string(), facts::of_text(text)))
}
