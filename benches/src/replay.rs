//! Reading a run back: replay against a bare scan of the same rows, and reopening from a snapshot.

use std::time::Instant;

use kapell_core::{id::TaskId, journal::Version, run::Run};
use kapell_engine::{open::load, port::journal::Journal};

use crate::rig::{execute, host, noops, run_id};

pub fn measure(tasks: u32) -> anyhow::Result<()> {
    let dir = tempfile::tempdir_in(".")?;
    let plan = noops(tasks, false)?;
    let (mut engine, store) = host(dir.path())?;
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
            let folded = if verified { run.replay_verified(&row, plans) } else { run.replay(&row, plans) };
            broken = folded.err();
            broken.is_none()
        })?;
        anyhow::ensure!(broken.is_none(), "{broken:?}");
        let took = start.elapsed();
        anyhow::ensure!(run.state(TaskId(tasks - 1)).is_success(), "the last task is not done");
        rates.push((scan.as_secs_f64() / took.as_secs_f64(), events as f64 / took.as_secs_f64()));
    }
    println!(
        "{:<40} {:.3} of a scan, {:.0} events/s  floor 0.30 and 1,000,000",
        format!("replay, verified prefix, {tasks} tasks"),
        rates[0].0,
        rates[0].1
    );
    println!("{:<40} {:.3} of a scan  floor 0.15", "  with the chain checked", rates[1].0);
    let start = Instant::now();
    let run = load(&*store, id)?;
    println!(
        "{:<40} {:.1} ms for {} events, {bytes} bytes of bodies  floor 100 ms over 100,000 tasks",
        "  reopened from its snapshot",
        start.elapsed().as_secs_f64() * 1000.0,
        events
    );
    anyhow::ensure!(run.outcome().is_some(), "the run is over");
    Ok(())
}
