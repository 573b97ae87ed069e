//! `cargo xtask kill`: SIGKILL to the real program at random moments of a workflow with real commits.
//!
//! After each kill the run is resumed; when it is over, its journal and repository are searched for anything lost,
//! done twice, or left behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::shell::{build_kapell, capture};

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
    let number = |name: &str, or: u64| -> anyhow::Result<u64> {
        match args.iter().position(|arg| *arg == name) {
            Some(at) => args.get(at + 1).context("a number is missing")?.parse().context("not a number"),
            None => Ok(or),
        }
    };
    let rounds = usize::try_from(number("--rounds", 300)?)?;
    let seed = number("--seed", 1)?;
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
        for name in ["home", "run"] {
            fs::create_dir_all(place.dir.join(name))?;
        }
        fs::set_permissions(place.dir.join("run"), std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        fs::write(place.repo().join("base.txt"), "base\n")?;
        fs::write(place.repo().join("work.yaml"), workflow())?;
        for args in [&["init", "-q", "-b", "main"][..], &["add", "."], &["commit", "-q", "-m", "base"]] {
            capture(place.git().args(args))?;
        }
        Ok(place)
    }

    fn repo(&self) -> PathBuf {
        self.dir.join("repo")
    }

    fn clean(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir(self.repo());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.dir.join("home")).env("XDG_RUNTIME_DIR", self.dir.join("run"));
        command.env("GIT_CONFIG_NOSYSTEM", "1");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "kill").env(format!("GIT_{who}_EMAIL"), "kill@localhost");
        }
        command
    }

    fn git(&self) -> Command {
        self.clean(Path::new("git"))
    }

    fn kapell(&self, args: &[&str]) -> Command {
        let mut command = self.clean(&self.program);
        command.args(args).args(["--no-input"]);
        command
    }

    fn start(&self, args: &[&str]) -> anyhow::Result<Child> {
        let log = fs::File::options().create(true).append(true).open(self.dir.join("log"))?;
        let mut command = self.kapell(args);
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
        let export = capture(&mut self.kapell(&["logs", "--export"]))?;
        let lines: Vec<Value> = export.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        // The first line names the format, the last one counts.
        let rows: Vec<Value> = lines.into_iter().filter(|line| line["n"].is_u64()).collect();
        let history = History::read(&rows)?;
        history.check()?;
        tally.lost += history.lost;
        tally.tasks += history.landed.len();
        tally.adopted += history.adopted;
        ensure!(
            history.lost <= tally.kills * JOBS,
            "{} attempts lost in {} kills",
            history.lost,
            tally.kills
        );
        let run = rows[0]["run"].as_str().context("a run has an id")?;
        capture(&mut self.kapell(&["verify", run]))?;
        self.check_repository(run, &history)?;
        self.check_left_behind(run)
    }

    /// Every change is in the integration ref exactly once, and the checkout has not been touched.
    fn check_repository(&self, run: &str, history: &History) -> anyhow::Result<()> {
        capture(&mut self.kapell(&["merge", run]))?;
        let log =
            capture(self.git().args(["log", "--format=%(trailers:key=Kapell-Task,valueonly)", "main"]))?;
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
        ensure!(history.landed.len() == TASKS, "{} of {TASKS} tasks landed", history.landed.len());
        let status = capture(self.git().args(["status", "--porcelain"]))?;
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

/// What the journal says about one run.
#[derive(Debug, Default)]
struct History {
    started: BTreeSet<(u64, u64)>,
    ended: BTreeMap<(u64, u64), usize>,
    landed: BTreeMap<u64, usize>,
    lost: usize,
    adopted: usize,
    finished: usize,
    open: usize,
}

impl History {
    fn read(rows: &[Value]) -> anyhow::Result<Self> {
        let mut history = Self::default();
        let mut since_open: BTreeSet<(u64, u64)> = BTreeSet::new();
        for row in rows {
            for event in row["events"].as_array().context("a row has events")? {
                let (name, payload) =
                    event.as_object().and_then(|event| event.iter().next()).context("an event")?;
                let task = payload["task"].as_u64().unwrap_or(u64::MAX);
                let attempt = payload["attempt"].as_u64().unwrap_or(u64::MAX);
                match name.as_str() {
                    "opened" => {
                        history.open += 1;
                        since_open.clear();
                    }
                    "started" => {
                        ensure!(
                            history.started.insert((task, attempt)),
                            "attempt {attempt} of {task} started twice"
                        );
                        since_open.insert((task, attempt));
                    }
                    "submitted" | "attempt_failed" => {
                        *history.ended.entry((task, attempt)).or_default() += 1;
                        let lost = payload["class"] == "lost";
                        history.lost += usize::from(lost);
                        history.adopted += usize::from(!lost && !since_open.contains(&(task, attempt)));
                    }
                    "landed" => *history.landed.entry(task).or_default() += 1,
                    "finished" => history.finished += 1,
                    _ => {}
                }
            }
        }
        Ok(history)
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!(self.finished == 1, "the run ended {} times", self.finished);
        for (key, times) in &self.ended {
            ensure!(*times == 1, "attempt {key:?} ended {times} times");
        }
        for key in &self.started {
            ensure!(self.ended.contains_key(key), "attempt {key:?} has no end");
        }
        for (task, times) in &self.landed {
            ensure!(*times == 1, "task {task} landed {times} times");
        }
        // Every attempt beyond the first follows one that was lost: nothing that ended well was dispatched again.
        let again = self.started.len() - self.landed.len();
        ensure!(again == self.lost, "{again} attempts again for {} that were lost", self.lost);
        Ok(())
    }
}
