//! Models behind their APIs, with the mock in the place of each provider: from a workflow to what landed.

use std::{fs, time::Duration};

use kapell_mock::{Call, How, Mock, Scenario, Turn};

use crate::rig::{Ended, Rig};

pub(crate) const KEY: &str = "sk-canary-7f3a";

/// A repository whose check fails, and the user's settings.
pub(crate) fn place(mock: &Mock) -> Rig {
    let rig = Rig::repository();
    rig.write("sum.sh", "echo $(($1 - $2))\n");
    rig.write("check.sh", "test \"$(sh sum.sh 2 3)\" = 5\n");
    rig.commit("a sum that is none");
    let config = rig.dir().join("home/config/kapell");
    fs::create_dir_all(&config).unwrap();
    let url = mock.url();
    let settings = format!(
        "[clients.anthropic]\nbase_url = \"{url}\"\n[clients.openai]\nbase_url = \"{url}/v1\"\nkey_env = \"NONE\"\n\
         [clients.gemini-api]\nbase_url = \"{url}\"\nkey_env = \"MY_KEY\"\n"
    );
    fs::write(config.join("kapell.toml"), settings).unwrap();
    rig
}

pub(crate) fn fix() -> Scenario {
    let content = "echo $(($1 + $2))\n".to_owned();
    Scenario::of([
        Turn::Call(vec![Call::Read { path: "sum.sh".to_owned() }]),
        Turn::Call(vec![Call::Write { path: "sum.sh".to_owned(), content }]),
        Turn::Call(vec![Call::Shell { command: "sh check.sh".to_owned() }]),
        Turn::Say("I fixed the sign.".to_owned()),
    ])
}

/// Writes a workflow whose agent is to mend the sum.
pub(crate) fn write_workflow(rig: &Rig, agent: &str, marker: &str) {
    let workflow = format!(
        "mission: Let the sum be one\nagents:\n  coder: {agent}\ntasks:\n  fix:\n    agent: coder\n    \
         prompt: Make check.sh pass. mock:{marker}\n    accept: [sh check.sh]\n"
    );
    fs::write(rig.dir().join("fix.yaml"), workflow).unwrap();
}

fn run(rig: &Rig, agent: &str, marker: &str) -> Ended {
    write_workflow(rig, agent, marker);
    let mut command = rig.command(["run", "../fix.yaml"]);
    command.env("ANTHROPIC_API_KEY", KEY).env("MY_KEY", KEY);
    rig.ended(command)
}

#[test]
fn a_model_behind_each_api_fixes_a_failing_check_and_it_lands() {
    let mock = Mock::start().unwrap();
    for (at, agent) in [
        "{ use: anthropic, model: m }",
        "{ use: openai, model: m, options: { api: responses } }",
        "{ use: openai, model: m }",
        "{ use: gemini-api, model: m }",
    ]
    .into_iter()
    .enumerate()
    {
        let (rig, marker) = (place(&mock), format!("fix-{at}"));
        mock.play(&marker, fix());
        let ended = run(&rig, agent, &marker);
        assert_eq!(ended.code, Some(0), "{agent}: {ended}");
        assert_eq!(mock.count(&marker).requests, 4, "{agent}");
        assert_eq!(rig.run(["merge"]).code, Some(0), "{agent}");
        assert_eq!(rig.read("sum.sh"), "echo $(($1 + $2))\n", "{agent}");
        let said = rig.run(["logs", "--json"]).stdout;
        let spent = mock.count(&marker).usage;
        let tokens = spent.input + spent.output;
        assert!(said.contains(&format!("\"tokens\":{tokens}")), "{agent}: not {tokens}: {said}");
        assert!(!said.contains(KEY) && !ended.stderr.contains(KEY), "{agent}");
    }
}

#[test]
fn a_provider_that_wants_to_be_left_alone_is_parked() {
    let mock = Mock::start().unwrap();
    let rig = place(&mock);
    mock.play("busy", fix().failing(1, 99, How::busy_for(Duration::from_secs(3000))));
    let mut started = {
        let workflow = "mission: m\nagents:\n  coder: { use: anthropic, model: m }\ntasks:\n  fix:\n    \
                        agent: coder\n    prompt: mock:busy\n";
        fs::write(rig.dir().join("busy.yaml"), workflow).unwrap();
        let mut command = rig.command(["run", "../busy.yaml", "--no-input"]);
        command.env("ANTHROPIC_API_KEY", KEY);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap()
    };
    rig.wait_until("the provider is parked", || {
        let said = rig.run(["logs"]).stdout;
        said.contains("gives nothing until") && said.contains("attempt 1 failed")
    });
    assert_eq!(rig.run(["cancel"]).code, Some(0));
    started.wait().unwrap();
    // One that was answered, and one that was not.
    assert_eq!(mock.count("busy").requests, 2);
}

