//! Every kind of repository: what works there, and what is said where it does not.

use insta::assert_snapshot;

use crate::rig::{Ended, Plan, Rig};

fn small(rig: &Rig) {
    Plan::new("Small").task("one", "echo 1 > one.txt", &[]).save(rig, "small.yaml");
}

fn execute(rig: &Rig) -> Ended {
    small(rig);
    rig.run(["run", "../small.yaml"])
}

#[test]
fn none() {
    let rig = Rig::plain();
    assert_snapshot!(execute(&rig), @"
    exit 0
    ! no git repository here: tasks work in this directory itself, and nothing takes back what they change
    ! [T]  run  created: Small
    ! [T]  one  attempt 1 started
    ! [T]  one  done
    ! [T]  run  finished: succeeded
    ");
    assert_eq!(rig.read("one.txt"), "1\n");
    assert_snapshot!(rig.run(["merge"]), @"
    exit 2
    ! error[K0703]: outside a repository there is nothing to merge
    !   because: tasks have worked in the directory itself
    !   hint: kapell report says what they did
    ");
    assert_snapshot!(rig.run(["diff"]), @"
    exit 2
    ! error[K0703]: outside a repository there is nothing to compare
    !   hint: kapell report says what tasks did
    ");
    assert_snapshot!(rig.run(["verify"]), @"
    exit 0
    ok  2 decisions of 1 run recomputed and replayed
    [RUN]  2 decisions  head 2:[HASH]
    ");
}

#[test]
fn what_only_a_repository_gives_is_refused_without_one() {
    let rig = Rig::plain();
    Plan::new("Small").accept("false").task("one", "echo 1 > one.txt", &[]).save(&rig, "small.yaml");
    for command in ["plan", "run"] {
        let ended = rig.run([command, "../small.yaml"]);
        assert!(
            ended.code == Some(2) && ended.stderr.contains("`accept` of the file is for what lands"),
            "{ended}"
        );
    }
    rig.write("target.yaml", "mission: x\ntarget: main\ntasks:\n  a: { run: echo 1 > one.txt }\n");
    let ended = rig.run(["run", "target.yaml"]);
    assert!(ended.code == Some(2) && ended.stderr.contains("`target` is a branch"), "{ended}");
    assert!(!rig.work().join("one.txt").exists());
}

#[test]
fn files_that_are_not_committed_are_named() {
    let rig = Rig::repository();
    rig.write("ignored.txt", "");
    rig.write(".gitignore", "ignored.txt\n");
    rig.commit("ignore");
    rig.write("w.yaml", "mission: x\ntasks:\n  a: { run: cat readme.txt > copy.txt }\n");
    let ended = rig.run(["run", "w.yaml"]);
    assert!(ended.code == Some(0) && !ended.stderr.contains("not committed"), "{ended}");
    rig.write("readme.txt", "changed\n");
    rig.write("new/file.txt", "");
    let ended = rig.run(["run", "w.yaml", "--fresh"]);
    let told = "2 files here are not committed, so tasks do not see what is new: readme.txt, new/\n";
    assert!(ended.stderr.contains(told), "{ended}");
    assert!(rig.run(["diff"]).stdout.contains("+hello"));
    // Another branch than the one that is checked out has nothing to do with it.
    rig.git(&["branch", "other"]);
    rig.git(&["commit", "--quiet", "--allow-empty", "-m", "more"]);
    rig.write("w.yaml", "mission: x\ntarget: other\ntasks:\n  a: { run: cat readme.txt > copy.txt }\n");
    assert!(!rig.run(["run", "w.yaml"]).stderr.contains("not committed"));
}

#[test]
fn bare() {
    let rig = Rig::repository();
    rig.git(&["clone", "--quiet", "--bare", ".", "../bare"]);
    small(&rig);
    assert_snapshot!(rig.run(["-C", "../bare", "run", "../small.yaml"]), @"
    exit 0
    ! [T]  run  created: Small
    ! [T]  one  attempt 1 started
    ! [T]  one  attempt 1 submitted change [COMMIT]
    ! [T]  one  landed as [COMMIT]
    ! [T]  run  finished: succeeded
    ! next: kapell merge [RUN]
    ");
    assert_snapshot!(rig.run(["-C", "../bare", "merge"]), @"
    exit 0
    ! merged into refs/heads/main: [COMMIT] -> [COMMIT]
    ");
    assert_eq!(rig.git(&["--git-dir=../bare", "show", "main:one.txt"]), "1\n");
}

#[test]
fn empty() {
    let rig = Rig::plain();
    rig.git(&["init", "--quiet", "--initial-branch=main", "."]);
    assert_snapshot!(execute(&rig), @"
    exit 6
    ! error[K0700]: failed to find the commit to start from
    !   because: the repository has no commit yet
    !   hint: make a first commit: git commit --allow-empty -m start
    ");
    // No other name of a branch would help.
    rig.write("aimed.yaml", "mission: Small\ntarget: main\ntasks:\n  one: { run: echo 1 > one.txt }\n");
    let aimed = rig.run(["run", "aimed.yaml"]);
    assert!(aimed.code == Some(6) && aimed.stderr.contains("hint: make a first commit"), "{aimed}");
}

#[test]
fn detached() {
    let rig = Rig::repository();
    rig.git(&["checkout", "--quiet", "--detach"]);
    assert_snapshot!(execute(&rig), @"
    exit 0
    ! [T]  run  created: Small
    ! [T]  one  attempt 1 started
    ! [T]  one  attempt 1 submitted change [COMMIT]
    ! [T]  one  landed as [COMMIT]
    ! [T]  run  finished: succeeded
    ! next: kapell merge [RUN] --into BRANCH
    ");
    assert_snapshot!(rig.run(["merge"]), @"
    exit 2
    ! error[K0704]: the run started from no branch
    !   hint: kapell merge --into BRANCH
    ");
    rig.git(&["branch", "results"]);
    assert_snapshot!(rig.run(["merge", "--into", "results"]), @"
    exit 0
    ! merged into refs/heads/results: [COMMIT] -> [COMMIT]
    ");
}

#[test]
fn dirty() {
    let rig = Rig::repository();
    rig.write("readme.txt", "mine\n");
    assert_eq!(execute(&rig).code, Some(0));
    assert_snapshot!(rig.run(["merge"]), @"
    exit 4
    ! error[K0700]: failed to merge
    !   because: [DIR]/place has uncommitted changes: readme.txt
    !   hint: commit or stash the changes, then merge again
    ");
    assert_eq!(rig.read("readme.txt"), "mine\n");
    rig.git(&["checkout", "--quiet", "readme.txt"]);
    assert_eq!(rig.run(["merge"]).code, Some(0));
    rig.write("one.txt", "changed since\n");
    assert_snapshot!(rig.run(["undo"]), @"
    exit 4
    ! error[K0700]: the merge of run [RUN] cannot be taken back now
    !   because: [DIR]/place has uncommitted changes: one.txt
    !   hint: git stash, then kapell undo [RUN]
    ");
    assert_eq!(rig.read("one.txt"), "changed since\n");
    rig.commit("on top");
    assert_snapshot!(rig.run(["undo"]), @"
    exit 4
    ! error[K0512]: the merge of run [RUN] cannot be taken back: refs/heads/main has moved on since
    !   because: refs/heads/main has moved: expected [HASH], found [HASH]
    !   hint: git log [HASH]..refs/heads/main shows what came in; git revert takes it back by hand
    ");
}

#[test]
fn shallow() {
    let rig = Rig::repository();
    rig.commit("second");
    let origin = format!("file://{}", rig.work().display());
    rig.git(&["clone", "--quiet", "--depth=1", &origin, "../shallow"]);
    small(&rig);
    assert_eq!(rig.run(["-C", "../shallow", "run", "../small.yaml", "--quiet"]).code, Some(0));
    assert_eq!(rig.run(["-C", "../shallow", "merge", "--quiet"]).code, Some(0));
    assert_eq!(rig.run(["-C", "../shallow", "verify", "--quiet"]).code, Some(0));
}

#[test]
fn without_git() {
    let rig = Rig::repository();
    small(&rig);
    let without = |args: &[&str]| {
        let mut command = rig.command(args);
        command.env("PATH", "/nonexistent");
        rig.ended(command)
    };
    assert_snapshot!(without(&["run", "../small.yaml"]), @"
    exit 6
    ! error[K0700]: failed to find git
    !   because: git was not found
    !   hint: install git, or put it on PATH
    ");
    let doctor = without(&["doctor"]);
    assert_eq!(doctor.code, Some(6), "{doctor}");
    assert!(doctor.stdout.contains("git was not found"), "{doctor}");
}

#[test]
fn files_in_large_file_storage_need_a_word() {
    let rig = Rig::repository();
    rig.write(".gitattributes", "*.png filter=lfs diff=lfs merge=lfs -text\n");
    rig.commit("pictures");
    let file = |lfs: &str| {
        let text = format!("mission: Look\n{lfs}tasks: {{ look: {{ run: 'true' }} }}\n");
        std::fs::write(rig.dir().join("look.yaml"), text).unwrap();
        rig.run(["run", "../look.yaml"])
    };
    let refused = file("");
    assert!(refused.code == Some(4) && refused.stderr.contains("K0710"), "{refused}");
    assert!(rig.runs().is_empty(), "{refused}");
    let taken = file("lfs: pointers\n");
    assert!(taken.code == Some(0) && taken.stderr.contains("in workspaces they are its pointers"), "{taken}");
    // A fork of it asks what a run of it asks, where it has another file.
    let run = rig.runs().remove(0);
    let forked = rig.run(["fork", &run]);
    assert!(
        forked.code == Some(0) && forked.stderr.contains("in workspaces they are its pointers"),
        "{forked}"
    );
    std::fs::write(rig.dir().join("look.yaml"), "mission: Look\ntasks: { look: { run: echo } }\n").unwrap();
    let runs = rig.runs();
    let forked = rig.run(["fork", &run, "--file", "../look.yaml"]);
    assert!(forked.code == Some(4) && forked.stderr.contains("K0710"), "{forked}");
    assert_eq!(rig.runs(), runs);
    let strange = file("lfs: content\n");
    assert_eq!(strange.code, Some(2), "{strange}");
}
