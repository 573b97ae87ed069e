//! Which files of a directory count, and reading them within bounds.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

use ignore::WalkBuilder;

use crate::files::Files;

/// The longest file that is read, in bytes: far more than any person or model reads as instructions.
pub const FILE_BYTES: u64 = 2_000_000;

/// The most files that are looked at, orchestration or not.
pub const FILES_SEEN: usize = 1_000_000;

/// How deep directories are followed.
const DEPTH: usize = 32;

/// A file that counts but could not be read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Its path from the top.
    pub path: String,
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

/// Directories that never hold what people wrote for this repository.
const FOREIGN: &[&str] =
    &["node_modules", "target", ".git", "vendor", ".venv", "venv", "__pycache__", "dist"];

/// Reads all files below `root` that `wanted` names by their path from there.
///
/// Symbolic links are not followed, what git ignores is left out, hidden directories are looked into. Files longer
/// than [`FILE_BYTES`] and those that cannot be read are told in [`Found::unread`].
///
/// # Errors
/// Fails if `root` itself cannot be listed.
pub fn discover(root: &Path, wanted: &dyn Fn(&str) -> bool) -> io::Result<Found> {
    fs::read_dir(root)?;
    let walk = WalkBuilder::new(root)
        .hidden(false)
        .follow_links(false)
        .require_git(false)
        .git_global(false)
        .max_depth(Some(DEPTH))
        .filter_entry(|entry| {
            !entry.file_type().is_some_and(|kind| kind.is_dir())
                || !entry.file_name().to_str().is_some_and(|name| FOREIGN.contains(&name))
        })
        .build();
    let (mut texts, mut others, mut unread) = (Vec::new(), Vec::new(), Vec::new());
    for entry in walk.take(FILES_SEEN) {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                unread.push(Unread { path: String::new(), why: error.to_string() });
                continue;
            }
        };
        if !entry.file_type().is_some_and(|kind| kind.is_file()) {
            continue;
        }
        let Ok(path) = entry.path().strip_prefix(root) else { continue };
        let path = path.to_string_lossy().replace('\\', "/");
        if !wanted(&path) {
            others.push(path);
            continue;
        }
        match read(entry.path()) {
            Ok(text) => texts.push((path, text)),
            Err(why) => unread.push(Unread { path, why }),
        }
    }
    unread.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Found { files: Files::new(texts).beside(others), unread })
}

fn read(path: &Path) -> Result<String, String> {
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(format!("longer than {FILE_BYTES} bytes"));
    }
    // What is no UTF-8 is reported by the readers, from the replacement characters.
    Ok(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}
