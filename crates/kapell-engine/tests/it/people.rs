//! Gates, questions and answers.

use kapell_core::{
    command::Command,
    event::Outcome,
    id::GateId,
    plan::{Definition, GateSpec, Work},
    retry::FailureClass,
};
use kapell_engine::{host::Rest, port::agents::Report};

use crate::rig::{Rig, bad, good, mission, plan, script};

fn answer(rig: &mut Rig, gate: u32, text: &str) -> Result<(), String> {
    let (gate, answer, by) = (GateId(gate), text.to_owned(), "ada".to_owned());
    rig.put(Command::Answer { gate, answer, by }).map_err(|refusal| refusal.to_string())
}

fn question(number: u32, text: &str) -> Report {
    Report::Question { question: number, text: text.to_owned(), choices: Vec::new() }
}

fn open_questions(rig: &Rig) -> Vec<String> {
    rig.run().open_gates().map(|(_, gate)| gate.question.clone()).collect()
}

#[test]
fn a_gate_waits_for_a_person_and_takes_only_its_answers() {
    let spec = GateSpec { question: "ship it?".parse().unwrap(), choices: Vec::new() };
    let gate = Definition::new(Work::Gate(spec));
    let mut rig = Rig::with(mission(), plan(&[("g", gate, &[]), ("a", script("ok"), &[0])]));
    assert_eq!(rig.settle(), Rest::Gates);
    assert_eq!(answer(&mut rig, 0, "perhaps").unwrap_err(), "the answer must be one of: yes, no");
    assert_eq!(answer(&mut rig, 1, "yes").unwrap_err(), "there is no gate number 1");
    answer(&mut rig, 0, "yes").unwrap();
    assert_eq!(rig.settle(), Rest::Over);
    assert_eq!(rig.run().outcome(), Some(Outcome::Succeeded));
    assert_eq!(answer(&mut rig, 0, "yes").unwrap_err(), "gate 0 is answered already");
}

#[test]
fn an_answer_reaches_the_attempt_that_asked() {
    let mut rig = Rig::with(mission(), plan(&[("a", script("hold"), &[]), ("b", script("hold"), &[])]));
    rig.until(|rig| rig.world.log.has("start 0.1") && rig.world.log.has("start 1.1"));
    rig.say(1, 1, question(5, "left or right?"));
    rig.say(0, 1, question(3, "up or down?"));
    rig.until(|rig| open_questions(rig).len() == 2);
    // Both only wait for people, and would be lost with the host.
    assert_eq!(rig.settle(), Rest::Asking);
    let gates: Vec<_> = rig.run().open_gates().map(|(id, gate)| (id.0, gate.task.0)).collect();
    for (gate, task) in gates {
        answer(&mut rig, gate, &format!("for {task}")).unwrap();
    }
    rig.until(|rig| rig.world.log.has("answer 0.1 #3 for 0") && rig.world.log.has("answer 1.1 #5 for 1"));
}

#[test]
fn questions_of_one_attempt_are_put_one_after_the_other() {
    let mut rig = Rig::with(mission(), plan(&[("a", script("hold"), &[])]));
    rig.until_said("start 0.1");
    for (number, text) in [(1, "first?"), (2, "second?"), (3, "third?")] {
        rig.say(0, 1, question(number, text));
    }
    rig.until(|rig| !open_questions(rig).is_empty());
    rig.settle();
    for (number, text) in [(1, "first?"), (2, "second?"), (3, "third?")] {
        rig.until(|rig| open_questions(rig) == [text]);
        answer(&mut rig, number - 1, "yes").unwrap();
        rig.until_said(&format!("answer 0.1 #{number} yes"));
    }
    // It works again, so it is no longer waited for by people.
    assert_eq!(rig.host.rest(crate::rig::RUN), Rest::Busy);
    rig.say(0, 1, question(4, "fourth?"));
    rig.until(|rig| open_questions(rig) == ["fourth?"]);
}

#[test]
fn questions_of_an_attempt_that_is_over_are_forgotten() {
    let mut task = script("hold");
    task.retry.attempts = 2;
    let mut rig = Rig::with(mission(), plan(&[("a", task, &[])]));
    rig.until_said("start 0.1");
    rig.say(0, 1, question(1, "first?"));
    rig.say(0, 1, question(2, "second?"));
    rig.until(|rig| open_questions(rig) == ["first?"]);
    rig.finish(0, 1, bad(FailureClass::Transient, "nobody answered"));
    rig.until(|rig| rig.state(0).starts_with("BackingOff"));
    assert_eq!(answer(&mut rig, 0, "yes").unwrap_err(), "nothing waits for gate 0 any more");
    rig.world.clock.pass(1_000_000);
    rig.until_said("start 0.2");
    // Late words of the first attempt change nothing for the second.
    rig.say(0, 1, question(3, "late?"));
    rig.say(0, 2, question(1, "anew?"));
    rig.until(|rig| open_questions(rig) == ["anew?"]);
    answer(&mut rig, 1, "yes").unwrap();
    rig.until_said("answer 0.2 #1 yes");
    rig.finish(0, 2, good());
    assert_eq!(rig.settle(), Rest::Over);
}

#[test]
fn what_agents_say_is_shown_or_kept_and_never_too_much_of_it() {
    let mut rig = Rig::with(mission(), plan(&[("a", script("hold"), &[])]));
    rig.until_said("start 0.1");
    rig.say(0, 1, Report::Progress { fraction: Some(0.5), text: "half".to_owned() });
    rig.say(0, 1, Report::Note("x".repeat(1 << 20)));
    rig.until(|rig| rig.events().contains(&"noted".to_owned()));
    assert!(rig.events().contains(&"progress Some(0.5) half".to_owned()));
    let last = rig.world.journal.disk().rows[&crate::rig::RUN].last().unwrap().body.len();
    assert!((3_000..6_000).contains(&last), "{last}");
    // Progress is not recorded.
    assert_eq!(rig.run().version().0, 2);
}

#[test]
fn pausing_lets_what_runs_end_and_cancelling_stops_it() {
    let mut rig = Rig::with(mission(), plan(&[("a", script("hold"), &[]), ("b", script("hold"), &[0])]));
    rig.until_said("start 0.1");
    rig.put(Command::Pause).unwrap();
    assert_eq!(rig.host.rest(crate::rig::RUN), Rest::Busy);
    rig.finish(0, 1, good());
    assert_eq!(rig.settle(), Rest::Paused);
    assert!(!rig.world.log.has("start 1.1"));
    rig.put(Command::Resume { limits: None }).unwrap();
    rig.until_said("start 1.1");
    rig.put(Command::Cancel).unwrap();
    rig.until_said("stop 1.1");
    assert_eq!(rig.settle(), Rest::Over);
    assert_eq!(rig.run().outcome(), Some(Outcome::Cancelled));
}
