//! Directories outside any repository: scratch for `workspace: none`, and caches between tasks.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{pool::Owner, remove::remove_tree};
use crate::git::{Error, ErrorKind, Result, error::at, printable};

/// A plain directory for one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes an empty directory for `owner` in `parent`; what was there under its name is deleted.
    ///
    /// # Errors
    ///
    /// Returns why it cannot be made.
    pub fn create(parent: &Path, owner: Owner) -> Result<Self> {
        let scratch = Self::of(parent, owner);
        scratch.remove()?;
        fs::create_dir_all(&scratch.path).map_err(at(&scratch.path, "make a scratch directory"))?;
        Ok(scratch)
    }

    /// Names the directory of `owner`, whether it is there or not: after a crash it is found again.
    #[must_use]
    pub fn of(parent: &Path, owner: Owner) -> Self {
        Self { path: parent.join(format!("scratch-{}.{}.{}", owner.run, owner.task, owner.attempt)) }
    }

    /// Returns where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Deletes it and all in it.
    ///
    /// # Errors
    ///
    /// Returns why something could not be deleted.
    pub fn remove(&self) -> Result<()> {
        remove_tree(&self.path).map_err(at(&self.path, "delete a scratch directory"))
    }
}

/// Returns the directory that the variable `name` is set to in all tasks that share it.
///
/// # Errors
///
/// Returns [`ErrorKind::BadPath`] if `name` is no name of a variable, or why the directory cannot
/// be made.
pub fn cache_dir(root: &Path, name: &str) -> Result<PathBuf> {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if !first || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        let kind = ErrorKind::BadPath(printable(name.as_bytes()));
        return Err(Error::new("find the directory of a cache", kind));
    }
    let dir = root.join(name);
    fs::create_dir_all(&dir).map_err(at(&dir, "make the directory of a cache"))?;
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use kapell_core::id::{AttemptNo, RunId, TaskId};

    use super::*;

    #[test]
    fn scratch_is_empty_each_time_and_found_by_its_owner() {
        let temp = tempfile::tempdir().unwrap();
        let owner = Owner { run: RunId([1; 16]), task: TaskId(2), attempt: AttemptNo(3) };
        let scratch = Scratch::create(temp.path(), owner).unwrap();
        fs::write(scratch.path().join("x"), "x").unwrap();
        assert_eq!(Scratch::of(temp.path(), owner), scratch);
        let again = Scratch::create(temp.path(), owner).unwrap();
        assert_eq!(fs::read_dir(again.path()).unwrap().count(), 0);
        again.remove().unwrap();
        again.remove().unwrap();
        assert!(!scratch.path().exists());
    }

    #[test]
    fn a_cache_is_named_by_a_variable() {
        let temp = tempfile::tempdir().unwrap();
        assert_eq!(cache_dir(temp.path(), "CARGO_TARGET_DIR").unwrap(), temp.path().join("CARGO_TARGET_DIR"));
        for bad in ["", "../x", "A/B", "1A", "A-B"] {
            assert!(cache_dir(temp.path(), bad).is_err(), "{bad}");
        }
    }
}
