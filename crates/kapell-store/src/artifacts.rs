//! Artifacts: files named by the hash of their content.
//!
//! `artifacts/ab/cdef...`: the first two hexadecimal digits of the BLAKE3 hash, then the other 62.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use kapell_core::id::Digest;
use kapell_engine::port::journal::JournalError;

use crate::fault::{self, damaged};

/// How many digests are remembered as durable. Forgetting one costs a sync.
const KNOWN_MAX: usize = 65_536;

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// The artifacts below one directory.
pub(crate) struct Artifacts {
    root: PathBuf,
    /// Digests that are known to be durable.
    known: Mutex<HashSet<Digest>>,
}

/// One artifact in a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Artifact {
    /// The hash of its content.
    pub digest: Digest,
    /// Its size in bytes.
    pub bytes: u64,
}

impl Artifacts {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, known: Mutex::new(HashSet::new()) }
    }

    pub(crate) fn path(&self, digest: Digest) -> PathBuf {
        let name = digest.to_string();
        self.root.join(&name[..2]).join(&name[2..])
    }

    /// Keeps `bytes`, durable when this returns.
    pub(crate) fn keep(&self, bytes: &[u8]) -> Result<Digest, JournalError> {
        let digest = Digest::of(bytes);
        let path = self.path(digest);
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(&digest);
        if known && fs::metadata(&path).is_ok_and(|metadata| metadata.len() == bytes.len() as u64) {
            return Ok(digest);
        }
        let failed = fault::io(&path, "keeping an artifact");
        let shard = path.parent().unwrap_or(&self.root);
        // A file that is there but damaged is replaced.
        if fs::read(&path).is_ok_and(|there| there == bytes) {
            // Whoever wrote it may have died before its name was durable.
            sync_dir(shard).and_then(|()| sync_dir(&self.root)).map_err(&failed)?;
        } else {
            self.write(&path, shard, bytes).map_err(&failed)?;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(digest);
        Ok(digest)
    }

    fn write(&self, path: &Path, shard: &Path, bytes: &[u8]) -> io::Result<()> {
        if !shard.is_dir() {
            fs::create_dir_all(shard)?;
            sync_dir(&self.root)?;
            if let Some(parent) = self.root.parent() {
                sync_dir(parent)?;
            }
        }
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let temporary = self.root.join(format!("tmp-{}-{number}", std::process::id()));
        let written = File::create_new(&temporary)
            .and_then(|mut file| {
                file.write_all(bytes)?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&temporary, path))
            .and_then(|()| sync_dir(shard));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    /// Returns the bytes kept under `digest`.
    pub(crate) fn kept(&self, digest: Digest) -> Result<Option<Vec<u8>>, JournalError> {
        let path = self.path(digest);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fault::io(&path, "reading an artifact")(error)),
        };
        if Digest::of(&bytes) == digest {
            Ok(Some(bytes))
        } else {
            Err(damaged(&path, 0, "the content of an artifact does not have its hash"))
        }
    }

    /// Lists all artifacts, in the order of their digests.
    pub(crate) fn list(&self) -> Result<Vec<Artifact>, JournalError> {
        let mut artifacts = Vec::new();
        let failed = fault::io(&self.root, "listing artifacts");
        for shard in entries(&self.root).map_err(&failed)? {
            if !shard.is_dir() {
                continue;
            }
            for file in entries(&shard).map_err(&failed)? {
                let name = shard.file_name().zip(file.file_name());
                let name = name.map(|(a, b)| format!("{}{}", a.to_string_lossy(), b.to_string_lossy()));
                let Some(Ok(digest)) = name.map(|name| name.parse()) else { continue };
                let bytes = fs::metadata(&file).map_err(&failed)?.len();
                artifacts.push(Artifact { digest, bytes });
            }
        }
        artifacts.sort_by_key(|artifact| artifact.digest);
        Ok(artifacts)
    }

    /// Removes the artifact. Returns whether there was one.
    pub(crate) fn remove(&self, digest: Digest) -> Result<bool, JournalError> {
        let path = self.path(digest);
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(fault::io(&path, "removing an artifact")(error)),
        }
    }

    /// Removes what unfinished writes of processes that are gone have left.
    pub(crate) fn sweep(&self) {
        for file in entries(&self.root).unwrap_or_default() {
            if file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("tmp-")) {
                // What cannot be removed now is tried again at the next opening.
                let _ = fs::remove_file(file);
            }
        }
    }
}

fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
