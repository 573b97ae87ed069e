//! A repository whose settings for agents a person has looked at: what each client loads of it.
//!
//! Every program of the repository leaves a mark in the home of the attempt that executes it.

use std::{collections::BTreeSet, fs, time::Duration};

use anyhow::ensure;

use super::{Installed, stage::Stage};
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
    for (args, loads) in [(&["trust", "--yes"][..], true), (&["trust", "--revoke"], false)] {
        stage.place.said(args)?;
        stage.perform(&["run", "flow.yaml", "--new"], &[], RUN_MAX)?;
        let run = stage.run()?;
        stage.check_landed(&run)?;
        stage.place.nothing_is_left(&run)?;
        for (number, job) in stage.jobs.iter().enumerate() {
            let name = clients[job.client].client.adapter;
            let found = marks(&stage.place, &run, number);
            let expected =
                LOADED.iter().find(|(adapter, _)| *adapter == name).map_or(&[][..], |(_, marks)| marks);
            let expected: BTreeSet<String> =
                expected.iter().filter(|_| loads).map(|mark| (*mark).to_owned()).collect();
            ensure!(found == expected, "{name} has loaded {found:?} and not {expected:?}:\n{}", stage.log());
            if loads {
                println!("{name:12} loads {}", found.into_iter().collect::<Vec<_>>().join(", "));
            }
        }
    }
    println!("nothing of it is loaded any more once the trust is taken back");
    Ok(())
}

fn bring(place: &Place) -> anyhow::Result<()> {
    for (path, text) in BROUGHT {
        place.write(&format!("repo/{path}"), &text.replace('@', "touch $HOME/mark-"))?;
    }
    Ok(())
}

/// Returns the marks in the home of a task.
fn marks(place: &Place, run: &str, task: usize) -> BTreeSet<String> {
    let home = place.repo().join(format!(".git/kapell/attempts/{run}/homes/{task}"));
    let names = fs::read_dir(home).into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter_map(|name| name.strip_prefix("mark-").map(str::to_owned)).collect()
}
