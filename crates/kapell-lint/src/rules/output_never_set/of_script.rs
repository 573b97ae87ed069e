//! Steps that only run a script of the repository: what they set is what that sets.

use std::sync::Arc;

use kapell_spec::github::{Job, Step};

use crate::{
    files::Files,
    github::{Flow, StepFacts, own_scripts},
};

/// Returns the text of the script that is all that a step runs, and what it does.
pub(super) fn alone<'a>(
    files: &'a Files,
    flow: &Flow,
    place: (&Job, &Step),
    facts: &StepFacts,
) -> Option<(&'a str, Arc<StepFacts>)> {
    let [command] = &facts.commands[..] else { return None };
    let shell = own_scripts::is_shell(command.program());
    let path = command.words.get(usize::from(shell)).filter(|word| word.contains('/'))?;
    let script = &files[own_scripts::named(files, flow, place, path)?];
    Some((own_scripts::shell_text(script, shell)?, own_scripts::facts_of(script)))
}
