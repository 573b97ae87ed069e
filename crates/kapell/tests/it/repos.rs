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
    assert_snapshot!(execute(&rig), @"");
    assert_eq!(rig.read("one.txt"), "1\n");
    assert_snapshot!(rig.run(["merge"]), @"");
    assert_snapshot!(rig.run(["diff"]), @"");
    assert_snapshot!(rig.run(["verify"]), @"");
}

#[test]
fn bare() {
    let rig = Rig::repository();
    rig.git(&["clone", "--quiet", "--bare", ".", "../bare"]);
    small(&rig);
    assert_snapshot!(rig.run(["-C", "../bare", "run", "../small.yaml"]), @"");
    assert_snapshot!(rig.run(["-C", "../bare", "merge"]), @"");
    assert_eq!(rig.git(&["--git-dir=../bare", "show", "main:one.txt"]), "1\n");
}

#[test]
fn empty() {
    let rig = Rig::plain();
    rig.git(&["init", "--quiet", "--initial-branch=main", "."]);
    assert_snapshot!(execute(&rig), @"");
}

#[test]
fn detached() {
    let rig = Rig::repository();
    rig.git(&["checkout", "--quiet", "--detach"]);
    assert_snapshot!(execute(&rig), @"");
    assert_snapshot!(rig.run(["merge"]), @"");
    rig.git(&["branch", "results"]);
    assert_snapshot!(rig.run(["merge", "--into", "results"]), @"");
}

#[test]
fn dirty() {
    let rig = Rig::repository();
    rig.write("readme.txt", "mine\n");
    assert_eq!(execute(&rig).code, Some(0));
    assert_snapshot!(rig.run(["merge"]), @"");
    assert_eq!(rig.read("readme.txt"), "mine\n");
    rig.git(&["checkout", "--quiet", "readme.txt"]);
    assert_eq!(rig.run(["merge"]).code, Some(0));
    rig.write("one.txt", "changed since\n");
    assert_snapshot!(rig.run(["undo"]), @"");
    assert_eq!(rig.read("one.txt"), "changed since\n");
    rig.commit("on top");
    assert_snapshot!(rig.run(["undo"]), @"");
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
    assert_snapshot!(without(&["run", "../small.yaml"]), @"");
    let doctor = without(&["doctor"]);
    assert_eq!(doctor.code, Some(6), "{doctor}");
    assert!(doctor.stdout.contains("git was not found"), "{doctor}");
}
