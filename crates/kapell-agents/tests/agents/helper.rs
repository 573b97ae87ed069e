//! Stands in for kapell's own binary where the tests need one to re-execute, or to kill.

mod fake_acp; // an agent behind a protocol
mod fake_mcp;
mod fake_opencode; // the same, as it was recorded, with what it says beside that // a server of tools

use std::{
    ffi::OsString,
    io::{BufRead, Write},
    process::ExitCode,
    sync::{Arc, mpsc::channel},
};

use kapell_agents::{
    contain,
    drivers::{self, Config, Crew, Job, Report, Supervision, Work, own, scripted},
    protocol::AttemptKey,
    supervise,
};
use kapell_core::id::{AttemptNo, TaskId};
use serde_json::{Value, json};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let words: Vec<_> = arguments.iter().filter_map(|argument| argument.to_str()).collect();
    if let Some(main) = words.first().and_then(|name| drivers::own_agent(name)) {
        let env = |name: &str| std::env::var_os(name);
        let (input, out) = (Box::new(std::io::stdin()), &mut std::io::stdout());
        let place =
            std::env::current_dir().and_then(|dir| Ok(own::Place { dir, program: std::env::current_exe()? }));
        return main(&arguments[1..], own::Surroundings { env: &env, place, input, out });
    }
    match words.as_slice() {
        [supervise::ARGUMENT, ..] => supervise::main(&arguments[1..]),
        [contain::ARGUMENT, ..] => contain::main(&arguments[1..]).unwrap_or_else(|why| {
            let _ = writeln!(std::io::stderr(), "{why}");
            ExitCode::from(126)
        }),
        [scripted::ARGUMENT, ..] => {
            let env = |name: &str| std::env::var_os(name);
            let out = &mut std::io::stdout();
            scripted::main(&arguments[1..], scripted::Surroundings { env: &env, out })
        }
        ["acp-agent", how @ ..] => {
            let worked = fake_acp::work(std::io::stdin().lock(), std::io::stdout(), how == ["queues"]);
            worked.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
        }
        ["opencode", stream, args @ ..] => {
            let played = fake_opencode::play(stream, args, std::io::stdin().lock(), std::io::stdout());
            played.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
        }
        ["mcp-server"] => {
            let served = serve_tools(std::io::stdin().lock(), std::io::stdout());
            served.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
        }
        ["task", ..] => {
            match kapell_agents::protocol::client::run(&arguments[1..], |name| std::env::var_os(name)) {
                Ok(answer) => {
                    let _ = writeln!(std::io::stdout(), "{}", answer.unwrap_or_default());
                    ExitCode::SUCCESS
                }
                Err(error) => {
                    let _ = writeln!(std::io::stdout(), "refused: {error}");
                    ExitCode::FAILURE
                }
            }
        }
        ["crew", run, dir, kind, script] => {
            crew(run, dir, kind, script).map_or(ExitCode::from(70), |()| ExitCode::SUCCESS)
        }
        _ => ExitCode::from(2),
    }
}

/// Runs one attempt to its end, and says `started` and `finished`.
fn crew(run: &str, dir: &str, kind: &str, script: &str) -> Option<()> {
    let (sender, reports) = channel();
    let config = Config { program: "/proc/self/exe".into(), idle_max: 1, socket: None };
    let crew = Crew::open(config, Arc::new(move |_, report| drop(sender.send(report)))).ok()?;
    let key =
        AttemptKey { run: run.parse().ok()?, task: TaskId(1), attempt: AttemptNo(1), compensates: false };
    let mut job = Job::new(Work::Shell(script.to_owned()), "test", format!("{dir}/attempt"), dir);
    job.env = vec![("PATH".into(), "/usr/bin:/bin".into())];
    if kind == "group" {
        job.supervision = Supervision::Group;
    }
    crew.start(key, job).ok()?;
    let mut out = std::io::stdout();
    for report in reports {
        match report {
            Report::Started { .. } => out.write_all(b"started\n").ok()?,
            Report::Finished(exit) => {
                writeln!(out, "finished {:?} {}", exit.ending, exit.message).ok()?;
                return Some(());
            }
            _ => {}
        }
    }
    None
}

/// Serves tools on standard input and output until that ends.
fn serve_tools(input: impl BufRead, mut out: impl Write) -> Option<()> {
    for line in input.lines() {
        let request: Value = serde_json::from_str(&line.ok()?).ok()?;
        if request["params"]["name"] == "add"
            && let Some(token) = request["params"]["_meta"].get("progressToken")
        {
            let params = json!({ "progressToken": token, "progress": 1, "total": 4, "message": "a quarter" });
            writeln!(
                out,
                "{}",
                json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params })
            )
            .ok()?;
        }
        if let Some(answer) = fake_mcp::answer(&request) {
            writeln!(out, "{answer}").ok()?;
        }
        out.flush().ok()?;
    }
    Some(())
}
