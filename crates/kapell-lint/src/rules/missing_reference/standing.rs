//! Texts that a command includes as its rules, in a folder that is not there at all.

use kapell_spec::{claude::reference::Reference, line};
use kapell_view::audit::Scope;

use crate::{agents::Asset, repository::Repository};

/// What a text is that stands for good, and that no run writes for itself.
const STANDING: &[&str] =
    &["checklist", "template", "convention", "guideline", "rules", "standard", "style guide", "policy"];

/// Tells whether a command of this repository includes a text as one that stands for good, though neither it nor its folder is
/// there, and no other text speaks of that folder: nobody makes it.
///
/// A command that others copy into their own projects names nothing of this one.
pub(super) fn is_missing(repository: &Repository, asset: &Asset, reference: &Reference) -> bool {
    let file = &repository.files[asset.file];
    let Some((folder, _)) = reference.name.trim_start_matches("./").rsplit_once('/') else { return false };
    let own = asset.scope == Scope::Repository && file.path.starts_with(".claude/");
    own && !folder.starts_with(['.', '/'])
        && !repository.files.exists(folder)
        // Its folder may be a repository of its own, which was not fetched.
        && !repository.files.exists(".gitmodules")
        && is_standing(&file.text, reference.span.start as usize)
        && !is_spoken_of(repository, asset, folder)
        && names_what_is_here(repository, asset)
}

/// Tells whether the words of a sentence before a place name a text that stands for good.
fn is_standing(text: &str, at: usize) -> bool {
    let before = text[line::start(text, at)..at].to_ascii_lowercase();
    let sentence = before.rsplit(". ").next().unwrap_or_default();
    STANDING.iter().any(|word| sentence.contains(word))
}

/// Tells whether a folder is named anywhere but once in the text that includes from it.
fn is_spoken_of(repository: &Repository, asset: &Asset, folder: &str) -> bool {
    let named = |text: &str| memchr::memmem::find_iter(text.as_bytes(), folder).count();
    repository.files.iter().any(|(id, file)| named(&file.text) > usize::from(id == asset.file))
}

/// Tells whether a text names a path in marks that is there, and no client's own.
fn names_what_is_here(repository: &Repository, asset: &Asset) -> bool {
    let mut marks = asset.definition.document.marks.iter().filter(|mark| mark.code);
    marks.any(|mark| {
        let path = mark.text.trim().trim_start_matches("./").trim_end_matches('/');
        path.contains(['/', '.'])
            && !path.starts_with(['.', '/'])
            && !matches!(path, "package.json" | "README.md" | "CLAUDE.md" | "AGENTS.md")
            && repository.files.exists(path)
    })
}
