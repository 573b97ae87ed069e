//! Which files of a directory count, and reading them within bounds.

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use ignore::{DirEntry, WalkBuilder};

use crate::files::{Files, is_code, is_script, joined};

/// What is read, and what is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The longest file that is read, in bytes.
    pub file_bytes: u64,
    /// How much is read in all, in bytes.
    pub bytes: u64,
    /// The most files and directories that are looked at, orchestration or not.
    pub entries: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        // A file of 2 MB is far more than any person or model reads as instructions.
        Self { file_bytes: 2_000_000, bytes: 256_000_000, entries: 2_000_000 }
    }
}

/// How deep directories are followed.
const DEPTH: usize = 32;

/// A file that counts but could not be read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Its path from the top; empty for the top itself.
    pub path: String,
    /// The line where it ends to be readable, from 1.
    pub line: u32,
    /// Why.
    pub why: String,
}

/// What was found beneath a directory.
#[derive(Debug, Default)]
pub struct Found {
    /// The files that count.
    pub files: Files,
    /// Those that could not be read.
    pub unread: Vec<Unread>,
}

/// How many texts are followed that instructions include: more than a session could read.
const INCLUDES: usize = 256;

/// Directories that never hold what people wrote for this repository. The last one is kapell's own store outside of git.
const FOREIGN: &[&str] =
    &["node_modules", "target", ".git", "vendor", ".venv", "venv", "__pycache__", "dist", ".kapell"];

/// Files at the top in which clients keep their hooks.
const SETTINGS: &[&str] = &[
    ".claude/settings.json",
    ".claude/settings.local.json",
    ".cursor/hooks.json",
    ".codex/hooks.json",
    ".gemini/settings.json",
    "hooks/hooks.json",
];

/// Reads all files below `root` that `wanted` names by their path from there.
///
/// Symbolic links are not followed, what git ignores is left out, hidden directories are looked into. Files beyond
/// the bounds and those that cannot be read are told in [`Found::unread`].
///
/// # Errors
/// Fails if `root` itself cannot be listed.
pub fn discover(root: &Path, wanted: &dyn Fn(&str) -> bool) -> io::Result<Found> {
    discover_within(root, wanted, Bounds::default())
}

/// Does the same within other bounds.
///
/// # Errors
/// As [`discover`].
pub fn discover_within(root: &Path, wanted: &dyn Fn(&str) -> bool, bounds: Bounds) -> io::Result<Found> {
    Ok(Seen::below(root, wanted, bounds)?.read())
}

/// What lies beneath a directory, before any of it is read.
#[derive(Debug)]
pub struct Seen {
    bounds: Bounds,
    /// The files that count: their path from the top, and the one to open.
    wanted: Vec<(String, PathBuf)>,
    others: Vec<String>,
    unread: Vec<Unread>,
}

impl Seen {
    /// Looks at all files below `root`; those that `wanted` names by their path from there count.
    ///
    /// # Errors
    /// As [`discover`].
    pub fn below(root: &Path, wanted: &dyn Fn(&str) -> bool, bounds: Bounds) -> io::Result<Self> {
        fs::read_dir(root)?;
        let walk = WalkBuilder::new(root)
            .hidden(false)
            .follow_links(false)
            .require_git(false)
            .git_global(false)
            .max_depth(Some(DEPTH))
            // What lies beyond a bound does not depend on how the file system lists its files.
            .sort_by_file_name(Ord::cmp)
            .filter_entry(|entry| {
                !entry.file_type().is_some_and(|kind| kind.is_dir())
                    || !entry.file_name().to_str().is_some_and(|name| FOREIGN.contains(&name))
            })
            .build();
        let mut seen = Self { bounds, wanted: Vec::new(), others: Vec::new(), unread: Vec::new() };
        for (count, entry) in walk.enumerate() {
            if count >= bounds.entries {
                let why = format!("there are more than {} files; the rest is not looked at", bounds.entries);
                seen.unread.push(Unread { path: String::new(), line: 1, why });
                break;
            }
            match entry {
                Ok(entry) => seen.entry(root, &entry, wanted),
                Err(error) => seen.failed(root, &error),
            }
        }
        seen.take_up_scripts(root);
        seen.take_up_includes(root);
        Ok(seen)
    }

