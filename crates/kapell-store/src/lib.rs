//! The store: the journal of decisions, snapshots and artifacts, in one directory.
//!
//! **Invariant:** it does not know what events mean. A body is text that came with a hash; nothing here reads it,
//! save the `events` view, which is for people.
//!
//! | path | holds |
//! | --- | --- |
//! | `journal.sqlite`, `-wal`, `-shm` | the journal: `docs/journal-format.md` |
//! | `artifacts/ab/cdef...` | files by the BLAKE3 hash of their content |
//! | `snapshots/RUN` | folded states: a cache, any of it may be deleted |
//! | `owners/` | who executes which run, as long as they live |
//! | `lock` | locked by whoever has the store open |
//!
//! The modules stand in the order in which to read them.

mod fault; // ground: refusals as errors

mod wal; // what a crash or a fault left in the log

mod schema; // tables, and how the file is opened

mod artifacts;
mod owners;
mod snapshots;

mod place; // the directory, and the files above in it

mod ledger; // how decisions get in
mod reader; // and out

mod verify;

mod writer; // the thread

mod transfer; // lines of JSON

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use kapell_core::{
    id::{Digest, RunId},
    journal::{Row, Version},
};
use kapell_engine::port::journal::{
    Ack, Append, AppendError, AppendErrorKind, Journal, JournalError, OwnError, Owner, Ownership, RunHead,
    Snapshot,
};

use artifacts::Artifacts;
use ledger::Summaries;
use owners::Owners;
use place::{Entered, Place};
use reader::Readers;
use schema::Access;
use writer::Writer;

pub use artifacts::Artifact;
pub use fault::hint;
pub use place::network_file_system;
pub use reader::RowRef;
pub use schema::FORMAT;
pub use transfer::{ExportError, ImportError, ImportErrorKind, Transferred};
pub use verify::{Expected, Report, Scope};
pub use writer::WRITER_THREAD;

/// A tail of more rows than this is folded on opening.
const TAIL_MAX: u64 = 256;

/// How a store is opened.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long to wait for a lock that another process holds, before giving up with
    /// [`Busy`](kapell_engine::port::journal::JournalErrorKind::Busy).
    pub busy: Duration,
    /// The size of a page of a new journal, in bytes: a power of two from 512 to 65,536. An existing journal
    /// keeps what it was made with.
    pub page_size: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { busy: Duration::from_secs(10), page_size: 4096 }
    }
}

/// What opening a store found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Opened {
    /// There was no journal; an empty one was made.
    pub created: bool,
    /// Frames at the end of the write-ahead log that a crash had left unfinished. They were never acknowledged,
    /// and are gone.
    pub torn_frames: u64,
    /// Their size in bytes.
    pub torn_bytes: u64,
}

/// An open store.
///
/// Any number of them, in any number of processes, may be open on one directory. Dropping it ends its writer once
/// all that was queued is durable.
pub struct Store {
    // Fields are dropped in this order: the writer last among the connections, so that it can empty the log.
    readers: Readers,
    writer: OnceLock<Writer>,
    starting: Mutex<()>,
    summaries: Summaries,
    owners: Arc<Owners>,
    artifacts: Artifacts,
    place: Place,
    options: Options,
    _entered: Entered,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store in `directory`, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// Fails if the directory or a file in it cannot be used, if the journal is damaged or was written by a newer
    /// kapell, or if another process keeps it locked.
    pub fn open(directory: &Path) -> Result<(Self, Opened), JournalError> {
        Self::open_with(directory, Options::default())
    }

    /// Opens the store in `directory` in another than the usual way.
    ///
    /// # Errors
    ///
    /// As [`Store::open`].
    pub fn open_with(directory: &Path, options: Options) -> Result<(Self, Opened), JournalError> {
        let place = Place::new(directory);
        let mut entered = place.enter(options.busy)?;
        let (scan, created) = place.prepare(entered.alone, options.page_size)?;
        let journal = place.journal();
        let first = schema::connect(&journal, Access::Read, options.busy)?;
        let format = schema::check_marks(&first, &journal)?;
        let alone = entered.alone;
        if format != FORMAT {
            if !alone {
                return Err(schema::in_use(&journal, format));
            }
            schema::upgrade(&journal, options.busy)?;
        }
        let artifacts = Artifacts::new(place.artifacts());
        if alone {
            artifacts.sweep();
            snapshots::sweep(&place.snapshots());
        }
        entered.share().map_err(fault::io(place.root(), "sharing the store"))?;
        let summaries = Summaries::default();
        let store = Self {
            readers: Readers::new(journal, options.busy, Arc::clone(&summaries), first),
            writer: OnceLock::new(),
            starting: Mutex::new(()),
            summaries,
            owners: Arc::new(Owners::new(place.owners(), options.busy)),
            artifacts,
            place,
            options,
            _entered: entered,
        };
        // After a crash every look at a run would go through the tail.
        if alone && store.readers.tail()? > TAIL_MAX {
            store.fold()?;
        }
        let opened = Opened { created, torn_frames: scan.torn_frames, torn_bytes: scan.torn_bytes };
        Ok((store, opened))
    }

