//! `cargo xtask kill`: SIGKILL to the real program at random moments of a workflow with real commits.
//!
//! After each kill the run is resumed; when it is over, its journal and repository are searched for anything lost,
//! done twice, or left behind.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::{
    history::History,
    shell::{build_kapell, capture, number_of, scrubbed},
};

/// Tasks of the workflow that is killed.
const TASKS: usize = 100;

/// How many attempts run at the same time.
const JOBS: usize = 4;

/// The longest time between a start and its kill.
const LIFE_MAX: Duration = Duration::from_millis(700);

/// A generator of SplitMix64 (Steele, Lea and Flood, 2014): the moments of the kills follow from the seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: Duration) -> Duration {
        let micros = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(self.next() % micros)
    }
}

#[derive(Debug, Default)]
struct Tally {
    kills: usize,
    runs: usize,
    lost: usize,
    adopted: usize,
    tasks: usize,
}

pub(crate) fn run(args: &[&str]) -> anyhow::Result<()> {
    let rounds: usize = number_of(args, "--rounds", 300)?;
    let seed = number_of(args, "--seed", 1)?;
    let program = build_kapell()?;
    let mut random = Random(seed);
    let mut tally = Tally::default();
    let start = Instant::now();
    while tally.kills < rounds {
        let place = Place::new(&program)?;
        place.kill_until_done(&mut random, &mut tally, rounds)?;
        place.check(&mut tally).with_context(|| format!("kept for a look: {}", place.keep()))?;
        fs::remove_dir_all(&place.dir)?;
    }
    println!(
        "{} kills over {} run(s) of {TASKS} tasks in {:.0?}: {} tasks landed, {} attempts lost (at most {JOBS} a kill), \
         {} ends adopted from their records; 0 dispatched again after a durable end, 0 effects twice, 0 left behind",
        tally.kills,
        tally.runs,
        start.elapsed(),
        tally.tasks,
        tally.lost,
        tally.adopted
    );
    Ok(())
}

struct Place {
    dir: PathBuf,
    program: PathBuf,
}

impl Place {
    fn new(program: &Path) -> anyhow::Result<Self> {
        let dir = std::env::temp_dir().join(format!("kapell-kill-{}-{}", std::process::id(), unique()));
        let place = Self { dir, program: program.to_owned() };
        fs::create_dir_all(place.repo())?;
        fs::write(place.repo().join("base.txt"), "base\n")?;
        fs::write(place.repo().join("work.yaml"), workflow())?;
        for args in [&["init", "-q", "-b", "main"][..], &["add", "."], &["commit", "-q", "-m", "base"]] {
            capture(place.git()?.args(args))?;
        }
        Ok(place)
    }

    fn repo(&self) -> PathBuf {
        self.dir.join("repo")
    }