    /// Counts the texts in as well that instructions of Claude Code include by `@`, in whatever folder they lie, and those that
    /// they include in turn.
    fn take_up_includes(&mut self, root: &Path) {
        let is_read_first =
            |path: &str| matches!(path.rsplit('/').next(), Some("CLAUDE.md" | "CLAUDE.local.md"));
        let firsts = self.wanted.iter().map(|(path, _)| path).filter(|path| is_read_first(path));
        let mut next: Vec<String> = firsts.cloned().collect();
        if next.is_empty() {
            return;
        }
        let known: BTreeSet<&str> = self.wanted.iter().map(|(path, _)| &**path).collect();
        let others: BTreeSet<&str> = self.others.iter().map(String::as_str).collect();
        let (mut seen, mut taken) = (BTreeSet::<String>::new(), BTreeSet::<String>::new());
        while let Some(from) = next.pop().filter(|_| seen.len() < INCLUDES) {
            let bytes = read(&root.join(&from), self.bounds.file_bytes).unwrap_or_default();
            let text = String::from_utf8(bytes).unwrap_or_default();
            let named = words(&text).filter_map(|word| word.strip_prefix('@'));
            for path in named.filter_map(|name| joined(&from, name.trim_end_matches(['.', ',', ':', '`']))) {
                let there = path.ends_with(".md") && (known.contains(&*path) || others.contains(&*path));
                // A link may lead out of the repository.
                let is_file =
                    || fs::symlink_metadata(root.join(&path)).is_ok_and(|about| about.file_type().is_file());
                if there && is_file() && seen.insert(path.clone()) {
                    taken.extend(others.contains(&*path).then(|| path.clone()));
                    next.push(path);
                }
            }
        }
        self.others.retain(|path| !taken.contains(path));
        self.wanted.extend(taken.into_iter().map(|path| {
            let file = root.join(&path);
            (path, file)
        }));
    }

    /// Counts the scripts in as well that hooks name, in whatever folder they lie, and scripts of a shell, of PowerShell, of
    /// Python and those without an ending that workflows name by their path.
    fn take_up_scripts(&mut self, root: &Path) {
        let texts = |is_one: &dyn Fn(&str) -> bool| -> Vec<String> {
            let files = self.wanted.iter().filter(|(path, _)| is_one(path));
            files
                .filter_map(|(_, file)| String::from_utf8(read(file, self.bounds.file_bytes).ok()?).ok())
                .collect()
        };
        let settings = texts(&|path| SETTINGS.contains(&path));
        let hooks = settings.iter().filter(|text| text.contains("\"hooks\""));
        let called = hooks.flat_map(|text| words(text)).filter_map(|word| {
            let word =
                word.split_once("_DIR}/").or_else(|| word.split_once("_DIR/")).map_or(word, |(_, rest)| rest);
            let word = word.trim_start_matches("./").trim_start_matches('/');
            is_script(word).then_some(word)
        });
        let mut named: BTreeSet<String> = called.map(str::to_owned).collect();
        let perhaps: HashSet<&str> =
            self.others.iter().map(String::as_str).filter(|path| may_be_run(path)).collect();
        // Where no file could be meant, no workflow is read for that.
        let workflows = if perhaps.is_empty() { Vec::new() } else { texts(&is_workflow) };
        // Windows writes paths in its own way.
        let of_windows = workflows.iter().filter(|text| text.contains(".ps1") && text.contains('\\'));
        let of_windows: Vec<String> = of_windows.map(|text| text.replace('\\', "/")).collect();
        let run = workflows.iter().chain(&of_windows).flat_map(|text| paths(text));
        let run = run.map(|word| word.trim_start_matches("./"));
        let by_ending = |word: &str| word.ends_with(".py") || word.ends_with(".ps1");
        let run = run
            .filter(|word| perhaps.contains(word) && (by_ending(word) || begins_as_script(&root.join(word))));
        named.extend(run.map(str::to_owned));
        if named.is_empty() {
            return;
        }
        let (called, others) = std::mem::take(&mut self.others)
            .into_iter()
            .partition::<Vec<_>, _>(|path| named.contains(&**path));
        self.others = others;
        self.wanted.extend(called.into_iter().map(|path| {
            let file = root.join(&path);
            (path, file)
        }));
    }

