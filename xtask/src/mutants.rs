//! `cargo xtask mutants`: small changes to the core, each of which a test or the simulation must notice.
//!
//! `cargo mutants` knows the changes and makes them in a copy of its own, one after another. Here a sample is drawn by
//! a seed and given to the core's tests; what they do not notice is given to the simulator's. What does not compile
//! counts for nothing; what never ends counts as noticed, and its limit of time is so wide that it must hang for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::{
    random::Random,
    shell::{capture, number_of, root, target},
};

/// Whose code is changed.
const CHANGED: &str = "kapell-core";

/// Whose tests look at it, in this order: the first that notices ends the search.
const WATCHES: [&str; 2] = [CHANGED, "kapell-sim"];

/// How many of the changes that compile must be noticed, in percent.
const FLOOR: f64 = 90.0;

/// Tests hang if they take so many times what they took without a change, and no less than so many seconds.
const PATIENCE: [&str; 4] = ["--timeout-multiplier", "10", "--minimum-test-timeout", "60"];

/// Exit codes of `cargo mutants` that are verdicts: all noticed, some missed, some out of time.
const VERDICTS: [i32; 3] = [0, 2, 3];

pub(crate) fn run(args: &[&str]) -> anyhow::Result<()> {
    let (sample, seed) = (number_of(args, "--sample", 120)?, number_of(args, "--seed", 1)?);
    let (jobs, floor) = (number_of(args, "--jobs", 1)?, number_of(args, "--floor", FLOOR)?);
    let lab = Lab::new(jobs)?;
    let start = Instant::now();
    let mut alive = lab.list()?;
    let all = alive.len();
    draw(&mut alive, sample, &mut Random(seed));
    println!("{} of {all} changes to {CHANGED}, drawn with seed {seed}", alive.len());
    let mut counts = Counts::default();
    for watch in WATCHES {
        let fates = lab.try_all(watch, &alive)?;
        alive.retain(|mutant| fates.get(&mutant.name) == Some(&Fate::Missed));
        let found = counts.add(fates.values());
        println!("{watch}: {found} noticed, {} left, after {:.0?}", alive.len(), start.elapsed());
    }
    for Mutant { name, diff } in &alive {
        println!("missed: {name}\n{diff}");
    }
    let Counts { caught, timed_out, unviable } = counts;
    let viable = caught + timed_out + alive.len();
    let percent = 100.0 * (caught + timed_out) as f64 / viable.max(1) as f64;
    println!(
        "{percent:.1} % of {viable} changes noticed (floor {floor} %): {caught} caught, {timed_out} timed out, {} missed; \
         {unviable} more do not compile",
        alive.len()
    );
    ensure!(percent >= floor, "too few changes are noticed");
    Ok(())
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mutant {
    /// Where it is and what it does: `crates/kapell-core/src/id.rs:20:5: replace ..`.
    name: String,
    diff: String,
}

impl Mutant {
    fn file(&self) -> &str {
        self.name.split_once(':').map_or("", |(file, _)| file)
    }

    fn line(&self) -> usize {
        self.name.split(':').nth(1).and_then(|line| line.parse().ok()).unwrap_or(0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Caught,
    TimedOut,
    Missed,
    Unviable,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    caught: usize,
    timed_out: usize,
    unviable: usize,
}

impl Counts {
    /// Counts what is settled by these fates, and returns how many of them were noticed.
    fn add<'a>(&mut self, fates: impl Iterator<Item = &'a Fate>) -> usize {
        let before = self.caught + self.timed_out;
        for fate in fates {
            match fate {
                Fate::Caught => self.caught += 1,
                Fate::TimedOut => self.timed_out += 1,
                Fate::Unviable => self.unviable += 1,
                Fate::Missed => {}
            }
        }
        self.caught + self.timed_out - before
    }
}

/// Keeps `count` of them, by lot.
fn draw(mutants: &mut Vec<Mutant>, count: usize, random: &mut Random) {
    for at in 0..count.min(mutants.len()) {
        let other = at + random.index(mutants.len() - at);
        mutants.swap(at, other);
    }
    mutants.truncate(count);
}

/// `cargo mutants`, and where it works.
struct Lab {
    dir: PathBuf,
    jobs: usize,
}

impl Lab {
    fn new(jobs: usize) -> anyhow::Result<Self> {
        let version = Command::new("cargo").args(["mutants", "--version"]).output();
        if !version.is_ok_and(|output| output.status.success()) {
            bail!("cargo-mutants is not there: cargo install cargo-mutants --locked");
        }
        let dir = target().join("mutants");
        fs::create_dir_all(dir.join("copies"))?;
        Ok(Self { dir, jobs })
    }

    fn command(&self) -> Command {
        let mut command = Command::new("cargo");
        command.args(["mutants", "--package", CHANGED]).current_dir(root());
        // Bugs that are planted are not there unless built for.
        command.args(["--exclude", "planted.rs"]).env("TMPDIR", self.dir.join("copies"));
        if self.jobs == 1 {
            // What the core stands on is built once, and not for every copy.
            command.env("CARGO_TARGET_DIR", self.dir.join("build"));
        }
        // Built no slower, and its tests take a tenth of the time.
        command.env("CARGO_PROFILE_TEST_DEBUG", "0").env("CARGO_PROFILE_TEST_OPT_LEVEL", "1");
        command
    }

    fn list(&self) -> anyhow::Result<Vec<Mutant>> {
        let mut mutants = mutants_of(&capture(self.command().args(["--list", "--json"]))?)?;
        let mut planted: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
        for mutant in &mutants {
            if !planted.contains_key(mutant.file()) {
                let lines = planted_lines(&read(&root().join(mutant.file()))?);
                planted.insert(mutant.file().to_owned(), lines);
            }
        }
        mutants.retain(|mutant| !planted[mutant.file()].contains(&mutant.line()));
        Ok(mutants)
    }

    /// Makes each of the changes alone, and runs the tests of `watch` on it.
    fn try_all(&self, watch: &str, mutants: &[Mutant]) -> anyhow::Result<BTreeMap<String, Fate>> {
        if mutants.is_empty() {
            return Ok(BTreeMap::new());
        }
        let output = self.dir.join(watch);
        let mut command = self.command();
        command.args(["--test-package", watch, "--cargo-test-arg=--tests", "--colors", "never"]);
        command.args(PATIENCE).args(["--jobs", &self.jobs.to_string(), "--output"]).arg(&output);
        command.args(mutants.iter().flat_map(|mutant| ["--re".to_owned(), exactly(&mutant.name)]));
        // It asks no expression before it leaves a field out (27.1), so it is kept to the files that are meant.
        let files: BTreeSet<&str> = mutants.iter().map(Mutant::file).collect();
        command.args(files.iter().flat_map(|file| ["--file", file]));
        let status = command.status().context("failed to start cargo mutants")?;
        ensure!(
            status.code().is_some_and(|code| VERDICTS.contains(&code)),
            "cargo mutants ended with {status}; see {}",
            output.display()
        );
        let mut fates = fates_of(&read(&output.join("mutants.out/outcomes.json"))?)?;
        fates.retain(|name, _| mutants.iter().any(|mutant| mutant.name == *name));
        ensure!(fates.len() == mutants.len(), "{} of {} changes were tried", fates.len(), mutants.len());
        Ok(fates)
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

/// Returns the expression that finds a text and nothing else.
fn exactly(text: &str) -> String {
    let inner =
        text.chars().flat_map(|c| r"\.+*?()|[]{}^$#&-~".contains(c).then_some('\\').into_iter().chain([c]));
    format!("^{}$", inner.collect::<String>())
}

fn mutants_of(list: &str) -> anyhow::Result<Vec<Mutant>> {
    let list: Vec<Value> = serde_json::from_str(list).context("cargo mutants lists no JSON")?;
    let text = |mutant: &Value, key: &str| Some(mutant[key].as_str()?.to_owned());
    let mutants = list.iter().map(|it| Some(Mutant { name: text(it, "name")?, diff: text(it, "diff")? }));
    let mutants: Option<Vec<Mutant>> = mutants.collect();
    mutants.context("cargo mutants lists a change without a name")
}

/// Returns the lines, from 1, of what is compiled with planted bugs only: from each attribute that says so to where the
/// item, statement or arm behind it ends.
fn planted_lines(text: &str) -> BTreeSet<usize> {
    let mut planted = BTreeSet::new();
    let mut depth = None;
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        match &mut depth {
            None if line == "#[cfg(kapell_planted)]" => depth = Some(0),
            None => continue,
            Some(depth) => {
                let count = |signs: &str| line.chars().filter(|sign| signs.contains(*sign)).count();
                *depth += count("([{");
                *depth -= count(")]}").min(*depth);
            }
        }
        planted.insert(at + 1);
        if depth == Some(0) && line.ends_with([';', ',', '}']) {
            depth = None;
        }
    }
    planted
}

fn fates_of(outcomes: &str) -> anyhow::Result<BTreeMap<String, Fate>> {
    let outcomes: Value = serde_json::from_str(outcomes).context("the outcomes are no JSON")?;
    let mut fates = BTreeMap::new();
    for outcome in outcomes["outcomes"].as_array().context("there are no outcomes")? {
        // The one without a change has no name.
        let Some(name) = outcome["scenario"]["Mutant"]["name"].as_str() else { continue };
        let fate = match outcome["summary"].as_str() {
            Some("CaughtMutant") => Fate::Caught,
            Some("Timeout") => Fate::TimedOut,
            Some("MissedMutant") => Fate::Missed,
            Some("Unviable") => Fate::Unviable,
            other => bail!("{name} ended as {other:?}"),
        };
        fates.insert(name.to_owned(), fate);
    }
    Ok(fates)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(count: usize) -> Vec<Mutant> {
        (0..count).map(|n| Mutant { name: n.to_string(), diff: String::new() }).collect()
    }

    #[test]
    fn a_sample_follows_from_its_seed_and_holds_nothing_twice() {
        let drawn = |seed| {
            let mut mutants = numbered(1000);
            draw(&mut mutants, 50, &mut Random(seed));
            mutants.into_iter().map(|mutant| mutant.name).collect::<Vec<_>>()
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        assert_eq!(drawn(1).into_iter().collect::<std::collections::BTreeSet<_>>().len(), 50);
        let mut few = numbered(3);
        draw(&mut few, 10, &mut Random(1));
        assert_eq!(few.len(), 3);
    }

    #[test]
    fn a_name_is_sought_as_it_stands() {
        assert_eq!(exactly("a.rs:1:2: replace + with -"), r"^a\.rs:1:2: replace \+ with \-$");
        assert_eq!(exactly("f -> Option<u8>"), r"^f \-> Option<u8>$");
    }

    #[test]
    fn planted_bugs_are_left_alone() {
        let text = "fn f() {\n    #[cfg(kapell_planted)]\n    let a = match b {\n        1 if is(2) => 3,\n        _ => b,\n    };\n\
                    \x20   match a {\n        #[cfg(kapell_planted)]\n        2 if is(3) => 4,\n        _ => 5,\n    }\n}\n";
        assert_eq!(planted_lines(text).into_iter().collect::<Vec<_>>(), [2, 3, 4, 5, 6, 8, 9]);
    }

    #[test]
    fn what_does_not_compile_does_not_count_and_what_hangs_is_noticed() {
        let outcome = |name: &str, summary: &str| serde_json::json!({"scenario": {"Mutant": {"name": name}}, "summary": summary});
        let text = serde_json::json!({"outcomes": [
            {"scenario": "Baseline", "summary": "Success"},
            outcome("a", "CaughtMutant"), outcome("b", "Timeout"), outcome("c", "MissedMutant"), outcome("d", "Unviable"),
        ]});
        let fates = fates_of(&text.to_string()).unwrap();
        let mut counts = Counts::default();
        assert_eq!(counts.add(fates.values()), 2);
        assert_eq!(counts, Counts { caught: 1, timed_out: 1, unviable: 1 });
        assert_eq!(fates["c"], Fate::Missed);
        assert!(fates_of(&serde_json::json!({"outcomes": [outcome("a", "Failure")]}).to_string()).is_err());
    }
}
