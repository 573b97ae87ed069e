//! How much of the time of an attempt is kapell's own: preparing, starting, reading along, taking the result.

use std::{fs, time::Duration};

use anyhow::Context;
use kapell_mock::How;
use serde_json::Value;

use super::{
    Installed,
    stage::{Stage, fixing},
};

/// How long the model waits before each piece of what it says: a reply takes one to two seconds then, which is short.
const PAUSE_MS: u64 = 250;
/// How long one attempt may take.
const RUN_MAX: Duration = Duration::from_secs(200);

pub(super) fn run(clients: &[Installed], _args: &[&str]) -> anyhow::Result<()> {
    for client in clients {
        // One at a time: on a busy machine everybody waits for everybody.
        let stage = Stage::build("share", std::slice::from_ref(client), 1, |_| Ok(()))?;
        for job in &stage.jobs {
            let slow = How::Slow { pause_ms: PAUSE_MS };
            stage.mocks[0].play(&job.name, fixing(&job.name).failing(0, u64::MAX, slow));
        }
        stage.perform(&["run", "flow.yaml"], &[], RUN_MAX)?;
        let events = stage.events()?;
        let at = |name: &str| {
            let found = events.iter().find(|event| event["event"] == name);
            found.and_then(|event| event["at_ms"].as_u64()).with_context(|| format!("no event `{name}`"))
        };
        let whole = at("submitted")? - at("started")?;
        let text = stage.of_attempt(&stage.run()?, 0, "exit.json")?;
        // What follows the first line vouches for it.
        let record: Value = serde_json::from_str(text.lines().next().unwrap_or_default())?;
        let own = record["usage"]["wall_ms"].as_u64().context("the record has no time")?;
        let ours = whole.saturating_sub(own);
        let load = fs::read_to_string("/proc/loadavg")?;
        println!(
            "{:12} {whole} ms from dispatch to result, {own} ms of them its own process: {ours} ms are kapell's, {:.1} % (load {})",
            client.client.adapter,
            100.0 * ours as f64 / whole.max(1) as f64,
            load.split(' ').next().unwrap_or_default()
        );
    }
    Ok(())
}
