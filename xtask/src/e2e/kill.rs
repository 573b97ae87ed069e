//! SIGKILL to kapell at random moments while the clients work.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use kapell_mock::How;

use super::{
    Installed,
    stage::{Stage, fixing, task_of},
};
use crate::{random::Random, shell::number_of};

/// The longest time between a start and its kill.
const LIFE_MAX: Duration = Duration::from_secs(8);
/// How often one run is killed before it is let come to its end.
const KILLS_OF_A_RUN: usize = 10;
/// How many tasks each client has.
const TASKS: usize = 2;
/// How long the model waits before each piece of what it says, so that kills also hit in the midst of a reply.
const PAUSE_MS: u64 = 60;
/// How long the last part of a run may take.
const RUN_MAX: Duration = Duration::from_secs(240);
/// How long what was killed together with kapell may take to go.
const GOING_MAX: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Tally {
    kills: usize,
    runs: usize,
    tasks: usize,
    lost: usize,
    adopted: usize,
}

pub(super) fn run(clients: &[Installed], args: &[&str]) -> anyhow::Result<()> {
    let kills: usize = number_of(args, "--kill", 50)?;
    let mut random = Random(number_of(args, "--seed", 1)?);
    let mut tally = Tally::default();
    while tally.kills < kills {
        let stage = Stage::build("kill", clients, TASKS, |_| Ok(()))?;
        for job in &stage.jobs {
            let slow = How::Slow { pause_ms: PAUSE_MS };
            stage.mocks[job.client].play(&job.name, fixing(&job.name).failing(0, u64::MAX, slow));
        }
        kill_until_done(&stage, &mut random, &mut tally, kills).with_context(|| stage.log())?;
    }
    println!(
        "{} kills over {} run(s): {} tasks landed, {} attempts lost, {} ends adopted from their records; \
         0 requests for finished tasks, nothing left",
        tally.kills, tally.runs, tally.tasks, tally.lost, tally.adopted
    );
    Ok(())
}

fn kill_until_done(
    stage: &Stage,
    random: &mut Random,
    tally: &mut Tally,
    kills: usize,
) -> anyhow::Result<()> {
    // Requests by the time that its task was known to be finished.
    let mut finished: BTreeMap<String, u64> = BTreeMap::new();
    let first = tally.kills;
    loop {
        let mut child = stage.start(&["run", "flow.yaml"], &[])?;
        if tally.kills < kills && tally.kills - first < KILLS_OF_A_RUN {
            std::thread::sleep(random.below(LIFE_MAX));
            if child.try_wait()?.is_none() {
                child.kill()?;
                tally.kills += 1;
            }
        }
        let Some(status) = crate::shell::wait(child, Instant::now() + RUN_MAX)? else {
            bail!("kapell took longer than {} s", RUN_MAX.as_secs());
        };
        note_finished(stage, &mut finished)?;
        match status.code() {
            Some(0) => break,
            None => {}
            Some(code) => bail!("kapell ended with {code}"),
        }
    }
    let (run, history) = stage.place.history()?;
    history.check()?;
    for (task, requests) in &finished {
        let job = stage.jobs.iter().find(|job| job.task() == *task).context("a task of nobody")?;
        let now = stage.count(job).requests;
        ensure!(now == *requests, "{task} was finished after {requests} requests, and {now} were made");
    }
    ensure!(finished.len() == stage.jobs.len(), "{} tasks finished", finished.len());
    stage.check_landed(&run)?;
    let until = Instant::now() + GOING_MAX;
    while stage.place.nothing_is_left(&run).is_err() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    stage.place.nothing_is_left(&run)?;
    tally.runs += 1;
    tally.tasks += history.done.len();
    tally.lost += history.lost;
    tally.adopted += history.adopted;
    println!("run {}: {} kills so far, {} tasks landed", tally.runs, tally.kills, history.done.len());
    Ok(())
}

/// Notes how often the model was asked for tasks whose result is in the journal.
fn note_finished(stage: &Stage, finished: &mut BTreeMap<String, u64>) -> anyhow::Result<()> {
    // A kill can come before there is a run.
    let Ok(events) = stage.events() else { return Ok(()) };
    let is_end = |event: &&serde_json::Value| {
        ["submitted", "completed", "landed"].iter().any(|name| event["event"] == *name)
    };
    for event in events.iter().filter(is_end) {
        if let Some(job) = stage.jobs.iter().find(|job| job.task() == task_of(event)) {
            finished.entry(job.task()).or_insert_with(|| stage.count(job).requests);
        }
    }
    Ok(())
}
