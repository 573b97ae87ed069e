//! The one thread that writes: it takes all that waits, makes it durable by one sync, then acknowledges.

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use kapell_core::{id::RunId, journal::BrokenChain};
use kapell_engine::{
    port::journal::{Ack, Append, AppendError, AppendErrorKind, JournalError, JournalErrorKind},
    spin::Spin,
};
use rusqlite::{Connection, Statement};

use crate::{
    fault::{damaged, database, fault, io, needs_recovery},
    ledger::{Ledger, Summaries},
    reader::Idle,
    schema::{Access, connect},
    verify::check_tail,
    wal,
};

/// The name of the writer's thread, by which fault injection finds it.
pub const WRITER_THREAD: &str = "kapell-writer";

/// At most so many rows go into one transaction, so that the first of them does not wait for ever.
const BATCH_ROWS: usize = 1_024;

/// And at most so many bytes of bodies.
const BATCH_BYTES: usize = 8 << 20;

/// The tail is folded when it has so many rows and nothing waits ...
const FOLD_ROWS: u64 = 8_192;

/// ... or so many, whatever waits: where a thousand runs take turns every row is a stretch of its own, and those who wait
/// for the disk would wait for tens of milliseconds more ...
const FOLD_ROWS_BUSY: u64 = 4 * FOLD_ROWS;

/// ... or when something has waited for it so long.
const FOLD_AFTER: Duration = Duration::from_secs(1);

/// The write-ahead log is moved to the main file when it has so many frames (4 MiB of pages) and nothing waits ...
const CHECKPOINT_FRAMES: i64 = 1_024;

/// ... or so many (16 MiB), whatever waits: a checkpoint costs two syncs and every page that was changed, once.
const CHECKPOINT_FRAMES_BUSY: i64 = 4 * CHECKPOINT_FRAMES;

/// The log is lengthened by at least so much at a time, and only up to [`LENGTHEN_MAX`].
const LENGTHEN_MIN: u64 = 256 << 10;

/// A little more than [`CHECKPOINT_FRAMES_BUSY`] need.
const LENGTHEN_MAX: u64 = 17 << 20;

/// How long the writer looks for more work before it sleeps: about as long as a host takes to decide what follows from
/// what was just acknowledged.
const SPIN: Duration = Duration::from_micros(100);

/// SQLite's own limit for a text is 1 GB.
const BODY_MAX: usize = 512 << 20;

/// What the writer is asked to do.
enum Job {
    /// Append; the chain of the rows has been looked at already.
    Append(Append, Result<(), BrokenChain>, Ack),
    /// Forget that an append of this run has failed.
    Reopen(RunId),
    /// Bring the index up to date, and say so.
    Fold(Sender<Result<(), JournalError>>),
    /// End, in good order.
    Close,
}

/// The queue of the writer's thread. Dropping it ends the thread, once all that waits is written.
pub(crate) struct Writer {
    jobs: Sender<Job>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. It opens its connection by itself.
    pub(crate) fn start(
        path: PathBuf,
        busy: Duration,
        summaries: Summaries,
        readers: Arc<Idle>,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel();
        let thread = std::thread::Builder::new().name(WRITER_THREAD.to_owned()).spawn(move || {
            Loop {
                path,
                busy,
                queue,
                held: None,
                spin: Spin::new(SPIN),
                poisoned: HashSet::new(),
                summaries,
                readers,
                old: None,
            }
            .run();
        })?;
        Ok(Self { jobs, thread: Some(thread) })
    }

    pub(crate) fn append(&self, append: Append, ack: Ack) {
        let chain = check_chain(&append);
        if let Err(mpsc::SendError(Job::Append(append, _, ack))) =
            self.jobs.send(Job::Append(append, chain, ack))
        {
            // Only a panic in an ack ends the thread early.
            refuse(&append, AppendErrorKind::Poisoned, ack);
        }
    }

    pub(crate) fn reopen(&self, run: RunId) {
        // If the thread is gone, appends say so.
        let _ = self.jobs.send(Job::Reopen(run));
    }

