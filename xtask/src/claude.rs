//! `e2e-claude`: the real Claude Code with kapell's plugin, against a model server that plays scripts.
//!
//! Nothing leaves the machine: the client has an empty environment, a home of its own, and an address on loopback.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, bail, ensure};
use kapell_mock::{Call, Mock, Scenario, Turn};
use serde_json::{Value, json};

use crate::{
    e2e::clients::{QUIET, claude},
    place::Place,
    shell,
};

const WORKFLOW: &str = "mission: Say hello
tasks:
  hello:
    run: echo hello > hello.txt
  ask:
    needs: [hello]
    gate:
      question: Was it loud enough?
      choices: [yes, no]
";

/// A home, a repository, and the program on the path.
struct Stage {
    place: Place,
    client: PathBuf,
    mock: Mock,
}

impl Stage {
    fn new(client: PathBuf, kapell: &Path) -> anyhow::Result<Self> {
        let place = Place::temporary("claude", kapell)?;
        fs::create_dir_all(place.path("bin"))?;
        fs::copy(kapell, place.path("bin/kapell"))?;
        place.write("home/.claude/settings.json", "{\n\t\"model\": \"opus\"\n}\n")?;
        place.write("repo/kapell/first.yaml", WORKFLOW)?;
        place.begin()?;
        Ok(Self { place, client, mock: Mock::start()? })
    }

    /// Prepares a program as a person would start it, with the client's provider on loopback.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> anyhow::Result<Command> {
        let mut command = self.place.command(program)?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let own = std::iter::once(self.place.path("bin")).chain(std::env::split_paths(&path));
        command.env("USER", "test").env("PATH", std::env::join_paths(own)?);
        command.envs(QUIET.iter().map(|name| (name, "1")));
        command.env("ANTHROPIC_BASE_URL", self.mock.url()).env("ANTHROPIC_API_KEY", "dummy");
        Ok(command)
    }

    fn kapell(&self, words: &[&str]) -> anyhow::Result<String> {
        shell::capture(self.command(self.place.path("bin/kapell"))?.args(words))
    }

    fn claude(&self, words: &[&str]) -> anyhow::Result<Output> {
        // A client that hangs would hold the chore up for ever.
        let mut command = self.command("timeout")?;
        command.arg("120").arg(&self.client).args(words);
        command.output().context("failed to start the client")
    }

    /// Gives the client a prompt and returns the lines of its stream.
    fn prompt(&self, prompt: &str, words: &[&str]) -> anyhow::Result<Vec<Value>> {
        let mut all = vec!["-p", prompt, "--output-format", "stream-json", "--verbose"];
        all.extend(words);
        let output = self.claude(&all)?;
        let text = String::from_utf8_lossy(&output.stdout);
        let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        ensure!(!lines.is_empty(), "the client said nothing: {}", String::from_utf8_lossy(&output.stderr));
        Ok(lines)
    }

    fn requests(&self) -> u64 {
        self.mock.counts().values().map(|count| count.requests).sum()
    }
}

/// Every file below a directory with what it holds.
fn files(dir: &Path) -> anyhow::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let with_bytes = |path: PathBuf| Ok((path.clone(), fs::read(path)?));
    shell::files_below(dir)?.into_iter().map(with_bytes).collect()
}

/// Runs everything, and fails at the first thing that is not as it should be.
pub(crate) fn run() -> anyhow::Result<()> {
    let client = match claude().install() {
        Ok(installed) => installed,
        Err(why) => {
            println!("e2e-claude: did not run: {why}");
            return Ok(());
        }
    };
    let stage = Stage::new(client.program, &shell::build_debug()?)?;
    let home = stage.place.home();
    let before = files(&home)?;
    stage.kapell(&["install", "claude", "--yes", "--quiet"])?;
    stage.kapell(&["install", "claude", "--yes", "--quiet"])?;
    validates(&stage)?;
    slash_commands(&stage)?;
    tools(&stage)?;
    stage.kapell(&["uninstall", "claude", "--yes", "--quiet"])?;
    taken_back(&home, &before)?;
    println!("e2e-claude: all of it with Claude Code {}", claude().version);
    stage.place.remove()
}

fn validates(stage: &Stage) -> anyhow::Result<()> {
    let assets = shell::root().join("crates/kapell/assets/claude");
    for path in [stage.place.path("home/.claude/skills/kapell"), assets.join("kapell"), assets] {
        let output = stage.claude(&["plugin", "validate", "--strict", &path.display().to_string()])?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{} does not validate:\n{said}", path.display());
    }
    println!("plugin: validates strictly, as installed and as a marketplace");
    Ok(())
}

