//! Durable steps: a task is a step, and each result is durable before anything depends on it.

use std::{
    fs::File,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use kapell_core::journal::Version;
use kapell_engine::port::journal::Journal;

use crate::rig::{execute, host, noops, run_id};

/// Appends `records` of `bytes` each to a plain file, with one fdatasync for every `together` of them.
fn plain_log(dir: &Path, records: u64, bytes: usize, together: u64) -> anyhow::Result<Duration> {
    let mut file = File::create(dir.join("plain.log"))?;
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
    Ok(start.elapsed())
}

/// Measures one shape of work against a plain log of the same bytes.
pub fn measure(
    name: &str,
    runs: u64,
    tasks: u32,
    sequential: bool,
    together: u64,
    floor: f64,
) -> anyhow::Result<()> {
    let plan = noops(tasks, sequential)?;
    let mut ratios = Vec::new();
    let mut rate = 0.0;
    for _ in 0..5 {
        let dir = tempfile::tempdir_in(".")?;
        let steps = runs * u64::from(tasks);
        let (mut host, store) = host(dir.path())?;
        let took = execute(&mut host, runs, &plan, tasks.max(2))?;
        let mut bytes = 0;
        store.read(run_id(0), Version(0), &mut |row| {
            bytes += row.body.len();
            true
        })?;
        let per_step = (bytes / tasks as usize).max(1);
        let plain = plain_log(dir.path(), steps, per_step, together)?;
        ratios.push(plain.as_secs_f64() / took.as_secs_f64());
        rate = steps as f64 / took.as_secs_f64();
        drop(host);
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "{name:<40} ratio {:.3} (min {:.3}, max {:.3})  floor {floor:.2}  {rate:.0} steps/s",
        ratios[2], ratios[0], ratios[4]
    );
    Ok(())
}
