//! Sagas in a repository: what compensations change lands, and what they leave is not merged in silence.

use std::fs;

use crate::rig::{Ended, Rig};

/// Runs two steps that each add a file and are taken back by `undo`, because a third fails. Gives the end of the run.
fn taken_back(rig: &Rig, undo: [&str; 2]) -> Ended {
    let [one, two] = undo;
    let text = format!(
        "mission: Two steps, and both of them back\ntarget: main\nsaga: true\ntasks:\n  \
         one: {{ run: echo 1 > one.txt, compensate: '{one}' }}\n  \
         two: {{ needs: [one], run: echo 2 > two.txt, compensate: '{two}' }}\n  \
         bad: {{ needs: [two], workspace: none, run: exit 1 }}\n"
    );
    fs::write(rig.dir().join("saga.yaml"), text).unwrap();
    rig.run(["run", "../saga.yaml"])
}

fn house(rig: &Rig, args: &[&str]) -> String {
    let house = rig.work().join(".git/kapell/git");
    rig.git(&[&["--git-dir", house.to_str().unwrap()][..], args].concat())
}

#[test]
fn what_landed_is_taken_out_again_and_nothing_is_left_to_merge() {
    let rig = Rig::repository();
    let before = rig.git(&["rev-parse", "main"]);
    let ended = taken_back(&rig, ["git revert --no-edit $KAPELL_CHANGE", "rm two.txt"]);
    assert_eq!(ended.code, Some(1), "{ended}");
    let run = rig.runs().remove(0);
    let head = format!("refs/kapell/{run}/head");
    // Each of the two landed, and each was taken back by one commit of its own, the last one first.
    let log = house(&rig, &["log", "--format=%s", &head, &format!("^{}", before.trim())]);
    assert_eq!(log.lines().collect::<Vec<_>>(), ["Revert \"one\"", "Take back two", "two", "one"], "{ended}");
    assert_eq!(
        house(&rig, &["rev-parse", &format!("{head}^{{tree}}")]),
        rig.git(&["rev-parse", "main^{tree}"])
    );
    let diff = rig.run(["diff"]);
    assert!(diff.code == Some(0) && diff.stdout.trim().is_empty(), "{diff}");
    let status = rig.run(["status", &run]);
    assert!(status.stdout.contains("2 changes taken out again of what had landed"), "{status}");
    assert!(!status.stdout.contains("not merged"), "{status}");
    let verify = rig.run(["verify"]);
    assert!(verify.code == Some(0) && verify.stdout.contains("4 of 4 landed"), "{verify}");
    let report = rig.run(["report", &run]);
    assert_eq!(report.stdout.matches(", taken back by `").count(), 2, "{report}");
    let merge = rig.run(["merge"]);
    assert!(merge.code == Some(0) && merge.stderr.contains("nothing is left to merge"), "{merge}");
    assert_eq!(rig.git(&["rev-parse", "main"]), before);
}

#[test]
fn what_was_taken_back_outside_git_alone_is_not_merged_in_silence() {
    let rig = Rig::repository();
    let before = rig.git(&["rev-parse", "main"]);
    let ended = taken_back(&rig, ["echo told somebody", "rm two.txt"]);
    assert_eq!(ended.code, Some(1), "{ended}");
    let run = rig.runs().remove(0);
    let status = rig.run(["status", &run]);
    assert!(status.stdout.contains("1 change taken out again"), "{status}");
    assert!(status.stdout.contains("1 change taken back outside git alone, and landed still"), "{status}");
    let merge = rig.run(["merge"]);
    assert!(
        merge.code == Some(4) && merge.stderr.contains("K0713") && merge.stderr.contains("`one`"),
        "{merge}"
    );
    assert_eq!(rig.git(&["rev-parse", "main"]), before);
    let merge = rig.run(["merge", "--taken-back"]);
    assert_eq!(merge.code, Some(0), "{merge}");
    assert!(rig.work().join("one.txt").exists() && !rig.work().join("two.txt").exists());
}

