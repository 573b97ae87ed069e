//! Empty directories for attempts that need no repository.

use std::{collections::HashSet, fs, io, path::PathBuf, sync::Mutex};

use kapell_core::id::RunId;
use kapell_engine::port::agents::AttemptKey;

use crate::lock::lock;
use crate::workspace::remove_tree;

/// The directories of attempts below one directory.
pub(super) struct Scratch {
    dir: PathBuf,
    /// Those that this process has made. What is swept up after a resume are those of earlier ones only, while new
    /// attempts begin already.
    made: Mutex<HashSet<PathBuf>>,
}

impl Scratch {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, made: Mutex::default() }
    }

    /// Returns where the directory of an attempt is, if it has one.
    pub(super) fn path(&self, key: AttemptKey) -> PathBuf {
        let kind = if key.compensates { "c" } else { "" };
        self.dir.join(format!("{}-{}-{kind}{}", key.run, key.task, key.attempt))
    }

    /// Makes the directory of an attempt.
    pub(super) fn open(&self, key: AttemptKey) -> io::Result<PathBuf> {
        let dir = self.path(key);
        lock(&self.made).insert(dir.clone());
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// Deletes the directory of an attempt. What cannot be deleted now is deleted with the others later.
    pub(super) fn close(&self, key: AttemptKey) {
        let dir = self.path(key);
        let _ = remove_tree(&dir);
        lock(&self.made).remove(&dir);
    }

    /// Deletes the directories that earlier processes have left of a run, but for those in use.
    pub(super) fn sweep(&self, run: RunId, in_use: &[AttemptKey]) {
        let keep: Vec<_> = in_use.iter().map(|key| self.path(*key)).collect();
        let prefix = format!("{run}-");
        let entries = fs::read_dir(&self.dir).into_iter().flatten().filter_map(Result::ok);
        for entry in entries {
            let (path, name) = (entry.path(), entry.file_name());
            let is_of_run = name.to_str().is_some_and(|name| name.starts_with(&prefix));
            let is_made = || lock(&self.made).contains(&path);
            if is_of_run && !keep.contains(&path) && !is_made() {
                // What cannot be deleted now is deleted by `gc`.
                let _ = remove_tree(&path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kapell_core::id::{AttemptNo, TaskId};

    use super::*;

    #[test]
    fn only_what_earlier_processes_have_left_is_swept_up() {
        let dir = tempfile::tempdir().unwrap();
        let key = |run, task| AttemptKey {
            run: RunId([run; 16]),
            task: TaskId(task),
            attempt: AttemptNo(1),
            compensates: false,
        };
        let earlier = Scratch::new(dir.path().to_owned());
        let [left, used, other] = [key(1, 0), key(1, 1), key(2, 0)].map(|key| earlier.open(key).unwrap());
        let now = Scratch::new(dir.path().to_owned());
        // It has begun before what was left is looked for.
        let own = now.open(key(1, 2)).unwrap();
        now.sweep(RunId([1; 16]), &[key(1, 1)]);
        assert!(!left.exists());
        assert!(used.exists() && other.exists() && own.exists());
        now.close(key(1, 2));
        assert!(!own.exists());
    }
}
