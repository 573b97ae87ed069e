//! What commands that do something answer to programs, and runs that are carried elsewhere.

use serde_json::Value;

use crate::rig::{Plan, Rig};

/// Reads JSON, and holds it against a schema.
fn read(rig: &Rig, text: &str, schema: &str) -> Value {
    let schema: Value = serde_json::from_str(&rig.run(["schema", schema]).stdout).unwrap();
    let value = serde_json::from_str(text).unwrap();
    assert!(jsonschema::is_valid(&schema, &value), "{value}");
    value
}

/// Runs a command that says what it did.
fn deed(rig: &Rig, args: &[&str]) -> Value {
    let ended = rig.run(args.iter().chain(&["--json", "--quiet"]));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{args:?}: {ended}");
    read(rig, &ended.stdout, "deed")
}

#[test]
fn commands_that_do_something_say_what_they_did() {
    let rig = Rig::repository();
    Plan::new("Publish")
        .gate("release", "Publish it?", &[])
        .task("publish", "echo published > published.txt", &["release"])
        .save(&rig, "publish.yaml");
    let ran = rig.run(["run", "../publish.yaml", "--json"]);
    assert_eq!(ran.code, Some(3), "{ran}");
    let (entries, last) = ran.stdout.trim_end().rsplit_once('\n').unwrap();
    let status = read(&rig, last, "status");
    let entries: Vec<Value> = entries.lines().map(|line| read(&rig, line, "log")).collect();
    let run = rig.runs().remove(0);
    assert!(entries.iter().all(|entry| entry["run"] == *run) && status["run"] == *run, "{ran}");
    assert_eq!((&entries[0]["event"], &status["gates"][0]["gate"]), (&"created".into(), &0.into()));
    let answered = deed(&rig, &["answer", "0", "no"]);
    assert_eq!((&answered["did"], &answered["gate"]), (&"answered".into(), &0.into()));
    assert_eq!(deed(&rig, &["undo"])["did"], "answer_undone");
    assert_eq!(deed(&rig, &["pause"])["did"], "paused");
    assert_eq!(deed(&rig, &["answer", "0", "yes"])["run"], *run);
    // Of what a run says, only the end is left.
    let ran = rig.run(["resume", "--json", "--quiet"]);
    let status = read(&rig, &ran.stdout, "status");
    assert_eq!((ran.code, &status["phase"]), (Some(0), &"succeeded".into()), "{ran}");
    let merged = deed(&rig, &["merge"]);
    assert_eq!((&merged["did"], &merged["target"]), (&"merged".into(), &"refs/heads/main".into()));
    assert_eq!(deed(&rig, &["merge"])["did"], "nothing_to_merge");
    let undone = deed(&rig, &["undo"]);
    assert_eq!((&undone["did"], &undone["to"]), (&"merge_undone".into(), &merged["from"]));
}

#[test]
fn a_run_is_carried_to_another_place() {
    let rig = Rig::repository();
    // So many tasks that their plan is kept beside the journal; none of them begins.
    let mut plan = Plan::new("Many").gate("first", "Begin?", &[]);
    for task in 0..900 {
        plan = plan.task(&format!("t{task}"), &format!("echo {task} is a task of its own"), &["first"]);
    }
    plan.save(&rig, "many.yaml");
    assert_eq!(rig.run(["run", "../many.yaml", "--quiet"]).code, Some(3));
    let run = rig.runs().remove(0);
    let exported = rig.run(["logs", "--export"]);
    std::fs::write(rig.dir().join("many.jsonl"), &exported.stdout).unwrap();
    assert!(exported.stdout.contains("\n{\"artifact\":"), "its plan is there");
    let there = Rig::repository();
    std::fs::write(there.dir().join("many.jsonl"), &exported.stdout).unwrap();
    assert_eq!(deed(&there, &["import", "../many.jsonl"])["did"], "imported");
    for args in [vec!["report", &run], vec!["replay", &run, "--at", "1"], vec!["logs", &run]] {
        assert_eq!(there.run(&args).stdout, rig.run(&args).stdout, "{args:?}");
    }
    assert_eq!(there.run(["verify"]).code, Some(0));
    assert_eq!(deed(&there, &["import", "../many.jsonl"])["decisions"], 0);
    let cut = &exported.stdout[..exported.stdout.trim_end().rfind('\n').unwrap() + 1];
    std::fs::write(there.dir().join("cut.jsonl"), cut).unwrap();
    let refused = there.run(["import", "../cut.jsonl"]);
    assert_eq!(refused.code, Some(2), "{refused}");
    assert!(refused.stderr.contains("K0608") && refused.stderr.contains("the end is missing"), "{refused}");
}

