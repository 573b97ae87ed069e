//! Gates: a run waits for a person, who answers.

use insta::assert_snapshot;

use crate::rig::{Plan, Rig};

#[test]
fn a_gate_is_answered_and_the_run_goes_on() {
    let rig = Rig::repository();
    Plan::new("Publish")
        .task("build", "echo built > built.txt", &[])
        .gate("release", "Publish it? \u{1b}[31m", &["build"])
        .task("publish", "echo published > published.txt", &["release"])
        .save(&rig, "publish.yaml");
    assert_snapshot!(rig.run(["run", "../publish.yaml"]), @"");
    assert_snapshot!(rig.run(["inbox"]), @"");
    assert_snapshot!(rig.run(["answer", "7", "yes"]), @"");
    assert_snapshot!(rig.run(["answer", "0", "perhaps"]), @"");
    assert_snapshot!(rig.run(["answer", "0", "yes"]), @"");
    assert_snapshot!(rig.run(["answer", "0", "yes"]), @"");
    assert_snapshot!(rig.run(["undo"]), @"");
    assert_snapshot!(rig.run(["resume"]), @"");
    assert_snapshot!(rig.run(["resume"]), @"");
}

#[test]
fn a_run_is_paused_resumed_and_cancelled_though_nobody_executes_it() {
    let rig = Rig::repository();
    Plan::new("Wait").gate("gate", "Go on?", &[]).task("work", "true", &["gate"]).save(&rig, "wait.yaml");
    assert_eq!(rig.run(["run", "../wait.yaml", "--quiet"]).code, Some(3));
    assert_snapshot!(rig.run(["pause"]), @"");
    assert_snapshot!(rig.run(["pause"]), @"");
    assert_snapshot!(rig.run(["status"]), @"");
    assert_eq!(rig.run(["resume", "--quiet"]).code, Some(3));
    assert_snapshot!(rig.run(["cancel"]), @"");
    assert_snapshot!(rig.run(["resume"]), @"");
    assert_snapshot!(rig.run(["cancel"]), @"");
}

#[test]
fn a_task_speaks_to_kapell() {
    let rig = Rig::repository();
    let program = env!("CARGO_BIN_EXE_kapell");
    let script = format!("{program} task output size=3 && {program} task note \"it is done\" && {program} task progress 0.5 half");
    Plan::new("Speak").task("speaker", &script, &[]).save(&rig, "speak.yaml");
    assert_snapshot!(rig.run(["run", "../speak.yaml"]), @"");
    assert_snapshot!(rig.run(["logs", "--task", "speaker"]), @"");
    assert_snapshot!(rig.run(["task", "note", "hello"]), @"");
    assert_snapshot!(rig.run(["task", "sing"]), @"");
}
