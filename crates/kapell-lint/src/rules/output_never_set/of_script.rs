//! Steps that only run a script of the repository: what they set is what that sets.

use kapell_spec::github::{Job, Step};

use crate::{
    files::{Files, joined},
    github::{StepFacts, facts, own_scripts},
};

/// How a step of an action names the folder of the action.
///
/// Source: GitHub, "Contexts reference", `github.action_path`, and "Variables reference", `GITHUB_ACTION_PATH`.
const OWN_FOLDER: &[&str] = &["${{ github.action_path }}/", "$GITHUB_ACTION_PATH/", "${GITHUB_ACTION_PATH}/"];

/// A longer script is not read, in bytes.
const LONGEST: usize = 40_000;

/// Returns the text of the script that is all that a step runs, and what it does. `action` is the file of the action whose step it
/// is.
pub(super) fn alone(
    files: &Files,
    place: (&Job, &Step),
    facts: &StepFacts,
    action: Option<&str>,
) -> Option<(String, StepFacts)> {
    let [command] = &facts.commands[..] else { return None };
    let shell = matches!(command.program(), "bash" | "sh");
    let word = command.words.get(usize::from(shell)).filter(|word| word.contains('/'))?;
    let own = || OWN_FOLDER.iter().find_map(|folder| word.strip_prefix(folder));
    let file = match action.zip(own()) {
        Some((action, rest)) => files.find(&joined(action, rest)?),
        None => own_scripts::find(files, place, word),
    };
    let text = &files[file?].text;
    let first = text.lines().next().unwrap_or_default();
    let is_shell = shell || first.starts_with("#!") && first.ends_with("sh");
    (is_shell && text.len() <= LONGEST).then(|| (text.to_string(), facts::of_text(text)))
}