#[test]
fn a_run_that_was_taken_in_is_compared_and_merged_where_it_ran() {
    let rig = Rig::repository();
    Plan::new("Write").task("write", "echo x > x.txt", &[]).save(&rig, "write.yaml");
    assert_eq!(rig.run(["run", "../write.yaml", "--quiet"]).code, Some(0));
    let exported = rig.run(["logs", "--export"]).stdout;
    let there = Rig::repository();
    std::fs::write(there.dir().join("write.jsonl"), exported).unwrap();
    let ended = there.run(["import", "../write.jsonl"]);
    assert!(ended.stderr.contains("commits stay where the runs were performed"), "{ended}");
    for command in ["diff", "merge"] {
        let refused = there.run([command]);
        let told = "error[K0715]: the commits of the run are not in this repository";
        assert!(refused.code == Some(2) && refused.stderr.starts_with(told), "{refused}");
        assert!(refused.stderr.contains("hint: kapell report "), "{refused}");
    }
    assert_eq!(rig.run(["diff"]).code, Some(0));
    assert_eq!(rig.run(["merge"]).code, Some(0));
}

#[test]
fn what_cannot_begin_in_the_background_is_said_in_the_foreground() {
    let rig = Rig::repository();
    let text = "mission: Look\nagents: { scout: { use: command, sandbox: 0, run: 'true' } }\n\
                tasks: { look: { agent: scout, prompt: look } }\n";
    std::fs::write(rig.dir().join("look.yaml"), text).unwrap();
    let refused = rig.run(["run", "../look.yaml", "--sandbox", "1", "--detach"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(4), ""), "{refused}");
    assert!(refused.stderr.contains("error[K0813]"), "{refused}");
    assert!(rig.runs().is_empty());
    // One that begins is named, and what it says later is its own affair.
    Plan::new("Fail").task("work", "false", &[]).save(&rig, "fail.yaml");
    let begun = rig.run(["run", "../fail.yaml", "--detach", "--json"]);
    assert_eq!(begun.code, Some(0), "{begun}");
    let begun: Value = serde_json::from_str(&begun.stdout).unwrap();
    assert_eq!((&begun["did"], &begun["run"]), (&"started".into(), &rig.runs()[0].as_str().into()));
}

#[test]
fn work_that_was_left_is_listed_and_can_be_taken() {
    let rig = Rig::repository();
    Plan::new("Half").task("half", "echo half > half.txt; exit 1", &[]).save(&rig, "half.yaml");
    assert_eq!(rig.run(["run", "../half.yaml", "--quiet"]).code, Some(1));
    let run = rig.runs().remove(0);
    let status = rig.run(["status", &run]);
    assert!(status.stdout.contains("\nkept    half, attempt 1, unfinished: "), "{status}");
    let look = status.stdout.lines().find_map(|line| line.trim_start().strip_prefix("kapell diff ")).unwrap();
    let words: Vec<&str> = ["diff"].into_iter().chain(look.split(' ')).collect();
    let patch = rig.run(&words);
    assert!(patch.stdout.contains("\n+half\n"), "{patch}");
    let none = rig.run(["diff", "--task", "half"]);
    assert!(none.stderr.contains("K0709"), "{none}");
}

#[test]
fn what_the_person_ignores_everywhere_does_not_land() {
    let rig = Rig::repository();
    let ignore = rig.dir().join("home/config/git/ignore");
    std::fs::create_dir_all(ignore.parent().unwrap()).unwrap();
    std::fs::write(ignore, "*.swp\n").unwrap();
    Plan::new("Edit").task("edit", "echo 1 > a.txt; echo 2 > .a.txt.swp", &[]).save(&rig, "edit.yaml");
    assert_eq!(rig.run(["run", "../edit.yaml", "--merge", "--quiet"]).code, Some(0));
    assert_eq!(rig.git(&["ls-files"]), "a.txt\nreadme.txt\n");
}

#[test]
fn with_no_input_nobody_waits_for_an_answer() {
    let rig = Rig::repository();
    let ask = format!("{} task ask 'Which way?' --choice left", env!("CARGO_BIN_EXE_kapell"));
    Plan::new("Ask").task("ask", &ask, &[]).save(&rig, "ask.yaml");
    let ended = rig.run(["run", "../ask.yaml", "--no-input"]);
    assert_eq!(ended.code, Some(3), "{ended}");
    assert!(ended.stderr.contains("next: kapell resume"), "{ended}");
}

#[test]
fn what_was_learnt_is_what_a_report_compares_with() {
    let rig = Rig::repository();
    Plan::new("Once").task("once", "true", &[]).save(&rig, "once.yaml");
    assert_eq!(rig.run(["run", "../once.yaml", "--quiet"]).code, Some(0));
    let report = || -> Value { serde_json::from_str(&rig.run(["report", "--json"]).stdout).unwrap() };
    let forecast = report()["time"]["forecast"].clone();
    assert!(forecast["p90_ms"].as_u64() >= forecast["p50_ms"].as_u64() && !forecast.is_null(), "{forecast}");
    // What comes later changes nothing of it.
    for _ in 0..3 {
        assert_eq!(rig.run(["run", "../once.yaml", "--quiet"]).code, Some(0));
    }
    let first = rig.runs().pop().unwrap();
    let again: Value = serde_json::from_str(&rig.run(["report", &first, "--json"]).stdout).unwrap();
    assert_eq!(again["time"]["forecast"], forecast);
}
