//! Measures the store against a plain file in the same directory, in one run.
//!
//! `cargo run --release -p kapell-store --example append_bench -- [DIR]`. Every ratio is the plain file's time
//! divided by the store's, so 1 means as fast as `write` and `fdatasync` of the same bytes.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::cast_precision_loss, reason = "a bench")]

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    sync::mpsc,
    time::{Duration, Instant},
};

use kapell_core::{
    id::{Digest, RunId},
    journal::{Row, Version},
    time::{Elapsed, Wall},
};
use kapell_engine::port::journal::{Append, Journal};
use kapell_store::{Scope, Store};

#[derive(Clone)]
struct Chain {
    run: RunId,
    n: Version,
    hash: Digest,
}

impl Chain {
    fn new(number: u64) -> Self {
        let mut id = [7; 16];
        id[8..].copy_from_slice(&number.to_be_bytes());
        Self { run: RunId(id), n: Version(0), hash: Digest::ZERO }
    }

    fn next(&mut self, count: usize) -> Append {
        let (base, prev) = (self.n, self.hash);
        let rows = (0..count)
            .map(|_| {
                let n = self.n.next();
                let mut row = Row {
                    run: self.run,
                    n,
                    at: Wall(1_700_000_000_000 + n.0.cast_signed()),
                    elapsed: Elapsed(n.0),
                    actor: "engine".to_owned(),
                    cause: "report".to_owned(),
                    prev: self.hash,
                    hash: Digest::ZERO,
                    body: format!(
                        "[{{\"submitted\":{{\"task\":{n},\"attempt\":1,\"tree\":null}}}},\n\
                         {{\"done\":{{\"task\":{n}}}}},\n{{\"started\":{{\"task\":{},\"attempt\":1}}}}]",
                        n.0 + 1
                    ),
                };
                row.hash = row.seal();
                (self.n, self.hash) = (n, row.hash);
                row
            })
            .collect();
        Append { run: self.run, base, prev, rows, summary: None }
    }
}

/// The bytes that a plain log would write for a row: what the row holds, and its length.
fn plain(append: &Append, into: &mut Vec<u8>) {
    for row in append.rows.iter() {
        into.extend_from_slice(&row.run.0);
        for number in [row.n.0, row.at.0.cast_unsigned(), row.elapsed.0] {
            into.extend_from_slice(&number.to_le_bytes());
        }
        into.extend_from_slice(&row.prev.0);
        into.extend_from_slice(&row.hash.0);
        for text in [&row.actor, &row.cause, &row.body] {
            into.extend_from_slice(&u32::try_from(text.len()).unwrap().to_le_bytes());
            into.extend_from_slice(text.as_bytes());
        }
    }
}

/// Appends each group of appends, waits until all are durable, then goes on.
fn store_time(store: &Store, groups: Vec<Vec<Append>>) -> (Duration, Vec<Duration>) {
    let (send, receive) = mpsc::channel();
    let begin = Instant::now();
    let mut each = Vec::with_capacity(groups.len());
    for group in groups {
        let start = Instant::now();
        let count = group.len();
        for append in group {
            let send = send.clone();
            store.append(append, Box::new(move |outcome| send.send(outcome).unwrap()));
        }
        for _ in 0..count {
            receive.recv().unwrap().unwrap();
        }
        each.push(start.elapsed());
    }
    each.sort();
    (begin.elapsed(), each)
}

fn plain_time(dir: &Path, groups: &[Vec<Append>]) -> (Duration, u64) {
    let mut file = File::create(dir.join("plain")).unwrap();
    let mut buffer = Vec::new();
    let begin = Instant::now();
    for group in groups {
        buffer.clear();
        group.iter().for_each(|append| plain(append, &mut buffer));
        file.write_all(&buffer).unwrap();
        file.sync_data().unwrap();
    }
    (begin.elapsed(), file.metadata().unwrap().len())
}

fn size(dir: &Path) -> u64 {
    ["journal.sqlite", "journal.sqlite-wal"]
        .iter()
        .filter_map(|name| dir.join(name).metadata().ok())
        .map(|metadata| metadata.len())
        .sum()
}

