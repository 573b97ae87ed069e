//! Programs that a package of the project fetches in its own version, and that a hit keeps as they are.

use crate::{
    github::{Flow, script::Command},
    rule::Report,
};

use super::{MOVES, resolved};

/// The folder that Playwright keeps its browsers in, by a part of its path, and the program that fetches them by `install`.
///
/// Source: <https://playwright.dev/docs/browsers>, "Introduction", as of 2026-11: each version of Playwright works with its own versions of
/// the browsers. The package itself fetches none when it is installed, as that of Cypress does.
const FOLDER: &str = "ms-playwright";
const PROGRAM: &str = "playwright";

/// Tells of a cache of them whose key never changes, where they are fetched only if there is none yet.
pub(super) fn check(flow: &Flow, at: usize, index: usize, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    let step = &job.steps[index];
    if !step.is("actions/cache") {
        return;
    }
    let (Some(key), Some(path), Some(id)) = (step.input("key"), step.input("path"), &step.id) else { return };
    if !path.text.contains(FOLDER) {
        return;
    }
    let lower = resolved(flow, job, &key.text).to_ascii_lowercase();
    // A number is raised by hand.
    if MOVES.iter().any(|word| lower.contains(word)) || lower.contains(|c: char| c.is_ascii_digit()) {
        return;
    }
    let hit = format!("steps.{}.outputs.cache-hit", id.text);
    let fetches = |command: &Command| {
        command.program() == PROGRAM && command.words.iter().any(|word| word == "install")
    };
    let mut fetching =
        flow.steps(at).filter(|(_, facts)| facts.commands.iter().any(fetches)).map(|(step, _)| {
            step.condition.as_ref().filter(|own| own.text.contains(&hit) && own.text.contains("!="))
        });
    let Some(Some(first)) = fetching.next() else { return };
    if !fetching.all(|condition| condition.is_some()) {
        return;
    }
    report
        .add(
            flow.file,
            key.span,
            format!(
                "the key `{}` never changes, and a hit skips `{PROGRAM} install`: another version of `{PROGRAM}` does not find what it needs",
                key.text.trim()
            ),
        )
        .also(flow.file, first.span, "skipped on a hit")
        .hint("add the version of the package, or the hash of the lock file, to the key")
        .done();
}
