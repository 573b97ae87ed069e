//! `cargo xtask kill`: SIGKILL to the real program at random moments of a workflow with real commits, of its merge, and
//! of a saga that takes everything back.
//!
//! After each kill the run is resumed; when it is over, its journal and repository are searched for anything lost,
//! done twice, or left behind.

mod saga; // a run that fails late, with a run within it

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

/// How often a merge is begun, the last time without a kill.
const MERGE_KILLS: usize = 4;

/// The longest time between the start of a merge and its kill.
const MERGE_LIFE_MAX: Duration = Duration::from_millis(60);

#[derive(Debug, Default)]
struct Tally {
    kills: usize,
    runs: usize,
    lost: usize,
    adopted: usize,
    tasks: usize,
    /// Kills while the branch was being moved.
    merges: usize,
}

/// How many kills of the workflow there are for one of the saga.
const KILLS_A_SAGA: usize = 5;

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
        site.check(&mut random, &mut tally).with_context(kept)?;
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
    println!("{} kills of its merge: the branch moved once each time", tally.merges);
    saga::run(&program, rounds.div_ceil(KILLS_A_SAGA), &mut random)
}

/// Starts kapell, and kills it within `life` unless that is `None`; returns its exit code, or none if it was killed.
fn start_and_kill(place: &Place, args: &[&str], life: Option<Duration>) -> anyhow::Result<Option<i32>> {
    let log = fs::File::options().create(true).append(true).open(place.path("log"))?;
    let mut kapell = place.kapell(args)?;
    let mut child = kapell.stdout(log.try_clone()?).stderr(log).spawn().context("failed to start kapell")?;
    if let Some(life) = life {
        std::thread::sleep(life);
        if child.try_wait()?.is_none() {
            child.kill()?;
        }
    }
    Ok(child.wait()?.code())
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
        loop {
            let life = (tally.kills < rounds).then(|| random.below(LIFE_MAX));
            match start_and_kill(&self.place, &["run", "work.yaml"], life)? {
                Some(0) => return Ok(()),
                None => {
                    tally.kills += 1;
                    if self.place.is_over() {
                        return Ok(());
                    }
                }
                Some(code) => {
                    let log = fs::read_to_string(self.place.path("log")).unwrap_or_default();
                    bail!("kapell ended with {code}: {log}")
                }
            }
        }
    }

    /// Merges, and kills that a few times.
    fn merge(&self, run: &str, random: &mut Random, tally: &mut Tally) -> anyhow::Result<()> {
        for left in (0..MERGE_KILLS).rev() {
            let life = (left > 0).then(|| random.below(MERGE_LIFE_MAX));
            match start_and_kill(&self.place, &["merge", run], life)? {
                Some(0) => {}
                None => tally.merges += 1,
                Some(code) => {
                    let log = fs::read_to_string(self.place.path("log")).unwrap_or_default();
                    bail!("kapell merge ended with {code}: {log}")
                }
            }
        }
        let (_, history) = self.place.history()?;
        ensure!(history.merged == 1, "the branch is told to have moved {} times", history.merged);
        Ok(())
    }

    fn check(&self, random: &mut Random, tally: &mut Tally) -> anyhow::Result<()> {
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
        self.merge(&run, random, tally)?;
        self.check_repository(&history)?;
        self.place.nothing_is_left(&run)
    }

    /// Every change is in the integration ref exactly once.
    fn check_repository(&self, history: &History) -> anyhow::Result<()> {
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
