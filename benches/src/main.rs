//! Measures kapell against what the machine can do at best, as ratios in one run.
#![expect(clippy::print_stdout, reason = "it prints what it measured")]
#![expect(clippy::cast_precision_loss, reason = "rates, not accounts")]
#![expect(unreachable_pub, reason = "nothing of a program can be reached from outside")]

mod audit;
mod commands;
mod durable;
mod graph;
mod linear;
mod many;
mod peers;
mod program;
mod replay;
mod repository;
mod rig;
mod table;

use std::time::Instant;

use anyhow::bail;

/// What is measured is measured with the allocator of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A part of the table: what `--only` calls it, and what measures it.
type Cell = (&'static str, fn() -> anyhow::Result<()>);

const CELLS: [Cell; 15] = [
    ("sequential", durable::sequential),
    ("parallel", durable::parallel),
    ("runs", durable::runs),
    ("graph", graph::measure),
    ("matrix", graph::matrix),
    ("linear", linear::measure),
    ("replay", replay::measure),
    ("restart", many::restart),
    ("parked", many::parked),
    ("program", program::measure),
    ("latency", commands::latency),
    ("spawn", commands::spawn),
    ("land", repository::measure),
    ("status", many::status),
    ("improve", audit::measure),
];

/// Parts that install others from a package index, and are measured only when asked for.
const PEERS: [Cell; 2] = [("peers", peers::measure), ("improve-peers", audit::peers)];

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        [] => all(),
        ["--peers"] => PEERS.iter().try_for_each(|(_, measure)| measure()),
        ["--only", names @ ..] if !names.is_empty() => {
            for name in names {
                let mut cells = CELLS.iter().chain(&PEERS);
                match cells.find(|cell| cell.0 == *name) {
                    Some((_, measure)) => measure()?,
                    None => {
                        let names: Vec<&str> = CELLS.iter().chain(&PEERS).map(|cell| cell.0).collect();
                        bail!("`{name}` is no cell; there are: {}", names.join(", "))
                    }
                }
            }
            Ok(())
        }
        // Parts that are measured in processes of their own.
        ["graph"] => graph::child(),
        ["matrix", file] => graph::matrix_child(file),
        ["idle"] => table::say_peak(0),
        ["linear", tasks] => linear::child(tasks.parse()?),
        ["live", dir, runs] => many::live_child(dir.as_ref(), runs.parse()?),
        ["dispatch", dir, runs] => many::dispatch_child(dir.as_ref(), runs.parse()?),
        ["parked", dir, runs] => many::parked_child(dir.as_ref(), runs.parse()?),
        ["stamp", file] => commands::stamp(file.as_ref()),
        ["steps", runs, tasks] => durable::steps(runs.parse()?, tasks.parse()?),
        other => bail!("{other:?} is nothing that is measured"),
    }
}

fn all() -> anyhow::Result<()> {
    let start = Instant::now();
    println!("{}", table::machine());
    println!("Ratios against a plain log or a scan should be high; against a bare loop, git or ninja low.");
    let mut failed = Vec::new();
    for (name, measure) in CELLS {
        if let Err(error) = measure() {
            println!("{name}: cannot be measured: {error:#}");
            failed.push(name);
        }
    }
    println!("{}; {:.0} s in all", table::machine(), start.elapsed().as_secs_f64());
    anyhow::ensure!(failed.is_empty(), "cannot be measured: {}", failed.join(", "));
    Ok(())
}
