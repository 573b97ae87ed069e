//! The lines of the table, and what all cells need to make them.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tempfile::TempDir;

/// What a figure is held against.
#[derive(Debug, Clone, Copy)]
pub enum Floor {
    AtLeast(f64),
    AtMost(f64),
}

impl Floor {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(floor) => value >= floor,
            Self::AtMost(floor) => value <= floor,
        }
    }
}

impl fmt::Display for Floor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(floor) => write!(f, ">= {floor}"),
            Self::AtMost(floor) => write!(f, "<= {floor}"),
        }
    }
}

/// Prints one figure beside its floor.
pub fn line(name: &str, value: f64, unit: &str, floor: Floor, more: impl fmt::Display) {
    let verdict = if floor.holds(value) { "ok    " } else { "MISSED" };
    let shown = if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") };
    let figure = format!("{shown} {unit}");
    println!("{verdict} {name:<46} {figure:<24} floor {:<12} {more}", floor.to_string());
}

/// Says how busy the machine is, for whoever reads the figures later.
pub fn machine() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?").to_owned();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} cores, load {load}")
}

/// Makes a directory on a disk, outside every repository.
pub fn scratch() -> anyhow::Result<TempDir> {
    let base = std::env::var_os("KAPELL_BENCH_DIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    let dir = tempfile::tempdir_in(base)?;
    fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    Ok(dir)
}

/// Returns the median; of an even number, the greater one of the two in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    percentile(&mut values, 0.5)
}

pub fn percentile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let at = (values.len() as f64 * part) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// Measures two things in turns, so that what else the machine does hits both; returns the seconds of each.
pub fn in_turns(
    rounds: usize,
    mut ours: impl FnMut() -> anyhow::Result<Duration>,
    mut bare: impl FnMut() -> anyhow::Result<Duration>,
) -> anyhow::Result<Turns> {
    let mut turns = Turns { ours: Vec::new(), bare: Vec::new() };
    for _ in 0..rounds {
        turns.bare.push(bare()?.as_secs_f64());
        turns.ours.push(ours()?.as_secs_f64());
    }
    Ok(turns)
}

/// Seconds, round by round.
pub struct Turns {
    pub ours: Vec<f64>,
    pub bare: Vec<f64>,
}

impl Turns {
    /// The median of the rounds' ratios of our time to the bare time.
    pub fn slower(&self) -> f64 {
        median(self.ours.iter().zip(&self.bare).map(|(ours, bare)| ours / bare).collect())
    }

    /// The median of the rounds' ratios of the bare time to ours.
    pub fn faster(&self) -> f64 {
        median(self.ours.iter().zip(&self.bare).map(|(ours, bare)| bare / ours).collect())
    }

    /// The ratio of the best times: what a busy machine disturbs least.
    pub fn best(&self) -> f64 {
        let least = |times: &[f64]| times.iter().copied().fold(f64::INFINITY, f64::min);
        least(&self.bare) / least(&self.ours)
    }
}

pub fn timed(once: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Duration> {
    let start = Instant::now();
    once()?;
    Ok(start.elapsed())
}

/// Runs a command and fails unless it succeeds.
pub fn ok(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("failed to start {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Makes a command that sees nothing of whoever runs it; `home` is its home and works for its runtime directory.
pub fn scrubbed(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", home).env("XDG_RUNTIME_DIR", home).env("GIT_CONFIG_NOSYSTEM", "1");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "bench").env(format!("GIT_{who}_EMAIL"), "bench@localhost");
    }
    command
}

/// Returns the program as it is released; it must have been built beside this one.
pub fn kapell() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("kapell");
    ensure!(path.exists(), "the program is not built: cargo build --release -p kapell");
    Ok(path)
}

/// The peak of this process's resident memory in KiB.
fn peak_kib() -> anyhow::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).context("no VmHWM")?;
    Ok(line.split_whitespace().nth(1).context("no number")?.parse()?)
}

/// Ends a part in a process of its own: prints its peak memory and how long it took.
pub fn say_peak(micros: u128) -> anyhow::Result<()> {
    println!("{} {micros}", peak_kib()?);
    Ok(())
}

/// What a part in a process of its own took above one that does nothing.
pub struct Part {
    pub bytes: f64,
    pub seconds: f64,
}

pub fn part(args: &[&str]) -> anyhow::Result<Part> {
    let numbers = |args: &[&str]| -> anyhow::Result<(f64, f64)> {
        let text = ok(Command::new(std::env::current_exe()?).args(args))?;
        let mut numbers = text.split_whitespace().map(str::parse::<f64>);
        Ok((numbers.next().context("no memory")??, numbers.next().context("no time")??))
    };
    let (idle, _) = numbers(&["idle"])?;
    let (peak, micros) = numbers(args)?;
    Ok(Part { bytes: (peak - idle) * 1024.0, seconds: micros / 1e6 })
}