    /// Returns the files that count: their path from the top, and the one to open.
    pub fn wanted(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.wanted.iter().map(|(path, file)| (&**path, &**file))
    }

    /// Returns the paths of the other files.
    pub fn others(&self) -> impl Iterator<Item = &str> {
        self.others.iter().map(String::as_str)
    }

    fn entry(&mut self, root: &Path, entry: &DirEntry, wanted: &dyn Fn(&str) -> bool) {
        let Ok(path) = entry.path().strip_prefix(root) else { return };
        let path = path.to_string_lossy().replace('\\', "/");
        if !entry.file_type().is_some_and(|kind| kind.is_file()) {
            // A link is there, wherever it leads.
            if entry.path_is_symlink() && !path.is_empty() {
                self.others.push(path);
            }
            return;
        }
        if wanted(&path) {
            self.wanted.push((path, entry.path().to_owned()));
        } else {
            self.others.push(path);
        }
    }

    /// Notes a directory that cannot be listed; the paths of errors are the machine's, ours start at the top.
    fn failed(&mut self, root: &Path, error: &ignore::Error) {
        let path = path_of(error).and_then(|path| path.strip_prefix(root).ok());
        let path = path.map(|path| path.to_string_lossy().replace('\\', "/")).unwrap_or_default();
        let why = error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
        self.unread.push(Unread { path, line: 1, why });
    }

    /// Reads the files that count, within the bounds.
    #[must_use]
    pub fn read(self) -> Found {
        let Self { bounds, mut wanted, mut others, mut unread } = self;
        let (mut left, mut texts) = (bounds.bytes, Vec::with_capacity(wanted.len()));
        let mut code_beyond = 0_u64;
        // However much code there is, what orchestrates is read before it.
        wanted.sort_by_cached_key(|(path, _)| is_code(path));
        for (path, file) in wanted {
            let bytes = match read(&file, bounds.file_bytes) {
                // So long a file of code is a bundle that a program wrote: nobody need hear that it was left out.
                Err(_) if is_code(&path) && is_longer(&file, bounds.file_bytes) => {
                    others.push(path);
                    continue;
                }
                Ok(bytes) if bytes.len() as u64 > left && is_code(&path) => {
                    code_beyond += 1;
                    others.push(path);
                    continue;
                }
                Ok(bytes) if bytes.len() as u64 > left => {
                    let why = format!("more than {} bytes were read before it", bounds.bytes);
                    unread.push(Unread { path, line: 1, why });
                    continue;
                }
                Ok(bytes) => bytes,
                Err(why) => {
                    unread.push(Unread { path, line: 1, why });
                    continue;
                }
            };
            left -= bytes.len() as u64;
            let text = text(&path, bytes, &mut unread);
            texts.push((path, text));
        }
        if code_beyond > 0 {
            let why = format!(
                "{code_beyond} files of code are not read: more than {} bytes were before them",
                bounds.bytes
            );
            unread.push(Unread { path: String::new(), line: 1, why });
        }
        unread.sort_by(|a, b| a.path.cmp(&b.path));
        Found { files: Files::new(texts).beside(others), unread }
    }
}

fn is_longer(path: &Path, limit: u64) -> bool {
    fs::metadata(path).is_ok_and(|about| about.len() > limit)
}

fn is_workflow(path: &str) -> bool {
    path.starts_with(".github/workflows/") && (path.ends_with(".yml") || path.ends_with(".yaml"))
}

