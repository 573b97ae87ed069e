//! Commands that do next to nothing, outside a repository, every event durable.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::FileExt,
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::Context;
use rustix::time::{ClockId, clock_gettime};

use crate::table::{Floor, in_turns, kapell, line, ok, percentile, scratch, scrubbed, timed};

/// How many commands are started at full speed.
const COMMANDS: usize = 2_000;

/// Bytes of a record that a bare loop writes of a command's end: about as many as one of the journal has.
const RECORD: usize = 220;

/// How many commands are in a row where the time between two is looked at.
const CHAIN: usize = 200;

/// The ways of supervising, and what each may cost against a bare loop.
const SUPERVISED: [(&str, f64); 2] = [("group", 1.10), ("full", 1.6)];

fn now_micros() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000 + now.tv_nsec.unsigned_abs() / 1_000
}

/// Starts a shell that does `script`, as kapell does it.
fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-e", "-c", script]);
    command
}

/// Starts `true` from two threads, one after the other. With `logs`, a directory, each of them writes a record of each
/// end into a log of its own, which is as long as it will be, and syncs it before it goes on: the least that anybody has
/// to do who makes each end durable.
fn bare_loop(logs: Option<&Path>) -> anyhow::Result<()> {
    let threads: Vec<_> = (0..2)
        .map(|thread| {
            let log = logs.map(|dir| dir.join(format!("{thread}.log")));
            std::thread::spawn(move || {
                let log = log.map(|path| File::options().write(true).open(path)).transpose()?;
                for number in 0..COMMANDS / 2 {
                    shell("true").status()?;
                    if let Some(log) = &log {
                        log.write_all_at(&[b'x'; RECORD], (number * RECORD) as u64)?;
                        log.sync_data()?;
                    }
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
    }
    Ok(())
}

pub fn spawn() -> anyhow::Result<()> {
    let program = kapell()?;
    for (supervise, floor) in SUPERVISED {
        let dir = scratch()?;
        let numbers = (0..COMMANDS).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
        fs::write(
            dir.path().join("many.yaml"),
            format!(
                "mission: many\ntasks:\n  many:\n    matrix: {{ n: [{numbers}] }}\n    supervise: {supervise}\n    run: \"true\"\n"
            ),
        )?;
        let ours = || {
            let mut command = scrubbed(&program, dir.path());
            command.args(["run", "many.yaml", "--new", "--jobs", "2", "--quiet", "--no-input"]);
            timed(|| ok(command.current_dir(dir.path())).map(drop))
        };
        let turns = in_turns(3, ours, || timed(|| bare_loop(None)))?;
        line(
            &format!("2,000 commands `true` at -j2, {supervise}"),
            turns.slower(),
            "of a bare loop",
            Floor::AtMost(floor),
            format!("best against best {:.3}", 1.0 / turns.best()),
        );
    }
    let dir = scratch()?;
    for thread in 0..2 {
        let mut log = File::create(dir.path().join(format!("{thread}.log")))?;
        log.write_all(&vec![0; COMMANDS / 2 * RECORD])?;
        log.sync_all()?;
    }
    let durable = || timed(|| bare_loop(Some(dir.path())));
    let turns = in_turns(3, durable, || timed(|| bare_loop(None)))?;
    println!("         a bare loop that syncs a record of each end: {:.3} of a bare loop", turns.slower());
    Ok(())
}

/// The command of the chain: writes down when it began and when it ends.
pub fn stamp(file: &Path) -> anyhow::Result<()> {
    let begin = now_micros();
    let mut file = File::options().create(true).append(true).open(file)?;
    file.write_all(format!("{begin} {}\n", now_micros()).as_bytes())?;
    Ok(())
}

/// Reads the stamps of a chain and returns the times from each end to the next beginning, in microseconds.
fn gaps(file: &Path) -> anyhow::Result<Vec<f64>> {
    let text = fs::read_to_string(file)?;
    let numbers = |line: &str| -> anyhow::Result<(f64, f64)> {
        let (begin, end) = line.split_once(' ').context("two numbers a line")?;
        Ok((begin.parse()?, end.parse()?))
    };
    let stamps = text.lines().map(numbers).collect::<anyhow::Result<Vec<_>>>()?;
    anyhow::ensure!(stamps.len() == CHAIN, "{} of {CHAIN} stamps", stamps.len());
    Ok(stamps.windows(2).map(|pair| pair[1].0 - pair[0].1).collect())
}

/// From a command's end to the next one's beginning: with one sync and one spawn, and with kapell.
pub fn latency() -> anyhow::Result<()> {
    let program = kapell()?;
    let me = std::env::current_exe()?;
    for (supervise, _) in SUPERVISED {
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let dir = scratch()?;
            let file = dir.path().join("bare");
            let script = |file: &Path| format!("'{}' stamp '{}'", me.display(), file.display());
            let mut log = File::create(dir.path().join("log"))?;
            for _ in 0..CHAIN {
                shell(&script(&file)).status()?;
                log.write_all(&[b'x'; 300])?;
                log.sync_data()?;
            }
            bare.extend(gaps(&file)?);
            let file = dir.path().join("ours");
            let mut text = "mission: chain\ntasks:\n".to_owned();
            for task in 0..CHAIN {
                let needs = task.checked_sub(1).map(|before| format!("    needs: [t{before}]\n"));
                let script = serde_json::to_string(&script(&file))?;
                text.push_str(&format!(
                    "  t{task}:\n{}    supervise: {supervise}\n    run: {script}\n",
                    needs.unwrap_or_default()
                ));
            }
            fs::write(dir.path().join("chain.yaml"), text)?;
            let mut command = scrubbed(&program, dir.path());
            command.args(["run", "chain.yaml", "--quiet", "--no-input"]).current_dir(dir.path());
            ok(&mut command)?;
            ours.extend(gaps(&file)?);
        }
        let (p50, p99) = (percentile(&mut ours, 0.5), percentile(&mut ours, 0.99));
        let base = percentile(&mut bare, 0.5);
        line(
            &format!("end of a command to start of the next, {supervise}"),
            p50 / base,
            "of sync + spawn",
            Floor::AtMost(1.3),
            format!("p50 {:.2?} against {:.2?}", micros(p50), micros(base)),
        );
        line("  its p99", p99 / p50, "of its p50", Floor::AtMost(5.0), format!("{:.2?}", micros(p99)));
    }
    Ok(())
}

fn micros(micros: f64) -> Duration {
    Duration::from_secs_f64(micros / 1e6)
}