    pub(crate) fn fold(&self) -> Result<(), JournalError> {
        let (done, answer) = mpsc::channel();
        let gone = || JournalError {
            path: String::new(),
            kind: JournalErrorKind::Database {
                what: "indexing the journal",
                message: "its writer has ended".to_owned(),
            },
        };
        self.jobs.send(Job::Fold(done)).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.jobs.send(Job::Close);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Checks that the rows follow each other and `prev`. Done by the caller, beside the writer's own work.
fn check_chain(append: &Append) -> Result<(), BrokenChain> {
    let (mut n, mut hash) = (append.base, append.prev);
    for row in append.rows.iter() {
        if row.run != append.run {
            let kind = kapell_core::journal::BrokenChainKind::Altered;
            return Err(BrokenChain { run: append.run, n: row.n, kind });
        }
        row.check_follows(n, hash)?;
        (n, hash) = (row.n, row.hash);
    }
    Ok(())
}

fn refuse(append: &Append, kind: AppendErrorKind, ack: Ack) {
    ack(Err(AppendError { run: append.run, rows: append.rows.len(), kind }));
}

/// An append that is in the transaction at hand, or why it is not.
struct Entry {
    append: Append,
    ack: Ack,
    outcome: Result<(), AppendErrorKind>,
}

struct Loop {
    path: PathBuf,
    busy: Duration,
    queue: Receiver<Job>,
    /// A job that was taken from the queue but belongs behind the batch at hand.
    held: Option<Job>,
    spin: Spin,
    poisoned: HashSet<RunId>,
    summaries: Summaries,
    readers: Arc<Idle>,
    /// The connection on which a transaction failed. Kept until there is a new one, so that the index of the log,
    /// which knows where the last durable commit ends, lives on.
    old: Option<Connection>,
}

/// Why the writer stopped serving a connection.
enum Stop {
    Closed,
    /// The journal failed; those who waited have been told. Says whether something may have been written.
    Failed(bool),
}

impl Loop {
    fn run(mut self) {
        let path = self.path.clone();
        loop {
            let connection = match self.connect() {
                Ok(connection) => connection,
                Err(error) => match self.refuse_next(&error) {
                    Stop::Closed => return,
                    Stop::Failed(_) => continue,
                },
            };
            let stop = match Session::new(&connection, &path) {
                Ok(mut session) => self.serve(&mut session),
                Err(error) => self.refuse_next(&error),
            };
            match stop {
                Stop::Closed => {
                    // Whoever comes next finds an empty log. It is no loss if a reader forbids that.
                    let _ = checkpoint(&connection, "TRUNCATE");
                    return;
                }
                Stop::Failed(wrote) => {
                    self.readers.close();
                    self.old = wrote.then_some(connection);
                }
            }
        }
    }

    /// Opens a connection; after a failure in a way that leaves nothing behind of what failed.
    fn connect(&mut self) -> Result<Connection, JournalError> {
        let fresh = connect(&self.path, Access::Write, self.busy)?;
        if let Some(old) = &self.old {
            cut_unfinished(&self.path, old, &fresh)?;
            check_tail(&self.path, &fresh)?;
            self.old = None;
        }
        Ok(fresh)
    }

    /// Waits for a job and refuses it, because the journal cannot be opened.
    fn refuse_next(&mut self, error: &JournalError) -> Stop {
        match self.held.take().map_or_else(|| self.queue.recv(), Ok) {
            Err(_) | Ok(Job::Close) => return Stop::Closed,
            Ok(Job::Append(append, _, ack)) => {
                self.poisoned.insert(append.run);
                refuse(&append, AppendErrorKind::Journal(error.clone()), ack);
            }
            Ok(Job::Reopen(run)) => {
                self.poisoned.remove(&run);
            }
            Ok(Job::Fold(done)) => {
                let _ = done.send(Err(error.clone()));
            }
        }
        Stop::Failed(false)
    }

    fn serve(&mut self, session: &mut Session<'_>) -> Stop {
        let mut fold_at: Option<Instant> = None;
        // Then it is tried again after a while, or when asked for.
        let mut folding_fails = false;
        loop {
            let is_long = session.ledger.tail() >= FOLD_ROWS && !folding_fails;
            // With such a tail only what comes within a moment goes first.
            let first = self.next_job(if is_long { Some(Instant::now()) } else { fold_at });
            let mut batch = Vec::new();
            let mut folds = Vec::new();
            let mut closing = false;
            let idle = matches!(first, Err(RecvTimeoutError::Timeout));
            match first {
                Ok(job) => self.gather(job, &mut batch, &mut folds, &mut closing),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => closing = true,
            }
            if !batch.is_empty() && !self.commit(session, batch) {
                for done in folds {
                    let _ = done.send(Err(fault(&self.path, JournalErrorKind::Busy)));
                }
                return Stop::Failed(session.wrote);
            }
            let due = fold_at.is_some_and(|at| at <= Instant::now())
                || session.ledger.tail() >= FOLD_ROWS_BUSY
                || (idle && is_long);
            if due || closing || !folds.is_empty() {
                let folded = self.fold(session, !folds.is_empty());
                let failed = folded.as_ref().is_err_and(|error| needs_recovery(&error.kind));
                for done in folds {
                    let _ = done.send(folded.clone());
                }
                fold_at = None;
                folding_fails = folded.is_err();
                if closing {
                    return Stop::Closed;
                }
                if failed {
                    return Stop::Failed(session.wrote);
                }
            }
            if fold_at.is_none() && !session.ledger.is_folded() {
                fold_at = Some(Instant::now() + FOLD_AFTER);
            }
            // A failed checkpoint loses nothing: all is in the log. But its descriptor is not to be trusted.
            if session.checkpoint_if_due(idle).is_err_and(|error| needs_recovery(&error.kind)) {
                return Stop::Failed(session.wrote);
            }
        }
    }

    /// Waits for a job, at most until `fold_at`.
    fn next_job(&mut self, fold_at: Option<Instant>) -> Result<Job, RecvTimeoutError> {
        if let Some(job) = self.held.take() {
            return Ok(job);
        }
        // What is appended next often hangs on what was just acknowledged, and is there before a sleeping thread
        // could be woken. Without a recent commit there is no spinning.
        if fold_at.is_some() {
            let queue = &self.queue;
            let found = self.spin.find(Duration::MAX, || match queue.try_recv() {
                Err(TryRecvError::Empty) => None,
                other => Some(other.map_err(|_| RecvTimeoutError::Disconnected)),
            });
            if let Some(found) = found {
                return found;
            }
        }
        match fold_at {
            None => self.queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) => self.queue.recv_timeout(at.saturating_duration_since(Instant::now())),
        }
    }

    /// Takes `first` and all that waits behind it, up to the bounds of one transaction.
    fn gather(
        &mut self,
        first: Job,
        batch: &mut Vec<Entry>,
        folds: &mut Vec<Sender<Result<(), JournalError>>>,
        closing: &mut bool,
    ) {
        let (mut rows, mut bytes) = (0, 0);
        let mut next = Some(first);
        while let Some(job) = next.take() {
            match job {
                Job::Append(append, chain, ack) => {
                    rows += append.rows.len();
                    bytes += append.rows.iter().map(|row| row.body.len()).sum::<usize>();
                    batch.push(Entry { append, ack, outcome: chain.map_err(AppendErrorKind::Broken) });
                }
                // The appends before it may fail yet, and poison the run.
                Job::Reopen(run) if batch.iter().any(|entry| entry.append.run == run) => {
                    self.held = Some(Job::Reopen(run));
                    return;
                }
                Job::Reopen(run) => {
                    self.poisoned.remove(&run);
                }
                Job::Fold(done) => folds.push(done),
                Job::Close => *closing = true,
            }
            if rows < BATCH_ROWS && bytes < BATCH_BYTES && !*closing {
                next = self.queue.try_recv().ok();
            }
        }
    }

    fn check_poison(&self, entry: &mut Entry) {
        if entry.outcome.is_ok() && self.poisoned.contains(&entry.append.run) {
            entry.outcome = Err(AppendErrorKind::Poisoned);
        }
    }

    /// Makes `batch` durable and acknowledges it. Returns whether the connection can still be used.
    fn commit(&mut self, session: &mut Session<'_>, mut batch: Vec<Entry>) -> bool {
        let written = self.write(session, &mut batch);
        if let Err(error) = &written {
            session.roll_back();
            for entry in &mut batch {
                if entry.outcome.is_ok() {
                    self.poisoned.insert(entry.append.run);
                    entry.outcome = Err(AppendErrorKind::Journal(error.clone()));
                }
            }
        } else {
            let mut summaries = self.summaries.lock().unwrap_or_else(PoisonError::into_inner);
            for entry in batch.iter().filter(|entry| entry.outcome.is_ok()) {
                if let Some(summary) = &entry.append.summary {
                    summaries.insert(entry.append.run, summary.clone());
                }
            }
        }
        for Entry { append, ack, outcome } in batch {
            match outcome {
                Ok(()) => {
                    // Before whoever appended it hears: what two threads have in common the last one must free, and
                    // that is cheapest for the one that has made it.
                    drop(append);
                    ack(Ok(()));
                }
                Err(kind) => refuse(&append, kind, ack),
            }
        }
        !written.is_err_and(|error| needs_recovery(&error.kind))
    }

    fn write(&mut self, session: &mut Session<'_>, batch: &mut [Entry]) -> Result<(), JournalError> {
        let mut begun = false;
        for entry in batch {
            self.check_poison(entry);
            if entry.outcome.is_ok() {
                if !begun {
                    session.begin()?;
                    begun = true;
                }
                entry.outcome = match too_long(&self.path, &entry.append) {
                    Some(error) => Err(AppendErrorKind::Journal(error)),
                    None => session.ledger.append(&entry.append),
                };
            }
            match &entry.outcome {
                Ok(()) => session.rows += entry.append.rows.len(),
                Err(kind) => {
                    self.poisoned.insert(entry.append.run);
                    if let AppendErrorKind::Journal(error) = kind
                        && !matches!(error.kind, JournalErrorKind::Database { what: TOO_LONG, .. })
                    {
                        return Err(error.clone());
                    }
                }
            }
        }
        if begun { session.commit() } else { Ok(()) }
    }

    /// Brings the index up to date: with what this writer has appended, or, if `asked`, with whatever is there.
    fn fold(&mut self, session: &mut Session<'_>, asked: bool) -> Result<(), JournalError> {
        if !asked && session.ledger.is_folded() {
            return Ok(());
        }
        let folded = session.begin().and_then(|()| session.ledger.fold()).and_then(|()| session.commit());
        if folded.is_err() {
            session.roll_back();
            return folded;
        }
        session.ledger.folded();
        self.summaries.lock().unwrap_or_else(PoisonError::into_inner).clear();
        folded
    }
}

const TOO_LONG: &str = "appending a decision";

fn too_long(path: &Path, append: &Append) -> Option<JournalError> {
    let longest = append.rows.iter().map(|row| row.body.len()).max()?;
    (longest > BODY_MAX).then(|| {
        let message = format!("its body has {longest} bytes, more than {BODY_MAX}");
        fault(path, JournalErrorKind::Database { what: TOO_LONG, message })
    })
}

/// A connection with its prepared statements.
struct Session<'c> {
    path: &'c Path,
    connection: &'c Connection,
    ledger: Ledger<'c>,
    begin: Statement<'c>,
    commit: Statement<'c>,
    /// A transaction was begun on this connection, and may have left frames in the log.
    wrote: bool,
    /// The log, and its length when it was last looked at.
    log: Option<(File, u64)>,
    commits: u32,
    /// Rows written since the length of the write-ahead log was last asked for.
    rows: usize,
    /// The frames at which the next checkpoint is due: later if the last could not move all.
    checkpoint_at: i64,
}

