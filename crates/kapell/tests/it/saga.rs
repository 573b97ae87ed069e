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
}
