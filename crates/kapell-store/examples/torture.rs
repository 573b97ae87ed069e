//! Appends while whatever is injected fails, and checks after every failure that nothing acknowledged is lost and
//! nothing refused is there.
//!
//! `torture DIR [ROUNDS]`, to be run under `strace -f -e inject=...`. Exits with 0 if all holds, with 5 if the
//! store said that it cannot go on, and panics if something was lost.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "a tool for tests")]

use std::{path::PathBuf, process::exit, sync::mpsc};

use kapell_core::{
    id::{Digest, RunId},
    journal::{Row, Version},
    time::{Elapsed, Wall},
};
use kapell_engine::port::journal::{Append, AppendErrorKind, Journal, JournalError};
use kapell_store::{Expected, Scope, Store};

#[derive(Clone, Copy, Debug)]
struct Chain {
    run: RunId,
    n: Version,
    hash: Digest,
}

impl Chain {
    fn next(&mut self, count: u64) -> Append {
        let (base, prev) = (self.n, self.hash);
        let rows = (0..count).map(|_| self.row()).collect();
        Append { run: self.run, base, prev, rows, summary: Some(format!("{}", self.n).into()) }
    }

    fn row(&mut self) -> Row {
        let n = self.n.next();
        let mut row = Row {
            run: self.run,
            n,
            at: Wall(n.0.cast_signed()),
            elapsed: Elapsed(n.0),
            actor: "engine".to_owned(),
            cause: "report".to_owned(),
            prev: self.hash,
            hash: Digest::ZERO,
            body: format!("[{{\"n\":{n},\"text\":\"{}\"}}]", "x".repeat(700)),
        };
        row.hash = row.seal();
        (self.n, self.hash) = (n, row.hash);
        row
    }
}

fn give_up(error: &JournalError) -> ! {
    eprintln!("gives up: {error}");
    exit(5)
}

/// Compares what is there with what was acknowledged.
fn check(store: &Store, chain: Chain) -> Result<(), JournalError> {
    let head = store.head(chain.run)?;
    let there = head.map_or((Version(0), Digest::ZERO), |head| (head.version, head.hash));
    assert_eq!(there, (chain.n, chain.hash), "run {}", chain.run);
    Ok(())
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().unwrap());
    let rounds: u64 = arguments.next().map_or(60, |rounds| rounds.parse().unwrap());
    let store = Store::open(&dir).unwrap_or_else(|error| give_up(&error)).0;
    let mut chains = [1, 2, 3].map(|n| Chain { run: RunId([n; 16]), n: Version(0), hash: Digest::ZERO });
    let mut failures = 0;
    for round in 0..rounds {
        let (send, receive) = mpsc::channel();
        let mut ahead = chains;
        for chain in &mut ahead {
            let send = send.clone();
            store.append(chain.next(1 + round % 4), Box::new(move |outcome| send.send(outcome).unwrap()));
        }
        for _ in 0..3 {
            match receive.recv().unwrap() {
                Ok(()) => {}
                Err(error) => {
                    failures += 1;
                    if let AppendErrorKind::Journal(error) = &error.kind {
                        eprintln!("round {round}: {error}");
                    }
                    let run = chains.iter().position(|chain| chain.run == error.run).unwrap();
                    ahead[run] = chains[run];
                }
            }
        }
        chains = ahead;
        for chain in chains {
            store.reopen(chain.run);
            if let Err(error) = check(&store, chain) {
                // Reading may be hit, too; once more is allowed.
                eprintln!("round {round}: {error}");
                check(&store, chain).unwrap_or_else(|error| give_up(&error));
            }
        }
        if round % 20 == 19
            && let Err(error) = store.fold()
        {
            eprintln!("round {round}: {error}");
        }
    }
    drop(store);
    let store = Store::open(&dir).unwrap_or_else(|error| give_up(&error)).0;
    let expected = chains.map(|chain| Expected { run: chain.run, n: chain.n, hash: chain.hash });
    let report = store.verify(Scope::All, &expected).unwrap_or_else(|error| give_up(&error));
    let appended: u64 = chains.iter().map(|chain| chain.n.0).sum();
    assert_eq!(report.decisions, appended);
    assert_eq!(report.decisions, appended, "something that was refused is there");
    println!("{appended} decisions, {failures} failures");
}