impl<'c> Session<'c> {
    fn new(connection: &'c Connection, path: &'c Path) -> Result<Self, JournalError> {
        let failed = database(path, "preparing the journal");
        Ok(Self {
            path,
            connection,
            ledger: Ledger::new(connection, path)?,
            begin: connection.prepare("BEGIN IMMEDIATE").map_err(&failed)?,
            commit: connection.prepare("COMMIT").map_err(&failed)?,
            wrote: false,
            log: None,
            commits: 0,
            rows: 0,
            checkpoint_at: CHECKPOINT_FRAMES,
        })
    }

    fn begin(&mut self) -> Result<(), JournalError> {
        self.begin.execute([]).map_err(database(self.path, "starting to write"))?;
        self.wrote = true;
        // Nothing depends on it.
        let _ = self.lengthen_log();
        self.ledger.catch_up()
    }

    fn commit(&mut self) -> Result<(), JournalError> {
        self.commit.execute([]).map_err(database(self.path, "making decisions durable")).map(drop)
    }

    /// Writes zeros behind the end of the log, if commits have made it longer since the last time.
    ///
    /// A sync of a file that has grown must write its new length, too, which costs a second write to the disk. A
    /// sync of bytes that were there before does not. The write lock is held, and only bytes behind the end are
    /// written, where no frame is; what is read of a log ends at the first frame that does not fit.
    fn lengthen_log(&mut self) -> std::io::Result<()> {
        self.commits = self.commits.saturating_add(1);
        // A process that appends a few decisions and ends has no use for it.
        if self.commits < 8 {
            return Ok(());
        }
        if self.log.is_none() {
            let file = OpenOptions::new().write(true).open(wal::path_of(self.path))?;
            self.log = Some((file, 0));
        }
        let Some((file, seen)) = &mut self.log else { return Ok(()) };
        let length = file.metadata()?.len();
        if length > *seen && length < LENGTHEN_MAX {
            let more = length.clamp(LENGTHEN_MIN, 4 * LENGTHEN_MIN).min(LENGTHEN_MAX - length);
            file.write_all_at(&vec![0; usize::try_from(more).unwrap_or(0)], length)?;
            *seen = length + more;
        }
        Ok(())
    }

