//! What is refused: code, sentence, place, reason, hint, and the exit code that scripts see.

use std::{ffi::OsString, os::unix::ffi::OsStringExt, process::Stdio};

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::rig::{Plan, Rig};

fn small(rig: &Rig) {
    Plan::new("Small").task("one", "echo 1 > one.txt", &[]).save(rig, "small.yaml");
}

#[test]
fn where_nothing_was_run() {
    let rig = Rig::repository();
    assert_snapshot!(rig.run(["status"]), @"
    exit 2
    ! error[K0505]: nothing has been run here yet
    !   hint: kapell run FILE, or kapell demo to see one
    ");
    assert_snapshot!(rig.run(["resume"]), @"
    exit 2
    ! error[K0505]: nothing has been run here yet
    !   hint: kapell run FILE, or kapell demo to see one
    ");
    assert_snapshot!(rig.run(["undo"]), @"
    exit 2
    ! error[K0505]: nothing has been run here yet
    !   hint: kapell run FILE, or kapell demo to see one
    ");
    assert_snapshot!(rig.run(["run", "nowhere.yaml"]), @"
    exit 2
    ! error[K0900]: nowhere.yaml does not exist
    !   hint: ls .
    ");
    assert_snapshot!(rig.run(["-C", "nowhere", "status"]), @"
    exit 2
    ! error[K0900]: nowhere does not exist
    !   hint: ls .
    ");
    assert_eq!(rig.git(&["status", "--short"]), "");
    assert!(!rig.work().join(".git/kapell").exists());
}

#[test]
fn what_is_not_there() {
    let rig = Rig::repository();
    small(&rig);
    assert_eq!(rig.run(["run", "../small.yaml", "--quiet"]).code, Some(0));
    assert_eq!(rig.run(["run", "../small.yaml", "--quiet"]).code, Some(0));
    let run = rig.runs().remove(0);
    assert_snapshot!(rig.run(["status", "zz"]), @"
    exit 2
    ! error[K0501]: there is no run `zz`
    !   hint: kapell status
    ");
    assert_snapshot!(rig.run(["status", "0"]), @"
    exit 2
    ! error[K0506]: `0` could be 2 runs
    !   because: [RUN], [RUN]
    !   hint: give more of the id
    ");
    assert_snapshot!(rig.run(["replay", "--at", "999"]), @"
    exit 2
    ! error[K0510]: run [RUN] has no decision 999
    !   because: its decisions are numbered from 1 to 4
    !   hint: kapell logs [RUN]
    ");
    assert_snapshot!(rig.run(["replay", "--at", "0"]), @"
    exit 2
    ! error[K0510]: run [RUN] has no decision 0
    !   because: its decisions are numbered from 1 to 4
    !   hint: kapell logs [RUN]
    ");
    assert_snapshot!(rig.run(["diff", "--task", "onn"]), @"
    exit 2
    ! error[K0508]: there is no task `onn`
    !   where: run [RUN]
    !   hint: did you mean `one`?
    ");
    assert_snapshot!(rig.run(["logs", "--task", "on\u{1b}[1m", "--output"]), @"
    exit 2
    ! error[K0508]: there is no task `on␛[1m`
    !   where: run [RUN]
    !   hint: kapell status [RUN]
    ");
    assert_snapshot!(rig.run(["fork", &run, "--set", "version=2"]), @"
    exit 2
    ! error[K0511]: the run has no input `version`
    !   where: run [RUN]
    !   hint: kapell run FILE --set NAME=VALUE starts from the file
    ");
    assert_snapshot!(rig.run(["fork", &run, "--set", "version"]), @"
    exit 2
    ! error[K0903]: `--set version` is not NAME=VALUE
    !   hint: for example: --set version=1.2
    ");
    assert_snapshot!(rig.run(["fork", &run, "--budget", "5apples"]), @"
    exit 2
    ! error[K0913]: `5apples` is no amount of money, tokens or time
    !   hint: --budget 5usd,2M,2h
    ");
    assert_snapshot!(rig.run(["verify", "--against", "12"]), @"
    exit 2
    ! error[K0906]: `12` is not the head of a journal
    !   because: a head is the number of a decision, a colon, and its hash of 64 hexadecimal digits
    !   hint: kapell report RUN prints it in its last line
    ");
    assert_snapshot!(rig.run(["explain", "K9999"]), @"
    exit 2
    ! error[K0915]: there is no error `K9999`
    !   hint: kapell explain
    ");
    assert_snapshot!(rig.run(["schema", "reprot"]), @"
    exit 2
    ! error[K0914]: there is no schema `reprot`
    !   hint: kapell schema report
    ");
}

#[test]
fn command_lines_that_are_none() {
    let rig = Rig::plain();
    assert_snapshot!(rig.run(["stauts"]), @"
    exit 2
    ! error[K0907]: unrecognized subcommand 'stauts'
    !   because: some similar subcommands exist: 'pause', 'slash', 'trust', 'statusline', 'status'
    !   hint: kapell --help
    ");
    assert_snapshot!(rig.run(["run"]), @"
    exit 2
    ! error[K0907]: the following required arguments were not provided: <FILE>
    !   hint: kapell run --help
    ");
    assert_snapshot!(rig.run(["plan", "x.yaml", "--seed", "-1", "--json"]), @r#"
    exit 2
    ! {"error":{"code":"K0907","message":"unexpected argument '-1' found","because":[],"hint":"kapell plan --help","exit":2}}
    "#);
    rig.write("x.yaml", "mission: none");
    for (line, said) in [
        ("run x.yml", "hint: kapell run x.yaml\n"),
        ("plan x.yml", "hint: kapell plan x.yaml\n"),
        ("plan x.yaml --format svg", "hint: kapell plan --help\n"),
        ("logs --task", "hint: kapell logs --help\n"),
        ("run x.yaml --jobs 0", "invalid value '0' for '--jobs <N>': 0 is not in 1.."),
        ("plan x.yaml --agents -1", "invalid value '-1' for '--agents <N>'"),
        ("answer", "hint: kapell run FILE"),
        ("status --task a", "unexpected argument '--task' found\n  hint: kapell status --help\n"),
    ] {
        let ended = rig.run(line.split(' '));
        assert!(ended.code == Some(2) && ended.stderr.contains(said), "{line}: {ended}");
    }
    let nothing = rig.run::<&str>([]);
    assert!(
        nothing.code == Some(2) && nothing.stderr.starts_with("Runs teams of coding agents"),
        "{nothing}"
    );
    let help = |command: &str| rig.run([command, "-h"]).stdout;
    assert!(
        help("inbox").contains("all runs if not given") && help("answer").contains("[RUN] <GATE> <ANSWER>\n")
    );
    assert!(help("run").contains("--detach") && !help("record").contains("--detach"));
    let ended = rig.run(["improve", "--output", "recomendations"]);
    assert!(ended.code == Some(2) && ended.stderr.contains("hint: kapell improve --help"), "{ended}");
    let odd = OsString::from_vec(b"\xff\xfe".to_vec());
    for args in [
        vec!["status".into(), odd.clone()],
        vec![odd.clone()],
        vec!["run".into(), odd.clone()],
        vec!["run".into(), odd.clone(), "--detach".into()],
        vec!["-C".into(), odd.clone(), "status".into()],
        vec!["task".into(), "note".into(), odd.clone()],
        vec!["explain".into(), odd],
    ] {
        let ended = rig.run(&args);
        assert!(matches!(ended.code, Some(2 | 6)), "{args:?}: {ended}");
        assert!(!ended.stderr.contains("panicked") && !ended.stderr.is_empty(), "{args:?}: {ended}");
    }
}

#[test]
fn settings_that_are_wrong() {
    let rig = Rig::plain();
    for (text, expected) in
        [("jobs = four\n", "K0910"), ("\n[store]\n", "K0912"), ("bugdet = \"5usd\"\n", "K0911")]
    {
        rig.write("kapell.toml", text);
        let ended = rig.run(["doctor", "--json"]);
        assert!(ended.stdout.contains("kapell.toml") || ended.stdout.contains(expected), "{ended}");
        assert_eq!(ended.code, Some(6));
        assert!(ended.stdout.contains("\"settings\"") && !ended.stdout.contains("\"repository\""), "{ended}");
        let error: Value = serde_json::from_str(&rig.run(["status", "--json"]).stderr).unwrap();
        assert_eq!(error["error"]["code"], expected);
        assert!(error["error"]["place"].as_str().unwrap().contains("kapell.toml:"), "{error}");
    }
    assert_snapshot!(rig.run(["status"]), @r#"
    exit 2
    ! error[K0911]: there is no setting `bugdet`
    !  --> [DIR]/place/kapell.toml:1:1
    !   |
    ! 1 | bugdet = "5usd"
    !   | ^^^^^^
    !   |
    !   = help: did you mean `budget`?
    "#);
    rig.write("kapell.toml", "store = \"../elsewhere\"\n");
    assert_snapshot!(rig.run(["status"]), @r#"
    exit 2
    ! error[K0912]: `store` leads out of the directory of this file
    !  --> [DIR]/place/kapell.toml:1:9
    !   |
    ! 1 | store = "../elsewhere"
    !   |  ^^^^^^^^^^^^^^ only your own settings and KAPELL_STORE can name any directory
    !   |
    !   = help: export KAPELL_STORE=DIR
    "#);
}

#[test]
fn the_store_is_where_it_is_said_to_be() {
    let rig = Rig::plain();
    rig.write("kapell.toml", "store = \"deep/store\"\n");
    Plan::new("Small").with("one", "true", &[], json!({})).save(&rig, "small.yaml");
    assert_eq!(rig.run(["run", "../small.yaml", "--quiet"]).code, Some(0));
    assert!(rig.work().join("deep/store/journal.sqlite").exists());
    let mut command = rig.command(["run", "../small.yaml", "--quiet"]);
    assert_eq!(
        rig.ended({
            command.env("KAPELL_STORE", "other");
            command
        })
        .code,
        Some(0)
    );
    assert!(rig.work().join("other/journal.sqlite").exists());
}

#[test]
fn a_store_that_cannot_be_says_what_to_set() {
    let rig = Rig::repository();
    small(&rig);
    let mut command = rig.command(["run", "../small.yaml"]);
    command.env("KAPELL_STORE", "readme.txt");
    let ended = rig.ended(command);
    assert!(ended.code == Some(5) && ended.stderr.contains("hint: KAPELL_STORE=DIR"), "{ended}");
}

#[test]
fn without_a_home() {
    let rig = Rig::plain();
    small(&rig);
    let bare = |args: &[&str]| {
        let mut command = rig.command(args);
        for name in ["HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"] {
            command.env_remove(name);
        }
        rig.ended(command)
    };
    assert_snapshot!(bare(&["run", "../small.yaml"]), @"
    exit 6
    ! no git repository here: tasks work in this directory itself, and nothing takes back what they change
    ! error[K0901]: there is no place for workspaces
    !   hint: set HOME or XDG_CACHE_HOME
    ");
    assert!(bare(&["doctor"]).stdout.contains("HOME is not set"));
}

#[test]
fn a_damaged_journal() {
    let rig = Rig::plain();
    small(&rig);
    assert_eq!(rig.run(["run", "../small.yaml", "--quiet"]).code, Some(0));
    let path = rig.work().join(".kapell/journal.sqlite");
    let mut bytes = std::fs::read(&path).unwrap();
    // The text of a decision is changed, as by a bad disk.
    let at = bytes.windows(5).rposition(|window| window == b"Small").unwrap();
    bytes[at] = b's';
    std::fs::write(&path, bytes).unwrap();
    let ended = rig.run(["verify"]);
    assert_eq!(ended.code, Some(5), "{ended}");
    assert!(ended.stderr.contains("K0603"), "{ended}");
    let error: Value = serde_json::from_str(&rig.run(["verify", "--json"]).stderr).unwrap();
    assert_eq!(error["error"]["exit"], 5);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let rig = Rig::plain();
    let mut child =
        rig.command(["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = rig.output(child.wait_with_output().unwrap());
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = rig.command(["explain"]);
    let ended = rig.output(command.stdout(full).stderr(Stdio::piped()).output().unwrap());
    assert_eq!(ended.code, Some(6));
    assert!(ended.stderr.contains("K0908"), "{ended}");
}

#[test]
fn every_command_explains_itself() {
    let rig = Rig::plain();
    let help = rig.run(["--help"]).stdout;
    let commands: Vec<&str> = help
        .lines()
        .filter_map(|line| line.strip_prefix("  ").filter(|line| line.starts_with(char::is_alphabetic)))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    assert!(commands.len() >= 25, "{help}");
    for command in commands {
        let ended = rig.run([command, "--help"]);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{command}");
        assert!(ended.stdout.contains("Usage: kapell "), "{command}: {ended}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = rig.run(["completions", shell]).stdout;
        assert!(script.contains("verify") && script.contains("kapell"), "{shell}");
    }
    assert_eq!(rig.run(["explain", "606"]).stdout, rig.run(["explain", "K0606"]).stdout);
    assert_snapshot!(rig.run(["explain", "k0606"]), @"
    exit 0
    K0606  Run executed by another process

    Only one process at a time executes a run. `kapell watch` shows what it does,
    and `kapell pause`, `cancel` and `answer` reach it.
    ");
    assert_snapshot!(rig.run(["schema"]), @"
    exit 0
    agents
    audit
    deed
    doctor
    error
    error-codes
    exit-codes
    fork
    gc
    inbox
    init
    inventory
    log
    plan
    report
    rule
    rules
    runs
    status
    summary
    trust
    verify
    workflow
    ! next: kapell schema NAME
    ");
}

#[test]
fn files_of_another_kind() {
    let rig = Rig::repository();
    rig.write(".github/workflows/ci.yml", "name: ci\non: push\njobs:\n  a:\n    runs-on: x\n    steps: []\n");
    let ended = rig.run(["plan", ".github/workflows/ci.yml"]);
    assert_eq!((ended.code, ended.stderr.matches("error[").count()), (Some(2), 2), "{ended}");
    assert!(
        ended.stderr.contains("this is a GitHub workflow") && ended.stderr.contains("kapell improve"),
        "{ended}"
    );
    assert_eq!(rig.run(["explain", "K0230"]).code, Some(0));
    assert!(rig.run(["run", "nope.yaml"]).stderr.contains("hint: ls ."));
    rig.write("docker.yml", "services: {}\n");
    rig.write("yes.yml", "mission: x\ntasks:\n  a: { run: 'true' }\n");
    assert!(rig.run(["run", "nope.yaml"]).stderr.contains("hint: kapell run yes.yml"));
}

#[test]
fn a_model_without_a_key_is_refused_before_anything_starts() {
    let rig = Rig::repository();
    rig.write("fix.yaml", "mission: x\nagents: { m: { use: openai, model: gpt-5 } }\ntasks:\n  fix: { agent: m, prompt: Fix it }\n");
    assert_snapshot!(rig.run(["run", "fix.yaml"]), @"
    exit 3
    ! error[K0920]: nobody here can perform task `fix`: agent `m` cannot be used
    !   because: it has no key in OPENAI_API_KEY, and no `base_url` of a server without one
    !   hint: kapell doctor
    ");
    assert!(rig.runs().is_empty());
}

#[test]
fn hints_work_when_they_are_typed() {
    let rig = Rig::repository();
    small(&rig);
    assert_eq!(rig.run(["run", "../small.yaml", "--quiet"]).code, Some(0));
    let run = rig.runs().remove(0);
    let wrong: &[&[&str]] = &[
        &["status", "zz"],
        &["replay", "--at", "99"],
        &["resume"],
        &["fork", &run, "--set", "a=b"],
        &["schema", "nope"],
        &["schema", "reprot"],
        &["explain", "nope"],
        &["undo"],
        &["answer", "x", "yes"],
        &["verify", "--against", "x"],
        &["run", "../small.yaml", "--set", "a"],
    ];
    for args in wrong {
        let ended = rig.run(args.iter().copied().chain(["--json"]));
        let error: Value =
            serde_json::from_str(&ended.stderr).unwrap_or_else(|_| panic!("{args:?}: {ended}"));
        let hint = error["error"]["hint"].as_str().unwrap_or_else(|| panic!("{args:?} has no hint"));
        assert_eq!(rig.run(["explain", error["error"]["code"].as_str().unwrap()]).code, Some(0));
        // What stands behind the command in a hint is for people.
        let Some(command) = hint.strip_prefix("kapell ") else { continue };
        let words: Vec<&str> =
            command.split_whitespace().take_while(|word| *word != "shows" && *word != "prints").collect();
        let typed =
            rig.run(words.iter().map(|word| word.trim_end_matches([',', ';'])).take(2).chain(["--help"]));
        assert_eq!(typed.code, Some(0), "{args:?}: {hint}");
    }
}

#[test]
fn an_agent_that_nothing_speaks_to_is_found_before_anything_starts() {
    let rig = Rig::plain();
    rig.write(
        "strange.yaml",
        "mission: Try\nagents:\n  coder: { use: claud-code }\n  other: { use: telepathy }\n\
         tasks:\n  one: { agent: coder, prompt: Do it }\n  two: { agent: other, prompt: Do it }\n",
    );
    let told = rig.run(["plan", "strange.yaml"]);
    assert_eq!(told.code, Some(2), "{told}");
    for text in
        ["strange.yaml:3:17", "did you mean `claude-code`?", "uses `telepathy`", "scripted, mcp, claude-code"]
    {
        assert!(told.stderr.contains(text), "{text}: {told}");
    }
    let json = rig.run(["plan", "strange.yaml", "--json"]);
    let first: Value = serde_json::from_str(json.stderr.lines().next().unwrap()).unwrap();
    assert_eq!(first["finding"]["place"], "strange.yaml:3:17");
    assert_eq!(first["finding"]["hint"], "did you mean `claude-code`?");
    assert_eq!(rig.run(["run", "strange.yaml"]).code, Some(2));
    assert!(rig.run(["status"]).stderr.contains("nothing has been run"));
}

#[test]
fn what_goes_to_no_terminal_is_whole() {
    let rig = Rig::repository();
    let long = "an objective of many words that does not fit on a line of sixty columns";
    Plan::new(long).task("work", "true", &[]).save(&rig, "long.yaml");
    assert_eq!(rig.run(["run", "../long.yaml", "--quiet"]).code, Some(0));
    let narrow = |args: &[&str]| {
        let mut command = rig.command(args);
        command.env("COLUMNS", "60");
        rig.ended(command).stdout
    };
    for args in [&["status"] as &[&str], &["status", &rig.runs()[0]], &["logs"]] {
        let whole = rig.run(args).stdout;
        assert!(whole.contains(long), "{whole}");
        let cut = narrow(args);
        assert!(cut.contains('\u{2026}') && cut.lines().all(|line| line.chars().count() <= 60), "{cut}");
    }
    // What is found out is never cut: it goes on below.
    let [whole, narrow] = [rig.run(["doctor"]).stdout, narrow(&["doctor"])];
    assert!(!whole.contains('\u{2026}') && !narrow.contains('\u{2026}'), "{narrow}");
    assert!(narrow.lines().count() > whole.lines().count(), "{narrow}");
    let found = narrow.lines().filter(|line| !line.contains("  -> ") && !line.contains('/'));
    assert!(found.clone().all(|line| line.chars().count() <= 60), "{narrow}");
}
