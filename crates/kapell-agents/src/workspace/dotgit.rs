//! The `.git` directory that an agent gets: made by hand, thrown away with each use, never run.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Component, Path},
    time::SystemTime,
};

use kapell_core::id::Oid;
use serde::{Deserialize, Serialize};

use crate::git::{
    Identity, OwnRepo,
    own_repo::config_text,
    refs::{self, RefValue},
};

/// How many objects an agent's repository may hold before it is not looked at.
const OBJECTS_MAX: usize = 1_000_000;

/// What tells a directory from another that has taken its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DirId {
    device: u64,
    inode: u64,
    /// Nanoseconds since 1970; 0 where the file system does not keep it. A number of an inode alone
    /// is soon given to the next directory that is made.
    born: u64,
}

impl DirId {
    /// Returns the identity of the directory at `path`; `None` if there is no real directory.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let meta = fs::symlink_metadata(path).ok()?;
        let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok();
        let born = meta.created().ok().and_then(since).and_then(|age| u64::try_from(age.as_nanos()).ok());
        meta.is_dir().then(|| Self { device: meta.dev(), inode: meta.ino(), born: born.unwrap_or(0) })
    }
}

/// Makes `tree/.git` with HEAD on `branch` at `base`.
///
/// It borrows objects from kapell's own repository and the user's, has no hooks, and names the person as author.
pub(crate) fn make(
    repo: &OwnRepo,
    tree: &Path,
    index: &Path,
    base: Oid,
    branch: &str,
    who: &Identity,
) -> io::Result<DirId> {
    let dir = tree.join(".git");
    let branch_file = dir.join("refs/heads").join(branch);
    fs::create_dir_all(dir.join("objects/info"))?;
    fs::create_dir(dir.join("objects/pack"))?;
    fs::create_dir(dir.join("info"))?;
    fs::create_dir_all(branch_file.parent().unwrap_or(&dir))?;
    let text = format!(
        "{}[user]\n\tname = {}\n\temail = {}\n[gc]\n\tauto = 0\n",
        config_text(repo.format(), false),
        quoted(&who.name),
        quoted(&who.email)
    );
    fs::write(dir.join("config"), text)?;
    fs::write(dir.join("HEAD"), format!("ref: refs/heads/{branch}\n"))?;
    fs::write(branch_file, format!("{base}\n"))?;
    fs::write(dir.join("objects/info/alternates"), repo.alternates())?;
    fs::write(dir.join("info/exclude"), repo.excludes())?;
    if let Some(shallow) = repo.shallow() {
        fs::write(dir.join("shallow"), shallow)?;
    }
    fs::copy(index, dir.join("index"))?;
    DirId::of(&dir).ok_or_else(|| io::Error::other("the directory is gone"))
}

fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Says what is not as it was made, if objects can no longer be read out of `tree/.git` safely.
///
/// # Errors
///
/// Returns the reason, as it reads after "its commits are not taken over:".
pub(crate) fn check(repo: &OwnRepo, tree: &Path, made: Option<DirId>) -> Result<(), String> {
    let dir = tree.join(".git");
    if made.is_none() || DirId::of(&dir) != made {
        return Err("`.git` is not the directory that was made".to_owned());
    }
    if fs::symlink_metadata(dir.join("commondir")).is_ok() {
        return Err("`.git/commondir` leads elsewhere".to_owned());
    }
    let objects = dir.join("objects");
    for part in [&objects, &objects.join("info"), &objects.join("pack")] {
        if DirId::of(part).is_none() {
            return Err("`.git/objects` is not a directory".to_owned());
        }
    }
    let kept = refs::read_small(&objects.join("info/alternates")).ok().flatten();
    if kept.as_deref() != Some(&repo.alternates()) {
        return Err("`.git/objects/info/alternates` was changed".to_owned());
    }
    plain_files_only(&objects, 2, &mut 0)
}

/// Makes sure that `dir` holds nothing but directories, `depth` deep, and regular files.
///
/// A link would let git read elsewhere, a FIFO would make it wait for ever.
fn plain_files_only(dir: &Path, depth: usize, seen: &mut usize) -> Result<(), String> {
    let unreadable = |error: io::Error| format!("`.git/objects` cannot be read: {error}");
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        *seen += 1;
        if *seen > OBJECTS_MAX {
            return Err(format!("it holds more than {OBJECTS_MAX} objects"));
        }
        let kind = entry.file_type().map_err(unreadable)?;
        if kind.is_dir() && depth > 0 {
            plain_files_only(&entry.path(), depth - 1, seen)?;
        } else if !kind.is_file() {
            return Err("`.git/objects` holds links or special files".to_owned());
        }
    }
    Ok(())
}

/// Reads the commit that HEAD names, through files alone; `None` if it names none.
pub(crate) fn head(tree: &Path) -> Option<Oid> {
    let dir = tree.join(".git");
    let mut name = "HEAD".to_owned();
    for _ in 0..5 {
        if !stays_within(&dir, Path::new(&name)) {
            return None;
        }
        match refs::read_small(&dir.join(&name)).ok()? {
            Some(bytes) => match refs::parse_ref(&bytes)? {
                RefValue::Object(oid) => return Some(oid),
                RefValue::Symbolic(next) => name = next,
            },
            None => {
                let packed = refs::read_small(&dir.join("packed-refs")).ok()??;
                return refs::packed_refs(&packed)
                    .find(|(known, _)| *known == name.as_bytes())
                    .map(|(_, oid)| oid);
            }
        }
    }
    None
}

/// Returns whether no directory on the way from `root` to `path` is a link.
pub(crate) fn stays_within(root: &Path, path: &Path) -> bool {
    let mut at = root.to_path_buf();
    let mut parts = path.components().peekable();
    while let Some(part) = parts.next() {
        let Component::Normal(name) = part else { return false };
        at.push(name);
        let last = parts.peek().is_none();
        if !last && fs::symlink_metadata(&at).is_ok_and(|meta| !meta.is_dir()) {
            return false;
        }
    }
    true
}
