//! A repository whose settings for agents a person has looked at: what each client loads of it.
//!
//! Every program of the repository leaves a mark in the home of the attempt that executes it.

use std::{fs, time::Duration};

use anyhow::ensure;

use super::{Installed, hostile::held, stage::Stage};
use crate::place::Place;

/// How long it may take.
const RUN_MAX: Duration = Duration::from_secs(200);

/// Files of the repository. `@NAME` stands for a command that leaves the mark NAME.
const BROUGHT: &[(&str, &str)] = &[
    (
        ".claude/settings.json",
        r#"{"hooks": {"SessionStart": [{"hooks": [{"type": "command", "command": "@claude-hook"}]}]},
          "permissions": {"deny": ["WebFetch"]}}"#,
    ),
    (".mcp.json", r#"{"mcpServers": {"shared": {"command": "sh", "args": ["-c", "@mcp-json"]}}}"#),
    (".codex/config.toml", "[mcp_servers.own]\ncommand = \"sh\"\nargs = [\"-c\", \"@codex-mcp\"]\n"),
    (
        ".gemini/settings.json",
        r#"{"mcpServers": {"own": {"command": "sh", "args": ["-c", "@gemini-mcp"]}},
          "hooksConfig": {"enabled": true},
          "hooks": {"SessionStart": [{"hooks": [{"type": "command", "command": "@gemini-hook"}]}]}}"#,
    ),
    (
        "opencode.json",
        r#"{"mcp": {"own": {"type": "local", "command": ["sh", "-c", "@opencode-mcp"], "enabled": true}}}"#,
    ),
    (
        ".opencode/plugin/own.js",
        "import { writeFileSync } from \"node:fs\";\nwriteFileSync(process.env.HOME + \"/mark-opencode-plugin\", \"\");\n\
         export default async () => ({});\n",
    ),
];

/// What each client executes of it.
const LOADED: &[(&str, &[&str])] = &[
    ("claude-code", &["claude-hook", "mcp-json"]),
    ("codex", &["codex-mcp", "mcp-json"]),
    ("gemini", &["gemini-hook", "gemini-mcp", "mcp-json"]),
    ("opencode", &["mcp-json", "opencode-mcp", "opencode-plugin"]),
];

pub(super) fn run(clients: &[Installed], _args: &[&str]) -> anyhow::Result<()> {
    let stage = Stage::build("trusted", clients, 1, bring)?;
    stage.place.said(&["trust", "--yes"])?;
    for (name, found) in perform(&stage)? {
        let loaded = LOADED.iter().find(|(adapter, _)| *adapter == name);
        let expected = loaded.map_or(&[][..], |(_, marks)| marks);
        ensure!(found == expected, "{name} has loaded {found:?} and not {expected:?}:\n{}", stage.log());
        println!("{name:12} loads {}", found.join(", "));
    }
    stage.place.said(&["trust", "--revoke"])?;
    let held = held(clients)?;
    if held.is_empty() {
        return Ok(());
    }
    let smaller;
    let stage = match held.len() == clients.len() {
        true => stage,
        false => {
            smaller = held;
            Stage::build("untrusted", &smaller, 1, bring)?
        }
    };
    for (name, found) in perform(&stage)? {
        ensure!(found.is_empty(), "{name} has loaded {found:?} with no trust:\n{}", stage.log());
    }
    println!("nothing of it is loaded any more once the trust is taken back");
    Ok(())
}

/// Has each client do its work; returns which marks that left.
fn perform(stage: &Stage<'_>) -> anyhow::Result<Vec<(&'static str, Vec<String>)>> {
    stage.perform(&["run", "flow.yaml", "--new"], &[], RUN_MAX)?;
    let run = stage.run()?;
    stage.check_landed(&run)?;
    stage.place.nothing_is_left(&run)?;
    let name = |client: usize| stage.clients[client].client.adapter;
    let jobs = stage.jobs.iter().enumerate();
    Ok(jobs.map(|(number, job)| (name(job.client), marks(&stage.place, &run, number))).collect())
}

fn bring(place: &Place) -> anyhow::Result<()> {
    for (path, text) in BROUGHT {
        place.write(&format!("repo/{path}"), &text.replace('@', "touch $HOME/mark-"))?;
    }
    Ok(())
}

/// Returns the marks in the home of a task, sorted.
fn marks(place: &Place, run: &str, task: usize) -> Vec<String> {
    let home = place.repo().join(format!(".git/kapell/attempts/{run}/homes/{task}"));
    let names = fs::read_dir(home).into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut marks: Vec<String> =
        names.filter_map(|name| name.strip_prefix("mark-").map(str::to_owned)).collect();
    marks.sort();
    marks
}