fn measure(name: &str, dir: &Path, groups: Vec<Vec<Append>>) {
    let mut ratios = Vec::new();
    let mut line = String::new();
    for round in 0..5 {
        let dir = dir.join(format!("{name}-{round}"));
        std::fs::create_dir_all(&dir).unwrap();
        let count = groups.len() as f64;
        let rows: usize = groups.iter().flatten().map(|append| append.rows.len()).sum();
        let bodies: usize =
            groups.iter().flatten().flat_map(|a| a.rows.iter()).map(|row| row.body.len()).sum();
        let (bare, bare_size) = plain_time(&dir, &groups);
        let store = Store::open(&dir).unwrap().0;
        let (time, each) = store_time(&store, groups.clone());
        let open = size(&dir);
        drop(store);
        ratios.push(bare.as_secs_f64() / time.as_secs_f64());
        line = format!(
            "{:.1} us a sync (p50 {:.1}, p99 {:.1}, max {:.1}), plain {:.1}; bytes {:.3}x plain (open {:.3}x), {:.0} B a row above its body",
            time.as_secs_f64() / count * 1e6,
            each[each.len() / 2].as_secs_f64() * 1e6,
            each[each.len() * 99 / 100].as_secs_f64() * 1e6,
            each[each.len() - 1].as_secs_f64() * 1e6,
            bare.as_secs_f64() / count * 1e6,
            size(&dir) as f64 / bare_size as f64,
            open as f64 / bare_size as f64,
            (size(&dir) as f64 - bodies as f64) / rows as f64,
        );
        std::fs::remove_dir_all(&dir).unwrap();
    }
    ratios.sort_by(f64::total_cmp);
    println!("{name:12} ratio {:.2} ({:.2}..{:.2}); last: {line}", ratios[2], ratios[0], ratios[4]);
}

fn reading(dir: &Path) {
    let dir = dir.join("reading");
    let store = Store::open(&dir).unwrap().0;
    let mut chain = Chain::new(1);
    let groups = (0..1_000).map(|_| vec![chain.next(1_000)]).collect();
    let (time, _) = store_time(&store, groups);
    println!("append of 1,000,000 rows, 1,000 a sync: {:.2} s", time.as_secs_f64());
    drop(store);
    let begin = Instant::now();
    let store = Store::open(&dir).unwrap().0;
    let opened = begin.elapsed();
    let runs = store.runs().unwrap().len();
    println!(
        "open {:.2} ms, open and list {runs} run(s) {:.2} ms",
        opened.as_secs_f64() * 1e3,
        begin.elapsed().as_secs_f64() * 1e3
    );
    let begin = Instant::now();
    let mut bytes = 0;
    let sqlite = rusqlite::Connection::open(dir.join("journal.sqlite")).unwrap();
    let mut statement =
        sqlite.prepare("SELECT n, at, elapsed, hash, actor, cause, body FROM decisions").unwrap();
    let mut rows = statement.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        bytes += row.get_ref(6).unwrap().as_str().unwrap().len();
    }
    let bare = begin.elapsed();
    println!("bare scan of 1,000,000 rows ({bytes} B of bodies): {:.3} s", bare.as_secs_f64());
    let report = |name: &str, begin: Instant| {
        let time = begin.elapsed().as_secs_f64();
        println!("{name}: {time:.3} s, ratio {:.2}", bare.as_secs_f64() / time);
    };
    let begin = Instant::now();
    let mut count = 0;
    store
        .read_ref(chain.run, Version(0), &mut |_| {
            count += 1;
            true
        })
        .unwrap();
    report("read_ref", begin);
    let begin = Instant::now();
    store
        .read(chain.run, Version(0), &mut |_| {
            count += 1;
            true
        })
        .unwrap();
    report("read", begin);
    let begin = Instant::now();
    store.verify(Scope::Run(chain.run), &[]).unwrap();
    report("verify one run", begin);
    let begin = Instant::now();
    store.verify(Scope::All, &[]).unwrap();
    report("verify all", begin);
    assert_eq!(count, 2_000_000);
    drop(store);
    std::fs::remove_dir_all(&dir).unwrap();
}

fn main() {
    let dir = std::env::args().nth(1).map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let dir = dir.join(format!("append_bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let mut chain = Chain::new(1);
    measure("sequential", &dir, (0..1_000).map(|_| vec![chain.next(1)]).collect());
    let mut chain = Chain::new(1);
    measure("256 a sync", &dir, (0..100).map(|_| vec![chain.next(256)]).collect());
    let mut chains: Vec<_> = (0..1_000).map(Chain::new).collect();
    let turns = (0..10_000 / 64)
        .map(|group| (0..64).map(|number| chains[(group * 64 + number) * 7_919 % 1_000].next(1)).collect());
    let turns: Vec<_> = turns.collect();
    measure("1,000 runs", &dir, turns);
    reading(&dir);
    std::fs::remove_dir_all(&dir).unwrap();
}
