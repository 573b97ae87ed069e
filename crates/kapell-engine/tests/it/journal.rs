//! A journal in memory. Its disk can be slow, and can fail.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use kapell_core::{
    id::{Digest, RunId},
    journal::{Row, Version},
};
use kapell_engine::port::journal::{
    Ack, Append, AppendError, AppendErrorKind, Journal, JournalError, JournalErrorKind, OwnError, Owner,
    Ownership, RunHead, Snapshot,
};

use crate::rig::Log;

#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) rows: HashMap<RunId, Vec<Row>>,
    pub(crate) snapshots: HashMap<RunId, Snapshot>,
    kept: HashMap<Digest, Vec<u8>>,
    owners: HashMap<RunId, Owner>,
    epochs: HashMap<RunId, u64>,
    /// Whether appends wait until they are let through.
    pub(crate) slow: bool,
    waiting: VecDeque<(Append, Ack)>,
    /// After how many more appends the disk is full.
    pub(crate) full_after: Option<usize>,
    poisoned: HashSet<RunId>,
    /// Whether nothing can be read.
    pub(crate) unreadable: bool,
    pub(crate) appends: usize,
    pub(crate) rows_read: usize,
}

#[derive(Clone)]
pub(crate) struct MemoryJournal {
    disk: Arc<Mutex<Disk>>,
    log: Log,
}

#[derive(Debug)]
struct Held(u64, Arc<Mutex<Disk>>, RunId);

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Disk")
    }
}

impl Ownership for Held {
    fn epoch(&self) -> u64 {
        self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.1.lock().unwrap().owners.remove(&self.2);
    }
}

pub(crate) fn full() -> JournalError {
    JournalError { path: "memory".to_owned(), kind: JournalErrorKind::Full }
}

fn unreadable() -> JournalError {
    let kind = JournalErrorKind::Damaged { offset: 4096, what: "a page is gone".to_owned() };
    JournalError { path: "memory".to_owned(), kind }
}

impl MemoryJournal {
    pub(crate) fn new(log: Log) -> Self {
        Self { disk: Arc::default(), log }
    }

    pub(crate) fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap()
    }

    /// Lets the oldest append that waits through; tells whether there was one.
    pub(crate) fn let_one_through(&self) -> bool {
        let next = self.disk().waiting.pop_front();
        let found = next.is_some();
        if let Some((append, ack)) = next {
            self.write(append, ack);
        }
        found
    }

    /// Forgets what has not been let through, and is fast again.
    pub(crate) fn crash(&self) {
        let waiting = std::mem::take(&mut self.disk().waiting);
        drop(waiting);
        self.disk().slow = false;
    }

    fn write(&self, append: Append, ack: Ack) {
        let outcome = self.try_write(&append);
        let last = append.base.0 + append.rows.len() as u64;
        match &outcome {
            Ok(()) => self.log.say(format!("durable {last}")),
            Err(_) => self.log.say(format!("not durable {last}")),
        }
        ack(outcome);
    }

    fn try_write(&self, append: &Append) -> Result<(), AppendError> {
        let mut disk = self.disk();
        let run = append.run;
        let error = |kind| AppendError { run, rows: append.rows.len(), kind };
        if disk.poisoned.contains(&run) {
            return Err(error(AppendErrorKind::Poisoned));
        }
        match &mut disk.full_after {
            Some(0) => {
                disk.poisoned.insert(run);
                return Err(error(AppendErrorKind::Journal(full())));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        let rows = disk.rows.entry(run).or_default();
        let (mut n, mut hash) = rows.last().map_or((Version(0), Digest::ZERO), |row| (row.n, row.hash));
        assert_eq!((append.base, append.prev), (n, hash), "an append continues what is there");
        for row in append.rows.iter() {
            row.check_follows(n, hash).unwrap();
            (n, hash) = (row.n, row.hash);
        }
        rows.extend(append.rows.iter().cloned());
        Ok(())
    }
}

impl Journal for MemoryJournal {
    fn append(&self, append: Append, ack: Ack) {
        let mut disk = self.disk();
        disk.appends += 1;
        if disk.slow {
            disk.waiting.push_back((append, ack));
        } else {
            drop(disk);
            self.write(append, ack);
        }
    }

    fn read(
        &self,
        run: RunId,
        after: Version,
        visit: &mut dyn FnMut(&Row) -> bool,
    ) -> Result<(), JournalError> {
        if self.disk().unreadable {
            return Err(unreadable());
        }
        let rows: Vec<Row> = self.disk().rows.get(&run).cloned().unwrap_or_default();
        for row in rows.into_iter().filter(|row| row.n > after) {
            self.disk().rows_read += 1;
            if !visit(&row) {
                break;
            }
        }
        Ok(())
    }

    fn settle(&self) -> Result<(), JournalError> {
        if self.disk().unreadable {
            return Err(unreadable());
        }
        self.log.say("settle".to_owned());
        Ok(())
    }

    fn head(&self, run: RunId) -> Result<Option<RunHead>, JournalError> {
        let disk = self.disk();
        Ok(disk.rows.get(&run).and_then(|rows| head(run, rows)))
    }

    fn runs(&self) -> Result<Vec<RunHead>, JournalError> {
        Ok(self.disk().rows.iter().filter_map(|(run, rows)| head(*run, rows)).collect())
    }

    fn snapshot(&self, run: RunId) -> Result<Option<Snapshot>, JournalError> {
        Ok(self.disk().snapshots.get(&run).cloned())
    }

    fn keep_snapshot(&self, run: RunId, snapshot: Snapshot) -> Result<(), JournalError> {
        self.disk().snapshots.insert(run, snapshot);
        Ok(())
    }

    fn own(&self, run: RunId, owner: Owner) -> Result<Box<dyn Ownership>, OwnError> {
        let mut disk = self.disk();
        if let Some(holder) = disk.owners.get(&run) {
            return Err(OwnError::Held(holder.clone()));
        }
        disk.owners.insert(run, owner);
        disk.poisoned.remove(&run);
        let epoch = disk.epochs.entry(run).or_default();
        *epoch += 1;
        Ok(Box::new(Held(*epoch, self.disk.clone(), run)))
    }

    fn owner(&self, run: RunId) -> Result<Option<Owner>, JournalError> {
        Ok(self.disk().owners.get(&run).cloned())
    }

    fn keep(&self, bytes: &[u8]) -> Result<Digest, JournalError> {
        let digest = Digest::of(bytes);
        self.disk().kept.insert(digest, bytes.to_vec());
        Ok(digest)
    }

    fn kept(&self, digest: Digest) -> Result<Option<Vec<u8>>, JournalError> {
        Ok(self.disk().kept.get(&digest).cloned())
    }
}

fn head(run: RunId, rows: &[Row]) -> Option<RunHead> {
    let (first, last) = (rows.first()?, rows.last()?);
    let (version, hash, created, updated) = (last.n, last.hash, first.at, last.at);
    Some(RunHead { run, version, hash, created, updated, summary: None })
}
