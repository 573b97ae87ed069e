//! Directories of attempts that left nothing to be read, for attempts that come later.
//!
//! A command that does next to nothing takes less time than the file system needs to make a directory and two files for it:
//! ext4 looks for a free inode, and passes one by one over those that were deleted within the last minutes. To rename a
//! directory, with the files in it that kapell writes anew, takes none.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use super::{Exit, exit::Ending};
use crate::{
    private,
    protocol::AttemptKey,
    supervise::{BRIEF_FILE, PID_FILE, RECORD_FILE},
};

/// At most so many are kept of each kind. As many as attempts that run at once are of use.
const KEPT_MAX: usize = 64;

const DIR_MODE: u32 = 0o700;

/// The files that kapell writes anew for every attempt.
const OURS: [&str; 3] = [BRIEF_FILE, PID_FILE, RECORD_FILE];

/// What is known of directories that may serve once more.
#[derive(Debug, Default)]
pub(super) struct Spares {
    /// Attempts that run, whose directory nobody else needs.
    running: HashMap<AttemptKey, PathBuf>,
    /// Attempts that have ended and left nothing. Until that is durable elsewhere, their record tells of it.
    ended: Vec<(AttemptKey, PathBuf)>,
    free: Vec<PathBuf>,
    /// Directories of attempts that have not begun.
    made: Vec<PathBuf>,
}

impl Spares {
    /// Makes the directory of an attempt that will perhaps begin soon.
    pub(super) fn make(&mut self, dir: &Path) -> io::Result<()> {
        let is_beside = |spare: &PathBuf| spare.parent() == dir.parent();
        let spare = self.free.iter().position(is_beside).map(|at| self.free.swap_remove(at));
        // A directory that is there already, with something in it, is not replaced.
        let renamed = spare.is_some_and(|spare| fs::rename(spare, dir).is_ok());
        if !renamed {
            make_dir(dir)?;
        }
        push(&mut self.made, dir.to_owned());
        Ok(())
    }

    /// Takes in that an attempt begins in `dir`, which is made if need be. `script` says that nobody needs what kapell
    /// keeps there once the attempt is over.
    pub(super) fn begin(&mut self, key: AttemptKey, dir: &Path, script: bool) -> io::Result<()> {
        match self.made.iter().position(|made| made == dir) {
            Some(at) => drop(self.made.swap_remove(at)),
            None => make_dir(dir)?,
        }
        if script {
            self.running.insert(key, dir.to_owned());
        }
        Ok(())
    }

    /// Takes in that an attempt has ended, or was not begun.
    pub(super) fn end(&mut self, key: AttemptKey, exit: Option<&Exit>) {
        let Some(dir) = self.running.remove(&key) else { return };
        let record =
            exit.filter(|exit| exit.ending == Ending::Succeeded).and_then(|exit| exit.record.as_ref());
        let is_silent = record.is_some_and(|record| record.printed.bytes == 0 && record.stubborn == 0);
        if is_silent && has_only_ours(&dir) {
            push(&mut self.ended, (key, dir));
        }
    }

    /// Takes in that it is durable elsewhere how an attempt ended.
    pub(super) fn settle(&mut self, key: AttemptKey) {
        if let Some(at) = self.ended.iter().position(|(ended, _)| *ended == key) {
            push(&mut self.free, self.ended.swap_remove(at).1);
        }
    }
}

fn push<T>(into: &mut Vec<T>, one: T) {
    if into.len() == KEPT_MAX {
        into.swap_remove(0);
    }
    into.push(one);
}

/// What an attempt is given to read and what it prints are for its owner alone.
fn make_dir(dir: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(DIR_MODE).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(_) => private::dir(dir),
        Ok(()) => Ok(()),
    }
}

/// Tells whether the directory is as it was made, with nothing in it but what kapell writes anew for every attempt.
fn has_only_ours(dir: &Path) -> bool {
    let is_private = fs::symlink_metadata(dir).is_ok_and(|found| found.mode() & 0o7777 == DIR_MODE);
    is_private
        && fs::read_dir(dir).is_ok_and(|mut entries| {
            entries.all(|entry| entry.is_ok_and(|entry| OURS.iter().any(|name| entry.file_name() == *name)))
        })
}

#[cfg(test)]
mod tests {
    use kapell_core::id::{AttemptNo, RunId, TaskId};

    use super::*;
    use crate::supervise::{Cause, ExitRecord};

    fn key(task: u32) -> AttemptKey {
        AttemptKey { run: RunId([1; 16]), task: TaskId(task), attempt: AttemptNo(1), compensates: false }
    }

    fn exit(key: AttemptKey, code: i32, printed: u64) -> Exit {
        let mut record = ExitRecord::new(&key.to_string(), Cause::Itself);
        record.code = Some(code);
        record.printed.bytes = printed;
        Exit::from_record(record)
    }

    /// What becomes of the directory of an attempt that ends so, when another one begins.
    fn is_taken(code: i32, printed: u64, file: &str, settled: bool) -> bool {
        let root = tempfile::tempdir().unwrap();
        let (first, second) = (root.path().join("run/0-1"), root.path().join("run/1-1"));
        let mut spares = Spares::default();
        spares.begin(key(0), &first, true).unwrap();
        fs::write(first.join(file), "something").unwrap();
        spares.end(key(0), Some(&exit(key(0), code, printed)));
        if settled {
            spares.settle(key(0));
        }
        spares.make(&second).unwrap();
        assert!(second.is_dir());
        let taken = !first.exists();
        assert_eq!(second.join(file).exists(), taken);
        spares.begin(key(1), &second, true).unwrap();
        taken
    }

    #[test]
    fn a_directory_serves_again_once_nobody_will_read_what_is_in_it() {
        assert!(is_taken(0, 0, PID_FILE, true));
        assert!(is_taken(0, 0, RECORD_FILE, true));
        assert!(is_taken(0, 0, BRIEF_FILE, true));
        assert!(!is_taken(0, 0, RECORD_FILE, false), "how it ended is not durable");
        assert!(!is_taken(1, 0, RECORD_FILE, true), "it failed");
        assert!(!is_taken(0, 5, RECORD_FILE, true), "it printed something");
        assert!(!is_taken(0, 0, "outputs", true), "it gave something");
        assert!(!is_taken(0, 0, "notes.txt", true), "it left something");
    }

    #[test]
    fn a_directory_that_others_can_enter_by_now_serves_no_more() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("0-1");
        make_dir(&dir).unwrap();
        assert!(has_only_ours(&dir));
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(!has_only_ours(&dir));
    }

    #[test]
    fn what_is_there_already_is_not_replaced() {
        let root = tempfile::tempdir().unwrap();
        let (first, second) = (root.path().join("0-1"), root.path().join("1-1"));
        let mut spares = Spares::default();
        spares.begin(key(0), &first, true).unwrap();
        spares.end(key(0), Some(&exit(key(0), 0, 0)));
        spares.settle(key(0));
        fs::create_dir(&second).unwrap();
        fs::write(second.join("output.log"), "of an earlier process").unwrap();
        spares.make(&second).unwrap();
        assert!(first.exists() && second.join("output.log").exists());
        // Nor is one taken from another run.
        spares.begin(key(2), &root.path().join("other/2-1"), true).unwrap();
        assert!(first.exists());
    }
}
