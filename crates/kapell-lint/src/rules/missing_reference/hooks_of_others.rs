//! Scripts that hooks of other clients run.

use kapell_view::audit::Severity;

use super::{has_company, hint_for_hook};
use crate::{agents::script_of, repository::Repository, rule::Report};

/// Variables that stand for the top of the repository.
const TOPS: &[&str] = &[
    "$GEMINI_PROJECT_DIR/",
    "${GEMINI_PROJECT_DIR}/",
    "$CURSOR_PROJECT_DIR/",
    "${CURSOR_PROJECT_DIR}/",
    "${workspaceFolder}/",
    "$CLAUDE_PROJECT_DIR/",
    "${CLAUDE_PROJECT_DIR}/",
    "$(git rev-parse --show-toplevel)/",
    "./",
];

/// Scripts that are not there, though their folder is: what such a hook guards is not guarded, and nobody is told.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    for file in &repository.agents.client_hooks {
        for own in &file.hooks {
            let Some(command) = &own.hook.text else { continue };
            let Some(path) = missing(repository, file.folder, &command.text, own.cwd.as_deref()) else {
                continue;
            };
            let message = format!("the hook of `{}` runs `{path}`, and it is not there", own.hook.event.text);
            let hint = hint_for_hook(repository, &path);
            report.add(file.file, command.span, message).severity(Severity::High).hint(hint).done();
        }
    }
}

/// Returns the script that a command runs, if the repository should hold it and does not.
fn missing(repository: &Repository, folder: &str, command: &str, cwd: Option<&str>) -> Option<String> {
    let word = script_of(command)?;
    let top = TOPS.iter().find_map(|top| word.strip_prefix(top)).unwrap_or(&word);
    let top = top.trim_start_matches("./");
    if !top.contains('/') && cwd.is_none() || top.starts_with(['/', '.']) && !top.starts_with(folder) {
        return None;
    }
    if top.contains(['$', '*', '{', '~', ':', '(']) {
        return None;
    }
    let within = cwd.map(|cwd| cwd.trim_start_matches("./").trim_matches('/')).unwrap_or_default();
    let path = if within.is_empty() { top.to_owned() } else { format!("{within}/{top}") };
    // A client may start it from the folder of its own.
    let beside = format!("{folder}{top}");
    let there = [&path, &beside, &top.to_owned()].into_iter().any(|path| repository.files.exists(path));
    (!there && has_company(repository, &path)).then_some(path)
}