#[test]
fn a_merge_of_what_is_left_passes_the_checks_first() {
    let rig = Rig::repository();
    let text = "mission: One stays, one goes\ntarget: main\nsaga: true\naccept: [test ! -e one.txt -o -e two.txt]\n\
                tasks:\n  two: { run: echo 2 > two.txt, compensate: rm two.txt }\n  \
                one: { needs: [two], run: echo 1 > one.txt }\n  \
                bad: { needs: [one], workspace: none, run: exit 1 }\n";
    fs::write(rig.dir().join("saga.yaml"), text).unwrap();
    let ended = rig.run(["run", "../saga.yaml"]);
    assert_eq!(ended.code, Some(1), "{ended}");
    let merge = rig.run(["merge"]);
    assert!(merge.code == Some(4) && merge.stderr.contains("K0707"), "{merge}");
    assert!(!rig.work().join("one.txt").exists());
    // A branch that would have been made for it is not there, either.
    let merge = rig.run(["merge", "--into", "fresh"]);
    assert!(merge.code == Some(4) && merge.stderr.contains("K0707"), "{merge}");
    assert_eq!(rig.git(&["branch", "--list", "fresh"]), "");
}

/// What the reference gives as the way to take out a change.
const TAKEN_OUT: &str = "git diff --binary $KAPELL_CHANGE | git apply -R -3 --allow-empty";

#[test]
fn one_line_takes_out_a_change_of_any_shape() {
    let docs = include_str!("../../../../docs/workflow.md");
    assert!(docs.contains(&format!("compensate: {TAKEN_OUT} ")), "the reference shows another line");
    let rig = Rig::repository();
    let inner =
        "mission: Inner\ntasks:\n  left: { run: echo l > left.txt }\n  right: { run: echo r > right.txt }\n";
    fs::write(rig.work().join("inner.yaml"), inner).unwrap();
    let several = "git config user.name x; git config user.email x@y; for n in 1 2; do echo $n > $n.txt; git add .; \
                   git commit -qm $n; done";
    let text = format!(
        "mission: Several commits, a run within, and nothing\ntarget: main\nsaga: true\ntasks:\n  \
         several: {{ run: '{several}', compensate: '{TAKEN_OUT}' }}\n  \
         within: {{ needs: [several], workflow: inner.yaml, compensate: '{TAKEN_OUT}' }}\n  \
         nothing: {{ needs: [within], run: 'true', compensate: '{TAKEN_OUT}' }}\n  \
         bad: {{ needs: [nothing], workspace: none, run: exit 1 }}\n"
    );
    fs::write(rig.work().join("saga.yaml"), text).unwrap();
    let ended = rig.run(["run", "saga.yaml"]);
    assert!(ended.code == Some(1) && !ended.stdout.contains("could not be taken back"), "{ended}");
    let run =
        rig.runs().into_iter().find(|run| rig.run(["status", run]).stdout.contains("taken back")).unwrap();
    let head = format!("refs/kapell/{run}/head^{{tree}}");
    assert_eq!(house(&rig, &["rev-parse", &head]), rig.git(&["rev-parse", "main^{tree}"]), "{ended}");
}

#[test]
fn a_fork_knows_what_its_results_had_changed() {
    let rig = Rig::repository();
    let text = "mission: One step, and perhaps back\ntarget: main\nsaga: true\ninputs: { fail: { default: \"0\" } }\ntasks:\n  \
                docs: { run: echo d > docs.txt, compensate: echo told the world }\n  \
                boom: { needs: [docs], workspace: none, run: 'exit $FAIL', env: { FAIL: '${{ inputs.fail }}' } }\n";
    fs::write(rig.dir().join("saga.yaml"), text).unwrap();
    let first = rig.run(["run", "../saga.yaml"]);
    assert_eq!(first.code, Some(0), "{first}");
    let before = rig.git(&["rev-parse", "main"]);
    let run = rig.runs().remove(0);
    let fork = rig.run(["fork", &run, "--set", "fail=1"]);
    assert_eq!(fork.code, Some(1), "{fork}");
    // What it took over was taken back outside git alone: that is not merged in silence.
    let merge = rig.run(["merge"]);
    assert!(merge.code == Some(4) && merge.stderr.contains("K0713"), "{merge}");
    assert_eq!(rig.git(&["rev-parse", "main"]), before);
}