    fn clean(&self, program: &Path) -> anyhow::Result<Command> {
        let mut command = scrubbed(program, &self.dir)?;
        command.current_dir(self.repo()).env("GIT_CONFIG_NOSYSTEM", "1");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "kill").env(format!("GIT_{who}_EMAIL"), "kill@localhost");
        }
        Ok(command)
    }

    fn git(&self) -> anyhow::Result<Command> {
        self.clean(Path::new("git"))
    }

    fn kapell(&self, args: &[&str]) -> anyhow::Result<Command> {
        let mut command = self.clean(&self.program)?;
        command.args(args).args(["--no-input"]);
        Ok(command)
    }

    fn start(&self, args: &[&str]) -> anyhow::Result<Child> {
        let log = fs::File::options().create(true).append(true).open(self.dir.join("log"))?;
        let mut command = self.kapell(args)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.spawn().context("failed to start kapell")
    }

    fn kill_until_done(&self, random: &mut Random, tally: &mut Tally, rounds: usize) -> anyhow::Result<()> {
        tally.runs += 1;
        loop {
            let mut child = self.start(&["run", "work.yaml"])?;
            if tally.kills < rounds {
                std::thread::sleep(random.below(LIFE_MAX));
                if child.try_wait()?.is_none() {
                    child.kill()?;
                    tally.kills += 1;
                }
            }
            let status = child.wait()?;
            match status.code() {
                Some(0) => return Ok(()),
                None => {}
                Some(code) => {
                    bail!(
                        "kapell ended with {code}: {}",
                        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
                    )
                }
            }
        }
    }

    fn keep(&self) -> String {
        self.dir.display().to_string()
    }

    fn check(&self, tally: &mut Tally) -> anyhow::Result<()> {
        let export = capture(&mut self.kapell(&["logs", "--export"])?)?;
        let (run, history) = History::of_export(&export)?;
        history.check()?;
        tally.lost += history.lost;
        tally.tasks += history.done.len();
        tally.adopted += history.adopted;
        ensure!(
            history.lost <= tally.kills * JOBS,
            "{} attempts lost in {} kills",
            history.lost,
            tally.kills
        );
        capture(&mut self.kapell(&["verify", &run])?)?;
        self.check_repository(&run, &history)?;
        self.check_left_behind(&run)
    }

    /// Every change is in the integration ref exactly once, and the checkout has not been touched.
    fn check_repository(&self, run: &str, history: &History) -> anyhow::Result<()> {
        capture(&mut self.kapell(&["merge", run])?)?;
        let log =
            capture(self.git()?.args(["log", "--format=%(trailers:key=Kapell-Task,valueonly)", "main"]))?;
        let mut commits: BTreeMap<&str, usize> = BTreeMap::new();
        for name in log.lines().filter(|line| !line.is_empty()) {
            *commits.entry(name).or_default() += 1;
        }
        for task in 0..TASKS {
            let file = self.repo().join(format!("task-{task}.txt"));
            let text = fs::read_to_string(&file).with_context(|| format!("{} is missing", file.display()))?;
            ensure!(text == format!("{task}\n"), "task-{task}.txt holds {text:?}");
            // One commit of the work, and at most one that merges it.
            let count = commits.get(format!("task-{task}").as_str()).copied().unwrap_or(0);
            ensure!((1..=2).contains(&count), "task-{task} is in {count} commits");
        }
        ensure!(history.done.len() == TASKS, "{} of {TASKS} tasks landed", history.done.len());
        let status = capture(self.git()?.args(["status", "--porcelain"]))?;
        ensure!(status.is_empty(), "the checkout is not clean: {status}");
        Ok(())
    }

    /// No process carries the run's mark any more, and nothing but what is documented is left on disk.
    fn check_left_behind(&self, run: &str) -> anyhow::Result<()> {
        let mark = format!("KAPELL_ATTEMPT_ID={run}");
        for entry in fs::read_dir("/proc")?.flatten() {
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            let found =
                environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(mark.as_bytes()));
            ensure!(!found, "process {} is left", entry.file_name().to_string_lossy());
        }
        let runtime: Vec<_> = fs::read_dir(self.dir.join("run/kapell"))?.flatten().collect();
        // Sockets of killed processes stay until the next start under the same number; nothing else may.
        for entry in runtime {
            let name = entry.file_name().to_string_lossy().into_owned();
            ensure!(
                name.ends_with(".sock") || name.ends_with(".agents"),
                "{name} is left in the runtime directory"
            );
        }
        let cache = self.dir.join("home/.cache/kapell");
        for site in fs::read_dir(&cache)?.flatten() {
            let scratch = site.path().join("scratch");
            let left = fs::read_dir(&scratch).map(|entries| entries.count()).unwrap_or(0);
            ensure!(left == 0, "{left} scratch directories are left");
            for slot in fs::read_dir(site.path().join("workspaces"))?.flatten() {
                let meta = fs::read_to_string(slot.path().join("meta.json")).unwrap_or_default();
                let meta: Value = serde_json::from_str(&meta).unwrap_or_default();
                ensure!(meta["owner"].is_null(), "workspace {:?} is still held", slot.file_name());
            }
        }
        Ok(())
    }
}

fn unique() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos() % u128::from(u64::MAX)).unwrap_or(0)
}

fn workflow() -> String {
    let mut text = "mission: One hundred small changes\ntasks:\n".to_owned();
    for task in 0..TASKS {
        let needs = match task {
            0..10 => String::new(),
            task => format!("    needs: [task-{}]\n", task - 10),
        };
        text.push_str(&format!(
            "  task-{task}:\n{needs}    run: sleep 0.0{}; echo {task} > task-{task}.txt\n    accept: [test -s task-{task}.txt]\n",
            task % 7
        ));
    }
    text
}
