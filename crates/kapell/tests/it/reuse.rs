//! Results of earlier runs that a new one takes over.

use serde_json::{Value, json};

use crate::rig::{Plan, Rig};

/// Three tasks, each after the one before; the script of the last is given.
fn chain(last: &str) -> Plan {
    Plan::new("Build in three steps")
        .task("a", "echo a > a.txt", &[])
        .task("b", "cp a.txt b.txt", &["a"])
        .task("c", last, &["b"])
}

/// Returns the tasks of the newest run that were started.
fn started(rig: &Rig) -> Vec<String> {
    let logs = rig.run(["logs", "--json"]).stdout;
    let entries = logs.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let started = entries.filter(|entry| entry["event"] == "started");
    started.map(|entry| entry["task"].as_str().unwrap().to_owned()).collect()
}

fn taken(ended: &crate::rig::Ended) -> Option<&str> {
    ended.stderr.lines().find_map(|line| line.split_once(" taken from run ").map(|(how_many, _)| how_many))
}

#[test]
fn a_mended_file_does_only_what_is_left() {
    let rig = Rig::repository();
    chain("exit 1").save(&rig, "chain.yaml");
    assert_eq!(rig.run(["run", "../chain.yaml", "--quiet"]).code, Some(1));
    let failed = rig.runs().remove(0);
    chain("cat a.txt b.txt > c.txt").save(&rig, "chain.yaml");
    let ended = rig.run(["run", "../chain.yaml"]);
    assert_eq!((ended.code, taken(&ended)), (Some(0), Some("2 of 3 tasks")), "{ended}");
    assert_eq!(started(&rig), ["c"]);
    let status: Value = serde_json::from_str(&rig.run(["status", &rig.runs()[0], "--json"]).stdout).unwrap();
    assert_eq!(status["taken_over"], json!([{"run": failed, "tasks": 2}]), "{status}");
    let shown = rig.run(["status", &rig.runs()[0]]).stdout;
    assert!(shown.contains("\ntaken   2 of 3 tasks from run "), "{shown}");
    assert!(rig.run(["report"]).stdout.contains("Taken over: 2 of 3 tasks from run "));
    let stat = rig.run(["diff", "--stat"]).stdout;
    assert!(["a.txt", "b.txt", "c.txt"].iter().all(|name| stat.contains(name)), "{stat}");
    assert_eq!(rig.run(["verify"]).code, Some(0));
    assert_eq!(rig.run(["merge", "--quiet"]).code, Some(0));
    assert_eq!(rig.read("c.txt"), "a\na\n");
    assert_eq!(rig.git(&["fsck", "--no-progress"]), "");
}

#[test]
fn a_new_branch_begins_below_what_was_taken_over() {
    let rig = Rig::repository();
    chain("exit 1").save(&rig, "chain.yaml");
    assert_eq!(rig.run(["run", "../chain.yaml", "--quiet"]).code, Some(1));
    chain("true").save(&rig, "chain.yaml");
    let ended = rig.run(["run", "../chain.yaml"]);
    assert_eq!((ended.code, taken(&ended)), (Some(0), Some("2 of 3 tasks")), "{ended}");
    let merged = rig.run(["merge", "--into", "fresh"]);
    assert_eq!(merged.code, Some(0), "{merged}");
    assert_eq!(rig.git(&["diff", "--name-only", "main", "fresh"]), "a.txt\nb.txt\n");
    assert_eq!(rig.git(&["show", "fresh:b.txt"]), "a\n");
    // It is there now, and holds all of it.
    let again = rig.run(["merge", "--into", "fresh"]);
    assert!(again.code == Some(0) && again.stderr.contains("has all that landed already"), "{again}");
}

#[test]
fn what_is_asked_for_anew_is_done_anew() {
    let rig = Rig::repository();
    chain("exit 1").save(&rig, "chain.yaml");
    assert_eq!(rig.run(["run", "../chain.yaml", "--quiet"]).code, Some(1));
    // The same file once more: what failed is tried again, and no more than that.
    let again = rig.run(["run", "../chain.yaml"]);
    assert_eq!((again.code, taken(&again)), (Some(1), Some("2 of 3 tasks")), "{again}");
    chain("true").save(&rig, "chain.yaml");
    let fresh = rig.run(["run", "../chain.yaml", "--fresh"]);
    assert_eq!((fresh.code, taken(&fresh)), (Some(0), None), "{fresh}");
    assert_eq!(started(&rig), ["a", "b", "c"]);
    // It has succeeded: who runs it again wants it again. But another file with the same tasks is no such wish.
    let again = rig.run(["run", "../chain.yaml"]);
    assert_eq!((again.code, taken(&again)), (Some(0), None), "{again}");
    assert_eq!(started(&rig), ["a", "b", "c"]);
    chain("true").task("d", "true", &["c"]).save(&rig, "other.yaml");
    let other = rig.run(["run", "../other.yaml"]);
    assert_eq!((other.code, taken(&other)), (Some(0), Some("3 of 4 tasks")), "{other}");
    assert_eq!(started(&rig), ["d"]);
}

