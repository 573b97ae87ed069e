//! Agents with a model behind them: recorded and played back, parked by a quota, and many at once.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use kapell_mock::{Mock, Scenario, Turn};
use serde_json::{Value, json};

use crate::rig::{Ended, Rig};

const KEY: &str = "sk-real-and-never-written-down-1";
const TOKEN: &str = "canary-of-a-variable";

/// A client that asks its model once, in the manner of Claude Code, and writes down what it hears.
const CLIENT: &str = r#"#!/usr/bin/env bash
export LC_ALL=C
while IFS= read -r line; do case $line in *'"user"'*) break ;; esac; done
prompt=$(tr '\n\t"\\' '    ' <<< "$line")
place=${ANTHROPIC_BASE_URL#http://}; path=/${place#*/}; place=${place%%/*}
body='{"model":"MODEL","max_tokens":64,"tools":[{"name":"Write"}],"messages":[{"role":"user","content":"'$prompt'"}]}'
exec 3<>"/dev/tcp/${place%:*}/${place#*:}" || exit 1
printf 'POST %s/v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: %s\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s' \
    "${path%/}" "$ANTHROPIC_API_KEY" "${#body}" "$body" >&3
reply=$(tr -d '\r' <&3)
status=${reply:9:3}
echo '{"type":"system","subtype":"init","session_id":"s","model":"mock-1","tools":[]}'
if [ "$status" = 200 ]; then
    text=${reply#*\"text\":\"}
    echo "${text%%\"*}" > "$KAPELL_TASK.txt"
    echo '{"type":"result","subtype":"success","is_error":false,"result":"done"}'
else
    echo '{"type":"result","subtype":"success","is_error":true,"api_error_status":'$status',"result":"API Error: '$status'"}'
    exit 1
fi
"#;

/// Installs the client, which asks for `model` at `mock`, or at its provider's own place.
fn install(rig: &Rig, mock: Option<&Mock>, model: &str) {
    let base = mock.map(|mock| format!("base_url = \"{}\"\n", mock.url())).unwrap_or_default();
    rig.install_claude(&CLIENT.replace("MODEL", model), &format!("{base}key_env = \"THE_KEY\"\n"));
}

/// Writes a workflow with a task for each name, whose model says the name.
fn save(rig: &Rig, file: &str, mock: &Mock, names: &[String], agents: u32) {
    let mut tasks = serde_json::Map::new();
    for name in names {
        let prompt = format!("Say it. mock:{name} {TOKEN}");
        tasks.insert(name.clone(), json!({"agent": "coder", "prompt": prompt}));
        mock.play(name, Scenario::of([Turn::Say(format!("this is {name}"))]));
    }
    let flow = json!({
        "mission": file, "budget": {"agents": agents}, "agents": {"coder": {"use": "claude-code"}}, "tasks": tasks,
    });
    fs::write(rig.dir().join(file), flow.to_string()).unwrap();
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("t{number:02}")).collect()
}

/// Runs the program with a key and a secret, where the test's client can reach what it needs.
fn run(rig: &Rig, args: &[&str]) -> Ended {
    let mut command = rig.command(args.iter().chain(&["--sandbox", "1", "--no-input"]));
    command.env("THE_KEY", KEY).env("SOME_TOKEN", TOKEN);
    rig.ended(command)
}

fn events(rig: &Rig) -> Vec<Value> {
    rig.run(["logs", "--json"]).stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A client that looks at a file and says what it saw, in the manner of Claude Code.
const TALKER: &str = r#"#!/usr/bin/env bash
read -r line; read -r line
echo '{"type":"system","subtype":"init","session_id":"s","model":"mock-1","tools":[]}'
echo '{"type":"assistant","message":{"id":"1","content":[{"type":"tool_use","id":"a","name":"Bash","input":{"command":"make test"}}]}}'
echo '{"type":"assistant","message":{"id":"2","content":[{"type":"text","text":"It is red.\n\nI mended it."}]}}'
echo '{"type":"result","subtype":"success","is_error":false,"result":"done"}'
echo 'a warning' >&2
"#;

#[test]
fn what_an_agent_said_and_did_is_told_in_words() {
    let rig = Rig::repository();
    rig.install_claude(TALKER, "key_env = \"THE_KEY\"\n");
    let text = "mission: Look\ntasks:\n  look:\n    agent: claude-code\n    prompt: Look\n";
    rig.write("look.yaml", text);
    let ended = run(&rig, &["run", "look.yaml"]);
    assert_eq!(ended.code, Some(0), "{ended}");
    let told = rig.run(["logs", "--task", "look", "--output"]).stdout;
    assert_eq!(told, "[Bash] make test\nIt is red.\n\nI mended it.\na warning\n");
    for raw in ["--raw", "--json"] {
        let told = rig.run(["logs", "--task", "look", "--output", raw]).stdout;
        assert_eq!(told.lines().filter(|line| line.starts_with("{\"type\":")).count(), 4, "{told}");
    }
}

#[test]
fn a_session_is_recorded_and_played_back_with_nobody_there() {
    let rig = Rig::repository();
    let mock = Mock::start().unwrap();
    install(&rig, Some(&mock), "mock-1");
    save(&rig, "two.yaml", &mock, &names(2), 2);
    let recorded = run(&rig, &["record", "../two.yaml"]);
    assert_eq!(recorded.code, Some(0), "{recorded}");
    assert!(recorded.stderr.contains("2 exchanges recorded in "), "{recorded}");
    let first = rig.runs()[0].clone();
    let cassette = rig.work().join(format!(".git/kapell/cassettes/{first}.jsonl"));
    let text = fs::read_to_string(&cassette).unwrap();
    assert!(!text.contains(KEY) && !text.contains(TOKEN) && text.contains("[redacted]"), "{text}");
    assert_eq!(fs::metadata(&cassette).unwrap().permissions().mode() & 0o077, 0);
    drop(mock);

    // No key, no provider: the recording is enough.
    install(&rig, None, "mock-1");
    let played = rig.run(["replay", &first, "--agents", "--sandbox", "1", "--no-input"]);
    assert_eq!(played.code, Some(0), "{played}");
    assert!(!played.stderr.contains("of the recording"), "{played}");
    assert_eq!(rig.runs().len(), 2);
    let said = rig.run(["logs"]).stdout;
    assert!(!said.contains(KEY), "{said}");
    assert_eq!(rig.run(["merge", "--quiet"]).code, Some(0));
    assert_eq!(rig.read("t00.txt") + &rig.read("t01.txt"), "this is t00\nthis is t01\n");
}

#[test]
fn what_does_not_match_is_not_played() {
    let rig = Rig::repository();
    let mock = Mock::start().unwrap();
    install(&rig, Some(&mock), "mock-1");
    save(&rig, "one.yaml", &mock, &names(1), 1);
    save(&rig, "two.yaml", &mock, &names(2), 2);
    assert_eq!(run(&rig, &["record", "../one.yaml", "--to", "../tape"]).code, Some(0));
    let first = rig.runs()[0].clone();
    assert_eq!(run(&rig, &["run", "../two.yaml", "--quiet"]).code, Some(0));
    let asked = mock.count("t00").requests;
    let broken = rig.dir().join("broken");
    fs::write(&broken, "{}\n").unwrap();
    for (args, code, exit) in [
        (&["replay", "--agents"][..], "K0950", 2),
        (&["replay", "--agents", "--cassette", "../broken"], "K0951", 2),
        (&["replay", "--agents", "--cassette", "../tape"], "K0952", 4),
        (&["record", "../one.yaml", "--to", "../tape"], "K0916", 4),
        (&["record", "../one.yaml", "--detach"], "K0907", 2),
    ] {
        let ended = run(&rig, args);
        assert_eq!(ended.code, Some(exit), "{ended}");
        assert!(ended.stderr.contains(code), "{ended}");
    }
    // Without a key the client speaks to its provider itself.
    let ended = rig.run(["record", "../one.yaml", "--sandbox", "1"]);
    assert!(ended.code == Some(4) && ended.stderr.contains("K0953"), "{ended}");
    assert_eq!(rig.runs().len(), 2);

    // A client that asks another model than it did then is not answered, and nobody else is asked.
    install(&rig, Some(&mock), "another-model");
    let ended = run(&rig, &["replay", &first, "--agents", "--cassette", "../tape"]);
    assert_eq!(ended.code, Some(1), "{ended}");
    assert!(ended.stderr.contains("1 exchange of the recording was not asked for"), "{ended}");
    assert_eq!(mock.count("t00").requests, asked);
}

#[test]
fn a_provider_that_wants_to_be_left_alone_is_left_alone_until_its_reset() {
    let rig = Rig::repository();
    let mock = Mock::start().unwrap();
    install(&rig, Some(&mock), "mock-1");
    save(&rig, "six.yaml", &mock, &names(6), 2);
    mock.limit(2, Duration::from_secs(2));
    let ended = run(&rig, &["run", "../six.yaml"]);
    assert_eq!(ended.code, Some(0), "{ended}");
    let window = mock.window_ms().unwrap();
    let events = events(&rig);
    let times = |names: &[&str]| -> Vec<u64> {
        let named = events.iter().filter(|event| names.contains(&event["event"].as_str().unwrap()));
        named.map(|event| event["at_ms"].as_u64().unwrap()).collect()
    };
    let before = |times: &[u64]| times.iter().filter(|at| **at < window.start).count();
    let started = times(&["started"]);
    let in_flight = before(&started) - before(&times(&["submitted", "completed", "attempt_failed"]));
    let more = started.iter().filter(|at| window.contains(at)).count();
    assert!(in_flight <= 2 && more <= in_flight, "{in_flight} in flight, {more} started before the reset");
    let landed = times(&["landed"]);
    assert_eq!(landed.len(), 6);
    assert_eq!(landed.iter().filter(|at| **at >= window.end).count(), 4, "{landed:?} {window:?}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    assert!(u128::from(window.end) <= now);
}

/// Returns the most memory that a process has held at once, in MiB.
fn peak_mib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[test]
fn thirty_agents_work_at_once_and_five_that_take_too_much_memory_are_ended() {
    let rig = Rig::repository();
    let work = rig.waiting("crowd", "echo done > \"$KAPELL_TASK.txt\"");
    // It keeps what it took until it is ended, however seldom somebody looks.
    let eat = rig.waiting("crowd", "{ head -c 200000000 /dev/zero; sleep 60; } | tail > /dev/null");
    let tasks = names(30).into_iter().enumerate().map(|(number, name)| {
        let (agent, claims) = (if number % 6 == 0 { "glutton" } else { "worker" }, format!("{name}.txt"));
        let task = json!({"agent": agent, "prompt": "work", "claims": [claims], "retry": {"attempts": 1}});
        (name, task)
    });
    let tasks: serde_json::Map<String, Value> = tasks.collect();
    let agent =
        |run: &str, memory: &str| json!({"use": "command", "run": run, "options": {"memory": memory}});
    let flow = json!({
        "mission": "Many", "budget": {"agents": 30}, "tasks": tasks,
        "agents": {"worker": agent(&work, "200M"), "glutton": agent(&eat, "64M")},
    });
    fs::write(rig.dir().join("crowd.yaml"), flow.to_string()).unwrap();
    let started = rig.start(["run", "../crowd.yaml", "-j", "30", "--no-input"]);
    rig.wait_until("thirty work", || rig.begun("crowd") == 30);
    let peak = peak_mib(started.id());
    rig.go("crowd");
    let ended = started.end(&rig);
    assert_eq!(ended.code, Some(1), "{ended}");
    let events = events(&rig);
    let of = |name: &str| -> Vec<&Value> { events.iter().filter(|event| event["event"] == name).collect() };
    assert_eq!(of("landed").len(), 25, "{ended}");
    let failed = of("attempt_failed");
    assert_eq!(failed.len(), 5, "{ended}");
    for event in failed {
        let number: u32 = event["task"].as_str().unwrap()[1..].parse().unwrap();
        assert!(
            number.is_multiple_of(6) && event["data"]["message"].as_str().unwrap().contains("MiB of memory"),
            "{event}"
        );
    }
    println!("kapell held {peak} MiB while thirty agents worked");
    assert!(peak <= 128, "{peak} MiB");
}
