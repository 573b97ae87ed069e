//! The journal port: one durable, append-only chain of decisions per run.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use kapell_core::{
    id::{Digest, RunId},
    journal::{BrokenChain, Row, Version},
    time::Wall,
};

/// Decisions of one run to be appended, all or none.
#[derive(Debug, Clone)]
pub struct Append {
    /// The run. Every row names it too.
    pub run: RunId,
    /// The number of the last decision that the journal must hold for this run.
    pub base: Version,
    /// Its hash; [`Digest::ZERO`] at version 0.
    pub prev: Digest,
    /// The decisions, in order, each chained to the one before. Never empty.
    pub rows: Rows,
    /// A short text about the run after these decisions, kept beside it for listings. A cache: `None` leaves
    /// the one that is there.
    pub summary: Option<Summary>,
}

/// Decisions that who appends them and who waits for them have in common; copied when one of the two changes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows(Arc<Vec<Row>>);

impl From<Vec<Row>> for Rows {
    fn from(rows: Vec<Row>) -> Self {
        Self(Arc::new(rows))
    }
}

impl FromIterator<Row> for Rows {
    fn from_iter<I: IntoIterator<Item = Row>>(rows: I) -> Self {
        rows.into_iter().collect::<Vec<_>>().into()
    }
}

impl Deref for Rows {
    type Target = Vec<Row>;

    fn deref(&self) -> &Vec<Row> {
        &self.0
    }
}

impl DerefMut for Rows {
    fn deref_mut(&mut self) -> &mut Vec<Row> {
        Arc::make_mut(&mut self.0)
    }
}

/// A short text about a run. Of the many that are made hardly any is read, so it is written when one is.
#[derive(Clone)]
pub struct Summary(Arc<dyn Fn() -> String + Send + Sync>);

impl Summary {
    /// Makes a summary that `write` will write.
    #[must_use]
    pub fn new(write: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self(Arc::new(write))
    }

    /// Writes it.
    #[must_use]
    pub fn text(&self) -> String {
        (self.0)()
    }
}

impl From<String> for Summary {
    fn from(text: String) -> Self {
        Self::new(move || text.clone())
    }
}

impl fmt::Debug for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Summary").field(&self.text()).finish()
    }
}

/// Called once, from the writer, when an append is durable or has failed. It must not block.
pub type Ack = Box<dyn FnOnce(Result<(), AppendError>) + Send>;

/// What a listing shows of a run, read without replaying it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunHead {
    /// The run.
    pub run: RunId,
    /// Its number of decisions.
    pub version: Version,
    /// The hash of the last one.
    pub hash: Digest,
    /// When its first decision was taken.
    pub created: Wall,
    /// When its last decision was taken.
    pub updated: Wall,
    /// The last summary that was appended with it.
    pub summary: Option<String>,
}

/// A folded state as bytes. Only a cache: used if all of (`n`, `hash`, `fold`) match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The last decision that it holds.
    pub n: Version,
    /// The hash of that decision.
    pub hash: Digest,
    /// The version of the fold that made it.
    pub fold: u32,
    /// The state, in a format that only its maker knows.
    pub bytes: Vec<u8>,
}

/// Who executes a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The process.
    pub pid: u32,
    /// The machine's host name.
    pub host: String,
    /// When the process took the run.
    pub since: Wall,
    /// The path of the socket on which it takes commands for the run, if it has one.
    pub socket: Option<String>,
}

/// Proof that this process owns a run. Dropping it gives the run up.
pub trait Ownership: Send + std::fmt::Debug {
    /// Returns the fencing number: larger than that of every earlier owner of this run.
    fn epoch(&self) -> u64;
}

/// The journal, its snapshots, and the artifacts that its events name.
pub trait Journal: Send + Sync {
    /// Queues decisions for a durable append and returns at once; `ack` tells the outcome.
    ///
    /// Appends of one run become durable in the order of the calls. After a failed append every later one of the
    /// same run fails too, until the run is opened again.
    fn append(&self, append: Append, ack: Ack);

    /// Visits the decisions of `run` after `after`, in order, until `visit` returns `false`. A row is lent, so that its
    /// memory can be used again for the next one.
    ///
    /// # Errors
    ///
    /// Fails if the journal cannot be read or what it holds is damaged.
    fn read(
        &self,
        run: RunId,
        after: Version,
        visit: &mut dyn FnMut(&Row) -> bool,
    ) -> Result<(), JournalError>;

    /// Makes durable what has been read: a process that was killed may have written it and not synced it.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be; what was read may then be lost with the next power failure.
    fn settle(&self) -> Result<(), JournalError> {
        Ok(())
    }

