//! Snapshots: one file a run, written without a sync, because losing one costs only time.
//!
//! A file is: the letters `kaplsnap`, `n` and the length of the bytes (8 bytes each, little-endian), `fold`
//! (4 bytes), the hash at `n`, the BLAKE3 hash of all else, then the bytes. Whatever does not fit that is no
//! snapshot.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use kapell_core::{
    id::{Digest, RunId},
    journal::Version,
};
use kapell_engine::port::journal::{JournalError, Snapshot};

use crate::fault;

const MAGIC: &[u8; 8] = b"kaplsnap";
const HEADER: usize = 8 + 8 + 8 + 4 + 32 + 32;

static COUNTER: AtomicU64 = AtomicU64::new(0);

fn path(root: &Path, run: RunId) -> PathBuf {
    root.join(run.to_string())
}

fn digest(head: &[u8], bytes: &[u8]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(head).update(bytes);
    Digest(*hasher.finalize().as_bytes())
}

/// Keeps a snapshot of `run` in place of its last one.
pub(crate) fn keep(root: &Path, run: RunId, snapshot: &Snapshot) -> Result<(), JournalError> {
    let path = path(root, run);
    let mut file = Vec::with_capacity(HEADER + snapshot.bytes.len());
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&snapshot.n.0.to_le_bytes());
    file.extend_from_slice(&(snapshot.bytes.len() as u64).to_le_bytes());
    file.extend_from_slice(&snapshot.fold.to_le_bytes());
    file.extend_from_slice(&snapshot.hash.0);
    let sum = digest(&file, &snapshot.bytes);
    file.extend_from_slice(&sum.0);
    file.extend_from_slice(&snapshot.bytes);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let temporary = root.join(format!("tmp-{}-{number}", std::process::id()));
    let write = || fs::write(&temporary, &file).and_then(|()| fs::rename(&temporary, &path));
    let written = write().or_else(|error| {
        if error.kind() != io::ErrorKind::NotFound {
            return Err(error);
        }
        fs::create_dir_all(root)?;
        write()
    });
    written.map_err(|error| {
        let _ = fs::remove_file(&temporary);
        fault::io(&path, "keeping a snapshot")(error)
    })
}

/// Returns the last snapshot of `run`, if there is a good one.
pub(crate) fn load(root: &Path, run: RunId) -> Option<Snapshot> {
    let mut file = fs::read(path(root, run)).ok()?;
    let head = file.get(..HEADER)?;
    let number = |at: usize| head.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
    let (n, length) = (number(8)?, number(16)?);
    let fold = u32::from_le_bytes(head.get(24..28)?.try_into().ok()?);
    let hash = Digest(head.get(28..60)?.try_into().ok()?);
    let sum = Digest(head.get(60..92)?.try_into().ok()?);
    let bytes = file.get(HEADER..)?;
    let good = head.starts_with(MAGIC) && length == bytes.len() as u64 && digest(&head[..60], bytes) == sum;
    if !good {
        return None;
    }
    file.drain(..HEADER);
    Some(Snapshot { n: Version(n), hash, fold, bytes: file })
}

/// Removes what unfinished writes have left.
pub(crate) fn sweep(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("tmp-") {
            let _ = fs::remove_file(entry.path());
        }
    }
}
