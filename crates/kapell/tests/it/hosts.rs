//! Other programs that call kapell: their hooks, their status line, their slash commands, their tools.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::rig::Rig;

const FIRST: &str = "mission: Say hello\ntasks:\n  hello:\n    run: echo hello > hello.txt\n";
const ASKING: &str =
    "mission: Ask\ntasks:\n  ask:\n    gate:\n      question: Go on?\n      choices: [now, never]\n";

fn rig() -> Rig {
    let rig = Rig::repository();
    rig.write("kapell/first.yaml", FIRST);
    rig.write("kapell/asking.yaml", ASKING);
    rig.write(".claude/commands/deploy.md", "Deploy it.\n");
    rig.write(".claude/agents/reviewer.md", "---\nname: reviewer\ndescription: Reads changes\n---\nRead.\n");
    rig.commit("files");
    rig
}

fn over(rig: &Rig, run: &str) {
    rig.wait_until("the run is over", || {
        let listed = rig.run(["status", run, "--json"]).stdout;
        serde_json::from_str::<Value>(&listed).is_ok_and(|run| run["phase"] == "succeeded")
    });
}

/// Gives a program a text, and returns what it prints.
fn fed(mut command: Command, text: &str) -> String {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn hooked(rig: &Rig, command: &str, arguments: &str) -> Option<String> {
    let told = json!({
        "hook_event_name": "UserPromptExpansion", "command_name": command, "command_args": arguments,
        "cwd": rig.work(), "session_id": "s", "permission_mode": "default",
    });
    let said = fed(rig.command(["hook", "claude"]), &told.to_string());
    let answer: Value = serde_json::from_str(&said).ok()?;
    assert_eq!(answer["decision"], "block");
    Some(answer["reason"].as_str().unwrap().to_owned())
}

#[test]
fn a_slash_command_starts_the_workflow_that_it_names() {
    let rig = rig();
    let ended = rig.run(["slash", "/orchestrate", "--", "\"kapell/first.yaml\" 0.9 3"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("--confidence is not used"), "{}", ended.stderr);
    over(&rig, ended.stdout.trim());
}

#[test]
fn what_a_slash_command_cannot_do_is_said() {
    let rig = rig();
    for (name, raw, code, expected) in [
        ("meta-orchestrator", "Design it's $(touch planted)", 3, "error[K0922]: a mission in words"),
        ("meta-orchestrator", "deploy", 2, "error[K0918]: .claude/commands/deploy.md has no numbered phases"),
        ("meta-orchestrator", "x --complexity=huge", 2, "error[K0921]: `huge` is no value"),
        ("conduct", "x", 2, "error[K0921]: there is no command `conduct`"),
    ] {
        let ended = rig.run(["slash", name, "--", raw]);
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    }
    assert!(!rig.work().join("planted").exists());
    // A task of a run starts no runs of its own.
    let mut command = rig.command(["slash", "orchestrate", "--", "first"]);
    command.env("KAPELL_ATTEMPT_ID", "x");
    assert_eq!(rig.ended(command).code, Some(4));
}

#[test]
fn a_hook_answers_for_commands_of_ours_alone() {
    let rig = rig();
    for (command, arguments, expected) in [
        ("kapell:meta-orchestrator", "\"Design it's `x`\"", "no workflow file is named `Design it's `x``"),
        ("orchestrate", "first", "goes on in the background"),
        ("coordinate", "x --bud=1", "did you mean `--budget`?"),
    ] {
        let reason = hooked(&rig, command, arguments).unwrap();
        assert!(reason.starts_with("kapell: ") && reason.contains(expected), "{reason}");
    }
    rig.wait_until("the run is there", || !rig.runs().is_empty());
    over(&rig, &rig.runs()[0]);
    assert_eq!(hooked(&rig, "deploy", "now"), None);
    for noise in ["", "{", "[]", "{\"hook_event_name\": 3}", "{\"hook_event_name\": \"Stop\"}"] {
        assert_eq!(fed(rig.command(["hook", "claude"]), noise), "", "{noise}");
    }
}

#[test]
fn a_status_line_tells_of_what_is_not_over() {
    let rig = rig();
    let line = || fed(rig.command(["statusline"]), &json!({"cwd": rig.work()}).to_string());
    assert_eq!(line(), "");
    assert_eq!(rig.run(["run", "kapell/asking.yaml", "--no-input"]).code, Some(3));
    assert!(line().ends_with(": 0 of 1 task done, 1 question for you\n"), "{}", line());
    assert_eq!(rig.run(["answer", "0", "now"]).code, Some(0));
    rig.run(["resume", "--quiet"]);
    assert_eq!(line(), "");
}

#[test]
fn agents_are_listed_with_roles_and_records() {
    let rig = rig();
    assert_eq!(rig.run(["run", "kapell/first.yaml", "--quiet"]).code, Some(0));
    let listed: Value = serde_json::from_str(&rig.run(["agents", "--json"]).stdout).unwrap();
    let agent = |name: &str| {
        listed["agents"].as_array().unwrap().iter().find(|agent| agent["name"] == name).unwrap().clone()
    };
    let role = agent("reviewer");
    assert_eq!(
        (role["source"].clone(), role["file"].clone()),
        ("role".into(), ".claude/agents/reviewer.md".into())
    );
    let command = agent("command");
    assert_eq!(command["record"]["succeeded"], 1, "{command}");
    assert_eq!(command["record"]["failed"], 0, "{command}");
    let shown = rig.run(["agents"]).stdout;
    let too_wide: Vec<&str> = shown.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(too_wide.is_empty() && shown.contains("reviewer"), "{too_wide:?}\n{shown}");
}

#[test]
fn installing_asks_and_uninstalling_wants_something_installed() {
    let rig = rig();
    let ended = rig.run(["install", "claude", "--scope", "project"]);
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(ended.stdout.contains("statusLine") && ended.stderr.contains("K0927"), "{}", ended.stderr);
    let ended = rig.run(["uninstall", "claude", "--scope", "project", "--yes"]);
    assert!(ended.stderr.contains("K0926"), "{}", ended.stderr);
    assert_eq!(rig.git(&["status", "--porcelain"]), "");
    assert_eq!(rig.run(["install", "claude", "--scope", "project", "--yes"]).code, Some(0));
    assert!(rig.read(".claude/settings.json").contains("statusline"));
    // Ours do not take the place of theirs.
    assert_eq!(rig.read(".claude/commands/deploy.md"), "Deploy it.\n");
    assert_eq!(rig.run(["uninstall", "claude", "--scope", "project", "--yes"]).code, Some(0));
    assert_eq!(rig.git(&["status", "--porcelain"]), "");
}

/// Calls tools of `kapell mcp`, one after the other, and returns the text of each answer.
fn called(rig: &Rig, calls: &[(&str, Value)]) -> Vec<(bool, String)> {
    let mut command = rig.command(["mcp"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut say = |line: Value| writeln!(input, "{line}").unwrap();
    let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    say(json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}));
    say(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    lines.next().unwrap().unwrap();
    let mut answers = Vec::new();
    for (index, (tool, arguments)) in calls.iter().enumerate() {
        let params = json!({"name": tool, "arguments": arguments});
        say(json!({"jsonrpc": "2.0", "id": index + 1, "method": "tools/call", "params": params}));
        let answer: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let text = answer["result"]["content"][0]["text"].as_str().unwrap().to_owned();
        answers.push((answer["result"]["isError"] == true, text));
    }
    drop(input);
    assert!(child.wait().unwrap().success());
    answers
}

#[test]
fn tools_do_what_the_commands_do() {
    let rig = rig();
    let answers = called(
        &rig,
        &[
            ("plan", json!({"file": "kapell/first.yaml"})),
            ("run", json!({"mission": "asking", "wait_seconds": 20})),
            ("inbox", json!({})),
            ("answer", json!({"run": "0", "gate": 0, "answer": "now"})),
            ("run", json!({"mission": "Conquer the world"})),
            ("status", json!({"run": "nowhere"})),
            ("report", json!({})),
        ],
    );
    let expect = |index: usize, is_error: bool, part: &str| {
        let (error, text) = &answers[index];
        assert!(*error == is_error && text.contains(part), "{index}: {text}");
    };
    expect(0, false, "hello");
    expect(1, false, "Go on?");
    expect(2, false, "Go on?");
    expect(3, false, "answered");
    expect(4, true, "a mission in words needs a plan");
    expect(5, true, "there is no run");
    expect(6, false, "Ask");
}

#[test]
fn the_server_is_installed_for_other_clients_and_doctor_looks_after_it() {
    let rig = rig();
    for (host, settings) in
        [("codex", ".codex/config.toml"), ("gemini", ".gemini/settings.json"), ("opencode", "opencode.json")]
    {
        let shown = rig.run(["install", host, "--scope", "project", "--dry-run"]);
        assert_eq!(shown.code, Some(0), "{}", shown.stderr);
        assert!(shown.stdout.contains(settings) && shown.stdout.contains("mcp"), "{}", shown.stdout);
        assert_eq!(rig.git(&["status", "--porcelain"]), "");
        assert_eq!(rig.run(["install", host, "--scope", "project", "--yes"]).code, Some(0));
        assert!(rig.read(settings).contains("kapell"));
        let told = rig.run(["doctor"]).stdout;
        assert!(told.contains("(here)"), "{told}");
        rig.write(settings, "");
        let told: Value = serde_json::from_str(&rig.run(["doctor", "--json"]).stdout).unwrap();
        let is_it = |check: &&Value| check["name"] == "installed";
        let check = told["checks"].as_array().unwrap().iter().find(is_it).unwrap();
        assert_eq!(check["level"], "weak", "{check}");
        assert_eq!(check["hint"], format!("kapell install {host} --scope project"));
        // What is not ours any more is named, and all else is gone.
        let ended = rig.run(["uninstall", host, "--scope", "project", "--yes"]);
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        std::fs::remove_file(rig.work().join(settings)).unwrap();
        assert_eq!(rig.git(&["status", "--porcelain"]), "", "{host}");
    }
}