    fn roll_back(&mut self) {
        if !self.connection.is_autocommit() {
            // If even this fails, the connection is closed anyway.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        self.ledger.forget();
    }

    fn checkpoint_if_due(&mut self, idle: bool) -> Result<(), JournalError> {
        // A row dirties at least one page; asking costs a few microseconds.
        if self.rows < 64 && !idle {
            return Ok(());
        }
        self.rows = 0;
        let (frames, _) =
            checkpoint(self.connection, "NOOP").map_err(database(self.path, "looking at the log"))?;
        let limit = if idle { CHECKPOINT_FRAMES } else { CHECKPOINT_FRAMES_BUSY };
        if frames < self.checkpoint_at.max(limit) {
            if frames < CHECKPOINT_FRAMES {
                self.checkpoint_at = CHECKPOINT_FRAMES;
            }
            return Ok(());
        }
        let (frames, moved) =
            checkpoint(self.connection, "PASSIVE").map_err(database(self.path, "moving the log"))?;
        self.checkpoint_at = if moved >= frames { CHECKPOINT_FRAMES } else { frames + CHECKPOINT_FRAMES };
        Ok(())
    }
}

/// Runs a checkpoint and returns how many frames the log has and how many of them are in the main file.
fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<(i64, i64)> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| Ok((row.get(1)?, row.get(2)?)))
}

