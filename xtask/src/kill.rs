//! `cargo xtask kill`: SIGKILL to the real program at random moments of a workflow with real commits.
//!
//! After each kill the run is resumed; when it is over, its journal and repository are searched for anything lost,
//! done twice, or left behind.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use crate::{
    history::History,
    place::Place,
    random::Random,
    shell::{build_kapell, number_of, program_of},
};

/// Tasks of the workflow that is killed.
const TASKS: usize = 100;

/// How many attempts run at the same time.
const JOBS: usize = 4;

/// The longest time between a start and its kill.
const LIFE_MAX: Duration = Duration::from_millis(700);

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
    let program = program_of(args, build_kapell)?;
    let mut random = Random(seed);
    let mut tally = Tally::default();
    let start = Instant::now();
    while tally.kills < rounds {
        let site = Site::new(&program)?;
        site.kill_until_done(&mut random, &mut tally, rounds)?;
        let kept = || format!("kept for a look: {}", site.place.path("").display());
        site.check(&mut tally).with_context(kept)?;
        site.place.remove()?;
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

struct Site {
    place: Place,
}

impl Site {
    fn new(program: &Path) -> anyhow::Result<Self> {
        let place = Place::temporary("kill", program)?;
        place.write("repo/base.txt", "base\n")?;
        place.write("repo/work.yaml", &workflow())?;
        place.begin()?;
        Ok(Self { place })
    }

    fn kill_until_done(&self, random: &mut Random, tally: &mut Tally, rounds: usize) -> anyhow::Result<()> {
        tally.runs += 1;
        let path = self.place.path("log");
        loop {
            let log = fs::File::options().create(true).append(true).open(&path)?;
            let mut kapell = self.place.kapell(&["run", "work.yaml"])?;
            let mut child =
                kapell.stdout(log.try_clone()?).stderr(log).spawn().context("failed to start kapell")?;
            if tally.kills < rounds {
                std::thread::sleep(random.below(LIFE_MAX));
                if child.try_wait()?.is_none() {
                    child.kill()?;
                    tally.kills += 1;
                }
            }
            match child.wait()?.code() {
                Some(0) => return Ok(()),
                None => {}
                Some(code) => {
                    bail!("kapell ended with {code}: {}", fs::read_to_string(&path).unwrap_or_default())
                }
            }
        }
    }

    fn check(&self, tally: &mut Tally) -> anyhow::Result<()> {
        let (run, history) = self.place.history()?;
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
        self.place.said(&["verify", &run])?;
        self.check_repository(&run, &history)?;
        self.place.nothing_is_left(&run)
    }

    /// Every change is in the integration ref exactly once.
    fn check_repository(&self, run: &str, history: &History) -> anyhow::Result<()> {
        self.place.said(&["merge", run])?;
        let log = self.place.git(&["log", "--format=%(trailers:key=Kapell-Task,valueonly)", "main"])?;
        let mut commits: BTreeMap<&str, usize> = BTreeMap::new();
        for name in log.lines().filter(|line| !line.is_empty()) {
            *commits.entry(name).or_default() += 1;
        }
        for task in 0..TASKS {
            let file = self.place.repo().join(format!("task-{task}.txt"));
            let text = fs::read_to_string(&file).with_context(|| format!("{} is missing", file.display()))?;
            ensure!(text == format!("{task}\n"), "task-{task}.txt holds {text:?}");
            // One commit of the work, and at most one that merges it.
            let count = commits.get(format!("task-{task}").as_str()).copied().unwrap_or(0);
            ensure!((1..=2).contains(&count), "task-{task} is in {count} commits");
        }
        ensure!(history.done.len() == TASKS, "{} of {TASKS} tasks landed", history.done.len());
        Ok(())
    }
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
