//! The program as a person starts it.

use std::{fs, time::Instant};

use crate::table::{Floor, kapell, line, median, ok, scratch, scrubbed};

fn milliseconds(count: usize, mut once: impl FnMut() -> anyhow::Result<String>) -> anyhow::Result<f64> {
    let mut times = Vec::new();
    for _ in 0..count {
        let start = Instant::now();
        once()?;
        times.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(median(times))
}

pub fn measure() -> anyhow::Result<()> {
    let program = kapell()?;
    let dir = scratch()?;
    let version = milliseconds(40, || ok(scrubbed(&program, dir.path()).arg("--version")))?;
    line("kapell --version", version, "ms", Floor::AtMost(10.0), "");
    let text = "mission: one\ntasks:\n  one:\n    workspace: none\n    run: \"true\"\n";
    fs::write(dir.path().join("one.yaml"), text)?;
    let run = || {
        let mut command = scrubbed(&program, dir.path());
        ok(command.args(["run", "one.yaml", "--quiet", "--no-input"]).current_dir(dir.path()))
    };
    // The first one makes the store.
    run()?;
    line("one task `true`, start to end", milliseconds(20, run)?, "ms", Floor::AtMost(20.0), "");
    Ok(())
}
