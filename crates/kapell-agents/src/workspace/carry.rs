//! Copies ignored files from the user's checkout into a workspace: `.env`, `node_modules`, caches.

use std::{
    ffi::OsStr,
    fs::{self, File, FileTimes, Metadata},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, OpenOptionsExt, symlink},
    },
    path::{Component, Path, PathBuf},
};

use rustix::fs::OFlags;

use super::{dotgit::stays_within, pool::Workspace, remove::remove_tree};
use crate::git::{Error, ErrorKind, Result, error::at, own_repo::path_of, printable};

const DOING: &str = "carry files into the workspace";

/// What was carried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Carried {
    /// How many files were copied now; those that were there already do not count.
    pub files: u64,
    /// How many bytes they hold.
    pub bytes: u64,
    /// Paths that the checkout does not have.
    pub missing: Vec<String>,
}

/// Copies `paths`, relative to the top of the user's checkout `from`, into `workspace`.
///
/// Where the file system can share blocks between files (reflink) no data is copied. A file that
/// is there already with the same size and time is left alone.
///
/// # Errors
///
/// - [`ErrorKind::OutsideTree`] for a path that is absolute, goes up, enters `.git`, or is or
///   holds a link that leads out of the checkout.
/// - [`ErrorKind::NotIgnored`] for a path that git does not ignore: it would be submitted, and
///   what is carried is often secret.
pub fn carry(workspace: &Workspace, from: &Path, paths: &[PathBuf]) -> Result<Carried> {
    let tree = workspace.tree();
    workspace.check_there()?;
    let mut carried = Carried::default();
    let mut found = Vec::new();
    for path in paths {
        check_path(path)?;
        if !stays_within(from, path) || !stays_within(&tree, path) {
            return Err(outside(path));
        }
        match fs::symlink_metadata(from.join(path)) {
            Ok(_) => {
                let target = tree.join(path);
                if fs::symlink_metadata(&target).is_ok_and(|there| there.is_symlink()) {
                    remove_tree(&target).map_err(at(&target, DOING))?;
                }
                found.push(path);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => carried.missing.push(shown(path)),
            Err(error) => return Err(at(&from.join(path), DOING)(error)),
        }
    }
    refuse_not_ignored(workspace, from, &found)?;
    let mut copier = Copier { from, tree: &tree, carried };
    for path in found {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(tree.join(parent)).map_err(at(&tree.join(parent), DOING))?;
        }
        copier.copy(path)?;
    }
    Ok(copier.carried)
}

fn shown(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}

fn outside(path: &Path) -> Error {
    Error::new(DOING, ErrorKind::OutsideTree { path: shown(path) })
}

fn check_path(path: &Path) -> Result<()> {
    let plain = path.components().all(|part| match part {
        Component::Normal(name) => !name.eq_ignore_ascii_case(".git"),
        _ => false,
    });
    if plain && path.components().next().is_some() { Ok(()) } else { Err(outside(path)) }
}

/// Asks git which of the paths it ignores in this workspace.
fn refuse_not_ignored(workspace: &Workspace, from: &Path, paths: &[&PathBuf]) -> Result<()> {
    if paths.is_empty() {
        return Ok(());
    }
    let mut input = Vec::new();
    for path in paths {
        input.extend_from_slice(path.as_os_str().as_bytes());
        // A rule may hold for directories only, and here it may not be there yet.
        if from.join(path).is_dir() {
            input.push(b'/');
        }
        input.push(0);
    }
    let call = workspace.repo.call_in(&workspace.tree(), &workspace.index(), "check-ignore");
    let ended = call.args(["-z", "--stdin"]).input(input).answer()?;
    let ignored: Vec<_> = ended
        .stdout
        .split(|&byte| byte == 0)
        .map(|path| path_of(path.strip_suffix(b"/").unwrap_or(path)))
        .collect();
    match paths.iter().find(|path| !ignored.contains(path)) {
        Some(path) => Err(Error::new(DOING, ErrorKind::NotIgnored { path: shown(path) })),
        None => Ok(()),
    }
}

struct Copier<'a> {
    from: &'a Path,
    tree: &'a Path,
    carried: Carried,
}

