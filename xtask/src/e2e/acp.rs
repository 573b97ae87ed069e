//! One driver, four agents: each asks for what it does, is allowed and denied from a second terminal, hears that it is
//! to stop, and says what it has used.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use kapell_mock::{Call, How, Scenario, Turn};
use serde_json::{Value, json};

use super::{
    Installed,
    stage::{Stage, fixing, task_of},
};
use crate::place::Place;

/// How long all of them may take.
const RUN_MAX: Duration = Duration::from_secs(150);
/// How long they have to hear that they are to stop, and to be gone.
const STOP_MAX: Duration = Duration::from_secs(15);

/// What the driver says of an agent that has heard that it is to stop.
const HEARD: &str = "it was asked to stop (it heard)";

pub(super) fn run(clients: &[Installed], _args: &[&str]) -> anyhow::Result<()> {
    ask(clients)?;
    stop(clients)
}

/// Writes a workflow in which a person decides, with a task more for each agent, by the name that it is asked for.
fn add_tasks(place: &Place, clients: &[Installed], kind: &str, prompt: &str) -> anyhow::Result<()> {
    let path = place.path("repo/flow.yaml");
    let flow = std::fs::read_to_string(&path)?;
    let mut flow = flow.replace("model: mock-1 }", "model: mock-1, options: { permissions: ask } }");
    for Installed { client, .. } in clients {
        let name = client.adapter;
        flow += &format!(
            "  {kind}-{name}: {{ agent: {name}, prompt: '{prompt} mock:{kind}-{name}', timeout: 2m, retry: 1 }}\n"
        );
    }
    place.write("repo/flow.yaml", &flow)
}

/// Writes a line into a file. A model of Codex knows that it works read-only, and asks for more with the call.
fn write(adapter: &str, path: &str, line: &str) -> Call {
    if adapter == "acp-codex" {
        let input = json!({ "cmd": format!("echo '{line}' > {path}"), "sandbox_permissions": "require_escalated",
            "justification": "May it be written?" });
        return Call::Tool { name: "exec_command".to_owned(), input };
    }
    Call::Write { path: path.to_owned(), content: format!("{line}\n") }
}

/// Each fixes its file, which is allowed, and writes another one, which is not.
fn ask(clients: &[Installed]) -> anyhow::Result<()> {
    let stage = Stage::build("acp", clients, 1, |place| add_tasks(place, clients, "denied", "Do it."))?;
    for (mock, Installed { client, .. }) in stage.mocks.iter().zip(clients) {
        let name = format!("denied-{}", client.adapter);
        let write = write(client.adapter, &format!("{name}.txt"), "x");
        mock.play(
            &name,
            Scenario::of([Turn::Call(vec![write]), Turn::Say("All done, perfectly.".to_owned())]),
        );
    }
    for job in &stage.jobs {
        let mut scenario = fixing(&job.name);
        let write = write(clients[job.client].client.adapter, &format!("{}.sh", job.name), "expr 2 + 2");
        scenario.turns[0] = Turn::Call(vec![write]);
        stage.mocks[job.client].play(&job.name, scenario);
    }
    let begin = Instant::now();
    let child = stage.start(&["run", "flow.yaml"], &[])?;
    let answer = |task: &str, choices: &[String]| {
        let wanted: &[&str] =
            if task.starts_with("denied-") { &["No", "Reject", "Deny"] } else { &["Yes", "Allow"] };
        let fits = |choice: &&String| wanted.iter().any(|word| choice.starts_with(word));
        choices.iter().find(fits).cloned().unwrap_or_default()
    };
    let answered = stage.answer_all(child, begin + RUN_MAX, answer)?;
    let (run, events) = (stage.run()?, stage.events()?);
    let has = |task: &str, name: &str, words: &str| {
        events
            .iter()
            .any(|one| task_of(one) == task && one["event"] == name && one.to_string().contains(words))
    };
    for (number, job) in stage.jobs.iter().enumerate() {
        let name = clients[job.client].client.adapter;
        ensure!(has(&job.task(), "landed", ""), "{name} has not landed:\n{}", stage.log());
        ensure!(has(&job.task(), "gate_opened", ""), "{name} did not ask:\n{}", stage.log());
        let denied = format!("denied-{name}");
        ensure!(has(&denied, "gate_opened", ""), "{name} did not ask:\n{}", stage.log());
        ensure!(
            has(&denied, "attempt_failed", "permission"),
            "{name} was denied, and that was no failure:\n{}",
            stage.log()
        );
        let (tokens, is_settled) = stage.settled(job, &events);
        ensure!(is_settled, "{name}: {tokens} tokens are not settled:\n{}", stage.log());
        println!(
            "{name:16} {:8} landed, denied, {tokens} tokens as settled; it says itself: {}",
            clients[job.client].client.version,
            said_usage(&stage, &run, number)?
        );
    }
    stage.check_landed(&run)?;
    stage.place.nothing_is_left(&run)?;
    println!("{answered} questions answered from a second terminal: {:.1} s", begin.elapsed().as_secs_f64());
    Ok(())
}

/// Returns what an agent says that it has used: tokens, and money if it speaks of it.
fn said_usage(stage: &Stage<'_>, run: &str, task: usize) -> anyhow::Result<String> {
    let output = stage.of_attempt(run, task, "output.log")?;
    let mut said = output.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let Some(usage) = said.find(|said| said["type"] == "usage") else {
        return Ok("nothing".to_owned());
    };
    let tokens: u64 =
        usage["tokens"].as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum();
    let money = usage["usd_micros"].as_u64();
    Ok(format!(
        "{tokens} tokens{}",
        money.map(|usd| format!(", {usd} millionths of a dollar")).unwrap_or_default()
    ))
}

/// The model falls silent in the midst of its reply, and the run is cancelled.
fn stop(clients: &[Installed]) -> anyhow::Result<()> {
    let stage = Stage::build("acp-stop", clients, 0, |place| add_tasks(place, clients, "hang", "Say it."))?;
    for (mock, Installed { client, .. }) in stage.mocks.iter().zip(clients) {
        let silent = Scenario::of([Turn::Say("so".to_owned())]).failing(0, u64::MAX, How::Stalled);
        mock.play(&format!("hang-{}", client.adapter), silent);
    }
    let mut child = stage.start(&["run", "flow.yaml"], &[])?;
    let until = Instant::now() + RUN_MAX;
    let is_asked = |(mock, one): (&kapell_mock::Mock, &Installed)| {
        mock.count(&format!("hang-{}", one.client.adapter)).requests > 0
    };
    while !stage.mocks.iter().zip(clients).all(is_asked) {
        if Instant::now() >= until || child.try_wait()?.is_some() {
            child.kill()?;
            child.wait()?;
            anyhow::bail!("not all of them have asked their model:\n{}", stage.log());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let begin = Instant::now();
    stage.place.said(&["cancel"])?;
    let status = crate::shell::wait(child, begin + STOP_MAX)?;
    status.with_context(|| format!("they go on after {} s:\n{}", STOP_MAX.as_secs(), stage.log()))?;
    let took = begin.elapsed();
    let run = stage.run()?;
    for (number, Installed { client, .. }) in clients.iter().enumerate() {
        let output = stage.of_attempt(&run, number, "output.log")?;
        ensure!(output.contains(HEARD), "{} was ended without a word:\n{output}", client.adapter);
    }
    stage.place.nothing_is_left(&run)?;
    println!("all of them heard that they are to stop, and were gone in {:.1} s", took.as_secs_f64());
    Ok(())
}