/// Cuts off what a failed transaction may have left behind the last commit in the write-ahead log.
///
/// After a failed fsync the frames of that transaction are in the page cache and look committed, but need not
/// be on the disk. A process that opens the journal after all others are gone would take them for good.
/// `old` still knows where the last durable commit ends; `fresh` holds the write lock meanwhile.
fn cut_unfinished(path: &Path, old: &Connection, fresh: &Connection) -> Result<(), JournalError> {
    let failed = database(path, "recovering from a failed write");
    if !old.is_autocommit() {
        old.execute_batch("ROLLBACK").map_err(&failed)?;
    }
    fresh.execute_batch("BEGIN IMMEDIATE").map_err(&failed)?;
    let (frames, _) = checkpoint(old, "NOOP").map_err(&failed)?;
    let page: u64 = old
        .pragma_query_value(None, "page_size", |row| row.get::<_, i64>(0))
        .map(i64::unsigned_abs)
        .map_err(&failed)?;
    let end = match u64::try_from(frames) {
        Ok(0) => 0,
        Ok(frames) => wal::HEADER + frames * (wal::FRAME_HEADER + page),
        Err(_) => return Err(damaged(path, 0, "the journal is not in write-ahead mode")),
    };
    let log = wal::path_of(path);
    let cut = OpenOptions::new().write(true).open(&log).and_then(|file| {
        if file.metadata()?.len() > end {
            file.set_len(end)?;
        }
        file.sync_all()
    });
    cut.map_err(io(&log, "cutting off an unfinished write"))?;
    fresh.execute_batch("ROLLBACK").map_err(&failed)
}
