//! From a plan to a merge and back, with every command that looks at it on the way.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::rig::{Plan, Rig};

/// Three tasks, one after the other, so that everything happens in one order.
fn release(rig: &Rig) {
    Plan::new("Write a release note")
        .accept("test -f readme.txt")
        .with(
            "version",
            "echo version=1.2 >> \"$KAPELL_OUTPUT\"",
            &[],
            json!({"outputs": ["version"], "workspace": "none"}),
        )
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
    assert_snapshot!(rig.run(["plan", "../release.yaml"]), @"
    exit 0
    plan  Write a release note
    tasks  3 in 3 waves, up to 1 at once; 4 agent slots and 2 job slots
    finish  1m [TIME] to 7m [TIME] (P50 to P90), never below [TIME]
              from 1,000 simulated runs, seed 1
              3 tasks of unknown length: defaults are assumed (?)
    critical  [TIME]: version > note > sign

    wave  task  kind  P50  P90  slack  needs
       0  version  run  [TIME]?  2m [TIME]?  critical
       1  note  run  [TIME]?  2m [TIME]?  critical  version
       2  sign  run  [TIME]?  2m [TIME]?  critical  note
    ! next: kapell run ../release.yaml
    ");
    assert_snapshot!(rig.run(["plan", "../release.yaml", "--format", "mermaid"]), @r#"
    exit 0
    flowchart LR
      t0["note ([TIME])"]
      t1["sign ([TIME])"]
      t2["version ([TIME])"]
      t2 --> t0
      t0 --> t1
      classDef critical stroke-width:3px
      class t0,t1,t2 critical
    "#);
    assert_snapshot!(rig.run(["plan", "../release.yaml", "--format", "dot"]), @r#"
    exit 0
    digraph plan {
      rankdir=LR
      node [shape=box]
      t0 [label="note ([TIME])", penwidth=3]
      t1 [label="sign ([TIME])", penwidth=3]
      t2 [label="version ([TIME])", penwidth=3]
      t2 -> t0 [penwidth=3]
      t0 -> t1 [penwidth=3]
    }
    "#);
    assert_snapshot!(rig.run(["run", "../release.yaml"]), @"
    exit 0
    ! [T]  run  created: Write a release note
    ! [T]  version  attempt 1 started
    ! [T]  version  done, gave version
    ! [T]  note  attempt 1 started
    ! [T]  note  attempt 1 submitted change [COMMIT]
    ! [T]  note  landed as [COMMIT]
    ! [T]  sign  attempt 1 started
    ! [T]  sign  attempt 1 submitted change [COMMIT]
    ! [T]  sign  landed as [COMMIT]
    ! [T]  run  finished: succeeded
    ! next: kapell merge [RUN]
    ");
    assert_snapshot!(rig.run(["status"]), @"
    exit 0
    run  state  done  cost  age  objective
    [RUN]  landed, not merged  3/3  $0.00  [TIME]  Write a release note
    next: kapell merge [RUN]
    ");
    let run = rig.runs().remove(0);
    assert_snapshot!(rig.run(["status", &run]), @"
    exit 0
    run  [RUN]  succeeded, [TIME]
    asked  Write a release note  (../release.yaml)
    tasks  3 done of 3
    budget  $0.00
    landed  2 changes at [COMMIT]: kapell diff [RUN]
            not merged into refs/heads/main
    next: kapell merge [RUN]
    ");
    assert_snapshot!(rig.run(["logs"]), @"
    exit 0
    1  [T]  run  created: Write a release note
    1  [T]  run  plan adopted, revision 1, 3 tasks
    1  [T]  version  attempt 1 started
    2  [T]  version  done, gave version
    2  [T]  note  attempt 1 started
    3  [T]  note  attempt 1 submitted change [COMMIT]
    4  [T]  note  verified: its checks passed
    4  [T]  run  probe 0: 1 change on [COMMIT] tried
    5  [T]  run  probe 0: green at [COMMIT]
    5  [T]  run  integration ref moves to [COMMIT]
    6  [T]  note  landed as [COMMIT]
    6  [T]  sign  attempt 1 started
    7  [T]  sign  attempt 1 submitted change [COMMIT]
    7  [T]  sign  verified: it has no checks
    7  [T]  run  probe 1: 1 change on [COMMIT] tried
    8  [T]  run  probe 1: green at [COMMIT]
    8  [T]  run  integration ref moves to [COMMIT]
    9  [T]  sign  landed as [COMMIT]
    9  [T]  run  finished: succeeded
    ");
    assert_snapshot!(rig.run(["logs", "--task", "note"]), @"
    exit 0
    2  [T]  note  attempt 1 started
    3  [T]  note  attempt 1 submitted change [COMMIT]
    4  [T]  note  verified: its checks passed
    6  [T]  note  landed as [COMMIT]
    ");
    assert_snapshot!(rig.run(["inbox"]), @"
    exit 0
    nothing waits for you
    ");
    assert_snapshot!(rig.run(["diff"]), @r"
    exit 0
    diff --git a/a/odd.txt b/a/odd.txt
    new file mode 100644
    index [HASH]..[HASH]
    --- /dev/null
    +++ b/a/odd.txt
    @@ -0,0 +1 @@
    +x\u{1b}[31m
    \ No newline at end of file
    diff --git a/note.txt b/note.txt
    new file mode 100644
    index [HASH]..[HASH]
    --- /dev/null
    +++ b/note.txt
    @@ -0,0 +1,2 @@
    +release 1.2
    +signed
    ! next: kapell merge [RUN]
    ");
    assert_snapshot!(rig.run(["diff", "--stat"]), @"
    exit 0
    a/odd.txt  added  +1  -0
    note.txt  added  +2  -0
    2 files, +3 -0
    ! next: kapell merge [RUN]
    ");
    assert_snapshot!(rig.run(["diff", "--task", "note"]), @"
    exit 0
    diff --git a/note.txt b/note.txt
    new file mode 100644
    index [HASH]..[HASH]
    --- /dev/null
    +++ b/note.txt
    @@ -0,0 +1 @@
    +release 1.2
    ");
    assert_snapshot!(rig.run(["replay", "--at", "3"]), @"
    exit 0
    run  [RUN]  active, [TIME]
    asked  Write a release note  (../release.yaml)
    tasks  1 done, 1 being checked, 1 blocked of 3
      > note  being checked
    budget  $0.00
    work  1 submitted, 0 verified, not landed yet
    ! run [RUN] after decision 3 of 9
    ! next: kapell fork [RUN] --at 3
    ");
    assert_snapshot!(rig.run(["verify"]), @"
    exit 0
    ok  9 decisions of 1 run recomputed and replayed
    [RUN]  9 decisions, 2 of 2 landed  head 9:[HASH]
    ");
    assert_snapshot!(rig.run(["undo"]), @"
    exit 4
    ! error[K0512]: nothing of run [RUN] can be taken back
    !   because: it has not been merged, and what agents did outside of their workspaces is not in kapell's hands
    !   hint: nothing of it is in your branches; kapell fork [RUN] --at SEQ starts again from an earlier decision
    ");
    assert_snapshot!(rig.run(["merge"]), @"
    exit 0
    ! merged into refs/heads/main: [COMMIT] -> [COMMIT]
    ");
    assert_eq!(rig.read("note.txt"), "release 1.2\nsigned\n");
    assert_snapshot!(rig.run(["merge"]), @"
    exit 0
    ! refs/heads/main has all that landed already
    ");
    assert_snapshot!(rig.run(["verify"]), @"
    exit 0
    ok  11 decisions of 1 run recomputed and replayed
    [RUN]  11 decisions, 2 of 2 landed, merged  head 11:[HASH]
    ");
    assert_snapshot!(rig.run(["undo"]), @"
    exit 0
    ! refs/heads/main is at [HASH] again, as before the merge of run [RUN]
    ! next: kapell merge [RUN]
    ");
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
        ("inbox", vec!["inbox"]),
        ("verify", vec!["verify"]),
        ("fork", vec!["fork", &run, "--at", "4", "--dry-run"]),
        ("gc", vec!["gc", "--dry-run"]),
        ("agents", vec!["agents"]),
        ("doctor", vec!["doctor"]),
        ("init", vec!["init", "--dry-run"]),
    ] {
        let ended = rig.run(args.iter().chain(&["--json"]));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{args:?}");
        let value: Value =
            serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}"));
        let problems: Vec<String> = jsonschema::validator_for(&schema(name))
            .unwrap()
            .iter_errors(&value)
            .map(|error| error.to_string())
            .collect();
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
    assert_snapshot!(rig.run(["report", "--out", "../report"]), @"
    exit 0
    ! wrote report.md and report.json to ../report
    ");
    let report: Value =
        serde_json::from_str(&std::fs::read_to_string(rig.dir().join("report/report.json")).unwrap())
            .unwrap();
    let head = format!("{}:{}", report["head"]["n"], report["head"]["hash"].as_str().unwrap());
    assert_eq!(rig.run(["verify", "--against", &head]).code, Some(0));
    let markdown = std::fs::read_to_string(rig.dir().join("report/report.md")).unwrap();
    assert!(markdown.contains(&head), "{markdown}");
    // A head that the journal no longer has: something was cut off.
    let (n, hash) = head.split_once(':').unwrap();
    let later = format!("{}:{hash}", n.parse::<u64>().unwrap() + 1);
    assert_snapshot!(rig.run(["verify", "--against", &later]), @"
    exit 5
    ! error[K0603]: the journal is damaged
    !   because: [DIR]/place/.git/kapell/journal.sqlite: damaged at byte 0: run [RUN] ends with decision 9, but decision 10 was recorded
    !   hint: keep a copy of the store; what can still be read comes out with `kapell logs RUN --export`
    ");
    let other = format!("{n}:{}", "0".repeat(64));
    assert_snapshot!(rig.run(["verify", "--against", &other]), @"
    exit 5
    ! error[K0603]: the journal is damaged
    !   because: [DIR]/place/.git/kapell/journal.sqlite: decision 9 of run [RUN] is damaged: it follows [HASH], but the row before it is [HASH]
    !   hint: keep a copy of the store; what can still be read comes out with `kapell logs RUN --export`
    ");
}

#[test]
fn a_landing_that_git_does_not_know_is_found() {
    let rig = Rig::repository();
    release(&rig);
    assert_eq!(rig.run(["run", "../release.yaml", "--quiet"]).code, Some(0));
    let run = rig.runs().remove(0);
    let base = rig.git(&["rev-parse", "HEAD"]);
    let house = rig.work().join(".git/kapell/git");
    rig.git(&[
        "--git-dir",
        house.to_str().unwrap(),
        "update-ref",
        &format!("refs/kapell/{run}/head"),
        base.trim(),
    ]);
    assert_snapshot!(rig.run(["verify"]), @"
    exit 1
    ok  9 decisions of 1 run recomputed and replayed
    [RUN]  9 decisions, 0 of 2 landed  head 9:[HASH]
      broken  note: commit [HASH]
        refs/kapell/[RUN]/head is at [HASH], which does not contain it
      broken  sign: commit [HASH]
        refs/kapell/[RUN]/head is at [HASH], which does not contain it
      broken  commit [HASH]
        refs/kapell/[RUN]/head is at [HASH]
    ");
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
    assert_snapshot!(rig.run(["fork", &run, "--at", &at, "--dry-run"]), @"
    exit 0
    fork of run [RUN] after decision 6
      reuses 2 results: note, version
      runs 1 task
        sign: was under way: that attempt counts as lost
    ");
    assert_eq!(rig.runs().len(), 1);
    assert_snapshot!(rig.run(["fork", &run, "--at", &at]), @"
    exit 0
    ! fork of run [RUN] after decision 6
    !   reuses 2 results: note, version
    !   runs 1 task
    !     sign: was under way: that attempt counts as lost
    ! [T]  run  created, forked from [RUN] at 6: Write a release note
    ! [T]  note  result of run [RUN] at 6 reused, landed as [COMMIT]
    ! [T]  version  result of run [RUN] at 6 reused
    ! [T]  sign  attempt 1 started
    ! [T]  sign  attempt 1 submitted change [COMMIT]
    ! [T]  sign  landed as [COMMIT]
    ! [T]  run  finished: succeeded
    ! next: kapell merge [RUN]
    ");
    assert_snapshot!(rig.run(["fork", &run, "--at", "1", "--dry-run"]), @"
    exit 0
    fork of run [RUN] after decision 1
      reuses 0 results
      runs 3 tasks
        note: had not begun
        sign: had not begun
        version: was under way: that attempt counts as lost
      not taken back: what version did outside of git
    ");
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
    assert_snapshot!(rig.run(["fork", &oldest, "--at", "6"]), @"
    exit 4
    ! error[K0509]: the work of run [RUN] has been collected
    !   because: refs/kapell/[RUN]/base is gone
    !   hint: kapell run FILE starts from the file
    ");
    assert_eq!(rig.run(["run", "../release.yaml", "--quiet"]).code, Some(0));
}

#[test]
fn a_failure_is_found_by_what_is_suggested() {
    let rig = Rig::repository();
    Plan::new("Fail")
        .task("bad", "echo broken; printf 'a\\033[2Jb\\n' >&2; exit 3", &[])
        .task("after", "true", &["bad"])
        .save(&rig, "fail.yaml");
    assert_snapshot!(rig.run(["run", "../fail.yaml"]), @r"
    exit 1
    ! [T]  run  created: Fail
    ! [T]  bad  attempt 1 started
    ! [T]  bad  attempt 1 failed (transient), given up: a\u{1b}[2Jb
    !          | exit 3
    !          | broken
    ! [T]  after  skipped: something it needs failed or was skipped
    ! [T]  run  finished: failed
    ! next: kapell logs [RUN] --failed
    ");
    assert_snapshot!(rig.run(["logs", "--failed"]), @r"
    exit 0
    2  [T]  bad  attempt 1 failed (transient), given up: a\u{1b}[2Jb
                | exit 3
                | broken
    ");
    assert_snapshot!(rig.run(["logs", "--task", "bad", "--output"]), @r"
    exit 0
    broken
    a\u{1b}[2Jb
    ");
    assert_snapshot!(rig.run(["logs", "--output"]), @r"
    exit 0
    bad | broken
    bad | a\u{1b}[2Jb
    ");
    assert_snapshot!(rig.run(["logs", "--task", "bad", "--output", "--attempt", "2"]), @"
    exit 2
    ! error[K0508]: `bad` has had 1 attempt
    !   where: run [RUN]
    ");
    let run = rig.runs().remove(0);
    assert_snapshot!(rig.run(["status", &run]), @r"
    exit 0
    run  [RUN]  failed, [TIME]
    asked  Fail  (../fail.yaml)
    tasks  1 failed, 1 not done of 2
      x bad  transient after 1 attempt, holds up 1 task: a\u{1b}[2Jb
    budget  $0.00
    next: kapell logs [RUN] --failed
    ");
    assert_snapshot!(rig.run(["verify"]), @"
    exit 0
    ok  2 decisions of 1 run recomputed and replayed
    [RUN]  2 decisions  head 2:[HASH]
    ");
    assert_snapshot!(rig.run(["fork", &run, "--dry-run"]), @"
    exit 0
    fork of run [RUN] after decision 2
      reuses 0 results
      runs 2 tasks
        after: needs bad, which runs again
        bad: had not succeeded
    ");
}

#[test]
fn a_task_with_effects_in_the_world_is_named_when_it_runs_again() {
    let rig = Rig::repository();
    let dir = rig.dir().display().to_string();
    Plan::new("Deploy")
        .with("deploy", &format!("echo x >> {dir}/deployed"), &[], json!({"workspace": "none"}))
        .task("after", "true", &["deploy"])
        .save(&rig, "deploy.yaml");
    assert_eq!(rig.run(["run", "../deploy.yaml", "--quiet"]).code, Some(0));
    let run = rig.runs().remove(0);
    // The attempt had begun and its end was not known yet.
    let started = "\"event\":\"started\"";
    let logs = rig.run(["logs", "--json"]).stdout;
    let entry: Value =
        serde_json::from_str(logs.lines().find(|line| line.contains(started)).unwrap()).unwrap();
    assert_snapshot!(rig.run(["fork", &run, "--at", &entry["n"].to_string(), "--dry-run"]), @"
    exit 0
    fork of run [RUN] after decision 1
      reuses 0 results
      runs 2 tasks
        after: had not begun
        deploy: was under way: that attempt counts as lost
      not taken back: what deploy did outside of git
    ");
}

#[test]
fn other_inputs_undo_what_may_have_read_them() {
    let rig = Rig::repository();
    let text = json!({
        "mission": "Inputs",
        "inputs": {"version": {"default": "1"}},
        "tasks": {
            "plain": {"run": "echo 1 > plain.txt"},
            "reader": {"run": "echo \"$V\" >> reader.txt", "env": {"V": "${{ inputs.version }}"}, "needs": ["plain"]},
            "last": {"run": "echo 3 > last.txt", "needs": ["reader"]},
        },
    });
    std::fs::write(rig.dir().join("inputs.yaml"), text.to_string()).unwrap();
    assert_eq!(rig.run(["run", "../inputs.yaml", "--quiet"]).code, Some(0));
    let run = rig.runs().remove(0);
    assert_snapshot!(rig.run(["fork", &run, "--dry-run"]), @"
    exit 0
    fork of run [RUN] after decision 10
      reuses 3 results: last, plain, reader
      runs 0 tasks
    ");
    assert_snapshot!(rig.run(["fork", &run, "--set", "version=2", "--dry-run"]), @"
    exit 0
    fork of run [RUN] after decision 10
      reuses 1 result: plain
      runs 2 tasks
        last: needs reader, which runs again
        reader: reads inputs, which are others now
    ");
    assert_snapshot!(rig.run(["fork", &run, "--set", "verison=2", "--dry-run"]), @"
    exit 2
    ! error[K0511]: the run has no input `verison`
    !   where: run [RUN]
    !   hint: did you mean `version`?
    ");
    assert_eq!(rig.run(["fork", &run, "--set", "version=2", "--quiet"]).code, Some(0));
    assert_eq!(rig.run(["merge", "--quiet"]).code, Some(0));
    // Not on top of what it came to before.
    assert_eq!(rig.read("reader.txt"), "2\n");
    let fork = rig.runs().remove(0);
    assert_snapshot!(rig.run(["fork", &fork, "--set", "version=3", "--dry-run"]), @"
    exit 0
    fork of run [RUN] after decision 10
      reuses 1 result: plain
      runs 2 tasks
        last: needs reader, which runs again
        reader: reads inputs, which are others now
    ");
}

#[test]
fn what_init_suggests_works_to_the_end() {
    let rig = Rig::repository();
    let mut typed = vec!["init".to_owned()];
    let mut seen = Vec::new();
    while !typed.is_empty() {
        let ended = rig.run(&typed);
        assert_eq!(ended.code, Some(0), "{typed:?}: {ended}");
        seen.push(typed[0].clone());
        let next = ended.stderr.lines().find_map(|line| line.strip_prefix("next: kapell "));
        typed = next.unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    }
    assert_eq!(seen, ["init", "plan", "run", "merge"]);
    assert_eq!(rig.read("kapell/files.txt").trim(), "1");
}

#[test]
fn what_init_writes_runs_and_is_taken_back() {
    let rig = Rig::repository();
    let shown = rig.run(["init", "--dry-run"]);
    assert_eq!(shown.code, Some(0), "{shown}");
    for line in [
        "would write kapell.toml",
        "  # agents = 4",
        "  # memory = \"8GiB\"",
        "  #   tests: nothing was recognised",
        "  #   not claude-code: its program `claude` is not installed",
        "  # [agent.rust]",
        "would write kapell/first.yaml",
        "    # No manifest was recognised: put the command that tests this repository in the place of `true`.",
        "      run: true",
        "    # No coding agent can be used here yet: `kapell doctor` says what is missing.",
    ] {
        assert!(shown.stdout.lines().any(|said| said == line), "no `{line}` in {shown}");
    }
    assert!(shown.stderr.ends_with("next: kapell init\n"), "{shown}");
    assert_eq!(rig.git(&["status", "--short"]), "");
    assert_eq!(rig.run(["init"]).code, Some(0));
    assert_eq!(rig.run(["plan", "kapell/first.yaml"]).code, Some(0));
    assert_snapshot!(rig.run(["init"]), @"
    exit 4
    ! error[K0916]: kapell.toml exists already
    !   where: [DIR]/place/kapell.toml
    !   hint: kapell plan FILE shows what a workflow would do
    ");
    assert_snapshot!(rig.run(["undo"]), @"
    exit 0
    ! removed kapell.toml
    ! removed kapell/first.yaml
    ");
    assert_eq!(rig.git(&["status", "--short"]), "");
    // What was changed since is not taken away.
    assert_eq!(rig.run(["init", "--quiet"]).code, Some(0));
    rig.write("kapell.toml", "jobs = 3\n");
    assert_snapshot!(rig.run(["undo"]), @"
    exit 4
    ! error[K0512]: kapell.toml was changed after kapell init wrote it
    !   because: nothing was removed
    !   hint: rm kapell.toml, if you no longer want it
    ");
    assert_eq!(rig.read("kapell.toml"), "jobs = 3\n");
    for manifest in ["Cargo.toml", "go.mod"] {
        let rig = Rig::repository();
        rig.write(manifest, "");
        assert_eq!(rig.run(["init", "--quiet"]).code, Some(0));
        assert_eq!(rig.run(["plan", "kapell/first.yaml"]).code, Some(0), "{manifest}");
    }
}

#[test]
fn what_was_merged_and_cleaned_up_is_held_again_once_it_is_taken_back() {
    let rig = Rig::repository();
    Plan::new("One").task("one", "echo one > one.txt", &[]).save(&rig, "one.yaml");
    assert_eq!(rig.run(["run", "../one.yaml", "--merge", "--quiet"]).code, Some(0));
    assert_eq!(rig.run(["gc", "--quiet"]).code, Some(0));
    let undone = rig.run(["undo"]);
    assert_eq!(undone.code, Some(0), "{undone}");
    // Nothing of the user's holds it any longer.
    rig.git(&["reflog", "expire", "--expire=now", "--all"]);
    rig.git(&["gc", "--prune=now", "--quiet"]);
    assert_eq!(rig.run(["gc", "--quiet"]).code, Some(0));
    let merged = rig.run(["merge"]);
    assert_eq!(merged.code, Some(0), "{merged}");
    assert_eq!(rig.read("one.txt"), "one\n");
}

#[test]
fn a_conflict_is_merged_into_a_new_branch() {
    let rig = Rig::repository();
    Plan::new("One").task("one", "echo one > readme.txt", &[]).save(&rig, "one.yaml");
    assert_eq!(rig.run(["run", "../one.yaml", "--quiet"]).code, Some(0));
    rig.write("readme.txt", "another\n");
    rig.commit("another");
    let refused = rig.run(["merge"]);
    assert!(refused.code == Some(4) && refused.stderr.contains("--into NEW-BRANCH"), "{refused}");
    let merged = rig.run(["merge", "--into", "by-hand"]);
    assert_eq!(merged.code, Some(0), "{merged}");
    assert_eq!(rig.git(&["show", "by-hand:readme.txt"]), "one\n");
    assert_eq!(rig.read("readme.txt"), "another\n");
    assert!(rig.run(["status"]).stdout.contains("merged into by-hand"));
    let status = rig.run(["status", &rig.runs()[0]]);
    assert!(status.stdout.contains("into refs/heads/by-hand at"), "{status}");
}

#[test]
fn a_merge_of_a_run_that_failed_says_what_is_missing() {
    let rig = Rig::repository();
    Plan::new("Half")
        .task("good", "echo 1 > good.txt", &[])
        .task("bad", "exit 78", &[])
        .save(&rig, "half.yaml");
    assert_eq!(rig.run(["run", "../half.yaml", "--quiet"]).code, Some(1));
    let ended = rig.run(["merge"]);
    let told = "the run failed: 1 of 2 tasks landed, what `bad` was to bring is not in it";
    assert!(ended.code == Some(0) && ended.stderr.contains(told), "{ended}");
    assert!(rig.run(["status"]).stdout.contains("failed, merged"), "{}", rig.run(["status"]));
}

#[test]
fn a_run_that_is_late_goes_on_and_says_so_and_an_old_one_hides_nothing() {
    let rig = Rig::repository();
    rig.write(
        "late.yaml",
        "mission: Late\ndeadline: 2020-01-01T00:00:00Z\ntasks:\n  a: { run: echo 1 > a.txt }\n",
    );
    assert_eq!(rig.run(["run", "late.yaml"]).code, Some(124));
    assert!(rig.run(["status"]).stdout.contains("next: kapell resume"));
    Plan::new("Small").task("one", "echo 1 > one.txt", &[]).save(&rig, "small.yaml");
    assert_eq!(rig.run(["run", "../small.yaml", "--quiet"]).code, Some(0));
    assert!(rig.run(["status"]).stdout.contains("next: kapell merge"));
    let ended = rig.run(["resume"]);
    assert!(
        ended.code == Some(0) && ended.stderr.contains("goes on, no longer bound by its deadline, by ada"),
        "{ended}"
    );
}

#[test]
fn what_was_stopped_and_what_was_refused_is_told_as_that() {
    let rig = Rig::repository();
    rig.write("short.yaml", "mission: Short\nbudget: { wall: 300ms }\ntasks:\n  a: { run: sleep 60 }\n");
    let mut command = rig.command(["run", "short.yaml"]);
    command.env_remove("USER");
    let ended = rig.ended(command);
    assert_eq!(ended.code, Some(4), "{ended}");
    for told in
        ["stopped, for the run's time is over; it starts again once the run goes on\n", "budget is used up\n"]
    {
        assert!(ended.stderr.contains(told), "{told}: {ended}");
    }
    // Who has no name by the environment is called as in commits.
    let mut command = rig.command(["resume", "--budget", "301ms"]);
    let ended = rig.ended({
        command.env_remove("USER");
        command
    });
    assert!(ended.stderr.contains("goes on within new limits, by Ada\n"), "{ended}");
    Plan::new("Ask").gate("ask", "Go on?", &[]).save(&rig, "ask.yaml");
    assert_eq!(rig.run(["run", "../ask.yaml", "--quiet"]).code, Some(3));
    let id = rig.runs().remove(0);
    assert_eq!(rig.run(["answer", &id, "0", "no"]).code, Some(0));
    let failed = rig.run(["logs", &id, "--failed"]).stdout;
    assert!(failed.trim_end().ends_with("ask  given up: a person said no"), "{failed}");
    assert!(rig.run(["logs", &id, "--output"]).stderr.contains("nothing was printed"));
}
