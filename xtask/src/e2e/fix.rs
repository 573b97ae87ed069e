//! Each client fixes a failing test of its own, all in one run, at the same time.

use std::time::Duration;

use anyhow::ensure;

use super::{
    Installed,
    stage::{Stage, by_command, by_tool, fixing_and_noting, task_of},
};

/// How long it may take.
const RUN_MAX: Duration = Duration::from_secs(200);

pub(super) fn run(clients: &[Installed], _args: &[&str]) -> anyhow::Result<()> {
    let stage = Stage::build("fix", clients, 1, |_| Ok(()))?;
    for job in &stage.jobs {
        stage.mocks[job.client].play(&job.name, fixing_and_noting(&job.name));
    }
    // What does not end well is told client by client.
    let took = stage.perform(&["run", "flow.yaml"], &[], RUN_MAX);
    let events = stage.events()?;
    let mut failures = 0;
    for job in &stage.jobs {
        let client = clients[job.client].client;
        let told = |event: &str| events.iter().any(|one| one["event"] == event && task_of(one) == job.task());
        let (tokens, paid) = stage.settled(job, &events);
        let noted = |text: String| {
            let has =
                |event: &serde_json::Value| event["text"].as_str().is_some_and(|said| said.contains(&text));
            events.iter().any(has)
        };
        let (tool, command) = (noted(by_tool(&job.name)), noted(by_command(&job.name)));
        let well = told("verified") && told("landed") && paid && tool && command;
        failures += usize::from(!well);
        println!(
            "{:12} {:10} {}: {} requests, {tokens} tokens as settled: {paid}; notes by tool {tool}, by command {command}",
            client.adapter,
            client.version,
            if well { "landed, verified" } else { "FAILED" },
            stage.count(job).requests
        );
    }
    let took = took?;
    let run = stage.run()?;
    stage.check_landed(&run)?;
    stage.place.nothing_is_left(&run)?;
    println!("{} clients in parallel took {:.1} s, nothing is left", clients.len(), took.as_secs_f64());
    ensure!(failures == 0, "{failures} client(s) did not do what they should");
    Ok(())
}
