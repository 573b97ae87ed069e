//! A graph of a million tasks: memory for each after sealing and ranking, and time against ninja loading the same.

use std::{
    fs,
    io::Write,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Context;
use kapell_core::{
    id::TaskId,
    plan::{Definition, PlanBuilder, PlanLimits, Work},
};

const TASKS: u32 = 1_000_000;

/// What one task needs: two that come before it, near and far.
fn needs(task: u32) -> Vec<TaskId> {
    [task.checked_sub(1 + task % 7), task.checked_sub(1000 + task % 501)]
        .into_iter()
        .flatten()
        .map(TaskId)
        .collect()
}

/// The part that is measured, in a process of its own; prints its peak memory in KiB and its time in microseconds.
pub fn child() -> anyhow::Result<()> {
    let start = Instant::now();
    let mut builder = PlanBuilder::new();
    let definition = builder.define(Definition::new(Work::Noop));
    for task in 0..TASKS {
        builder.task(&format!("task-{task:07}"), definition, &needs(task));
    }
    let plan = builder.seal(PlanLimits::default())?;
    let took = start.elapsed();
    println!("{} {} {}", peak_kib()?, took.as_micros(), plan.len());
    Ok(())
}

fn peak_kib() -> anyhow::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).context("no VmHWM")?;
    Ok(line.split_whitespace().nth(1).context("no number")?.parse()?)
}

/// The memory of the same program doing nothing.
pub fn idle() -> anyhow::Result<()> {
    println!("{} 0 0", peak_kib()?);
    Ok(())
}

fn run(what: &str) -> anyhow::Result<(u64, Duration)> {
    let output = Command::new(std::env::current_exe()?).arg(what).output()?;
    let text = String::from_utf8(output.stdout)?;
    let mut numbers = text.split_whitespace().map(str::parse::<u64>);
    let peak = numbers.next().context("no memory")??;
    let micros = numbers.next().context("no time")??;
    Ok((peak, Duration::from_micros(micros)))
}

fn ninja(dir: &Path) -> Option<Duration> {
    let mut file = std::io::BufWriter::new(fs::File::create(dir.join("build.ninja")).ok()?);
    writeln!(file, "rule r\n  command = true").ok()?;
    for task in 0..TASKS {
        let needs: String = needs(task).iter().map(|need| format!(" task-{:07}", need.0)).collect();
        writeln!(file, "build task-{task:07}: r{needs}").ok()?;
    }
    file.flush().ok()?;
    drop(file);
    // A dry run of the first target loads everything and builds next to nothing.
    let start = Instant::now();
    let status = Command::new("ninja").args(["-n", "task-0000000"]).current_dir(dir).output().ok()?;
    status.status.success().then(|| start.elapsed())
}

pub fn measure() -> anyhow::Result<()> {
    let (idle, _) = run("idle")?;
    let (peak, took) = run("graph")?;
    let bytes = (peak - idle) * 1024 / u64::from(TASKS);
    println!("{:<40} {bytes} B a task at the peak  floor 200", "1,000,000 tasks, 2,000,000 edges");
    let dir = tempfile::tempdir_in(".")?;
    match ninja(dir.path()) {
        Some(other) => println!(
            "{:<40} {:.2} of ninja's {:.2} s  floor 0.50",
            "  time to build, seal and rank",
            took.as_secs_f64() / other.as_secs_f64(),
            other.as_secs_f64()
        ),
        None => println!(
            "{:<40} {:.2} s; ninja is not installed",
            "  time to build, seal and rank",
            took.as_secs_f64()
        ),
    }
    Ok(())
}
