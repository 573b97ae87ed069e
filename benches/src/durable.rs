//! Durable steps: a task is a step, and each result is durable before anything depends on it.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;
use kapell_core::{
    journal::{Row, Version},
    plan::Plan,
};
use kapell_engine::port::journal::Journal;

use crate::{
    rig::{Nobody, execute, host, noops, run_id},
    table::{Floor, in_turns, line, median, scratch},
};

/// How often each shape is measured.
const ROUNDS: usize = 9;

/// Appends `records` of `bytes` each to a plain file, with one fdatasync for every `together` of them.
fn plain_log(dir: &Path, records: u64, bytes: usize, together: u64) -> anyhow::Result<Duration> {
    let path = dir.join("plain.log");
    let mut file = File::create(&path)?;
    let record = vec![b'x'; bytes];
    let start = Instant::now();
    let mut buffer = Vec::new();
    for number in 1..=records {
        buffer.extend_from_slice(&record);
        if number % together == 0 || number == records {
            file.write_all(&buffer)?;
            buffer.clear();
            file.sync_data()?;
        }
    }
    let took = start.elapsed();
    fs::remove_file(path)?;
    Ok(took)
}

/// The bytes of a row in a plain log: what the row holds, and the lengths of its texts.
fn record_bytes(row: &Row) -> usize {
    16 + 3 * 8 + 2 * 32 + 3 * 4 + row.actor.len() + row.cause.len() + row.body.len()
}

/// Bytes that this process has passed to system calls that write.
fn written() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/self/io")?;
    let line = text.lines().find_map(|line| line.strip_prefix("wchar: ")).context("no wchar")?;
    Ok(line.trim().parse()?)
}

/// One execution.
#[derive(Default)]
struct Once {
    took: Duration,
    /// Bytes of the records of one run of those that were executed.
    record_bytes: usize,
    body_bytes: usize,
    /// Bytes written by system calls.
    written: u64,
    /// Bytes of the closed store.
    disk: u64,
}

fn once(plan: &std::sync::Arc<Plan>, runs: u64, tasks: u32) -> anyhow::Result<Once> {
    let dir = scratch()?;
    let (mut host, store) = host(dir.path(), Nobody::arc())?;
    let before = written()?;
    let took = execute(&mut host, runs, plan, tasks.max(2))?;
    let mut once = Once { took, written: written()? - before, ..Once::default() };
    store.read(run_id(0), Version(0), &mut |row| {
        once.record_bytes += record_bytes(row);
        once.body_bytes += row.body.len();
        true
    })?;
    drop(host);
    drop(store);
    for name in ["journal.sqlite", "journal.sqlite-wal"] {
        once.disk += fs::metadata(dir.path().join(name)).map_or(0, |metadata| metadata.len());
    }
    Ok(once)
}

/// Measures one shape of work against a plain log of the same bytes.
fn measure(name: &str, shape: (u64, u32, bool), together: u64, floor: f64) -> anyhow::Result<()> {
    let (runs, tasks, sequential) = shape;
    let plan = noops(tasks, sequential)?;
    let steps = runs * u64::from(tasks);
    // What the records are is known after a first execution, which is not counted.
    let first = once(&plan, runs, tasks)?;
    let record = first.record_bytes / tasks as usize;
    let dir = scratch()?;
    let mut last = Once::default();
    let turns = in_turns(
        ROUNDS,
        || {
            last = once(&plan, runs, tasks)?;
            Ok(last.took)
        },
        || plain_log(dir.path(), steps, record, together),
    )?;
    let rate = steps as f64 / median(turns.ours.clone());
    line(
        name,
        turns.faster(),
        "of a plain log",
        Floor::AtLeast(floor),
        format!("best against best {:.3}; {rate:.0} steps/s, {record} B a record", turns.best()),
    );
    let frames = usize::try_from(last.written / steps).unwrap_or(record);
    let mut bare = Vec::new();
    for _ in 0..3 {
        bare.push(plain_log(dir.path(), steps, frames, together)?.as_secs_f64());
    }
    println!(
        "         of a log of the bytes that the store writes, {frames} B: {:.3}",
        median(bare) * rate / steps as f64
    );
    let log = runs as f64 * first.record_bytes as f64;
    let bodies = runs as f64 * first.body_bytes as f64;
    line("  disk, closed", last.disk as f64 / log, "of a plain log", Floor::AtMost(1.25), "");
    line(
        "  disk, above the payload",
        (last.disk as f64 - bodies) / steps as f64,
        "B a step",
        Floor::AtMost(150.0),
        "",
    );
    Ok(())
}

/// Executes runs of tasks in a row once, with nothing beside it: for a profiler.
pub fn steps(runs: u64, tasks: u32) -> anyhow::Result<()> {
    let once = once(&noops(tasks, true)?, runs, tasks)?;
    let steps = runs * u64::from(tasks);
    println!(
        "{:.2} us a step, {} B a step written",
        once.took.as_secs_f64() * 1e6 / steps as f64,
        once.written / steps
    );
    Ok(())
}

pub fn sequential() -> anyhow::Result<()> {
    measure("1 run, 1,000 steps in a row", (1, 1000, true), 1, 0.90)
}

pub fn parallel() -> anyhow::Result<()> {
    measure("1 run, 1,000 steps at once", (1, 1000, false), 256, 0.10)
}

pub fn runs() -> anyhow::Result<()> {
    measure("1,000 runs of 10 steps", (1000, 10, true), 64, 0.20)
}
