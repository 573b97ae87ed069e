//! What the tests share: small decisions, and appends that wait for their ack.

use std::{
    path::Path,
    sync::{RwLock, mpsc},
};

use kapell_core::{
    id::{Digest, RunId},
    journal::{Row, Version},
    time::{Elapsed, Wall},
};
use kapell_engine::port::journal::{Append, AppendError, AppendErrorKind, Journal, Owner};
use kapell_store::Store;

/// Read by tests for which it matters that nobody else has their store open, written while a process is started.
pub(crate) static ALONE: RwLock<()> = RwLock::new(());

pub(crate) fn run(number: u8) -> RunId {
    let mut id = [number; 16];
    id[6] = 0x70;
    RunId(id)
}

pub(crate) fn owner(pid: u32) -> Owner {
    Owner { pid, host: "here".to_owned(), since: Wall(1_700_000_000_000), socket: None }
}

pub(crate) fn open(directory: &Path) -> Store {
    Store::open(directory).unwrap().0
}

/// The head of a chain, from which decisions are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) run: RunId,
    pub(crate) n: Version,
    pub(crate) hash: Digest,
}

impl Chain {
    pub(crate) fn new(number: u8) -> Self {
        Self { run: run(number), n: Version(0), hash: Digest::ZERO }
    }

    /// Makes the next `count` decisions.
    pub(crate) fn next(&mut self, count: u64) -> Append {
        let (base, prev) = (self.n, self.hash);
        let rows = (0..count).map(|_| self.row()).collect();
        Append { run: self.run, base, prev, rows, summary: None }
    }

    fn row(&mut self) -> Row {
        let n = self.n.next();
        let mut row = Row {
            run: self.run,
            n,
            at: Wall(1_700_000_000_000 + i64::try_from(n.0).unwrap() * 1000),
            elapsed: Elapsed(n.0 * 1000),
            actor: "engine".to_owned(),
            cause: "report".to_owned(),
            prev: self.hash,
            hash: Digest::ZERO,
            body: format!("[{{\"task_submitted\":{{\"task\":{n}}}}},\n{{\"note\":\"décision {n}\"}}]"),
        };
        row.hash = row.seal();
        (self.n, self.hash) = (n, row.hash);
        row
    }
}

/// Queues an append; the receiver gets its outcome.
pub(crate) fn queue(store: &Store, append: Append) -> mpsc::Receiver<Result<(), AppendError>> {
    let (send, receive) = mpsc::channel();
    store.append(append, Box::new(move |outcome| drop(send.send(outcome))));
    receive
}

pub(crate) fn append(store: &Store, append: Append) -> Result<(), AppendErrorKind> {
    queue(store, append).recv().unwrap().map_err(|error| error.kind)
}

pub(crate) fn rows(store: &Store, run: RunId, after: u64) -> Vec<Row> {
    let mut rows = Vec::new();
    store
        .read(run, Version(after), &mut |row| {
            rows.push(row.clone());
            true
        })
        .unwrap();
    rows
}
