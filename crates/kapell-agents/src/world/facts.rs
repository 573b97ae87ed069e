//! What a repository says before an attempt begins. Without it the attempt works all the same, so nothing here fails.

use kapell_core::id::Oid;
use kapell_engine::port::workspaces::{Facts, FactsRequest};

use crate::git::OwnRepo;

/// The most changes that are read for one attempt: each takes a process.
const CHANGES_MAX: usize = 50;

/// The most names at the top of the tree that are told.
const TOP_MAX: usize = 200;

/// What a file of instructions says if it only names another one, as Claude Code understands it.
const IMPORT: &str = "@";

/// Looks up what is asked for.
pub(super) fn look_up(repo: &OwnRepo, request: &FactsRequest) -> Facts {
    let Some(base) = request.base else { return Facts::default() };
    let files = request.files.iter().filter_map(|file| Some((file.clone(), instructions(repo, base, file)?)));
    let changes = request.changes.iter().take(CHANGES_MAX);
    let changes = changes.filter_map(|(task, change)| {
        let patch = repo.readable_patch(change.base, change.commit).ok()?;
        Some((task.clone(), patch))
    });
    let mut tree = repo.top_of(base).unwrap_or_default();
    if tree.len() > TOP_MAX {
        let more = tree.len() - TOP_MAX;
        tree.truncate(TOP_MAX);
        tree.push(format!("[and {more} more]"));
    }
    Facts { files: files.collect(), changes: changes.collect(), tree }
}

/// Reads a file of instructions; one that only imports others says nothing by itself.
fn instructions(repo: &OwnRepo, base: Oid, file: &str) -> Option<String> {
    let text = repo.file_of(base, file).ok().flatten()?;
    let says_more =
        text.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with(IMPORT));
    says_more.then_some(text)
}
