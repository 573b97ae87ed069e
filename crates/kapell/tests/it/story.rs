//! From a plan to a merge and back, with every command that looks at it on the way.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::rig::{Plan, Rig};

/// Three tasks, one after the other, so that everything happens in one order.
fn release(rig: &Rig) {
    Plan::new("Write a release note")
        .accept("test -f readme.txt")
        .with("version", "echo version=1.2 >> \"$KAPELL_OUTPUT\"", &[], json!({"outputs": ["version"], "workspace": "none"}))
        .with(
            "note",
            "echo \"release $V\" > note.txt",
            &["version"],
            json!({"env": {"V": "${{ tasks.version.outputs.version }}"}, "accept": ["grep -q 1.2 note.txt"]}),
        )
        .task("sign", "echo signed >> note.txt; mkdir -p a; printf 'x\\033[31m' > a/odd.txt", &["note"])
        .save(rig, "release.yaml");
}

#[test]
fn a_run_is_planned_executed_looked_at_merged_and_taken_back() {
    let rig = Rig::repository();
    release(&rig);
    assert_snapshot!(rig.run(["plan", "../release.yaml"]), @"");
    assert_snapshot!(rig.run(["plan", "../release.yaml", "--format", "mermaid"]), @"");
    assert_snapshot!(rig.run(["plan", "../release.yaml", "--format", "dot"]), @"");
    assert_snapshot!(rig.run(["run", "../release.yaml"]), @"");
    assert_snapshot!(rig.run(["status"]), @"");
    let run = rig.runs().remove(0);
    assert_snapshot!(rig.run(["status", &run]), @"");
    assert_snapshot!(rig.run(["logs"]), @"");
    assert_snapshot!(rig.run(["logs", "--task", "note"]), @"");
    assert_snapshot!(rig.run(["inbox"]), @"");
    assert_snapshot!(rig.run(["diff"]), @"");
    assert_snapshot!(rig.run(["diff", "--stat"]), @"");
    assert_snapshot!(rig.run(["diff", "--task", "note"]), @"");
    assert_snapshot!(rig.run(["replay", "--at", "3"]), @"");
    assert_snapshot!(rig.run(["verify"]), @"");
    assert_snapshot!(rig.run(["undo"]), @"");
    assert_snapshot!(rig.run(["merge"]), @"");
    assert_eq!(rig.read("note.txt"), "release 1.2\nsigned\n");
    assert_snapshot!(rig.run(["merge"]), @"");
    assert_snapshot!(rig.run(["verify"]), @"");
    assert_snapshot!(rig.run(["undo"]), @"");
    assert!(!rig.work().join("note.txt").exists());
    assert_eq!(rig.git(&["status", "--short"]), "");
}

#[test]
fn everything_is_there_for_programs_too() {
    let rig = Rig::repository();
    release(&rig);
    assert_eq!(rig.run(["run", "../release.yaml", "--quiet"]).code, Some(0));
    let schema = |name: &str| -> Value { serde_json::from_str(&rig.run(["schema", name]).stdout).unwrap() };
    let run = rig.runs().remove(0);
    for (name, args) in [
        ("plan", vec!["plan", "../release.yaml"]),
        ("runs", vec!["status"]),
        ("status", vec!["status", &run]),
        ("status", vec!["replay", "--at", "2"]),
        ("report", vec!["report"]),
        ("verify", vec!["verify"]),
        ("fork", vec!["fork", &run, "--at", "4", "--dry-run"]),
        ("gc", vec!["gc", "--dry-run"]),
        ("agents", vec!["agents"]),
        ("doctor", vec!["doctor"]),
        ("init", vec!["init", "--dry-run"]),
    ] {
        let ended = rig.run(args.iter().chain(&["--json"]));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{args:?}");
        let value: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}"));
        let problems: Vec<String> =
            jsonschema::validator_for(&schema(name)).unwrap().iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(problems.is_empty(), "{args:?}: {problems:?}");
    }
    let entry = schema("log");
    for line in rig.run(["logs", "--json"]).stdout.lines() {
        assert!(jsonschema::is_valid(&entry, &serde_json::from_str(line).unwrap()), "{line}");
    }
    let error: Value = serde_json::from_str(&rig.run(["status", "nope", "--json"]).stderr).unwrap();
    assert!(jsonschema::is_valid(&schema("error"), &error), "{error}");
}

#[test]
fn the_report_has_a_head_that_verify_takes() {
    let rig = Rig::repository();
    release(&rig);
    assert_eq!(rig.run(["run", "../release.yaml", "--quiet"]).code, Some(0));
    assert_snapshot!(rig.run(["report", "--out", "../report"]), @"");
    let report: Value =
        serde_json::from_str(&std::fs::read_to_string(rig.dir().join("report/report.json")).unwrap()).unwrap();
    let head = format!("{}:{}", report["head"]["n"], report["head"]["hash"].as_str().unwrap());
    assert_eq!(rig.run(["verify", "--against", &head]).code, Some(0));
    let markdown = std::fs::read_to_string(rig.dir().join("report/report.md")).unwrap();
    assert!(markdown.contains(&head), "{markdown}");
    // A head that the journal no longer has: something was cut off.
    let (n, hash) = head.split_once(':').unwrap();
    let later = format!("{}:{hash}", n.parse::<u64>().unwrap() + 1);
    assert_snapshot!(rig.run(["verify", "--against", &later]), @"");
    let other = format!("{n}:{}", "0".repeat(64));
    assert_snapshot!(rig.run(["verify", "--against", &other]), @"");
}

