//! Reading a run back: replay against a bare scan of the same rows, and reopening from a snapshot.

use std::time::Instant;

use kapell_core::{id::TaskId, journal::Version, run::Run};
use kapell_engine::{open::load, port::journal::Journal};

use crate::{
    rig::{Nobody, execute, host, noops, run_id},
    table::{Floor, line, scratch},
};

/// Over a small and a large graph.
pub fn measure() -> anyhow::Result<()> {
    reading_back(1_000, 10.0)?;
    reading_back(100_000, 100.0)
}

fn reading_back(tasks: u32, reopen_ms: f64) -> anyhow::Result<()> {
    let dir = scratch()?;
    let plan = noops(tasks, false)?;
    let (mut engine, store) = host(dir.path(), Nobody::arc())?;
    execute(&mut engine, 1, &plan, 256)?;
    let id = run_id(0);
    engine.close(id);
    drop(engine);
    let (mut bytes, mut events) = (0_usize, 0_usize);
    let start = Instant::now();
    store.read(id, Version(0), &mut |row| {
        bytes += row.body.len();
        events += row.body.matches('\n').count() + 1;
        true
    })?;
    let scan = start.elapsed();
    let mut rates = Vec::new();
    for verified in [true, false] {
        let mut run = Run::new(id);
        let start = Instant::now();
        let mut broken = None;
        store.read(id, Version(0), &mut |row| {
            let plans = &mut |digest| kapell_engine::open::kept_plan(&*store, digest);
            let folded = if verified { run.replay_verified(row, plans) } else { run.replay(row, plans) };
            broken = folded.err();
            broken.is_none()
        })?;
        anyhow::ensure!(broken.is_none(), "{broken:?}");
        let took = start.elapsed();
        anyhow::ensure!(run.state(TaskId(tasks - 1)).is_success(), "the last task is not done");
        rates.push((scan.as_secs_f64() / took.as_secs_f64(), events as f64 / took.as_secs_f64()));
    }
    let name = format!("replay, verified prefix, {tasks} tasks");
    line(&name, rates[0].0, "of a scan", Floor::AtLeast(0.30), "");
    line("  its rate", rates[0].1, "events/s", Floor::AtLeast(1e6), "");
    line("  with the chain checked", rates[1].0, "of a scan", Floor::AtLeast(0.15), "");
    let start = Instant::now();
    let run = load(&*store, id)?;
    let took = start.elapsed().as_secs_f64() * 1000.0;
    line(
        "  reopened from its snapshot",
        took,
        "ms",
        Floor::AtMost(reopen_ms),
        format!("{events} events, {bytes} bytes of bodies"),
    );
    anyhow::ensure!(run.outcome().is_some(), "the run is over");
    Ok(())
}