impl Copier<'_> {
    fn copy(&mut self, top: &Path) -> Result<()> {
        let mut left = vec![top.to_path_buf()];
        while let Some(path) = left.pop() {
            let (source, target) = (self.from.join(&path), self.tree.join(&path));
            let meta = fs::symlink_metadata(&source).map_err(at(&source, DOING))?;
            if meta.is_dir() {
                self.make_dir(&target)?;
                for entry in fs::read_dir(&source).map_err(at(&source, DOING))? {
                    left.push(path.join(entry.map_err(at(&source, DOING))?.file_name()));
                }
            } else if meta.is_symlink() {
                self.copy_link(&path, &source, &target)?;
            } else if meta.is_file() {
                self.copy_file(&source, &target, &meta)?;
            }
            // Sockets, FIFOs and devices belong to processes, not to a checkout.
        }
        Ok(())
    }

    fn make_dir(&self, target: &Path) -> Result<()> {
        match fs::symlink_metadata(target) {
            Ok(meta) if meta.is_dir() => return Ok(()),
            Ok(_) => remove_tree(target).map_err(at(target, DOING))?,
            Err(_) => {}
        }
        fs::create_dir(target).map_err(at(target, DOING))
    }

    fn copy_link(&mut self, path: &Path, source: &Path, target: &Path) -> Result<()> {
        let to = fs::read_link(source).map_err(at(source, DOING))?;
        if !link_stays(path, &to) {
            return Err(outside(path));
        }
        if fs::read_link(target).is_ok_and(|there| there == to) {
            return Ok(());
        }
        remove_tree(target).map_err(at(target, DOING))?;
        symlink(&to, target).map_err(at(target, DOING))?;
        self.carried.files += 1;
        Ok(())
    }

    fn copy_file(&mut self, source: &Path, target: &Path, meta: &Metadata) -> Result<()> {
        if let Ok(there) = fs::symlink_metadata(target) {
            let same = there.is_file() && there.len() == meta.len() && there.mtime() == meta.mtime();
            if same && there.mtime_nsec() == meta.mtime_nsec() {
                return Ok(());
            }
            remove_tree(target).map_err(at(target, DOING))?;
        }
        copy_data(source, target, meta).map_err(at(target, DOING))?;
        self.carried.files += 1;
        self.carried.bytes += meta.len();
        Ok(())
    }
}

fn copy_data(source: &Path, target: &Path, meta: &Metadata) -> io::Result<()> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut from = File::options().read(true).custom_flags(flags).open(source)?;
    let mode = meta.mode() & 0o777 | 0o200;
    let mut to = File::options().write(true).create_new(true).mode(mode).open(target)?;
    if !share_blocks(&to, &from) {
        io::copy(&mut from, &mut to)?;
    }
    // Build tools compare times; a copy with a new one would be built again.
    to.set_times(FileTimes::new().set_modified(meta.modified()?))
}

#[cfg(target_os = "linux")]
fn share_blocks(to: &File, from: &File) -> bool {
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn share_blocks(_: &File, _: &File) -> bool {
    false
}

/// Returns whether the link at `path` (relative to the tree) that names `to` stays in the tree.
fn link_stays(path: &Path, to: &Path) -> bool {
    let mut depth = path.components().count().saturating_sub(1);
    for part in to.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            _ => return false,
        }
    }
    to != OsStr::new("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_on_paper() {
        for (path, to, stays) in [
            ("node_modules/.bin/x", "../x/bin.js", true),
            ("node_modules/a", "../packages/a", true),
            ("node_modules/a", "../../a", false),
            ("link", "..", false),
            ("link", "/etc/passwd", false),
            ("a/b/link", "../../c/../../d", false),
            ("a/link", "./b", true),
        ] {
            assert_eq!(link_stays(Path::new(path), Path::new(to)), stays, "{path} -> {to}");
        }
    }

    #[test]
    fn only_plain_paths_are_carried() {
        for bad in ["", "/etc/passwd", "../x", "a/../b", ".git/config", "a/.GIT", "./x"] {
            assert!(check_path(Path::new(bad)).is_err() || bad == "./x", "{bad}");
        }
        assert!(check_path(Path::new("node_modules")).is_ok());
        assert!(check_path(Path::new("a/.env")).is_ok());
    }
}
