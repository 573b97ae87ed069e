//! Every provider answers 429 from its second request on, until a reset that it states.

use std::time::Duration;

use anyhow::{Context, ensure};

use super::{
    Installed,
    stage::{Stage, task_of},
};

/// From which request on, counted from 0 for each provider: in the midst of its first task.
const FROM: u64 = 1;
/// For how long.
const PAUSE: Duration = Duration::from_secs(15);
/// How long all of it may take.
const RUN_MAX: Duration = Duration::from_secs(240);
/// How many tasks each client has.
const TASKS: usize = 2;

pub(super) fn run(clients: &[Installed], _args: &[&str]) -> anyhow::Result<()> {
    let stage = Stage::build("quota", clients, TASKS, |_| Ok(()))?;
    stage.mocks.iter().for_each(|mock| mock.limit(FROM, PAUSE));
    let took = stage.perform(&["run", "flow.yaml"], &[], RUN_MAX)?;
    let run = stage.run()?;
    stage.check_landed(&run)?;
    stage.place.nothing_is_left(&run)?;
    let events = stage.events()?;
    for (index, Installed { client, .. }) in clients.iter().enumerate() {
        let window = stage.mocks[index].window_ms().with_context(|| format!("{}: no 429", client.adapter))?;
        let of_client: Vec<String> =
            stage.jobs.iter().filter(|job| job.client == index).map(super::stage::Job::task).collect();
        let times = |names: &[&str]| -> Vec<u64> {
            let ours = events.iter().filter(|event| of_client.iter().any(|task| task == task_of(event)));
            let ours = ours.filter(|event| names.contains(&event["event"].as_str().unwrap_or_default()));
            ours.filter_map(|event| event["at_ms"].as_u64()).collect()
        };
        let started = times(&["started"]);
        let ended = times(&["submitted", "completed", "attempt_failed"]);
        let before = |times: &[u64]| times.iter().filter(|at| **at < window.start).count();
        let in_flight = before(&started) - before(&ended);
        let more = started.iter().filter(|at| window.contains(at)).count();
        println!(
            "{:12} {} attempts, {in_flight} in flight at its first 429, {more} started before the reset",
            client.adapter,
            started.len()
        );
        ensure!(more <= in_flight, "{}: {more} attempts started before the reset", client.adapter);
        let landed = times(&["landed"]);
        ensure!(
            landed.len() == TASKS && landed.iter().all(|at| *at >= window.end),
            "{}: {landed:?} landed, and the reset was at {}",
            client.adapter,
            window.end
        );
    }
    println!("all finished after the reset, {:.1} s in all", took.as_secs_f64());
    Ok(())
}