#[test]
fn a_key_that_a_program_gives_reaches_the_provider_and_nobody_else() {
    let mock = Mock::start().unwrap();
    let rig = place(&mock);
    // It counts how often it is asked.
    let keyring = rig.dir().join("keyring.sh");
    let asked = rig.dir().join("asked");
    fs::write(&keyring, format!("echo asked >> {}\necho noise >&2\necho $1-{KEY}\n", asked.display()))
        .unwrap();
    let settings = rig.dir().join("home/config/kapell/kapell.toml");
    let with = |command: &str| {
        let url = mock.url();
        let text = format!("[clients.anthropic]\nbase_url = \"{url}\"\nkey_command = [{command}]\n");
        fs::write(&settings, text).unwrap();
    };
    let agent = "{ use: anthropic, model: m }";
    with(&format!("\"/bin/sh\", {:?}, \"ring\"", keyring.display().to_string()));
    mock.play("ring", fix());
    mock.look_for(&["ring-sk-canary"]);
    // Who only looks asks for no key.
    assert_eq!(rig.run(["agents"]).code, Some(0));
    assert!(!asked.exists());
    let ended = run(&rig, agent, "ring");
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(fs::read_to_string(&asked).unwrap(), "asked\n");
    assert_eq!(mock.found_in_headers(), ["ring-sk-canary"]);
    let said = rig.run(["logs", "--json"]).stdout + &rig.run(["report", "--json"]).stdout;
    assert!(!said.contains(KEY) && !ended.stderr.contains(KEY), "{said}");
    // One that fails is named, with what to do, and what it printed is not told.
    with("\"/bin/sh\", \"-c\", \"echo canary; exit 3\"");
    let ended = run(&rig, agent, "ring");
    assert_eq!(ended.code, Some(1), "{ended}");
    let said = rig.run(["logs", "--json"]).stdout;
    assert!(said.contains("there is no key for `anthropic`: `/bin/sh` failed (exit status: 3)"), "{said}");
    assert!(said.contains("run `key_command` by hand") && !said.contains("canary"), "{said}");
    with("\"no-such-keyring\"");
    let told = rig.run(["agents", "--json"]).stdout;
    assert!(told.contains("its `key_command` starts `no-such-keyring`, which is not there"), "{told}");
}

#[test]
fn an_agent_of_which_nobody_knows_how_it_takes_a_key_needs_none() {
    let mock = Mock::start().unwrap();
    let rig = place(&mock);
    let settings = rig.dir().join("home/config/kapell/kapell.toml");
    fs::write(&settings, "[clients.acp]\nprogram = \"/bin/sh\"\n").unwrap();
    let told: serde_json::Value = serde_json::from_str(&rig.run(["agents", "--json"]).stdout).unwrap();
    let acp = told["agents"].as_array().unwrap().iter().find(|one| one["adapter"] == "acp").unwrap();
    assert_eq!(acp["usable"], true, "{acp}");
    fs::write(&settings, "[clients.acp]\nprogram = \"/bin/sh\"\nkey_env = \"MY_KEY\"\n").unwrap();
    let refused = rig.run(["agents"]);
    assert!(
        refused.stderr.contains("K0912") && refused.stderr.contains("how `acp` takes a key"),
        "{refused}"
    );
}

#[test]
fn a_key_is_hidden_whatever_its_variable_is_called() {
    let rig = Rig::plain();
    let config = rig.dir().join("home/config/kapell");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("kapell.toml"), "[clients.anthropic]\nkey_env = \"OF_MY_MODEL\"\n").unwrap();
    rig.write("words.txt", "canary-of-no-form\n");
    let workflow =
        "mission: m\ntasks:\n  tell:\n    run: cat words.txt; exit 3\n    retry: { attempts: 1 }\n";
    fs::write(rig.dir().join("tell.yaml"), workflow).unwrap();
    let mut command = rig.command(["run", "../tell.yaml"]);
    command.env("OF_MY_MODEL", "canary-of-no-form");
    let ended = rig.ended(command);
    let logs = rig.run(["logs", "--export"]).stdout;
    assert!(ended.code == Some(1) && logs.contains("[redacted]"), "{ended}{logs}");
    assert!(!logs.contains("canary") && !ended.stderr.contains("canary"), "{ended}{logs}");
}
