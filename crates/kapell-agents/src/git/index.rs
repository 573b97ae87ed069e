//! Index files that live for one computation.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

use super::own_repo::OwnRepo;

static COUNT: AtomicU64 = AtomicU64::new(0);

/// An index file for one computation.
pub(crate) struct PrivateIndex {
    pub(crate) path: PathBuf,
}

impl PrivateIndex {
    pub(crate) fn new(repo: &OwnRepo) -> Self {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self { path: repo.dir().join(format!("index-{}-{count}", std::process::id())) }
    }
}

impl Drop for PrivateIndex {
    fn drop(&mut self) {
        // One that stays behind takes a little room; `OwnRepo::compact` removes it.
        let _ = fs::remove_file(&self.path);
    }
}
