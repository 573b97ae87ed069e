//! Measures kapell against what the machine can do at best, as ratios in one run.
#![expect(clippy::print_stdout, reason = "it prints what it measured")]
#![expect(clippy::cast_precision_loss, reason = "rates, not accounts")]
#![expect(unreachable_pub, reason = "nothing of a program can be reached from outside")]

mod durable;
mod graph;
mod program;
mod replay;
mod rig;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("graph") => return graph::child(),
        Some("idle") => return graph::idle(),
        Some("--peers") => anyhow::bail!("peers are not measured yet"),
        Some(other) => anyhow::bail!("`{other}` is nothing that is measured"),
        None => {}
    }
    println!(
        "ratios: more is better against a plain log or a scan, less is better against ninja and a bare loop"
    );
    durable::measure("1 run, 1,000 steps in a row", 1, 1000, true, 1, 0.90)?;
    durable::measure("1 run, 1,000 steps at once", 1, 1000, false, 256, 0.10)?;
    durable::measure("1,000 runs of 10 steps", 1000, 10, true, 64, 0.20)?;
    graph::measure()?;
    replay::measure(1_000)?;
    replay::measure(100_000)?;
    let beside = std::env::current_exe()?.with_file_name("kapell");
    program::measure(&beside)
}