/// Tells whether a file in a folder may be a script that a step runs, by its ending or for want of one.
fn may_be_run(path: &str) -> bool {
    path.rsplit_once('/').is_some_and(|(_, name)| {
        name.rsplit_once('.').is_none_or(|(_, ending)| matches!(ending, "sh" | "bash" | "py" | "ps1"))
    })
}

/// Ends a word that may be a path.
fn is_border(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '\\' | ';' | '&' | '|' | '(' | ')')
}

/// Returns the words of a text that may be paths.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_border)
}

/// Returns those of the words of a text that name a folder.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let slash = rest.find('/')?;
        let start = rest[..slash].rfind(is_border).map_or(0, |at| at + first_len(&rest[at..]));
        let end = rest[slash..].find(is_border).map_or(rest.len(), |at| slash + at);
        let word = &rest[start..end];
        rest = &rest[end..];
        Some(word)
    })
}

/// How many bytes the first character has.
fn first_len(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

/// Tells whether a file is a script of a shell, by its first line.
fn begins_as_script(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(64).read_to_end(&mut start));
    let line = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    read.is_ok() && line.starts_with(b"#!") && line.trim_ascii_end().ends_with(b"sh")
}

/// Takes bytes as UTF-8; what is none is replaced, and told.
fn text(path: &str, bytes: Vec<u8>, unread: &mut Vec<Unread>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| {
        let (at, bytes) = (error.utf8_error().valid_up_to(), error.as_bytes());
        let line = bytes[..at].iter().filter(|&&byte| byte == b'\n').count() as u32 + 1;
        let why = format!("byte {at} is no UTF-8; what is none is read as a replacement character");
        unread.push(Unread { path: path.to_owned(), line, why });
        String::from_utf8_lossy(bytes).into_owned()
    })
}

fn path_of(error: &ignore::Error) -> Option<&Path> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => path_of(err),
        _ => None,
    }
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let known = file.metadata().map_or(0, |about| about.len()).min(limit);
    let mut bytes = Vec::with_capacity(known as usize + 1);
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > limit {
        return Err(format!("longer than {limit} bytes"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_name_a_folder_are_found_between_all_kinds_of_borders() {
        let found: Vec<_> = paths("run: (./ci/a.sh;x/b)\u{a0}c/d \"e/f\"|g\nno word\n/h/").collect();
        assert_eq!(found, ["./ci/a.sh", "x/b", "c/d", "e/f", "/h/"]);
        assert_eq!(paths("").chain(paths("a b")).count(), 0);
        let text = "a/b &&c/d\te '/'";
        let split: Vec<_> = words(text).filter(|word| word.contains('/')).collect();
        assert_eq!(paths(text).collect::<Vec<_>>(), split);
    }

    #[test]
    fn scripts_that_workflows_name_count() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let run = "run: ./hack/roll && hack/data $(hack/of.bash)\n  python ops/tool.py; .\\eng\\ci.ps1";
        write(".github/workflows/ci.yml", run);
        write("hack/roll", "#!/bin/sh\n");
        write("hack/of.bash", "#!/usr/bin/env bash\n");
        write("hack/data", "1 2 3\n");
        write("hack/unnamed", "#!/bin/sh\n");
        write("ops/tool.py", "import os\n");
        write("ops/other.py", "import os\n");
        write("eng/ci.ps1", "exit 0\n");
        let is_yaml = |path: &str| path.ends_with(".yml");
        let seen = Seen::below(dir.path(), &is_yaml, Bounds::default()).unwrap();
        let wanted: Vec<_> = seen.wanted().map(|(path, _)| path).collect();
        let named = ["eng/ci.ps1", "hack/of.bash", "hack/roll", "ops/tool.py"];
        assert_eq!(wanted, [&[".github/workflows/ci.yml"], &named[..]].concat());
        let others: Vec<_> = seen.others().collect();
        assert_eq!(others, ["hack/data", "hack/unnamed", "ops/other.py"]);
    }
}
