//! The rules of the house that no compiler checks.
//!
//! Every rule is a function from the [`Tree`] to [`Complaint`]s, so that tests can plant a violation and look
//! whether it is found.

mod docs;
mod floors;
mod order;
mod source;
mod text;

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

use crate::shell;

/// Files that others wrote, kept byte for byte.
const FOREIGN: &str = "crates/kapell-lint/tests/corpus/";

/// The files of the project: all that git knows or would add, by their path from the top.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    files: BTreeMap<String, String>,
}

impl Tree {
    /// Reads the workspace.
    fn load(root: &Path) -> anyhow::Result<Self> {
        let mut git = Command::new("git");
        git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root);
        let listed = shell::capture(&mut git)?;
        let mut tree = Self::default();
        for path in listed.split_terminator('\0').filter(|path| !path.starts_with(FOREIGN)) {
            match fs::read(root.join(path)) {
                // What is no text, such as a kept journal, has no rules here.
                Ok(bytes) => {
                    drop(String::from_utf8(bytes).map(|text| tree.files.insert(path.to_owned(), text)))
                }
                // Removed, and git has not been told yet.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| format!("failed to read {path}")),
            }
        }
        if tree.get("Cargo.toml").is_none() {
            bail!("{} is not the top of the workspace", root.display());
        }
        Ok(tree)
    }

    /// Returns a file's text.
    fn get(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Returns whether there is a file or directory of this name.
    fn has(&self, path: &str) -> bool {
        let below = format!("{path}/");
        self.files.contains_key(path) || self.files.keys().any(|file| file.starts_with(&below))
    }

    /// Returns all files whose name ends like this.
    fn ending<'a>(&'a self, end: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files.iter().filter(move |(path, _)| path.ends_with(end)).map(|(path, text)| (&**path, &**text))
    }

    /// Returns the crates of the floors: the names of the directories in `crates/`.
    fn crates(&self) -> Vec<&str> {
        let inside = |path: &'_ String| path.starts_with("crates/") && path.ends_with("/Cargo.toml");
        let paths = self.files.keys().filter(|path| inside(path));
        paths.filter_map(|path| path.split('/').nth(1)).collect()
    }

    #[cfg(test)]
    fn of(files: &[(&str, &str)]) -> Self {
        Self { files: files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect() }
    }
}

/// What breaks a rule, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Complaint {
    path: PathBuf,
    /// From 1; 0 if it is about the whole file.
    line: usize,
    what: String,
}

impl Complaint {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.into(), line, what: what.into() }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path.display(), self.what),
            line => write!(f, "{}:{line}: {}", self.path.display(), self.what),
        }
    }
}

/// All rules.
const RULES: &[fn(&Tree) -> Vec<Complaint>] = &[
    floors::dependencies,
    order::modules,
    source::words,
    source::surroundings,
    source::sleeps,
    text::lengths,
    text::hosts,
    text::machine_paths,
    text::codes,
    docs::invariants,
    docs::links,
];

/// Applies all rules to the workspace at `root`.
fn check(root: &Path) -> anyhow::Result<(usize, Vec<Complaint>)> {
    let tree = Tree::load(root)?;
    let mut complaints: Vec<_> = RULES.iter().flat_map(|rule| rule(&tree)).collect();
    complaints.sort();
    Ok((tree.files.len(), complaints))
}

/// Prints what breaks the rules, and fails if anything does.
pub(crate) fn run() -> anyhow::Result<()> {
    let (files, complaints) = check(&shell::root())?;
    for complaint in &complaints {
        println!("{complaint}");
    }
    if !complaints.is_empty() {
        bail!("{} complaint(s)", complaints.len());
    }
    println!("tidy: {} rules hold in {files} files", RULES.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_tidy() {
        let (files, complaints) = check(&shell::root()).unwrap();
        let told: Vec<String> = complaints.iter().map(ToString::to_string).collect();
        assert!(told.is_empty(), "{}", told.join("\n"));
        assert!(files > 100, "only {files} files were looked at");
    }

    /// Applies a rule to planted files, and returns what it says, a complaint a line.
    pub(super) fn said(rule: fn(&Tree) -> Vec<Complaint>, files: &[(&str, &str)]) -> String {
        let complaints = rule(&Tree::of(files));
        complaints.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }
}