/// Each command is carried out by the hook: the text says so, and no request reaches the model.
fn slash_commands(stage: &Stage) -> anyhow::Result<()> {
    let mission = "\"Design it's $(touch planted) `x`\" --complexity=high";
    for (command, arguments, expected) in [
        ("meta-orchestrator", mission, "no workflow file is named `Design it's $(touch planted) `x``"),
        ("meta-orchestrator", "first --timeline=days", "goes on in the background"),
        ("command-orchestration-workflow", "first 0.9 3", "goes on in the background"),
        ("orchestrate", "kapell/first.yaml", "goes on in the background"),
        ("coordinate", "\"first\" 85% 2", "goes on in the background"),
        ("orchestrate-complex", "first --pattern=blackboard", "goes on in the background"),
        ("orchestrate-complex", "first --patern=blackboard", "did you mean `--pattern`?"),
        ("improve-orchestration", "--scope=claude-code --dry-run", "nothing here orchestrates"),
    ] {
        for prefix in ["", "kapell:"] {
            let lines = stage.prompt(&format!("/{prefix}{command} {arguments}"), &[])?;
            let result = lines.iter().rfind(|line| line["type"] == "result").context("there is no result")?;
            let text = result["result"].as_str().unwrap_or_default();
            ensure!(text.contains(expected), "/{prefix}{command} {arguments}: {text}");
        }
    }
    ensure!(stage.requests() == 0, "{} requests reached the model", stage.requests());
    ensure!(!stage.place.path("repo/planted").exists(), "a mission was taken for a command line");
    println!("slash commands: 8 with and without prefix, 0 requests to the model");
    Ok(())
}

/// The client lists the tools, and calls each.
fn tools(stage: &Stage) -> anyhow::Result<()> {
    let name = |tool: &str| format!("mcp__plugin_kapell_kapell__{tool}");
    let call = |tool: &str, input: Value| Turn::Call(vec![Call::Tool { name: name(tool), input }]);
    let calls = [
        ("plan", json!({"file": "kapell/first.yaml"}), "hello"),
        ("run", json!({"mission": "first", "new": true, "wait_seconds": 20}), "Was it loud enough?"),
        ("status", json!({}), "Say hello"),
        ("inbox", json!({}), "Was it loud enough?"),
        ("report", json!({}), "Say hello"),
        ("answer", json!({"run": "0", "gate": 99, "answer": "yes"}), "K05"),
        ("improve", json!({"scope": "github"}), ""),
    ];
    let turns = calls.iter().map(|(tool, input, _)| call(tool, input.clone()));
    stage.mock.play("tools", Scenario::of(turns.chain([Turn::Say("done".to_owned())])));
    let lines = stage.prompt("mock:tools", &["--allowedTools", "mcp__plugin_kapell_kapell"])?;
    let results: Vec<String> = lines
        .iter()
        .filter(|line| line["type"] == "user")
        .flat_map(|line| line["message"]["content"].as_array().cloned().unwrap_or_default())
        .filter(|content| content["type"] == "tool_result")
        .map(|content| content["content"].to_string())
        .collect();
    ensure!(results.len() == calls.len(), "{} of {} tools answered: {lines:?}", results.len(), calls.len());
    for ((tool, _, expected), result) in calls.iter().zip(&results) {
        ensure!(result.contains(expected), "{tool}: {result}");
        println!("tool {tool}: {} bytes", result.len());
    }
    let counts = stage.mock.counts();
    let offered = &counts.get("tools").context("no request was counted")?.tools;
    let missing: Vec<_> =
        calls.iter().map(|(tool, ..)| name(tool)).filter(|tool| !offered.contains(tool)).collect();
    if !missing.is_empty() {
        bail!("not listed: {}; listed: {}", missing.join(", "), offered.join(", "));
    }
    Ok(())
}

/// What was there is as it was, and nothing of ours is left.
fn taken_back(home: &Path, before: &BTreeMap<PathBuf, Vec<u8>>) -> anyhow::Result<()> {
    let after = files(home)?;
    for (path, bytes) in before {
        ensure!(after.get(path) == Some(bytes), "{} is not as it was", path.display());
    }
    // The client keeps notes of its own on what it has run.
    let ours = |path: &&PathBuf| {
        let below = path.strip_prefix(home.join(".claude")).unwrap_or(path);
        ["skills", "commands", "settings.json"].iter().any(|name| below.starts_with(name))
    };
    let left: Vec<_> = after.keys().filter(ours).filter(|path| !before.contains_key(*path)).collect();
    ensure!(left.is_empty(), "left behind: {left:?}");
    println!("uninstall: no byte changed");
    Ok(())
}
