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
use kapell_spec::workflow::{compile, read_bytes};

use crate::table::{Floor, line, part, say_peak, scratch};

const TASKS: u32 = 1_000_000;

/// What one task needs: two that come before it, near and far.
fn needs(task: u32) -> Vec<TaskId> {
    [task.checked_sub(1 + task % 7), task.checked_sub(1000 + task % 501)]
        .into_iter()
        .flatten()
        .map(TaskId)
        .collect()
}

/// The part that is measured, in a process of its own.
pub fn child() -> anyhow::Result<()> {
    let start = Instant::now();
    let mut builder = PlanBuilder::new();
    let definition = builder.define(Definition::new(Work::Noop));
    for task in 0..TASKS {
        builder.task(&format!("task-{task:07}"), definition, &needs(task));
    }
    let plan = builder.seal(PlanLimits::default())?;
    let took = start.elapsed();
    anyhow::ensure!(plan.len() == TASKS as usize, "a task is missing");
    say_peak(took.as_micros())
}

fn ninja(dir: &Path) -> anyhow::Result<Duration> {
    let mut file = std::io::BufWriter::new(fs::File::create(dir.join("build.ninja"))?);
    writeln!(file, "rule r\n  command = true")?;
    for task in 0..TASKS {
        let needs: String = needs(task).iter().map(|need| format!(" task-{:07}", need.0)).collect();
        writeln!(file, "build task-{task:07}: r{needs}")?;
    }
    file.flush()?;
    drop(file);
    // A dry run of the first target loads everything and builds next to nothing.
    let start = Instant::now();
    let output = Command::new("ninja").args(["-n", "task-0000000"]).current_dir(dir).output();
    anyhow::ensure!(output.context("ninja is not installed")?.status.success(), "ninja failed");
    Ok(start.elapsed())
}

pub fn measure() -> anyhow::Result<()> {
    let ours = part(&["graph"])?;
    let bytes = ours.bytes / f64::from(TASKS);
    line("1,000,000 tasks, 2,000,000 edges", bytes, "B a task", Floor::AtMost(200.0), "at the peak");
    let dir = scratch()?;
    match ninja(dir.path()) {
        Ok(other) => line(
            "  time to build, seal and rank",
            ours.seconds / other.as_secs_f64(),
            "of ninja",
            Floor::AtMost(0.5),
            format!("{:.2} s", ours.seconds),
        ),
        Err(error) => println!("       time to build, seal and rank: {:.2} s; {error:#}", ours.seconds),
    }
    Ok(())
}

/// Reads and compiles a workflow file.
pub fn matrix_child(file: &str) -> anyhow::Result<()> {
    let start = Instant::now();
    let (_, workflow, findings) = read_bytes(file, &fs::read(file)?);
    let workflow = workflow.with_context(|| format!("{findings:?}"))?;
    let (compiled, findings) = compile(&workflow, &kapell_spec::workflow::Options::default());
    let compiled = compiled.with_context(|| format!("{findings:?}"))?;
    let took = start.elapsed();
    anyhow::ensure!(compiled.plan.len() == TASKS as usize, "{} tasks", compiled.plan.len());
    say_peak(took.as_micros())
}

/// A file whose matrix has as many tasks, against the same from the builder.
pub fn matrix() -> anyhow::Result<()> {
    let dir = scratch()?;
    let numbers = (0..1000).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let path = dir.path().join("wide.yaml");
    fs::write(
        &path,
        format!(
            "mission: wide\ntasks:\n  t:\n    matrix:\n      a: [{numbers}]\n      b: [{numbers}]\n    noop: true\n"
        ),
    )?;
    let builder = part(&["graph"])?;
    let file = part(&["matrix", &path.display().to_string()])?;
    let each = file.bytes / f64::from(TASKS);
    line(
        "a file with a matrix of 1,000,000: memory",
        file.bytes / builder.bytes,
        "of the builder",
        Floor::AtMost(2.0),
        format!("{each:.0} B a task; the builder's graph has 2,000,000 edges, this one none"),
    );
    line("  time", file.seconds / builder.seconds, "of the builder", Floor::AtMost(2.0), "");
    Ok(())
}