#[test]
fn only_what_leaves_nothing_but_its_change_is_taken_over() {
    let rig = Rig::repository();
    let dir = rig.dir().display().to_string();
    let file = |last: &str| {
        Plan::new("Deploy")
            .with(
                "look",
                "test -d . && echo n=1 >> \"$KAPELL_OUTPUT\"",
                &[],
                json!({"workspace": "read_only", "outputs": ["n"]}),
            )
            .with("deploy", &format!("echo x >> {dir}/deployed"), &[], json!({"workspace": "none"}))
            .with("note", "echo 1 > note.txt", &[], json!({"compensate": "git revert --no-edit HEAD"}))
            .with("use", "echo $N > n.txt", &["look"], json!({"env": {"N": "${{ tasks.look.outputs.n }}"}}))
            .task("after", "true", &["deploy"])
            .task("last", last, &[])
            .save(&rig, "deploy.yaml");
    };
    file("exit 1");
    assert_eq!(rig.run(["run", "../deploy.yaml", "--quiet", "-j", "1"]).code, Some(1));
    file("true");
    let ended = rig.run(["run", "../deploy.yaml", "-j", "1"]);
    assert_eq!(ended.code, Some(0), "{ended}");
    let mut again = started(&rig);
    again.sort();
    for task in ["after", "deploy", "last", "note"] {
        assert!(again.iter().any(|one| one == task), "{task} is not in {again:?}: {ended}");
    }
    assert!(!again.iter().any(|one| one == "look"), "{again:?}: {ended}");
    assert_eq!(rig.run(["merge", "--quiet"]).code, Some(0));
    assert_eq!(rig.read("n.txt"), "1\n");
}

#[test]
fn what_a_task_reads_decides_once_the_base_has_moved() {
    let rig = Rig::repository();
    rig.write("in.txt", "1\n");
    rig.commit("input");
    let file = |objective: &str| {
        Plan::new(objective)
            .with("copy", "cp in.txt out.txt", &[], json!({"reads": ["in.txt"]}))
            .task("list", "ls > list.txt", &[])
            .save(&rig, "reads.yaml");
    };
    file("Copy");
    assert_eq!(rig.run(["run", "../reads.yaml", "--merge", "--quiet"]).code, Some(0));
    file("Copy again");
    let ended = rig.run(["run", "../reads.yaml", "--merge"]);
    assert_eq!((ended.code, taken(&ended)), (Some(0), Some("1 of 2 tasks")), "{ended}");
    assert_eq!(started(&rig), ["list"]);
    // Somebody has changed what the task made: it is not there any more.
    rig.write("out.txt", "mine\n");
    rig.commit("by hand");
    file("Copy once more");
    let ended = rig.run(["run", "../reads.yaml", "--merge"]);
    assert_eq!((ended.code, taken(&ended)), (Some(0), None), "{ended}");
    assert_eq!(rig.read("out.txt"), "1\n");
    // What it reads is other now.
    rig.write("in.txt", "2\n");
    rig.commit("other input");
    file("Copy what is new");
    let ended = rig.run(["run", "../reads.yaml", "--merge"]);
    assert_eq!((ended.code, taken(&ended)), (Some(0), None), "{ended}");
    assert_eq!(rig.read("out.txt"), "2\n");
}

#[test]
fn an_unfinished_run_of_an_earlier_version_is_named() {
    let rig = Rig::repository();
    let file = |question: &str| {
        Plan::new("Ask")
            .task("a", "echo a > a.txt", &[])
            .gate("ask", question, &["a"])
            .save(&rig, "ask.yaml");
    };
    file("Go on?");
    assert_eq!(rig.run(["run", "../ask.yaml", "--no-input", "--quiet"]).code, Some(3));
    let first = rig.runs().remove(0);
    file("Really go on?");
    let ended = rig.run(["run", "../ask.yaml", "--no-input"]);
    assert_eq!((ended.code, taken(&ended)), (Some(3), Some("1 of 2 tasks")), "{ended}");
    assert!(
        ended.stderr.contains(&format!("run {} of an earlier version of this file", &first[..12])),
        "{ended}"
    );
}

#[test]
fn a_fork_takes_the_mended_file() {
    let rig = Rig::repository();
    chain("exit 1").save(&rig, "chain.yaml");
    assert_eq!(rig.run(["run", "../chain.yaml", "--quiet"]).code, Some(1));
    let run = rig.runs().remove(0);
    chain("cat a.txt b.txt > c.txt").save(&rig, "chain.yaml");
    let dry = rig.run(["fork", &run, "--file", "../chain.yaml", "--dry-run"]);
    assert!(dry.stdout.contains("reuses 2 results: a, b"), "{dry}");
    assert!(dry.stdout.contains("c: is defined otherwise now"), "{dry}");
    assert_eq!(rig.run(["fork", &run, "--file", "../chain.yaml", "--quiet"]).code, Some(0));
    assert_eq!(rig.run(["merge", "--quiet"]).code, Some(0));
    assert_eq!(rig.read("c.txt"), "a\na\n");
}