    /// Returns what is known of `run` without replaying it, or `None` if there is no such run.
    ///
    /// # Errors
    ///
    /// Fails if the journal cannot be read.
    fn head(&self, run: RunId) -> Result<Option<RunHead>, JournalError>;

    /// Lists all runs, the newest first.
    ///
    /// # Errors
    ///
    /// Fails if the journal cannot be read.
    fn runs(&self) -> Result<Vec<RunHead>, JournalError>;

    /// Returns the newest snapshot of `run`, if there is one.
    ///
    /// # Errors
    ///
    /// Fails if the journal cannot be read. A damaged snapshot is no error: it is `None`.
    fn snapshot(&self, run: RunId) -> Result<Option<Snapshot>, JournalError>;

    /// Keeps a snapshot in place of the run's last one. It need not be durable.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be written; nothing is lost by that.
    fn keep_snapshot(&self, run: RunId, snapshot: Snapshot) -> Result<(), JournalError>;

    /// Makes this process the owner of `run`, which need not exist yet.
    ///
    /// # Errors
    ///
    /// Refused with [`OwnError::Held`] while another live process (or another part of this one) owns it.
    fn own(&self, run: RunId, owner: Owner) -> Result<Box<dyn Ownership>, OwnError>;

    /// Returns who owns `run` now, if a live process does.
    ///
    /// # Errors
    ///
    /// Fails if the journal cannot be read.
    fn owner(&self, run: RunId) -> Result<Option<Owner>, JournalError>;

    /// Keeps `bytes` under the digest of their content and returns it once they are durable.
    ///
    /// # Errors
    ///
    /// Fails if they cannot be written.
    fn keep(&self, bytes: &[u8]) -> Result<Digest, JournalError>;

    /// Returns the bytes kept under `digest`, or `None` if there are none.
    ///
    /// # Errors
    ///
    /// Fails if they cannot be read or no longer have that digest.
    fn kept(&self, digest: Digest) -> Result<Option<Vec<u8>>, JournalError>;
}

/// Why decisions were not appended. Nothing of the append is in the journal then.
#[derive(Debug, Clone, thiserror::Error)]
#[error("failed to append {rows} decision(s) to run {run}")]
pub struct AppendError {
    /// The run.
    pub run: RunId,
    /// How many decisions were to be appended.
    pub rows: usize,
    /// What went wrong.
    #[source]
    pub kind: AppendErrorKind,
}

/// What can go wrong with an append.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendErrorKind {
    /// The journal holds another last decision than expected.
    #[error("another writer was first: expected version {expected}, found {found}")]
    Conflict {
        /// The version on which the decisions were taken.
        expected: Version,
        /// The version that the journal holds.
        found: Version,
    },
    /// The rows do not form a chain with what is there.
    #[error(transparent)]
    Broken(BrokenChain),
    /// An earlier append of this run failed; the run must be opened again.
    #[error("an earlier append of this run failed")]
    Poisoned,
    /// The journal itself failed.
    #[error(transparent)]
    Journal(JournalError),
}

/// Why the journal cannot be read or written.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{path}: {kind}")]
pub struct JournalError {
    /// The file that it is about.
    pub path: String,
    /// What went wrong.
    #[source]
    pub kind: JournalErrorKind,
}

/// What can be wrong with a journal.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalErrorKind {
    /// The operating system refused; the text is its own.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// The refusal.
        source: Arc<std::io::Error>,
    },
    /// No space is left, or a quota is used up.
    #[error("no space left")]
    Full,
    /// Another process holds the write lock for longer than the journal waits.
    #[error("another process holds the write lock")]
    Busy,
    /// Bytes are not what was written.
    #[error("damaged at byte {offset}: {what}")]
    Damaged {
        /// Where, in bytes from the beginning of the file.
        offset: u64,
        /// What does not fit.
        what: String,
    },
    /// A chain of decisions does not hold.
    #[error(transparent)]
    Broken(#[from] BrokenChain),
    /// The file was written by a newer kapell.
    #[error("written by a newer kapell: format {found}, known up to {known}")]
    FormatTooNew {
        /// The format of the file.
        found: u32,
        /// The newest format that this program knows.
        known: u32,
    },
    /// The database engine refused.
    #[error("{what}: {message}")]
    Database {
        /// What was being done.
        what: &'static str,
        /// What the engine says.
        message: String,
    },
}

/// Why a run cannot be owned.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OwnError {
    /// Somebody else executes it.
    #[error("process {} on {} executes it", .0.pid, .0.host)]
    Held(Owner),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
}
