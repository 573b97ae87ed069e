//! The same three shapes with peers, each in its own way of making steps durable in SQLite.

use std::{path::Path, time::Instant};

use anyhow::Context;

use crate::{
    rig::{Nobody, execute, host, noops},
    table::{Floor, line, machine, median, ok, scratch, scrubbed},
};

/// What is measured in the peers.
const SCRIPT: &str = include_str!("peers.py");

/// Their packages, as the Python package index has them.
const PACKAGES: [&str; 3] = ["langgraph", "langgraph-checkpoint-sqlite", "dbos"];

/// The shapes: name in the script, runs, steps of each, in a row or at once, how much faster than the best peer.
const SHAPES: [(&str, u64, u32, bool, f64); 3] =
    [("sequential", 1, 1000, true, 1.0), ("parallel", 1, 1000, false, 50.0), ("runs", 1000, 10, true, 25.0)];

pub fn measure() -> anyhow::Result<()> {
    println!("{}", machine());
    let dir = scratch()?;
    let home = dir.path();
    ok(scrubbed(Path::new("python3"), home).args(["-m", "venv", "venv"]).current_dir(home))
        .context("python3 with venv is needed")?;
    let start = Instant::now();
    let pip = home.join("venv/bin/pip");
    ok(scrubbed(&pip, home).args(["install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES))?;
    let versions = ok(scrubbed(&pip, home).args(["freeze", "--quiet"]))?;
    let versions: Vec<_> = versions
        .lines()
        .filter(|line| PACKAGES.iter().any(|name| line.starts_with(&format!("{name}=="))))
        .collect();
    println!("installed {} in {:.0} s", versions.join(", "), start.elapsed().as_secs_f64());
    std::fs::write(home.join("peers.py"), SCRIPT)?;
    for (shape, runs, steps, sequential, floor) in SHAPES {
        let plan = noops(steps, sequential)?;
        let all = (runs * u64::from(steps)) as f64;
        let mut ours = Vec::new();
        for _ in 0..3 {
            let dir = scratch()?;
            let (mut host, _store) = host(dir.path(), Nobody::arc())?;
            ours.push(execute(&mut host, runs, &plan, steps.max(2))?.as_secs_f64());
        }
        let ours = all / median(ours);
        let mut best = f64::NAN;
        for peer in ["langgraph", "dbos"] {
            let mut command = scrubbed(&home.join("venv/bin/python"), home);
            command.args(["peers.py", peer, shape]).current_dir(home);
            command.env("LANGSMITH_TRACING", "false").env("DBOS_SKIP_UPDATE_CHECK", "1");
            match ok(&mut command)
                .and_then(|text| Ok(text.lines().last().context("it says nothing")?.trim().parse::<f64>()?))
            {
                Ok(seconds) => {
                    let rate = all / seconds;
                    println!("       {peer:<10} {shape:<10} {rate:.0} steps/s");
                    best = best.max(rate);
                }
                Err(error) => println!("       {peer:<10} {shape:<10} cannot be measured: {error:#}"),
            }
        }
        line(
            &format!("against the best peer, {shape}"),
            ours / best,
            "times",
            Floor::AtLeast(floor),
            format!("{ours:.0} steps/s"),
        );
    }
    println!("{}", machine());
    Ok(())
}
