//! The directory of a store: what lies where, who may open it, and what kind of file system it is on.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use kapell_engine::port::journal::{JournalError, JournalErrorKind};

use crate::{
    artifacts::sync_dir,
    fault::{self, damaged, fault},
    schema, wal,
};

/// The directory of a store.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    root: PathBuf,
}

impl Place {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.root.join("journal.sqlite")
    }

    pub(crate) fn artifacts(&self) -> PathBuf {
        self.root.join("artifacts")
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    pub(crate) fn owners(&self) -> PathBuf {
        self.root.join("owners")
    }

    /// Takes part in the store: shared while it is open, alone while nobody else has it open.
    pub(crate) fn enter(&self, wait: Duration) -> Result<Entered, JournalError> {
        let failed = fault::io(&self.root, "opening the store");
        if !self.root.is_dir() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.root).map_err(&failed)?;
        }
        let path = self.root.join("lock");
        let failed = fault::io(&path, "locking the store");
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(&failed)?;
        let begin = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Entered { lock, alone: true }),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
                Err(TryLockError::WouldBlock) => {}
            }
            // Whoever is alone prepares the file; until then there is nothing to share.
            match lock.try_lock_shared() {
                Ok(()) if self.journal().exists() => return Ok(Entered { lock, alone: false }),
                Ok(()) => lock.unlock().map_err(&failed)?,
                Err(TryLockError::Error(error)) => return Err(failed(error)),
                Err(TryLockError::WouldBlock) => {}
            }
            if begin.elapsed() >= wait {
                return Err(fault(&path, JournalErrorKind::Busy));
            }
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// Makes sure that there is a journal, and that the log beside it may be opened.
    pub(crate) fn prepare(&self, alone: bool, page_size: u32) -> Result<(wal::Scan, bool), JournalError> {
        let journal = self.journal();
        let log = wal::path_of(&journal);
        let there = match fs::symlink_metadata(&journal) {
            Ok(metadata) if !metadata.is_file() => {
                let source = io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
                return Err(fault::io(&journal, "opening the journal")(source));
            }
            // A new journal gets its name only when it is complete.
            Ok(metadata) if metadata.len() == 0 => return Err(damaged(&journal, 0, "the journal is empty")),
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(fault::io(&journal, "opening the journal")(error)),
        };
        if there {
            let scan = wal::scan(&log)?;
            // While others have it open, what looks torn is a commit on its way.
            return Ok((if alone { scan } else { wal::Scan::default() }, false));
        }
        if log.exists() {
            let what = "there is a write-ahead log, but the journal that it belongs to is gone";
            return Err(damaged(&log, 0, what));
        }
        self.create(page_size)?;
        Ok((wal::Scan::default(), true))
    }

    fn create(&self, page_size: u32) -> Result<(), JournalError> {
        let (journal, fresh) = (self.journal(), self.root.join("journal.new"));
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let _ = fs::remove_file(self.root.join(format!("journal.new{suffix}")));
        }
        schema::create(&fresh, page_size)?;
        let failed = fault::io(&journal, "creating the journal");
        fs::rename(&fresh, &journal).map_err(&failed)?;
        sync_dir(&self.root).map_err(&failed)?;
        self.root.parent().map_or(Ok(()), sync_dir).map_err(&failed)
    }
}

/// A part taken in a store.
#[derive(Debug)]
pub(crate) struct Entered {
    /// Locked for as long as it is open.
    pub(crate) lock: File,
    /// Nobody else has the store open.
    pub(crate) alone: bool,
}

impl Entered {
    /// Lets others in.
    pub(crate) fn share(&mut self) -> io::Result<()> {
        if self.alone {
            self.alone = false;
            // Turning one kind into the other may let somebody in between: they find all prepared.
            self.lock.lock_shared()?;
        }
        Ok(())
    }
}

/// Names the network file system that `path` is on, or `None` if it is on a local one.
///
/// SQLite's write-ahead mode needs memory that all processes share, and locks that hold; neither can be relied
/// upon over a network. FUSE counts as one: what is behind it cannot be told.
///
/// # Errors
///
/// Fails if `path` does not exist or cannot be asked about.
pub fn network_file_system(path: &Path) -> io::Result<Option<&'static str>> {
    let kind = rustix::fs::statfs(path)?.f_type;
    Ok(network_name(u64::try_from(kind).unwrap_or(0) & 0xffff_ffff))
}

/// The numbers are those of `linux/magic.h` and of the file systems' own sources.
#[cfg(target_os = "linux")]
fn network_name(magic: u64) -> Option<&'static str> {
    Some(match magic {
        0x6969 => "nfs",
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => "smb",
        0x6573_5546 => "fuse",
        0x0102_1997 => "9p",
        0x00c3_6400 => "ceph",
        0x5346_414f | 0x6b41_4653 => "afs",
        0x7375_7245 => "coda",
        0x0bd0_0bd0 => "lustre",
        0x4750_4653 => "gpfs",
        0x7461_636f => "ocfs2",
        _ => return None,
    })
}

#[cfg(not(target_os = "linux"))]
fn network_name(_: u64) -> Option<&'static str> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn network_file_systems_have_names_and_local_ones_have_none() {
        assert_eq!(network_name(0x6969), Some("nfs"));
        assert_eq!(network_name(0xfe53_4d42), Some("smb"));
        assert_eq!(network_name(0xef53), None);
        assert_eq!(network_file_system(Path::new("/proc")).unwrap(), None);
        assert!(network_file_system(Path::new("/no/such/place")).is_err());
    }
}
