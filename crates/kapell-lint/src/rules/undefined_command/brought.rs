//! Commands that somebody else brings, as a README says.

use kapell_spec::line;
use memchr::memmem;

use crate::repository::Repository;

/// Words before a command, in its line, of who has to bring it.
const NEEDED: &[&str] = &["require", "prerequisite", "depends on", "provided by", "comes with", "brought by"];

/// Tells whether a README says of a command that it has to be there already: ``Requires the `/story` workflow``.
pub(super) fn is_brought(repository: &Repository, name: &str) -> bool {
    let is_readme = |name: &str| name.eq_ignore_ascii_case("readme.md");
    let command = format!("/{name}");
    repository.files.iter().filter(|(_, file)| is_readme(file.name())).any(|(_, file)| {
        memmem::find_iter(file.text.as_bytes(), &command).any(|at| {
            let after = file.text[at + command.len()..].chars().next();
            let ends = !after.is_some_and(|c| c.is_alphanumeric() || "-_:/".contains(c));
            let before = file.text[line::start(&file.text, at)..at].to_ascii_lowercase().replace('*', "");
            // What is said of another command stands behind that, and what is said of this one in its sentence.
            let own = before.rsplit('/').next().unwrap_or_default();
            let own = own.rsplit(". ").next().unwrap_or_default();
            ends && NEEDED.iter().any(|word| own.contains(word))
        })
    })
}