    /// Returns the directory of the store.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.place.root()
    }

    /// Returns the writer, which is started when it is first needed.
    fn writer(&self) -> Result<&Writer, JournalError> {
        if let Some(writer) = self.writer.get() {
            return Ok(writer);
        }
        let _starting = self.starting.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(writer) = self.writer.get() {
            return Ok(writer);
        }
        let path = self.readers.path().to_owned();
        let summaries = Arc::clone(&self.summaries);
        let writer = Writer::start(path, self.options.busy, summaries, self.readers.idle())
            .map_err(fault::io(self.readers.path(), "starting the writer"))?;
        Ok(self.writer.get_or_init(|| writer))
    }

    /// Visits the decisions of `run` after `after`, in order, without copying them, until `visit` returns `false`.
    ///
    /// That none is missing is checked; that the hash of each is that of its content and of the hash before it is not:
    /// see [`Store::verify`] and [`Row::check_follows`].
    ///
    /// # Errors
    ///
    /// Fails if the journal cannot be read or what it holds is damaged.
    pub fn read_ref(
        &self,
        run: RunId,
        after: Version,
        visit: &mut dyn FnMut(RowRef<'_>) -> bool,
    ) -> Result<(), JournalError> {
        self.readers.read(run, after, visit)
    }

    /// Forgets that an append of `run` has failed. To be called when the run is read anew; [`Journal::own`] does
    /// so, too.
    pub fn reopen(&self, run: RunId) {
        if let Some(writer) = self.writer.get() {
            writer.reopen(run);
        }
    }

    /// Brings the tables that are for finding and listing up to date, as is done from time to time and on closing.
    ///
    /// # Errors
    ///
    /// Fails if the journal cannot be written.
    pub fn fold(&self) -> Result<(), JournalError> {
        self.writer()?.fold()
    }

    /// Recomputes the chains of `scope`, and of all runs also the file and the tables derived from the decisions.
    /// Each of `expected` must be there.
    ///
    /// # Errors
    ///
    /// Fails with the first thing that does not hold, or if the journal cannot be read.
    pub fn verify(&self, scope: Scope, expected: &[Expected]) -> Result<Report, JournalError> {
        self.readers.with(|connection| verify::verify(self.readers.path(), connection, scope, expected))
    }

    /// Lets SQLite look at all pages and indexes of the file.
    ///
    /// # Errors
    ///
    /// Fails with the first fault, or if the journal cannot be read.
    pub fn check(&self) -> Result<(), JournalError> {
        self.readers.with(|connection| verify::check_file(self.readers.path(), connection))
    }

    /// Lists all artifacts, in the order of their digests.
    ///
    /// # Errors
    ///
    /// Fails if the directory cannot be read.
    pub fn artifacts(&self) -> Result<Vec<Artifact>, JournalError> {
        self.artifacts.list()
    }

    /// Removes the artifact with `digest`. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be removed.
    pub fn remove_artifact(&self, digest: Digest) -> Result<bool, JournalError> {
        self.artifacts.remove(digest)
    }

    /// Returns where the artifact with `digest` is kept, if it is.
    #[must_use]
    pub fn artifact_path(&self, digest: Digest) -> PathBuf {
        self.artifacts.path(digest)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.readers.idle().close();
        drop(self.writer.take());
    }
}

impl Journal for Store {
    fn append(&self, append: Append, ack: Ack) {
        match self.writer() {
            Ok(writer) => writer.append(append, ack),
            Err(error) => {
                let kind = AppendErrorKind::Journal(error);
                ack(Err(AppendError { run: append.run, rows: append.rows.len(), kind }));
            }
        }
    }

    fn read(
        &self,
        run: RunId,
        after: Version,
        visit: &mut dyn FnMut(&Row) -> bool,
    ) -> Result<(), JournalError> {
        let mut lent: Option<Row> = None;
        self.readers.read(run, after, &mut |row| match &mut lent {
            Some(lent) => {
                row.copy_to(lent);
                visit(lent)
            }
            None => visit(lent.insert(row.to_row())),
        })
    }

    fn settle(&self) -> Result<(), JournalError> {
        wal::sync(&wal::path_of(self.readers.path()))
    }

    fn head(&self, run: RunId) -> Result<Option<RunHead>, JournalError> {
        self.readers.head(run)
    }

    fn runs(&self) -> Result<Vec<RunHead>, JournalError> {
        self.readers.runs()
    }

    fn snapshot(&self, run: RunId) -> Result<Option<Snapshot>, JournalError> {
        Ok(snapshots::load(&self.place.snapshots(), run))
    }

    fn keep_snapshot(&self, run: RunId, snapshot: Snapshot) -> Result<(), JournalError> {
        snapshots::keep(&self.place.snapshots(), run, &snapshot)
    }

    fn own(&self, run: RunId, owner: Owner) -> Result<Box<dyn Ownership>, OwnError> {
        let claim = self.owners.own(run, &owner)?;
        self.reopen(run);
        Ok(Box::new(claim))
    }

    fn owner(&self, run: RunId) -> Result<Option<Owner>, JournalError> {
        self.owners.owner(run)
    }

    fn keep(&self, bytes: &[u8]) -> Result<Digest, JournalError> {
        self.artifacts.keep(bytes)
    }

    fn kept(&self, digest: Digest) -> Result<Option<Vec<u8>>, JournalError> {
        self.artifacts.kept(digest)
    }
}