#[test]
fn a_landing_that_git_does_not_know_is_found() {
    let rig = Rig::repository();
    release(&rig);
    assert_eq!(rig.run(["run", "../release.yaml", "--quiet"]).code, Some(0));
    let run = rig.runs().remove(0);
    let base = rig.git(&["rev-parse", "HEAD"]);
    let house = rig.work().join(".git/kapell/git");
    rig.git(&["--git-dir", house.to_str().unwrap(), "update-ref", &format!("refs/kapell/{run}/head"), base.trim()]);
    assert_snapshot!(rig.run(["verify"]), @"");
}

#[test]
fn a_fork_takes_over_what_was_done_and_does_the_rest() {
    let rig = Rig::repository();
    release(&rig);
    assert_eq!(rig.run(["run", "../release.yaml", "--quiet"]).code, Some(0));
    let run = rig.runs().remove(0);
    let landed = rig.run(["logs", "--json"]);
    let at = landed
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find(|entry| entry["event"] == "landed")
        .map(|entry| entry["n"].to_string())
        .unwrap();
    assert_snapshot!(rig.run(["fork", &run, "--at", &at, "--dry-run"]), @"");
    assert_eq!(rig.runs().len(), 1);
    assert_snapshot!(rig.run(["fork", &run, "--at", &at]), @"");
    assert_snapshot!(rig.run(["fork", &run, "--at", "1", "--dry-run"]), @"");
    assert_eq!(rig.run(["merge"]).code, Some(0));
    assert_eq!(rig.read("note.txt"), "release 1.2\nsigned\n");
    assert_eq!(rig.run(["verify"]).code, Some(0));
}

#[test]
fn collecting_keeps_what_is_nowhere_else() {
    let rig = Rig::repository();
    release(&rig);
    assert_eq!(rig.run(["run", "../release.yaml", "--quiet"]).code, Some(0));
    assert_eq!(rig.run(["merge", "--quiet"]).code, Some(0));
    rig.commit("later");
    assert_eq!(rig.run(["run", "../release.yaml", "--quiet"]).code, Some(0));
    let kinds = |args: &[&str]| -> (Vec<String>, usize) {
        let ended = rig.run(args.iter().chain(&["--json"]));
        let value: Value = serde_json::from_str(&ended.stdout).unwrap();
        let kind = |item: &Value| item["kind"].as_str().unwrap().to_owned();
        let mut kinds: Vec<String> = value["items"].as_array().unwrap().iter().map(kind).collect();
        kinds.sort();
        kinds.dedup();
        (kinds, value["kept"].as_array().unwrap().len())
    };
    // The second run changed nothing that the target has not, or is not merged: either way only one is kept.
    let (seen, kept) = kinds(&["gc", "--dry-run"]);
    assert_eq!(seen, ["refs", "workspace"]);
    assert_eq!(kinds(&["gc"]), (seen, kept));
    assert_eq!(kinds(&["gc", "--dry-run"]).0, Vec::<String>::new());
    assert_eq!(kinds(&["gc", "--older-than", "0"]).0, ["outputs"]);
    assert_eq!(rig.run(["verify"]).code, Some(0));
    assert_eq!(rig.git(&["fsck", "--no-progress"]), "");
    // What was collected cannot be forked; everything else goes on.
    let oldest = rig.runs().pop().unwrap();
    assert_snapshot!(rig.run(["fork", &oldest, "--at", "6"]), @"");
    assert_eq!(rig.run(["run", "../release.yaml", "--quiet"]).code, Some(0));
}

#[test]
fn what_init_writes_runs_and_is_taken_back() {
    let rig = Rig::repository();
    assert_snapshot!(rig.run(["init", "--dry-run"]), @"");
    assert_eq!(rig.git(&["status", "--short"]), "");
    assert_eq!(rig.run(["init"]).code, Some(0));
    assert_eq!(rig.run(["plan", "kapell/first.yaml"]).code, Some(0));
    assert_snapshot!(rig.run(["init"]), @"");
    assert_snapshot!(rig.run(["undo"]), @"");
    assert_eq!(rig.git(&["status", "--short"]), "");
    // What was changed since is not taken away.
    assert_eq!(rig.run(["init", "--quiet"]).code, Some(0));
    rig.write("kapell.toml", "jobs = 3\n");
    assert_snapshot!(rig.run(["undo"]), @"");
    assert_eq!(rig.read("kapell.toml"), "jobs = 3\n");
    for manifest in ["Cargo.toml", "go.mod"] {
        let rig = Rig::repository();
        rig.write(manifest, "");
        assert_eq!(rig.run(["init", "--quiet"]).code, Some(0));
        assert_eq!(rig.run(["plan", "kapell/first.yaml"]).code, Some(0), "{manifest}");
    }
}
