//! Measures kapell against what the machine can do at best, as ratios in one run.
#![expect(clippy::print_stdout, reason = "it prints what it measured")]
#![expect(clippy::cast_precision_loss, reason = "rates, not accounts")]
#![expect(unreachable_pub, reason = "nothing of a program can be reached from outside")]
#![expect(missing_docs, reason = "a program for those who measure")]

mod durable;
mod rig;

fn main() -> anyhow::Result<()> {
    durable::measure("1 run, 1,000 steps in a row", 1, 1000, true, 1, 0.90)?;
    durable::measure("1 run, 1,000 steps at once", 1, 1000, false, 256, 0.10)?;
    durable::measure("1,000 runs of 10 steps", 1000, 10, true, 64, 0.20)?;
    Ok(())
}
