//! A key that hashes a lock file at the top of a repository whose only ones lie in folders.

use kapell_spec::github::Step;
use kapell_view::audit::Severity;

use super::hashed;
use crate::{
    github::{Flow, tools},
    repository::Repository,
    rule::Report,
};

/// Returns the lock file that a pattern of `hashFiles` names at the top, if it names just one.
fn at_top(pattern: &str) -> Option<&str> {
    let name = pattern.trim().trim_matches(['\'', '"']);
    let name = name.strip_prefix("./").unwrap_or(name);
    let known = || tools::INSTALLERS.iter().any(|installer| installer.locks.contains(&name));
    (!name.contains(['/', '*', ',', '$']) && known()).then_some(name)
}

/// Tells of a key whose hash is empty: no such file lies at the top, and the job works in a folder that has one.
///
/// Source: GitHub, "Evaluate expressions", `hashFiles`: a path is relative to the workspace, whatever the folder of a step.
pub(super) fn check(
    repository: &Repository,
    flow: &Flow,
    (at, step): (usize, &Step),
    report: &mut Report<'_>,
) -> bool {
    let Some(key) = step.input("key").filter(|_| step.is("actions/cache")) else { return false };
    let Some(name) = hashed(&key.text).and_then(at_top) else { return false };
    let job = &flow.model.jobs[at];
    let text = flow.text.get(job.span.range()).unwrap_or_default();
    let moves = ["github.sha", "run_id", "date", "week"].iter().any(|word| key.text.contains(word));
    // What is checked out elsewhere, or written by a step, may lie at the top after all.
    let own = |step: &Step| {
        step.is("actions/checkout") && ["path", "repository"].iter().any(|name| step.input(name).is_some())
    };
    if moves || repository.files.exists(name) || job.steps.iter().any(own) {
        return false;
    }
    let files = &repository.files;
    let all = files.others().chain(files.iter().map(|(_, file)| &*file.path));
    let folders = all.filter_map(|path| path.strip_suffix(name)?.strip_suffix('/'));
    let Some(folder) = folders.into_iter().find(|folder| works_in(text, folder)) else { return false };
    report
        .add(
            flow.file,
            key.span,
            format!(
                "there is no `{name}` at the top to hash, so the key never changes: it lies in `{folder}`"
            ),
        )
        .severity(if text.contains("cache-hit") { Severity::High } else { Severity::Medium })
        .hint(format!("take `${{{{ hashFiles('{folder}/{name}') }}}}` for the key"))
        .done();
    true
}

/// Tells whether a job goes to a folder.
fn works_in(text: &str, folder: &str) -> bool {
    let goes = ["working-directory:", "cd ", "--prefix ", "--cwd ", "--dir ", "-C "];
    goes.iter().any(|word| {
        text.match_indices(word).any(|(at, _)| {
            let rest = text[at + word.len()..].trim_start().trim_start_matches(['\'', '"']);
            let rest = rest.strip_prefix("./").unwrap_or(rest);
            rest.strip_prefix(folder).is_some_and(|rest| {
                !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || "-_/.".contains(c))
            })
        })
    })
}
