//! Agents that are chosen: rankings, who takes over, work that is handed on, and memory that limits.

use kapell_core::task::TaskState;

use crate::story::{Story, given};

const AGENTS: &str = "agent a provider p; agent b provider q; agent c provider p";

/// Returns the name of the agent that has a task now.
fn agent(story: &Story, task: &str) -> String {
    let agent = story.run.agent(story.task(task)).unwrap();
    story.run.plan().agent(agent).unwrap().name.clone()
}

/// Plays lines, and says after each who has the task `t` and where it stands.
fn whose(story: &mut Story, script: &str) -> Vec<String> {
    let lines = script.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut told = vec![];
    for line in lines {
        let said = story.when(line);
        assert!(!said.contains("refused"), "{line}\n{said}");
        told.push(format!("{} {}", agent(story, "t"), story.state("t").name()));
    }
    told
}

#[test]
fn the_first_of_a_ranking_performs_and_the_next_takes_over() {
    let mut run = given(&format!("{AGENTS}; first; t after first")).and("00:01 route t b,a,c");
    let told = whose(
        &mut run,
        "00:02 done first
         00:03 fail t permanent
         00:04 fail t permanent
         00:05 fail t permanent",
    );
    assert_eq!(told, ["b running", "a running", "c running", "c failed"]);
}

#[test]
fn a_task_goes_elsewhere_while_its_agent_takes_no_work() {
    let mut run = given(&format!("{AGENTS}; busy agent b; first; t after first")).and("00:01 route t b,a,c");
    let told = whose(&mut run, "00:02 throttled busy until 10:00\n00:03 done first");
    assert_eq!(told, ["b blocked", "a running"]);
    // Its provider is parked, and that of the other one is, too: now it waits.
    assert_eq!(whose(&mut run, "00:04 fail t quota until 20:00"), ["a parked"]);
    assert_eq!(whose(&mut run, "20:00 tick"), ["a running"]);
}

#[test]
fn a_provider_without_quota_is_left_for_another_one() {
    let mut run = given(&format!("{AGENTS}; first; t after first")).and("00:01 route t a,c,b");
    let told = whose(&mut run, "00:02 done first\n00:03 fail t quota until 20:00");
    // Not `c`, which draws on the same quota.
    assert_eq!(told, ["a running", "b running"]);
}

#[test]
fn a_ranking_is_for_what_has_not_begun() {
    let mut run = given(&format!("{AGENTS}; t agent a; u after t"));
    assert_eq!(run.when("00:01 route t b"), "refused task 0 has begun already");
    let unknown = "refused the ranking names an agent that the plan does not have";
    assert_eq!(run.when("00:02 route u nobody"), unknown);
    assert_eq!(run.when("00:03 route u"), "refused the ranking is empty");
    assert!(run.when("00:04 route u c,b").contains("routed"));
    let mut gate = given(&format!("{AGENTS}; g gate ok?; w workflow x after g"));
    for task in ["g", "w"] {
        let said = gate.when(&format!("00:01 route {task} b"));
        assert_eq!(said, "refused the ranking is for a task that no agent performs");
    }
    assert_eq!(agent(&run, "u"), "c");
}

#[test]
fn what_is_handed_on_is_gone_on_with() {
    let mut run = given(&format!("mission base; {AGENTS}; t agent a accept check"));
    assert!(run.when("00:01 handoff t a again").contains("refused"));
    assert_eq!(
        whose(&mut run, "00:02 handoff t b half-done\n00:04 done t change\n00:05 done t change"),
        ["a running", "b running", "b submitted"]
    );
    let task = run.task("t");
    let (change, handoff) = (run.run.change(task).unwrap(), run.run.handoff(task).unwrap());
    assert_eq!(change.base, crate::script::change("x").base, "checks see all of the change");
    assert_eq!(handoff.change.map(|change| change.commit), Some(crate::script::change("t 1").commit));
    assert_eq!(handoff.note, "half-done");
    // What was refused is not built upon.
    run.when("00:06 judge t fail");
    assert_eq!(run.run.handoff(task).unwrap().change, None);
}

#[test]
fn what_was_handed_on_twice_is_checked_whole() {
    let mut run = given(&format!("mission base; {AGENTS}; t agent a accept check retry 3 backoff 0..0"))
        .and("00:01 handoff t b one")
        .and("00:02 done t change")
        .and("00:03 handoff t c two")
        .and("00:04 done t change");
    let task = run.task("t");
    let passed = |run: &Story| run.run.handoff(task).unwrap().change.unwrap();
    assert_eq!(passed(&run).base, crate::script::change("x").base);
    assert_eq!(passed(&run).commit, crate::script::change("t 2").commit);
    // Whoever fails after it does not take it away, nor does handing it on and failing.
    run = run.and("00:05 handoff t a three").and("00:06 fail t transient");
    assert_eq!(passed(&run).commit, crate::script::change("t 2").commit);
    run = run.and("00:07 done t");
    assert_eq!(run.state("t").name(), "submitted");
    assert_eq!(run.run.change(task).unwrap().commit, crate::script::change("t 2").commit);
}

#[test]
fn agents_do_not_take_over_from_each_other_for_ever() {
    // `b` and `c` stand for each other, and the task was handed on into their ring.
    let ring = "agent a; agent b fallback c; agent c fallback b; t agent a retry 1";
    let mut run = given(ring).and("00:01 handoff t b on").and("00:02 done t");
    assert_eq!(whose(&mut run, "00:03 fail t permanent\n00:04 fail t permanent"), ["c running", "c failed"]);
    // The ring is that of the task's own agent, and it was handed on out of it.
    let ring = "agent a fallback b; agent b fallback a; agent c fallback d; agent d; t agent a retry 1";
    let mut run = given(ring).and("00:01 handoff t c on").and("00:02 done t");
    assert_eq!(whose(&mut run, "00:03 fail t permanent\n00:04 fail t permanent"), ["d running", "d failed"]);
}

#[test]
fn an_attempt_hands_on_once_and_a_task_not_for_ever() {
    let mut run = given(&format!("{AGENTS}; t agent a")).and("00:01 handoff t b on");
    assert!(run.when("00:01 handoff t c on").contains("has handed it on already"));
    run = run.and("00:02 done t");
    for (time, to) in [("00:03", "a"), ("00:05", "b"), ("00:07", "a")] {
        run = run.and(&format!("{time} handoff t {to} on\n{time}.5 done t"));
    }
    assert!(run.when("00:09 handoff t b on").contains("handed on too often"));
    assert_eq!(agent(&run, "t"), "a");
}

#[test]
fn memory_limits_how_many_run() {
    let mut plan =
        "mission agents 30 memory 1000; agent small memory 300; agent large memory 2000".to_owned();
    for number in 0..30 {
        plan.push_str(&format!("; t{number} agent small"));
    }
    plan.push_str("; big agent large");
    let mut run = given(&plan);
    assert_eq!(run.run.counts().of("running"), 3);
    for number in 0..30 {
        run = run.and(&format!("00:{:02} done t{number}", number + 1));
        let memory = |task| match run.run.state(task) {
            TaskState::Running(attempt) => attempt.slots.memory_mib,
            _ => 0,
        };
        let memory: u32 = run.run.plan().graph().tasks().map(memory).sum();
        // One that needs more than there is runs alone.
        assert!(memory <= 1000 || run.run.counts().of("running") == 1, "{memory}");
    }
    assert!(run.when("00:40 done big").contains("finished"));
}
