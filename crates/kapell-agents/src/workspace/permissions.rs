//! Permissions and sizes of whole trees.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Takes the right to write from every file and directory of `tree`.
pub(crate) fn set_read_only(tree: &Path) -> io::Result<()> {
    change(tree, |mode, _| mode & !0o222)
}

/// Gives the owner back what is needed to read and delete everything in `tree`.
pub(crate) fn make_readable(tree: &Path) -> io::Result<()> {
    change(tree, |mode, is_dir| mode | if is_dir { 0o700 } else { 0o600 })
}

/// Changes the modes of all in `tree`; links are left alone and not followed.
fn change(tree: &Path, new_mode: impl Fn(u32, bool) -> u32) -> io::Result<()> {
    let mut dirs = vec![tree.to_path_buf()];
    let mut seen: Vec<PathBuf> = Vec::new();
    while let Some(dir) = dirs.pop() {
        // To be listed it must be readable now, whatever it is to become.
        let meta = fs::symlink_metadata(&dir)?;
        if meta.permissions().mode() & 0o500 != 0o500 {
            fs::set_permissions(&dir, fs::Permissions::from_mode(meta.permissions().mode() | 0o700))?;
        }
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                dirs.push(entry.path());
            } else if kind.is_file() {
                set(&entry.path(), false, &new_mode)?;
            }
        }
        seen.push(dir);
    }
    // Directories last, inner ones first: one that may not be searched hides what is in it.
    seen.iter().rev().try_for_each(|dir| set(dir, true, &new_mode))
}

fn set(path: &Path, is_dir: bool, new_mode: &impl Fn(u32, bool) -> u32) -> io::Result<()> {
    let mode = fs::symlink_metadata(path)?.permissions().mode() & 0o7777;
    let wanted = new_mode(mode, is_dir);
    if wanted == mode { Ok(()) } else { fs::set_permissions(path, fs::Permissions::from_mode(wanted)) }
}

/// Adds up the sizes of all files below `path`, in bytes.
pub(crate) fn size_of(path: &Path) -> u64 {
    let mut dirs = vec![path.to_path_buf()];
    let mut bytes = 0;
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() { dirs.push(entry.path()) } else { bytes += meta.len() }
        }
    }
    bytes
}
