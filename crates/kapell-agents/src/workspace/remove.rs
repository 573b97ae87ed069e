//! Deletes directories that an agent has filled.

use std::{
    ffi::{CString, OsStr},
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, chmodat, openat, renameat, statat, unlinkat},
    io::Errno,
};

/// How many directories are held open at once; what lies deeper is moved up first.
const DEPTH: usize = 64;

/// Deletes `path` and all in it, whatever the permissions inside, without following a link.
///
/// That it is not there is no error. Directories deeper than the system's limit on paths are
/// deleted too.
///
/// # Errors
///
/// Returns why something could not be deleted.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no name to delete"));
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let parent = match openat(CWD, parent, flags, Mode::empty()) {
        Ok(parent) => parent,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    let name = c_name(name)?;
    match statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::Directory => {
            Ok(unlinkat(&parent, &name, AtFlags::empty())?)
        }
        Ok(_) => Emptier { moved: 0 }.remove_dir(&parent, &name),
    }
}

fn c_name(name: &OsStr) -> io::Result<CString> {
    CString::new(name.as_bytes()).map_err(io::Error::other)
}

struct Level {
    dir: OwnedFd,
    name: CString,
    left: Vec<(CString, bool)>,
}

struct Emptier {
    /// How many directories were moved up, which gives each a new name.
    moved: u64,
}

impl Emptier {
    /// Deletes the directory `name` in `parent`, with a stack of its own instead of recursion.
    fn remove_dir(&mut self, parent: &OwnedFd, name: &CString) -> io::Result<()> {
        let mut stack = vec![enter(parent, name)?];
        while let Some(mut top) = stack.pop() {
            let Some((entry, is_dir)) = top.left.pop() else {
                let above = stack.last().map_or(parent, |level| &level.dir);
                unlinkat(above, &top.name, AtFlags::REMOVEDIR)?;
                continue;
            };
            if !is_dir {
                gone_is_fine(unlinkat(&top.dir, &entry, AtFlags::empty()))?;
                stack.push(top);
            } else if stack.len() + 1 < DEPTH {
                let below = enter(&top.dir, &entry)?;
                stack.push(top);
                stack.push(below);
            } else {
                // The stack is `DEPTH - 1` deep here, so the top is not its first.
                if let Some(root) = stack.first_mut() {
                    let new_name = self.move_up(&top.dir, &entry, &root.dir)?;
                    root.left.push((new_name, true));
                }
                stack.push(top);
            }
        }
        Ok(())
    }

    fn move_up(&mut self, from: &OwnedFd, name: &CString, root: &OwnedFd) -> io::Result<CString> {
        // A directory that may not be written to cannot be moved: its `..` would change.
        chmodat(from, name, Mode::RWXU, AtFlags::empty())?;
        loop {
            self.moved += 1;
            let new_name = c_name(OsStr::new(&format!(".kapell-deep-{}", self.moved)))?;
            if matches!(statat(root, &new_name, AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT)) {
                renameat(from, name, root, &new_name)?;
                return Ok(new_name);
            }
        }
    }
}

fn gone_is_fine(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Opens a directory that may be locked against us, and lists what is in it.
fn enter(parent: &OwnedFd, name: &CString) -> io::Result<Level> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = match openat(parent, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            // It was seen to be a directory, and nothing else runs here any more.
            chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            openat(parent, name, flags, Mode::empty())?
        }
        other => other?,
    };
    // Without the right to write and search nothing in it can be deleted.
    rustix::fs::fchmod(&dir, Mode::RWXU)?;
    let mut left = Vec::new();
    for entry in Dir::read_from(&dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_bytes() == b"." || name.to_bytes() == b".." {
            continue;
        }
        let is_dir = match entry.file_type() {
            FileType::Unknown => {
                let stat = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode) == FileType::Directory
            }
            kind => kind == FileType::Directory,
        };
        left.push((name.to_owned(), is_dir));
    }
    Ok(Level { dir, name: name.clone(), left })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn locked_deep_and_linked_things_go_and_nothing_else() {
        let temp = tempfile::tempdir().unwrap();
        let keep = temp.path().join("keep");
        fs::create_dir(&keep).unwrap();
        fs::write(keep.join("file"), "x").unwrap();
        let tree = temp.path().join("tree");
        fs::create_dir_all(tree.join("locked/inner")).unwrap();
        fs::write(tree.join("locked/inner/file"), "x").unwrap();
        std::os::unix::fs::symlink(&keep, tree.join("link")).unwrap();
        fs::set_permissions(tree.join("locked/inner"), fs::Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(tree.join("locked"), fs::Permissions::from_mode(0o000)).unwrap();
        // Deeper than PATH_MAX: 600 levels of 9 bytes.
        let mut dir = openat(CWD, &tree, OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).unwrap();
        for _ in 0..600 {
            rustix::fs::mkdirat(&dir, "deepdeep", Mode::RWXU).unwrap();
            dir = openat(&dir, "deepdeep", OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).unwrap();
        }
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        assert_eq!(fs::read_to_string(keep.join("file")).unwrap(), "x");
        remove_tree(&tree).unwrap();
    }

    #[test]
    fn a_link_is_removed_and_not_what_it_names() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("keep")).unwrap();
        std::os::unix::fs::symlink("keep", temp.path().join("link")).unwrap();
        remove_tree(&temp.path().join("link")).unwrap();
        assert!(temp.path().join("keep").is_dir());
        assert!(fs::symlink_metadata(temp.path().join("link")).is_err());
    }
}
