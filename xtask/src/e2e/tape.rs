//! A session of the clients is recorded, and played back with no provider there.

use std::time::Duration;

use anyhow::ensure;

use super::{
    Installed,
    stage::{KEY, Stage},
};

/// How long each of the two may take.
const RUN_MAX: Duration = Duration::from_secs(200);

pub(super) fn run(clients: &[Installed], _args: &[&str]) -> anyhow::Result<()> {
    let mut stage = Stage::build("tape", clients, 1, |_| Ok(()))?;
    let recorded = stage.perform(&["record", "flow.yaml"], &[], RUN_MAX)?;
    let first = stage.run()?;
    stage.check_landed(&first)?;
    let cassette = stage.place.repo().join(format!(".git/kapell/cassettes/{first}.jsonl"));
    let text = std::fs::read_to_string(&cassette)?;
    ensure!(!text.contains(KEY.1), "the key is in the recording");
    let asked: u64 = stage.jobs.iter().map(|job| stage.count(job).requests).sum();
    // Nobody can be asked any more.
    stage.mocks.clear();
    let played = stage.perform(&["replay", &first, "--agents"], &[(KEY.0, "")], RUN_MAX)?;
    let second = stage.run()?;
    ensure!(first != second, "nothing was played");
    stage.check_landed(&second)?;
    stage.place.nothing_is_left(&second)?;
    println!(
        "{} exchanges of {asked} requests recorded in {:.1} s, played back in {:.1} s: the same result, nobody asked",
        text.lines().count() - 1,
        recorded.as_secs_f64(),
        played.as_secs_f64()
    );
    Ok(())
}
